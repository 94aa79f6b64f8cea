package study

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

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

// train makes the training that a trial proposes, and lets a watch look at it where there is one. What goes wrong with it is written into the
// trial; the error is the context's, or one of the study itself.
func (s *session) train(ctx context.Context, t *trialLine, w technique.Watch) error {
	t.Score.Value = repair.Number(s.metric().Worst())
	x, err := s.patched(s.search, t.Patch, t.Seed)
	if err != nil {
		t.State, t.Cause = technique.Failed, err.Error()
		return nil
	}
	if cause := s.refuses(t.Proposal); cause != "" {
		t.State, t.Cause = technique.Failed, cause
		return nil
	}
	o := train.Options{Probe: faultyLike(t.Patch)}
	if w != nil {
		o.Watch = w.Every()
	}
	tr, err := s.Start(x, o)
	if err != nil {
		return s.failed(ctx, t, err)
	}
	defer tr.Close()
	s.price(tr)
	if t.From != technique.None {
		if err := s.restore(ctx, tr, t.From); err != nil {
			return s.failed(ctx, t, err)
		}
	}
	return s.drive(ctx, tr, x.Recipe, t, w)
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
func (s *session) failed(ctx context.Context, t *trialLine, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.State, t.Cause = FailedState(err), err.Error()
	return nil
}

// price fixes the unit of cost with the first training that can be started: that of the faulty subject, unless it cannot be trained at all.
func (s *session) price(tr Training) {
	if s.unit == 0 {
		p := s.Cost.prices(tr, len(s.search.Data.Search))
		e := float64(s.search.Recipe.Epochs)
		s.unit = p.training(e*float64(tr.StepsPerEpoch()), e)
	}
}

// findUnit does what price does for a trial that is read from the journal.
func (s *session) findUnit(line trialLine) error {
	if s.unit != 0 || line.Steps == 0 {
		return nil
	}
	x, err := s.patched(s.search, line.Patch, line.Seed)
	if err != nil {
		return fmt.Errorf("study: journal %s: trial %d cannot be made again: %w", s.Journal, line.ID, err)
	}
	tr, err := s.Start(x, train.Options{})
	if err != nil {
		return fmt.Errorf("study: journal %s: trial %d cannot be made again: %w", s.Journal, line.ID, err)
	}
	s.price(tr)
	return tr.Close()
}

// drive trains as far as the trial, the budget and the watch say, scores, and keeps a checkpoint.
func (s *session) drive(ctx context.Context, tr Training, r train.Recipe, t *trialLine, w technique.Watch) error {
	price := s.Cost.prices(tr, len(s.search.Data.Search))
	steps, evals, before := len(tr.Trace().Losses), 0, len(tr.Trace().Losses)
	cost := func() float64 { return price.training(float64(steps-before), float64(evals)) / s.unit }
	began := s.Clock()
	target, seen := stepsOf(tr, min(t.Epochs, float64(r.Epochs))), 0
	for steps < target && tr.Outcome() == "" && len(t.Found) == 0 {
		count := min(target, (tr.EpochsDone()+1)*tr.StepsPerEpoch()) - steps
		if s.Budget.Times > 0 { // what the rest of the budget pays for, with the evaluation that follows
			left := (s.Budget.Times-s.spent-cost())*s.unit - price.eval
			if afford := int(min(left/price.step+1e-6, math.MaxInt32)); afford < count {
				count, t.State = max(0, afford), technique.Cut
			}
		}
		if s.Budget.Duration > 0 && s.elapsed+s.Clock().Sub(began) >= s.Budget.Duration {
			count, t.State = 0, technique.Cut
		}
		if count == 0 {
			break
		}
		evaluated, err := advance(ctx, tr, count)
		if err != nil {
			return s.failed(ctx, t, err)
		}
		if steps = len(tr.Trace().Losses); evaluated {
			evals++
		}
		for ; w != nil && seen < len(tr.Trace().Epochs) && len(t.Found) == 0; seen++ {
			t.Found = w.Epoch(tr.Trace().Epochs[seen])
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
			return s.failed(ctx, t, err)
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
		return s.failed(ctx, t, err)
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
func (s *session) restore(ctx context.Context, tr Training, id technique.TrialID) error {
	if c, ok := s.store.get(id); ok {
		return tr.Restore(c)
	}
	t := s.trials[id]
	for tr.Outcome() == "" && len(tr.Trace().Losses) < t.Steps {
		at := len(tr.Trace().Losses)
		count := min(t.Steps, (tr.EpochsDone()+1)*tr.StepsPerEpoch()) - at
		if _, err := advance(ctx, tr, count); err != nil {
			return err
		}
		if len(tr.Trace().Losses) == at {
			return fmt.Errorf("study: trial %d cannot be made again: no step was made", id)
		}
	}
	if n := len(tr.Trace().Losses); n != t.Steps {
		return fmt.Errorf("study: trial %d had %d steps and has %d when made again", id, t.Steps, n)
	}
	return nil
}

// store keeps checkpoints up to a number of bytes; those that were used longest ago go first.
type store struct {
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
