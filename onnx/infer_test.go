package onnx

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInferShapesLikeONNX compares the types inferred for real models with those that onnx.shape_inference gave,
// as recorded by scripts/onnx_shapes.py.
func TestInferShapesLikeONNX(t *testing.T) {
	b, err := os.ReadFile("testdata/shapes.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string]map[string][2]json.RawMessage
	if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	values := 0
	for _, path := range sharedModels(t) {
		name := filepath.Base(path)
		m, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		m.Graph.ValueInfo = nil
		types, err := InferShapes(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		symbols := map[string]bool{} // onnx makes up names for what it does not know
		for _, v := range m.Graph.Inputs {
			for _, d := range v.Type.Shape {
				symbols[d.Param] = true
			}
		}
		for value, rec := range recorded[name] {
			values++
			want := Type{Kind: KindTensor, HasShape: true}
			var dims []any
			if err := json.Unmarshal(rec[0], &want.Elem); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(rec[1], &dims); err != nil {
				t.Fatal(err)
			}
			for _, d := range dims {
				switch d := d.(type) {
				case float64:
					want.Shape = append(want.Shape, NewDim(int64(d)))
				case string:
					if !symbols[d] {
						d = ""
					}
					want.Shape = append(want.Shape, SymbolicDim(d))
				default:
					want.Shape = append(want.Shape, NewDim(-1))
				}
			}
			got := types[value]
			if fits, _ := typeFits(got, want); !fits || !asDefinite(got, want) {
				t.Errorf("%s: value %q is inferred %s, onnx says %s", name, value, got, want)
			}
		}
	}
	t.Logf("%d values compared", values)
}

// asDefinite reports whether got knows at least what want knows.
func asDefinite(got, want Type) bool {
	if len(got.Shape) != len(want.Shape) {
		return false
	}
	for i, d := range want.Shape {
		if g := got.Shape[i]; d.Known() && !g.Known() && g.Param == "" || d.Param != "" && !g.Known() && g.Param == "" {
			return false
		}
	}
	return true
}

// exports returns the models that the repository's scripts exported from PyTorch and Keras.
func exports(t *testing.T) []string {
	files, err := filepath.Glob("../testdata/exports/*/model.onnx")
	if err != nil || len(files) == 0 {
		t.Fatalf("no exported models: %v", err)
	}
	return files
}

// TestInferShapesOfExports: of a real export every dimension of every value is known, the batch by its name.
func TestInferShapesOfExports(t *testing.T) {
	for _, path := range exports(t) {
		m, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(m); err != nil {
			t.Error(err)
		}
		m.Graph.ValueInfo = nil
		types, err := InferShapes(m)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if dir := filepath.Dir(path); strings.HasSuffix(dir, "_transformer") || strings.HasSuffix(dir, "_vit") {
			continue // their attention folds the batch into other axes by Reshape, and a product with a symbol has no name
		}
		for name, typ := range types {
			for _, d := range typ.Shape {
				if typ.Kind != KindTensor || !typ.HasShape || !d.Known() && d.Param == "" {
					t.Errorf("%s: value %q is %s", path, name, typ)
				}
			}
		}
		for _, o := range m.Graph.Outputs {
			if batch := m.Graph.Inputs[0].Type.Shape[0]; types[o.Name].Shape[0] != batch || batch.Param == "" {
				t.Errorf("%s: output %q is %s, the batch is called %s", path, o.Name, types[o.Name], batch)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, b)
	}
}
