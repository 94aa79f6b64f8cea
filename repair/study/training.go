package study

import (
	"context"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// Training is what a study needs of a training; OnDevice makes it of a train.Trainer. See train.Trainer for the contracts.
type Training interface {
	StepsPerEpoch() int
	StepFlops() float64
	EvalSteps(rows int) int
	EvalFlops(rows int) float64
	Advance(ctx context.Context, steps int) (done bool, err error)
	Fit(ctx context.Context, epochs int) (train.Outcome, error)
	Evaluate(ctx context.Context, rows []int32) (train.Evaluation, error)
	EvaluateGroups(ctx context.Context, rows []int32, n int) (train.Evaluation, error)
	Trace() *train.Trace
	Outcome() train.Outcome
	EpochsDone() int
	Checkpoint() (Checkpoint, error)
	Restore(Checkpoint) error
	Model() (*onnx.Model, error)
	Close() error
}

// Checkpoint is the state of a training.
type Checkpoint interface{ Bytes() int }

// Start begins a training of a subject; the options say what it takes down, and have no device. The error wraps engine.ErrMemory when
// the device is too small; any other says that graph, recipe and data do not go together. With Config.Parallel above 1 it is called by several
// goroutines, each of which has the training that it gets for itself.
type Start func(s repair.Subject, o train.Options) (Training, error)
