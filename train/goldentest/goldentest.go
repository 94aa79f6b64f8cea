// Package goldentest replays trainings that PyTorch and Keras recorded (scripts/golden_training_*.py) on a device: from the same initial
// weights, in the same batch order, step by step.
package goldentest

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
	"netmend/train"
	"netmend/train/lower"
)

// Tolerance is the largest relative difference of a step's loss that a replay may show.
const Tolerance = 1e-3

type recording struct {
	Version, Precision string
	Rule               struct {
		Rows      int
		BatchSize int `json:"batch_size"`
		Steps     int
	}
	Runs []run
}

type run struct {
	Name, Model, Target string
	Recipe              map[string]any
	Losses              []float64
	Running             map[string][]float64
	Outputs             [][]float64
}

// Run replays the recordings of a framework ("pytorch", "keras") that lie in root/testdata/golden; only every so many runs is replayed; go test -short leaves out eight more of nine.
func Run(t *testing.T, dev engine.Device, root, framework string, every int) {
	if testing.Short() {
		every *= 9
	}
	dir := filepath.Join(root, "testdata", "golden")
	var rec recording
	f, err := os.Open(filepath.Join(dir, "training_"+framework+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&rec); err != nil {
		t.Fatal(err)
	}
	src, err := data.Open(filepath.Join(root, "testdata", "optdigits"), data.Options{Limit: rec.Rule.Rows})
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Runs) == 0 {
		t.Fatal("no runs recorded")
	}
	worst, name := 0.0, ""
	for i := 0; i < len(rec.Runs); i += every {
		r := rec.Runs[i]
		t.Run(framework+"/"+r.Name, func(t *testing.T) {
			if d := replay(t, dev, dir, rec, r, src.Train); d > worst {
				worst, name = d, r.Name
			}
		})
	}
	t.Logf("%s, %s: %d runs, largest relative difference of a loss %.1e (%s)", dev.Name(), rec.Version, (len(rec.Runs)+every-1)/every, worst, name)
}

// digits are the recording's data: pixels over 16 and the targets that a run names.
func digits(set data.Set, target string, rows int) data.Splits {
	x := data.Array{Name: "x", Shape: []int{rows, 64}, Float: make([]float32, rows*64)}
	raw := set.Inputs[0].AsFloat()
	for i := range x.Float {
		x.Float[i] = raw.Float[i] / 16
	}
	labels, _ := data.Labels(&set.Targets[0])
	y := data.Array{Name: "y", Shape: []int{rows}, Int: labels[:rows]}
	if target != "class" {
		hot, err := data.OneHot(&y, 10)
		if err != nil {
			panic(err)
		}
		y = *hot
		for i, v := range y.Float {
			switch target {
			case "signs":
				y.Float[i] = 2*v - 1
			case "shifted":
				y.Float[i] = 1 + v
			case "smooth":
				y.Float[i] = 0.9*v + 0.01
			}
		}
	}
	all := make([]int32, rows)
	for i := range all {
		all[i] = int32(i)
	}
	return data.Splits{Set: data.Set{Inputs: []data.Array{x}, Targets: []data.Array{y}}, Train: all}
}

func replay(t *testing.T, dev engine.Device, dir string, rec recording, r run, set data.Set) float64 {
	m, err := onnx.Read(filepath.Join(dir, r.Model))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.Marshal(r.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := train.ParseRecipe(raw)
	if err != nil {
		t.Fatal(err)
	}
	recipe.BatchSize, recipe.Epochs, recipe.Shuffle = rec.Rule.BatchSize, 1000, false
	recipe.Initializers = make(map[string]train.Initializer)
	params, err := lower.Params(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range params {
		if p.Role != lower.Fixed {
			recipe.Initializers[p.Name] = train.Initializer{Name: "model"}
		}
	}
	tr, err := train.New(m, recipe, digits(set, r.Target, rec.Rule.Rows), train.Options{Device: dev})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for done := 0; done < rec.Rule.Steps; done = len(tr.Trace().Losses) {
		if _, err := tr.Advance(context.Background(), rec.Rule.Steps-done); err != nil {
			t.Fatal(err)
		}
		if tr.Outcome() != "" {
			t.Fatalf("%s after %d steps", tr.Outcome(), len(tr.Trace().Losses))
		}
	}
	worst := 0.0
	for i, want := range r.Losses {
		got := tr.Trace().Losses[i]
		d := math.Abs(got-want) / math.Max(math.Abs(want), 1e-12)
		if worst = max(worst, d); !(d <= Tolerance) {
			t.Errorf("step %d: loss %v, %s has %v: %.1e apart", i+1, got, rec.Version, want, d)
			break
		}
	}
	checkState(t, tr, r)
	return worst
}

// checkState compares the running statistics and the outputs in inference form after the last step.
func checkState(t *testing.T, tr *train.Trainer, r run) {
	m, err := tr.Model()
	if err != nil {
		t.Fatal(err)
	}
	near := func(got, want float64) bool { return math.Abs(got-want) <= 2e-3*(1+math.Abs(want)) }
	for name, want := range r.Running {
		init := m.Graph.Initializer(name)
		if init == nil {
			t.Errorf("the model has no running statistic %q", name)
			continue
		}
		got, err := init.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !near(got[i], want[i]) {
				t.Errorf("running statistic %q: %v, want %v", name, got, want)
				break
			}
		}
	}
	rows := make([]int32, len(r.Outputs))
	for i := range rows {
		rows[i] = int32(i)
	}
	pred, err := tr.Predict(context.Background(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range r.Outputs {
		for k, want := range row {
			if got := pred[0][i*len(row)+k]; !near(got, want) {
				t.Errorf("output of row %d: %v, want %v", i, pred[0][i*len(row):(i+1)*len(row)], row)
				return
			}
		}
	}
}
