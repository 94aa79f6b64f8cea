package diagnose_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"netmend/data"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/train"
	"netmend/train/traintest"
)

// export is a fixture with its recipe and data.
func export(t *testing.T, name string) repair.Subject {
	t.Helper()
	m, r, d := traintest.Export(t, name)
	return repair.Subject{Model: m, Recipe: r, Data: d}
}

func kinds(s []diagnose.Symptom) []diagnose.Kind {
	var out []diagnose.Kind
	for _, x := range s {
		out = append(out, x.Kind)
	}
	return out
}

// apply makes a fault with an operator's edit.
func apply(t *testing.T, s repair.Subject, edits ...repair.Edit) repair.Subject {
	t.Helper()
	x, err := operators.All().Apply(s, repair.NewPatch(edits...))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func slotsOf(s repair.Subject, operator string) []repair.Slot {
	return slices.DeleteFunc(operators.All().Space(s), func(x repair.Slot) bool { return x.Operator != operator })
}

// Every fault is seen by its rule, which the subject without it does not show, and the edit that undoes it becomes the most suspected of its operator.
func TestStaticRules(t *testing.T) {
	word := func(op string, target int, value string) func(*testing.T, repair.Subject) repair.Subject {
		return func(t *testing.T, s repair.Subject) repair.Subject {
			x := slotsOf(s, op)
			if target < 0 {
				target += len(x)
			}
			return apply(t, s, repair.Edit{Operator: op, Target: x[target].Target, Value: repair.Word(value)})
		}
	}
	change := func(f func(*repair.Subject)) func(*testing.T, repair.Subject) repair.Subject {
		return func(_ *testing.T, s repair.Subject) repair.Subject {
			s.Recipe = s.Recipe.Clone()
			f(&s)
			return s
		}
	}
	rules := diagnose.NewTable(diagnose.Counts{}, diagnose.Settings{Rule: 1, Value: 1})
	for _, c := range []struct {
		name, export string
		fault        func(*testing.T, repair.Subject) repair.Subject
		want         diagnose.Kind
		operator     string // that is suspected more than before
	}{
		{"output softmax removed", "keras_mlp", word("activation", -1, "linear"), diagnose.OutputNotProbability, "add_activation"},
		{"softmax under a loss of logits", "pytorch_mlp", word("add_activation", -1, "softmax"), diagnose.DoubleSoftmax, "activation"},
		{"softsign output", "keras_mlp", word("activation", -1, "softsign"), diagnose.OutputNotProbability, "activation"},
		{"hinge", "keras_mlp", word("loss", 0, "hinge"), diagnose.LossNotForTask, "loss"},
		{"zero kernel", "pytorch_mlp", word("kernel_initializer", 0, "zeros"), diagnose.ConstantKernel, "kernel_initializer"},
		{"kernel of ones in a convolution", "keras_cnn", word("kernel_initializer", 1, "ones"), diagnose.ConstantKernel, "kernel_initializer"},
		{"biases of one", "pytorch_mlp", word("bias_initializer", 0, "ones"), diagnose.ConstantBias, "bias_initializer"},
		{"no hidden activation", "pytorch_mlp", word("activation", 0, "linear"), diagnose.HiddenLinear, "add_activation"},
		{"hidden exponential", "pytorch_mlp", word("activation", 0, "exponential"), diagnose.HiddenExponential, "activation"},
		{"hidden sigmoid", "pytorch_mlp", word("activation", 0, "sigmoid"), diagnose.HiddenSaturating, "activation"},
		{"hidden softmax", "pytorch_mlp", word("activation", 0, "softmax"), diagnose.HiddenSoftmax, "activation"},
		{"strong l1", "pytorch_mlp", word("regularizer", 0, "l1"), diagnose.StrongRegularizer, "regularizer"},
		{"low rate", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.Optimizer.LearningRate = 1e-6 }), diagnose.LearningRateLow, "learning_rate"},
		{"high rate", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.Optimizer.LearningRate = 1 }), diagnose.LearningRateHigh, "learning_rate"},
		{"batch of one", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.BatchSize = 1 }), diagnose.BatchSmall, "batch_size"},
		{"whole batch", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.BatchSize = 5000 }), diagnose.BatchLarge, "batch_size"},
		{"no shuffling", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.Shuffle = false }), diagnose.NotShuffled, "shuffle"},
		{"class after class", "pytorch_mlp", change(func(s *repair.Subject) {
			labels, _ := data.Labels(&s.Data.Targets[0])
			s.Data.Train = slices.Clone(s.Data.Train)
			slices.SortStableFunc(s.Data.Train, func(a, b int32) int { return int(labels[a] - labels[b]) })
			s.Recipe.Shuffle = false
		}), diagnose.ClassAfterClass, "shuffle"},
		{"tight clipping", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.GradientClip.Value = 1e-5 }), diagnose.TightClip, "gradient_clip"},
		{"fast decay", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.Schedule = train.Schedule{Name: "exponential", Gamma: 0.01} }), diagnose.FastDecay, "schedule"},
		{"uneven scaling", "pytorch_mlp", change(func(s *repair.Subject) {
			s.Recipe.Preprocessing = []train.Preprocess{{Kind: "divide", By: 255, Part: "train"}}
		}), diagnose.UnevenPreprocessing, "preprocessing"},
		{"unscaled input", "pytorch_mlp", change(func(s *repair.Subject) {
			s.Data.Inputs = slices.Clone(s.Data.Inputs)
			f := slices.Clone(s.Data.Inputs[0].Float)
			for i := range f {
				f[i] *= 1000
			}
			s.Data.Inputs[0].Float = f
		}), diagnose.InputScale, "input_scaling"},
		{"NaN in the data", "pytorch_mlp", change(func(s *repair.Subject) {
			s.Data.Inputs = slices.Clone(s.Data.Inputs)
			f := slices.Clone(s.Data.Inputs[0].Float)
			f[int(s.Data.Train[0])*s.Data.Inputs[0].RowSize()] = float32(math.NaN())
			s.Data.Inputs[0].Float = f
		}), diagnose.NonFiniteData, ""},
		{"regression by accuracy", "pytorch_mlp", change(func(s *repair.Subject) { s.Recipe.Task = train.Regression }), diagnose.MetricBlind, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			healthy := export(t, c.export)
			space := operators.All().Space(healthy)
			before := diagnose.Static(healthy, space)
			if slices.Contains(kinds(before), c.want) {
				t.Errorf("the subject without the fault shows %s: %v", c.want, before)
			}
			faulty := c.fault(t, healthy)
			fspace := operators.All().Space(faulty)
			after := diagnose.Static(faulty, fspace)
			i := slices.IndexFunc(after, func(s diagnose.Symptom) bool { return s.Kind == c.want })
			if i < 0 {
				t.Fatalf("symptoms %v lack %s", after, c.want)
			}
			if c.operator == "" {
				return
			}
			key := repair.Key{Operator: c.operator, Target: after[i].Node}
			if key.Target == "" {
				key.Target = "recipe"
			}
			plain, now := rules.Suspicion(nil, fspace)[key], rules.Suspicion(after, fspace)[key]
			if !(now.Weight >= plain.Weight+4) {
				t.Errorf("%v is suspected %v, without evidence %v", key, now.Weight, plain.Weight)
			}
			// What was learned may hold evidence for less telling, and for no less than nothing.
			plain, now = diagnose.Suspicion(nil, fspace)[key], diagnose.Suspicion(after, fspace)[key]
			if !(now.Weight >= plain.Weight+1) {
				t.Errorf("%v is suspected %v, without evidence %v, by what was learned", key, now.Weight, plain.Weight)
			}
		})
	}
}

// What the hold-out rows hold is not looked at; that they are training rows too is, where a subject has any.
func TestHoldoutIsNotSeen(t *testing.T) {
	s := export(t, "pytorch_mlp")
	space := operators.All().Space(s)
	before := diagnose.Static(s, space)
	f := slices.Clone(s.Data.Inputs[0].Float)
	for _, row := range s.Data.Holdout {
		for k := range s.Data.Inputs[0].RowSize() {
			f[int(row)*s.Data.Inputs[0].RowSize()+k] = float32(math.NaN())
		}
	}
	s.Data.Inputs = slices.Clone(s.Data.Inputs)
	s.Data.Inputs[0].Float = f
	if after := diagnose.Static(s, space); !slices.Equal(before, after) {
		t.Errorf("symptoms %v became %v", before, after)
	}
}

func TestDynamicRules(t *testing.T) {
	r := train.Recipe{Metric: train.Accuracy}
	trace := func(losses ...float64) *train.Trace {
		x := &train.Trace{Losses: losses}
		for i, l := range losses {
			x.Epochs = append(x.Epochs, train.Epoch{Number: i + 1, Loss: l, Score: math.NaN(), SearchLoss: math.NaN()})
		}
		return x
	}
	layers := func(l ...train.Layer) *train.Trace {
		x := trace(1, 0.9, 0.8)
		for i := range x.Epochs {
			x.Epochs[i].Layers = l
		}
		return x
	}
	param := func(name string, g float64) train.Layer {
		return train.Layer{Name: name, Kind: "parameter", Weight: train.Moments{MeanSquare: 1}, Gradient: train.Moments{MeanAbs: g, MeanSquare: g * g, MaxAbs: 2 * g}}
	}
	stuck := func(l ...train.Layer) *train.Trace {
		x := trace(1, 1, 1)
		for i := range x.Epochs {
			x.Epochs[i].Layers = l
		}
		return x
	}
	out := train.Layer{Name: "out", Kind: "activation", Op: "Gemm", Output: train.Moments{MeanAbs: 50}}
	blind := trace(1, 0.8, 0.6, 0.5, 0.4, 0.3)
	for i := range blind.Epochs {
		blind.Epochs[i].Score = 0.1 + 0.001*float64(i%2)
	}
	overfit := trace(1, 0.5, 0.3, 0.2, 0.1)
	for i, s := range []float64{0.7, 0.9, 0.85, 0.8, 0.75} {
		overfit.Epochs[i].Score = s
	}
	for _, c := range []struct {
		name  string
		trace *train.Trace
		want  diagnose.Kind
	}{
		{"NaN", trace(1, math.NaN()), diagnose.NonFiniteLoss},
		{"rising", trace(1, 0.5, 2, 8), diagnose.LossRising},
		{"nothing", trace(1, 1, 1, 1, 1, 1, 1), diagnose.NoLearning},
		{"slow", trace(1, 0.99, 0.98, 0.97), diagnose.SlowConvergence},
		{"unfinished", trace(1, 0.8, 0.6, 0.5), diagnose.StillImproving},
		{"plateau", trace(1, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4), diagnose.Plateau},
		{"oscillation", trace(1, 0.5, 0.9, 0.4, 0.8, 0.3, 0.7, 0.3), diagnose.Oscillation},
		{"overfitting", overfit, diagnose.Overfitting},
		{"exploding", layers(param("w", 1e6)), diagnose.ExplodingGradient},
		{"vanishing", layers(param("w", 1e-8)), diagnose.VanishingGradient},
		{"vanishing towards the input", layers(param("a", 5e-5), param("b", 1), param("c", 1), param("d", 1)), diagnose.VanishingGradient},
		{"no gradient", layers(param("w", 0)), diagnose.NoGradient},
		{"unchanged", layers(param("w", 1)), diagnose.WeightsUnchanged},
		{"dead", layers(train.Layer{Name: "r", Kind: "activation", Op: "Relu", Dead: 0.9}), diagnose.DeadUnits},
		{"large", stuck(train.Layer{Name: "r", Kind: "activation", Op: "Relu", Output: train.Moments{MeanAbs: 50}}, out), diagnose.LargeActivation},
		{"saturated tanh", stuck(train.Layer{Name: "r", Kind: "activation", Op: "Tanh", Output: train.Moments{MeanAbs: 0.9}}, out), diagnose.Saturation},
		{"saturated sigmoid", stuck(train.Layer{Name: "r", Kind: "activation", Op: "Sigmoid", Output: train.Moments{Mean: 0.5, MeanSquare: 0.49}}, out), diagnose.Saturation},
		{"exploding towards the input", stuck(param("a", 100), param("b", 1)), diagnose.ExplodingGradient},
		{"large everywhere", layers(param("a", 2e4), param("b", 2e4)), diagnose.ExplodingGradient},
		{"small everywhere", layers(param("a", 5e-6), param("b", 5e-6)), diagnose.VanishingGradient},
		{"loss without metric", blind, diagnose.LossMetricDisagree},
	} {
		if got := diagnose.Dynamic(c.trace, r); !slices.Contains(kinds(got), c.want) {
			t.Errorf("%s: %v lacks %s", c.name, got, c.want)
		}
	}
	if got := diagnose.Dynamic(trace(1, 0.5, 0.3, 0.25, 0.246, 0.244, 0.242, 0.241), r); len(got) != 0 {
		t.Errorf("a healthy training shows %v", got)
	}
	for name, x := range map[string]*train.Trace{
		"noise about 0":              trace(1, 0.1, 0.001, 0.003, 0.0005, 0.002),
		"one rise":                   trace(1, 0.5, 0.6, 0.4, 0.3),
		"solved, small gradients":    {Losses: []float64{1, 0.01}, Epochs: []train.Epoch{{Number: 1, Loss: 0.5, Layers: []train.Layer{param("w", 1e-9)}}}},
		"good, units dead":           {Losses: []float64{1, 0.5}, Epochs: []train.Epoch{{Number: 1, Loss: 0.7, Score: 0.95, Layers: []train.Layer{{Name: "r", Kind: "activation", Op: "Relu", Dead: 0.9}}}}},
		"dead, but for its function": {Losses: []float64{1}, Epochs: []train.Epoch{{Number: 1, Loss: 0.7, Layers: []train.Layer{{Name: "g", Kind: "activation", Op: "Gemm", Dead: 0.9}}}}},
		"bias without a gradient":    {Losses: []float64{1}, Epochs: []train.Epoch{{Number: 1, Loss: 0.9, Layers: []train.Layer{{Name: "b", Kind: "parameter", Op: "bias"}}}}},
		"large in a good training":   {Losses: []float64{1}, Epochs: []train.Epoch{{Number: 1, Loss: 0.5, Layers: []train.Layer{{Name: "r", Kind: "activation", Op: "Relu", Output: train.Moments{MeanAbs: 50}}}}}},
	} {
		if got := diagnose.Dynamic(x, r); slices.ContainsFunc(got, func(s diagnose.Symptom) bool { return s.Kind.Level() != diagnose.Note }) {
			t.Errorf("%s: %v", name, got)
		}
	}
	moved := trace(1, 1, 1)
	for i := range moved.Epochs { // the mean square stays, the mean does not
		moved.Epochs[i].Layers = []train.Layer{{Name: "w", Kind: "parameter", Op: "kernel", Weight: train.Moments{MeanSquare: 1, MeanAbs: 0.8, Mean: 1e-4 * float64(i), MaxAbs: 3},
			Gradient: train.Moments{MeanAbs: 1, MeanSquare: 1, MaxAbs: 1}}}
	}
	if got := diagnose.Dynamic(moved, r); slices.Contains(kinds(got), diagnose.WeightsUnchanged) {
		t.Errorf("weights that move show %v", got)
	}
	chance := trace(1, 0.5, 0.3, 0.2, 0.1)
	for i, s := range []float64{0.7, 0.9, 0.85, 0.8, 0.75} { // as overfit, but the search loss goes on falling
		chance.Epochs[i].Score, chance.Epochs[i].SearchLoss = s, 1-0.1*float64(i)
	}
	if got := diagnose.Dynamic(chance, r); slices.Contains(kinds(got), diagnose.Overfitting) {
		t.Errorf("a score that falls by chance shows %v", got)
	}
	if got := diagnose.Dynamic(&train.Trace{}, r); len(got) != 0 {
		t.Errorf("no training shows %v", got)
	}
}

func TestSymptomsSurviveJSON(t *testing.T) {
	s := diagnose.Symptom{Kind: diagnose.NonFiniteLoss, Node: "n", Epoch: 2, Measure: "m", Value: math.Inf(1), Limit: 3}
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back diagnose.Symptom
	if err := json.Unmarshal(raw, &back); err != nil || back != s {
		t.Errorf("%+v, %v", back, err)
	}
}

// Nothing is ruled out: every slot keeps some weight, whatever the evidence.
func TestSuspicionIsNoFilter(t *testing.T) {
	s := export(t, "keras_cnn")
	space := operators.All().Space(s)
	for key, x := range diagnose.Suspicion(diagnose.Static(s, space), space) {
		if !(x.Weight > 0) {
			t.Errorf("%v has weight %v", key, x.Weight)
		}
	}
}
