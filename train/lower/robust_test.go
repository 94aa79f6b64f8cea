package lower

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"netmend/engine"
	"netmend/onnx"
)

// mutations is the number of changed graphs; 200,000 were run without a panic when this was written.
const mutations = 12000

// exports are the models of testdata/exports by folder name.
func exports(t testing.TB) map[string]*onnx.Model {
	files, err := filepath.Glob("../../testdata/exports/*/model.onnx")
	if err != nil || len(files) == 0 {
		t.Fatalf("no exports: %v", err)
	}
	models := map[string]*onnx.Model{}
	for _, f := range files {
		m, err := onnx.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		models[filepath.Base(filepath.Dir(f))] = m
	}
	return models
}

// mutator changes graphs at random.
type mutator struct {
	*rand.Rand
	ops []string
}

func newMutator(seed uint64) *mutator {
	u := &mutator{Rand: rand.New(rand.NewPCG(seed, 11))}
	for op := range lowerings {
		u.ops = append(u.ops, op)
	}
	slices.Sort(u.ops)
	return u
}

// number is one of those that break things.
func (u *mutator) number() int64 {
	few := []int64{0, 1, -1, 2, 3, -2, 7, 1 << 20, 1<<31 - 1, 1 << 31, 1 << 40, math.MaxInt64, math.MinInt64, -(1 << 31)}
	return few[u.IntN(len(few))]
}

func (u *mutator) name(g *onnx.Graph) string {
	var names []string
	for _, n := range g.Nodes {
		names = append(names, append(slices.Clone(n.Inputs), n.Outputs...)...)
	}
	return names[u.IntN(len(names))]
}

func (u *mutator) mutate(m *onnx.Model) {
	g := m.Graph
	if len(g.Nodes) == 0 {
		return
	}
	n := g.Nodes[u.IntN(len(g.Nodes))]
	switch u.IntN(9) {
	case 0:
		n.OpType = u.ops[u.IntN(len(u.ops))]
	case 1:
		if len(n.Inputs) > 0 {
			n.Inputs[u.IntN(len(n.Inputs))] = u.name(g)
		}
	case 2:
		if len(n.Inputs) > 0 {
			n.Inputs = n.Inputs[:u.IntN(len(n.Inputs))]
		}
	case 3:
		n.Inputs = append(n.Inputs, u.name(g))
	case 4:
		n.Outputs = append(n.Outputs, "extra")
	case 5:
		u.attribute(n)
	case 6:
		if len(g.Initializers) > 0 {
			t := g.Initializers[u.IntN(len(g.Initializers))]
			v := make([]int64, u.IntN(5))
			for i := range v {
				v[i] = u.number()
			}
			c := onnx.NewInt64(t.Name, []int64{int64(len(v))}, v)
			g.SetInitializer(c)
		}
	case 7:
		m.SetOpset("", []int64{1, 5, 6, 7, 9, 11, 13, 18, 21, 24}[u.IntN(10)])
	case 8:
		names := []string{"axis", "axes", "keepdims", "group", "pads", "kernel_shape", "strides", "dilations", "perm", "to", "k", "blocksize",
			"num_groups", "size", "split", "num_outputs", "output_padding", "output_shape", "starts", "ends", "shape", "broadcast"}
		name := names[u.IntN(len(names))]
		if u.IntN(2) == 0 {
			n.SetInt(name, u.number())
			return
		}
		v := make([]int64, u.IntN(5))
		for i := range v {
			v[i] = u.number()
		}
		n.SetInts(name, v...)
	}
}

// attribute changes the numbers of an attribute that the node has.
func (u *mutator) attribute(n *onnx.Node) {
	if len(n.Attrs) == 0 {
		return
	}
	a := n.Attrs[u.IntN(len(n.Attrs))]
	switch {
	case a.Type == onnx.AttrInts && len(a.Ints) > 0:
		v := slices.Clone(a.Ints)
		v[u.IntN(len(v))] = u.number()
		if u.IntN(3) == 0 {
			v = v[:len(v)-1]
		}
		a.Ints = v
	case a.Type == onnx.AttrInt:
		a.Int = u.number()
	case a.Type == onnx.AttrFloat:
		a.Float = float32(math.Inf(1))
	default:
		n.DeleteAttr(a.Name)
	}
}

// lowerMutated lowers m with inputs of about their declared shapes; all that matters is that it returns.
func (u *mutator) lowerMutated(m *onnx.Model) error {
	_ = Check(m)
	if _, err := Params(m); err != nil {
		return err
	}
	p := engine.NewProgram(4)
	o := Options{Training: u.IntN(2) == 0, Unbiased: true}
	if u.IntN(2) == 0 {
		o.Batch = 1 + u.IntN(3)
	}
	b := p.NewFunc("f", 1)
	inputs, params := map[string]engine.TensorID{}, map[string]engine.TensorID{}
	for _, v := range m.Graph.DataInputs() {
		var shape []int
		for i, d := range v.Type.Shape {
			size := int(min(max(d.Value, 1), 8))
			if i == 0 && o.Batch > 0 {
				size = o.Batch
			}
			shape = append(shape, size)
		}
		if v.Type.Elem.IsFloat() {
			inputs[v.Name] = p.NewState(v.Name, shape)
		} else {
			inputs[v.Name] = b.Reshape(b.Batch(p.NewData(v.Name, engine.Int, shape)), shape)
		}
	}
	for _, t := range m.Graph.Initializers {
		if t.Type.IsFloat() && u.IntN(2) == 0 {
			shape := make([]int, len(t.Dims))
			for i, d := range t.Dims {
				shape[i] = int(d)
			}
			params[t.Name] = p.NewState(t.Name, shape)
		}
	}
	if _, err := Lower(b, m, inputs, params, o); err != nil {
		return err
	}
	return p.Check()
}

// guarded turns a panic into a failure of the test.
func (u *mutator) guarded(t *testing.T, m *onnx.Model, seed int) error {
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("seed %d panics: %v\n%s", seed, r, debug.Stack())
		}
	}()
	return u.lowerMutated(m)
}

// TestMutatedGraphs lowers graphs that were changed at random: an error or a program that checks, never a panic.
func TestMutatedGraphs(t *testing.T) {
	var seeds []*onnx.Model
	if _, err := os.Stat(onnxDir()); err == nil {
		eachOfficial(t, "onnx-node-tests.tar.xz", func(o *officialTest) {
			if len(seeds) == 0 || seeds[len(seeds)-1] != o.model {
				seeds = append(seeds, o.model)
			}
		})
	}
	for _, m := range exports(t) {
		if len(m.Graph.Nodes) < 40 {
			seeds = append(seeds, m)
		}
	}
	lowered, refused := 0, 0
	for i := range mutations {
		u := newMutator(uint64(i))
		m := seeds[u.IntN(len(seeds))].Clone()
		for range 1 + u.IntN(3) {
			u.mutate(m)
		}
		if err := u.guarded(t, m, i); err == nil {
			lowered++
		} else {
			refused++
		}
	}
	t.Logf("%d graphs: %d lowered, %d refused", lowered+refused, lowered, refused)
	if lowered == 0 || refused == 0 {
		t.Error("the mutations are too weak or too strong")
	}
}
