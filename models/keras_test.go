package models_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/models"
	"netmend/onnx"
	"netmend/onnx/ort"
	"netmend/train"
	"netmend/train/lower"
)

// golden is what Keras makes of a network; see scripts/golden_models.py.
type golden struct {
	Parameters int64
	Shapes     map[string][]int64
	Ops        []string
	Outputs    [][]float64
}

func readGolden(t *testing.T) map[string]golden {
	t.Helper()
	raw, err := os.ReadFile("testdata/keras.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]golden
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSameAsKeras compares parameters, shapes and operators with those of Keras' export, and what ONNX Runtime and our own trainer
// compute with Keras' outputs for the same weights.
func TestSameAsKeras(t *testing.T) {
	all := readGolden(t)
	runtime := ort.Open("")
	if _, err := ort.FindLibrary(); err != nil {
		t.Log(err)
	} else if runtime != nil {
		t.Fatal(runtime)
	}
	for _, name := range models.Names() {
		t.Run(name, func(t *testing.T) {
			want, ok := all[name]
			if !ok {
				t.Fatal("Keras has not been asked")
			}
			m, err := models.Build(name)
			if err != nil {
				t.Fatal(err)
			}
			compareGraph(t, m, want)
			fill(t, m)
			inputs := inputsOf(m)
			if !testing.Short() {
				compareOutputs(t, "our trainer", infer(t, m, inputs), want.Outputs)
			}
			if runtime == nil {
				compareOutputs(t, "ONNX Runtime", run(t, m, inputs), want.Outputs)
			}
		})
	}
}

func compareGraph(t *testing.T, m *onnx.Model, want golden) {
	var ops []string
	for _, n := range m.Graph.Nodes {
		ops = append(ops, n.OpType)
	}
	if !slices.Equal(ops, want.Ops) {
		t.Errorf("the operators are %v, Keras exports %v", ops, want.Ops)
	}
	params, err := lower.Params(m)
	if err != nil {
		t.Fatal(err)
	}
	count, weights := int64(0), 0
	for _, p := range params {
		if p.Role == lower.Fixed {
			continue
		}
		w := m.Graph.Initializer(p.Name)
		if !slices.Equal(w.Dims, want.Shapes[p.Name]) {
			t.Errorf("weight %s has shape %v, Keras' export has %v", p.Name, w.Dims, want.Shapes[p.Name])
		}
		n, _ := w.NumElements()
		count, weights = count+n, weights+1
	}
	if count != want.Parameters || weights != len(want.Shapes) {
		t.Errorf("%d parameters in %d weights, Keras has %d in %d", count, weights, want.Parameters, len(want.Shapes))
	}
}

// value is that of golden_models.py: element k of tensor s.
func value(s, k int, scale float64) float32 {
	bits := uint32(s<<24+k) * 2654435761
	bits = (bits ^ bits>>15) * 2246822519
	return float32((float64(bits)/(1<<31) - 1) * scale)
}

// fill gives the weights the values that Keras' had, and switches dropout off, as for inference.
func fill(t *testing.T, m *onnx.Model) {
	params, err := lower.Params(m)
	if err != nil {
		t.Fatal(err)
	}
	s := 0
	for _, p := range params {
		if p.Role == lower.Fixed {
			continue
		}
		w := m.Graph.Initializer(p.Name)
		n, _ := w.NumElements()
		v := make([]float32, n)
		fan := 100
		if d := w.Dims; len(d) > 1 {
			fan = int(n / d[len(d)-1])
			if len(d) == 4 {
				fan = int(n / d[0])
			}
		}
		for k := range v { // k counts in Keras' layout: [height, width, inputs, units] of a convolution
			at := k
			if d := w.Dims; len(d) == 4 {
				o, i := k%int(d[0]), k/int(d[0])%int(d[1])
				at = (o*int(d[1])+i)*int(d[2]*d[3]) + k/int(d[0]*d[1])
			}
			if v[at] = value(s, k, math.Sqrt(6/float64(fan))); p.Role == lower.RunningVar {
				v[at]++ // positive
			}
		}
		m.Graph.SetInitializer(onnx.NewFloat32(p.Name, w.Dims, v))
		s++
	}
	if m.Graph.Initializer("training") != nil {
		m.Graph.SetInitializer(onnx.NewBool("training", nil, []bool{false}))
	}
}

func inputsOf(m *onnx.Model) map[string]data.Array {
	out := map[string]data.Array{}
	for i, in := range m.Graph.DataInputs() {
		a := data.Array{Name: in.Name, Shape: []int{2}}
		for _, d := range in.Type.Shape[1:] {
			a.Shape = append(a.Shape, int(d.Value))
		}
		a.Float = make([]float32, 2*a.RowSize())
		for k := range a.Float {
			a.Float[k] = value(100+i, k, 1)
		}
		out[in.Name] = a
	}
	return out
}

func infer(t *testing.T, m *onnx.Model, inputs map[string]data.Array) []float32 {
	out, err := train.Infer(context.Background(), reference.New(), m, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out["output"].Float
}

func run(t *testing.T, m *onnx.Model, inputs map[string]data.Array) []float32 {
	s, err := ort.NewSession(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feed := map[string]*onnx.Tensor{}
	for name, a := range inputs {
		var dims []int64
		for _, d := range a.Shape {
			dims = append(dims, int64(d))
		}
		if feed[name] = onnx.NewFloat32(name, dims, a.Float); a.IsInt() {
			words := make([]int64, len(a.Int))
			for i, w := range a.Int {
				words[i] = int64(w)
			}
			feed[name] = onnx.NewInt64(name, dims, words)
		}
	}
	out, err := s.Run(feed)
	if err != nil {
		t.Fatal(err)
	}
	v, err := out["output"].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func compareOutputs(t *testing.T, who string, got []float32, want [][]float64) {
	t.Helper()
	flat := slices.Concat(want...)
	if len(got) != len(flat) {
		t.Fatalf("%s gives %d values, Keras %d", who, len(got), len(flat))
	}
	for i := range flat {
		// Sums of up to 10,000 float32 products in another order.
		if d := math.Abs(float64(got[i]) - flat[i]); !(d <= 2e-5*(1+math.Abs(flat[i]))) {
			t.Errorf("%s: output %d is %v, Keras' is %v", who, i, got[i], flat[i])
		}
	}
}
