package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"netmend/faults"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/repair/study"
	"netmend/repair/technique"
	"netmend/train"
)

// runner is a benchmark at work.
type runner struct {
	Config
	index *index
	cases []loaded // by entry
	pairs int
	total int

	mu       sync.Mutex // of the fields below and of Progress
	finished int
}

// loaded is a case that is in memory while runs need it.
type loaded struct {
	mu     sync.Mutex
	left   int // runs that still need it
	ready  bool
	c      Case
	chance float64
	space  int
	err    error
}

// Run makes a benchmark, or what is left of one, and gives its results. They are in the output folder too: see Results.Write. An interrupted
// benchmark is study.ErrInterrupted; everything that is finished is in the output folder.
func Run(ctx context.Context, c Config) (Results, error) {
	h, done, err := c.finish(ctx)
	if err != nil {
		return Results{}, err
	}
	return c.results(h, done)
}

// finish makes all runs that are not in the output folder, and gives the header of the index and the runs by name.
func (c Config) finish(ctx context.Context) (header, map[string]Line, error) {
	if err := c.check(); err != nil {
		return header{}, nil, err
	}
	first, err := c.Worker()
	if err != nil {
		return header{}, nil, err
	}
	defer first.Close()
	r := &runner{Config: c, cases: make([]loaded, len(c.Entries))}
	h := c.header(first.Device)
	r.pairs = h.Pairs
	if r.index, err = openIndex(c, h); err != nil {
		return header{}, nil, err
	}
	defer r.index.close()
	// What is confirmed, the searches decide.
	for _, tasks := range []func() []task{c.tasks, func() []task { return c.confirmations(r.index.done) }} {
		if err := r.runTasks(ctx, tasks(), first); err != nil {
			return header{}, nil, err
		}
	}
	return h, r.index.done, nil
}

// runTasks makes those runs that are not in the index.
func (r *runner) runTasks(ctx context.Context, all []task, first Worker) error {
	var todo []task
	for _, t := range all {
		if _, done := r.index.done[r.name(t)]; !done {
			todo = append(todo, t)
			r.cases[t.entry].left++
		}
	}
	r.total, r.finished = r.total+len(all), r.finished+len(all)-len(todo)
	err := r.runAll(ctx, todo, first)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w: %d of %d runs are finished", study.ErrInterrupted, ctx.Err(), r.finished, r.total)
	}
	return err
}

func (c Config) header(device string) header {
	h := header{Kind: "header", Version: indexVersion, Repeats: c.Repeats, Trainings: c.Trainings, Scale: string(c.Scale), Protocol: string(c.Protocol), Seed: c.Seed, Device: device}
	for _, e := range c.Entries {
		h.Faults = append(h.Faults, e.Fault.ID)
	}
	if c.ValuesOnly {
		return h
	}
	h.Techniques = c.Techniques
	for _, b := range c.Budgets {
		h.Budgets = append(h.Budgets, b.String())
	}
	switch {
	case c.Healthy: // the verdict is that of one repair
		h.Pairs, h.Confirm = study.DefaultSeeds, confirmPairs
	case c.Protocol == faults.StrictProtocol:
		h.Pairs = pairs(len(c.Entries))
	}
	return h
}

// runAll hands the runs to the jobs in the order of the matrix. The first error ends it.
func (r *runner) runAll(ctx context.Context, todo []task, first Worker) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan task)
	var wait sync.WaitGroup
	for i := range min(r.Jobs, max(1, len(todo))) {
		wait.Go(func() {
			w, err := first, error(nil)
			if i > 0 {
				if w, err = r.Worker(); err != nil {
					cancel(err)
					return
				}
				defer w.Close()
			}
			for t := range queue {
				if err := r.run(ctx, w, t); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for _, t := range todo {
		select {
		case queue <- t:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	wait.Wait()
	return context.Cause(ctx)
}

// run makes one run and writes it down.
func (r *runner) run(ctx context.Context, w Worker, t task) error {
	x, err := r.load(t.entry)
	if err != nil {
		return fmt.Errorf("bench: fault %s: %w", r.Entries[t.entry].Fault.ID, err)
	}
	defer r.release(t.entry)
	l := Line{Name: r.name(t), Seed: r.seed(t)}
	began, processor := time.Now(), r.processor()
	if t.variant != "" {
		l.Kind = "value"
		l.Value, err = r.value(ctx, w, x, t, l.Seed)
	} else {
		l.Kind = "search"
		l.Search, err = r.search(ctx, w, x, t, l.Name, l.Seed)
	}
	if err != nil {
		return fmt.Errorf("bench: run %s: %w", l.Name, err)
	}
	if err := r.index.add(l, time.Since(began), r.processor()-processor); err != nil {
		return err
	}
	r.mu.Lock()
	r.finished++
	r.mu.Unlock()
	r.report(Event{Run: l.Name, Finished: true})
	return nil
}

func (c Config) processor() time.Duration {
	if c.Processor == nil {
		return 0
	}
	return c.Processor()
}

func (r *runner) report(e Event) {
	if r.Progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Done, e.Total = r.finished, r.total
	r.Progress(e)
}

func (r *runner) load(entry int) (*loaded, error) {
	x := &r.cases[entry]
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ready {
		x.ready = true
		if x.c, x.err = r.Entries[entry].Load(); x.err == nil {
			s := x.c.Faulty
			s.Data.Holdout = nil
			x.chance = chance(s)
			space := operators.All().Space(s)
			if x.space = len(space); r.Protocol == faults.PublishedProtocol && x.c.Keys != nil {
				x.space = len(x.c.Keys)
			}
		}
	}
	return x, x.err
}

// release drops a case that no run needs any more.
func (r *runner) release(entry int) {
	x := &r.cases[entry]
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.left--; x.left == 0 {
		x.c, x.ready = Case{}, false
	}
}

// subject is what a training of no search trains.
func (r *runner) subject(x *loaded, t task) (repair.Subject, error) {
	switch t.variant {
	case fixedVariant:
		return x.c.Fixed, nil
	case startVariant:
		return x.c.Confirm, nil
	case patchedVariant:
		search := t
		search.variant = ""
		return operators.All().Apply(x.c.Confirm, r.index.line(r.name(search)).Search.Patch)
	}
	return x.c.Faulty, nil
}

// value trains a subject once and scores it, and a constant answer where the training has no finite score.
func (r *runner) value(ctx context.Context, w Worker, x *loaded, t task, seed uint64) (*Value, error) {
	s, err := r.subject(x, t)
	if err != nil {
		return nil, err
	}
	v, err := trainedValue(ctx, w, x, s, seed)
	if err == nil && !isFinite(float64(v.Holdout)) {
		v.Constant = constant(s, x.c.Faulty.Data.Holdout)
	}
	return v, err
}

// constant is nil where no training of the subject could begin.
func constant(s repair.Subject, holdout []int32) *Constant {
	search, err := train.Constant(s.Model, s.Recipe, s.Data, s.Data.Train, s.Data.Search, 0)
	if err != nil {
		return nil
	}
	there, err := train.Constant(s.Model, s.Recipe, s.Data, s.Data.Train, holdout, 0)
	if err != nil {
		return nil
	}
	return &Constant{Search: repair.Number(search.Score), Holdout: repair.Number(there.Score)}
}

// trainedValue trains a subject once and scores it on search and hold-out rows, and on those that nothing has seen. Whatever goes wrong with the
// training is a result, the metric's worst value, but for what is study.NoResult.
func trainedValue(ctx context.Context, w Worker, x *loaded, s repair.Subject, seed uint64) (*Value, error) {
	s.Recipe = s.Recipe.Clone()
	s.Recipe.Seed = seed
	worst := repair.Number(s.Recipe.Metric.Worst())
	v := &Value{Search: worst, Holdout: worst, State: string(technique.Failed)}
	parts := []part{{s.Data.Search, &v.Search}, {x.c.Faulty.Data.Holdout, &v.Holdout}}
	if len(x.c.Unseen) > 0 {
		unseen := worst
		v.Unseen, v.Rows = &unseen, len(x.c.Unseen)
		parts = append(parts, part{x.c.Unseen, v.Unseen})
	}
	bad := func(err error) (*Value, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if study.NoResult(err) {
			return nil, fmt.Errorf("%w: %w", study.ErrInterrupted, err)
		}
		v.Cause = err.Error()
		return v, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tr, err := w.Start(s, train.Options{})
	if err != nil {
		return bad(err)
	}
	defer tr.Close()
	outcome, err := tr.Fit(ctx, s.Recipe.Epochs)
	if err != nil {
		return bad(err)
	}
	if v.State = string(outcome); outcome == train.Diverged {
		return v, nil
	}
	for _, p := range parts {
		score, err := study.Score(ctx, tr, s.Recipe.Metric, p.rows)
		if err != nil {
			return bad(err)
		}
		*p.to = score
	}
	return v, nil
}

// part is rows that a value is scored on.
type part struct {
	rows []int32
	to   *repair.Number
}

// search is one study. Under the published protocol the search is all, and the best trial's own model is scored on the hold-out rows; under
// the strict one the study minimises and judges.
func (r *runner) search(ctx context.Context, w Worker, x *loaded, t task, name string, seed uint64) (*Search, error) {
	budget, err := t.budget.of(r.Entries[t.entry].Fault, t.technique, t.repeat)
	if err != nil {
		return nil, err
	}
	journal := filepath.Join(r.Out, runsDir, name+".jsonl")
	_, err = os.Stat(journal)
	there := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	out := &Search{Chosen: -1, P: 1, A12: 0.5, Score: repair.Number(math.NaN()), Space: x.space}
	spent := 0.0
	c := study.Config{Subject: x.c.Faulty, Operators: operators.All(), Technique: t.technique, Budget: budget, Seed: seed, Start: w.Start, Device: w.Device,
		Journal: journal, Resume: there, MinEpochs: x.c.MinEpochs, Seeds: max(1, r.pairs), Suspicion: suspicion(r.Entries[t.entry].Fault)}
	if r.Protocol == faults.PublishedProtocol {
		c.SearchOnly = true
		if !technique.OwnEdits(t.technique) {
			c.Keys = x.c.Keys
		}
	}
	c.Progress = func(p study.Progress) {
		if p.Phase == study.Searching && p.Trial != nil {
			spent += float64(p.Trial.Cost)
			out.Trials = append(out.Trials, trialOf(*p.Trial, p.Holdout, spent, x.chance, x.c.Faulty.Recipe.Metric))
		}
		r.report(Event{Run: name, Study: &p})
	}
	report, err := study.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	out.CostX, out.MinimizeX, out.VerdictX = report.CostX, report.MinimizeX, report.ProofX-report.MinimizeX
	if r.Protocol == faults.PublishedProtocol {
		if out.Chosen = best(out.Trials, x.c.Faulty.Recipe.Metric); report.Chosen != nil {
			out.Chosen = int(*report.Chosen)
		}
		if out.Chosen >= 0 {
			b := out.Trials[out.Chosen]
			out.Patch, out.Score = b.Patch, *b.Holdout
		}
	} else {
		out.Patch, out.P, out.A12, out.Interval, out.Reason = report.Patch, repair.Number(report.Claim()), report.A12, report.Interval, report.Reason
		out.Verdict, out.Constant, out.Small = report.Verdict, report.Constant, report.Small
		out.Faulty, out.Repaired = report.Faulty.Values, report.Repaired.Values
		if len(out.Repaired) > 0 {
			out.Score = report.Repaired.Mean
		}
	}
	faulty := x.c.Faulty
	faulty.Data.Holdout = nil
	out.Words = operators.All().Words(faulty, out.Patch)
	return out, nil
}

// suspicion is the table of suspicion for a fault: what was learned from mutants of the fault's own network is left out, or a search would have seen
// the network healthy.
func suspicion(f faults.Fault) *diagnose.Table {
	return diagnose.NewTable(diagnose.Learned().Without(f.Network), diagnose.DefaultSettings)
}

func trialOf(t technique.Trial, holdout, spent, chance float64, m train.Metric) Trial {
	out := Trial{ID: t.ID, Patch: t.Patch, State: t.State, Cause: t.Cause, Score: t.Score.Value, Valid: t.Score.Valid, Epochs: t.Epochs,
		Cost: t.Cost, Spent: repair.Number(spent), Dead: dead(t, chance, m)}
	if !math.IsNaN(holdout) {
		v := repair.Number(holdout)
		out.Holdout = &v
	}
	return out
}

// best is the published selection (HPO analysis.ipynb, cells 5 and 12): the best score on the search rows of the trials after the first, which
// is the faulty configuration; the earliest of equal ones. A trial that the end of the budget cut off has no score there. -1: none.
func best(trials []Trial, m train.Metric) int {
	at := -1
	for i, t := range trials {
		if i == 0 || !t.Valid || t.Holdout == nil || t.State != technique.Completed {
			continue
		}
		if at < 0 || m.Better(float64(t.Score), float64(trials[at].Score)) {
			at = i
		}
	}
	return at
}
