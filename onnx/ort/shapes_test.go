//go:build cgo

package ort

import (
	"path/filepath"
	"slices"
	"testing"

	"netmend/onnx"
)

// TestInferredShapesAreReal makes every value of the exported models an output and compares the type that ONNX
// Runtime computes with the one that InferShapes gives, at a batch size of 3.
func TestInferredShapesAreReal(t *testing.T) {
	open(t)
	files, err := filepath.Glob("../../testdata/exports/*/model.onnx")
	if err != nil || len(files) == 0 {
		t.Fatalf("no exported models: %v", err)
	}
	values := 0
	for _, path := range files {
		m, err := onnx.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		inputs, dims := map[string]*onnx.Tensor{}, map[string][]int64{}
		for _, v := range m.Graph.DataInputs() {
			d, _ := v.Type.Dims()
			d[0] = 3
			n, err := onnx.Elements(d)
			if err != nil {
				t.Fatal(err)
			}
			inputs[v.Name] = onnx.NewRaw(v.Name, v.Type.Elem, d, make([]byte, n*v.Type.Elem.Bits()/8))
			dims[v.Name] = d
		}
		m.Graph.ValueInfo = nil
		types, err := onnx.InferShapesAt(m, dims)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range m.Graph.Nodes {
			for _, out := range n.Outputs {
				if out != "" && m.Graph.Output(out) == nil {
					m.Graph.Outputs = append(m.Graph.Outputs, onnx.Value{Name: out, Type: onnx.Type{Kind: onnx.KindTensor, Elem: types[out].Elem}})
				}
			}
		}
		for name, got := range outputs(t, m, inputs) {
			values++
			want, known := types[name].Dims()
			if !known || types[name].Elem != got.Type || !slices.Equal(want, got.Dims) {
				t.Errorf("%s: value %q is %s%v, inferred %s", path, name, got.Type, got.Dims, types[name])
			}
		}
	}
	t.Logf("%d values of %d models", values, len(files))
}
