package study

import (
	"path/filepath"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/repair/technique"
)

// optdigits is the exported perceptron on the optical digits (1,000 rows of the training file), with its recipe.
func optdigits(t *testing.T) repair.Subject {
	t.Helper()
	s := subject(t)
	src, err := data.Open(filepath.Join("..", "..", "testdata", "optdigits", "train.csv.gz"), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("rows %d inputs %v targets %v", src.Train.Rows(), src.Train.Inputs[0].Shape, src.Train.Targets[0].Shape)
	set := src.Train
	set.Inputs[0].Name = s.Model.Graph.DataInputs()[0].Name
	rows := make([]int32, 1000)
	for i := range rows {
		rows[i] = int32(i)
	}
	small := data.Set{Inputs: []data.Array{*set.Inputs[0].Select(rows)}, Targets: []data.Array{*set.Targets[0].Select(rows)}}
	small.Inputs[0].Name, small.Targets[0].Name = set.Inputs[0].Name, set.Targets[0].Name
	if s.Data, err = data.Split(small, data.DefaultRatios, 1, true); err != nil {
		t.Fatal(err)
	}
	return s
}

// Real trainings on the reference device: a learning rate a thousand times too small is repaired.
func TestRealRepair(t *testing.T) {
	for _, name := range technique.Names() {
		t.Run(name, func(t *testing.T) {
			c := Config{Subject: optdigits(t), Operators: operators.All(), Technique: name, Budget: Budget{Times: 20}, Seed: 1,
				Start: OnDevice(reference.New()), Device: "reference", Journal: filepath.Join(t.TempDir(), "j")}
			c.Subject.Recipe.Optimizer.LearningRate, c.Subject.Recipe.Epochs = 1e-6, 4
			c.Progress = func(p Progress) {
				if p.Trial != nil {
					t.Logf("%3d %5.2fx %-40.100s e %.2f from %d: %v %s %s %s", p.Trial.ID, float64(p.Trial.Cost), p.Trial.Patch, p.Trial.Reached, p.Trial.From, p.Trial.Score.Value, p.Trial.State, p.Trial.Cause, p.Trial.Why)
				}
			}
			r := mustRun(t, c)
			t.Logf("%s: %s; faulty %v, repaired %v, p %v, cost %vx + %vx, %v s", r.Verdict, r.Words, r.Faulty, r.Repaired, r.P, r.CostX, r.ProofX, r.Seconds)
		})
	}
}
