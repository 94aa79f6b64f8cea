package diagnose_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"netmend/engine/reference"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/train"
)

func all(t *testing.T, s repair.Subject) []diagnose.Symptom {
	t.Helper()
	q, err := diagnose.NewTests(s, reference.New())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	found, err := q.All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Each test finds its fault; the subjects without one show nothing.
func TestQuickTests(t *testing.T) {
	for _, name := range []string{"pytorch_mlp", "pytorch_cnn", "keras_mlp", "keras_cnn", "pytorch_autoencoder"} {
		if got := all(t, export(t, name)); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	sigmoid := func(s repair.Subject) repair.Subject {
		return apply(t, s, repair.Edit{Operator: "activation", Target: slotsOf(s, "activation")[0].Target, Value: repair.Word("sigmoid")})
	}
	for _, c := range []struct {
		name  string
		spoil func(s *repair.Subject)
		want  diagnose.Kind
	}{
		{"huge head", func(s *repair.Subject) {
			s.Recipe.Initializers["fc2.weight"] = train.Initializer{Name: "random_normal", Stddev: 100}
		}, diagnose.InitialLoss},
		{"overflow", func(s *repair.Subject) {
			s.Recipe.Initializers["fc1.weight"] = train.Initializer{Name: "random_normal", Stddev: 3e38}
		}, diagnose.NonFiniteOutput},
		{"zero kernel behind the first layer", func(s *repair.Subject) { s.Recipe.Initializers["fc2.weight"] = train.Initializer{Name: "zeros"} }, diagnose.NoGradient},
		{"dead units", func(s *repair.Subject) {
			s.Recipe.Initializers["fc1.bias"] = train.Initializer{Name: "constant", Value: -1e4}
		}, diagnose.DeadUnits},
		{"dead network", func(s *repair.Subject) {
			s.Recipe.Initializers["fc1.bias"] = train.Initializer{Name: "constant", Value: -1e4}
		}, diagnose.InputIgnored},
		{"saturated sigmoids", func(s *repair.Subject) {
			*s = sigmoid(*s)
			s.Recipe.Initializers["fc1.weight"] = train.Initializer{Name: "random_normal", Stddev: 50}
		}, diagnose.Saturation},
		{"no learning", func(s *repair.Subject) { s.Recipe.Optimizer.LearningRate = 1e-9 }, diagnose.CannotOverfit},
		{"divergence", func(s *repair.Subject) { s.Recipe.Optimizer = train.Optimizer{Name: "sgd", LearningRate: 1e20} }, diagnose.CannotOverfit},
		{"gradients that explode", func(s *repair.Subject) {
			for _, w := range []string{"fc1.weight", "fc2.weight"} {
				s.Recipe.Initializers[w] = train.Initializer{Name: "random_normal", Stddev: 1e7}
			}
		}, diagnose.ExplodingGradient},
		{"gradients that vanish", func(s *repair.Subject) {
			s.Recipe.Initializers["fc2.weight"] = train.Initializer{Name: "random_normal", Stddev: 1e-6}
		}, diagnose.VanishingGradient},
	} {
		s := export(t, "pytorch_mlp")
		c.spoil(&s)
		got := all(t, s)
		if !slices.Contains(kinds(got), c.want) {
			t.Errorf("%s: %v lacks %s", c.name, got, c.want)
		}
		for _, x := range got {
			t.Logf("%s: %s", c.name, x.Words())
		}
	}
}

// trained trains and looks at the result.
func trained(t *testing.T, s repair.Subject, epochs int) []diagnose.Symptom {
	t.Helper()
	tr, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: reference.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := tr.Fit(context.Background(), epochs); err != nil {
		t.Fatal(err)
	}
	found, err := diagnose.Trained(context.Background(), tr, s)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTrained(t *testing.T) {
	for _, name := range []string{"pytorch_mlp", "keras_mlp"} {
		s := export(t, name)
		if got := trained(t, s, 10); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	dead := export(t, "pytorch_mlp")
	dead.Recipe.Initializers["fc1.bias"] = train.Initializer{Name: "constant", Value: -1e4}
	if got := trained(t, dead, 2); !slices.Contains(kinds(got), diagnose.ConstantOutput) {
		t.Errorf("a dead network shows %v", got)
	}
	// Running statistics that follow by a share of 1e-6 stay at 0 and 1: in inference form the network is another one than in training form.
	stale := export(t, "keras_cnn")
	for _, n := range stale.Model.Graph.Nodes {
		if n.Is("BatchNormalization") {
			n.SetFloat("momentum", 1-1e-6)
		}
	}
	f := slices.Clone(stale.Data.Inputs[0].Float)
	for i := range f {
		f[i] = 100 + 50*f[i]
	}
	stale.Data.Inputs = slices.Clone(stale.Data.Inputs)
	stale.Data.Inputs[0].Float = f
	if got := trained(t, stale, 15); !slices.Contains(kinds(got), diagnose.TrainEvalDisagree) {
		t.Errorf("stale running statistics show %v", got)
	}
	// Labels without any relation to the inputs can be memorised and not predicted.
	noise := export(t, "pytorch_mlp")
	labels := slices.Clone(noise.Data.Targets[0].Int)
	state := uint32(1)
	for i := range labels {
		state = state*1664525 + 1013904223
		labels[i] = int32(state >> 24 % 3)
	}
	noise.Data.Targets = slices.Clone(noise.Data.Targets)
	noise.Data.Targets[0].Int = labels
	noise.Recipe.Optimizer, _ = train.DefaultOptimizer("adam", train.PyTorch)
	noise.Recipe.Optimizer.LearningRate = 0.01
	if got := trained(t, noise, 200); !slices.Contains(kinds(got), diagnose.Overfitting) {
		t.Errorf("memorised noise shows %v", got)
	}
}

func TestRun(t *testing.T) {
	ctx := context.Background()
	s := export(t, "pytorch_mlp")
	space := operators.All().Space(s)
	static, err := diagnose.Run(ctx, s, space, diagnose.Options{})
	if err != nil || static.Training != nil || !slices.Equal(static.Symptoms, diagnose.Static(s, space)) {
		t.Errorf("without a device: %+v, %v", static, err)
	}
	told := 0
	r, err := diagnose.Run(ctx, s, space, diagnose.Options{Device: reference.New(), Epochs: 2, Progress: func(train.Epoch) { told++ }})
	if err != nil || r.Training == nil || r.Training.Epochs != 2 || told != 2 || r.Training.Outcome != train.Completed || math.IsNaN(r.Training.Score) {
		t.Errorf("two epochs, %d told: %+v, %v", told, r.Training, err)
	}
	s.Recipe.Optimizer = train.Optimizer{Name: "sgd", LearningRate: 1e20}
	r, err = diagnose.Run(ctx, s, space, diagnose.Options{Device: reference.New()})
	if err != nil || r.Training.Outcome != train.Diverged || !slices.Contains(kinds(r.Symptoms), diagnose.NonFiniteLoss) || r.Worst() != diagnose.Error {
		t.Errorf("a training that diverges: %+v, %v", r, err)
	}
	s = export(t, "pytorch_mlp")
	s.Data.Targets[0].Int[0] = 99
	r, err = diagnose.Run(ctx, s, space, diagnose.Options{Device: reference.New()})
	if err != nil || !slices.Contains(kinds(r.Symptoms), diagnose.Untrainable) || r.Training != nil {
		t.Errorf("a label that does not fit: %+v, %v", r, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = diagnose.Run(ended, export(t, "pytorch_mlp"), space, diagnose.Options{Device: reference.New()}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
