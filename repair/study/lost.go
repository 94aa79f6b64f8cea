package study

import (
	"context"
	"errors"

	"netmend/engine"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// ErrNoResult is wrapped by errors of a Start that say nothing about the training, such as that another program holds the device's memory.
var ErrNoResult = errors.New("the training was not tried")

// NoResult says that an error that ended a training is no result of it: the device was lost (engine.ErrDeviceLost), which all trainings on it meet whoever
// caused it, or ErrNoResult. It has to interrupt a search, whose journal can be gone on with.
func NoResult(err error) bool {
	return errors.Is(err, engine.ErrDeviceLost) || errors.Is(err, ErrNoResult)
}

// untilLost gives a Start whose trainings end the context when they meet an error that is NoResult, with that error as its cause, before anyone can take it for
// a result as every other error of a training is. The context ends at the latest with stop.
func untilLost(ctx context.Context, start Start) (_ context.Context, _ Start, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	look := func(err error) error {
		if NoResult(err) {
			cancel(err)
		}
		return err
	}
	watched := func(s repair.Subject, o train.Options) (Training, error) {
		tr, err := start(s, o)
		if look(err) != nil {
			return nil, err
		}
		return watchedTraining{tr, look}, nil
	}
	return ctx, watched, func() { cancel(nil) }
}

// watchedTraining shows the errors of a training to look.
type watchedTraining struct {
	Training
	look func(error) error
}

func (t watchedTraining) Advance(ctx context.Context, steps int) (bool, error) {
	done, err := t.Training.Advance(ctx, steps)
	return done, t.look(err)
}

func (t watchedTraining) Fit(ctx context.Context, epochs int) (train.Outcome, error) {
	o, err := t.Training.Fit(ctx, epochs)
	return o, t.look(err)
}

func (t watchedTraining) Evaluate(ctx context.Context, rows []int32) (train.Evaluation, error) {
	ev, err := t.Training.Evaluate(ctx, rows)
	return ev, t.look(err)
}

func (t watchedTraining) EvaluateGroups(ctx context.Context, rows []int32, n int) (train.Evaluation, error) {
	ev, err := t.Training.EvaluateGroups(ctx, rows, n)
	return ev, t.look(err)
}

func (t watchedTraining) Checkpoint() (Checkpoint, error) {
	c, err := t.Training.Checkpoint()
	return c, t.look(err)
}

func (t watchedTraining) Restore(c Checkpoint) error { return t.look(t.Training.Restore(c)) }

func (t watchedTraining) Model() (*onnx.Model, error) {
	m, err := t.Training.Model()
	return m, t.look(err)
}
