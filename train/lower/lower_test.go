package lower

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
)

// lowered lowers a model of one input x0 that has the shape given, whatever the model was exported with.
func lowered(m *onnx.Model, shape []int, o Options) (*Result, *engine.Builder, error) {
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	r, err := Lower(b, m, map[string]engine.TensorID{"x0": p.NewState("x0", shape)}, nil, o)
	return r, b, err
}

// TestReshapeBatch: targets that exporters wrote down with a batch size of their own.
func TestReshapeBatch(t *testing.T) {
	for _, c := range []struct {
		exported    int // 0: symbolic
		target      []int64
		input, want []int
	}{
		{1, []int64{1, 12}, []int{5, 3, 4}, []int{5, 12}},
		{1, []int64{1, -1}, []int{5, 3, 4}, []int{5, 12}},
		{4, []int64{4, -1}, []int{5, 3, 4}, []int{5, 12}},
		{4, []int64{4, 2, 6}, []int{5, 3, 4}, []int{5, 2, 6}},
		{4, []int64{4, -1}, []int{1, 3, 4}, []int{1, 12}},
		{1, []int64{-1, 12}, []int{5, 3, 4}, []int{5, 12}},
		{1, []int64{0, -1}, []int{5, 3, 4}, []int{5, 12}},
		{0, []int64{0, 2, -1}, []int{5, 3, 4}, []int{5, 2, 6}},
		{0, []int64{-1, 6}, []int{5, 3, 4}, []int{10, 6}},
		{5, []int64{5, 12}, []int{5, 3, 4}, []int{5, 12}},
		{3, []int64{4, 3, 1}, []int{5, 4}, []int{4, 5, 1}}, // the batch is not the first entry
	} {
		n := onnx.NewNode("Reshape", "r", []string{"x0", "s"}, []string{"y"})
		m := &onnx.Model{Opsets: []onnx.Opset{{Version: 18}}, Graph: &onnx.Graph{Nodes: []*onnx.Node{n}, Outputs: []onnx.Value{{Name: "y"}},
			Initializers: []*onnx.Tensor{onnx.NewInt64("s", []int64{int64(len(c.target))}, c.target)}}}
		var dims []any
		for i, d := range c.input {
			if i == 0 {
				d = c.exported
			}
			if d == 0 {
				dims = append(dims, "N")
				continue
			}
			dims = append(dims, d)
		}
		m.Graph.Inputs = []onnx.Value{onnx.NewValue("x0", onnx.Float32, dims...)}
		r, b, err := lowered(m, c.input, Options{Batch: c.input[0]})
		if err != nil {
			t.Errorf("exported at %d, %v to %v: %v", c.exported, c.input, c.target, err)
			continue
		}
		if got := b.Shape(r.Outputs["y"]); !slices.Equal(got, c.want) {
			t.Errorf("exported at %d, %v to %v: %v, wants %v", c.exported, c.input, c.target, got, c.want)
		}
	}
}

// TestViewChain: the Shape, Gather, Unsqueeze, Concat chain of PyTorch's x.view(x.size(0), -1) leaves one Reshape.
func TestViewChain(t *testing.T) {
	g := &onnx.Graph{Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float32, "N", 3, 4)}, Outputs: []onnx.Value{{Name: "y"}},
		Nodes: []*onnx.Node{onnx.NewNode("Shape", "", []string{"x0"}, []string{"s"}),
			onnx.NewNode("Constant", "", nil, []string{"zero"}, onnx.TensorAttr("value", onnx.NewInt64("", nil, []int64{0}))),
			onnx.NewNode("Gather", "", []string{"s", "zero"}, []string{"n"}, onnx.Int("axis", 0)),
			onnx.NewNode("Unsqueeze", "", []string{"n"}, []string{"n1"}, onnx.Ints("axes", 0)),
			onnx.NewNode("Concat", "", []string{"n1", "rest"}, []string{"target"}, onnx.Int("axis", 0)),
			onnx.NewNode("Reshape", "", []string{"x0", "target"}, []string{"y"})},
		Initializers: []*onnx.Tensor{onnx.NewInt64("rest", []int64{1}, []int64{-1})}}
	r, b, err := lowered(&onnx.Model{Opsets: []onnx.Opset{{Version: 11}}, Graph: g}, []int{5, 3, 4}, Options{Batch: 5})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Shape(r.Outputs["y"]); !slices.Equal(got, []int{5, 12}) {
		t.Errorf("shape %v", got)
	}
	if n := len(b.Func().Ops); n != 1 {
		t.Errorf("%d operations, wants 1", n)
	}
}

// TestRefused: errors name the node, the operator and what is wrong.
func TestRefused(t *testing.T) {
	f32 := func(dims ...int64) *onnx.Tensor {
		n, _ := onnx.Elements(dims)
		return onnx.NewFloat32("w", dims, make([]float32, n))
	}
	for _, c := range []struct {
		name  string
		node  *onnx.Node
		w     *onnx.Tensor
		wants []string
	}{
		{"unknown operator", onnx.NewNode("NoSuchOperator", "list", []string{"x0"}, []string{"y"}), nil, []string{`node "list"`, "op NoSuchOperator", "not supported"}},
		{"other domain", &onnx.Node{OpType: "Relu", Name: "r", Domain: "com.microsoft", Inputs: []string{"x0"}, Outputs: []string{"y"}}, nil,
			[]string{`node "r"`, "com.microsoft:Relu"}},
		{"control flow", onnx.NewNode("If", "if", []string{"x0"}, []string{"y"}, onnx.GraphAttr("then_branch", &onnx.Graph{})), nil,
			[]string{`node "if"`, "must be a constant"}},
		{"half weights", onnx.NewNode("Add", "a", []string{"x0", "w"}, []string{"y"}), onnx.NewRaw("w", onnx.Float16, []int64{1}, []byte{0, 0}),
			[]string{`"w"`, "float16"}},
		{"dangling", onnx.NewNode("Add", "a", []string{"x0", "nobody"}, []string{"y"}), nil, []string{`node "a"`, `"nobody"`}},
		{"missing input", onnx.NewNode("Add", "a", []string{"x0"}, []string{"y"}), nil, []string{`node "a"`, "input 1 is missing"}},
		{"matrix sizes", onnx.NewNode("MatMul", "fc", []string{"x0", "w"}, []string{"y"}), f32(5, 2), []string{`node "fc"`, "4", "5"}},
		{"broadcast", onnx.NewNode("Add", "a", []string{"x0", "w"}, []string{"y"}), f32(3), []string{`node "a"`, "[2 4]", "[3]"}},
		{"axis", onnx.NewNode("Softmax", "s", []string{"x0"}, []string{"y"}, onnx.Int("axis", 7)), nil, []string{`node "s"`, "axis 7"}},
		{"rank", onnx.NewNode("Conv", "c", []string{"x0", "w"}, []string{"y"}), f32(1, 1, 3, 3), []string{`node "c"`, "spatial"}},
		{"data shape", onnx.NewNode("Reshape", "r", []string{"x0", "x0"}, []string{"y"}), nil, []string{`node "r"`, "must be a constant"}},
		{"huge", onnx.NewNode("Expand", "e", []string{"x0", "w"}, []string{"y"}), onnx.NewInt64("w", []int64{3}, []int64{1 << 60, 1, 1}),
			[]string{`node "e"`, "out of range"}},
		{"dropout", onnx.NewNode("Dropout", "d", []string{"x0", "w"}, []string{"y"}), onnx.NewFloat32("w", nil, []float32{2}),
			[]string{`node "d"`, "ratio 2"}},
		{"index", onnx.NewNode("Gather", "g", []string{"x0", "w"}, []string{"y"}), onnx.NewInt64("w", nil, []int64{2}), []string{`node "g"`, "index 2"}},
	} {
		m := &onnx.Model{Opsets: []onnx.Opset{{Version: 18}}, Graph: &onnx.Graph{Nodes: []*onnx.Node{c.node}, Outputs: []onnx.Value{{Name: "y"}},
			Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float32, 2, 4)}}}
		if c.w != nil {
			m.Graph.Initializers = []*onnx.Tensor{c.w}
		}
		err := Check(m)
		if err == nil {
			_, _, err = lowered(m, []int{2, 4}, Options{})
		}
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for _, w := range c.wants {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", c.name, err, w)
			}
		}
	}
}

// TestRefusedInputs: nodes whose inputs do not fit each other.
func TestRefusedInputs(t *testing.T) {
	f32 := func(name string, dims ...int64) *onnx.Tensor {
		n, _ := onnx.Elements(dims)
		return onnx.NewFloat32(name, dims, make([]float32, n))
	}
	ones := onnx.NewInt64("i", []int64{1, 1, 2, 2}, []int64{0, 7, 8, 16})
	roi := func(attrs ...*onnx.Attribute) *onnx.Node {
		return named("RoiAlign", []string{"x0", "r", "n"}, attrs...)
	}
	attention := named("LinearAttention", []string{"x0", "x0", "x0", "", "g"}, onnx.Int("q_num_heads", 2), onnx.Int("kv_num_heads", 2),
		onnx.String("update_rule", "gated"))
	rois := []*onnx.Tensor{f32("r", 2, 4), onnx.NewInt64("n", []int64{2}, []int64{0, 0})}
	for _, c := range []struct {
		node  *onnx.Node
		x     []int
		inits []*onnx.Tensor
		wants string
	}{
		{attention, []int{1, 3, 4}, []*onnx.Tensor{f32("g", 3)}, "input 4 has shape [3]"},
		{roi(), []int{1, 1, 4, 4}, rois, "sampling_ratio 0"},
		{roi(onnx.Int("sampling_ratio", 2)), []int{1, 1, 4, 4}, rois[:1], `"n"`},
		{roi(onnx.Int("sampling_ratio", 2), onnx.String("mode", "sum")), []int{1, 1, 4, 4}, rois, `mode "sum"`},
		{named("MaxUnpool", []string{"x0", "i"}, onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2)), []int{1, 1, 2, 2}, []*onnx.Tensor{ones},
			"index 16 is out of range"},
		{named("Det", []string{"x0"}), []int{9, 9}, nil, "1 to 8 rows"},
		{named("TfIdfVectorizer", []string{"x0"}), []int{4}, nil, "wants a row or rows of integers"},
		{onnx.NewNode("MaxPool", "p", []string{"x0"}, []string{"p", "y"}, onnx.Ints("kernel_shape", 2)), []int{64, 64, 8192}, nil, "2^24 elements"},
	} {
		m := &onnx.Model{Opsets: []onnx.Opset{{Version: 22}}, Graph: &onnx.Graph{Nodes: []*onnx.Node{c.node}, Outputs: []onnx.Value{{Name: "y"}},
			Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float32)}, Initializers: c.inits}}
		if _, _, err := lowered(m, c.x, Options{}); err == nil || !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s of %v: %v does not say %q", c.node.OpType, c.x, err, c.wants)
		}
	}
}

// TestParams: roles and fans where a weight reaches its layer through other nodes.
func TestParams(t *testing.T) {
	f32 := func(name string, dims ...int64) *onnx.Tensor {
		n, _ := onnx.Elements(dims)
		return onnx.NewFloat32(name, dims, make([]float32, n))
	}
	g := &onnx.Graph{
		Nodes: []*onnx.Node{onnx.NewNode("Gather", "emb", []string{"table", "ids"}, []string{"e"}),
			onnx.NewNode("Transpose", "t", []string{"w"}, []string{"wt"}),
			onnx.NewNode("MatMul", "fc", []string{"e", "wt"}, []string{"h"}),
			onnx.NewNode("Reshape", "r", []string{"h", "s"}, []string{"h2"}),
			onnx.NewNode("Add", "bias", []string{"b", "h2"}, []string{"h3"}),
			onnx.NewNode("Mul", "scale", []string{"h3", "c"}, []string{"h4"}),
			onnx.NewNode("Add", "shared", []string{"h4", "c"}, []string{"h5"}),
			onnx.NewNode("ConvTranspose", "up", []string{"h5", "u"}, []string{"y"})},
		Initializers: []*onnx.Tensor{f32("table", 10, 6), f32("w", 8, 6), f32("b", 8), f32("c"), f32("u", 4, 3, 2, 2),
			onnx.NewInt64("s", []int64{1}, []int64{-1})}}
	params, err := Params(&onnx.Model{Graph: g})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name    string
		role    Role
		node    string
		in, out int
	}{{"table", Embedding, "emb", 10, 6}, {"w", Kernel, "fc", 6, 8}, {"b", Bias, "bias", 8, 8}, {"c", Fixed, "", 0, 0}, {"u", Kernel, "up", 12, 16}}
	if len(params) != len(want) {
		t.Fatalf("%d parameters, wants %d", len(params), len(want))
	}
	for i, w := range want {
		p, node := params[i], ""
		if p.Node != nil {
			node = p.Node.Name
		}
		if p.Name != w.name || p.Role != w.role || node != w.node || p.FanIn != w.in || p.FanOut != w.out {
			t.Errorf("%s: %v of %q, fans %d, %d; wants %+v", p.Name, p.Role, node, p.FanIn, p.FanOut, w)
		}
	}
}

// TestDropout: random in training only, at the node's ratio or the one that the options give.
func TestDropout(t *testing.T) {
	n := onnx.NewNode("Dropout", "d", []string{"x0", "ratio"}, []string{"y"})
	m := &onnx.Model{Opsets: []onnx.Opset{{Version: 18}}, Graph: &onnx.Graph{Nodes: []*onnx.Node{n}, Outputs: []onnx.Value{{Name: "y"}},
		Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float32, 2, 4)}, Initializers: []*onnx.Tensor{onnx.NewFloat32("ratio", nil, []float32{0.25})}}}
	for _, c := range []struct {
		o    Options
		rate float64
	}{{Options{}, 0}, {Options{Training: true}, 0.25}, {Options{Training: true, Dropout: map[string]float64{"d": 0.75}}, 0.75},
		{Options{Training: true, Dropout: map[string]float64{"d": 0}}, 0}} {
		_, b, err := lowered(m, []int{2, 4}, c.o)
		if err != nil {
			t.Fatal(err)
		}
		rate := 0.0
		for _, op := range b.Func().Ops {
			if op.Kind == engine.Dropout {
				rate = op.Rate
			}
		}
		if rate != c.rate {
			t.Errorf("%+v: rate %v, wants %v", c.o, rate, c.rate)
		}
	}
}

// FuzzLower lowers graphs that the fuzzer's number changes; see TestMutatedGraphs.
func FuzzLower(f *testing.F) {
	models := exports(f)
	var names []string
	for name := range models {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range uint64(20) {
		f.Add(i)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		u := newMutator(seed)
		m := models[names[u.IntN(len(names))]].Clone()
		for range 1 + u.IntN(4) {
			u.mutate(m)
		}
		_ = u.lowerMutated(m)
	})
}

// TestScalarArithmetic: what is fused to one pass gives what two operands give.
func TestScalarArithmetic(t *testing.T) {
	x := []float64{-3, -0.5, 0, 2}
	for _, c := range []struct {
		op   string
		in   []string
		want func(x float64) float64
	}{
		{"Add", []string{"x0", "c"}, func(x float64) float64 { return x + 2 }}, {"Add", []string{"c", "x0"}, func(x float64) float64 { return x + 2 }},
		{"Sub", []string{"x0", "c"}, func(x float64) float64 { return x - 2 }}, {"Sub", []string{"c", "x0"}, func(x float64) float64 { return 2 - x }},
		{"Mul", []string{"x0", "c"}, func(x float64) float64 { return 2 * x }}, {"Mul", []string{"c", "x0"}, func(x float64) float64 { return 2 * x }},
		{"Div", []string{"x0", "c"}, func(x float64) float64 { return x / 2 }}, {"Div", []string{"c", "x0"}, func(x float64) float64 { return 2 / x }},
		{"Pow", []string{"x0", "c"}, func(x float64) float64 { return x * x }}, {"Pow", []string{"c", "x0"}, math.Exp2},
		{"Max", []string{"x0", "c"}, func(x float64) float64 { return max(x, 2) }}, {"Less", []string{"c", "x0"}, func(x float64) float64 { return bit(2 < x) }},
	} {
		for _, dims := range [][]int64{nil, {1}, {1, 1, 1}} {
			m := &onnx.Model{Opsets: []onnx.Opset{{Version: 18}}, Graph: &onnx.Graph{Nodes: []*onnx.Node{onnx.NewNode(c.op, "n", c.in, []string{"y"})},
				Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float64, 4)}, Outputs: []onnx.Value{{Name: "y"}},
				Initializers: []*onnx.Tensor{onnx.NewFloat64("c", dims, []float64{2})}}}
			r := &runner{model: m, inputs: map[string]*onnx.Tensor{"x0": onnx.NewFloat64("x0", []int64{4}, x)}, device: reference.NewFloat64()}
			values, shapes, err := r.run(func(*onnx.Tensor) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			if want := max(1, len(dims)); len(shapes["y"]) != want {
				t.Errorf("%s %v with c %v: shape %v, wants %d dimensions", c.op, c.in, dims, shapes["y"], want)
			}
			for i, g := range values["y"] {
				if w := c.want(x[i]); !closeEnough(g, w, 1e-12, 0) {
					t.Errorf("%s %v of %v is %v, wants %v", c.op, c.in, x[i], g, w)
				}
			}
		}
	}
}

// TestRepeatedNodes: an operator on the same values is computed once; with other attributes, or drawing random numbers, it is not.
func TestRepeatedNodes(t *testing.T) {
	g := &onnx.Graph{Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float32, 2, 4)}, Outputs: []onnx.Value{{Name: "y"}}}
	sum := onnx.NewNode("Sum", "sum", nil, []string{"y"})
	for i, n := range []*onnx.Node{onnx.NewNode("Elu", "", nil, nil), onnx.NewNode("Elu", "", nil, nil), onnx.NewNode("Elu", "", nil, nil, onnx.Float("alpha", 2)),
		onnx.NewNode("Tanh", "", nil, nil), onnx.NewNode("Dropout", "", nil, nil), onnx.NewNode("Dropout", "", nil, nil)} {
		n.Inputs, n.Outputs = []string{"x0"}, []string{fmt.Sprint("h", i)}
		g.Nodes, sum.Inputs = append(g.Nodes, n), append(sum.Inputs, n.Outputs[0])
	}
	g.Nodes = append(g.Nodes, sum)
	_, b, err := lowered(&onnx.Model{Opsets: []onnx.Opset{{Version: 18}}, Graph: g}, []int{2, 4}, Options{Training: true})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, op := range b.Func().Ops {
		count[op.Kind.String()+" "+op.Fn.String()]++
	}
	for what, want := range map[string]int{"Unary Elu": 2, "Unary Tanh": 1, "Dropout NoFn": 2, "Binary Add": 5} {
		if count[what] != want {
			t.Errorf("%s: %d, wants %d", what, count[what], want)
		}
	}
}
