package onnx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// mutate changes one random thing of a model: an attribute, a dimension, a wire, a constant.
func mutate(r *rand.Rand, m *Model) {
	ints := []int64{0, 1, -1, 2, 3, -7, 1 << 31, 1 << 40, math.MaxInt64, math.MinInt64}
	value := func() int64 { return ints[r.IntN(len(ints))] }
	n := m.Graph.Nodes[r.IntN(len(m.Graph.Nodes))]
	var names []string
	for _, v := range m.Graph.Inputs {
		names = append(names, v.Name)
	}
	for _, o := range m.Graph.Nodes {
		names = append(names, o.Outputs...)
	}
	switch r.IntN(7) {
	case 0:
		if len(n.Attrs) > 0 {
			a := n.Attrs[r.IntN(len(n.Attrs))]
			a.Int = value()
			for i := range a.Ints {
				if r.IntN(2) == 0 {
					a.Ints[i] = value()
				}
			}
		}
	case 1:
		if len(n.Attrs) > 0 {
			a := n.Attrs[r.IntN(len(n.Attrs))]
			a.Ints = append(a.Ints, value())
			a.Ints = a.Ints[:r.IntN(len(a.Ints)+1)]
			a.Type = AttrType(r.IntN(15))
		}
	case 2:
		if s := m.Graph.Inputs[r.IntN(len(m.Graph.Inputs))].Type.Shape; len(s) > 0 {
			s[r.IntN(len(s))] = []Dim{NewDim(value()), SymbolicDim("N"), NewDim(-1)}[r.IntN(3)]
		}
	case 3:
		t := &m.Graph.Inputs[r.IntN(len(m.Graph.Inputs))].Type
		t.Shape = t.Shape[:r.IntN(len(t.Shape)+1)]
		t.HasShape = r.IntN(5) > 0
	case 4:
		if len(n.Inputs) > 0 {
			n.Inputs[r.IntN(len(n.Inputs))] = names[r.IntN(len(names))]
		}
	case 5:
		n.Inputs = n.Inputs[:r.IntN(len(n.Inputs)+1)]
	case 6:
		data := make([]int64, r.IntN(6))
		for i := range data {
			data[i] = value()
		}
		if len(n.Inputs) > 0 {
			name := n.Inputs[r.IntN(len(n.Inputs))]
			m.Graph.SetInitializer(NewInt64(name, []int64{int64(len(data))}, data))
		}
	}
}

// TestMutatedModels breaks the models of the official tests at random: nothing may panic, a failed inference names
// its node, and inferred shapes stay within bounds.
func TestMutatedModels(t *testing.T) {
	tests := officialTests(t, "onnx-node-tests.tar.xz")
	failed, passed := 0, 0
	for i, o := range tests {
		good, err := Decode(o.model)
		if err != nil {
			t.Fatal(err)
		}
		if len(good.Graph.Inputs) == 0 {
			continue
		}
		for round := range 4 {
			seed := uint64(4*i + round)
			r := rand.New(rand.NewPCG(seed, 1))
			m := good.Clone()
			for range 1 + r.IntN(3) {
				mutate(r, m)
			}
			func() {
				defer func() {
					if p := recover(); p != nil {
						panic(fmt.Sprintf("%s, seed %d: %v", o.name, seed, p))
					}
				}()
				Check(m)
				types, err := InferShapes(m)
				if err != nil {
					failed++
					return
				}
				passed++
				for name, typ := range types {
					if _, err := elementsKnown(typ.Shape); err != nil && !slices.ContainsFunc(m.Graph.Inputs, func(v Value) bool { return v.Name == name }) {
						t.Errorf("%s, seed %d: %q is %s", o.name, seed, name, typ)
					}
				}
			}()
		}
	}
	t.Logf("%d mutants inferred, %d refused", passed, failed)
}
