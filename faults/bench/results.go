package bench

import (
	"fmt"
	"math"
	"slices"

	"netmend/faults"
	"netmend/repair/stats"
	"netmend/repair/study"
	"netmend/repair/technique"
	"netmend/train"
)

// Results are what a finished benchmark shows.
type Results struct {
	Config Config
	Device string
	Pairs  int // of trainings per strict verdict
	Values []ValueRow
	Rows   []Row  // fault by fault, technique by technique, budget by budget
	Lines  []Line // all runs in the matrix's order
}

// Sample is a mean with the standard deviation (ddof 1, NaN for less than two runs).
type Sample struct{ Mean, SD float64 }

// sampleOf keeps equal runs free of the rounding of their sum.
func sampleOf(v []float64) Sample {
	if len(v) > 1 && slices.Min(v) == slices.Max(v) {
		return Sample{v[0], 0}
	}
	return Sample{stats.Mean(v), stats.SD(v)}
}

// ValueRow compares a fault's own values with the published ones.
type ValueRow struct {
	Fault         faults.Fault
	Faulty, Fixed Sample // hold-out rows; under the strict protocol, this and the next two are of the finite scores
	// Search are the means on the search rows.
	FaultySearch, FixedSearch float64
	Distance                  float64 // Cohen's d between faulty and fixed, positive where fixed is better
	A12                       float64 // Vargha and Delaney's, fixed against faulty; NaN without runs
	// Off are the differences to the published means in our standard deviations; NaN where ours is 0 or not known.
	FaultyOff, FixedOff float64
	// Base and BaseSearch are what improvement counts from: the means of the faulty subject or, under the strict protocol and where no score of it is
	// finite, those of the best constant answer.
	Base, BaseSearch float64

	faulty, fixed []float64
}

// Row is one fault, technique and budget.
type Row struct {
	Fault     faults.Fault
	Technique string
	Budget    Budget
	Faulty    Sample // copies of the ValueRow's
	Fixed     Sample
	Patched   Sample  // over the repeats, on the hold-out rows; published: clipped
	IR        float64 // of the means
	RoundedIR float64 // of the means rounded as published
	// P is the published test's under that protocol. Strict: the median over the repeats after Holm's correction.
	P           float64
	Significant bool
	Repaired    int // strict: repeats whose own verdict is significant after the correction
	Repeats     int
	A12         float64         // of patched against faulty, over the repeats
	Interval    *stats.Interval // 95 %, bootstrap, of the mean gain over faulty; positive is better
	// Means over the repeats; those of the patch over the repeats that have one.
	AJ, Edits, Complexity, Executed, Dead float64
	ChoiceX, VerdictX                     float64 // faulty trainings to the choice of the patch, and of the verdict
	FirstX                                float64 // to the first trial with IR >= 0.9 on the search rows, over those of Reached
	Reached                               int
	Published                             *faults.Result // nil: there is none for technique and budget
	Truth                                 int            // edits of the ground truth

	// Repeat by repeat: improvement rate of the patch, trainings to its choice, and edits, where there is a patch.
	rates, costs, sizes []float64
	patches             [][]string // repeat by repeat, in words; nil without a patch
}

// goodRate is the IR from which a trial counts as having found a repair.
const goodRate = 0.9

const resamples = 10000

func (c Config) direction(f faults.Fault) stats.Direction {
	if f.Metric.Maximize() {
		return stats.HigherIsBetter
	}
	return stats.LowerIsBetter
}

// results makes rows of the finished runs.
func (c Config) results(h header, done map[string]Line) (Results, error) {
	out := Results{Config: c, Device: h.Device, Pairs: h.Pairs}
	for _, t := range c.tasks() {
		l, ok := done[c.name(t)]
		if !ok {
			return out, fmt.Errorf("bench: run %s is not in the index", c.name(t))
		}
		out.Lines = append(out.Lines, l)
	}
	adjusted, err := c.adjusted(done)
	if err != nil {
		return out, err
	}
	for e := range c.Entries {
		v := c.valueRow(e, done)
		out.Values = append(out.Values, v)
		if c.ValuesOnly {
			continue
		}
		for _, t := range c.Techniques {
			for _, b := range c.Budgets {
				row, err := c.row(task{entry: e, technique: t, budget: b}, v, done, adjusted)
				if err != nil {
					return out, fmt.Errorf("bench: fault %s: %w", v.Fault.ID, err)
				}
				out.Rows = append(out.Rows, row)
			}
		}
	}
	return out, nil
}

// adjusted are the strict verdicts' p-values by run, after Holm's correction over the faults: a family are the faults of one technique, budget and
// repeat, which is what somebody tests who uses the technique once on each of them.
func (c Config) adjusted(done map[string]Line) (map[string]float64, error) {
	out := map[string]float64{}
	if c.Protocol != faults.StrictProtocol || c.ValuesOnly {
		return out, nil
	}
	for _, t := range c.Techniques {
		for _, b := range c.Budgets {
			for i := range c.Repeats {
				var names []string
				var p []float64
				for e := range c.Entries {
					l := done[c.name(task{entry: e, technique: t, budget: b, repeat: i})]
					if l.Search == nil {
						return nil, fmt.Errorf("bench: run %s is no search", l.Name)
					}
					names, p = append(names, l.Name), append(p, float64(l.Search.P))
				}
				for k, v := range stats.Holm(p) {
					out[names[k]] = v
				}
			}
		}
	}
	return out, nil
}

func (c Config) valueRow(entry int, done map[string]Line) ValueRow {
	f := c.Entries[entry].Fault
	v := ValueRow{Fault: f}
	var hold, search [2][]float64
	for k, variant := range []string{faultyVariant, fixedVariant} {
		for i := range c.trainings() {
			if x := done[c.name(task{entry: entry, variant: variant, repeat: i})].Value; x != nil {
				hold[k], search[k] = append(hold[k], float64(x.Holdout)), append(search[k], float64(x.Search))
			}
		}
	}
	v.faulty, v.fixed = hold[0], hold[1]
	if c.Protocol == faults.StrictProtocol {
		for k := range hold {
			hold[k], search[k] = finiteOf(hold[k]), finiteOf(search[k])
		}
	}
	v.Faulty, v.Fixed = sampleOf(hold[0]), sampleOf(hold[1])
	v.FaultySearch, v.FixedSearch = stats.Mean(search[0]), stats.Mean(search[1])
	v.Base, v.BaseSearch = v.Faulty.Mean, v.FaultySearch
	if x := done[c.name(task{entry: entry, variant: faultyVariant})].Value; x != nil && c.Protocol == faults.StrictProtocol && x.Constant != nil &&
		!isFinite(v.Base) {
		v.Base, v.BaseSearch = float64(x.Constant.Holdout), float64(x.Constant.Search)
	}
	v.Distance = stats.CohenD(hold[1], hold[0]) * float64(c.direction(f))
	if v.Faulty.SD == 0 && v.Fixed.SD == 0 && v.Faulty.Mean != v.Fixed.Mean {
		v.Distance = math.Copysign(math.Inf(1), v.Distance)
	}
	var err error
	if v.A12, err = stats.A12(v.fixed, v.faulty, c.direction(f)); err != nil {
		v.A12 = math.NaN()
	}
	faulty, healthy := published(f)
	v.FaultyOff, v.FixedOff = off(v.Faulty, faulty), off(v.Fixed, healthy)
	return v
}

// finiteOf leaves out the scores that are not finite; all of them where none is. A training that diverges is worse than any that does not: without
// it the faulty subject looks better than it is, and neither a difference nor an improvement rate looks larger.
func finiteOf(v []float64) []float64 {
	rest := slices.DeleteFunc(slices.Clone(v), func(x float64) bool { return !isFinite(x) })
	if len(rest) == 0 {
		return v
	}
	return rest
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// published are the published means of a fault, NaN where there are none.
func published(f faults.Fault) (faulty, healthy float64) {
	if !f.HasPublished() {
		return math.NaN(), math.NaN()
	}
	return f.Published.Faulty, f.Published.Fixed
}

func off(s Sample, published float64) float64 {
	if s.SD == 0 {
		return math.NaN()
	}
	return (s.Mean - published) / s.SD
}

// row gathers the repeats of one fault, technique and budget.
func (c Config) row(t task, v ValueRow, done map[string]Line, adjusted map[string]float64) (Row, error) {
	f := v.Fault
	r := Row{Fault: f, Technique: t.technique, Budget: t.budget, Faulty: v.Faulty, Fixed: v.Fixed, Repeats: c.Repeats}
	fix := f.FixAt(c.Scale)
	r.Truth = len(fix)
	var patched, aj, edits, share, executed, deadShare, choice, verdict, first, p []float64
	for i := range c.Repeats {
		t.repeat = i
		name := c.name(t)
		s := done[name].Search
		if s == nil {
			return r, fmt.Errorf("run %s is no search", name)
		}
		patched = append(patched, c.score(f.Metric, v, s))
		r.patches = append(r.patches, s.Words)
		if len(s.Patch) > 0 {
			aj, edits = append(aj, AsymmetricJaccard(fix, s.Patch)), append(edits, float64(len(s.Patch)))
			share = append(share, float64(len(s.Patch))/float64(max(1, s.Space)))
		}
		done, dead := 0, 0
		for k, x := range s.Trials {
			if k == 0 {
				continue // the faulty subject
			}
			if done++; x.Dead {
				dead++
			}
		}
		executed = append(executed, float64(executedTrials(s.Trials)))
		if done > 0 {
			deadShare = append(deadShare, float64(dead)/float64(done))
		}
		choice, verdict = append(choice, float64(s.CostX+s.MinimizeX)), append(verdict, float64(s.VerdictX))
		if x, ok := firstGood(s.Trials, v); ok {
			first = append(first, x)
		}
		if q, ok := adjusted[name]; ok {
			if p = append(p, q); q < Significance {
				r.Repaired++
			}
		}
	}
	for _, score := range patched {
		r.rates = append(r.rates, ImprovementRate(v.Base, v.Fixed.Mean, score))
	}
	r.costs, r.sizes = choice, edits
	r.Patched = sampleOf(patched)
	r.IR = ImprovementRate(v.Base, v.Fixed.Mean, r.Patched.Mean)
	r.RoundedIR = RoundedRate(f.Metric, v.Base, v.Fixed.Mean, r.Patched.Mean)
	r.AJ, r.Edits, r.Complexity, r.Executed, r.Dead = stats.Mean(aj), stats.Mean(edits), stats.Mean(share), stats.Mean(executed), stats.Mean(deadShare)
	r.ChoiceX, r.VerdictX, r.FirstX, r.Reached = stats.Mean(choice), stats.Mean(verdict), stats.Mean(first), len(first)
	if x, ok := f.Published.Results[t.budget.times()][t.technique]; ok {
		r.Published = &x
	}
	return r, c.test(&r, v, patched, p)
}

// score is a repeat's result on the hold-out rows. A search without a patch leaves the faulty subject as it is. A patched training without a finite score, of
// which the fixed subject has some too, counts as the best constant answer: it is of no more use, and an infinite mean would say nothing of the others.
func (c Config) score(m train.Metric, v ValueRow, s *Search) float64 {
	switch {
	case c.Protocol == faults.PublishedProtocol:
		return Clip(m, v.Faulty.Mean, float64(s.Score))
	case len(s.Repaired) == 0:
		return v.Faulty.Mean
	case isFinite(float64(s.Score)) || s.Constant == nil:
		return float64(s.Score)
	}
	var scores []float64
	for _, x := range s.Repaired {
		if !isFinite(float64(x)) {
			x = s.Constant.Score
		}
		scores = append(scores, float64(x))
	}
	return stats.Mean(scores)
}

// test fills in what statistics say of a row.
func (c Config) test(r *Row, v ValueRow, patched, adjusted []float64) error {
	d := c.direction(r.Fault)
	var err error
	if c.Protocol == faults.StrictProtocol {
		r.P, r.Significant = stats.Median(adjusted), 2*r.Repaired > r.Repeats
	} else {
		if r.P, err = ScipyWilcoxon(v.faulty, patched); err != nil {
			return err
		}
		r.Significant = r.P < Significance && r.IR > 0
	}
	if r.A12, err = stats.A12(patched, v.faulty, d); err != nil {
		return err
	}
	gain, err := stats.Differences(patched, v.faulty[:len(patched)], d)
	if err != nil {
		return err
	}
	for i := range gain {
		gain[i] *= float64(d)
	}
	iv, err := stats.BootstrapMean(gain, 0.95, resamples, study.SeedFor(c.Seed, "bootstrap", 0), stats.BCa)
	r.Interval = &iv
	return err
}

// executedTrials counts the trials after the first that were trained as far as their technique wanted: those that have a metric in the published
// results.
func executedTrials(trials []Trial) int {
	n := 0
	for i, x := range trials {
		if i > 0 && (x.State == technique.Completed || x.State == technique.Diverged || x.State == technique.Stopped) {
			n++
		}
	}
	return n
}

// firstGood is the cost up to and with the first trial whose score on the search rows has an IR of goodRate between the means of the faulty and the
// fixed subject there.
func firstGood(trials []Trial, v ValueRow) (float64, bool) {
	for i, x := range trials {
		if i > 0 && x.Valid && ImprovementRate(v.BaseSearch, v.FixedSearch, float64(x.Score)) >= goodRate {
			return float64(x.Spent), true
		}
	}
	return math.NaN(), false
}

// Summary is a technique with a budget over all faults.
type Summary struct {
	Technique            string
	Budget               Budget
	Faults, Significant  int
	MeanIR, MedianIR     float64
	Good                 int     // faults with IR >= 0.9
	Compared, Near       int     // faults with a published IR, and those within 0.25 of it
	MeanAJ, Edits, Dead  float64 // means over the faults that have a value
	PublishedMeanIR      float64
	PublishedSignificant int
}

// nearRate is how close to the published IR a reproduced one is expected.
const nearRate = 0.25

// Summaries are by technique, then budget.
func (r Results) Summaries() []Summary {
	if r.Config.ValuesOnly {
		return nil
	}
	var out []Summary
	for _, t := range r.Config.Techniques {
		for _, b := range r.Config.Budgets {
			s := Summary{Technique: t, Budget: b}
			var ir, aj, edits, dead, published []float64
			for _, x := range r.Rows {
				if x.Technique != t || x.Budget != b {
					continue
				}
				if s.Faults++; x.Significant {
					s.Significant++
				}
				if ir = append(ir, x.IR); x.IR >= goodRate {
					s.Good++
				}
				aj, edits, dead = known(aj, x.AJ), known(edits, x.Edits), known(dead, x.Dead)
				if x.Published != nil && x.Published.Note == "" {
					s.Compared++
					published = append(published, x.Published.IR)
					if math.Abs(x.IR-x.Published.IR) <= nearRate {
						s.Near++
					}
					if x.Published.Significant {
						s.PublishedSignificant++
					}
				}
			}
			s.MeanIR, s.MedianIR, s.PublishedMeanIR = stats.Mean(ir), stats.Median(ir), stats.Mean(published)
			s.MeanAJ, s.Edits, s.Dead = stats.Mean(aj), stats.Mean(edits), stats.Mean(dead)
			out = append(out, s)
		}
	}
	return out
}

func known(v []float64, x float64) []float64 {
	if math.IsNaN(x) {
		return v
	}
	return append(v, x)
}

// searches calls f for every trial list of a technique, with the fault's values.
func (r Results) searches(technique string, budget Budget, f func(ValueRow, *Search)) {
	byName := map[string]*Search{}
	for _, l := range r.Lines {
		byName[l.Name] = l.Search
	}
	for e, v := range r.Values {
		for i := range r.Config.Repeats {
			f(v, byName[r.Config.name(task{entry: e, technique: technique, budget: budget, repeat: i})])
		}
	}
}

// trialLine is a trial in runs.jsonl.
type trialLine struct {
	Kind string `json:"kind"` // "trial"
	Run  string `json:"run"`
	Trial
}
