package train_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/reference"
	"netmend/train"
	"netmend/train/traintest"
)

// watchDevices are those that a watched training is tried on.
func watchDevices(t *testing.T) []engine.Device {
	t.Helper()
	c, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Log(err)
		return []engine.Device{reference.New()}
	}
	t.Cleanup(func() { c.Close() })
	return []engine.Device{reference.New(), c}
}

// A watched training is the same to the bit, its trace has the looks at the epochs that Options.Watch says, and interrupted, continued from a
// snapshot or made step by step it sees the same.
func TestWatchingChangesNothing(t *testing.T) {
	for _, dev := range watchDevices(t) {
		for _, name := range traintest.Exports(t) {
			m, r, d := traintest.Export(t, name)
			r.BatchSize, r.Epochs = 37, 2
			if len(d.Train) > 100 {
				d.Train = d.Train[:100]
			}
			fit := func(o train.Options, steps int) (*train.Trainer, *train.Trace) {
				o.Device = dev
				tr, err := train.New(m, r, d, o)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { tr.Close() })
				for steps > 0 && tr.EpochsDone() < r.Epochs {
					if _, err := tr.Advance(context.Background(), steps); err != nil {
						t.Fatal(err)
					}
					s, err := tr.Snapshot()
					if err != nil {
						t.Fatal(err)
					}
					if err := tr.Restore(s); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := tr.Fit(context.Background(), r.Epochs); err != nil {
					t.Fatal(err)
				}
				return tr, tr.Trace()
			}
			plain, trace := fit(train.Options{}, 0)
			watched, seen := fit(train.Options{Watch: 4}, 0)
			_, again := fit(train.Options{Watch: 4}, 3)
			if !slices.Equal(trace.Losses, seen.Losses) || !slices.Equal(seen.Losses, again.Losses) {
				t.Fatalf("%s on %s: losses differ: %v, watched %v", name, dev.Name(), trace.Losses[:3], seen.Losses[:3])
			}
			sameWeights(t, plain, watched)
			for i, e := range seen.Epochs {
				if !math.IsNaN(trace.Epochs[i].TrainScore) || trace.Epochs[i].First != nil || e.First == nil {
					t.Errorf("%s on %s: epoch %d: looked at the first batch: %v", name, dev.Name(), i+1, e.First != nil)
				}
				if g := again.Epochs[i]; !(e.TrainScore > 0 && e.TrainScore <= 1) || g.TrainScore != e.TrainScore {
					t.Errorf("%s on %s: epoch %d: training score %v, step by step %v", name, dev.Name(), i+1, e.TrainScore, g.TrainScore)
				}
			}
		}
	}
}

// The training score is what predictions before every step give, and the first batch's statistics are those of its gradients (held to PyTorch
// and Keras elsewhere) and outputs.
func TestWatchedNumbers(t *testing.T) {
	ctx := context.Background()
	m, r, d := traintest.Export(t, "pytorch_mlp")
	r.Dropout = map[string]float64{} // without dropout training and inference form are the same
	for _, n := range m.Graph.Nodes {
		if n.Is("Dropout") {
			r.Dropout[n.Label()] = 0
		}
	}
	r.BatchSize, r.Epochs, r.Shuffle = 40, 1, false
	dev := reference.New()
	tr, err := train.New(m, r, d, train.Options{Device: dev, Watch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	hits := 0.0
	for at := 0; at < len(d.Train); at += r.BatchSize {
		rows := d.Train[at:min(at+r.BatchSize, len(d.Train))]
		ev, err := tr.Evaluate(ctx, rows)
		if err != nil {
			t.Fatal(err)
		}
		hits += ev.Score * float64(len(rows))
		if _, err := tr.Advance(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	e := tr.Trace().Epochs[0]
	if want := hits / float64(len(d.Train)); math.Abs(e.TrainScore-want) > 1e-12 {
		t.Errorf("training score %v, want %v", e.TrainScore, want)
	}
	trained, err := tr.Model()
	if err != nil {
		t.Fatal(err)
	}
	again := r.Clone()
	for name := range again.Initializers {
		again.Initializers[name] = train.Initializer{Name: "model"}
	}
	_, grads, err := train.Gradients(ctx, dev, trained, again, d, d.Train[:r.BatchSize])
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, l := range e.First.Layers {
		i := slices.IndexFunc(grads, func(g train.Gradient) bool { return g.Name == l.Name })
		if l.Kind != "parameter" || i < 0 {
			continue
		}
		found++
		sum := 0.0
		for _, v := range grads[i].Values {
			sum += float64(v) * float64(v)
		}
		if size := engine.Len(l.Shape); size != len(grads[i].Values) || math.Abs(l.Gradient.MeanSquare*float64(size)-sum) > 1e-5*sum {
			t.Errorf("%s: squared norm %v of %d elements, want %v of %d", l.Name, l.Gradient.MeanSquare*float64(size), size, sum, len(grads[i].Values))
		}
	}
	if found < 4 {
		t.Errorf("%d gradients were compared", found)
	}
	pred, err := tr.Predict(ctx, d.Train[:r.BatchSize])
	if err != nil {
		t.Fatal(err)
	}
	row, width := 0.0, len(pred[0])/r.BatchSize
	for i := range r.BatchSize {
		sum := 0.0
		for _, v := range pred[0][i*width : (i+1)*width] {
			sum += math.Abs(v)
		}
		row = max(row, sum)
	}
	if math.Abs(e.First.LargestRow-row) > 1e-6 {
		t.Errorf("largest row %v, want %v", e.First.LargestRow, row)
	}
}

// In inference form dropout is off and the running statistics stand in for the batch's; the parameters come in the order of the network.
func TestFirstBatchIsInInferenceForm(t *testing.T) {
	m, r, d := traintest.Export(t, "keras_cnn")
	r.Epochs = 1
	var first []*train.FirstBatch
	for _, seed := range []uint64{r.Seed, r.Seed} {
		r.Seed = seed
		tr, err := train.New(m, r, d, train.Options{Device: reference.New(), Watch: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if _, err := tr.Fit(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
		first = append(first, tr.Trace().Epochs[0].First)
		pred, err := tr.Predict(context.Background(), d.Train[:min(r.BatchSize, len(d.Train))])
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, v := range pred[0] {
			sum += math.Abs(v)
		}
		l := first[0].Layers[len(first[0].Layers)-1]
		if got := l.Output.MeanAbs * float64(len(pred[0])); math.Abs(got-sum) > 1e-5*sum {
			t.Errorf("the last node's output sums to %v, predictions to %v", got, sum)
		}
	}
	var order []string
	for _, l := range first[0].Layers {
		if l.Kind == "parameter" {
			order = append(order, l.Name)
		}
	}
	users := map[string]int{}
	for i, n := range m.Graph.Nodes {
		for _, in := range n.Inputs {
			if _, ok := users[in]; !ok {
				users[in] = i
			}
		}
	}
	if !slices.IsSortedFunc(order, func(a, b string) int { return users[a] - users[b] }) {
		t.Errorf("parameters in the order %v", order)
	}
}
