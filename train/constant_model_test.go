package train_test

import (
	"math"
	"slices"
	"testing"

	"netmend/data"
	"netmend/train"
	"netmend/train/traintest"
)

// The answer is the most frequent class of the rows that it is fitted on, also where others are more frequent on the rows that it is scored on.
func TestConstant(t *testing.T) {
	m, r, _ := traintest.Export(t, "pytorch_mlp")
	labels := []int32{7, 7, 3, 9, 9, 9, 7, 3}
	d := data.Splits{Set: data.Set{Inputs: []data.Array{{Name: m.Graph.DataInputs()[0].Name, Shape: []int{8, 64}, Float: make([]float32, 8*64)}},
		Targets: []data.Array{{Name: "y", Shape: []int{8}, Int: labels}}}, Train: []int32{0, 1, 2}, Search: []int32{3}, Holdout: []int32{4, 5, 6, 7}}
	ev, err := train.Constant(m, r, d, d.Train, d.Holdout, 2)
	if err != nil || ev.Score != 0.25 || !slices.Equal(ev.Without, []float64{0, 0.5}) || !math.IsNaN(ev.Loss) || ev.NonFinite != 0 {
		t.Errorf("7 on 9, 9, 7, 3: %+v, %v", ev, err)
	}
	if ev, err := train.Constant(m, r, d, d.Holdout, d.Holdout, 2); err != nil || ev.Score != 0.5 {
		t.Errorf("9 on 9, 9, 7, 3: %+v, %v", ev, err)
	}
	if ev, err := train.Constant(m, r, d, nil, d.Holdout, 2); err != nil || !math.IsNaN(ev.Score) {
		t.Errorf("fitted on nothing: %+v, %v", ev, err)
	}
	// A step for the training rows alone would make all of their labels 0.
	r.Preprocessing = []train.Preprocess{{Array: "y", Kind: "divide", By: 10, Part: "train"}}
	if ev, err := train.Constant(m, r, d, d.Train, d.Holdout, 2); err != nil || ev.Score != 0.25 {
		t.Errorf("scaled training labels: %+v, %v", ev, err)
	}
	r.Loss.Name = "nothing"
	if _, err := train.Constant(m, r, d, d.Train, d.Holdout, 2); err == nil {
		t.Error("an unknown loss was taken")
	}
}
