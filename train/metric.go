package train

import (
	"fmt"
	"math"

	"netmend/data"
)

// Metric is what a model is judged by, computed on the host in float64 from predictions.
type Metric string

const (
	Accuracy            Metric = "accuracy"                    // binary for outputs of one column, otherwise argmax against the class
	BinaryAccuracy      Metric = "binary_accuracy"             // share of elements on the target's side of the threshold
	CategoricalAccuracy Metric = "categorical_accuracy"        // argmax against the class
	SparseAccuracy      Metric = "sparse_categorical_accuracy" // the same; targets are class indices
	TopKAccuracy        Metric = "top_k_accuracy"              // the class is among the k largest outputs
	F1                  Metric = "f1"                          // of class 1 for one or two output columns, else the unweighted mean over classes
	MAE                 Metric = "mean_absolute_error"
	MSE                 Metric = "mean_squared_error"
	Angle               Metric = "angle" // the loss of that name, in radians
)

// Metrics are the metrics that a recipe may name.
var Metrics = []Metric{Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseAccuracy, TopKAccuracy, F1, MAE, MSE, Angle}

// Maximize says whether more is better.
func (m Metric) Maximize() bool { return m != MAE && m != MSE && m != Angle }

// Better says whether a is better than b. Anything is better than NaN, and NaN is better than nothing.
func (m Metric) Better(a, b float64) bool {
	switch {
	case math.IsNaN(a):
		return false
	case math.IsNaN(b):
		return true
	case m.Maximize():
		return a > b
	}
	return a < b
}

// Worst is the value that no model is worse than: what a non-finite output scores.
func (m Metric) Worst() float64 {
	if m.Maximize() {
		return 0
	}
	return math.Inf(1)
}

// scorer holds what the metric needs to know of the recipe.
type scorer struct {
	metric    Metric
	topK      int
	threshold float64 // of a binary decision: 0.5 for probabilities, 0 for logits
}

func newScorer(r Recipe) scorer {
	s := scorer{metric: r.Metric, topK: r.TopK, threshold: 0.5}
	if r.Loss.FromLogits && r.Loss.Name == "binary_crossentropy" {
		s.threshold = 0
	}
	return s
}

// score computes the metric of predictions (n samples of cols values; axis 1 holds the classes, inner values behind each) against the
// rows of target. A prediction that is not finite makes the score the metric's worst.
func (s scorer) score(pred []float64, shape []int, target *data.Array, rows []int32) (float64, error) {
	if len(rows) == 0 {
		return math.NaN(), nil
	}
	for _, v := range pred {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return s.metric.Worst(), nil
		}
	}
	size := 1
	for _, d := range shape {
		size *= d
	}
	t := targetRows{target}
	switch s.metric {
	case MAE, MSE, Angle, BinaryAccuracy:
		return s.elementwise(pred, size, t, rows)
	case Accuracy:
		if size == 1 {
			return s.elementwise(pred, size, t, rows)
		}
	}
	if s.metric == F1 && size == 1 {
		return s.binaryF1(pred, t, rows), nil
	}
	if len(shape) != 1 {
		return 0, fmt.Errorf("train: metric %s needs an output of one row per sample, got samples of shape %v", s.metric, shape)
	}
	return s.classes(pred, size, t, rows), nil
}

// targetRows reads targets of any encoding.
type targetRows struct{ *data.Array }

// class is the class of a row: the index itself, or the largest of a dense row.
func (t targetRows) class(row int32) float64 {
	n := t.RowSize()
	if n == 1 {
		return t.at(row, 0)
	}
	best := 0
	for i := 1; i < n; i++ {
		if t.at(row, i) > t.at(row, best) {
			best = i
		}
	}
	return float64(best)
}

func (t targetRows) at(row int32, i int) float64 {
	k := int(row)*t.RowSize() + i
	if t.IsInt() {
		return float64(t.Int[k])
	}
	return float64(t.Float[k])
}

// dense is element i of a row as the output of size elements sees it: class indices become one-hot.
func (t targetRows) dense(row int32, i, size int) float64 {
	if t.RowSize() == size {
		return t.at(row, i)
	}
	if t.at(row, 0) == float64(i) {
		return 1
	}
	return 0
}

func (s scorer) elementwise(pred []float64, size int, t targetRows, rows []int32) (float64, error) {
	if n := t.RowSize(); n != size && n != 1 {
		return 0, fmt.Errorf("train: metric %s: targets have %d values per sample, outputs %d", s.metric, n, size)
	}
	sum := 0.0
	for i, row := range rows {
		p := pred[i*size : (i+1)*size]
		if s.metric == Angle {
			if size != 2 {
				return 0, fmt.Errorf("train: metric angle needs two angles per sample, got %d values", size)
			}
			sum += gazeAngle(p[0], p[1], t.at(row, 0), t.at(row, 1)) * float64(size)
			continue
		}
		for k, v := range p {
			d := t.dense(row, k, size)
			switch s.metric {
			case MAE:
				sum += math.Abs(v - d)
			case MSE:
				sum += (v - d) * (v - d)
			default:
				if (v > s.threshold) == (d > 0.5) {
					sum++
				}
			}
		}
	}
	return sum / float64(len(rows)*size), nil
}

// gazeAngle is the angle between the directions of two pairs of angles, as the loss "angle" computes it.
func gazeAngle(a, b, c, d float64) float64 {
	dot := math.Sin(a)*math.Cos(b)*math.Sin(c)*math.Cos(d) + math.Sin(a)*math.Sin(b)*math.Sin(c)*math.Sin(d) + math.Cos(a)*math.Cos(c)
	return math.Acos(min(max(dot, -angleClip), angleClip))
}

func (s scorer) binaryF1(pred []float64, t targetRows, rows []int32) float64 {
	tp, wrong := 0.0, 0.0
	for i, row := range rows {
		p, y := pred[i] > s.threshold, t.at(row, 0) > 0.5
		switch {
		case p && y:
			tp++
		case p != y:
			wrong++
		}
	}
	return f1(tp, wrong)
}

// f1 is 2·tp / (2·tp + fp + fn); 0 where nothing is and nothing is predicted (sklearn's zero_division).
func f1(tp, wrong float64) float64 {
	if tp == 0 {
		return 0
	}
	return 2 * tp / (2*tp + wrong)
}

// classes is the metrics over argmax and ranks.
func (s scorer) classes(pred []float64, size int, t targetRows, rows []int32) float64 {
	hits := 0.0
	tp, wrong := make([]float64, size), make([]float64, size)
	for i, row := range rows {
		p := pred[i*size : (i+1)*size]
		c := t.class(row)
		best := 0
		for k, v := range p {
			if v > p[best] {
				best = k
			}
		}
		if s.metric == TopKAccuracy {
			hits += topK(p, c, s.topK)
			continue
		}
		if float64(best) == c {
			hits++
			tp[best]++
			continue
		}
		wrong[best]++
		if k := int(c); float64(k) == c && k >= 0 && k < size {
			wrong[k]++
		}
	}
	if s.metric != F1 {
		return hits / float64(len(rows))
	}
	if size == 2 {
		return f1(tp[1], wrong[1])
	}
	sum, present := 0.0, 0.0
	for k := range tp {
		if tp[k]+wrong[k] > 0 {
			sum, present = sum+f1(tp[k], wrong[k]), present+1
		}
	}
	return sum / max(1, present)
}

// topK is 1 when fewer than k outputs are larger than that of class c.
func topK(p []float64, c float64, k int) float64 {
	i := int(c)
	if float64(i) != c || i < 0 || i >= len(p) {
		return 0
	}
	larger := 0
	for _, v := range p {
		if v > p[i] {
			larger++
		}
	}
	if larger < k {
		return 1
	}
	return 0
}
