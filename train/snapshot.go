package train

import (
	"fmt"
	"slices"

	"netmend/engine"
)

// Snapshot is everything that the rest of a training depends on. It belongs to trainers of the same model, recipe and data.
type Snapshot struct {
	states   map[engine.TensorID][]float32
	coefs    coefs
	schedule scheduler
	stopper  stopper
	epoch    int
	offset   int
	steps    uint64
	sum      float64
	outcome  Outcome
	trace    Trace
}

// Bytes is the memory that a snapshot holds, roughly.
func (s *Snapshot) Bytes() int {
	n := 8 * len(s.trace.Losses)
	for _, v := range s.states {
		n += 4 * len(v)
	}
	if s.stopper.kept != nil {
		n += s.stopper.kept.Bytes()
	}
	return n
}

// Snapshot copies the training's state from the device.
func (t *Trainer) Snapshot() (*Snapshot, error) {
	s := &Snapshot{states: make(map[engine.TensorID][]float32), coefs: *t.coefs, schedule: *t.schedule, stopper: t.stopper, epoch: t.epoch,
		offset: t.offset, steps: t.steps, sum: t.sum, outcome: t.outcome, trace: t.trace.clone()}
	for i := range t.plan.prog.Tensors {
		x := &t.plan.prog.Tensors[i]
		if x.Role != engine.State {
			continue
		}
		v := make([]float32, x.Len())
		if err := t.exec.Fetch(engine.TensorID(i), v); err != nil {
			return nil, fmt.Errorf("train: snapshot of %q: %w", x.Name, err)
		}
		s.states[engine.TensorID(i)] = v
	}
	return s, nil
}

// Restore continues from a snapshot, to the same bits that an unbroken training gives.
func (t *Trainer) Restore(s *Snapshot) error {
	if err := t.restoreWeights(s); err != nil {
		return err
	}
	*t.coefs, *t.schedule, t.stopper = s.coefs, s.schedule, s.stopper
	t.epoch, t.offset, t.steps, t.sum, t.outcome, t.trace = s.epoch, s.offset, s.steps, s.sum, s.outcome, s.trace.clone()
	t.order = nil
	if t.offset > 0 {
		t.order = t.epochOrder()
	}
	return nil
}

func (t *Trainer) restoreWeights(s *Snapshot) error {
	for id, v := range s.states {
		if err := t.exec.Load(id, v); err != nil {
			return fmt.Errorf("train: restore: the snapshot is of another training: %w", err)
		}
	}
	return nil
}

func (t Trace) clone() Trace {
	return Trace{Losses: slices.Clone(t.Losses), Epochs: slices.Clone(t.Epochs)}
}
