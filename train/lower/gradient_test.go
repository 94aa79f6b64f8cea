package lower

import (
	"context"
	"fmt"
	"math"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
)

// gradientCase is a graph of few nodes over the float inputs x0, x1, … that ends in y. Integer constants are initializers.
type gradientCase struct {
	name     string
	nodes    []*onnx.Node
	shapes   [][]int
	ints     map[string][]int64
	inits    []*onnx.Tensor
	tensors  []*onnx.Tensor // further constants
	opset    int64          // 0: 21
	positive bool           // inputs in 0.3..2.3 and not -1..1
	training bool
}

func node(op string, attrs ...*onnx.Attribute) *onnx.Node { return nodeOf(op, 1, attrs...) }

// nodeOf makes a node that reads x0 … x(inputs-1) and gives y.
func nodeOf(op string, inputs int, attrs ...*onnx.Attribute) *onnx.Node {
	in := make([]string, inputs)
	for i := range in {
		in[i] = fmt.Sprint("x", i)
	}
	return onnx.NewNode(op, op, in, []string{"y"}, attrs...)
}

func (c *gradientCase) model() *onnx.Model {
	g := &onnx.Graph{Name: "g", Nodes: c.nodes, Outputs: []onnx.Value{{Name: "y"}}}
	for i := range c.shapes {
		g.Inputs = append(g.Inputs, onnx.Value{Name: fmt.Sprint("x", i)})
	}
	g.Initializers = append(g.Initializers, c.inits...)
	for name, v := range c.ints {
		g.Initializers = append(g.Initializers, onnx.NewInt64(name, []int64{int64(len(v))}, v))
	}
	g.Initializers = append(g.Initializers, c.tensors...)
	opset := c.opset
	if opset == 0 {
		opset = 21
	}
	return &onnx.Model{Opsets: []onnx.Opset{{Version: opset}}, Graph: g}
}

func (c *gradientCase) values(i int) []float64 {
	v := make([]float64, engine.Len(c.shapes[i]))
	for k := range v {
		v[k] = float64((7919*k+104729*(i+1))%2003-1001) / 1001 // distinct and away from the kinks at 0
		if c.positive {
			v[k] += 1.3
		}
	}
	return v
}

// check compares the gradient of sum(w·y), w fixed, by every input with central differences in float64.
func (c *gradientCase) check(t *testing.T) {
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	ids, inputs := make([]engine.TensorID, len(c.shapes)), map[string]engine.TensorID{}
	for i, s := range c.shapes {
		ids[i] = p.NewState(fmt.Sprint("x", i), s)
		inputs[fmt.Sprint("x", i)] = ids[i]
	}
	res, err := Lower(b, c.model(), inputs, nil, Options{Training: c.training})
	if err != nil {
		t.Fatal(err)
	}
	y := res.Outputs["y"]
	w := make([]float64, engine.Len(b.Shape(y)))
	for k := range w {
		w[k] = 1 + math.Sin(float64(3*k+1))/2
	}
	loss := b.Reduce(engine.Sum, b.Mul(y, p.NewConstant("w", engine.Float, b.Shape(y), w)), false)
	grads := b.Gradient(loss, ids)
	b.Output(loss)
	for i, g := range grads {
		if g == engine.None {
			t.Fatalf("no gradient by x%d", i)
		}
		b.Output(g)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	exe, err := reference.NewFloat64().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	at := make([][]float64, len(ids))
	for i := range at {
		at[i] = c.values(i)
		if err := exe.Load(ids[i], at[i]); err != nil {
			t.Fatal(err)
		}
	}
	run := func() [][]float64 {
		got, err := exe.Run(context.Background(), engine.Schedule{Steps: 1})
		if err != nil {
			t.Fatal(err)
		}
		return got.Outputs
	}
	out := run()
	const h = 1e-5
	for i, x := range at {
		for k, v := range x {
			x[k] = v + h
			exe.Load(ids[i], x)
			up := run()[0][0]
			x[k] = v - h
			exe.Load(ids[i], x)
			want := (up - run()[0][0]) / (2 * h)
			x[k] = v
			exe.Load(ids[i], x)
			if got := out[i+1][k]; !closeEnough(got, want, 1e-5, 1e-7) {
				t.Errorf("gradient by x%d[%d] is %v, central differences give %v", i, k, got, want)
			}
		}
	}
}

// gradientCases collects graphs.
type gradientCases []gradientCase

func (c *gradientCases) add(name string, n *onnx.Node, shapes ...[]int) *gradientCase {
	*c = append(*c, gradientCase{name: name, nodes: []*onnx.Node{n}, shapes: shapes})
	return &(*c)[len(*c)-1]
}

func TestGradients(t *testing.T) {
	var cases gradientCases
	cases.elementwise()
	cases.layers()
	cases.moves()
	cases.picks()
	cases.resizes()
	cases.bodies()
	cases.images()
	cases.sequences()
	cases.scans()
	for i := range cases {
		t.Run(cases[i].name, cases[i].check)
	}
	t.Logf("%d graphs", len(cases))
}

func (cases *gradientCases) elementwise() {
	add := cases.add
	for _, op := range []string{"Neg", "Abs", "Exp", "Reciprocal", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Erf", "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign",
		"HardSwish", "Mish", "LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "Swish", "Selu", "HardSigmoid", "Gelu", "Shrink", "Identity"} {
		add(op, node(op), []int{2, 5})
	}
	add("Log", node("Log"), []int{2, 5}).positive = true
	add("Sqrt", node("Sqrt"), []int{2, 5}).positive = true
	for _, op := range []string{"Asin", "Acos", "Atanh"} {
		add(op, node(op), []int{2, 3})
	}
	add("Gelu tanh", node("Gelu", onnx.String("approximate", "tanh")), []int{2, 5})
	add("PRelu", nodeOf("PRelu", 2), []int{2, 3, 2}, []int{3, 1})
	add("Softmax", node("Softmax", onnx.Int("axis", 1)), []int{2, 3, 2})
	add("LogSoftmax", node("LogSoftmax"), []int{2, 4})
	for _, op := range []string{"Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"} {
		add(op, nodeOf(op, 2), []int{2, 3}, []int{3})
	}
	add("Div", nodeOf("Div", 2), []int{2, 3}, []int{2, 1}).positive = true
	add("Pow", nodeOf("Pow", 2), []int{2, 3}, []int{3}).positive = true
	bounds := onnx.NewNode("Constant", "lo", nil, []string{"lo"}, onnx.Float("value_float", -0.4))
	two := onnx.NewNode("Constant", "two", nil, []string{"two"}, onnx.Float("value_float", 2))
	*cases = append(*cases, gradientCase{name: "Acosh", shapes: [][]int{{2, 3}}, nodes: []*onnx.Node{two,
		onnx.NewNode("Add", "add", []string{"x0", "two"}, []string{"v"}), onnx.NewNode("Acosh", "acosh", []string{"v"}, []string{"y"})}})
	*cases = append(*cases, gradientCase{name: "Clip", shapes: [][]int{{2, 5}},
		nodes: []*onnx.Node{bounds, onnx.NewNode("Clip", "clip", []string{"x0", "lo"}, []string{"y"})}})
	for _, c := range []struct {
		op   string
		in   [2]string
		v    float32
		name string
	}{{"Pow", [2]string{"x0", "c"}, 2, "Pow 2"}, {"Sub", [2]string{"c", "x0"}, 3, "Sub from 3"}, {"Sub", [2]string{"x0", "c"}, 3, "Sub 3"},
		{"Mul", [2]string{"c", "x0"}, 3, "Mul 3"}, {"Add", [2]string{"x0", "c"}, 3, "Add 3"}, {"Div", [2]string{"x0", "c"}, 3, "Div 3"}} {
		*cases = append(*cases, gradientCase{name: c.name, shapes: [][]int{{2, 5}}, nodes: []*onnx.Node{
			onnx.NewNode("Constant", "c", nil, []string{"c"}, onnx.Float("value_float", c.v)),
			onnx.NewNode(c.op, "n", c.in[:], []string{"y"})}})
	}
}

func (cases *gradientCases) layers() {
	add := cases.add
	add("Gemm", nodeOf("Gemm", 3, onnx.Int("transB", 1)), []int{2, 3}, []int{4, 3}, []int{4})
	add("Gemm scaled", nodeOf("Gemm", 3, onnx.Int("transA", 1), onnx.Float("alpha", 0.5), onnx.Float("beta", 2)), []int{3, 2}, []int{3, 4}, []int{2, 1})
	add("MatMul", nodeOf("MatMul", 2), []int{2, 2, 3}, []int{3, 4})
	add("MatMul stacks", nodeOf("MatMul", 2), []int{2, 1, 2, 3}, []int{2, 3, 2})
	add("MatMul vectors", nodeOf("MatMul", 2), []int{3}, []int{3, 2})
	add("Conv", nodeOf("Conv", 3, onnx.Ints("pads", 1, 0, 0, 1), onnx.Ints("strides", 2, 1)), []int{2, 2, 4, 3}, []int{3, 2, 2, 2}, []int{3})
	add("Conv groups", nodeOf("Conv", 2, onnx.Int("group", 2), onnx.Ints("dilations", 2), onnx.String("auto_pad", "SAME_UPPER")), []int{1, 4, 5},
		[]int{4, 2, 2})
	add("ConvTranspose", nodeOf("ConvTranspose", 3, onnx.Ints("strides", 2, 2), onnx.Ints("output_padding", 1, 0), onnx.Ints("pads", 1, 0, 0, 1)),
		[]int{1, 2, 2, 3}, []int{2, 2, 2, 2}, []int{2})
	add("MaxPool", node("MaxPool", onnx.Ints("kernel_shape", 2, 2), onnx.Int("ceil_mode", 1), onnx.Ints("strides", 2, 2)), []int{1, 2, 3, 5})
	add("AveragePool", node("AveragePool", onnx.Ints("kernel_shape", 2, 2), onnx.Ints("pads", 1, 1, 0, 0)), []int{1, 2, 3, 4})
	add("GlobalAveragePool", node("GlobalAveragePool"), []int{2, 2, 2, 3})
	add("GlobalMaxPool", node("GlobalMaxPool"), []int{2, 2, 2, 3})
	add("LRN", node("LRN", onnx.Int("size", 3), onnx.Float("alpha", 0.5)), []int{1, 4, 2, 2})
	add("InstanceNormalization", nodeOf("InstanceNormalization", 3), []int{2, 2, 4}, []int{2}, []int{2})
	add("LayerNormalization", nodeOf("LayerNormalization", 3), []int{2, 4}, []int{4}, []int{4})
	add("GroupNormalization", nodeOf("GroupNormalization", 3, onnx.Int("num_groups", 2)), []int{2, 4, 3}, []int{4}, []int{4})
	add("RMSNormalization", nodeOf("RMSNormalization", 2), []int{2, 4}, []int{4})
	for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp"} {
		c := add(op, onnx.NewNode(op, op, []string{"x0", "axes"}, []string{"y"}, onnx.Int("keepdims", 0)), []int{2, 3, 2})
		c.ints = map[string][]int64{"axes": {1, -1}}
	}
	add("ReduceLogSum", node("ReduceLogSum"), []int{2, 3}).positive = true
}

func (cases *gradientCases) moves() {
	add := cases.add
	add("Flatten", node("Flatten"), []int{2, 3, 2})
	add("Transpose", node("Transpose", onnx.Ints("perm", 2, 0, 1)), []int{2, 3, 2})
	add("Concat", nodeOf("Concat", 2, onnx.Int("axis", 1)), []int{2, 3}, []int{2, 1})
	ints := func(name string, n *onnx.Node, v map[string][]int64, shapes ...[]int) {
		add(name, n, shapes...).ints = v
	}
	with := func(op string, inputs ...string) *onnx.Node { return onnx.NewNode(op, op, inputs, []string{"y"}) }
	ints("Reshape", with("Reshape", "x0", "s"), map[string][]int64{"s": {0, -1}}, []int{2, 3, 2})
	ints("Unsqueeze", with("Unsqueeze", "x0", "s"), map[string][]int64{"s": {0, -1}}, []int{2, 3})
	ints("Squeeze", with("Squeeze", "x0", "s"), map[string][]int64{"s": {1}}, []int{2, 1, 3})
	ints("Expand", with("Expand", "x0", "s"), map[string][]int64{"s": {2, 1, 3}}, []int{2, 1})
	ints("Tile", with("Tile", "x0", "s"), map[string][]int64{"s": {2, 3}}, []int{2, 2})
	ints("Gather", with("Gather", "x0", "s"), map[string][]int64{"s": {1, -1, 1}}, []int{3, 2})
	ints("Slice", with("Slice", "x0", "a", "b", "c", "d"), map[string][]int64{"a": {-1}, "b": {math.MinInt64}, "c": {1}, "d": {-2}}, []int{2, 5})
	ints("Pad", with("Pad", "x0", "s"), map[string][]int64{"s": {1, -1, 0, 2}}, []int{2, 3})
	for _, mode := range []string{"reflect", "edge", "wrap"} {
		n := with("Pad", "x0", "s")
		n.SetString("mode", mode)
		ints("Pad "+mode, n, map[string][]int64{"s": {0, 2, 0, 1}}, []int{2, 3})
	}
	add("DepthToSpace", node("DepthToSpace", onnx.Int("blocksize", 2)), []int{1, 4, 1, 2})
	add("Trilu", node("Trilu"), []int{3, 3})
	split := onnx.NewNode("Split", "Split", []string{"x0"}, []string{"a", "b"}, onnx.Int("axis", 1), onnx.Int("num_outputs", 2))
	*cases = append(*cases, gradientCase{name: "Split", shapes: [][]int{{2, 4}}, nodes: []*onnx.Node{split,
		onnx.NewNode("Mul", "Mul", []string{"a", "b"}, []string{"y"})}})
	where := []*onnx.Node{onnx.NewNode("Greater", "Greater", []string{"x0", "x1"}, []string{"c"}),
		onnx.NewNode("Where", "Where", []string{"c", "x0", "x1"}, []string{"y"})}
	*cases = append(*cases, gradientCase{name: "Where", shapes: [][]int{{2, 4}, {4}}, nodes: where})
}

// TestBatchNormTraining: the running statistics follow the batch's, its variance taken as it is or unbiased.
func TestBatchNormTraining(t *testing.T) {
	n := onnx.NewNode("BatchNormalization", "bn", []string{"x0", "x1", "x2", "mean", "var"}, []string{"y", "", ""}, onnx.Float("momentum", 0.75))
	c := gradientCase{nodes: []*onnx.Node{n}, shapes: [][]int{{3, 2, 2}, {2}, {2}}, training: true}
	for _, unbiased := range []bool{false, true} {
		m := c.model()
		m.Graph.Initializers = append(m.Graph.Initializers, onnx.NewFloat64("mean", []int64{2}, []float64{1, -1}),
			onnx.NewFloat64("var", []int64{2}, []float64{3, 4}))
		p := engine.NewProgram(0)
		b := p.NewFunc("f", 0)
		inputs, params := map[string]engine.TensorID{}, map[string]engine.TensorID{}
		for i, s := range c.shapes {
			inputs[fmt.Sprint("x", i)] = p.NewState(fmt.Sprint("x", i), s)
		}
		for _, name := range []string{"mean", "var"} {
			params[name] = p.NewState(name, []int{2})
		}
		res, err := Lower(b, m, inputs, params, Options{Training: true, Unbiased: unbiased})
		if err != nil {
			t.Fatal(err)
		}
		b.Output(res.Outputs["y"])
		exe, err := reference.NewFloat64().Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		x := c.values(0)
		exe.Load(inputs["x0"], x)
		exe.Load(inputs["x1"], []float64{1, 2})
		exe.Load(params["mean"], []float64{1, -1})
		exe.Load(params["var"], []float64{3, 4})
		if _, err := exe.Run(context.Background(), engine.Schedule{Steps: 1}); err != nil {
			t.Fatal(err)
		}
		for ch := range 2 {
			var sum, square float64
			for s := range 3 {
				for k := range 2 {
					sum += x[s*4+ch*2+k]
				}
			}
			for s := range 3 {
				for k := range 2 {
					square += math.Pow(x[s*4+ch*2+k]-sum/6, 2)
				}
			}
			div := 6.0
			if unbiased {
				div = 5
			}
			old := [2][2]float64{{1, 3}, {-1, 4}}[ch]
			mean, variance := make([]float64, 2), make([]float64, 2)
			exe.Fetch(params["mean"], mean)
			exe.Fetch(params["var"], variance)
			if want := 0.75*old[0] + 0.25*sum/6; math.Abs(mean[ch]-want) > 1e-12 {
				t.Errorf("unbiased %v: running mean %v, wants %v", unbiased, mean[ch], want)
			}
			if want := 0.75*old[1] + 0.25*square/div; math.Abs(variance[ch]-want) > 1e-12 {
				t.Errorf("unbiased %v: running variance %v, wants %v", unbiased, variance[ch], want)
			}
		}
		exe.Close()
	}
}
