package operators

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/onnx/ort"
	"netmend/repair"
	"netmend/train"
)

// graphOperators are those whose edits change the graph.
var graphOperators = []string{"activation", "add_activation", "batch_normalization", "dropout", "units", "layer", "output_head", "input_scaling"}

// haveRuntime says whether ONNX Runtime is installed.
func haveRuntime(t *testing.T) bool {
	if _, err := ort.FindLibrary(); err != nil {
		t.Logf("not compared with ONNX Runtime: %v", err)
		return false
	}
	if err := ort.Open(""); err != nil {
		t.Fatal(err)
	}
	return true
}

// trainOnce trains a subject for one step on the reference device and compares the trained model's outputs, as ONNX Runtime computes
// them, with the device's.
func trainOnce(s repair.Subject, runtime bool) error {
	s.Recipe.BatchSize = min(s.Recipe.BatchSize, 16)
	tr, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: reference.New()})
	if err != nil {
		return err
	}
	defer tr.Close()
	if _, err := tr.Advance(context.Background(), 1); err != nil {
		return err
	}
	if !runtime {
		return nil
	}
	rows := s.Data.Search[:8]
	want, err := tr.Predict(context.Background(), rows)
	if err != nil {
		return err
	}
	m, err := tr.Model()
	if err != nil {
		return err
	}
	return compareWithRuntime(m, tr.Inputs(rows), want[0])
}

func compareWithRuntime(m *onnx.Model, inputs map[string]data.Array, want []float64) error {
	session, err := ort.NewSession(m.InferenceForm())
	if err != nil {
		return err
	}
	defer session.Close()
	feed := map[string]*onnx.Tensor{}
	for name, a := range inputs {
		dims := make([]int64, len(a.Shape))
		for i, d := range a.Shape {
			dims[i] = int64(d)
		}
		if in := slices.IndexFunc(session.Inputs, func(v onnx.Value) bool { return v.Name == name }); a.Int != nil && in >= 0 && session.Inputs[in].Type.Elem == onnx.Int32 {
			feed[name] = onnx.NewInt32(name, dims, a.Int)
			continue
		}
		if a.Int != nil { // tokens
			ids := make([]int64, len(a.Int))
			for i, v := range a.Int {
				ids[i] = int64(v)
			}
			feed[name] = onnx.NewInt64(name, dims, ids)
			continue
		}
		feed[name] = onnx.NewFloat32(name, dims, a.AsFloat().Float)
	}
	out, err := session.Run(feed)
	if err != nil {
		return err
	}
	got, err := out[m.Graph.Outputs[0].Name].Float32s()
	if err != nil || len(got) != len(want) {
		return fmt.Errorf("ONNX Runtime gives %d values, ours are %d (%v)", len(got), len(want), err)
	}
	for i := range got {
		a, b := float64(got[i]), want[i]
		if math.Abs(a-b) > 1e-4*(1+math.Abs(b)) && !(math.IsNaN(a) && math.IsNaN(b)) {
			return fmt.Errorf("ONNX Runtime gives %v where ours is %v", a, b)
		}
	}
	return nil
}

// shortShare: with -short, one edit of so many is trained. Under the race detector, which is ten times slower, they are repetitions.
const shortShare = 8

// TestEditedModelsTrain trains what the graph's operators make of every fixture.
func TestEditedModelsTrain(t *testing.T) {
	runtime := haveRuntime(t)
	turn, tried, trained := 0, 0, 0
	for _, name := range fixtures(t) {
		s := subject(t, name)
		if err := trainOnce(s, runtime); err != nil {
			t.Fatalf("%s: the fixture itself: %v", name, err)
		}
		for _, slot := range All().Space(s) {
			if !slices.Contains(graphOperators, slot.Operator) {
				continue
			}
			values := slices.DeleteFunc(slices.Clone(samples(slot.Domain)), func(v repair.Value) bool { return v == slot.Current })
			if len(values) > 3 { // activations: every function has its turn
				values = values[turn%len(values):][:1]
				turn++
			}
			for _, v := range values {
				tried++
				if testing.Short() && tried%shortShare != 0 {
					continue
				}
				e := repair.Edit{Operator: slot.Operator, Target: slot.Target, Value: v}
				got, err := All().Apply(s, repair.NewPatch(e))
				if err == nil {
					err = trainOnce(got, runtime)
				}
				if err != nil {
					t.Errorf("%s: %s: %v", name, e, err)
				}
				trained++
			}
		}
	}
	t.Logf("%d edited models trained; compared with ONNX Runtime: %v", trained, runtime)
}
