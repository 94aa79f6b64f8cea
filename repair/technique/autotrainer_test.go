package technique

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/repair/technique/autotrainer"
	"netmend/train"
	"netmend/train/traintest"
)

// recordedHistory is a training that scripts/golden_autotrainer.py showed to the original's monitor.
type recordedHistory struct {
	Epochs           int
	Loss, Activation string
	Units            int
	NaNWeight        bool `json:"nan_weight"`
	Acc, Losses      []repair.Number
	ValAcc           []repair.Number `json:"val_acc"`
	ValLosses        []repair.Number `json:"val_losses"`
	Checks           []recordedCheck
}

type recordedCheck struct {
	Gradients []struct {
		Kernel      bool
		Norm        repair.Number
		Zeros, Size int
		NonFinite   bool
	}
	Outputs *struct {
		LargestRow repair.Number
		MeanAbs    []repair.Number
	}
	Found []string
}

// firstBatch is a check as a trace has it: a hidden product in front of every function whose output the original looked at.
func (c recordedCheck) firstBatch(badWeight bool) *train.FirstBatch {
	f := &train.FirstBatch{LargestRow: 1}
	for i, g := range c.Gradients {
		l := train.Layer{Name: fmt.Sprint("w", i), Kind: "parameter", Op: "bias", Shape: []int{g.Size}}
		if g.Kernel {
			l.Op, l.Shape = "kernel", []int{1, g.Size}
		}
		l.Gradient = train.Moments{MeanSquare: float64(g.Norm) * float64(g.Norm) / float64(g.Size), MaxAbs: float64(g.Norm), Zeros: float64(g.Zeros) / float64(g.Size)}
		if g.NonFinite {
			l.Gradient.NonFinite = 1
		}
		if badWeight {
			l.Weight.NonFinite = 1
		}
		f.Layers = append(f.Layers, l)
	}
	large := train.Moments{MeanAbs: 1e9} // of products in front of a function and of the last layer: Keras does not show them
	if c.Outputs != nil {
		f.LargestRow = float64(c.Outputs.LargestRow)
		for _, m := range c.Outputs.MeanAbs {
			f.Layers = append(f.Layers, train.Layer{Kind: "activation", Op: "MatMul", Output: large}, train.Layer{Kind: "activation", Op: "Relu", Output: train.Moments{MeanAbs: float64(m)}})
		}
		f.Layers = append(f.Layers, train.Layer{Kind: "activation", Op: "Gemm", Output: large}, train.Layer{Kind: "activation", Op: "Softmax", Output: large})
	}
	return f
}

// Shown as traces, the recorded trainings have the problems that the original found in them, in the same epochs.
func TestMonitorWatch(t *testing.T) {
	raw, err := os.ReadFile("autotrainer/testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Histories []recordedHistory }
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	compared, problems := 0, map[string]bool{}
	for i, h := range golden.Histories {
		if slices.ContainsFunc(h.Losses, func(v repair.Number) bool { return math.IsNaN(float64(v)) }) {
			continue // ours ends there
		}
		w := newMonitorWatch(autotrainer.Defaults(), h.Epochs, autotrainer.Model{Loss: h.Loss, Units: h.Units, Activation: h.Activation}, false)
		for at := range h.Epochs {
			e := train.Epoch{Number: at + 1, Loss: float64(h.Losses[at]), TrainScore: float64(h.Acc[at]), SearchLoss: float64(h.ValLosses[at]), Score: float64(h.ValAcc[at])}
			var want []string
			if at%w.Every() == 0 {
				c := h.Checks[at/w.Every()]
				e.First, want = c.firstBatch(h.NaNWeight), c.Found
			}
			found := w.Epoch(e)
			slices.Sort(found)
			if !slices.Equal(found, want) {
				t.Errorf("history %d, epoch %d: %v, want %v", i, at, found, want)
			}
			if compared++; len(found) > 0 {
				for _, p := range found {
					problems[p] = true
				}
				break
			}
		}
	}
	if compared < 300 || len(problems) < 7 {
		t.Errorf("%d epochs were compared, and %v found", compared, problems)
	}
}

// Trainings that diverge, that are too short for the original's checks, and those whose model gives logits.
func TestMonitorWatchElsewhere(t *testing.T) {
	softmax := autotrainer.Model{Loss: "categorical_crossentropy", Units: 3, Activation: "softmax"}
	epoch := func(n int, score float64) train.Epoch {
		return train.Epoch{Number: n, Loss: 1, SearchLoss: 1, Score: score, TrainScore: score, First: &train.FirstBatch{LargestRow: 1}}
	}
	bad := train.Epoch{Number: 1, Loss: math.NaN(), SearchLoss: math.NaN(), Score: math.NaN(), TrainScore: math.NaN()}
	logits := epoch(1, 0.9)
	logits.First.LargestRow = 30
	spoiled := epoch(1, 0.5)
	spoiled.First.LargestRow = math.NaN()
	for _, c := range []struct {
		name   string
		epochs int
		model  autotrainer.Model
		logits bool
		seen   []train.Epoch
		want   string
	}{
		{"diverged", 20, softmax, false, []train.Epoch{bad}, "activation_issue"}, // outputs that are no numbers are one
		{"diverged behind the last check", 5, softmax, false, []train.Epoch{epoch(1, .9), epoch(2, .9), epoch(3, .9), epoch(4, .9), {Number: 5, Loss: math.Inf(1)}}, ""},
		{"one epoch, chance", 1, softmax, false, []train.Epoch{epoch(1, 0.3)}, "not_converge"},
		{"one epoch, good", 1, softmax, false, []train.Epoch{epoch(1, 0.9)}, ""},
		{"three epochs, chance", 3, softmax, false, []train.Epoch{epoch(1, 0.3), epoch(2, 0.3), epoch(3, 0.3)}, "not_converge"},
		{"two units under a categorical loss", 1, autotrainer.Model{Loss: "categorical_crossentropy", Units: 2, Activation: "softmax"}, false, []train.Epoch{epoch(1, 0.9)}, "loss_issue"},
		{"logits", 1, autotrainer.Model{}, true, []train.Epoch{logits}, ""},
		{"logits that are no numbers", 1, autotrainer.Model{}, true, []train.Epoch{spoiled}, "activation_issue"},
	} {
		w := newMonitorWatch(autotrainer.Defaults(), c.epochs, c.model, c.logits)
		var found []string
		for i, e := range c.seen {
			if found = w.Epoch(e); len(found) > 0 && i < len(c.seen)-1 {
				t.Errorf("%s: %v in epoch %d already", c.name, found, i+1)
			}
		}
		if strings.Join(found, " ") != c.want {
			t.Errorf("%s: %v, want %q", c.name, found, c.want)
		}
	}
}

// autoTrainerOn is a run on an exported network.
func autoTrainerOn(t *testing.T, name string, spoil func(*repair.Subject)) *autoTrainer {
	t.Helper()
	m, r, d := traintest.Export(t, name)
	s := repair.Subject{Model: m, Recipe: r, Data: d}
	s.Data.Holdout = nil
	if spoil != nil {
		spoil(&s)
	}
	ops := operators.All()
	return newAutoTrainer(Setup{Subject: s, Space: ops.Space(s), Operators: ops, Seed: 3})
}

// Every solution on a convolutional network that Adam trains at a rate of 0.002, batches of 64: what it edits, and that the result is a valid model.
func TestAutoTrainerSolutions(t *testing.T) {
	hidden := []string{"sequential_1/fc1_1/Relu", "sequential_1/relu1_1/Relu", "sequential_1/relu2_1/Relu"}
	all := func(operator, value string, targets ...string) (out []string) {
		for _, x := range targets {
			out = append(out, fmt.Sprintf("%s(%s) = %s", operator, x, value))
		}
		return out
	}
	kernels, biases := []string{"conv1/kernel", "conv2/kernel", "fc1/kernel"}, []string{"conv1/bias", "conv2/bias", "fc1/bias"}
	a := autoTrainerOn(t, "keras_cnn", func(s *repair.Subject) {
		s.Recipe.Schedule, s.Recipe.GradientClip = train.Schedule{}, train.GradientClip{}
	})
	for _, c := range []struct {
		problem  autotrainer.Problem
		solution string
		try      int
		want     []string // nil: it is left out
	}{
		{autotrainer.Vanishing, "selu", 0, slices.Concat(all("activation", "selu", hidden...), all("bias_initializer", "lecun_uniform", biases...), all("kernel_initializer", "lecun_uniform", kernels...))},
		{autotrainer.Vanishing, "relu", 0, all("kernel_initializer", "he_uniform", kernels...)},
		{autotrainer.Exploding, "tanh", 0, slices.Concat(all("activation", "tanh", hidden...), all("kernel_initializer", "he_uniform", kernels...))},
		{autotrainer.Exploding, "gradient", 1, all("gradient_clip", "value=10", "recipe")},
		{autotrainer.DyingReLU, "leaky", 0, all("activation", "leaky_relu", hidden...)},
		{autotrainer.DyingReLU, "leaky", 1, all("activation", "elu", hidden...)},
		{autotrainer.DyingReLU, "leaky", 2, all("activation", "thresholded_relu", hidden...)},
		{autotrainer.Unstable, "adam", 0, nil},
		{autotrainer.Unstable, "lr", 2, all("learning_rate", "1e-05", "recipe")},
		{autotrainer.NotConverging, "lr", 2, all("learning_rate", "0.1", "recipe")},
		{autotrainer.Unstable, "ReduceLR", 0, all("schedule", "plateau", "recipe")},
		{autotrainer.Unstable, "batch", 0, all("batch_size", "32", "recipe")},
		{autotrainer.Unstable, "batch", 1, nil},
		{autotrainer.Unstable, "momentum", 2, all("optimizer", "sgd", "recipe")},
		{autotrainer.Unstable, "GN", 0, nil},
		{autotrainer.WrongActivation, "activation", 0, nil},
		{autotrainer.WrongLoss, "loss", 0, all("loss", "categorical_crossentropy", "recipe")},
		{autotrainer.AbnormalData, "data", 0, all("input_scaling", "minmax", "input")},
	} {
		p, can := a.solve(autotrainer.Attempt{Problem: c.problem, Solution: c.solution, Try: c.try, Base: -1}, nil)
		var got []string
		for _, e := range p {
			got = append(got, e.String())
		}
		if !slices.Equal(got, c.want) || (can == skips) != (c.want == nil) {
			t.Errorf("%s, %s, try %d: %q, possible: %d, want %q", c.problem, c.solution, c.try, got, can, c.want)
			continue
		}
		x, err := a.setup.Operators.Apply(a.setup.Subject, p)
		if err == nil {
			err = onnx.Check(x.Model)
		}
		if err != nil {
			t.Errorf("%s: %v", c.solution, err)
		}
	}
}

// Solutions that draw keep within their lists; and patches on top of others.
func TestAutoTrainerDraws(t *testing.T) {
	a := autoTrainerOn(t, "keras_cnn", nil)
	seen := map[string]bool{}
	for range 40 {
		p, can := a.solve(autotrainer.Attempt{Problem: autotrainer.NotConverging, Solution: "optimizer", Base: -1}, nil)
		if can != makes || len(p) != 1 {
			t.Fatalf("optimizer: %s, possible: %d", p, can)
		}
		seen[p[0].Value.Text] = true
	}
	if len(seen) != 4 || seen["adam"] {
		t.Errorf("instead of Adam: %v", seen)
	}
	kernels := map[string]bool{}
	for range 60 {
		p, can := a.solve(autotrainer.Attempt{Problem: autotrainer.NotConverging, Solution: "initial", Base: -1}, nil)
		for _, e := range p {
			if can != makes || !slices.Contains(initializers, e.Value.Text) {
				t.Fatalf("initial: %s", p)
			}
			if e.Target == "conv2/kernel" {
				kernels[e.Value.Text] = true
			}
			if e.Target == "fc2/kernel" {
				t.Fatalf("the output layer is edited: %s", p)
			}
		}
	}
	if len(kernels) < 5 {
		t.Errorf("kernels start with %v", kernels)
	}
	// A new optimizer takes the rate of the one before out, and back to the faulty one's name it has its default rate.
	rate := repair.NewPatch(repair.Edit{Operator: "optimizer", Target: "recipe", Value: repair.Word("adamax")}, repair.Edit{Operator: "learning_rate", Target: "recipe", Value: repair.Num(1)})
	clipped := repair.NewPatch(repair.Edit{Operator: "gradient_clip", Target: "recipe", Value: repair.Word("norm=1")})
	if p, can := a.solve(autotrainer.Attempt{Problem: autotrainer.Exploding, Solution: "gradient", Base: -1}, clipped); can != skips {
		t.Errorf("clipping by norm is not taken for clipping: %s", p)
	}
	if p := a.optimizer(rate, "nadam"); p.String() != "optimizer(recipe) = nadam" {
		t.Errorf("nadam after adamax with a rate: %s", p)
	}
	rate = rate.With(repair.Edit{Operator: "optimizer", Target: "recipe", Value: repair.Word("sgd")})
	if p := a.optimizer(rate, "adam"); p.String() != "learning_rate(recipe) = 0.001" {
		t.Errorf("back to the faulty optimizer: %s", p)
	}
}

// Outputs get the function that their loss wants, losses the kind that the number of units wants; logits are left alone.
func TestAutoTrainerOutput(t *testing.T) {
	loss := func(name string) func(*repair.Subject) {
		return func(s *repair.Subject) { s.Recipe.Loss = train.Loss{Name: name} }
	}
	for _, c := range []struct {
		export, solution string
		spoil            func(*repair.Subject)
		want             string
	}{
		{"keras_cnn", "activation", loss("mean_squared_error"), ""},
		{"keras_unet", "activation", loss("mean_squared_error"), "activation(functional_1/out_1/Sigmoid) = linear"},
		{"keras_unet", "loss", loss("hinge"), "loss(recipe) = binary_crossentropy"},
		{"keras_unet", "loss", loss("binary_crossentropy"), "loss(recipe) = mean_"},
		{"pytorch_mlp", "activation", loss("sparse_categorical_crossentropy"), "add_activation(/fc2/Gemm) = softmax"},
		{"pytorch_mlp", "activation", nil, ""},
		{"keras_cnn", "loss", loss("mean_squared_error"), "loss(recipe) = categorical_crossentropy"},
		{"keras_unet", "loss", loss("mean_squared_error"), "loss(recipe) = binary_crossentropy"},
	} {
		a := autoTrainerOn(t, c.export, c.spoil)
		p, can := a.solve(autotrainer.Attempt{Solution: c.solution, Base: -1}, nil)
		if (can == makes) != (c.want != "") || can == makes && !strings.HasPrefix(p.String(), c.want) {
			t.Errorf("%s, %s: %s, possible: %d, want %q", c.export, c.solution, p, can, c.want)
		}
	}
}

// script drives a search with given findings and scores by trial.
func script(t *testing.T, a *autoTrainer, trials []Trial) []Proposal {
	t.Helper()
	var out []Proposal
	for i, x := range trials {
		p, err := a.Ask(context.Background())
		if err != nil {
			t.Fatalf("trial %d: %v", i, err)
		}
		if _, err := a.Ask(context.Background()); !errors.Is(err, ErrWait) {
			t.Fatalf("trial %d is out, and another is proposed: %v", i, err)
		}
		x.ID, x.Proposal = TrialID(i), p
		if x.State == "" {
			x.State = Completed
		}
		if err := a.Tell(x); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func scored(v float64, found ...string) Trial {
	return Trial{Score: Score{Value: repair.Number(v), Valid: true}, Found: found}
}

// A budget holds whole runs: the result is the most accurate training of those that ended, whether it is the one without a problem or not, and
// the run that the budget cuts off does not count.
func TestAutoTrainerBudget(t *testing.T) {
	a := autoTrainerOn(t, "keras_cnn", nil)
	first := []Trial{scored(0.2, "vanish"), scored(0.54, "vanish")}
	p := script(t, a, first)
	if _, ok := a.Recommend(); ok || a.Chosen() != None {
		t.Error("a run that has not ended recommends something")
	}
	if p[0].Seed != 3 || p[1].Seed == 3 || !strings.Contains(p[1].Why, "sees vanish and tries selu, 1 of 1") {
		t.Errorf("%+v", p)
	}
	a = autoTrainerOn(t, "keras_cnn", nil)
	p = script(t, a, append(first, scored(0.31), scored(0.2, "vanish"), scored(0.9, "vanish"), Trial{State: Cut, Score: Score{Value: 0.95, Valid: true}}))
	if got, ok := a.Recommend(); !ok || a.Chosen() != 1 || got.String() != p[1].Patch.String() {
		t.Errorf("trial %d is chosen, %s", a.Chosen(), got)
	}
	if len(p[3].Patch) > 0 || !strings.Contains(p[3].Why, "run 2") || p[3].Seed == p[0].Seed {
		t.Errorf("the second run begins with %+v", p[3])
	}
	if _, err := a.Ask(context.Background()); err != io.EOF {
		t.Errorf("after the budget's end: %v", err)
	}
}

// What AutoTrainer has no answer to ends the search.
func TestAutoTrainerEnds(t *testing.T) {
	for name, trials := range map[string][]Trial{
		"no problem":                {scored(0.9)},
		"it cannot be trained":      {{State: Failed}},
		"no solution is applicable": {scored(0.3, "activation_issue")},
	} {
		a := autoTrainerOn(t, "keras_cnn", nil)
		script(t, a, trials)
		if _, err := a.Ask(context.Background()); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := a.Recommend(); ok {
			t.Errorf("%s: something is recommended", name)
		}
	}
	// A task without an accuracy has no monitor.
	a := autoTrainerOn(t, "keras_cnn", func(s *repair.Subject) { s.Recipe.Metric = train.MSE })
	if w := a.Watch(Proposal{Epochs: 4}); w != nil {
		t.Errorf("watched by %v", w)
	}
}

// The faulty training has to reach an accuracy of 0.6, those that try a solution 0.7; a patched loss is judged as it is.
func TestAutoTrainerWatches(t *testing.T) {
	a := autoTrainerOn(t, "keras_cnn", nil)
	e := train.Epoch{Number: 1, Loss: 1, SearchLoss: 1, Score: 0.65, TrainScore: 0.65, First: &train.FirstBatch{LargestRow: 1}}
	if found := a.Watch(Proposal{Epochs: 1}).Epoch(e); len(found) > 0 {
		t.Errorf("the faulty training: %v", found)
	}
	script(t, a, []Trial{scored(0.2, "vanish")})
	if found := a.Watch(Proposal{Epochs: 1}).Epoch(e); strings.Join(found, " ") != "not_converge" {
		t.Errorf("an attempt: %v", found)
	}
	wrong := repair.NewPatch(repair.Edit{Operator: "loss", Target: "recipe", Value: repair.Word("mean_squared_error")})
	if found := a.Watch(Proposal{Patch: wrong, Epochs: 1}).Epoch(e); !slices.Contains(found, "loss_issue") {
		t.Errorf("a wrong loss: %v", found)
	}
}
