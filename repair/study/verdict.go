package study

import (
	"context"
	"fmt"
	"math"

	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/stats"
	"netmend/repair/technique"
	"netmend/train"
)

// Verdict is what a study ends with.
type Verdict string

// The verdicts.
const (
	Repaired Verdict = "repaired"
	NoRepair Verdict = "no_repair"
)

// significance is the level of the verdict's one test, the usual one.
const significance = 0.05

// Sample is a metric of several trainings with different seeds.
type Sample struct {
	Mean   repair.Number   `json:"mean"`
	Values []repair.Number `json:"values"` // one per seed, in the order of Report.Seeds
}

// Report is the result of a study.
type Report struct {
	Verdict   Verdict            `json:"verdict"`
	Metric    train.Metric       `json:"metric"`
	Faulty    Sample             `json:"faulty"`             // on the hold-out rows
	Repaired  Sample             `json:"repaired"`           // of the best patch, proven or not; empty without one
	P         repair.Number      `json:"p"`                  // one-sided exact Wilcoxon test of the paired differences
	Rows      *RowTest           `json:"rows,omitempty"`     // nil: there was no patch to judge
	Constant  *ConstantTest      `json:"constant,omitempty"` // nil: the subject cannot be trained
	MinGain   repair.Number      `json:"min_gain"`           // what a repair gains at least: Config.MinGain of what the faulty subject is better than the constant answer by
	Small     bool               `json:"small,omitempty"`    // the gain is proven, and less than that
	A12       repair.Number      `json:"a12"`                // Vargha and Delaney's effect size, 1: always better
	Interval  *Interval          `json:"interval,omitempty"`
	Edits     int                `json:"edits"` // of the patch
	Patch     repair.Patch       `json:"patch"`
	Words     []string           `json:"words"` // the patch in English, one line per edit
	Symptoms  []diagnose.Symptom `json:"symptoms"`
	Trials    int                `json:"trials"`
	States    map[string]int     `json:"states"` // trials by how they ended
	Search    *repair.Number     `json:"search_score,omitempty"`
	CostX     repair.Number      `json:"cost_x"`        // of the search, in trainings of the faulty subject
	ProofX    repair.Number      `json:"proof_cost_x"`  // of minimisation and verdict
	MinimizeX repair.Number      `json:"minimize_x"`    // of minimisation alone
	Seconds   float64            `json:"seconds"`       // by the clock: all parts, the time before a resume included
	Device    string             `json:"device"`        //
	Technique string             `json:"technique"`     //
	Budget    string             `json:"budget"`        //
	Seed      uint64             `json:"seed"`          //
	Seeds     []uint64           `json:"verdict_seeds"` // those that were trained: fewer when significance was out of reach
	Reason    string             `json:"reason"`        // of the verdict

	Model  *onnx.Model  `json:"-"` // patched, with the weights of the seed that is best on the search rows; nil unless repaired
	Recipe train.Recipe `json:"-"` // patched, with that seed
	// Chosen is the trial that a technique.Chooser chooses; nil: the technique is none.
	Chosen *technique.TrialID `json:"-"`
}

// RowTest says whether the gain would be there on other hold-out rows of the same kind. Seeds alone cannot tell: a gain that comes from a few
// rows comes with every seed.
type RowTest struct {
	P      repair.Number `json:"p"`      // one-sided t-test of the gain (Hodges and Lehmann's over the pairs), by a jackknife over groups of rows
	SE     repair.Number `json:"se"`     // standard error of the gain that comes from the choice of rows; 0 where only infinite gains are
	Groups int           `json:"groups"` // of rows; fewer than two cannot be tested
}

// rowGroups is in how many groups hold-out rows are left out of the score: enough for a t-test to be little weaker than with one group per row.
const rowGroups = 20

// Claim is the p-value of "better than the faulty subject, and than a constant answer, on other seeds and on other rows": the largest of those, which
// needs no correction for their number (intersection-union test, Berger 1982). Nor does it for the trials of the search, which never saw the hold-out
// rows: one patch is tested on them, once. Every further study with the same hold-out rows is a test more. 1 where the gain is too small for a repair.
func (r Report) Claim() float64 {
	if r.Small {
		return 1
	}
	p := math.Max(float64(r.P), r.Constant.claim())
	if r.Rows == nil {
		return p
	}
	return math.Max(p, float64(r.Rows.P))
}

// Interval is a 95 % bootstrap interval of the mean paired difference, repaired minus faulty.
type Interval struct {
	Low    repair.Number `json:"low"`
	High   repair.Number `json:"high"`
	Mean   repair.Number `json:"mean"`
	Method string        `json:"method"`
}

func (s *session) direction() stats.Direction {
	if s.metric().Maximize() {
		return stats.HigherIsBetter
	}
	return stats.LowerIsBetter
}

// judge trains the faulty and the patched subject from scratch with the same new seeds and compares them on the hold-out rows: this is the only
// place that looks at them. It ends early when no outcome of the pairs that are left could make the difference significant: pairs are looked at in
// order, whichever ended first, and those that were trained beside them do not count then.
func (s *session) judge(ctx context.Context, patch repair.Patch, found bool) (Report, error) {
	r := s.summary(patch)
	if !found {
		r.Verdict, r.Reason = NoRepair, "the search found nothing better than the faulty subject"
		return r, s.judgeFaulty(ctx, &r)
	}
	pairs, err := s.trainPairs(ctx, patch)
	if err != nil {
		return Report{}, err
	}
	var faulty, repaired []float64
	for _, p := range pairs {
		faulty, repaired = append(faulty, float64(*p[0].Holdout)), append(repaired, float64(*p[1].Holdout))
		r.Seeds = append(r.Seeds, p[0].Seed)
	}
	rows, err := s.rowTest(pairs)
	if err != nil {
		return Report{}, err
	}
	r.Rows = rows
	answer, untrainable := s.constant(patch)
	if untrainable == nil {
		if r.Constant, err = s.testConstant(answer, pairs); err != nil {
			return Report{}, err
		}
	}
	if err := s.compare(&r, faulty, repaired); err != nil {
		return Report{}, err
	}
	s.totals(&r)
	if r.Verdict != Repaired {
		return r, nil
	}
	if untrainable != nil {
		return Report{}, fmt.Errorf("study: constant answer: %w", untrainable)
	}
	seed := r.Seeds[s.champion.pair]
	x, err := s.patched(s.Subject, patch, seed)
	if err != nil {
		return Report{}, err
	}
	r.Recipe = x.Recipe
	r.Model, err = s.trained(ctx, patch, seed)
	return r, err
}

// trainPairs makes the trainings of the verdict, faulty and patched with each seed, until the last or one that leaves no hope.
func (s *session) trainPairs(ctx context.Context, patch repair.Patch) (pairs [][2]runLine, err error) {
	q := s.crew(ctx)
	defer q.stop()
	done := 0
	seen := func() {
		done++
		s.report(Progress{Phase: Judging, Done: done, Of: 2 * s.Seeds})
	}
	all := make([][2]*run, s.Seeds)
	for i := range all {
		seed := SeedFor(s.Seed, string(Judging), i)
		all[i][0] = s.begin(q, string(Judging), nil, seed, nil, seen)
		all[i][1] = s.begin(q, string(Judging), patch, seed, func(r runLine, tr Training) error { return s.contend(i, r, tr.Model) }, seen)
	}
	var faulty, repaired []float64
	for i := range all {
		var p [2]runLine
		for k := range p {
			if p[k], err = s.await(q, all[i][k]); err != nil {
				return nil, err
			}
		}
		if err := s.contend(i, p[1], func() (*onnx.Model, error) { return nil, nil }); err != nil { // where it was not made in this process
			return nil, err
		}
		pairs = append(pairs, p)
		faulty, repaired = append(faulty, float64(*p[0].Holdout)), append(repaired, float64(*p[1].Holdout))
		if p, err := bestP(faulty, repaired, s.Seeds, s.direction()); err != nil || p >= significance {
			return pairs, err
		}
	}
	return pairs, nil
}

// judgeFaulty trains the faulty subject once for the report of a search that found nothing.
func (s *session) judgeFaulty(ctx context.Context, r *Report) error {
	seed := SeedFor(s.Seed, string(Judging), 0)
	q := s.crew(ctx)
	defer q.stop()
	a, err := s.await(q, s.begin(q, string(Judging), nil, seed, nil, func() {}))
	if err != nil {
		return err
	}
	r.Seeds = []uint64{seed}
	r.Faulty = sampleOf([]float64{float64(*a.Holdout)})
	if answer, err := s.constant(nil); err == nil {
		r.Constant = &ConstantTest{Score: *answer.Holdout}
	}
	s.totals(r)
	return nil
}

// summary is what the report says of the search.
func (s *session) summary(patch repair.Patch) Report {
	r := Report{Metric: s.metric(), Patch: patch, Edits: len(patch), Words: s.Operators.Words(s.search, patch), Trials: len(s.trials),
		States: map[string]int{}, Device: s.Device, Technique: s.Technique, Budget: s.Budget.String(), Seed: s.Seed, P: 1,
		A12: 0.5, Chosen: s.chosen, Symptoms: s.static, Repaired: Sample{Mean: repair.Number(math.NaN())}}
	for _, t := range s.trials {
		r.States[string(t.State)]++
	}
	if len(s.trials) > 0 && len(s.trials[0].Symptoms) > 0 {
		r.Symptoms = s.trials[0].Symptoms
	}
	if s.best >= 0 {
		r.Search = &s.trials[s.best].Score.Value
	}
	return r
}

func (s *session) totals(r *Report) {
	r.CostX, r.ProofX, r.MinimizeX = repair.Number(s.account.spent), repair.Number(s.runCost), repair.Number(s.minimized)
	r.Seconds = seconds(s.elapsed) + math.Round(s.runTime*1000)/1000
}

func sampleOf(v []float64) Sample {
	out := Sample{Mean: repair.Number(stats.Mean(v))}
	for _, x := range v {
		out.Values = append(out.Values, repair.Number(x))
	}
	return out
}

// compare is the verdict on paired scores.
func (s *session) compare(r *Report, faulty, repaired []float64) error {
	d := s.direction()
	r.Faulty, r.Repaired = sampleOf(faulty), sampleOf(repaired)
	p, err := onesided(faulty, repaired, d)
	if err != nil {
		return err
	}
	a12, err := stats.A12(repaired, faulty, d)
	if err != nil {
		return err
	}
	diff, err := stats.Differences(repaired, faulty, d)
	if err != nil {
		return err
	}
	iv, err := stats.BootstrapMean(diff, 0.95, bootstrapResamples, SeedFor(s.Seed, "bootstrap", 0), stats.BCa)
	if err != nil {
		return err
	}
	r.P, r.A12 = repair.Number(p), repair.Number(a12)
	r.Interval = &Interval{repair.Number(iv.Low), repair.Number(iv.High), repair.Number(stats.Mean(diff)), methodName(iv.Method)}
	r.MinGain = s.minGain(r)
	gain := gainOf(diff, d)
	r.Verdict = NoRepair
	switch {
	case len(faulty) < s.Seeds:
		r.Reason = fmt.Sprintf("after %d of %d pairs no outcome of the others could be significant", len(faulty), s.Seeds)
	case p < significance && r.Rows != nil && !(float64(r.Rows.P) < significance):
		r.Reason = fmt.Sprintf("better on the hold-out rows in %d paired trainings, but too little for the number of rows: on other rows it may be none, p = %.3g",
			len(faulty), float64(r.Rows.P))
	case p < significance && !(r.Constant.claim() < significance):
		r.Reason = r.Constant.reason(s.metric(), len(faulty), r.Symptoms)
	case p < significance && gain < float64(r.MinGain):
		r.Small = true
		r.Reason = fmt.Sprintf("the gain is proven and small, %.2g: a repair of a model that is so much better than one answer for all rows gains %.2g at least",
			gain, float64(r.MinGain))
	case p < significance:
		r.Verdict = Repaired
		r.Reason = fmt.Sprintf("better on the hold-out rows in %d paired trainings, p = %.3g", len(faulty), p)
	default:
		r.Reason = fmt.Sprintf("not significantly better on the hold-out rows in %d paired trainings, p = %.3g", len(faulty), p)
	}
	return nil
}

// rowTest is the jackknife of what the pairs gain, over groups of hold-out rows. Of several pairs the gain is the estimate that belongs to the signed-rank
// test, so that one training in ten that never left its start does not decide what is a question of rows. Pairs with an infinite gain are left out: other
// rows would not make it finite.
func (s *session) rowTest(pairs [][2]runLine) (*RowTest, error) {
	worst := float64(s.metric().Worst())
	gain := func(a, b repair.Number) float64 { return float64(b-a) * float64(s.direction()) }
	at := func(r runLine, g int) repair.Number {
		if len(r.Without) == 0 { // it was not trained to the end
			return repair.Number(worst)
		}
		return r.Without[g]
	}
	var all []float64
	groups := make([][]float64, min(rowGroups, len(s.Subject.Data.Holdout)))
	better := false
	for _, p := range pairs {
		d := gain(*p[0].Holdout, *p[1].Holdout)
		if math.IsNaN(d) || math.IsInf(d, 0) { // two infinite scores, or one
			better = better || d > 0
			continue
		}
		all = append(all, d)
		for g := range groups {
			groups[g] = append(groups[g], gain(at(p[0], g), at(p[1], g)))
		}
	}
	t := &RowTest{P: 1, Groups: len(groups)}
	if len(all) == 0 && better {
		t.P = 0
	}
	if len(all) == 0 || len(groups) < 2 {
		return t, nil
	}
	without := make([]float64, len(groups))
	for g := range without {
		without[g] = stats.HodgesLehmann(groups[g])
	}
	j, err := stats.Jackknife(stats.HodgesLehmann(all), without)
	t.P, t.SE = repair.Number(j.P), repair.Number(j.SE)
	return t, err
}

// onesided is the exact signed-rank test of "repaired is better".
func onesided(faulty, repaired []float64, d stats.Direction) (float64, error) {
	diff, err := stats.Differences(repaired, faulty, d)
	if err != nil {
		return 0, err
	}
	alternative := stats.Greater
	if d == stats.LowerIsBetter {
		alternative = stats.Less
	}
	w, err := stats.Wilcoxon(diff, alternative, stats.DropZeros, stats.Auto)
	return w.P, err
}

// bestP is the smallest p-value that n pairs can still reach: all those that are left are better by more than any so far.
func bestP(faulty, repaired []float64, n int, d stats.Direction) (float64, error) {
	diff, err := stats.Differences(repaired, faulty, d)
	if err != nil {
		return 0, err
	}
	for i := range diff {
		diff[i] *= float64(d)
		if math.IsInf(diff[i], 0) {
			diff[i] = math.Copysign(math.MaxFloat32, diff[i])
		}
	}
	for i := len(diff); i < n; i++ {
		diff = append(diff, math.MaxFloat64*float64(i+1)/float64(n+1))
	}
	w, err := stats.Wilcoxon(diff, stats.Greater, stats.DropZeros, stats.Auto)
	return w.P, err
}

func methodName(m stats.IntervalMethod) string {
	if m == stats.BCa {
		return "bca"
	}
	return "percentile"
}
