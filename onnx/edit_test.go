package onnx

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// editModel is x -> fc1 (Gemm) -> relu -> bn -> drop -> cond (If, whose branches use relu's output) -> y, with a
// second output h = relu's output.
func editModel() *Model {
	branch := func(op, out string) *Graph {
		return &Graph{Name: op, Nodes: []*Node{NewNode(op, "", []string{"r"}, []string{out})}, Outputs: []Value{NewValue(out, Float32, "N", 3)}}
	}
	ones := []float32{1, 1, 1}
	return &Model{
		IRVersion: 8, Opsets: []Opset{{Version: 17}},
		Graph: &Graph{
			Name: "g",
			Nodes: []*Node{
				NewNode("Gemm", "fc1", []string{"x", "W", "b"}, []string{"a"}),
				NewNode("Relu", "relu", []string{"a"}, []string{"r"}),
				NewNode("BatchNormalization", "bn", []string{"r", "b", "b", "b", "b"}, []string{"n"}),
				NewNode("Dropout", "drop", []string{"n"}, []string{"d", "mask"}),
				NewNode("If", "cond", []string{"c"}, []string{"i"}, GraphAttr("then_branch", branch("Tanh", "t1")), GraphAttr("else_branch", branch("Exp", "t2"))),
				NewNode("Add", "add", []string{"d", "i"}, []string{"y"}),
			},
			Inputs:  []Value{NewValue("x", Float32, "N", 2), NewValue("c", Bool)},
			Outputs: []Value{NewValue("y", Float32, "N", 3), NewValue("mask", Bool, "N", 3)},
			ValueInfo: []Value{
				NewValue("a", Float32, "N", 3), NewValue("r", Float32, "N", 3),
			},
			Initializers: []*Tensor{NewFloat32("W", []int64{2, 3}, make([]float32, 6)), NewFloat32("b", []int64{3}, ones)},
		},
	}
}

func mustBeValid(t *testing.T, m *Model) Types {
	t.Helper()
	if err := Check(m); err != nil {
		t.Fatalf("the edited model is invalid: %v", err)
	}
	types, err := InferShapes(m)
	if err != nil {
		t.Fatalf("the edited model's shapes do not fit: %v", err)
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(b); err != nil {
		t.Fatal(err)
	}
	return types
}

func TestConsumersAndProducer(t *testing.T) {
	g := editModel().Graph
	var labels []string
	for _, n := range g.Consumers("r") {
		labels = append(labels, n.Label())
	}
	if got := strings.Join(labels, " "); got != "bn cond" {
		t.Errorf("consumers of r are %q, want bn and (through its branches) cond", got)
	}
	if p := g.Producer("mask"); p == nil || p.Name != "drop" {
		t.Errorf("producer of mask is %v", p)
	}
	if g.Producer("x") != nil || g.Producer("") != nil || len(g.Consumers("")) != 0 || g.Producer("t1") != nil {
		t.Error("an input, no value or an inner value has a producer")
	}
}

// TestEdits applies a verb to a fresh copy of the model; the copy must be valid afterwards and the original unchanged.
func TestEdits(t *testing.T) {
	m := editModel()
	before, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	input := func(t *testing.T, g *Graph, node string, i int, want string) {
		t.Helper()
		if got := g.Node(node).Input(i); got != want {
			t.Errorf("input %d of %q is %q, want %q", i, node, got, want)
		}
	}
	for _, c := range []struct {
		name string
		edit func(g *Graph) error
		want func(t *testing.T, g *Graph)
	}{
		{"insert after an inner value", func(g *Graph) error { return g.InsertAfter("r", NewNode("Sigmoid", "s", nil, nil)) }, func(t *testing.T, g *Graph) {
			input(t, g, "s", 0, "r")
			input(t, g, "bn", 0, "s_output")
			if in := g.Node("cond").Graph("then_branch").Nodes[0].Inputs[0]; in != "s_output" {
				t.Errorf("the branch still reads %q", in)
			}
		}},
		{"insert after an output", func(g *Graph) error { return g.InsertAfter("y", NewNode("Softmax", "", nil, nil)) }, func(t *testing.T, g *Graph) {
			if p := g.Producer("y"); !p.Is("Softmax") || p.Inputs[0] != g.Node("add").Outputs[0] || p.Inputs[0] != "y_before" {
				t.Errorf("y comes from %+v", p)
			}
		}},
		{"insert after an output, using it twice", func(g *Graph) error { return g.InsertAfter("y", NewNode("Mul", "sq", []string{"", "y"}, nil)) }, func(t *testing.T, g *Graph) {
			input(t, g, "sq", 0, "y_before")
			input(t, g, "sq", 1, "y_before")
		}},
		{"insert after an input", func(g *Graph) error { return g.InsertAfter("x", NewNode("Neg", "neg", nil, []string{"nx"})) }, func(t *testing.T, g *Graph) {
			input(t, g, "fc1", 0, "nx")
		}},
		{"insert after a weight", func(g *Graph) error { return g.InsertAfter("W", NewNode("Abs", "abs", nil, nil)) }, func(t *testing.T, g *Graph) {
			input(t, g, "fc1", 1, "abs_output")
		}},
		{"insert with a later second input", func(g *Graph) error { return g.InsertAfter("d", NewNode("Add", "skip", []string{"", "r"}, nil)) }, func(t *testing.T, g *Graph) {
			input(t, g, "add", 0, "skip_output")
		}},
		{"insert with an input computed after some users", func(g *Graph) error { return g.InsertAfter("n", NewNode("Add", "skip", []string{"", "i"}, nil)) }, func(t *testing.T, g *Graph) {
			input(t, g, "drop", 0, "skip_output")
		}},
		{"insert before", func(g *Graph) error { return g.InsertBefore(g.Node("bn"), 0, NewNode("Tanh", "tanh", nil, nil)) }, func(t *testing.T, g *Graph) {
			input(t, g, "bn", 0, "tanh_output")
			input(t, g, "tanh", 0, "r")
			if in := g.Node("cond").Graph("then_branch").Nodes[0].Inputs[0]; in != "r" {
				t.Errorf("the branch reads %q", in)
			}
		}},
		{"remove", func(g *Graph) error { return g.Remove(g.Node("relu")) }, func(t *testing.T, g *Graph) {
			input(t, g, "bn", 0, "a")
			if in := g.Node("cond").Graph("else_branch").Nodes[0].Inputs[0]; in != "a" {
				t.Errorf("the branch reads %q", in)
			}
			if findValue(g.ValueInfo, "r") != nil {
				t.Error("value_info of r is still there")
			}
		}},
		{"remove a node with parameters", func(g *Graph) error { return g.Remove(g.Node("bn")) }, func(t *testing.T, g *Graph) { input(t, g, "drop", 0, "r") }},
		{"replace", func(g *Graph) error {
			return g.Replace(g.Node("relu"), NewNode("LeakyRelu", "", nil, nil, Float("alpha", 0.2)))
		}, func(t *testing.T, g *Graph) {
			if n := g.Node("relu"); n.OpType != "LeakyRelu" || n.Float("alpha", 0) != 0.2 || n.Inputs[0] != "a" || n.Outputs[0] != "r" {
				t.Errorf("the new node is %+v", n)
			}
		}},
		{"rename a value", func(g *Graph) error { return g.Rename("r", "hidden") }, func(t *testing.T, g *Graph) {
			input(t, g, "bn", 0, "hidden")
			if in := g.Node("cond").Graph("then_branch").Nodes[0].Inputs[0]; in != "hidden" || findValue(g.ValueInfo, "hidden") == nil {
				t.Errorf("the branch reads %q", in)
			}
		}},
		{"rename an input, an output and a weight", func(g *Graph) error {
			for _, p := range [][2]string{{"x", "image"}, {"y", "score"}, {"W", "fc1.weight"}} {
				if err := g.Rename(p[0], p[1]); err != nil {
					return err
				}
			}
			return nil
		}, func(t *testing.T, g *Graph) {
			input(t, g, "fc1", 1, "fc1.weight")
			if g.Input("image") == nil || g.Output("score") == nil || g.Initializer("fc1.weight") == nil {
				t.Error("a declaration kept its old name")
			}
		}},
		{"remove what is unused", func(g *Graph) error {
			g.Outputs = g.Outputs[:1]
			g.Initializers = append(g.Initializers, NewFloat32("stale", []int64{1}, []float32{1}))
			g.Inputs = append(g.Inputs, NewValue("stale", Float32, 1))
			g.Nodes = append(g.Nodes, NewNode("Neg", "dead1", []string{"r"}, []string{"d1"}), NewNode("Neg", "dead2", []string{"d1"}, []string{"d2"}))
			if got := strings.Join(g.RemoveUnused(), " "); got != "dead2 dead1 stale" {
				t.Errorf("removed %q", got)
			}
			return nil
		}, func(t *testing.T, g *Graph) {
			if g.Initializer("stale") != nil || g.Input("stale") != nil || g.Initializer("W") == nil || len(g.Nodes) != 6 {
				t.Errorf("wrong things were removed")
			}
		}},
		{"freeze a dimension", func(g *Graph) error { return g.FreezeDim("N", 4) }, func(t *testing.T, g *Graph) {
			if d, _ := g.Input("x").Type.Dims(); !slices.Equal(d, []int64{4, 2}) {
				t.Errorf("x has shape %v", d)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := m.Clone()
			if err := c.edit(e.Graph); err != nil {
				t.Fatal(err)
			}
			c.want(t, e.Graph)
			mustBeValid(t, e)
		})
	}
	if after, _ := m.Encode(); string(after) != string(before) {
		t.Error("editing clones changed the original")
	}
}

// TestEditErrors: each verb refuses what would break the graph, and leaves the graph as it was.
func TestEditErrors(t *testing.T) {
	stranger := NewNode("Relu", "stranger", []string{"a"}, []string{"q"})
	for want, edit := range map[string]func(g *Graph) error{
		`has no value "nope"`:             func(g *Graph) error { return g.InsertAfter("nope", NewNode("Relu", "", nil, nil)) },
		`no op type`:                      func(g *Graph) error { return g.InsertAfter("a", &Node{}) },
		`output "r" exists already`:       func(g *Graph) error { return g.InsertAfter("a", NewNode("Relu", "n", nil, []string{"r"})) },
		`a node of this name already`:     func(g *Graph) error { return g.InsertAfter("a", NewNode("Relu", "bn", nil, nil)) },
		`input "nope" does not exist`:     func(g *Graph) error { return g.InsertAfter("a", NewNode("Add", "n", []string{"", "nope"}, nil)) },
		`input "d" depends on it`:         func(g *Graph) error { return g.InsertAfter("a", NewNode("Add", "n", []string{"", "d"}, nil)) },
		`is in the graph already`:         func(g *Graph) error { return g.InsertAfter("a", g.Node("relu")) },
		`"stranger": is not in the graph`: func(g *Graph) error { return g.Remove(stranger) },
		`"relu": has no input 3`:          func(g *Graph) error { return g.InsertBefore(g.Node("relu"), 3, NewNode("Neg", "", nil, nil)) },
		`input "i" is computed later`: func(g *Graph) error {
			return g.InsertBefore(g.Node("bn"), 0, NewNode("Add", "n", []string{"", "i"}, nil))
		},
		`it joins "d" and "i"`:  func(g *Graph) error { return g.Remove(g.Node("add")) },
		`output "mask" is used`: func(g *Graph) error { return g.Remove(g.Node("drop")) },
		`it has a subgraph`:     func(g *Graph) error { return g.Remove(g.Node("cond")) },
		`graph output "mask" would be "x"`: func(g *Graph) error {
			g.Nodes[0].Outputs[0], g.Nodes[3].Outputs = "mask", []string{"d"}
			return g.Remove(g.Nodes[0])
		},
		`replaced by Tanh: output "r" is used`:   func(g *Graph) error { return g.Replace(g.Node("relu"), NewNode("Tanh", "t", nil, []string{"z"})) },
		`value "n" exists already`:               func(g *Graph) error { return g.Replace(g.Node("relu"), NewNode("Tanh", "t", nil, []string{"r", "n"})) },
		`input "d" is not defined before it`:     func(g *Graph) error { return g.Replace(g.Node("relu"), NewNode("Tanh", "t", []string{"d"}, nil)) },
		`"relu": cannot be replaced: there is a`: func(g *Graph) error { return g.Replace(g.Node("relu"), NewNode("Tanh", "bn", nil, nil)) },
		`rename: the graph has no value "t1"`:    func(g *Graph) error { return g.Rename("t1", "q") },
		`the name "t1" is taken`:                 func(g *Graph) error { return g.Rename("r", "t1") },
		`the new name is empty`:                  func(g *Graph) error { return g.Rename("r", "") },
		`dimension "N" cannot be -1`:             func(g *Graph) error { return g.FreezeDim("N", -1) },
		`has a value "a" of its own`: func(g *Graph) error {
			sub := g.Node("cond").Graph("then_branch")
			sub.Nodes = append(sub.Nodes, NewNode("Neg", "", []string{"t1"}, []string{"a"}))
			return g.Remove(g.Node("relu"))
		},
	} {
		m := editModel()
		err := edit(m.Graph)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "onnx: ") {
			t.Errorf("got %v, want an error with %q", err, want)
		}
		if strings.Contains(want, `would be`) || strings.Contains(want, `of its own`) {
			continue // the case changed the graph itself
		}
		before, _ := editModel().Encode()
		if after, _ := m.Encode(); string(after) != string(before) {
			t.Errorf("%q: the failed edit changed the graph", want)
		}
	}
}

func TestRenameFollowsAnnotations(t *testing.T) {
	m := editModel()
	p := m.toProto()
	p.Graph.QuantizationAnnotation = []*pb.TensorAnnotation{{TensorName: proto.String("r"),
		QuantParameterTensorNames: []*pb.StringStringEntryProto{{Key: proto.String("SCALE_TENSOR"), Value: proto.String("b")}}}}
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	read, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	clone := read.Clone()
	if err := clone.Graph.Rename("r", "hidden"); err != nil {
		t.Fatal(err)
	}
	if err := clone.Graph.Rename("b", "scale"); err != nil {
		t.Fatal(err)
	}
	a := clone.toProto().Graph.QuantizationAnnotation[0]
	if a.GetTensorName() != "hidden" || a.QuantParameterTensorNames[0].GetValue() != "scale" {
		t.Errorf("the annotation is %v", a)
	}
	if a := read.toProto().Graph.QuantizationAnnotation[0]; a.GetTensorName() != "r" {
		t.Error("renaming in a clone changed the original")
	}
}

// TestEditsOnRealModels puts an Identity after every value of each real model and takes them out again: valid in
// between, and in the end what it was.
func TestEditsOnRealModels(t *testing.T) {
	for _, path := range sharedModels(t) {
		m, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		nodes := len(m.Graph.Nodes)
		if nodes > 250 {
			continue
		}
		m.Graph.ValueInfo = nil
		before, _ := InferShapes(m)
		var values []string
		for _, n := range m.Graph.Nodes {
			if n.Output(0) != "" {
				values = append(values, n.Outputs[0])
			}
		}
		e := m.Clone()
		var inserted []*Node
		for _, v := range values {
			n := NewNode("Identity", "", nil, nil)
			if err := e.Graph.InsertAfter(v, n); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			inserted = append(inserted, n)
		}
		if err := Check(e); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, n := range inserted {
			if err := e.Graph.Remove(n); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if err := Check(e); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after, err := InferShapes(e)
		if err != nil || len(e.Graph.Nodes) != nodes {
			t.Fatalf("%s: %d nodes of %d, %v", name, len(e.Graph.Nodes), nodes, err)
		}
		for _, o := range m.Graph.Outputs {
			if before[o.Name].String() != after[o.Name].String() {
				t.Errorf("%s: output %q was %s, is %s", name, o.Name, before[o.Name], after[o.Name])
			}
		}
	}
}
