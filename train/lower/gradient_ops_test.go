package lower

import (
	"slices"
	"testing"

	"netmend/engine"
	"netmend/onnx"
)

// named makes a node with named inputs that gives y.
func named(op string, inputs []string, attrs ...*onnx.Attribute) *onnx.Node {
	return onnx.NewNode(op, op, inputs, []string{"y"}, attrs...)
}

func ints2(name string, rows, cols int64, v ...int64) *onnx.Tensor {
	return onnx.NewInt64(name, []int64{rows, cols}, v)
}

// with adds a graph of one node that reads constants.
func (cases *gradientCases) with(name string, n *onnx.Node, tensors []*onnx.Tensor, shapes ...[]int) *gradientCase {
	c := cases.add(name, n, shapes...)
	c.tensors = tensors
	return c
}

// picks are the operators that pick and place elements.
func (cases *gradientCases) picks() {
	at := []*onnx.Tensor{ints2("i", 2, 3, 0, -1, 1, 2, 2, 0)}
	xi := []string{"x0", "i"}
	cases.with("GatherElements", named("GatherElements", xi, onnx.Int("axis", 1)), at, []int{2, 4})
	cases.with("GatherND", named("GatherND", xi), []*onnx.Tensor{ints2("i", 3, 2, 0, 1, -1, 2, 0, 1)}, []int{2, 3, 2})
	cases.with("GatherND batch", named("GatherND", xi, onnx.Int("batch_dims", 1)), []*onnx.Tensor{ints2("i", 2, 1, 1, 2)}, []int{2, 3, 2})
	for _, r := range []string{"none", "add", "mul", "max", "min"} {
		three := []string{"x0", "i", "x1"}
		cases.with("ScatterElements "+r, named("ScatterElements", three, onnx.Int("axis", 1), onnx.String("reduction", r)), at, []int{2, 4}, []int{2, 3})
		cases.with("ScatterND "+r, named("ScatterND", three, onnx.String("reduction", r)), []*onnx.Tensor{ints2("i", 3, 1, 1, -1, 1)}, []int{4, 2},
			[]int{3, 2})
	}
	cases.with("TensorScatter", named("TensorScatter", []string{"x0", "x1", "i"}, onnx.String("mode", "circular")),
		[]*onnx.Tensor{onnx.NewInt64("i", []int64{2}, []int64{1, 2})}, []int{2, 3, 2}, []int{2, 2, 2}).opset = 24
	cases.with("ReverseSequence", named("ReverseSequence", xi), []*onnx.Tensor{onnx.NewInt64("i", []int64{2}, []int64{2, 3})}, []int{3, 2, 2})
	cases.with("Compress", named("Compress", xi, onnx.Int("axis", 1)), []*onnx.Tensor{onnx.NewInt64("i", []int64{3}, []int64{1, 0, 1})}, []int{2, 3})
	for _, largest := range []int64{0, 1} {
		n := onnx.NewNode("TopK", "TopK", xi, []string{"y", ""}, onnx.Int("axis", 1), onnx.Int("largest", largest))
		cases.with("TopK", n, []*onnx.Tensor{onnx.NewInt64("i", []int64{1}, []int64{2})}, []int{2, 4, 2})
	}
	// Indices that depend on data: those of the largest elements.
	best := onnx.NewNode("ArgMax", "ArgMax", []string{"x0"}, []string{"i"}, onnx.Int("axis", 1))
	for _, n := range []*onnx.Node{named("GatherElements", xi, onnx.Int("axis", 1)), named("GatherND", []string{"x0", "i"}, onnx.Int("batch_dims", 1)),
		named("ScatterElements", []string{"x0", "i", "x1"}, onnx.Int("axis", 1)),
		named("ScatterElements", []string{"x0", "i", "x1"}, onnx.Int("axis", 1), onnx.String("reduction", "add"))} {
		*cases = append(*cases, gradientCase{name: n.OpType + " of data", nodes: []*onnx.Node{best, n}, shapes: [][]int{{3, 4}, {3, 1}}[:min(2, len(n.Inputs)-1)]})
	}
	targets := []*onnx.Tensor{ints2("i", 2, 3, 0, 2, 1, 1, 0, 2), onnx.NewFloat64("w", []int64{3}, []float64{0.5, 2, 1})}
	for _, r := range []string{"none", "sum", "mean"} {
		for _, op := range []string{"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"} {
			cases.with(op+" "+r, named(op, []string{"x0", "i", "w"}, onnx.String("reduction", r), onnx.Int("ignore_index", 1)), targets, []int{2, 3, 3})
		}
	}
}

// resizes are resampled images and tensor contractions.
func (cases *gradientCases) resizes() {
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		for _, where := range []string{"half_pixel", "align_corners", "asymmetric"} {
			n := named("Resize", []string{"x0", "", "", "i"}, onnx.String("mode", mode), onnx.String("coordinate_transformation_mode", where),
				onnx.Int("exclude_outside", 1))
			cases.with("Resize "+mode+" "+where, n, []*onnx.Tensor{onnx.NewInt64("i", []int64{4}, []int64{1, 2, 5, 2})}, []int{1, 2, 3, 4})
		}
	}
	cases.with("Resize antialias", named("Resize", []string{"x0", "", "s"}, onnx.String("mode", "linear"), onnx.Int("antialias", 1), onnx.Ints("axes", 2)),
		[]*onnx.Tensor{onnx.NewFloat32("s", []int64{1}, []float32{0.4})}, []int{1, 2, 7})
	roi := onnx.NewFloat32("r", []int64{4}, []float32{0.1, -0.2, 0.9, 1.3})
	cases.with("Resize crop", named("Resize", []string{"x0", "r", "", "i"}, onnx.String("mode", "linear"), onnx.Ints("axes", 1, 2),
		onnx.String("coordinate_transformation_mode", "tf_crop_and_resize"), onnx.Float("extrapolation_value", 3)),
		[]*onnx.Tensor{roi, onnx.NewInt64("i", []int64{2}, []int64{4, 3})}, []int{2, 3, 4})
	cases.with("Upsample", named("Upsample", []string{"x0", "s"}), []*onnx.Tensor{onnx.NewFloat32("s", []int64{3}, []float32{1, 2, 3})}, []int{2, 2, 3}).opset = 9
	for _, c := range []struct {
		equation string
		shapes   [][]int
	}{{"bij,bjk->bik", [][]int{{2, 2, 3}, {2, 3, 2}}}, {"...ij,...kj->...ki", [][]int{{1, 2, 3}, {2, 4, 3}}}, {"ii,j,k->kj", [][]int{{3, 3}, {2}, {2}}},
		{"ab,ac,bc", [][]int{{2, 3}, {2, 2}, {3, 2}}}, {"bhqd,bkhd->bhqk", [][]int{{2, 2, 3, 2}, {2, 2, 2, 2}}}} {
		cases.add("Einsum "+c.equation, nodeOf("Einsum", len(c.shapes), onnx.String("equation", c.equation)), c.shapes...)
	}
}

// scans are running sums and products, and products of all.
func (cases *gradientCases) scans() {
	axis := []*onnx.Tensor{onnx.NewInt64("a", nil, []int64{-2})}
	for _, op := range []string{"CumSum", "CumProd"} {
		for _, way := range [][2]int64{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
			cases.with(op, named(op, []string{"x0", "a"}, onnx.Int("exclusive", way[0]), onnx.Int("reverse", way[1])), axis, []int{2, 5, 2}).opset = 26
		}
	}
	cases.with("ReduceProd", named("ReduceProd", []string{"x0", "a"}, onnx.Int("keepdims", 0)),
		[]*onnx.Tensor{onnx.NewInt64("a", []int64{2}, []int64{0, -1})}, []int{3, 2, 2})
}

// bodies are graphs with control flow that folds: a branch, an unrolled loop and a scan of h = tanh(h + x).
func (cases *gradientCases) bodies() {
	yes := onnx.NewRaw("c", onnx.Bool, nil, []byte{1})
	val := func(names ...string) (v []onnx.Value) {
		for _, n := range names {
			v = append(v, onnx.Value{Name: n})
		}
		return v
	}
	branch := func(op string) *onnx.Graph {
		return &onnx.Graph{Name: op, Nodes: []*onnx.Node{onnx.NewNode(op, op, []string{"x0"}, []string{"b"})}, Outputs: val("b")}
	}
	cases.with("If", named("If", []string{"c"}, onnx.GraphAttr("then_branch", branch("Tanh")), onnx.GraphAttr("else_branch", branch("Neg"))),
		[]*onnx.Tensor{yes}, []int{2, 3})
	step := []*onnx.Node{onnx.NewNode("Add", "add", []string{"h", "x1"}, []string{"s"}), onnx.NewNode("Tanh", "tanh", []string{"s"}, []string{"next"}),
		onnx.NewNode("Identity", "id", []string{"on"}, []string{"go"})}
	loop := &onnx.Graph{Name: "loop", Nodes: step, Inputs: val("i", "on", "h"), Outputs: val("go", "next", "next")}
	cases.with("Loop", onnx.NewNode("Loop", "Loop", []string{"m", "c", "x0"}, []string{"", "y"}, onnx.GraphAttr("body", loop)),
		[]*onnx.Tensor{yes, onnx.NewInt64("m", nil, []int64{3})}, []int{2, 3}, []int{2, 3})
	scan := &onnx.Graph{Name: "scan", Inputs: val("h", "x"), Outputs: val("next", "next"), Nodes: []*onnx.Node{
		onnx.NewNode("Add", "add", []string{"h", "x"}, []string{"s"}), onnx.NewNode("Tanh", "tanh", []string{"s"}, []string{"next"})}}
	cases.add("Scan", onnx.NewNode("Scan", "Scan", []string{"x0", "x1"}, []string{"", "y"}, onnx.GraphAttr("body", scan), onnx.Int("num_scan_inputs", 1),
		onnx.Ints("scan_input_axes", 1), onnx.Ints("scan_input_directions", 1), onnx.Ints("scan_output_axes", 1)), []int{2, 2}, []int{2, 4, 2})
}

// images are sampling, transforms and pools.
func (cases *gradientCases) images() {
	for _, mode := range []string{"linear", "nearest", "cubic"} {
		for _, padding := range []string{"zeros", "border", "reflection"} {
			n := nodeOf("GridSample", 2, onnx.String("mode", mode), onnx.String("padding_mode", padding))
			if mode == "nearest" { // the grid has no gradient
				n.Inputs[1] = "g"
				cases.with("GridSample "+mode+" "+padding, n, []*onnx.Tensor{onnx.NewFloat32("g", []int64{1, 1, 2, 2}, []float32{-0.3, 0.6, 1.2, -1.4})},
					[]int{1, 2, 3, 4})
				continue
			}
			cases.add("GridSample "+mode+" "+padding, n, []int{1, 2, 3, 4}, []int{1, 2, 2, 2})
		}
	}
	cases.add("GridSample 3-D", nodeOf("GridSample", 2, onnx.Int("align_corners", 1)), []int{2, 1, 2, 3, 2}, []int{2, 1, 2, 1, 3})
	cases.with("AffineGrid", named("AffineGrid", []string{"x0", "i"}), []*onnx.Tensor{onnx.NewInt64("i", []int64{4}, []int64{2, 1, 2, 3})}, []int{2, 2, 3})
	rois := onnx.NewFloat32("r", []int64{3, 4}, []float32{0.4, 0.7, 3.1, 2.9, -1.2, -0.6, 2.2, 5, 2, 2, 1, 1})
	for _, mode := range []string{"avg", "max"} {
		cases.with("RoiAlign "+mode, named("RoiAlign", []string{"x0", "r", "i"}, onnx.String("mode", mode), onnx.Int("output_height", 2),
			onnx.Int("output_width", 2), onnx.Int("sampling_ratio", 2)), []*onnx.Tensor{rois, onnx.NewInt64("i", []int64{3}, []int64{0, 1, 1})}, []int{2, 2, 4, 4})
	}
	window := []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2)}
	*cases = append(*cases, gradientCase{name: "MaxUnpool", shapes: [][]int{{2, 2, 4, 4}}, nodes: []*onnx.Node{
		onnx.NewNode("MaxPool", "pool", []string{"x0"}, []string{"p", "i"}, window...), onnx.NewNode("MaxUnpool", "unpool", []string{"p", "i"}, []string{"y"}, window...)}})
	cases.with("MaxUnpool constant", named("MaxUnpool", []string{"x0", "i", "s"}, window...), []*onnx.Tensor{
		onnx.NewInt64("i", []int64{1, 1, 2, 2}, []int64{5, 7, 13, 15}), onnx.NewInt64("s", []int64{4}, []int64{1, 1, 5, 5})}, []int{1, 1, 2, 2})
	cases.add("Det", node("Det"), []int{2, 4, 4})
	cases.add("Det of one", node("Det"), []int{1, 1})
	cases.add("DFT", node("DFT"), []int{2, 5, 1})
	cases.add("DFT complex inverse", node("DFT", onnx.Int("inverse", 1)), []int{2, 4, 2})
	cases.with("STFT", named("STFT", []string{"x0", "i", "x1"}), []*onnx.Tensor{onnx.NewInt64("i", nil, []int64{2})}, []int{2, 9, 1}, []int{4})
	for _, p := range []int64{1, 2, 3} {
		cases.add("LpPool", node("LpPool", onnx.Ints("kernel_shape", 2, 2), onnx.Int("p", p), onnx.Ints("strides", 2, 2), onnx.Int("ceil_mode", 1)),
			[]int{1, 2, 3, 3})
		cases.add("GlobalLpPool", node("GlobalLpPool", onnx.Int("p", p)), []int{2, 2, 3})
	}
	cases.with("Col2Im", named("Col2Im", []string{"x0", "i", "k"}, onnx.Ints("pads", 0, 1, 0, 1)), []*onnx.Tensor{onnx.NewInt64("i", []int64{2}, []int64{3, 3}),
		onnx.NewInt64("k", []int64{2}, []int64{2, 3})}, []int{1, 12, 6})
	cases.with("CenterCropPad", named("CenterCropPad", []string{"x0", "i"}), []*onnx.Tensor{onnx.NewInt64("i", []int64{2}, []int64{2, 6})}, []int{5, 3})
}

// sequences are rotary embeddings, causal convolutions and linear attention.
func (cases *gradientCases) sequences() {
	rotary := func(name string, attrs ...*onnx.Attribute) {
		cases.add(name, nodeOf("RotaryEmbedding", 3, attrs...), []int{2, 3, 2, 6}, []int{2, 2, 2}, []int{2, 2, 2})
	}
	rotary("RotaryEmbedding", onnx.Int("rotary_embedding_dim", 4))
	rotary("RotaryEmbedding interleaved", onnx.Int("rotary_embedding_dim", 4), onnx.Int("interleaved", 1))
	cases.add("CausalConvWithState", nodeOf("CausalConvWithState", 4, onnx.String("activation", "silu")), []int{2, 3, 4}, []int{3, 1, 3}, []int{3}, []int{2, 3, 2})
	cases.add("SwiGLU", nodeOf("SwiGLU", 2, onnx.Float("alpha", 1.5)), []int{2, 3}, []int{2, 3})
	for _, rule := range []string{"linear", "gated", "delta", "gated_delta"} {
		in, shapes := []string{"x0", "x1", "x2", "x3"}, [][]int{{1, 3, 8}, {1, 3, 4}, {1, 3, 6}, {1, 2, 2, 3}}
		n := named("LinearAttention", in, onnx.String("update_rule", rule), onnx.Int("q_num_heads", 4), onnx.Int("kv_num_heads", 2))
		if rule == "gated" || rule == "gated_delta" {
			n.Inputs, shapes = append(n.Inputs, "x4"), append(shapes, []int{1, 3, 4})
		} else if rule == "delta" {
			n.Inputs = append(n.Inputs, "")
		}
		if rule == "delta" {
			n.Inputs, shapes = append(n.Inputs, "x4"), append(shapes, []int{1, 3, 2})
		} else if rule == "gated_delta" {
			n.Inputs, shapes = append(n.Inputs, "x5"), append(shapes, []int{1, 3, 1})
		}
		cases.add("LinearAttention "+rule, n, shapes...)
	}
}

// TestBatchOfOne: a graph traced with a batch of 1 – a class token of one row, a reshape that merges the batch with the sequence and one that
// takes them apart – has any batch.
func TestBatchOfOne(t *testing.T) {
	g := &onnx.Graph{Nodes: []*onnx.Node{onnx.NewNode("Expand", "expand", []string{"token", "one"}, []string{"cls"}),
		onnx.NewNode("Concat", "join", []string{"cls", "x0"}, []string{"z"}, onnx.Int("axis", 1)),
		onnx.NewNode("Reshape", "merge", []string{"z", "rows"}, []string{"r"}),
		onnx.NewNode("Reshape", "split", []string{"r", "back"}, []string{"y"})},
		Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float32, 1, 5, 4)}, Outputs: []onnx.Value{{Name: "y"}},
		Initializers: []*onnx.Tensor{onnx.NewFloat32("token", []int64{1, 1, 4}, []float32{1, 2, 3, 4}), onnx.NewInt64("one", []int64{3}, []int64{1, 1, 4}),
			onnx.NewInt64("rows", []int64{2}, []int64{6, 4}), onnx.NewInt64("back", []int64{4}, []int64{1, 6, 2, 2})}}
	for _, batch := range []int{1, 3, 6} {
		p := engine.NewProgram(0)
		b := p.NewFunc("f", 0)
		inputs := map[string]engine.TensorID{"x0": p.NewState("x0", []int{batch, 5, 4})}
		res, err := Lower(b, &onnx.Model{Opsets: []onnx.Opset{{Version: 18}}, Graph: g}, inputs, nil, Options{Batch: batch})
		if err != nil {
			t.Fatalf("batch %d: %v", batch, err)
		}
		if got, want := b.Shape(res.Outputs["y"]), []int{batch, 6, 2, 2}; !slices.Equal(got, want) {
			t.Errorf("batch %d: shape %v, wants %v", batch, got, want)
		}
	}
}
