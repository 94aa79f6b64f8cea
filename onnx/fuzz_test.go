package onnx

import (
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// seeds are small models to start fuzzing from: the well-formed and the malformed ones of the tests, and real ones.
func seeds(f *testing.F) {
	add := func(m *Model) {
		if m.Graph != nil {
			if b, err := m.Encode(); err == nil {
				f.Add(b)
			}
		}
	}
	add(small())
	add(editModel())
	for _, c := range malformed {
		m := small()
		c.spoil(m)
		add(m)
	}
	p, n := new(pb.ModelProto), 0
	fill(p.ProtoReflect(), 4, &n)
	if b, err := proto.Marshal(p); err == nil {
		f.Add(b)
	}
	f.Add(externalModel("", "data"))
	for _, name := range []string{"keras-mnist-sm", "onnx2c-test_lstm_simple", "ortgo-example_multitype", "onnx-light_vgg19", "gomlx-linear_test"} {
		if b, err := os.ReadFile(sharedDir() + "/" + name + ".onnx"); err == nil {
			f.Add(b)
		}
	}
}

// FuzzDecode: whatever is decoded can be encoded and comes back as the same message.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		want := new(pb.ModelProto)
		if err := proto.Unmarshal(b, want); err != nil {
			t.Fatalf("decoded what protobuf does not: %v", err)
		}
		out, err := m.Clone().Encode()
		if err != nil {
			t.Fatal(err)
		}
		got := new(pb.ModelProto)
		if err := proto.Unmarshal(out, got); err != nil {
			t.Fatal(err)
		}
		if !unordered(want) && len(m.Graph.Nodes) == len(want.Graph.Node) && !hasSubgraphs(m) && !proto.Equal(want, got) {
			t.Fatalf("%v\nbecame\n%v", want, got)
		}
		again, err := Decode(out)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || string(twice) != string(out) {
			t.Fatalf("a second round trip changed the bytes, %v", err)
		}
	})
}

func hasSubgraphs(m *Model) bool {
	found := false
	eachNode(m.Graph.Nodes, func(n *Node) { found = found || len(n.Subgraphs()) > 0 })
	for _, f := range m.Functions {
		eachNode(f.Nodes, func(n *Node) { found = found || len(n.Subgraphs()) > 0 })
	}
	return found
}

// FuzzCheckInfer: no model makes Check, InferShapes, the readers of tensors or the editing verbs panic, and a model
// that passes Check still does after edits.
func FuzzCheckInfer(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		for _, x := range m.Graph.Initializers {
			x.Float64s()
			x.Int64s()
			x.Raw()
			x.Strings()
		}
		valid := Check(m) == nil
		types, err := InferShapes(m)
		if err == nil {
			c := m.Clone()
			c.Graph.SetValueInfo(types)
			if _, err := InferShapes(c); err != nil && valid {
				t.Fatalf("the inferred types do not fit their own model: %v", err)
			}
		}
		if len(m.Graph.Nodes) > 50 {
			return
		}
		e := m.Clone()
		for _, n := range m.Graph.Nodes {
			if v := n.Output(0); v != "" {
				e.Graph.InsertAfter(v, NewNode("Identity", "", nil, nil))
				e.Graph.Rename(v, v+"'")
			}
		}
		if err := Check(e); valid && err != nil {
			t.Fatalf("inserting and renaming made a valid model invalid: %v", err)
		}
		for _, n := range append([]*Node(nil), e.Graph.Nodes...) {
			e.Graph.Remove(n)
		}
		e.Graph.RemoveUnused()
		if err := Check(e); valid && err != nil {
			t.Fatalf("removing made a valid model invalid: %v", err)
		}
	})
}
