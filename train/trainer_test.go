package train_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"netmend/data"
	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/train"
	"netmend/train/traintest"
)

func newTrainer(t *testing.T, m *onnx.Model, r train.Recipe, d data.Splits, probe bool) *train.Trainer {
	t.Helper()
	tr, err := train.New(m, r, d, train.Options{Device: reference.New(), Probe: probe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func TestEveryExportTrains(t *testing.T) {
	for _, name := range traintest.Exports(t) {
		t.Run(name, func(t *testing.T) {
			m, r, d := traintest.Export(t, name)
			tr := newTrainer(t, m, r, d, true)
			if _, err := tr.Fit(context.Background(), 3); err != nil {
				t.Fatal(err)
			}
			e := tr.Trace().Epochs
			if len(e) != 3 || !(e[2].Loss < e[0].Loss) {
				t.Errorf("losses of three epochs: %+v", e)
			}
			for _, l := range e[0].Layers {
				// PRelu stands behind a softmax there, which is never negative: its slope has no gradient.
				if l.Name == "prelu/alpha" {
					continue
				}
				if l.Kind == "parameter" && (l.Gradient.NonFinite > 0 || l.Gradient.MaxAbs == 0) {
					t.Errorf("gradient of %s: %+v", l.Name, l.Gradient)
				}
			}
			trained, err := tr.Model()
			if err != nil {
				t.Fatal(err)
			}
			if err := onnx.Check(trained); err != nil {
				t.Error(err)
			}
			// The written model computes what the trainer evaluates.
			rows := d.Search[:min(5, len(d.Search))]
			pred, err := tr.Predict(context.Background(), rows)
			if err != nil {
				t.Fatal(err)
			}
			out, err := train.Infer(context.Background(), reference.New(), trained, tr.Inputs(rows))
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range out[tr.Outputs()[0]].Float {
				if math.Abs(float64(v)-pred[0][i]) > 1e-5*(1+math.Abs(pred[0][i])) {
					t.Fatalf("value %d: %v from the model, %v from the trainer", i, v, pred[0][i])
				}
			}
		})
	}
}

func TestASnapshotContinuesToTheSameBits(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_cnn")
	r.BatchSize = 48 // leaves a smaller last batch
	whole := newTrainer(t, m, r, d, false)
	if _, err := whole.Fit(context.Background(), 4); err != nil {
		t.Fatal(err)
	}
	half := newTrainer(t, m, r, d, false)
	if _, err := half.Fit(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := half.Advance(context.Background(), 2); err != nil { // into the second epoch
		t.Fatal(err)
	}
	s, err := half.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	other := newTrainer(t, m, r, d, false)
	if err := other.Restore(s); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Fit(context.Background(), 4); err != nil {
		t.Fatal(err)
	}
	if a, b := whole.Trace().Losses, other.Trace().Losses; !slices.Equal(a, b) {
		t.Errorf("losses differ: %v and %v", a[len(a)-3:], b[len(b)-3:])
	}
	a, _ := whole.Model()
	b, _ := other.Model()
	for _, x := range a.Graph.Initializers {
		p, _ := x.Raw()
		q, _ := b.Graph.Initializer(x.Name).Raw()
		if !slices.Equal(p, q) {
			t.Errorf("weight %q differs after a restore", x.Name)
		}
	}
}

func TestDivergenceIsAnOutcome(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	r.Optimizer = train.Optimizer{Name: "sgd", LearningRate: 1e30}
	tr := newTrainer(t, m, r, d, false)
	out, err := tr.Fit(context.Background(), 50)
	if err != nil || out != train.Diverged {
		t.Fatalf("outcome %q, %v", out, err)
	}
	if n := len(tr.Trace().Losses); n > 256 {
		t.Errorf("trained on for %d steps", n)
	}
	ev, err := tr.Evaluate(context.Background(), d.Search)
	if err != nil || ev.Score != 0 || ev.NonFinite == 0 {
		t.Errorf("evaluation of a diverged model: %+v, %v", ev, err)
	}
}

func TestEarlyStoppingKeepsTheBest(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	r.Optimizer.LearningRate = 0
	r.Optimizer.WeightDecay = 0
	r.EarlyStopping = train.EarlyStopping{Monitor: "metric", Patience: 2, RestoreBest: true}
	tr := newTrainer(t, m, r, d, false)
	out, err := tr.Fit(context.Background(), 50)
	if err != nil || out != train.Stopped || tr.EpochsDone() != 3 {
		t.Errorf("%q after %d epochs, %v; want stopped after 3: a rate of 0 improves nothing", out, tr.EpochsDone(), err)
	}
}

func TestInterruptedTrainingCanGoOn(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	tr := newTrainer(t, m, r, d, false)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if out, err := tr.Fit(ctx, 2); out != train.Interrupted || !errors.Is(err, context.Canceled) {
		t.Fatalf("%q, %v", out, err)
	}
	if _, err := tr.Fit(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	whole := newTrainer(t, m, r, d, false)
	if _, err := whole.Fit(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tr.Trace().Losses, whole.Trace().Losses) {
		t.Error("the interrupted training took another way")
	}
}

func TestWhatDoesNotFitIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(m *onnx.Model, r *train.Recipe, d *data.Splits)
		want  string
	}{
		"unsupported op":    {func(m *onnx.Model, _ *train.Recipe, _ *data.Splits) { m.Graph.Nodes[1].OpType = "NoSuchOperator" }, `op NoSuchOperator`},
		"foreign domain":    {func(m *onnx.Model, _ *train.Recipe, _ *data.Splits) { m.Graph.Nodes[1].Domain = "com.acme" }, "com.acme"},
		"input too narrow":  {func(_ *onnx.Model, _ *train.Recipe, d *data.Splits) { d.Inputs[0] = narrow(d.Inputs[0], 60) }, `input "input"`},
		"labels beyond":     {func(_ *onnx.Model, _ *train.Recipe, d *data.Splits) { d.Targets[0].Int[3] = 12 }, "labels reach 12"},
		"no training rows":  {func(_ *onnx.Model, _ *train.Recipe, d *data.Splits) { d.Train = nil }, "no training rows"},
		"unknown weight":    {func(_ *onnx.Model, r *train.Recipe, _ *data.Splits) { r.Frozen = []string{"fc9.weight"} }, `no weight "fc9.weight"`},
		"everything frozen": {func(m *onnx.Model, r *train.Recipe, _ *data.Splits) { r.Frozen = names(m) }, "no weights to train"},
		"orthogonal bias": {func(_ *onnx.Model, r *train.Recipe, _ *data.Splits) {
			r.Initializers["fc1.bias"] = train.Initializer{Name: "orthogonal"}
		}, "2 or more dimensions"},
		"unknown array": {func(_ *onnx.Model, r *train.Recipe, _ *data.Splits) {
			r.Preprocessing = []train.Preprocess{{Array: "z", Kind: "minmax"}}
		}, `no array "z"`},
		"metric of two angles": {func(_ *onnx.Model, r *train.Recipe, _ *data.Splits) { r.Loss = train.Loss{Name: "angle"} }, "two angles"},
	} {
		m, r, d := traintest.Export(t, "pytorch_mlp")
		d.Targets[0].Int = slices.Clone(d.Targets[0].Int)
		c.spoil(m, &r, &d)
		tr, err := train.New(m, r, d, train.Options{Device: reference.New()})
		if err == nil {
			tr.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func narrow(a data.Array, n int) data.Array {
	out := data.Array{Name: a.Name, Shape: []int{a.Rows(), n}}
	for i := range a.Rows() {
		out.Float = append(out.Float, a.Float[i*a.RowSize():i*a.RowSize()+n]...)
	}
	return out
}

func names(m *onnx.Model) (s []string) {
	for _, t := range m.Graph.Initializers {
		if t.Type == onnx.Float32 {
			s = append(s, t.Name)
		}
	}
	return s
}

// Targets as class indices and as one-hot rows are the same to every loss that knows classes.
func TestTargetEncodingsAreTheSame(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	hot, err := data.OneHot(&d.Targets[0], 10)
	if err != nil {
		t.Fatal(err)
	}
	var losses [][]float64
	for _, targets := range []data.Array{d.Targets[0], *hot} {
		for _, loss := range []string{"sparse_categorical_crossentropy", "categorical_crossentropy"} {
			d.Targets = []data.Array{targets}
			r.Loss = train.Loss{Name: loss, FromLogits: true}
			tr := newTrainer(t, m, r, d, false)
			if _, err := tr.Fit(context.Background(), 1); err != nil {
				t.Fatal(err)
			}
			losses = append(losses, tr.Trace().Losses)
		}
	}
	for i := range losses {
		for k := range losses[0] {
			if math.Abs(losses[i][k]-losses[0][k]) > 1e-5 {
				t.Fatalf("encoding %d: losses %v, want %v", i, losses[i], losses[0])
			}
		}
	}
}

// The score without a group is that of the other rows alone, in any order of rows.
func TestGroupsAreLeftOut(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	for _, metric := range []train.Metric{train.Accuracy, train.F1} {
		r.Metric = metric
		tr := newTrainer(t, m, r, d, false)
		rows := d.Train[:23]
		ev, err := tr.EvaluateGroups(context.Background(), rows, 4)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := tr.Evaluate(context.Background(), rows)
		if err != nil || whole.Score != ev.Score || whole.Loss != ev.Loss || len(ev.Without) != 4 {
			t.Fatalf("%s: %+v, %v; without groups %+v", metric, ev, err, whole)
		}
		varied := false
		for g, got := range ev.Without {
			var rest []int32
			for i, row := range rows {
				if i%4 != g {
					rest = append(rest, row)
				}
			}
			want, err := tr.Evaluate(context.Background(), rest)
			if err != nil || got != want.Score {
				t.Errorf("%s without group %d: %v, the other rows have %v, %v", metric, g, got, want.Score, err)
			}
			varied = varied || got != ev.Score
		}
		if !varied {
			t.Errorf("%s: all groups have the same score: this shows nothing", metric)
		}
		for n, groups := range map[int]int{1: 0, 3: 3} {
			if ev, err := tr.EvaluateGroups(context.Background(), rows[:n], 20); err != nil || len(ev.Without) != groups {
				t.Errorf("%s, %d rows: %d groups, %v", metric, n, len(ev.Without), err)
			}
		}
	}
}

// Labels that preprocessing divides are class indices cut towards zero to the sparse loss, and numbers that only their equal matches to the
// accuracy. Keras 3 on TensorFlow does the same: of the labels 0, 1, 2, 9, 5, 0 divided by 255 its loss is that of class 0 in every row
// (2.5871 beside 2.4646 undivided), and its accuracy counts predictions of class 0 in rows 0 and 5 alone.
func TestDividedLabelsAreCutByTheSparseLoss(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	r.Loss = train.Loss{Name: "sparse_categorical_crossentropy", FromLogits: true}
	labels := d.Targets[0]
	zeros := labels
	zeros.Int = make([]int32, len(labels.Int))
	divided := r.Clone()
	divided.Preprocessing = append(divided.Preprocessing, train.Preprocess{Array: labels.Name, Kind: "divide", By: 255, Part: "train"})
	fit := func(y data.Array, r train.Recipe) *train.Trace {
		d.Targets = []data.Array{y}
		tr := newTrainer(t, m, r, d, false)
		if _, err := tr.Fit(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
		return tr.Trace()
	}
	got, want, whole := fit(labels, divided), fit(zeros, r), fit(labels, r)
	if !slices.Equal(got.Losses, want.Losses) || slices.Equal(got.Losses, whole.Losses) {
		t.Errorf("losses are %v, of class 0 %v", got.Losses, want.Losses)
	}
}

// A device that has no memory is a result with a cause.
type fullDevice struct{ engine.Device }

func (fullDevice) Compile(*engine.Program) (engine.Executable, error) { return nil, engine.ErrMemory }

func TestOutOfMemoryIsNamed(t *testing.T) {
	m, r, d := traintest.Export(t, "pytorch_mlp")
	if _, err := train.New(m, r, d, train.Options{Device: fullDevice{reference.New()}}); !errors.Is(err, engine.ErrMemory) {
		t.Errorf("error %v is not engine.ErrMemory", err)
	}
}
