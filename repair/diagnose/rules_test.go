package diagnose_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/train"
)

// tensors are initializers of zeros: name, dimensions.
type tensors map[string][]int64

// subjectOf makes a subject of a graph from x to y and of a little healthy data.
func subjectOf(in, out []any, t tensors, nodes ...*onnx.Node) repair.Subject {
	g := &onnx.Graph{Name: "g", Nodes: nodes}
	rows, size := 64, 1
	shape := []int{rows}
	for _, d := range in {
		shape = append(shape, d.(int))
		size *= d.(int)
	}
	wide := func(dims []any) []any {
		w := []any{"batch"}
		for _, d := range dims {
			w = append(w, int64(d.(int)))
		}
		return w
	}
	g.Inputs = []onnx.Value{onnx.NewValue("x", onnx.Float32, wide(in)...)}
	g.Outputs = []onnx.Value{onnx.NewValue("y", onnx.Float32, wide(out)...)}
	for name, dims := range t {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		g.Initializers = append(g.Initializers, onnx.NewFloat32(name, dims, make([]float32, n)))
	}
	x := data.Array{Name: "x", Shape: shape, Float: make([]float32, rows*size)}
	for i := range x.Float {
		x.Float[i] = float32(math.Sin(float64(i) * 1.7))
	}
	y := data.Array{Name: "y", Shape: []int{rows}, Int: make([]int32, rows)}
	for i := range y.Int {
		y.Int[i] = int32(i % 2)
	}
	s := repair.Subject{Model: &onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: 18}}, Graph: g}, Data: data.Splits{Set: data.Set{
		Inputs: []data.Array{x}, Targets: []data.Array{y}}}}
	for i := range int32(rows) {
		switch {
		case i < 40:
			s.Data.Train = append(s.Data.Train, i)
		case i < 52:
			s.Data.Search = append(s.Data.Search, i)
		default:
			s.Data.Holdout = append(s.Data.Holdout, i)
		}
	}
	s.Recipe = train.Recipe{Semantics: train.PyTorch, Task: train.Classification, Loss: train.Loss{Name: "sparse_categorical_crossentropy", FromLogits: true},
		Optimizer: train.Optimizer{Name: "adam", LearningRate: 0.001}, BatchSize: 16, Epochs: 400, Shuffle: true, Metric: train.Accuracy,
		Initializers: map[string]train.Initializer{}}
	for name := range t {
		s.Recipe.Initializers[name] = train.Initializer{Name: "glorot_uniform"}
	}
	return s
}

func node(op, name string, in ...string) *onnx.Node {
	return onnx.NewNode(op, name, in, []string{name + ":0"})
}

// last gives a node the graph's output.
func last(n *onnx.Node) *onnx.Node { n.Outputs[0] = "y"; return n }

func with(n *onnx.Node, attrs ...*onnx.Attribute) *onnx.Node {
	n.Attrs = append(n.Attrs, attrs...)
	return n
}

func static(s repair.Subject) []diagnose.Symptom {
	return diagnose.Static(s, operators.All().Space(s))
}

// mlp is x [4] -> dense1 -> Relu -> dense2 -> y [2].
func mlp() repair.Subject {
	return subjectOf([]any{4}, []any{2}, tensors{"w1": {4, 8}, "b1": {8}, "w2": {8, 2}, "b2": {2}},
		node("Gemm", "dense1", "x", "w1", "b1"), node("Relu", "relu", "dense1:0"), last(node("Gemm", "dense2", "relu:0", "w2", "b2")))
}

func find(s []diagnose.Symptom, k diagnose.Kind, at string) bool {
	return slices.ContainsFunc(s, func(x diagnose.Symptom) bool { return x.Kind == k && x.Node == at })
}

// Each rule about the graph fires on its fault, at the node, and not on the graph without it.
func TestGraphRules(t *testing.T) {
	bn := tensors{"g": {8}, "h": {8}, "m": {8}, "v": {8}}
	dense := func(more tensors, nodes ...*onnx.Node) repair.Subject {
		all := tensors{"w1": {4, 8}, "b1": {8}, "w2": {8, 2}, "b2": {2}}
		for k, v := range more {
			all[k] = v
		}
		return subjectOf([]any{4}, []any{2}, all, nodes...)
	}
	norm := func(in string) *onnx.Node { return node("BatchNormalization", "bn", in, "g", "h", "m", "v") }
	image := func(extent int, pool bool) repair.Subject {
		nodes := []*onnx.Node{with(node("Conv", "conv1", "x", "k1"), onnx.Ints("kernel_shape", 3, 3), onnx.Ints("pads", 1, 1, 1, 1)), node("Relu", "relu1", "conv1:0")}
		at := "relu1:0"
		if pool {
			nodes = append(nodes, with(node("MaxPool", "pool", at), onnx.Ints("kernel_shape", int64(extent), int64(extent))))
			at = "pool:0"
		}
		nodes = append(nodes, with(node("Conv", "conv2", at, "k2"), onnx.Ints("kernel_shape", 3, 3), onnx.Ints("pads", 1, 1, 1, 1)), node("Relu", "relu2", "conv2:0"),
			node("GlobalAveragePool", "gap", "relu2:0"), node("Flatten", "flat", "gap:0"), last(node("Gemm", "dense", "flat:0", "w")))
		return subjectOf([]any{1, extent, extent}, []any{2}, tensors{"k1": {8, 1, 3, 3}, "k2": {8, 8, 3, 3}, "w": {8, 2}}, nodes...)
	}
	sequence := func(flat bool) repair.Subject {
		if flat {
			return subjectOf([]any{5, 4}, []any{2}, tensors{"w": {20, 2}}, node("Flatten", "flat", "x"), last(node("MatMul", "dense", "flat:0", "w")))
		}
		return subjectOf([]any{5, 4}, []any{5, 2}, tensors{"w": {4, 2}}, last(node("MatMul", "dense", "x", "w")))
	}
	end := func(in string) *onnx.Node { return last(node("Gemm", "dense2", in, "w2", "b2")) }
	for _, c := range []struct {
		kind            diagnose.Kind
		at              string
		faulty, healthy repair.Subject
	}{
		{diagnose.UselessBias, "dense1", dense(bn, node("Gemm", "dense1", "x", "w1", "b1"), norm("dense1:0"), node("Relu", "relu", "bn:0"), end("relu:0")),
			dense(bn, node("Gemm", "dense1", "x", "w1"), norm("dense1:0"), node("Relu", "relu", "bn:0"), end("relu:0"))},
		{diagnose.UselessBias, "dense1", dense(bn, node("MatMul", "dense1", "x", "w1"), node("Add", "bias", "dense1:0", "b1"), norm("bias:0"), node("Relu", "relu", "bn:0"), end("relu:0")),
			dense(bn, node("MatMul", "dense1", "x", "w1"), node("Add", "bias", "dense1:0", "b1"), node("Relu", "relu", "bias:0"), norm("relu:0"), end("bn:0"))},
		{diagnose.DropoutBeforeNorm, "drop", dense(bn, node("Gemm", "dense1", "x", "w1"), node("Dropout", "drop", "dense1:0"), norm("drop:0"), node("Relu", "relu", "bn:0"), end("relu:0")),
			dense(bn, node("Gemm", "dense1", "x", "w1"), norm("dense1:0"), node("Relu", "relu", "bn:0"), node("Dropout", "drop", "relu:0"), end("drop:0"))},
		{diagnose.DropoutBeforePooling, "drop", subjectOf([]any{1, 6, 6}, []any{2}, tensors{"k": {4, 1, 3, 3}, "w": {4, 2}}, node("Conv", "conv", "x", "k"), node("Relu", "relu", "conv:0"),
			node("Dropout", "drop", "relu:0"), node("GlobalAveragePool", "gap", "drop:0"), node("Flatten", "flat", "gap:0"), last(node("Gemm", "dense", "flat:0", "w"))),
			subjectOf([]any{1, 6, 6}, []any{2}, tensors{"k": {4, 1, 3, 3}, "w": {4, 2}}, node("Conv", "conv", "x", "k"), node("Relu", "relu", "conv:0"),
				node("GlobalAveragePool", "gap", "relu:0"), node("Dropout", "drop", "gap:0"), node("Flatten", "flat", "drop:0"), last(node("Gemm", "dense", "flat:0", "w")))},
		{diagnose.FeatureMapSmall, "conv2", image(4, true), image(4, false)},
		{diagnose.StackedActivations, "tanh", dense(nil, node("Gemm", "dense1", "x", "w1"), node("Relu", "relu", "dense1:0"), node("Tanh", "tanh", "relu:0"), end("tanh:0")), mlp()},
		{diagnose.StackedActivations, "out", dense(nil, node("Gemm", "dense1", "x", "w1"), node("Relu", "relu", "dense1:0"), node("Gemm", "dense2", "relu:0", "w2"),
			node("Relu", "out", "dense2:0"), last(node("Softmax", "softmax", "out:0"))),
			dense(nil, node("Gemm", "dense1", "x", "w1"), node("Relu", "relu", "dense1:0"), node("Gemm", "dense2", "relu:0", "w2"), last(node("Softmax", "softmax", "dense2:0")))},
		{diagnose.MissingFlatten, "dense", sequence(false), sequence(true)},
		{diagnose.HiddenLinear, "dense1", dense(nil, node("Gemm", "dense1", "x", "w1"), end("dense1:0")), mlp()},
	} {
		name := fmt.Sprintf("%s at %s", c.kind, c.at)
		if got := static(c.faulty); !find(got, c.kind, c.at) {
			t.Errorf("%s: found are %v", name, got)
		}
		if got := static(c.healthy); slices.Contains(kinds(got), c.kind) {
			t.Errorf("%s: the healthy graph shows %v", name, got)
		}
	}
}

// What is meant to be linear, or is not linear after all, is no missing function.
func TestLinearOnPurpose(t *testing.T) {
	conv := func(name, in, kernel string, attrs ...*onnx.Attribute) *onnx.Node {
		return with(node("Conv", name, in, kernel), attrs...)
	}
	tail := []*onnx.Node{node("GlobalAveragePool", "gap", "r:0"), node("Flatten", "flat", "gap:0"), last(node("Gemm", "dense", "flat:0", "w"))}
	for name, s := range map[string]repair.Subject{
		"function behind the pooling": subjectOf([]any{1, 8, 8}, []any{2}, tensors{"k": {4, 1, 3, 3}, "w": {4, 2}}, append([]*onnx.Node{conv("conv", "x", "k"),
			with(node("MaxPool", "pool", "conv:0"), onnx.Ints("kernel_shape", 2, 2)), node("Relu", "r", "pool:0")}, tail...)...),
		"bottleneck": subjectOf([]any{8, 6, 6}, []any{2}, tensors{"k1": {4, 8, 1, 1}, "k2": {8, 4, 1, 1}, "w": {8, 2}}, append([]*onnx.Node{conv("project", "x", "k1"),
			conv("expand", "project:0", "k2"), node("Relu", "r", "expand:0")}, tail...)...),
		"depthwise separable": subjectOf([]any{4, 6, 6}, []any{2}, tensors{"k1": {4, 1, 3, 3}, "k2": {8, 4, 1, 1}, "w": {8, 2}}, append([]*onnx.Node{
			conv("depth", "x", "k1", onnx.Int("group", 4)), conv("point", "depth:0", "k2"), node("Relu", "r", "point:0")}, tail...)...),
	} {
		if got := static(s); slices.Contains(kinds(got), diagnose.HiddenLinear) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Each rule about data fires on its fault and not on the data without it.
func TestDataRules(t *testing.T) {
	floats := func(a *data.Array, f func(row, k int, v float32) float32) {
		x, n := slices.Clone(a.Float), a.RowSize()
		for i, v := range x {
			x[i] = f(i/n, i%n, v)
		}
		a.Float = x
	}
	labels := func(a *data.Array, f func(row int) int32) {
		for i := range a.Int {
			a.Int[i] = f(i)
		}
	}
	for _, c := range []struct {
		name, at string
		kind     diagnose.Kind
		spoil    func(s *repair.Subject)
	}{
		{"NaN in the training rows", "x", diagnose.NonFiniteData, func(s *repair.Subject) { s.Data.Inputs[0].Float[3] = float32(math.NaN()) }},
		{"infinity in the search rows", "x", diagnose.NonFiniteData, func(s *repair.Subject) { s.Data.Inputs[0].Float[45*4] = float32(math.Inf(1)) }},
		{"one large feature", "x", diagnose.InputScale, func(s *repair.Subject) {
			floats(&s.Data.Inputs[0], func(_, k int, v float32) float32 {
				if k == 2 {
					return 1000 * v
				}
				return v
			})
		}},
		{"features that are constant", "x", diagnose.ConstantFeatures, func(s *repair.Subject) {
			floats(&s.Data.Inputs[0], func(_, k int, v float32) float32 {
				if k > 0 {
					return 0.5
				}
				return v
			})
		}},
		{"only training rows scaled", "x", diagnose.ScaleShift, func(s *repair.Subject) {
			s.Recipe.Preprocessing = []train.Preprocess{{Kind: "divide", By: 255, Part: "train"}}
		}},
		{"search rows from elsewhere", "x", diagnose.FeatureShift, func(s *repair.Subject) {
			floats(&s.Data.Inputs[0], func(row, _ int, v float32) float32 {
				if row >= 40 {
					return v + 2
				}
				return v
			})
		}},
		{"labels divided", "y", diagnose.LabelsNotWhole, func(s *repair.Subject) {
			a := s.Data.Targets[0].AsFloat()
			floats(a, func(_, _ int, v float32) float32 { return v / 255 })
			s.Data.Targets[0] = *a
		}},
		{"one class", "y", diagnose.LabelsConstant, func(s *repair.Subject) { labels(&s.Data.Targets[0], func(int) int32 { return 1 }) }},
		{"one number", "y", diagnose.LabelsConstant, func(s *repair.Subject) {
			s.Recipe.Task, s.Recipe.Metric, s.Recipe.Loss = train.Regression, train.MAE, train.Loss{Name: "mean_squared_error"}
			a := s.Data.Targets[0].AsFloat()
			floats(a, func(row, _ int, _ float32) float32 { return 5 + 1e-4*float32(row%2) })
			s.Data.Targets[0] = *a
		}},
		{"class without training rows", "y", diagnose.MissingClasses, func(s *repair.Subject) {
			labels(&s.Data.Targets[0], func(row int) int32 { return int32(min(row/20, 2)) })
		}},
		{"labels sorted", "y", diagnose.LabelShift, func(s *repair.Subject) {
			labels(&s.Data.Targets[0], func(row int) int32 { return int32(row / 34) })
		}},
		{"unbalanced", "y", diagnose.Imbalance, func(s *repair.Subject) {
			labels(&s.Data.Targets[0], func(row int) int32 { return map[bool]int32{true: 1}[row%14 == 0] })
		}},
		{"nearly all in one class", "", diagnose.MajorityGuess, func(s *repair.Subject) {
			labels(&s.Data.Targets[0], func(row int) int32 { return map[bool]int32{true: 1}[row%20 == 0] })
		}},
		{"search rows among the training rows", "", diagnose.Leakage, func(s *repair.Subject) {
			floats(&s.Data.Inputs[0], func(row, k int, v float32) float32 {
				if row >= 40 && row < 46 {
					return s.Data.Inputs[0].Float[(row-40)*4+k]
				}
				return v
			})
		}},
		{"hold-out rows among the training rows", "", diagnose.Leakage, func(s *repair.Subject) { s.Data.Holdout = s.Data.Train[:10] }},
		{"classification by MAE", "", diagnose.MetricBlind, func(s *repair.Subject) { s.Recipe.Metric = train.MAE }},
		{"binary loss for three classes", "", diagnose.LossNotForTask, func(s *repair.Subject) {
			s.Recipe.Loss = train.Loss{Name: "binary_crossentropy"}
			labels(&s.Data.Targets[0], func(row int) int32 { return int32(row % 3) })
		}},
	} {
		s := mlp()
		if got := static(s); slices.Contains(kinds(got), c.kind) {
			t.Errorf("%s: the healthy data shows %v", c.name, got)
		}
		c.spoil(&s)
		got := static(s)
		if !find(got, c.kind, c.at) {
			t.Errorf("%s: found are %v", c.name, got)
		}
		for _, x := range got {
			t.Logf("%s: %s", c.name, x.Words())
		}
	}
}

// Coarse data repeats itself: rows that the training part has twice itself are no leak.
func TestCoarseDataIsNoLeak(t *testing.T) {
	s := mlp()
	for i := range s.Data.Inputs[0].Float {
		s.Data.Inputs[0].Float[i] = float32(i / 4 % 8) // eight different rows
	}
	if got := static(s); slices.Contains(kinds(got), diagnose.Leakage) {
		t.Error(got)
	}
}

// The usual width depends on the function behind the layer.
func TestInitialScaleFollowsTheFunction(t *testing.T) {
	for _, c := range []struct {
		stddev float64
		want   bool
	}{{0.7, false}, {0.2, false}, {0.1, true}, {4, true}} { // He's for 4 inputs is 0.71
		s := mlp()
		s.Recipe.Initializers["w1"] = train.Initializer{Name: "random_normal", Stddev: c.stddev}
		if got := static(s); find(got, diagnose.InitialScale, "w1") != c.want {
			t.Errorf("deviation %v: %v", c.stddev, got)
		}
	}
}

// A healthy network shows nothing at all.
func TestHealthyNetworkIsSilent(t *testing.T) {
	if got := static(mlp()); len(got) != 0 {
		t.Error(got)
	}
}

// Losses for numbers that are never negative do not see how far a negative one is missed: another loss is suspected, one for any number.
func TestLossForPositiveTargets(t *testing.T) {
	for _, loss := range []string{"mean_squared_logarithmic_error", "poisson"} {
		for _, least := range []float32{0, -1} {
			s := mlp()
			s.Recipe.Task, s.Recipe.Metric, s.Recipe.Loss = train.Regression, train.MAE, train.Loss{Name: loss}
			y := data.Array{Name: "y", Shape: []int{64}, Float: make([]float32, 64)}
			for i := range y.Float {
				y.Float[i] = least + float32(i%8)
			}
			s.Data.Targets = []data.Array{y}
			got := static(s)
			if want := least < 0; find(got, diagnose.LossNotForTargets, "") != want {
				t.Errorf("%s with targets from %v: found are %v", loss, least, got)
			}
			if least == 0 {
				continue
			}
			suspects := diagnose.Suspicion(got, operators.All().Space(s))
			if p := suspects[repair.Key{Operator: "loss", Target: "recipe"}].Prefer; p[repair.Word("mean_squared_error")] <= p[repair.Word("hinge")] {
				t.Errorf("%s: preferred losses are %v", loss, p)
			}
		}
	}
}

// What is seen in a training counts less where rules have seen a reason for it before.
func TestCausesExplainEffects(t *testing.T) {
	space := operators.All().Space(mlp())
	rate := repair.Key{Operator: "learning_rate", Target: "recipe"}
	weight := func(s ...diagnose.Symptom) float64 { return diagnose.Suspicion(s, space)[rate].Weight }
	effect := diagnose.Symptom{Kind: diagnose.Oscillation, Epoch: 3}
	cause := diagnose.Symptom{Kind: diagnose.NotShuffled} // says nothing of rates
	alone, explained := weight(effect)-weight(), weight(effect, cause)-weight(cause)
	if !(explained < alone) || !(explained > 0) {
		t.Errorf("oscillation raises the weight of the rate by %.3g, and by %.3g in a training whose rows were not shuffled", alone, explained)
	}
}
