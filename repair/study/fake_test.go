package study

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/train"
	"netmend/train/traintest"
)

// fakeTraining answers from a formula of the recipe: a rate near 1e-3 for adam learns to 0.95, others less, rates from 3 diverge, and the seed adds a
// little noise. It counts how often it is started and whether anything asked for the hold-out rows.
type fakeTraining struct {
	w       *fakeWorld
	pause   time.Duration
	r       train.Recipe
	d       data.Splits
	m       *onnx.Model
	steps   int
	epochs  int
	trace   train.Trace
	outcome train.Outcome
	watched bool
}

type fakeWorld struct {
	mu                       sync.Mutex
	starts, holdouts, models int
	live, most               int           // trainings at a time, now and at the most
	capacity                 int           // of the device, in trainings; 0: any number
	pauses                   uint64        // not 0: trainings take some milliseconds, drawn by seed and this number
	step                     time.Duration // that an update takes
	broken                   error         // of every model that is asked for
	kill                     func()        // called before every step
	damage                   float64
	scored                   map[int32]bool // first row of all rows that were scored
	uneven                   float64        // how much more the score is without every other group of rows, as a share
}

type fakeCheckpoint struct {
	steps, epochs int
	trace         train.Trace
	outcome       train.Outcome
}

func (fakeCheckpoint) Bytes() int { return 1000 }

func (w *fakeWorld) start(s repair.Subject, o train.Options) (Training, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts++
	if s.Recipe.BatchSize == 16 || w.capacity > 0 && w.live >= w.capacity {
		return nil, fmt.Errorf("fake: %w", engine.ErrMemory)
	}
	w.live++
	w.most = max(w.most, w.live)
	t := &fakeTraining{w: w, r: s.Recipe, d: s.Data, m: s.Model, watched: o.Watch > 0}
	if w.pauses > 0 {
		t.pause = time.Duration(rand.New(rand.NewPCG(s.Recipe.Seed, w.pauses)).IntN(5000)) * time.Microsecond
	}
	return t, nil
}

func (t *fakeTraining) StepsPerEpoch() int {
	return (len(t.d.Train) + t.r.BatchSize - 1) / t.r.BatchSize
}
func (t *fakeTraining) StepFlops() float64      { return 1e6 * float64(t.r.BatchSize) }
func (t *fakeTraining) EvalSteps(rows int) int  { return (rows + 99) / 100 }
func (t *fakeTraining) EvalFlops(n int) float64 { return 3e5 * float64(n) }
func (t *fakeTraining) Trace() *train.Trace     { return &t.trace }
func (t *fakeTraining) Outcome() train.Outcome  { return t.outcome }
func (t *fakeTraining) EpochsDone() int         { return t.epochs }
func (t *fakeTraining) Close() error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.live--
	return nil
}

func (t *fakeTraining) Model() (*onnx.Model, error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.w.broken != nil {
		return nil, t.w.broken
	}
	t.w.models++
	m := t.m.Clone()
	m.SetMeta("seed", fmt.Sprint(t.r.Seed))
	return m, nil
}

// quality is where a long training ends.
func (t *fakeTraining) quality() float64 {
	q := 0.95
	if t.r.Optimizer.Name == "adam" {
		q -= 0.2 * math.Abs(math.Log10(t.r.Optimizer.LearningRate/1e-3))
	} else {
		q -= 0.3
	}
	if t.r.Loss.Name != "sparse_categorical_crossentropy" {
		q -= t.w.damage
	}
	return max(0.1, q)
}

func (t *fakeTraining) at(epochs float64) float64 {
	noise := rand.New(rand.NewPCG(t.r.Seed, 1)).Float64() * 0.01
	return 0.1 + (t.quality()-0.1)*(1-math.Exp(-epochs)) + noise
}

func (t *fakeTraining) Advance(ctx context.Context, n int) (bool, error) {
	select {
	case <-time.After(t.pause):
	case <-ctx.Done():
	}
	defer func(before int) { time.Sleep(time.Duration(t.steps-before) * t.w.step) }(t.steps)
	for range n {
		if t.w.kill != nil {
			t.w.kill()
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		loss := 2.3 * math.Exp(-float64(t.steps)/float64(t.StepsPerEpoch()))
		if t.steps++; t.r.Optimizer.LearningRate >= 3 && t.steps > 3 {
			loss, t.outcome = math.NaN(), train.Diverged
		}
		if t.trace.Losses = append(t.trace.Losses, loss); t.outcome != "" {
			return false, nil
		}
		if t.steps%t.StepsPerEpoch() == 0 {
			t.epochs++
			e := train.Epoch{Number: t.epochs, Loss: loss, Score: math.NaN()}
			if t.watched {
				e.TrainScore, e.First = t.at(float64(t.epochs)), &train.FirstBatch{LargestRow: 1}
			}
			t.trace.Epochs = append(t.trace.Epochs, e)
			return true, nil
		}
	}
	return false, nil
}

func (t *fakeTraining) Fit(ctx context.Context, epochs int) (train.Outcome, error) {
	for t.epochs < epochs && t.outcome == "" {
		if _, err := t.Advance(ctx, math.MaxInt32); err != nil {
			return train.Interrupted, err
		}
		if n := len(t.trace.Epochs); n > 0 && t.outcome == "" {
			t.trace.Epochs[n-1].Score = t.at(float64(t.epochs))
		}
	}
	if t.outcome != "" {
		return t.outcome, nil
	}
	return train.Completed, nil
}

func (t *fakeTraining) Evaluate(_ context.Context, rows []int32) (train.Evaluation, error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.w.scored == nil {
		t.w.scored = map[int32]bool{}
	}
	t.w.scored[rows[0]] = true
	if len(t.d.Holdout) > 0 && len(rows) > 0 && rows[0] == t.d.Holdout[0] {
		t.w.holdouts++
	}
	if t.r.Loss.Name == "poisson" {
		return train.Evaluation{Score: 0, NonFinite: len(rows)}, nil
	}
	return train.Evaluation{Score: t.at(float64(t.steps) / float64(t.StepsPerEpoch()))}, nil
}

// EvaluateGroups has the same score without any group, but for the world's unevenness.
func (t *fakeTraining) EvaluateGroups(ctx context.Context, rows []int32, n int) (train.Evaluation, error) {
	ev, err := t.Evaluate(ctx, rows)
	for g := range n {
		ev.Without = append(ev.Without, ev.Score*(1+t.w.uneven*float64(g%2)))
	}
	return ev, err
}

func (t *fakeTraining) Checkpoint() (Checkpoint, error) {
	return fakeCheckpoint{t.steps, t.epochs, train.Trace{Losses: append([]float64{}, t.trace.Losses...),
		Epochs: append([]train.Epoch{}, t.trace.Epochs...)}, t.outcome}, nil
}

func (t *fakeTraining) Restore(c Checkpoint) error {
	f := c.(fakeCheckpoint)
	t.steps, t.epochs, t.outcome = f.steps, f.epochs, f.outcome
	t.trace = train.Trace{Losses: append([]float64{}, f.trace.Losses...), Epochs: append([]train.Epoch{}, f.trace.Epochs...)}
	return nil
}

// subject is the exported perceptron with 100 made-up rows.
func subject(t testing.TB) repair.Subject {
	t.Helper()
	m, r, _ := traintest.Export(t, "pytorch_mlp")
	r.Epochs, r.Optimizer.LearningRate = 2, 1e-6
	x, y := make([]float32, 100*64), make([]int32, 100)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range x {
		x[i] = rng.Float32()
	}
	for i := range y {
		y[i] = int32(i % 10)
	}
	in := m.Graph.DataInputs()[0].Name
	set := data.Set{Inputs: []data.Array{{Name: in, Shape: []int{100, 64}, Float: x}}, Targets: []data.Array{{Name: "y", Shape: []int{100}, Int: y}}}
	splits, err := data.Split(set, data.DefaultRatios, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	return repair.Subject{Model: m, Recipe: r, Data: splits}
}

func config(t testing.TB, w *fakeWorld) Config {
	return Config{Subject: subject(t), Operators: operators.All(), Technique: "random", Budget: Budget{Times: 8}, Seed: 7, Start: w.start,
		Device: "fake", Journal: filepath.Join(t.TempDir(), "journal.jsonl"), Seeds: 5}
}
