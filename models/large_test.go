package models_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"netmend/data"
	"netmend/models"
	"netmend/onnx"
	"netmend/onnx/ort"
	"netmend/train/lower"
)

func buildLarge(t *testing.T, name string) *onnx.Model {
	t.Helper()
	m, err := models.Build(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLargeNetworksAreValid(t *testing.T) {
	for _, name := range models.LargeNames() {
		m := buildLarge(t, name)
		if err := onnx.Check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := lower.Check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		types, err := onnx.InferShapes(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := types["output"].String(), m.Graph.Outputs[0].Type.String(); got != want {
			t.Errorf("%s: the output is inferred to be %s and declared %s", name, got, want)
		}
	}
}

// A lite network has the layers of the whole one under the same names, so that a patch of one is a patch of the other.
func TestLiteNetworksHaveTheSameLayers(t *testing.T) {
	lite := 0
	for _, name := range models.LargeNames() {
		whole, ok := strings.CutSuffix(name, "-lite")
		if !ok {
			continue
		}
		lite++
		small, large := buildLarge(t, name).Graph, buildLarge(t, whole).Graph
		if len(small.Nodes) != len(large.Nodes) {
			t.Fatalf("%s has %d nodes, %s %d", name, len(small.Nodes), whole, len(large.Nodes))
		}
		for i, n := range small.Nodes {
			if o := large.Nodes[i]; n.Name != o.Name || n.OpType != o.OpType || !slices.Equal(n.Inputs, o.Inputs) || !slices.Equal(n.Outputs, o.Outputs) {
				t.Errorf("%s: node %d is %s %q, %s has %s %q", name, i, n.OpType, n.Name, whole, o.OpType, o.Name)
			}
		}
	}
	if 2*lite != len(models.LargeNames()) {
		t.Errorf("%d of %d networks are lite", lite, len(models.LargeNames()))
	}
}

// The weights of MobileNetV2 by Sandler et al. 2018, table 2, counted by hand: a block of expansion t from i to o channels has t·i² + 2·t·i weights in
// and behind its first convolution (none for t = 1), 9·t·i + 2·t·i depthwise, and t·i·o + 2·o last.
func TestMobileNetV2HasTheWeightsOfItsTable(t *testing.T) {
	block := func(i, o, t int64) int64 {
		n := 9*t*i + 2*t*i + t*i*o + 2*o
		if t > 1 {
			n += t*i*i + 2*t*i
		}
		return n
	}
	want := int64(3*3*3*32 + 2*32)
	in := int64(32)
	for _, s := range [][3]int64{{1, 16, 1}, {6, 24, 2}, {6, 32, 3}, {6, 64, 4}, {6, 96, 3}, {6, 160, 3}, {6, 320, 1}} {
		for range s[2] {
			want += block(in, s[1], s[0])
			in = s[1]
		}
	}
	want += 320*1280 + 2*1280 + 1280*10 + 10
	params, err := lower.Params(buildLarge(t, "mobilenetv2"))
	if err != nil {
		t.Fatal(err)
	}
	got := int64(0)
	for _, p := range params {
		if p.Role == lower.Fixed || p.Role == lower.RunningMean || p.Role == lower.RunningVar {
			continue
		}
		n := int64(1)
		for _, d := range p.Shape {
			n *= int64(d)
		}
		got += n
	}
	if got != want {
		t.Errorf("%d weights, the table makes %d", got, want)
	}
}

// ONNX Runtime loads every network, and computes for the lite ones what our trainer does, with the same weights.
func TestLargeNetworksInONNXRuntime(t *testing.T) {
	if _, err := ort.FindLibrary(); err != nil {
		t.Skip(err)
	}
	if err := ort.Open(""); err != nil {
		t.Fatal(err)
	}
	for _, name := range models.LargeNames() {
		t.Run(name, func(t *testing.T) {
			m := buildLarge(t, name)
			if !strings.HasSuffix(name, "-lite") {
				s, err := ort.NewSession(m.InferenceForm())
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				return
			}
			fill(t, m)
			inputs := inputsOf(m)
			if strings.HasPrefix(name, "lstm") || strings.HasPrefix(name, "transformer") {
				inputs = map[string]data.Array{"input": wordsOf(m)}
			}
			m = m.InferenceForm()
			got, want := infer(t, m, inputs), run(t, m, inputs)
			if len(got) != len(want) {
				t.Fatalf("%d values, ONNX Runtime has %d", len(got), len(want))
			}
			largest := 0.0
			for i := range got {
				largest = max(largest, math.Abs(float64(want[i])))
				if d := math.Abs(float64(got[i] - want[i])); !(d <= 1e-4*(1+math.Abs(float64(want[i])))) { // up to 52 layers of float32 sums
					t.Errorf("output %d is %v, ONNX Runtime's is %v", i, got[i], want[i])
				}
			}
			if largest < 1e-3 {
				t.Errorf("all outputs are near 0: nothing is compared")
			}
		})
	}
}

// wordsOf is two texts for a model.
func wordsOf(m *onnx.Model) data.Array {
	a := data.Array{Name: "input", Shape: []int{2, int(m.Graph.Inputs[0].Type.Shape[1].Value)}}
	for k := range 2 * a.RowSize() {
		a.Int = append(a.Int, int32(k*k*31%models.Vocabulary))
	}
	return a
}
