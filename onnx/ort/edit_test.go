//go:build cgo

package ort

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"netmend/onnx"
)

// TestEditedModelsAgree puts an Identity after every value of real models: ONNX Runtime must give the same outputs.
func TestEditedModelsAgree(t *testing.T) {
	open(t)
	dir := os.Getenv("NETMEND_ONNX")
	if dir == "" {
		dir = filepath.Join("..", "shared", "onnx")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", "..", dir)
	}
	ran := 0
	for _, file := range []string{"mnist-8-cntk", "keras-mnist-sm", "onnx2c-atmega-mnist", "acasxu_1_1", "vnn21-cifar_base_kw", "vnn21-cifar10_small", "onnx2c-test_lstm_with_initial_state"} {
		m, err := onnx.Read(filepath.Join(dir, file+".onnx"))
		if err != nil {
			continue
		}
		ran++
		edited := m.Clone()
		for _, n := range m.Graph.Nodes {
			if n.Output(0) == "" {
				continue
			}
			if err := edited.Graph.InsertAfter(n.Outputs[0], onnx.NewNode("Identity", "", nil, nil)); err != nil {
				t.Fatal(err)
			}
		}
		inputs := map[string]*onnx.Tensor{}
		r := rand.New(rand.NewPCG(1, 2))
		for _, v := range m.Graph.DataInputs() {
			dims, _ := v.Type.Dims()
			for i, d := range dims {
				if d < 1 {
					dims[i] = 2
				}
			}
			n, err := onnx.Elements(dims)
			if err != nil {
				t.Fatal(err)
			}
			data := make([]float32, n)
			for i := range data {
				data[i] = r.Float32()
			}
			inputs[v.Name] = onnx.NewFloat32(v.Name, dims, data)
		}
		want, got := outputs(t, m, inputs), outputs(t, edited, inputs)
		for name := range want {
			a, err := want[name].Float32s()
			if err != nil {
				t.Fatal(err)
			}
			b, err := got[name].Float32s()
			if err != nil || len(a) != len(b) || len(a) == 0 {
				t.Fatalf("%s: %d values became %d, %v", file, len(a), len(b), err)
			}
			for i := range a {
				if d := a[i] - b[i]; d > 1e-5 || d < -1e-5 { // ORT fuses across nodes, but not across these
					t.Fatalf("%s: output %q[%d] was %v, is %v", file, name, i, a[i], b[i])
				}
			}
		}
	}
	if ran == 0 {
		t.Skipf("no models in %s; set NETMEND_ONNX", dir)
	}
	t.Logf("%d models", ran)
}

func outputs(t *testing.T, m *onnx.Model, in map[string]*onnx.Tensor) map[string]*onnx.Tensor {
	t.Helper()
	s, err := NewSession(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
