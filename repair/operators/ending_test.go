package operators

import (
	"slices"
	"testing"

	"netmend/repair"
)

// Output layers as the exporting scripts wrote them, the targets that belong to them, and those that are no layer's own.
func TestEnding(t *testing.T) {
	for _, c := range []struct {
		name     string
		units    int
		function string
		output   repair.Key
		last     []string
		hidden   []string
		apart    []string
	}{
		{"keras_cnn", 10, "softmax", repair.Key{Operator: "activation", Target: "sequential_1/fc2_1/Softmax"}, []string{"fc2/kernel", "fc2/bias", "sequential_1/fc2_1/Softmax"},
			[]string{"conv1/kernel", "fc1/bias", "sequential_1/relu1_1/Relu", "sequential_1/fc1_1/Relu"}, nil},
		{"pytorch_mlp", 10, "linear", repair.Key{Operator: "add_activation", Target: "/fc2/Gemm"}, []string{"fc2.weight", "fc2.bias", "/fc2/Gemm"},
			[]string{"fc1.weight", "fc1.bias", "/act1/Relu"}, nil},
		{"pytorch_unet", 1, "linear", repair.Key{Operator: "add_activation", Target: "/out/Conv"}, []string{"out.weight"}, []string{"up.0.weight", "/join.1/join.1.5/Relu"}, nil},
		{"keras_transformer", 3, "softmax", repair.Key{Operator: "activation", Target: "functional_1/out_1/Softmax"}, []string{"out/kernel"},
			[]string{"wide0/kernel", "functional_1/wide0_1/Mul/Mul_4"}, []string{"embed/embeddings", "functional_1/attention0_1/softmax_1/Softmax"}},
		{"pytorch_transformer", 3, "linear", repair.Key{Operator: "add_activation", Target: "/fc/Gemm"}, []string{"fc.weight"},
			[]string{"encoder.layers.0.linear1.weight", "/encoder/layers.0/Relu"}, []string{"/encoder/layers.0/self_attn/Softmax"}},
		{"keras_gru", 3, "softmax", repair.Key{Operator: "activation", Target: "functional_1/out_1/Softmax"}, []string{"out/bias"},
			[]string{"gru/forward_gru/gru_cell/kernel"}, []string{"embed/embeddings", "functional_1/gru_1/forward_gru_1/gru_cell_1/Sigmoid_1"}},
	} {
		s := subject(t, c.name)
		e := FindEnding(s)
		if e.Units != c.units || e.Function != c.function || e.Output != c.output {
			t.Errorf("%s: %d %s %v", c.name, e.Units, e.Function, e.Output)
		}
		space := All().Space(s)
		for k, targets := range [][]string{c.last, c.hidden, c.apart} {
			for _, x := range targets {
				if !slices.ContainsFunc(space, func(s repair.Slot) bool { return s.Target == x }) {
					t.Errorf("%s: no slot has the target %q", c.name, x)
				}
				if e.Hidden(x) != (k == 1) || e.Apart(x) != (k == 2) {
					t.Errorf("%s: %q is hidden: %v, apart: %v", c.name, x, e.Hidden(x), e.Apart(x))
				}
			}
		}
	}
	if e := FindEnding(repair.Subject{}); e.Units != 0 || !e.Hidden("x") {
		t.Errorf("without a graph: %+v", e)
	}
	s := subject(t, "pytorch_mlp")
	s.Model = s.Model.Clone()
	s.Model.Graph.Outputs = append(s.Model.Graph.Outputs, s.Model.Graph.Outputs[0])
	if e := FindEnding(s); e.Units != 0 || e.Output != (repair.Key{}) {
		t.Errorf("two outputs: %+v", e)
	}
}
