//go:build cgo

package ort

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"netmend/onnx"
)

// open opens the library, or skips the test where there is none.
func open(t *testing.T) {
	t.Helper()
	if _, err := FindLibrary(); err != nil {
		t.Skip(err)
	}
	if err := Open(""); err != nil {
		t.Fatal(err)
	}
}

// model returns a one-node model from x to y.
func model(op string, elem onnx.DataType, dims []any, opset int64) *onnx.Model {
	return &onnx.Model{
		IRVersion: 8, Opsets: []onnx.Opset{{Version: opset}},
		Graph: &onnx.Graph{
			Name:   "g",
			Nodes:  []*onnx.Node{onnx.NewNode(op, op, []string{"x"}, []string{"y"})},
			Inputs: []onnx.Value{onnx.NewValue("x", elem, dims...)}, Outputs: []onnx.Value{onnx.NewValue("y", elem, dims...)},
		},
	}
}

func run(t *testing.T, m *onnx.Model, x *onnx.Tensor) *onnx.Tensor {
	t.Helper()
	s, err := NewSession(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(map[string]*onnx.Tensor{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	return out["y"]
}

// TestElementTypes passes each element type through Identity, as a matrix, as a scalar and without elements.
func TestElementTypes(t *testing.T) {
	open(t)
	raw := make([]byte, 6*8)
	for i := range raw {
		raw[i] = byte(i % 2) // valid for bool too
	}
	for elem := onnx.Float32; elem <= onnx.BFloat16; elem++ {
		if elem == onnx.StringType || elem == onnx.Complex64 || elem == onnx.Complex128 {
			continue
		}
		size := int(elem.Bits() / 8)
		for _, c := range []struct {
			dims []int64
			decl []any
		}{{[]int64{2, 3}, []any{"N", 3}}, {nil, nil}, {[]int64{0, 3}, []any{"N", 3}}} {
			n, _ := onnx.Elements(c.dims)
			if elem.IsFloat() && size == 2 && (len(c.dims) == 0 || n == 0) {
				continue // documented: not without at least one dimension and element
			}
			x := onnx.NewRaw("x", elem, c.dims, raw[:int(n)*size])
			y := run(t, model("Identity", elem, c.decl, 16), x)
			got, err := y.Raw()
			if err != nil {
				t.Errorf("%s%v: %v", elem, c.dims, err)
				continue
			}
			if y.Type != elem || len(y.Dims) != len(c.dims) || string(got) != string(raw[:int(n)*size]) {
				t.Errorf("%s%v: came back as %s%v, bytes %v", elem, c.dims, y.Type, y.Dims, got)
			}
		}
	}
}

func TestStrings(t *testing.T) {
	open(t)
	want := []string{"", "ä", "x y"}
	y := run(t, model("Identity", onnx.StringType, []any{3}, 16), onnx.NewStrings("x", []int64{3}, want))
	got, err := y.Strings()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestGemm compares with y = x·W + b computed by hand, at two batch sizes of one session.
func TestGemm(t *testing.T) {
	open(t)
	m := model("Gemm", onnx.Float32, []any{"N", 2}, 13)
	m.Graph.Nodes[0].Inputs = []string{"x", "W", "b"}
	m.Graph.Initializers = []*onnx.Tensor{
		onnx.NewFloat32("W", []int64{2, 2}, []float32{1, 2, 3, 4}), onnx.NewFloat32("b", []int64{2}, []float32{10, 20}),
	}
	s, err := NewSession(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct{ x, want []float32 }{
		{[]float32{1, 1}, []float32{14, 26}},
		{[]float32{1, 0, 0, 1, float32(math.Inf(1)), 0}, []float32{11, 22, 13, 24, float32(math.Inf(1)), float32(math.Inf(1))}},
	} {
		out, err := s.Run(map[string]*onnx.Tensor{"x": onnx.NewFloat32("x", []int64{int64(len(c.x) / 2), 2}, c.x)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := out["y"].Float32s()
		if err != nil || len(got) != len(c.want) {
			t.Fatalf("got %v, %v", got, err)
		}
		for i := range got {
			if got[i] != c.want[i] && !(math.IsNaN(float64(got[i])) && math.IsInf(float64(c.x[2*(i/2)]), 0)) {
				t.Errorf("x %v: y[%d] = %v, want %v", c.x, i, got[i], c.want[i])
			}
		}
	}
}

func TestErrors(t *testing.T) {
	open(t)
	x := onnx.NewFloat32("x", []int64{1}, []float32{1})
	m := model("Relu", onnx.Float32, []any{1}, 14)
	s, err := NewSession(m)
	if err != nil {
		t.Fatal(err)
	}
	for want, in := range map[string]map[string]*onnx.Tensor{
		`input "x" is missing`:                      {},
		`the model has no input "z"`:                {"x": x, "z": x},
		`input "x" is int64, the model wants float`: {"x": onnx.NewInt64("x", []int64{1}, []int64{1})},
		`has 0 bytes of raw data`:                   {"x": onnx.NewFloat32("x", []int64{5}, nil)},
		`invalid dimensions`:                        {"x": onnx.NewFloat32("x", []int64{2}, []float32{1, 2})},
	} {
		if _, err := s.Run(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run gave %v, want an error with %q", err, want)
		}
	}
	s.Close()
	if _, err := s.Run(map[string]*onnx.Tensor{"x": x}); err == nil {
		t.Error("a closed session ran")
	}
	if _, err := NewSession(model("NoSuchOp", onnx.Float32, []any{1}, 14)); err == nil || !strings.Contains(err.Error(), "NoSuchOp") {
		t.Errorf("an unknown op gave %v", err)
	}
	empty := model("Relu", onnx.Float32, []any{1}, 14)
	empty.Graph.Inputs = nil
	if _, err := NewSession(empty); err == nil {
		t.Error("a model without inputs was accepted")
	}
	if err := Open("/no/such/lib.so"); err == nil {
		t.Error("a second library was opened")
	}
}

func TestFindLibrary(t *testing.T) {
	t.Setenv(EnvLibrary, filepath.Join(t.TempDir(), "nothing"))
	if _, err := FindLibrary(); err == nil || !strings.Contains(err.Error(), EnvLibrary) {
		t.Errorf("a wrong $%s gave %v", EnvLibrary, err)
	}
	dir := t.TempDir()
	t.Setenv(EnvLibrary, dir)
	if _, err := FindLibrary(); err == nil {
		t.Error("an empty folder gave a library")
	}
	want := filepath.Join(dir, "libonnxruntime.so.1")
	if err := os.WriteFile(want, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if got, err := FindLibrary(); err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
}
