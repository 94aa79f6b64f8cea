package study

import (
	"path/filepath"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/repair"
	"netmend/repair/operators"
)

// optdigits is the exported perceptron on 1,000 of the optical digits, with its recipe, for ten epochs.
func optdigits(t *testing.T) repair.Subject {
	t.Helper()
	s := subject(t)
	src, err := data.Open(filepath.Join("..", "..", "testdata", "optdigits", "train.csv.gz"), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]int32, 1000)
	for i := range rows {
		rows[i] = int32(i)
	}
	set := data.Set{Inputs: []data.Array{*src.Train.Inputs[0].Select(rows)}, Targets: []data.Array{*src.Train.Targets[0].Select(rows)}}
	set.Inputs[0].Name, set.Targets[0].Name = s.Model.Graph.DataInputs()[0].Name, "label"
	if s.Data, err = data.Split(set, data.DefaultRatios, 1, true); err != nil {
		t.Fatal(err)
	}
	s.Recipe.Epochs, s.Recipe.Optimizer.LearningRate = 10, 1e-3
	return s
}

// Real trainings on the reference device: guided repairs each of these faults within 20 times the faulty training's cost, each to more than the
// given accuracy, where the perceptron without a fault has 0.93. It ends where little is left to be gained: 0.85 is nine tenths of what the faults
// cost that leave a guess. AutoTrainer the one that its rules see. Random search and BOHB with the same budget
// only have to run through. Some of the faults cost so little that their repairs are small ones.
func TestRealRepairs(t *testing.T) {
	word := func(op, target, v string) repair.Edit {
		return repair.Edit{Operator: op, Target: target, Value: repair.Word(v)}
	}
	number := func(op string, v float64) repair.Edit {
		return repair.Edit{Operator: op, Target: "recipe", Value: repair.Num(v)}
	}
	for _, c := range []struct {
		name, technique string
		fault           []repair.Edit
		want            float64
	}{
		{"random", "random", []repair.Edit{number("learning_rate", 1e-6)}, 0},
		{"bohb", "bohb", []repair.Edit{number("learning_rate", 1e-6)}, 0},
		{"learning rate 1000 times too small, AutoTrainer", "autotrainer", []repair.Edit{number("learning_rate", 1e-6)}, 0.88},
		{"learning rate 1000 times too small", "guided", []repair.Edit{number("learning_rate", 1e-6)}, 0.88},
		{"learning rate 1000 times too large", "guided", []repair.Edit{number("learning_rate", 1)}, 0.88},
		{"kernel of zeros", "guided", []repair.Edit{word("kernel_initializer", "fc1.weight", "zeros"), word("bias_initializer", "fc1.bias", "zeros")}, 0.85},
		{"kernels of ones", "guided", []repair.Edit{word("kernel_initializer", "fc1.weight", "ones")}, 0.85},
		{"probabilities without softmax", "guided", []repair.Edit{word("loss", "recipe", "sparse_categorical_crossentropy")}, 0.88},
		{"softsign on the output", "guided", []repair.Edit{word("add_activation", "/fc2/Gemm", "softsign")}, 0.88},
		{"two softmaxes and a low rate", "guided", []repair.Edit{word("add_activation", "/fc2/Gemm", "softmax"), number("learning_rate", 1e-5)}, 0.88},
		{"exponential hidden units", "guided", []repair.Edit{word("activation", "/act1/Relu", "exponential")}, 0.88},
		{"one epoch", "guided", []repair.Edit{number("epochs", 1)}, 0.7},
		{"hinge", "guided", []repair.Edit{word("loss", "recipe", "hinge")}, 0.88},
		{"default sgd", "guided", []repair.Edit{word("optimizer", "recipe", "sgd"), number("learning_rate", 1e-4)}, 0.88},
	} {
		if testing.Short() && (c.technique == "bohb" || c.technique == "guided" && len(c.fault) == 1) { // for the race detector, which is slow
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			faulty, err := operators.All().Apply(optdigits(t), repair.NewPatch(c.fault...))
			if err != nil {
				t.Fatal(err)
			}
			r := mustRun(t, Config{Subject: faulty, Operators: operators.All(), Technique: c.technique, Budget: Budget{Times: 20}, Seed: 1,
				MinGain: -1, Start: OnDevice(reference.New()), Device: "reference", Journal: filepath.Join(t.TempDir(), "j")})
			t.Logf("%s with %q: %.3f -> %.3f, p %.3g, %d trials, cost %.3gx + %.3gx, %v s", r.Verdict, r.Words, float64(r.Faulty.Mean), float64(r.Repaired.Mean), float64(r.P), r.Trials, float64(r.CostX), float64(r.ProofX), r.Seconds)
			if c.want > 0 && (r.Verdict != Repaired || float64(r.Repaired.Mean) < c.want) {
				t.Errorf("%s: %v -> %v: %s", r.Verdict, r.Faulty, r.Repaired, r.Reason)
			}
		})
	}
}
