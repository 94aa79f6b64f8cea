package onnxgo

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	onnxgo "github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/train"
	"netmend/train/traintest"
)

// model encodes a graph of opset 13 with a float input x of shape [2] and an output y.
func model(t *testing.T, nodes []*onnx.Node, inits ...*onnx.Tensor) *onnx.Model {
	t.Helper()
	m := &onnx.Model{IRVersion: 8, Graph: &onnx.Graph{Name: "g", Nodes: nodes, Initializers: inits,
		Inputs:  []onnx.Value{onnx.NewValue("x", onnx.Float32, 2)},
		Outputs: []onnx.Value{onnx.NewValue("y", onnx.Float32, 2)}}}
	m.SetOpset("", 13)
	return m
}

// decoded gives a model to onnx-go.
func decoded(t *testing.T, m *onnx.Model) (*Backend, *onnxgo.Model) {
	t.Helper()
	raw, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	opset, err := Opset(raw)
	if err != nil {
		t.Fatal(err)
	}
	b := New(reference.New(), opset)
	g := onnxgo.NewModel(b)
	if err := g.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	return b, g
}

func vec(v ...float32) tensor.Tensor {
	return tensor.New(tensor.WithShape(len(v)), tensor.WithBacking(v))
}

func nodeOf(op string, out string, in ...string) *onnx.Node {
	return onnx.NewNode(op, "", in, []string{out})
}

func TestGraphsThatOnnxGoBends(t *testing.T) {
	two := onnx.NewFloat32("c", []int64{2}, []float32{10, 20})
	zero := onnx.NewFloat32("z", []int64{2}, []float32{0, 0})
	ir3 := model(t, []*onnx.Node{nodeOf("Add", "y", "x", "c")}, two)
	ir3.IRVersion = 3
	ir3.Graph.Inputs = append(ir3.Graph.Inputs, onnx.NewValue("c", onnx.Float32, 2))
	typed := model(t, []*onnx.Node{nodeOf("Mul", "h", "x", "x"), nodeOf("Add", "y", "h", "c")}, two)
	typed.Graph.ValueInfo = []onnx.Value{onnx.NewValue("h", onnx.Float32, 2), onnx.NewValue("c", onnx.Float32, 2), onnx.NewValue("x", onnx.Float32, 2)}
	constant := func(out string, v float32) *onnx.Node {
		return onnx.NewNode("Constant", "", nil, []string{out}, onnx.TensorAttr("value", onnx.NewFloat32("", []int64{2}, []float32{v, v})))
	}
	for _, c := range []struct {
		name string
		m    *onnx.Model
		want []float64 // for x = [3, -4]
	}{
		{"duplicate edge", model(t, []*onnx.Node{nodeOf("Mul", "y", "x", "x")}), []float64{9, 16}},
		{"order of inputs", model(t, []*onnx.Node{nodeOf("Sub", "y", "c", "x")}, two), []float64{7, 24}},
		{"same value thrice", model(t, []*onnx.Node{nodeOf("Sum", "y", "x", "c", "x")}, two), []float64{16, 12}},
		{"initializer of zeros", model(t, []*onnx.Node{nodeOf("Add", "y", "x", "z")}, zero), []float64{3, -4}},
		{"initializer among the inputs", ir3, []float64{13, 16}},
		{"value_info of everything", typed, []float64{19, 36}},
		{"nodes without inputs", model(t, []*onnx.Node{constant("a", 1), constant("b", 5), nodeOf("Sub", "h", "a", "b"), nodeOf("Add", "y", "x", "h")}),
			[]float64{-1, -8}},
		{"optional input left out", model(t, []*onnx.Node{nodeOf("Clip", "y", "x", "", "m")}, onnx.NewFloat32("m", nil, []float32{1})), []float64{1, -4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, g := decoded(t, c.m)
			if err := g.SetInput(0, vec(3, -4)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a second run has the same result
				if err := b.Run(); err != nil {
					t.Fatal(err)
				}
			}
			out, err := g.GetOutputTensors()
			if err != nil {
				t.Fatal(err)
			}
			if got := elements(out[0]); !slices.Equal(got, c.want) {
				t.Errorf("got %v, wants %v", got, c.want)
			}
			if m, err := b.Model(g.Output...); err != nil || onnx.Check(m) != nil {
				t.Errorf("the rebuilt model: %v, %v", err, onnx.Check(m))
			}
		})
	}
}

func TestGraphKeepsBothEdges(t *testing.T) {
	b, g := decoded(t, model(t, []*onnx.Node{nodeOf("Mul", "y", "x", "x")}))
	x, _ := g.GetNodeByName("x")
	y, _ := g.GetNodeByName("y")
	if n := len(b.edges[y.ID()]); n != 2 {
		t.Errorf("%d edges, wants 2", n)
	}
	if !b.HasEdgeFromTo(y.ID(), x.ID()) || b.HasEdgeFromTo(x.ID(), y.ID()) || !b.HasEdgeBetween(x.ID(), y.ID()) {
		t.Error("the edge leads from the output to the input")
	}
	if b.From(y.ID()).Len() != 1 || b.To(x.ID()).Len() != 1 || b.Nodes().Len() != 2 {
		t.Error("neighbours are counted once")
	}
}

func TestTransposedInputIsReadInOrder(t *testing.T) {
	m := model(t, []*onnx.Node{nodeOf("Identity", "y", "x")})
	m.Graph.Inputs[0] = onnx.NewValue("x", onnx.Float32, 3, 2)
	b, g := decoded(t, m)
	x := tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	if err := x.T(); err != nil {
		t.Fatal(err)
	}
	if err := g.SetInput(0, x); err != nil {
		t.Fatal(err)
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	out, _ := g.GetOutputTensors()
	if got := elements(out[0]); !slices.Equal(got, []float64{1, 4, 2, 5, 3, 6}) {
		t.Errorf("got %v", got)
	}
}

func TestRefusals(t *testing.T) {
	if err := New(reference.New(), 13).Run(); err == nil || !strings.Contains(err.Error(), "decode a model") {
		t.Errorf("an empty backend: %v", err)
	}
	b, _ := decoded(t, model(t, []*onnx.Node{nodeOf("Wavelet", "y", "x")}))
	var no *onnxgo.ErrNotImplemented
	if err := b.Run(); !errors.As(err, &no) || no.Operator != "Wavelet" {
		t.Errorf("an unknown operator: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b, _ = decoded(t, model(t, []*onnx.Node{nodeOf("Mul", "y", "x", "x")}))
	if err := b.RunContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
}

// exported is a fixture of testdata/exports with the bytes of its model.
func exported(t *testing.T, name string) ([]byte, train.Recipe, data.Splits) {
	t.Helper()
	m, r, d := traintest.Export(t, name)
	raw, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw, r, d
}

// exports are fixtures that onnx-go can read: none has a Dropout with training_mode, a boolean in raw data.
var exports = []string{"pytorch_conv1d", "pytorch_two_inputs", "pytorch_activations", "pytorch_resnet", "keras_two_inputs", "keras_activations"}

// What onnx-go cannot read is its error, not a model that lacks something.
func TestRawBooleansAreAnError(t *testing.T) {
	for _, name := range []string{"pytorch_mlp", "keras_cnn"} {
		raw, _, _ := exported(t, name)
		if err := onnxgo.NewModel(New(reference.New(), 13)).UnmarshalBinary(raw); err == nil || !strings.Contains(err.Error(), "decode") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A model trained through onnx-go has the weights, bit for bit, that train.New gives it when read without onnx-go, and computes the same.
func TestExportsTrainThroughOnnxGo(t *testing.T) {
	for _, name := range exports {
		t.Run(name, func(t *testing.T) {
			raw, r, d := exported(t, name)
			r.Epochs = 2
			ours, err := onnx.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := train.New(ours, r, d, train.Options{Device: reference.New()})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if _, err := tr.Fit(context.Background(), r.Epochs); err != nil {
				t.Fatal(err)
			}
			want, err := tr.Model()
			if err != nil {
				t.Fatal(err)
			}

			b := New(reference.New(), ours.Opset(""))
			g := onnxgo.NewModel(b)
			if err := g.UnmarshalBinary(raw); err != nil {
				t.Fatal(err)
			}
			inputs := tr.Inputs(d.Search)
			prepared := d // in the layout of the model
			prepared.Inputs = nil
			for _, v := range ours.Graph.DataInputs() {
				a := tr.Inputs(allRows(d.Rows()))[v.Name]
				prepared.Inputs = append(prepared.Inputs, a)
			}
			r.Preprocessing = nil
			if out, err := b.Train(context.Background(), g, r, prepared); err != nil || out != train.Completed {
				t.Fatalf("%s: %v", out, err)
			}
			got, err := b.Model(g.Output...)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range want.Graph.Initializers {
				same(t, got.Graph.Initializer(w.Name), w)
			}

			outputs, err := train.Infer(context.Background(), reference.New(), want, inputs)
			if err != nil {
				t.Fatal(err)
			}
			for name, a := range inputs {
				n, _ := g.GetNodeByName(name)
				if err := n.(*Node).SetTensor(tensorOf(a)); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Run(); err != nil {
				t.Fatal(err)
			}
			res, err := g.GetOutputTensors()
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range ours.Graph.Outputs {
				a := outputs[v.Name]
				for k, x := range elements(res[i]) {
					if !(math.Abs(x-float64(a.Float[k])) <= 1e-6) {
						t.Fatalf("output %q: element %d is %v, wants %v", v.Name, k, x, a.Float[k])
					}
				}
			}
		})
	}
}

func allRows(n int) []int32 {
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}

func tensorOf(a data.Array) tensor.Tensor {
	if a.IsInt() {
		return tensor.New(tensor.WithShape(a.Shape...), tensor.WithBacking(a.Int))
	}
	return tensor.New(tensor.WithShape(a.Shape...), tensor.WithBacking(a.Float))
}

func same(t *testing.T, got, want *onnx.Tensor) {
	t.Helper()
	if !want.Type.IsFloat() {
		return
	}
	w, err := want.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	if got == nil {
		t.Fatalf("initializer %q is lost", want.Name)
	}
	if g, err := got.Float64s(); err != nil || !slices.Equal(g, w) || !slices.Equal(got.Dims, want.Dims) {
		t.Errorf("initializer %q differs (%v)", want.Name, err)
	}
}
