package operators

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

func apply(t *testing.T, s repair.Subject, edits ...repair.Edit) repair.Subject {
	t.Helper()
	got, err := All().Apply(s, repair.NewPatch(edits...))
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(got.Model); err != nil {
		t.Fatal(err)
	}
	return got
}

func recipeEdit(operator string, v repair.Value) repair.Edit {
	return repair.Edit{Operator: operator, Target: recipeTarget, Value: v}
}

func slotOf(t *testing.T, s repair.Subject, operator, target string) repair.Slot {
	t.Helper()
	slot, ok := All().Space(s).Slot(repair.Key{Operator: operator, Target: target})
	if !ok {
		t.Fatalf("no slot %s(%s)", operator, target)
	}
	return slot
}

func TestDescribe(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Describe() {
		if d.Name == "" || d.Doc == "" || seen[d.Name] || strings.ContainsAny(d.Name, " -A") {
			t.Errorf("description %+v", d)
		}
		seen[d.Name] = true
		if _, ok := All().Find(d.Name); !ok {
			t.Errorf("%s is not found", d.Name)
		}
	}
	if len(seen) != 22 {
		t.Errorf("%d operators", len(seen))
	}
}

// TestOptimizer checks that an optimizer comes with its framework's defaults and that a learning rate in the same patch wins.
func TestOptimizer(t *testing.T) {
	s := subject(t, "pytorch_cnn") // sgd, 0.05, momentum 0.9, weight decay 1e-4
	got := apply(t, s, recipeEdit("optimizer", repair.Word("adadelta"))).Recipe.Optimizer
	if want, _ := train.DefaultOptimizer("adadelta", train.PyTorch); got != want || got.LearningRate != 1 {
		t.Errorf("adadelta: %+v", got)
	}
	both := apply(t, s, recipeEdit("optimizer", repair.Word("adam")), recipeEdit("learning_rate", repair.Num(0.003))).Recipe.Optimizer
	if both.Name != "adam" || both.LearningRate != 0.003 || both.Momentum != 0 || both.WeightDecay != 0 || both.Beta1 != 0.9 {
		t.Errorf("adam with a learning rate: %+v", both)
	}
	if same := apply(t, s, recipeEdit("optimizer", repair.Word("sgd"))).Recipe; !same.Equal(s.Recipe) {
		t.Errorf("naming the current optimizer changed it: %+v", same.Optimizer)
	}
	// The domain of the learning rate holds the published range whatever the optimizer and its faulty rate.
	s.Recipe.Optimizer.LearningRate = 1e5
	slot := slotOf(t, s, "learning_rate", recipeTarget)
	for _, rate := range []float64{1e-6, 0.003, 1, 10} {
		if !slot.Domain.Contains(repair.Num(rate)) {
			t.Errorf("learning rate %v is outside %v", rate, slot.Domain)
		}
	}
	if words := All()[1].Words(s, recipeEdit("learning_rate", repair.Num(0.003))); words != "learning rate: 100000 -> 0.003" {
		t.Errorf("words %q", words)
	}
}

func TestPreprocessing(t *testing.T) {
	s := subject(t, "keras_mlp")
	s.Recipe.Preprocessing = []train.Preprocess{{Kind: "divide", By: 255, Part: "train"}, {Array: "y", Kind: "divide", By: 255}, {Array: "x", Kind: "standardize"}}
	got := apply(t, s, repair.Edit{Operator: "preprocessing", Target: "y:divide", Value: repair.Word("remove")},
		repair.Edit{Operator: "preprocessing", Target: "inputs:divide:train", Value: repair.Word("all_rows")},
		repair.Edit{Operator: "preprocessing", Target: "x:standardize", Value: repair.Word("remove")})
	if want := []train.Preprocess{{Kind: "divide", By: 255}}; !slices.Equal(got.Recipe.Preprocessing, want) {
		t.Errorf("preprocessing is %+v", got.Recipe.Preprocessing)
	}
	if len(s.Recipe.Preprocessing) != 3 || s.Recipe.Preprocessing[0].Part != "train" {
		t.Error("the given recipe changed")
	}
	o, _ := All().Find("preprocessing")
	for _, slot := range o.Slots(s) {
		conform(t, s, o, slot)
	}
}

// TestRecognition checks what the activations of the two fixtures that have all of them are taken for, composed ones included.
func TestRecognition(t *testing.T) {
	for name, want := range map[string]string{
		"pytorch_activations": "elu selu celu gelu gelu_tanh swish mish relu6 hard_tanh hard_sigmoid hard_swish leaky_relu prelu softplus softsign tanh sigmoid log_sigmoid tanh_shrink relu softmax",
		"keras_activations":   "elu selu celu gelu swish mish relu6 hard_tanh hard_sigmoid hard_swish leaky_relu softplus softsign tanh sigmoid log_sigmoid tanh_shrink exponential relu softmax prelu",
	} {
		s := subject(t, name)
		var got []string
		for _, x := range newView(s).activations() {
			got = append(got, x.fn)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s:\n got %s\nwant %s", name, g, want)
		}
	}
}

// infer runs a model on the search rows of a subject.
func infer(t *testing.T, s repair.Subject, m *onnx.Model, change func(a *data.Array)) []float32 {
	t.Helper()
	arrays, err := train.ModelInputs(s.Model, train.Recipe{}, s.Data.Set)
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]data.Array{}
	for _, a := range arrays {
		part := a.Select(s.Data.Search[:16])
		if change != nil {
			change(part)
		}
		inputs[a.Name] = *part
	}
	out, err := train.Infer(context.Background(), reference.NewFloat64(), m, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out[m.Graph.Outputs[0].Name].Float
}

func closeTo(a, b []float32, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool {
		return math.Abs(float64(x)-float64(y)) <= tolerance*(1+math.Abs(float64(y)))
	})
}

// TestUnitsMapping doubles the width of every layer that has a units slot. The stored weights repeat the old ones; where the following
// layers' kernels share out what a repeated unit gives, the network must compute what it did before, which it does only when every
// index through pooling, flattening and joining is right.
func TestUnitsMapping(t *testing.T) {
	checked := 0
	for _, name := range fixtures(t) {
		s := subject(t, name)
		want := infer(t, s, s.Model, nil)
		for _, slot := range units.slots(newView(s)) {
			e := s
			e.Model, e.Recipe = s.Model.Clone(), s.Recipe.Clone()
			v := newView(e)
			l, _ := v.layerNamed(slot.Target)
			width := 2 * l.units
			if v.activeSoftmax(l) { // its sum runs over the units
				continue
			}
			plan, err := v.planResize(l, width)
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.commit(); err != nil {
				t.Fatal(err)
			}
			for _, f := range plan.fans {
				for _, c := range plan.changes {
					if c.tensor == f.layer.kernel {
						shareOut(t, v.Model.Graph, c)
					}
				}
			}
			if got := infer(t, s, v.Model, nil); !closeTo(got, want, 1e-5) {
				t.Errorf("%s: units of %s: outputs differ: %v, %v", name, slot.Target, got[:4], want[:4])
			}
			checked++
		}
	}
	if checked < 40 {
		t.Errorf("only %d layers checked", checked)
	}
}

// activeSoftmax says whether a softmax follows a layer.
func (v *view) activeSoftmax(l layer) bool {
	b := v.block(l)
	return b.site != nil && b.site.fn == "softmax"
}

// shareOut divides a resized kernel by how often each of its inputs is there.
func shareOut(t *testing.T, g *onnx.Graph, c change) {
	t.Helper()
	k := g.Initializer(c.tensor)
	values, err := k.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	times := map[int]float32{}
	for _, i := range c.from {
		times[i]++
	}
	inner := 1
	for _, d := range k.Dims[c.axis+1:] {
		inner *= int(d)
	}
	for i := range values {
		values[i] /= times[c.from[i/inner%len(c.from)]]
	}
	g.SetInitializer(onnx.NewFloat32(c.tensor, k.Dims, values))
}

// TestInputScaling checks that the edited model does to raw inputs what the original does to scaled ones.
func TestInputScaling(t *testing.T) {
	for _, name := range []string{"pytorch_mlp", "keras_cnn"} {
		s := subject(t, name)
		a := &s.Data.Inputs[0]
		for _, kind := range []string{"standardize", "minmax", "divide_255"} {
			e := apply(t, s, repair.Edit{Operator: "input_scaling", Target: "input", Value: repair.Word(kind)})
			scaler := data.Scaler{Shift: []float32{0}, Scale: []float32{255}}
			if kind != "divide_255" {
				var err error
				scaler, err = data.FitScaler(a, s.Data.Train, data.Scaling{Mode: data.ScaleMode(kind), PerFeature: name == "pytorch_mlp"})
				if err != nil {
					t.Fatal(err)
				}
			}
			want := infer(t, s, s.Model, func(x *data.Array) {
				scaled, err := scaler.Apply(x)
				if err != nil {
					t.Fatal(err)
				}
				*x = *scaled
			})
			if got := infer(t, s, e.Model, nil); !closeTo(got, want, 1e-5) {
				t.Errorf("%s: %s: %v, want %v", name, kind, got[:4], want[:4])
			}
			for _, tensor := range e.Recipe.Frozen {
				if e.Recipe.Initializers[tensor].Name != "model" {
					t.Errorf("%s: constant %q would be drawn anew", name, tensor)
				}
			}
			if len(All()[len(All())-1].Slots(e)) != 0 {
				t.Errorf("%s: a scaled input can be scaled again", name)
			}
		}
	}
}

// TestOutputHead fits heads that do not go with their labels.
func TestOutputHead(t *testing.T) {
	const target = "sequential_1/out_1/MatMul"
	s := subject(t, "keras_mlp")

	// The output softmax is missing under a cross-entropy of probabilities.
	bare := apply(t, s, repair.Edit{Operator: "activation", Target: "sequential_1/out_1/Softmax", Value: repair.Word("linear")})
	slot := slotOf(t, bare, "output_head", target)
	if slot.Current.Text != "10 linear "+lossWord(s.Recipe.Loss) {
		t.Errorf("current head %q", slot.Current)
	}
	fixed := apply(t, bare, repair.Edit{Operator: "output_head", Target: target, Value: slot.Domain.Choices[0]})
	if got, want := infer(t, s, fixed.Model, nil), infer(t, s, s.Model, nil); !closeTo(got, want, 1e-6) {
		t.Error("the repaired head does not compute what the original does")
	}

	// Ten classes, nine outputs.
	nine := s
	nine.Model, nine.Recipe = s.Model.Clone(), s.Recipe.Clone()
	v := newView(nine)
	l, _ := v.layerNamed(target)
	plan, err := v.planResize(l, 9)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.commit(); err != nil {
		t.Fatal(err)
	}
	if err := trainOnce(nine, false); err == nil {
		t.Error("nine outputs train on ten classes")
	}
	ten := apply(t, nine, repair.Edit{Operator: "output_head", Target: target, Value: repair.Word("10 softmax categorical_crossentropy")})
	if d := ten.Model.Graph.Outputs[0].Type.Shape[1]; d.Value != 10 {
		t.Errorf("the output has %v units", d)
	}
	if err := trainOnce(ten, false); err != nil {
		t.Error(err)
	}

	// Two classes: a softmax on one unit says nothing.
	two := ten
	labels, _ := data.Labels(&s.Data.Targets[0])
	labels = slices.Clone(labels)
	for i := range labels {
		labels[i] %= 2
	}
	two.Data.Targets = []data.Array{{Name: s.Data.Targets[0].Name, Shape: []int{len(labels)}, Int: labels}}
	one := apply(t, two, repair.Edit{Operator: "output_head", Target: target, Value: repair.Word("1 sigmoid binary_crossentropy")})
	if n := one.Model.Graph.Producer("output"); n.OpType != "Sigmoid" || one.Recipe.Loss.Name != "binary_crossentropy" || one.Recipe.Loss.FromLogits {
		t.Errorf("head %v with loss %+v", n, one.Recipe.Loss)
	}
	if err := trainOnce(one, false); err != nil {
		t.Error(err)
	}
}

// TestNameless applies several edits to a model whose nodes have no names.
func TestNameless(t *testing.T) {
	s := subject(t, "keras_mlp")
	s.Model = s.Model.Clone()
	for _, n := range s.Model.Graph.Nodes {
		n.Name = ""
	}
	s.Recipe = s.Recipe.Clone()
	s.Recipe.Dropout = map[string]float64{"Dropout(sequential_1/drop_1/Mul:0)": 0.75}
	const hidden = "sequential_1/hidden_1/MatMul:0"
	if slot := slotOf(t, s, "dropout", "sequential_1/drop_1/Mul:0"); slot.Current != repair.Num(0.75) {
		t.Errorf("dropout rate %v", slot.Current)
	}
	got := apply(t, s, repair.Edit{Operator: "activation", Target: "output", Value: repair.Word("sigmoid")},
		repair.Edit{Operator: "activation", Target: "sequential_1/hidden_1/Relu:0", Value: repair.Word("gelu")},
		repair.Edit{Operator: "batch_normalization", Target: hidden, Value: repair.Word("before_activation")},
		repair.Edit{Operator: "units", Target: hidden, Value: repair.Num(64)}, repair.Edit{Operator: "layer", Target: hidden, Value: repair.Num(2)})
	if err := checkSubject(s, got, false); err != nil {
		t.Error(err)
	}
	if rate := got.Recipe.Dropout["sequential_1/drop_1/Mul:0"]; rate != 0.75 {
		t.Errorf("dropout rates %v", got.Recipe.Dropout)
	}
	if err := trainOnce(got, false); err != nil {
		t.Error(err)
	}
}

// TestOpsets applies the graph's operators to a model of older and newer operator sets: what is inserted must be valid there.
func TestOpsets(t *testing.T) {
	runtime := haveRuntime(t)
	for _, opset := range []int64{7, 9, 10, 11, 12, 13, 14, 17, 18, 20} {
		s := subject(t, "pytorch_mlp") // Gemm and Relu, without its dropout: valid in all of them
		for _, slot := range slices.Clone(dropout.slotsOf(newView(s))) {
			if s.Model.Graph.Node(slot.Target).Is("Dropout") {
				s = apply(t, s, repair.Edit{Operator: "dropout", Target: slot.Target, Value: repair.Num(0)})
			}
		}
		s.Model = s.Model.Clone()
		s.Model.SetOpset("", opset)
		nameNodes(s)
		if err := onnx.Check(s.Model); err != nil {
			t.Fatal(err)
		}
		edits := 0
		for _, slot := range All().Space(s) {
			if !slices.Contains(graphOperators, slot.Operator) {
				continue
			}
			for _, value := range samples(slot.Domain) {
				e := repair.Edit{Operator: slot.Operator, Target: slot.Target, Value: value}
				got, err := All().Apply(s, repair.NewPatch(e))
				if err == nil {
					err = checkSubject(s, got, slot.Operator == "output_head")
				}
				if err == nil {
					err = trainOnce(got, runtime)
				}
				if err != nil {
					t.Errorf("operator set %d: %s: %v", opset, e, err)
				}
				edits++
			}
		}
		if edits < 20 {
			t.Errorf("operator set %d: %d edits", opset, edits)
		}
	}
}

// TestConflict checks that two edits which cannot hold together are refused by name: once the layer before it has another width, the last
// layer of a residual branch cannot be taken out.
func TestConflict(t *testing.T) {
	s := subject(t, "keras_resnet")
	const first, second = "functional_1/conv2d_1_2/convolution", "functional_1/conv2d_2_1/convolution"
	narrow := repair.Edit{Operator: "units", Target: first, Value: repair.Num(4)}
	remove := repair.Edit{Operator: "layer", Target: second, Value: repair.Num(0)}
	apply(t, s, narrow)
	apply(t, s, remove)
	if _, err := All().Apply(s, repair.NewPatch(narrow, remove)); err == nil || !strings.Contains(err.Error(), second) {
		t.Errorf("error %v", err)
	}
}

// TestOneUnitBias: the bias of a layer with one unit is not part of the activation behind it.
func TestOneUnitBias(t *testing.T) {
	g := &onnx.Graph{Name: "g", Inputs: []onnx.Value{onnx.NewValue("x", onnx.Float32, "batch", 1)}, Outputs: []onnx.Value{onnx.NewValue("y", onnx.Float32, "batch", 1)},
		Initializers: []*onnx.Tensor{onnx.NewFloat32("kernel", []int64{1, 1}, []float32{1}), onnx.NewFloat32("bias", []int64{1}, []float32{0})},
		Nodes: []*onnx.Node{onnx.NewNode("MatMul", "layer", []string{"x", "kernel"}, []string{"a"}), onnx.NewNode("Add", "add", []string{"a", "bias"}, []string{"b"}),
			onnx.NewNode("Relu", "relu", []string{"b"}, []string{"y"})}}
	s := repair.Subject{Model: &onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: 18}}, Graph: g}, Recipe: subject(t, "keras_mlp").Recipe}
	s.Recipe.Initializers, s.Recipe.Dropout, s.Recipe.Regularizers, s.Recipe.Frozen = nil, nil, nil, nil
	tanh := apply(t, s, repair.Edit{Operator: "activation", Target: "relu", Value: repair.Word("tanh")})
	if nodes := tanh.Model.Graph.Nodes; len(nodes) != 3 || nodes[1].OpType != "Add" || nodes[2].OpType != "Tanh" {
		t.Errorf("after the edit there are %d nodes, the last %s", len(nodes), nodes[len(nodes)-1].OpType)
	}
}

// TestValuesOutsideTheDomain sets what a patch may set although no search offers it.
func TestValuesOutsideTheDomain(t *testing.T) {
	s := subject(t, "keras_mlp")
	r := apply(t, s, repair.Edit{Operator: "batch_size", Target: "recipe", Value: repair.Num(500)}).Recipe
	if r.BatchSize != 500 {
		t.Errorf("the batch size is %d", r.BatchSize)
	}
	r = apply(t, s, repair.Edit{Operator: "epochs", Target: "recipe", Value: repair.Num(100000)}).Recipe
	if r.Epochs != 100000 {
		t.Errorf("there are %d epochs", r.Epochs)
	}
	edit := repair.Edit{Operator: "kernel_initializer", Target: "hidden/kernel", Value: repair.Word("random_normal(stddev=0.1)")}
	s = apply(t, s, edit)
	if got, want := s.Recipe.Initializers["hidden/kernel"], (train.Initializer{Name: "random_normal", Stddev: 0.1}); got != want {
		t.Errorf("the kernel starts with %+v, want %+v", got, want)
	}
	slot := slotOf(t, s, "kernel_initializer", "hidden/kernel")
	if slot.Current != edit.Value || !slot.Domain.Contains(repair.Word("random_normal")) {
		t.Errorf("the current value is %v of %v", slot.Current, slot.Domain)
	}
	for _, bad := range []repair.Edit{{Operator: "batch_size", Target: "recipe", Value: repair.Num(0)}, {Operator: "epochs", Target: "recipe", Value: repair.Num(1.5)},
		{Operator: "kernel_initializer", Target: "hidden/kernel", Value: repair.Word("random_normal(stdev=0.1)")},
		{Operator: "kernel_initializer", Target: "hidden/kernel", Value: repair.Word("random_normal(stddev=-0.1)")},
		{Operator: "bias_initializer", Target: "hidden/bias", Value: repair.Word("orthogonal")}} {
		if _, err := All().Apply(s, repair.NewPatch(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
