package train

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"netmend/data"
)

// scripts/golden_metrics.py recorded what scikit-learn makes of the same predictions and targets.
func TestMetricsAreScikitLearns(t *testing.T) {
	raw, err := os.ReadFile("../testdata/golden/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name      string
		Metric    Metric
		Semantics Semantics
		Shape     []int
		Pred      []float64
		Target    []float64
		TShape    []int
		Ints      bool
		TopK      int `json:"top_k"`
		Want      float64
	}
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		target := &data.Array{Shape: c.TShape}
		for _, v := range c.Target {
			if c.Ints {
				target.Int = append(target.Int, int32(v))
			} else {
				target.Float = append(target.Float, float32(v))
			}
		}
		rows := make([]int32, target.Rows())
		for i := range rows {
			rows[i] = int32(i)
		}
		s := newScorer(Recipe{Metric: c.Metric, Semantics: c.Semantics, TopK: c.TopK})
		got, err := s.score(c.Pred, c.Shape, target, rows)
		if err != nil || math.Abs(got-c.Want) > 1e-6 {
			t.Errorf("%s: %v, %v; scikit-learn has %v", c.Name, got, err, c.Want)
		}
	}
}

func TestAMetricThatCannotJudgeIsRefused(t *testing.T) {
	for _, c := range []struct {
		metric Metric
		shape  []int
		values int
	}{{Angle, []int{3}, 3}, {Angle, []int{2}, 1}, {MAE, []int{4}, 3}, {Accuracy, []int{3, 2, 2}, 1}, {F1, []int{1, 2, 2}, 1}} {
		if err := (scorer{metric: c.metric, semantics: PyTorch}).check(c.shape, c.values); err == nil {
			t.Errorf("%s judges outputs of shape %v by targets of %d values", c.metric, c.shape, c.values)
		}
	}
}

// What sums to one is each position's classes, not a whole sample.
func TestNormalisedTargetsPerPosition(t *testing.T) {
	for _, c := range []struct {
		name   string
		out    []int
		s      Semantics
		values []float32
		want   bool
	}{
		{"a class per step", []int{2, 2}, Keras, []float32{1, 0, 0, 1}, true},
		{"one for the sample, none per step", []int{2, 2}, Keras, []float32{1, 0, 0, 0}, false},
		{"a class per pixel", []int{2, 2}, PyTorch, []float32{1, 0, 0, 1}, true},
		{"two classes for a pixel, none for the other", []int{2, 2}, PyTorch, []float32{1, 0, 1, 0}, false},
		{"the same along the last axis", []int{2, 2}, Keras, []float32{1, 0, 1, 0}, true},
	} {
		raw := data.Array{Name: "y", Shape: append([]int{1}, c.out...), Float: c.values}
		got, err := encode(raw, "y", c.out, classAxis(append([]int{1}, c.out...), c.s), Loss{Name: "categorical_crossentropy"})
		if err != nil || got.normalised != c.want {
			t.Errorf("%s: normalised %v, %v", c.name, got.normalised, err)
		}
	}
}
