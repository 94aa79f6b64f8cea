package study

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/technique"
	"netmend/train"
)

func (s *session) metric() train.Metric { return s.Subject.Recipe.Metric }

// patched is the subject that a patch makes of another, with a seed.
func (s *session) patched(base repair.Subject, p repair.Patch, seed uint64) (repair.Subject, error) {
	x, err := s.Operators.Apply(base, p)
	if err != nil {
		return repair.Subject{}, err
	}
	x.Recipe = x.Recipe.Clone()
	x.Recipe.Seed = seed
	return x, nil
}

var epochsKey = repair.Key{Operator: "epochs", Target: "recipe"}

// faultyLike says whether a patch trains as the faulty subject does, longer or shorter.
func faultyLike(p repair.Patch) bool { return len(p.Without(epochsKey)) == 0 }

// attempt is what the training of a trial, which runs beside others, may know of the search.
type attempt struct {
	*session
	share   *share
	refused string           // what is wrong with the proposal in itself
	from    *technique.Trial // that is continued; nil: none
	watch   technique.Watch  // nil: nothing looks at it
}

// train makes the training that a trial proposes, and lets a watch look at it where there is one. What goes wrong with it is written into the
// trial; the error is the context's, errGiveWay, or one of the study itself.
func (s attempt) train(ctx context.Context, t *trialLine) error {
	t.Score.Value = repair.Number(s.metric().Worst())
	x, err := s.patched(s.search, t.Patch, t.Seed)
	if err != nil {
		t.State, t.Cause = technique.Failed, err.Error()
		return nil
	}
	if s.refused != "" {
		t.State, t.Cause = technique.Failed, s.refused
		return nil
	}
	o := train.Options{Probe: faultyLike(t.Patch)}
	if s.watch != nil {
		o.Watch = s.watch.Every()
	}
	tr, err := s.Start(x, o)
	if err != nil {
		return failed(ctx, t, err)
	}
	defer tr.Close()
	unit, err := s.price(ctx, s.share, tr)
	if err != nil {
		return err
	}
	if s.from != nil {
		if err := s.restore(ctx, tr, *s.from); err != nil {
			return failed(ctx, t, err)
		}
	}
	return s.drive(ctx, tr, x.Recipe, t, unit)
}

// refuses says what is wrong with a proposal in itself; "" when nothing is.
func (s *session) refuses(p technique.Proposal) string {
	switch {
	case !(p.Epochs > 0) || math.IsInf(p.Epochs, 0):
		return fmt.Sprintf("%v epochs cannot be trained", p.Epochs)
	case p.From == technique.None:
		return ""
	case p.From < 0 || int(p.From) >= len(s.trials):
		return fmt.Sprintf("trial %d to continue is not finished", p.From)
	}
	from := s.trials[p.From]
	switch {
	case from.Seed != p.Seed || from.Patch.Without(epochsKey).String() != p.Patch.Without(epochsKey).String():
		return fmt.Sprintf("trial %d is of another patch or seed and cannot be continued", p.From)
	case from.Steps == 0 || from.State == technique.Failed || from.State == technique.OutOfMemory:
		return fmt.Sprintf("trial %d has no checkpoint to continue: %s", p.From, from.State)
	}
	return ""
}

// FailedState is the state of a training that an error ended: out of memory, or failed.
func FailedState(err error) technique.State {
	if errors.Is(err, engine.ErrMemory) {
		return technique.OutOfMemory
	}
	return technique.Failed
}

// failed turns an error of a training into a result, unless it is the context's.
func failed(ctx context.Context, t *trialLine, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.State, t.Cause = FailedState(err), err.Error()
	return nil
}

// price gives the unit of cost, with what a training of the faulty subject takes by the prices of this one.
func (s *session) price(ctx context.Context, at *share, tr Training) (unit float64, err error) {
	p := s.Cost.prices(tr, len(s.search.Data.Search))
	e := float64(s.search.Recipe.Epochs)
	return s.account.price(ctx, at, p.training(e*float64(tr.StepsPerEpoch()), e))
}

// drive trains as far as the trial, the budget and the watch say, scores, and keeps a checkpoint.
func (s attempt) drive(ctx context.Context, tr Training, r train.Recipe, t *trialLine, unit float64) error {
	price := s.Cost.prices(tr, len(s.search.Data.Search))
	steps, evals, before := len(tr.Trace().Losses), 0, len(tr.Trace().Losses)
	cost := func() float64 { return price.training(float64(steps-before), float64(evals)) / unit }
	target, seen := stepsOf(tr, min(t.Epochs, float64(r.Epochs))), 0
	// Every epoch that ends within it is evaluated, and what was reached once more.
	s.account.limit(s.share, price.training(float64(max(0, target-before)), float64(target/tr.StepsPerEpoch()-tr.EpochsDone()+2))/unit)
	for steps < target && tr.Outcome() == "" && len(t.Found) == 0 {
		count := min(target, (tr.EpochsDone()+1)*tr.StepsPerEpoch()) - steps
		if s.Budget.Times > 0 { // what the rest of the budget pays for, with the evaluation that follows
			pays := func(spent float64) float64 { return ((s.Budget.Times-spent-cost())*unit - price.eval) / price.step }
			spent, err := s.account.before(ctx, s.share, func(most float64) bool { return pays(most) >= float64(count) })
			if err != nil {
				return err
			}
			if afford := int(min(pays(spent)+1e-6, math.MaxInt32)); afford < count {
				count, t.State = max(0, afford), technique.Cut
			}
		}
		if s.Budget.Duration > 0 && s.busy.elapsed() >= s.Budget.Duration {
			count, t.State = 0, technique.Cut
		}
		if count == 0 {
			break
		}
		evaluated, err := advance(ctx, tr, count)
		if err != nil {
			return failed(ctx, t, err)
		}
		if steps = len(tr.Trace().Losses); evaluated {
			evals++
		}
		for ; s.watch != nil && seen < len(tr.Trace().Epochs) && len(t.Found) == 0; seen++ {
			t.Found = s.watch.Epoch(tr.Trace().Epochs[seen])
		}
		if t.State == technique.Cut {
			break
		}
	}
	t.Steps, t.Reached = steps, float64(steps)/float64(tr.StepsPerEpoch())
	if tr.Outcome() == train.Diverged {
		t.State, t.Cause = technique.Diverged, divergence(tr)
	} else if steps > 0 {
		again, err := s.score(ctx, tr, t)
		if err != nil {
			return failed(ctx, t, err)
		}
		if again {
			evals++
		}
	}
	t.Cost = repair.Number(cost())
	s.describe(tr, r, t)
	switch {
	case t.State != "":
	case len(t.Found) > 0 && steps < target:
		t.State, t.Cause = technique.Stopped, "found: "+strings.Join(t.Found, ", ")
	default:
		t.State = technique.Completed
	}
	if t.State == technique.Diverged {
		return nil
	}
	c, err := tr.Checkpoint()
	if err != nil {
		return failed(ctx, t, err)
	}
	s.store.put(t.ID, c)
	return nil
}

// stepsOf is a number of epochs in steps; a part of an epoch is rounded, and never none nor all of it.
func stepsOf(tr Training, epochs float64) int {
	n := tr.StepsPerEpoch()
	whole := int(epochs + 1e-9)
	part := int(math.Round((epochs - float64(whole)) * float64(n)))
	if part = min(max(part, 0), n-1); whole == 0 && part == 0 {
		part = 1
	}
	return whole*n + part
}

// advance makes steps that end within the current epoch or with it; the end of an epoch is evaluated and may stop the training early.
func advance(ctx context.Context, tr Training, steps int) (evaluated bool, err error) {
	if at := len(tr.Trace().Losses); at+steps == (tr.EpochsDone()+1)*tr.StepsPerEpoch() {
		_, err := tr.Fit(ctx, tr.EpochsDone()+1)
		return true, err
	}
	_, err = tr.Advance(ctx, steps)
	return false, err
}

// score evaluates a training on the search rows, unless the end of its last epoch has just done that; again says that it had to.
func (s *session) score(ctx context.Context, tr Training, t *trialLine) (again bool, err error) {
	ev, err := tr.Evaluate(ctx, s.search.Data.Search)
	if err != nil {
		return false, err
	}
	t.Score = technique.Score{Value: repair.Number(ev.Score), Valid: ev.NonFinite == 0 && !math.IsNaN(ev.Score)}
	if !t.Score.Valid {
		t.Score.Value = repair.Number(s.metric().Worst())
		t.Cause = fmt.Sprintf("%d outputs on the search rows are not finite", ev.NonFinite)
	}
	if s.SearchOnly {
		v, err := Score(ctx, tr, s.metric(), s.Subject.Data.Holdout)
		if err != nil {
			return false, err
		}
		t.Holdout = &v
	}
	whole := len(tr.Trace().Losses) == tr.EpochsDone()*tr.StepsPerEpoch()
	return !whole || tr.Outcome() == train.Stopped, nil
}

func divergence(tr Training) string {
	losses := tr.Trace().Losses
	return fmt.Sprintf("the loss of step %d is %v", len(losses), losses[len(losses)-1])
}

// describe writes what was seen of a training into the trial.
func (s *session) describe(tr Training, r train.Recipe, t *trialLine) {
	trace := tr.Trace()
	t.Symptoms = diagnose.Dynamic(trace, r)
	if len(t.Patch) == 0 && t.From == technique.None {
		t.Symptoms = append(append([]diagnose.Symptom{}, s.static...), t.Symptoms...)
	}
	for _, e := range trace.Epochs {
		t.Curve = append(t.Curve, technique.Point{Loss: repair.Number(e.Loss), Score: repair.Number(e.Score)})
	}
}

// restore brings a training to where a trial ended: from its checkpoint, or by training again.
func (s *session) restore(ctx context.Context, tr Training, t technique.Trial) error {
	if c, ok := s.store.get(t.ID); ok {
		return tr.Restore(c)
	}
	for tr.Outcome() == "" && len(tr.Trace().Losses) < t.Steps {
		at := len(tr.Trace().Losses)
		count := min(t.Steps, (tr.EpochsDone()+1)*tr.StepsPerEpoch()) - at
		if _, err := advance(ctx, tr, count); err != nil {
			return err
		}
		if len(tr.Trace().Losses) == at {
			return fmt.Errorf("study: trial %d cannot be made again: no step was made", t.ID)
		}
	}
	if n := len(tr.Trace().Losses); n != t.Steps {
		return fmt.Errorf("study: trial %d had %d steps and has %d when made again", t.ID, t.Steps, n)
	}
	return nil
}

// store keeps checkpoints up to a number of bytes; those that were used longest ago go first.
type store struct {
	mu           sync.Mutex
	limit, bytes int
	order        []technique.TrialID // oldest first
	kept         map[technique.TrialID]Checkpoint
}

func newStore(limit int) *store {
	return &store{limit: limit, kept: map[technique.TrialID]Checkpoint{}}
}

func (s *store) put(id technique.TrialID, c Checkpoint) {
	if c.Bytes() > s.limit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[id] = c
	s.order = append(s.order, id)
	for s.bytes += c.Bytes(); s.bytes > s.limit; {
		oldest := s.order[0]
		s.order = s.order[1:]
		s.bytes -= s.kept[oldest].Bytes()
		delete(s.kept, oldest)
	}
}

func (s *store) get(id technique.TrialID) (Checkpoint, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.kept[id]
	if ok {
		for i, x := range s.order {
			if x == id {
				s.order = append(append(s.order[:i:i], s.order[i+1:]...), id)
				break
			}
		}
	}
	return c, ok
}
