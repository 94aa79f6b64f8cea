package train_test

import (
	"context"
	"slices"
	"testing"

	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/train"
	"netmend/train/lower"
	"netmend/train/traintest"
)

// bare are the parameters of two exports that no layer of ONNX owns.
var bare = map[string][]string{
	"pytorch_vit": {"token", "positions", "temperature", "blocks.0.scale1", "blocks.0.scale2", "blocks.1.scale1", "blocks.1.scale2"},
	// Of what Keras writes as products and sums, gains and shifts of layer normalisation and biases of attention are parameters, too.
	"keras_vit":        {"tokens/token", "tokens/positions", "scale0a/factor", "scale0b/factor", "scale1a/factor", "scale1b/factor"},
	"pytorch_peephole": {"peep_i", "peep_f", "peep_o"},
}

func find(params []train.Param, name string) *train.Param {
	i := slices.IndexFunc(params, func(p train.Param) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &params[i]
}

// What the recipe names is a weight: the graph makes it a constant.
func TestBareParametersAreWeightsByTheRecipe(t *testing.T) {
	for export, names := range bare {
		m, r, _ := traintest.Export(t, export)
		params, err := train.Params(m, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if p := find(params, name); p == nil || p.Role != lower.Parameter || !p.Trained {
				t.Errorf("%s: %q is %+v", export, name, p)
			}
		}
		r.Frozen = append(r.Frozen, names[0])
		delete(r.Initializers, names[1])
		if params, err = train.Params(m, r); err != nil {
			t.Fatal(err)
		}
		if p := find(params, names[0]); p == nil || p.Role != lower.Parameter || p.Trained {
			t.Errorf("%s: the frozen %q is %+v", export, names[0], p)
		}
		if p := find(params, names[1]); p != nil {
			t.Errorf("%s: the constant %q is %+v", export, names[1], p)
		}
	}
}

// Fans of a position table of 17 places and 8 channels, as the frameworks' initialisers count them: Keras' compute_fans((1, 17, 8)) is
// (17, 8), PyTorch's _calculate_fan_in_and_fan_out is (17*8, 1*8).
func TestFansOfBareParameters(t *testing.T) {
	m, r, _ := traintest.Export(t, "pytorch_vit")
	for semantics, want := range map[train.Semantics][2]int{train.Keras: {17, 8}, train.PyTorch: {136, 8}} {
		r.Semantics = semantics
		params, err := train.Params(m, r)
		if err != nil {
			t.Fatal(err)
		}
		if p := find(params, "positions"); p == nil || p.FanIn != want[0] || p.FanOut != want[1] {
			t.Errorf("%s: %+v, wants fans %v", semantics, p, want)
		}
		if p := find(params, "temperature"); p == nil || p.FanIn != 1 || p.FanOut != 1 {
			t.Errorf("%s: %+v, wants fans 1 and 1", semantics, p)
		}
	}
}

// A training changes the parameters that the recipe names and writes them into the model; frozen ones and constants stay.
func TestTrainingMovesBareParameters(t *testing.T) {
	for export, names := range bare {
		m, r, d := traintest.Export(t, export)
		r.Epochs = 1
		r.Frozen = append(r.Frozen, names[0])
		delete(r.Initializers, names[1])
		tr, err := train.New(m, r, d, train.Options{Device: reference.New()})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if _, err := tr.Advance(context.Background(), 2); err != nil {
			t.Fatal(err)
		}
		trained, err := tr.Model()
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			if r.Initializers[name].Name != "model" && i > 1 { // drawn anew: nothing to compare with
				continue
			}
			if moved := !slices.Equal(values(t, m, name), values(t, trained, name)); moved != (i > 1) {
				t.Errorf("%s: %q moved: %v", export, name, moved)
			}
		}
	}
}

func values(t *testing.T, m *onnx.Model, name string) []float32 {
	t.Helper()
	v, err := m.Graph.Initializer(name).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
