package train

import (
	"math"
	"testing"

	"netmend/data"
)

// Expected values are computed by hand from the definitions; those of F1 are sklearn.metrics.f1_score's.
func TestMetrics(t *testing.T) {
	labels := &data.Array{Shape: []int{4}, Int: []int32{0, 1, 2, 1}}
	hot := &data.Array{Shape: []int{4, 3}, Float: []float32{1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0}}
	three := []float64{.7, .2, .1, .1, .8, .1, .3, .4, .3, .5, .3, .2} // argmax 0 1 1 0
	binary := &data.Array{Shape: []int{4, 1}, Float: []float32{0, 1, 1, 0}}
	one := []float64{.2, .7, .4, .6}
	rows := []int32{0, 1, 2, 3}
	for _, c := range []struct {
		name   string
		metric Metric
		topK   int
		logits bool
		pred   []float64
		shape  []int
		target *data.Array
		want   float64
	}{
		{"sparse labels", Accuracy, 0, false, three, []int{3}, labels, 0.5},
		{"one-hot labels", CategoricalAccuracy, 0, false, three, []int{3}, hot, 0.5},
		{"top 2", TopKAccuracy, 2, false, three, []int{3}, labels, 1},
		{"top 1", TopKAccuracy, 1, false, three, []int{3}, labels, 0.5},
		{"macro F1", F1, 0, false, three, []int{3}, labels, (2.0/3 + 0.5 + 0) / 3},
		{"one column is binary", Accuracy, 0, false, one, []int{1}, binary, 0.5},
		{"binary logits", BinaryAccuracy, 0, true, []float64{-1, 2, .1, -3}, []int{1}, binary, 1},
		{"binary F1", F1, 0, false, one, []int{1}, binary, 0.5},
		{"multi-label", BinaryAccuracy, 0, false, three, []int{3}, hot, 10.0 / 12},
		{"MAE", MAE, 0, false, one, []int{1}, binary, (.2 + .3 + .6 + .6) / 4},
		{"MSE", MSE, 0, false, one, []int{1}, binary, (.04 + .09 + .36 + .36) / 4},
		{"angle", Angle, 0, false, []float64{.5, .1, .2, 0, .3, .3, 0, 0}, []int{2}, &data.Array{Shape: []int{4, 2}, Float: []float32{.5, .1, .2, 0, .3, .3, math.Pi / 2, 0}},
			(3*math.Acos(angleClip) + math.Pi/2) / 4},
	} {
		s := scorer{metric: c.metric, topK: c.topK, threshold: 0.5}
		if c.logits {
			s.threshold = 0
		}
		got, err := s.score(c.pred, c.shape, c.target, rows)
		if err != nil || math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestANonFiniteOutputNeverScores(t *testing.T) {
	labels := &data.Array{Shape: []int{2}, Int: []int32{0, 1}}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, m := range Metrics {
			s := scorer{metric: m, topK: 5, threshold: 0.5}
			got, err := s.score([]float64{1, 0, 0, bad}, []int{2}, labels, []int32{0, 1})
			if err != nil || got != m.Worst() {
				t.Errorf("%s with an output of %v: %v, %v; want the worst, %v", m, bad, got, err, m.Worst())
			}
		}
	}
	if Accuracy.Better(math.NaN(), 0) || !Accuracy.Better(0, math.NaN()) || !MAE.Better(1, 2) || Accuracy.Better(1, 2) {
		t.Error("Better is wrong about NaN or direction")
	}
}
