package study

import (
	"fmt"
	"math"
	"slices"

	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/stats"
	"netmend/train"
)

// ConstantTest compares the patched subject with the best constant answer, train.Constant: one output for all rows, fitted on the training rows, so
// that it could have been given without the hold-out rows' targets. A patch with which a training that diverged ends at the most frequent class is
// better than the fault, on any seeds and rows, and repairs nothing.
//
// The answer has no seeds: its score is a number that the trainings are tested against. Where the faulty subject is better than it on average, so is
// what is better than the faulty subject, and there is no test.
type ConstantTest struct {
	Score repair.Number  `json:"score"`          // of the answer, on the hold-out rows
	P     *repair.Number `json:"p,omitempty"`    // one-sided exact Wilcoxon test of the patched scores against it; nil: there was no test
	Rows  *RowTest       `json:"rows,omitempty"` // as of the paired trainings, of what the patched ones gain over it; nil with P
}

// claim is the larger p-value; 0 where there was no test.
func (t *ConstantTest) claim() float64 {
	if t == nil || t.P == nil {
		return 0
	}
	return math.Max(float64(*t.P), float64(t.Rows.P))
}

// reason is that of a refusal. Where diagnosis found that the metric cannot tell much, the user has to choose another one.
func (t *ConstantTest) reason(m train.Metric, pairs int, symptoms []diagnose.Symptom) string {
	s := fmt.Sprintf("better than the faulty subject in %d paired trainings, but not shown to be better than one answer for all rows, p = %.3g: its %s is %.4g",
		pairs, t.claim(), m, float64(t.Score))
	if m.Maximize() { // all of these end at 1
		s += fmt.Sprintf(", which leaves %.2g for what can be learned", 1-float64(t.Score))
	}
	if slices.ContainsFunc(symptoms, func(x diagnose.Symptom) bool { return x.Kind == diagnose.MajorityGuess }) {
		s += "; nearly all rows are of one class, and this metric hardly sees the others: f1 may"
	}
	return s
}

// constant is the constant answer as a training of the verdict, for a patched subject; the patch matters where it changes how targets are read. The
// error says that the subject cannot be trained.
func (s *session) constant(patch repair.Patch) (runLine, error) {
	x, err := s.patched(s.Subject, patch, s.Subject.Recipe.Seed)
	if err != nil {
		return runLine{}, err
	}
	ev, err := train.Constant(x.Model, x.Recipe, x.Data, x.Data.Train, x.Data.Holdout, rowGroups)
	if err != nil {
		return runLine{}, err
	}
	score := scoreOf(ev, s.metric())
	r := runLine{Holdout: &score}
	for _, v := range ev.Without {
		r.Without = append(r.Without, repair.Number(v))
	}
	return r, nil
}

// testConstant compares the patched trainings of the pairs with the constant answer, unless the faulty ones are better than it already.
func (s *session) testConstant(answer runLine, pairs [][2]runLine) (*ConstantTest, error) {
	t := &ConstantTest{Score: *answer.Holdout}
	var repaired, constant []float64
	var against [][2]runLine
	gain := 0.0 // of the faulty trainings over the answer
	for _, p := range pairs {
		gain += float64(*p[0].Holdout-t.Score) * float64(s.direction())
		repaired, constant = append(repaired, float64(*p[1].Holdout)), append(constant, float64(t.Score))
		against = append(against, [2]runLine{answer, p[1]})
	}
	if gain > 0 {
		return t, nil
	}
	p, err := onesided(constant, repaired, s.direction())
	if err != nil {
		return nil, err
	}
	number := repair.Number(p)
	t.P = &number
	t.Rows, err = s.rowTest(against)
	return t, err
}

// minGain is what the patch of a report has to gain on average to be a repair, 0 where the faulty subject is no better than the constant answer.
func (s *session) minGain(r *Report) repair.Number {
	if r.Constant == nil {
		return 0
	}
	lead := float64(r.Faulty.Mean-r.Constant.Score) * float64(s.direction())
	if !(lead > 0) || math.IsInf(lead, 0) {
		return 0
	}
	return repair.Number(max(0, s.MinGain) * lead)
}

// gainOf is what a patch gains by the differences of its pairs, in the estimate that belongs to the signed-rank test: one training in ten that diverges makes
// no average smaller than any number of what is proven all the same. NaN where most pairs have an infinite difference, one way or the other.
func gainOf(differences []float64, d stats.Direction) float64 {
	return stats.HodgesLehmann(differences) * float64(d)
}
