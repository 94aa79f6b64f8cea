package lower

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
)

// recurrentCase is a recurrent node over x (5 steps, 3 rows, 2 inputs) with 4 hidden units.
type recurrentCase struct {
	op, name string
	inputs   int // of X, W, R, B, sequence_lens, initial_h, initial_c, P
	attrs    []*onnx.Attribute
	notORT   string // why ONNX Runtime is no judge
}

func recurrentCases() []recurrentCase {
	dir := func(s string) *onnx.Attribute { return onnx.String("direction", s) }
	acts := func(s ...string) *onnx.Attribute { return onnx.Strings("activations", s...) }
	cases := []recurrentCase{
		{"GRU", "lengths", 6, []*onnx.Attribute{onnx.Int("linear_before_reset", 1), dir("reverse")}, ""},
		{"RNN", "activations", 4, []*onnx.Attribute{acts("Affine", "LeakyRelu"), dir("bidirectional"), onnx.Floats("activation_alpha", 0.7, 0.3),
			onnx.Floats("activation_beta", 0.1)}, ""},
		{"RNN", "scaled tanh and clip", 4, []*onnx.Attribute{acts("ScaledTanh"), onnx.Floats("activation_alpha", 1.2), onnx.Floats("activation_beta", 0.6),
			onnx.Float("clip", 0.8)}, ""},
		{"GRU", "linear_before_reset", 4, []*onnx.Attribute{onnx.Int("linear_before_reset", 1), dir("bidirectional")}, ""},
		{"GRU", "linear_before_reset without bias", 3, []*onnx.Attribute{onnx.Int("linear_before_reset", 1)}, ""},
		{"GRU", "activations", 6, []*onnx.Attribute{acts("HardSigmoid", "Softsign"), onnx.Floats("activation_alpha", 0.3), onnx.Floats("activation_beta", 0.4)}, ""},
		{"GRU", "clip", 4, []*onnx.Attribute{onnx.Float("clip", 0.5)}, ""},
		{"LSTM", "peepholes", 8, []*onnx.Attribute{dir("bidirectional")}, ""},
		{"LSTM", "input_forget", 7, []*onnx.Attribute{onnx.Int("input_forget", 1)}, ""},
		{"LSTM", "clip", 7, []*onnx.Attribute{onnx.Float("clip", 0.4)}, ""},
		{"LSTM", "activations", 4, []*onnx.Attribute{acts("Sigmoid", "Elu", "Softplus"), onnx.Floats("activation_alpha", 0.8)}, ""},
	}
	for _, op := range []string{"RNN", "GRU", "LSTM"} {
		for _, d := range []string{"forward", "reverse", "bidirectional"} {
			cases = append(cases, recurrentCase{op, d, 6, []*onnx.Attribute{dir(d)}, ""})
		}
		cases = append(cases, recurrentCase{op, "no bias", 3, nil, ""},
			recurrentCase{op, "batch first", 6, []*onnx.Attribute{dir("bidirectional"), onnx.Int("layout", 1)}, "it has no layout 1"})
	}
	return cases
}

// model has the lengths 5, 2, 1 for the rows where the case takes any. All outputs are inputs of a product each, so that every one has a
// gradient of its own.
func (c *recurrentCase) model() (*onnx.Model, []string, [][]int) {
	const steps, batch, in, hidden = 5, 3, 2, 4
	gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[c.op]
	d, first := 1, false
	for _, a := range c.attrs {
		if a.Name == "direction" && a.Str == "bidirectional" {
			d = 2
		}
		first = first || a.Name == "layout"
	}
	shapes := [][]int{{steps, batch, in}, {d, gates * hidden, in}, {d, gates * hidden, hidden}, {d, 2 * gates * hidden}, {batch}, {d, batch, hidden},
		{d, batch, hidden}, {d, 3 * hidden}}
	if first {
		for _, i := range []int{0, 5, 6} {
			shapes[i][0], shapes[i][1] = shapes[i][1], shapes[i][0]
		}
	}
	g := &onnx.Graph{Name: "g"}
	var names []string
	var used [][]int
	var args []string
	for i := range c.inputs {
		if i == 4 {
			g.Initializers = append(g.Initializers, onnx.NewRaw("lens", onnx.Int32, []int64{batch}, []byte{5, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0}))
			args = append(args, "lens")
			continue
		}
		name := fmt.Sprint("x", len(names))
		dims := make([]any, len(shapes[i]))
		for k, s := range shapes[i] {
			dims[k] = s
		}
		g.Inputs = append(g.Inputs, onnx.NewValue(name, onnx.Float32, dims...))
		names, used, args = append(names, name), append(used, shapes[i]), append(args, name)
	}
	outs := []string{"Y", "Y_h", "Y_c"}[:2]
	if c.op == "LSTM" {
		outs = []string{"Y", "Y_h", "Y_c"}
	}
	n := onnx.NewNode(c.op, "cell", args, outs, c.attrs...)
	n.SetInt("hidden_size", hidden)
	g.Nodes = []*onnx.Node{n}
	for _, o := range outs {
		g.Outputs = append(g.Outputs, onnx.NewValue(o, onnx.Float32))
		g.Outputs[len(g.Outputs)-1].Type.HasShape = false
	}
	return &onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: 17}}, Graph: g}, names, used
}

func TestRecurrentGradients(t *testing.T) {
	for _, c := range recurrentCases() {
		t.Run(c.op+"/"+c.name, func(t *testing.T) {
			m, _, shapes := c.model()
			g := m.Graph
			// y = sum of the squares of each output: gradients reach every output with a value of its own.
			var sums []string
			for _, o := range g.Nodes[0].Outputs {
				g.Nodes = append(g.Nodes, onnx.NewNode("ReduceSumSquare", o+"s", []string{o}, []string{o + "s"}, onnx.Int("keepdims", 0)))
				sums = append(sums, o+"s")
			}
			g.Nodes = append(g.Nodes, onnx.NewNode("Sum", "sum", sums, []string{"y"}))
			g.Outputs = []onnx.Value{{Name: "y"}}
			gc := gradientCase{name: c.name, nodes: g.Nodes, shapes: shapes, inits: g.Initializers}
			gc.check(t)
		})
	}
}

// TestRecurrentLikeONNXRuntime compares all outputs.
func TestRecurrentLikeONNXRuntime(t *testing.T) {
	for _, c := range recurrentCases() {
		t.Run(c.op+"/"+c.name, func(t *testing.T) {
			if c.notORT != "" {
				t.Skip(c.notORT)
			}
			m, _, _ := c.model()
			likeONNXRuntime(t, m, inputTensors(t, m, 0, false))
		})
	}
}

// results are all outputs of the case and the gradients of the sum of their squares by every input, with the number of Recurrent operations.
func (c *recurrentCase) results(t *testing.T, attrs ...*onnx.Attribute) (out [][]float64, whole int) {
	m, names, shapes := c.model()
	m.Graph.Nodes[0].Attrs = append(m.Graph.Nodes[0].Attrs, attrs...)
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	gc := gradientCase{shapes: shapes}
	ids, inputs := make([]engine.TensorID, len(names)), map[string]engine.TensorID{}
	for i, name := range names {
		ids[i] = p.NewState(name, shapes[i])
		inputs[name] = ids[i]
	}
	res, err := Lower(b, m, inputs, nil, Options{Training: true})
	if err != nil {
		t.Fatal(err)
	}
	loss := b.Scalar(0)
	for _, o := range m.Graph.Outputs {
		y := res.Outputs[o.Name]
		b.Output(y)
		loss = b.Add(loss, b.Reduce(engine.Sum, b.Mul(y, y), false))
	}
	for _, g := range b.Gradient(loss, ids) {
		b.Output(g)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	for _, op := range b.Func().Ops {
		if op.Kind == engine.Recurrent {
			whole++
		}
	}
	exe, err := reference.NewFloat64().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	for i, id := range ids {
		if err := exe.Load(id, gc.values(i)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := exe.Run(context.Background(), engine.Schedule{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	return got.Outputs, whole
}

// TestRecurrentLikeUnrolled compares a layer that is one operation with the same layer unrolled, which a clip that nothing reaches makes of it.
func TestRecurrentLikeUnrolled(t *testing.T) {
	for _, c := range recurrentCases() {
		t.Run(c.op+"/"+c.name, func(t *testing.T) {
			got, whole := c.results(t)
			if slices.Contains([]string{"activations", "scaled tanh and clip", "clip", "input_forget"}, c.name) {
				if whole != 0 {
					t.Errorf("%d operations Recurrent", whole)
				}
				return
			}
			want, left := c.results(t, onnx.Float("clip", 1e9))
			if whole == 0 || left != 0 {
				t.Fatalf("%d operations Recurrent, %d where it is unrolled", whole, left)
			}
			for k := range want {
				for i, w := range want[k] {
					if d := math.Abs(got[k][i] - w); !(d <= 1e-12*(1+math.Abs(w))) {
						t.Fatalf("result %d, element %d is %v, unrolled %v", k, i, got[k][i], w)
					}
				}
			}
		})
	}
}
