package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"netmend/data"
)

// No constant answer scores better on the rows that the answer is fitted on: all of a grid are tried.
func TestConstantIsTheBestOfAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([]int32, 31)
	for i := range rows {
		rows[i] = int32(i)
	}
	array := func(size int, draw func() float64) *data.Array {
		a := &data.Array{Shape: []int{len(rows), size}, Float: make([]float32, len(rows)*size)}
		for i := range a.Float {
			a.Float[i] = float32(draw())
		}
		return a
	}
	bit := func() float64 { return float64(random.IntN(5) / 3) } // 2 of 5 are 1
	class := func() float64 { return math.Floor(3 * math.Sqrt(random.Float64())) }
	values := func(from, to, step float64) (out []float64) {
		for v := from; v <= to; v += step {
			out = append(out, v)
		}
		return out
	}
	for _, c := range []struct {
		name      string
		metric    Metric
		semantics Semantics
		topK      int
		shape     []int
		target    *data.Array
		grid      []float64
		coarse    float64 // how much better than all of a coarse grid the answer may be
	}{
		{"three classes", Accuracy, Keras, 0, []int{3}, array(1, class), []float64{0, 0.5, 1}, 0},
		{"three dense classes", CategoricalAccuracy, PyTorch, 0, []int{3}, array(3, random.Float64), []float64{0, 0.5, 1}, 0},
		{"classes of two pixels", SparseAccuracy, PyTorch, 0, []int{3, 2}, array(2, class), []float64{0, 0.5, 1}, 0},
		{"classes of two steps", SparseAccuracy, Keras, 0, []int{2, 3}, array(2, class), []float64{0, 0.5, 1}, 0},
		{"the first two of three", TopKAccuracy, Keras, 2, []int{3}, array(1, class), []float64{0, 0.5, 1}, 0},
		{"one column", Accuracy, Keras, 0, []int{1}, array(1, bit), []float64{0, 1}, 0},
		{"three labels", BinaryAccuracy, Keras, 0, []int{3}, array(3, bit), []float64{0, 1}, 0},
		{"one class as three columns", BinaryAccuracy, Keras, 0, []int{3}, array(1, class), []float64{0, 1}, 0},
		{"F1 of one column", F1, Keras, 0, []int{1}, array(1, bit), []float64{0, 1}, 0},
		{"F1 of two columns", F1, Keras, 0, []int{2}, array(1, bit), []float64{0, 1}, 0},
		{"F1 of two columns at three steps", F1, Keras, 0, []int{3, 2}, array(3, bit), []float64{0, 1}, 0},
		{"macro F1", F1, Keras, 0, []int{3}, array(1, class), []float64{0, 0.5, 1}, 0},
		{"mean absolute error", MAE, Keras, 0, []int{2}, array(2, random.NormFloat64), values(-3, 3, 0.05), 0.02},
		{"mean squared error", MSE, Keras, 0, []int{2}, array(2, random.ExpFloat64), values(-1, 4, 0.05), 0.02},
		{"angle", Angle, Keras, 0, []int{2}, array(2, func() float64 { return 1 + 0.6*random.NormFloat64() }), values(-math.Pi, math.Pi, 0.03), 0.001},
		{"angle around the pole", Angle, Keras, 0, []int{2}, array(2, func() float64 { return 0.5 * random.NormFloat64() }), values(-math.Pi, math.Pi, 0.03), 0.001},
	} {
		s := scorer{metric: c.metric, topK: c.topK, threshold: 0.5, semantics: c.semantics}
		of := func(answer []float64) float64 {
			v, err := s.score(slices.Repeat(answer, len(rows)), c.shape, c.target, rows)
			if err != nil {
				t.Fatal(c.name, err)
			}
			return v
		}
		got := of(s.constant(c.shape, targetRows{c.target}, rows))
		best := math.NaN()
		answer := make([]float64, layoutOf(c.shape, c.semantics).size)
		var try func(k int)
		try = func(k int) {
			if k == len(answer) {
				if ties(c.metric, answer) {
					return
				}
				if v := of(answer); c.metric.Better(v, best) {
					best = v
				}
				return
			}
			for _, v := range c.grid {
				answer[k] = v
				try(k + 1)
			}
		}
		try(0)
		slack := 1e-12
		if c.metric == Angle { // the metric has no angles below its clip, so that a median on a target gains by going that far away
			slack = math.Acos(angleClip) / float64(len(rows))
		}
		if c.metric.Better(best, got) && math.Abs(best-got) > slack || math.Abs(best-got) > c.coarse+slack {
			t.Errorf("%s: %v, and the best of all answers has %v", c.name, got, best)
		}
	}
}

// ties says that an answer has equal outputs, which all count as among the first k.
func ties(m Metric, answer []float64) bool {
	sorted := slices.Sorted(slices.Values(answer))
	return m == TopKAccuracy && len(slices.Compact(sorted)) < len(answer)
}
