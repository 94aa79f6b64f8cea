package train_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"netmend/data"
	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/train"
	"netmend/train/traintest"
)

// cancelDevice cancels a context when the n-th Run begins.
type cancelDevice struct {
	engine.Device
	runs, at int
	cancel   context.CancelFunc
}

type cancelExec struct {
	engine.Executable
	d *cancelDevice
}

func (d *cancelDevice) Compile(p *engine.Program) (engine.Executable, error) {
	x, err := d.Device.Compile(p)
	return cancelExec{x, d}, err
}

func (x cancelExec) Run(ctx context.Context, s engine.Schedule) (*engine.Result, error) {
	if x.d.runs++; x.d.runs == x.d.at {
		x.d.cancel()
	}
	return x.Executable.Run(ctx, s)
}

// Wherever a training is interrupted - in its steps, in the probe, in the evaluation - the rest is as if nothing had been.
func TestInterruptionAtEveryRunChangesNothing(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	r.BatchSize = 48
	r.Optimizer, _ = train.DefaultOptimizer("nadam", train.PyTorch)
	r.Schedule = train.Schedule{Name: "exponential", Gamma: 0.5}
	r.EarlyStopping = train.EarlyStopping{Monitor: "metric", Patience: 1, RestoreBest: true}
	count := &cancelDevice{Device: reference.New()}
	wholeOutcome, whole := fitOn(t, count, m, r, d, context.Background())
	for at := 1; at <= count.runs; at++ {
		ctx, cancel := context.WithCancel(context.Background())
		dev := &cancelDevice{Device: reference.New(), at: at, cancel: cancel}
		outcome, tr := fitOn(t, dev, m, r, d, ctx)
		if outcome != wholeOutcome || tr.EpochsDone() != whole.EpochsDone() || !slices.Equal(tr.Trace().Losses, whole.Trace().Losses) {
			t.Fatalf("interrupted in run %d: %q after %d epochs, %d steps; unbroken: %q after %d epochs, %d steps", at, outcome, tr.EpochsDone(),
				len(tr.Trace().Losses), wholeOutcome, whole.EpochsDone(), len(whole.Trace().Losses))
		}
		for i, e := range whole.Trace().Epochs {
			if g := tr.Trace().Epochs[i]; g.Score != e.Score || g.Loss != e.Loss || len(g.Layers) != len(e.Layers) {
				t.Errorf("interrupted in run %d: epoch %d is %+v, unbroken %+v", at, i+1, g, e)
			}
		}
		sameWeights(t, whole, tr)
	}
}

// fitOn trains to four epochs, once more with a fresh context when it was interrupted.
func fitOn(t *testing.T, dev engine.Device, m *onnx.Model, r train.Recipe, d data.Splits, ctx context.Context) (train.Outcome, *train.Trainer) {
	t.Helper()
	tr, err := train.New(m, r, d, train.Options{Device: dev, Probe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	out, err := tr.Fit(ctx, 4)
	if ctx.Err() != nil {
		if out != train.Interrupted || !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted: %q, %v", out, err)
		}
		out, err = tr.Fit(context.Background(), 4)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out, tr
}

func sameWeights(t *testing.T, a, b *train.Trainer) {
	t.Helper()
	x, err := a.Model()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range x.Graph.Initializers {
		p, _ := w.Raw()
		q, _ := y.Graph.Initializer(w.Name).Raw()
		if !slices.Equal(p, q) {
			t.Errorf("weight %q differs", w.Name)
		}
	}
}

// The weights that early stopping keeps are one copy, however often the training has improved.
func TestTheBestWeightsAreKeptOnce(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	r.EarlyStopping = train.EarlyStopping{Monitor: "loss", Patience: 3, RestoreBest: true}
	tr := newTrainer(t, m, r, d, false)
	var bytes []int
	for epoch := 1; epoch <= 4; epoch++ {
		if _, err := tr.Fit(context.Background(), epoch); err != nil {
			t.Fatal(err)
		}
		s, err := tr.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		bytes = append(bytes, s.Bytes()-8*len(tr.Trace().Losses))
	}
	if bytes[3] != bytes[0] {
		t.Errorf("a snapshot after 1, 2, 3 and 4 improvements holds %v bytes beside the losses", bytes)
	}
}

// Small steps, whole epochs: the same bits. Looking (Probe, Evaluate, Predict, Snapshot) changes nothing.
func TestStepsLooksAndEpochsGiveTheSameBits(t *testing.T) {
	for _, name := range []string{"pytorch_cnn", "keras_cnn", "keras_conv1d"} {
		m, r, d := traintest.Export(t, name)
		r.BatchSize = 37
		whole := newTrainer(t, m, r, d, true)
		if _, err := whole.Fit(context.Background(), 2); err != nil {
			t.Fatal(err)
		}
		small := newTrainer(t, m, r, d, true)
		for small.EpochsDone() < 2 {
			if _, err := small.Advance(context.Background(), 1); err != nil {
				t.Fatal(err)
			}
			before, err := small.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := small.Probe(context.Background()); err != nil {
				t.Fatal(err)
			}
			for _, rows := range [][]int32{d.Search[:1], d.Search} {
				if _, err := small.Evaluate(context.Background(), rows); err != nil {
					t.Fatal(err)
				}
			}
			after, _ := small.Snapshot()
			if before.Bytes() != after.Bytes() {
				t.Fatal("looking changed the state")
			}
		}
		if !slices.Equal(small.Trace().Losses, whole.Trace().Losses) {
			t.Errorf("%s: the losses differ", name)
		}
		sameWeights(t, whole, small)
	}
}

// A row's evaluation does not depend on what it is evaluated with.
func TestEvaluationOfAnyNumberOfRows(t *testing.T) {
	m, r, d := traintest.Export(t, "keras_cnn")
	tr := newTrainer(t, m, r, d, false)
	rows := slices.Concat(d.Train, d.Search, d.Holdout, d.Train)
	all, err := tr.Predict(context.Background(), rows)
	if err != nil {
		t.Fatal(err)
	}
	width := len(all[0]) / len(rows)
	for _, n := range []int{1, 2, len(d.Train), len(rows) - 1} {
		some, err := tr.Predict(context.Background(), rows[:n])
		if err != nil || !slices.Equal(some[0], all[0][:n*width]) {
			t.Errorf("%d rows: %v, or other outputs than among %d rows", n, err, len(rows))
		}
	}
}
