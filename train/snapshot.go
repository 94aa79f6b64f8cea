package train

import (
	"fmt"
	"slices"

	"netmend/engine"
)

// Snapshot is everything that the rest of a training depends on. It belongs to trainers of the same model, recipe and data.
type Snapshot struct {
	states   states
	coefs    coefs
	schedule scheduler
	stopper  stopper
	epoch    int
	offset   int
	steps    uint64
	sum      float64
	hits     float64
	outcome  Outcome
	unjudged bool
	trace    Trace
}

// states are the values of every State tensor.
type states map[engine.TensorID][]float32

func (s states) bytes() int {
	n := 0
	for _, v := range s {
		n += 4 * len(v)
	}
	return n
}

// Bytes is the memory that a snapshot holds, roughly.
func (s *Snapshot) Bytes() int {
	return 8*len(s.trace.Losses) + s.states.bytes() + s.stopper.kept.bytes()
}

// Snapshot copies the training's state from the device.
func (t *Trainer) Snapshot() (*Snapshot, error) {
	s := &Snapshot{coefs: *t.coefs, schedule: *t.schedule, stopper: t.stopper, epoch: t.epoch, offset: t.offset, steps: t.steps, sum: t.sum, hits: t.hits,
		outcome: t.outcome, unjudged: t.unjudged, trace: t.trace.clone()}
	var err error
	if s.states, err = t.states(); err != nil {
		return nil, err
	}
	return s, nil
}

// states fetches every State tensor.
func (t *Trainer) states() (states, error) {
	s := make(states)
	for i := range t.plan.prog.Tensors {
		x := &t.plan.prog.Tensors[i]
		if x.Role != engine.State {
			continue
		}
		v := make([]float32, x.Len())
		if err := t.exec.Fetch(engine.TensorID(i), v); err != nil {
			return nil, fmt.Errorf("train: snapshot of %q: %w", x.Name, err)
		}
		s[engine.TensorID(i)] = v
	}
	return s, nil
}

// Restore continues from a snapshot, to the same bits that an unbroken training gives.
func (t *Trainer) Restore(s *Snapshot) error {
	if err := t.loadStates(s.states); err != nil {
		return err
	}
	*t.coefs, *t.schedule, t.stopper = s.coefs, s.schedule, s.stopper
	t.epoch, t.offset, t.steps, t.sum, t.hits, t.outcome, t.unjudged, t.trace = s.epoch, s.offset, s.steps, s.sum, s.hits, s.outcome, s.unjudged, s.trace.clone()
	t.order = nil
	if t.offset > 0 {
		t.order = t.epochOrder()
	}
	return nil
}

func (t *Trainer) loadStates(s states) error {
	for id, v := range s {
		if err := t.exec.Load(id, v); err != nil {
			return fmt.Errorf("train: restore: the snapshot is of another training: %w", err)
		}
	}
	return nil
}

func (t Trace) clone() Trace {
	return Trace{Losses: slices.Clone(t.Losses), Epochs: slices.Clone(t.Epochs)}
}
