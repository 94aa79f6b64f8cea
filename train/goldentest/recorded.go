package goldentest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
	"netmend/train"
	"netmend/train/lower"
)

// What a device may differ in from the recordings beside exports.
const (
	OutputTolerance   = 1e-4 // from ONNX Runtime's outputs, relative to the largest where that is beyond 1
	GradientTolerance = 1e-3 // from the framework's gradients, per weight relative to its largest
	// A bias before a batch normalisation has gradient 0, and what is computed of it is rounding: a gradient below zeroGradient of the
	// largest of all counts as 0 and is compared with gradientFloor of the largest instead of its own. As in scripts/recording.py.
	zeroGradient  = 1e-7
	gradientFloor = 1e-2
)

// EnvExports is the environment variable that names a folder of exports which are too large for the repository.
const EnvExports = "NETMEND_EXPORTS"

// Recorded compares a device with the recordings (scripts/recording.py) beside the exports of root/testdata/exports and, where it is set,
// of the folder that $NETMEND_EXPORTS names: outputs, gradients, ten training steps. It prints a table of the largest differences.
func Recorded(t *testing.T, dev engine.Device, root string) {
	folders := []string{filepath.Join(root, "testdata", "exports")}
	if dir := os.Getenv(EnvExports); dir != "" {
		folders = append(folders, dir)
	} else {
		t.Logf("only the committed exports: %s is not set (scripts/zoo_pytorch.py and scripts/zoo_keras.py make the large ones)", EnvExports)
	}
	var rows []string
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, "*", "recorded.npz"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no recordings in %s: %v", folder, err)
		}
		for _, path := range found {
			dir := filepath.Dir(path)
			t.Run(filepath.Base(dir), func(t *testing.T) {
				e, err := openRecorded(dir)
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, e.compare(t, dev))
			})
		}
	}
	t.Logf("%s, largest differences:\n| export | nodes | weights | outputs | gradients | losses |\n|---|---|---|---|---|---|\n%s", dev.Name(), strings.Join(rows, "\n"))
}

// recorded is an export with its recording.
type recorded struct {
	name   string
	model  *onnx.Model
	recipe train.Recipe // of the recording: plain SGD from the exported weights, no dropout, rows in order
	splits data.Splits
	first  []int32 // the rows of the first batch
	arrays map[string]data.Array
}

func openRecorded(dir string) (*recorded, error) {
	e := &recorded{name: filepath.Base(dir), arrays: map[string]data.Array{}}
	var err error
	if e.model, err = onnx.Read(filepath.Join(dir, "model.onnx")); err != nil {
		return nil, err
	}
	arrays, err := data.ReadNpz(filepath.Join(dir, "recorded.npz"), 0)
	if err != nil {
		return nil, err
	}
	for _, a := range arrays {
		e.arrays[a.Name] = a
	}
	rule, rate := e.arrays["rows"].Int, e.arrays["learning_rate"].Float
	if len(rule) != 2 || len(rate) != 1 || len(e.arrays["losses"].Float) == 0 {
		return nil, errors.New("the recording lacks rows, learning_rate or losses")
	}
	src, err := data.Open(filepath.Join(dir, "data.npz"), data.Options{})
	if err != nil {
		return nil, err
	}
	e.splits.Set = src.Train
	for i := range rule[0] {
		e.splits.Train = append(e.splits.Train, i)
	}
	e.first = e.splits.Train[:rule[1]]
	r, err := train.ReadRecipe(filepath.Join(dir, "recipe.yaml"))
	if err != nil {
		return nil, err
	}
	if e.recipe, err = plainRecipe(e.model, r, float64(rate[0])); err != nil {
		return nil, err
	}
	e.recipe.BatchSize = int(rule[1])
	return e, nil
}

// plainRecipe is what of a recipe a recording keeps: the loss, regularisers, frozen weights.
func plainRecipe(m *onnx.Model, r train.Recipe, rate float64) (train.Recipe, error) {
	var err error
	if r.Optimizer, err = train.DefaultOptimizer("sgd", r.Semantics); err != nil {
		return r, err
	}
	r.Optimizer.LearningRate = rate
	r.Epochs, r.Shuffle = 1000, false
	r.Schedule, r.GradientClip, r.EarlyStopping = train.Schedule{}, train.GradientClip{}, train.EarlyStopping{}
	r.Dropout = map[string]float64{}
	// What the recipe knows as a weight stays one, whatever its role in the graph; all start as exported.
	initializers := map[string]train.Initializer{}
	for name := range r.Initializers {
		initializers[name] = train.Initializer{Name: "model"}
	}
	for _, n := range m.Graph.Nodes {
		if n.Is("Dropout") {
			r.Dropout[n.Label()] = 0
		}
	}
	params, err := lower.Params(m)
	if err != nil {
		return r, err
	}
	for _, p := range params {
		if p.Role != lower.Fixed {
			initializers[p.Name] = train.Initializer{Name: "model"}
		}
	}
	r.Initializers = initializers
	return r, nil
}

// compare checks everything that is recorded and returns the table's row.
func (e *recorded) compare(t *testing.T, dev engine.Device) string {
	weights := 0
	outputs := e.compareOutputs(t, dev)
	loss, grads, err := train.Gradients(context.Background(), dev, e.model, e.recipe, e.splits, e.first)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range grads {
		weights += engine.Len(g.Shape)
	}
	gradients := e.compareGradients(t, grads)
	losses := e.compareLosses(t, dev, loss)
	return fmt.Sprintf("| %s | %d | %d | %.1e | %s | %.1e |", e.name, len(e.model.Graph.Nodes), weights, outputs, gradients, losses)
}

func (e *recorded) compareOutputs(t *testing.T, dev engine.Device) float64 {
	inputs := map[string]data.Array{}
	in := e.model.Graph.DataInputs()
	for i, v := range in {
		a := e.splits.Inputs[0]
		for _, x := range e.splits.Inputs {
			if x.Name == v.Name {
				a = x
			}
		}
		if i > 0 && len(in) != len(e.splits.Inputs) {
			t.Fatalf("%d data arrays for %d inputs", len(e.splits.Inputs), len(in))
		}
		size := a.RowSize() * len(e.first)
		a.Name, a.Shape = v.Name, append([]int{len(e.first)}, a.Shape[1:]...)
		if a.IsInt() {
			a.Int = a.Int[:size]
		} else {
			a.Float = a.Float[:size]
		}
		inputs[v.Name] = a
	}
	got, err := train.Infer(context.Background(), dev, e.model, inputs)
	if err != nil {
		t.Fatal(err)
	}
	worst, found := 0.0, 0
	for name, want := range e.arrays {
		name, ok := strings.CutPrefix(name, "output:")
		if !ok {
			continue
		}
		found++
		d, _ := difference(got[name].Float, want.Float, 1)
		if worst = max(worst, d); !(d <= OutputTolerance) {
			t.Errorf("output %q is %.3g away from ONNX Runtime's", name, d)
		}
	}
	if found != len(e.model.Graph.Outputs) {
		t.Errorf("%d outputs recorded of %d", found, len(e.model.Graph.Outputs))
	}
	return worst
}

// difference is the largest distance of two arrays relative to want's largest magnitude or floor, whichever is larger; NaN or +Inf where
// they cannot be compared.
func difference(got, want []float32, floor float64) (relative, scale float64) {
	if len(got) != len(want) {
		return math.Inf(1), 0
	}
	scale, worst := floor, 0.0
	for i, w := range want {
		scale = max(scale, math.Abs(float64(w)))
		worst = max(worst, math.Abs(float64(got[i])-float64(w))) // max keeps NaN
	}
	return worst / scale, scale
}

// compareGradients returns the largest difference as the table has it.
func (e *recorded) compareGradients(t *testing.T, grads []train.Gradient) string {
	byName := map[string]train.Gradient{}
	for _, g := range grads {
		byName[g.Name] = g
	}
	recordings, largest := 0, 0.0
	for name, want := range e.arrays {
		if strings.HasPrefix(name, "gradient:") {
			recordings++
			_, s := difference(want.Float, want.Float, 0)
			largest = max(largest, s)
		}
	}
	if recordings == 0 {
		if e.recipe.Semantics == train.PyTorch {
			t.Error("no gradients recorded")
		}
		return "–"
	}
	if recordings != len(grads) {
		t.Errorf("%d weights are trained, gradients of %d are recorded", len(grads), recordings)
	}
	worst := 0.0
	for name, want := range e.arrays {
		name, ok := strings.CutPrefix(name, "gradient:")
		if !ok {
			continue
		}
		_, s := difference(want.Float, want.Float, 0)
		if s < zeroGradient*largest {
			s = gradientFloor * largest
		}
		d, _ := difference(byName[name].Values, want.Float, s)
		if worst = max(worst, d); !(d <= GradientTolerance) {
			t.Errorf("gradient by %q, at most %.3g, is off by %.3g of that", name, s, d)
		}
	}
	return fmt.Sprintf("%.1e", worst)
}

// compareLosses replays the training; first is the loss that Gradients gave.
func (e *recorded) compareLosses(t *testing.T, dev engine.Device, first float64) float64 {
	want := e.arrays["losses"].Float
	tr, err := train.New(e.model, e.recipe, e.splits, train.Options{Device: dev})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for len(tr.Trace().Losses) < len(want) && tr.Outcome() == "" {
		if _, err := tr.Advance(context.Background(), len(want)-len(tr.Trace().Losses)); err != nil {
			t.Fatal(err)
		}
	}
	got := tr.Trace().Losses
	if len(got) < len(want) {
		t.Fatalf("%s after %d steps", tr.Outcome(), len(got))
	}
	if got[0] != first {
		t.Errorf("the first step's loss is %v, the gradients' %v", got[0], first)
	}
	worst := 0.0
	for i, w := range want {
		d := math.Abs(got[i]-float64(w)) / math.Max(math.Abs(float64(w)), 1e-12)
		if worst = max(worst, d); !(d <= Tolerance) {
			t.Errorf("step %d: loss %v, recorded %v: %.1e apart", i+1, got[i], w, d)
			break
		}
	}
	return worst
}
