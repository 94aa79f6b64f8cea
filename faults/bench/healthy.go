package bench

import (
	"context"
	"fmt"
	"slices"

	"netmend/data"
	"netmend/faults"
	"netmend/faults/dataset"
	"netmend/repair"
	"netmend/repair/stats"
	"netmend/repair/study"
)

// confirmPairs are the paired trainings, of the subject that a search started from and of the patched one, by which a repair is looked at once more:
// with one of them the other way round the exact one-sided signed-rank test can still give p = 2/256.
const confirmPairs = 8

// unseenRows is the most rows that no search and no verdict has seen: a difference of two accuracies on so many has a standard error below 0.016.
const unseenRows = 2000

// HealthyEntries are the subjects without a fault that the faults of a list lead to: of every network the fixed subject of its first fault. They load
// their data from root, under the strict protocol.
func HealthyEntries(list []faults.Fault, scale faults.Scale, root string, seed uint64) []Entry {
	var out []Entry
	for _, f := range list {
		if slices.ContainsFunc(out, func(e Entry) bool { return e.Fault.Network == f.Network }) {
			continue
		}
		out = append(out, Entry{Fault: f, Load: func() (Case, error) { return loadHealthy(f, scale, root, seed) }})
	}
	return out
}

func loadHealthy(f faults.Fault, scale faults.Scale, root string, seed uint64) (Case, error) {
	x, err := load(f, scale, faults.StrictProtocol, root, seed)
	if err != nil {
		return Case{}, err
	}
	x.Faulty, x.Fixed, x.Fix, x.Confirm = x.Fixed, repair.Subject{}, nil, x.Fixed
	p, err := f.Problem(scale)
	if err != nil {
		return Case{}, err
	}
	unseen, err := dataset.Unused(p.Data, root, p.TrainRows, p.TestRows, unseenRows)
	if err != nil || unseen.Rows() == 0 {
		return x, err
	}
	train, test, err := dataset.Open(p.Data, root, p.TrainRows, p.TestRows)
	if err != nil {
		return Case{}, err
	}
	if test, err = data.Concat(test, unseen); err != nil {
		return Case{}, err
	}
	wide, err := p.Subject(train, test, faults.StrictProtocol, seed)
	if err != nil {
		return Case{}, err
	}
	x.Confirm, err = fixedSubject(f, scale, wide)
	h := x.Confirm.Data.Holdout // sorted, so that the rows that were put behind the test rows are the last
	x.Unseen = h[len(h)-unseen.Rows():]
	return x, err
}

// RunHealthy starts searches at subjects without a fault, entries of HealthyEntries, and counts how many of them netmend repairs all the same. A
// verdict is that of one `netmend repair`, without correction. Every repair is confirmed: start and patched subject are trained with new seeds and
// compared on the hold-out rows, and on rows that neither search nor verdict has seen where the data set has some. For the rest it is as Run.
func RunHealthy(ctx context.Context, c Config) (Healthy, error) {
	c.Healthy = true
	h, done, err := c.finish(ctx)
	if err != nil {
		return Healthy{}, err
	}
	return c.healthy(h, done)
}

// confirmations are the trainings of what the finished searches repaired.
func (c Config) confirmations(done map[string]Line) []task {
	var out []task
	if !c.Healthy {
		return nil
	}
	for _, t := range c.tasks() {
		if s := done[c.name(t)].Search; t.variant != "" || s == nil || s.Verdict != study.Repaired {
			continue
		}
		for i := range confirmPairs {
			t.variant, t.pair = patchedVariant, i
			out = append(out, t)
		}
	}
	return out
}

// Healthy are the results of RunHealthy.
type Healthy struct {
	Config Config
	Device string
	Rows   []HealthyRow // subject by subject, technique by technique, budget by budget
	Lines  []Line       // all runs, each confirmation behind all searches
}

// HealthyRow is one subject, technique and budget.
type HealthyRow struct {
	Fault     faults.Fault // whose fix the subject has
	Technique string
	Budget    Budget
	Start     Sample // hold-out rows; this and the next are of the finite scores of the trainings that repairs are confirmed with
	Unseen    Sample // NaN where there are no such rows
	Rows      int    // that nothing has seen
	Runs      []HealthyRun
	Counts
}

// HealthyRun is a search of a healthy subject.
type HealthyRun struct {
	Name    string
	Repeat  int
	Search  *Search
	Holdout *Gain // of a repair, with new seeds; nil: none
	Unseen  *Gain // the same on rows that nothing has seen; nil: there are none
	Outcome Outcome
}

// Gain is the difference that a patch makes over pairs, positive where it is better.
type Gain struct {
	Mean     float64
	Interval stats.Interval // 95 %, bootstrap
	P        float64        // one-sided exact signed-rank test
}

// Outcome is what is left of a search of a healthy subject.
type Outcome string

// The outcomes. The last three are of repairs, by the confirming trainings on the rows that nothing has seen, or where there are none, on the hold-out
// rows.
const (
	NothingFound Outcome = "nothing found"
	Refused      Outcome = "refused"       // the verdict did not take the patch
	Small        Outcome = "small"         // likewise, though it is better: not by enough
	Confirmed    Outcome = "confirmed"     // the patched subject is significantly better: it has not been as good as it can be
	NotConfirmed Outcome = "not confirmed" // better on average, not significantly
	Refuted      Outcome = "refuted"       // not better on average
)

// outcomes is their order.
var outcomes = []Outcome{NothingFound, Refused, Small, Confirmed, NotConfirmed, Refuted}

// Counts are runs by outcome.
type Counts map[Outcome]int

// Runs is how many there are.
func (n Counts) Runs() int {
	sum := 0
	for _, k := range n {
		sum += k
	}
	return sum
}

// NoRepair counts the runs that end without a repair.
func (n Counts) NoRepair() int { return n[NothingFound] + n[Refused] + n[Small] }

// Total is the counts of all subjects, by technique, then budget.
func (h Healthy) Total(technique string, b Budget) Counts {
	sum := Counts{}
	for _, r := range h.Rows {
		if r.Technique == technique && r.Budget == b {
			for o, n := range r.Counts {
				sum[o] += n
			}
		}
	}
	return sum
}

// healthy makes rows of the finished runs.
func (c Config) healthy(h header, done map[string]Line) (Healthy, error) {
	out := Healthy{Config: c, Device: h.Device}
	for _, t := range slices.Concat(c.tasks(), c.confirmations(done)) {
		l, ok := done[c.name(t)]
		if !ok {
			return out, fmt.Errorf("bench: run %s is not in the index", c.name(t))
		}
		out.Lines = append(out.Lines, l)
	}
	for e := range c.Entries {
		for _, technique := range c.Techniques {
			for _, b := range c.Budgets {
				row, err := c.healthyRow(task{entry: e, technique: technique, budget: b}, done)
				if err != nil {
					return out, fmt.Errorf("bench: fault %s: %w", row.Fault.ID, err)
				}
				out.Rows = append(out.Rows, row)
			}
		}
	}
	return out, nil
}

func (c Config) healthyRow(t task, done map[string]Line) (HealthyRow, error) {
	r := HealthyRow{Fault: c.Entries[t.entry].Fault, Technique: t.technique, Budget: t.budget, Counts: Counts{}}
	hold, unseen, rows := c.confirming(task{entry: t.entry, variant: startVariant}, done)
	r.Start, r.Unseen, r.Rows = sampleOf(finiteOf(hold)), sampleOf(finiteOf(unseen)), rows
	for i := range c.Repeats {
		t.repeat = i
		x := HealthyRun{Name: c.name(t), Repeat: i, Search: done[c.name(t)].Search}
		if x.Search == nil {
			return r, fmt.Errorf("run %s is no search", x.Name)
		}
		if x.Outcome = x.Search.refusal(); x.Outcome == "" {
			p := t
			p.variant = patchedVariant
			patchedHold, patchedUnseen, _ := c.confirming(p, done)
			var err error
			if x.Holdout, err = c.gain(r.Fault, hold, patchedHold); err == nil && len(unseen) > 0 {
				x.Unseen, err = c.gain(r.Fault, unseen, patchedUnseen)
			}
			if err != nil {
				return r, fmt.Errorf("run %s: %w", x.Name, err)
			}
			x.Outcome = x.confirmed()
		}
		r.Counts[x.Outcome]++
		r.Runs = append(r.Runs, x)
	}
	return r, nil
}

// refusal is how a search of a healthy subject ends without a repair; empty: it has one.
func (s *Search) refusal() Outcome {
	switch {
	case len(s.Patch) == 0:
		return NothingFound
	case s.Small:
		return Small
	case s.Verdict != study.Repaired:
		return Refused
	}
	return ""
}

// confirming are the scores of a start or patched subject, pair by pair.
func (c Config) confirming(t task, done map[string]Line) (hold, unseen []float64, rows int) {
	for i := range confirmPairs {
		t.pair = i
		v := done[c.name(t)].Value
		if v == nil {
			continue
		}
		hold = append(hold, float64(v.Holdout))
		if v.Unseen != nil {
			unseen, rows = append(unseen, float64(*v.Unseen)), v.Rows
		}
	}
	return hold, unseen, rows
}

// gain compares pairs of trainings.
func (c Config) gain(f faults.Fault, start, patched []float64) (*Gain, error) {
	d := c.direction(f)
	diff, err := stats.Differences(patched, start, d)
	if err != nil {
		return nil, err
	}
	for i := range diff {
		diff[i] *= float64(d)
	}
	w, err := stats.Wilcoxon(diff, stats.Greater, stats.DropZeros, stats.Auto)
	if err != nil {
		return nil, err
	}
	iv, err := stats.BootstrapMean(diff, 0.95, resamples, study.SeedFor(c.Seed, "bootstrap", 0), stats.BCa)
	return &Gain{Mean: stats.Mean(diff), Interval: iv, P: w.P}, err
}

// confirmed is the outcome of a repair.
func (x HealthyRun) confirmed() Outcome {
	g := x.Holdout
	if x.Unseen != nil {
		g = x.Unseen
	}
	switch {
	case !(g.Mean > 0):
		return Refuted
	case g.P < Significance:
		return Confirmed
	}
	return NotConfirmed
}
