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
	semantics Semantics
}

func newScorer(r Recipe) scorer {
	s := scorer{metric: r.Metric, topK: r.TopK, threshold: 0.5, semantics: r.Semantics}
	if r.Loss.FromLogits && r.Loss.Name == "binary_crossentropy" {
		s.threshold = 0
	}
	return s
}

// layout is how a sample's values lie: index (o·classes + k)·inner + i holds class k of position o·inner + i. A position is what has one
// class: the whole sample of a classifier, a pixel of a segmentation, a step of a sequence.
type layout struct{ size, classes, inner, positions int }

func layoutOf(shape []int, s Semantics) layout {
	l := layout{size: 1, classes: 1, inner: 1}
	axis := classAxis(append([]int{1}, shape...), s) - 1
	for i, d := range shape {
		l.size *= d
		if i == axis {
			l.classes = d
		}
		if i > axis {
			l.inner *= d
		}
	}
	l.positions = l.size / max(1, l.classes)
	return l
}

// byElement says that every output value is judged on its own.
func (s scorer) byElement(l layout) bool {
	switch s.metric {
	case MAE, MSE, Angle, BinaryAccuracy:
		return true
	case Accuracy, F1:
		return l.classes == 1
	}
	return false
}

// check says whether the metric can judge samples of a shape against targets of so many values per sample.
func (s scorer) check(shape []int, values int) error {
	l := layoutOf(shape, s.semantics)
	switch {
	case s.metric == Angle && (l.size != 2 || values != 2):
		return fmt.Errorf("train: metric angle needs two angles per sample, got %d values and targets of %d", l.size, values)
	case s.byElement(l) && (values == l.size || values == 1 && s.metric != F1):
	case !s.byElement(l) && (values == l.positions || values == l.size):
	default:
		return fmt.Errorf("train: metric %s: targets have %d values per sample, outputs %d in shape %v", s.metric, values, l.size, shape)
	}
	return nil
}

// score computes the metric of predictions (samples of a shape, one after the other) against the rows of target. A prediction that is not
// finite makes the score the metric's worst.
func (s scorer) score(pred []float64, shape []int, target *data.Array, rows []int32) (float64, error) {
	if len(rows) == 0 {
		return math.NaN(), nil
	}
	for _, v := range pred {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return s.metric.Worst(), nil
		}
	}
	if err := s.check(shape, target.RowSize()); err != nil {
		return 0, err
	}
	l, t := layoutOf(shape, s.semantics), targetRows{target}
	switch {
	case !s.byElement(l):
		return s.classes(pred, l, t, rows), nil
	case s.metric == F1:
		return s.binaryF1(pred, l.size, t, rows), nil
	}
	return s.elementwise(pred, l.size, t, rows), nil
}

// targetRows reads targets of any encoding.
type targetRows struct{ *data.Array }

// class is the class of a row's position: the index itself, or the largest of dense values.
func (t targetRows) class(row int32, position int, l layout) float64 {
	if t.RowSize() == l.positions {
		return t.at(row, position)
	}
	at := func(k int) float64 { return t.at(row, (position/l.inner*l.classes+k)*l.inner+position%l.inner) }
	best := 0
	for k := 1; k < l.classes; k++ {
		if at(k) > at(best) {
			best = k
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

func (s scorer) elementwise(pred []float64, size int, t targetRows, rows []int32) float64 {
	sum := 0.0
	for i, row := range rows {
		p := pred[i*size : (i+1)*size]
		if s.metric == Angle {
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
	return sum / float64(len(rows)*size)
}

// gazeAngle is the angle between the directions of two pairs of angles, as the loss "angle" computes it.
func gazeAngle(a, b, c, d float64) float64 {
	dot := math.Sin(a)*math.Cos(b)*math.Sin(c)*math.Cos(d) + math.Sin(a)*math.Sin(b)*math.Sin(c)*math.Sin(d) + math.Cos(a)*math.Cos(c)
	return math.Acos(min(max(dot, -angleClip), angleClip))
}

func (s scorer) binaryF1(pred []float64, size int, t targetRows, rows []int32) float64 {
	tp, wrong := 0.0, 0.0
	for i, v := range pred {
		p, y := v > s.threshold, t.at(rows[i/size], i%size) > 0.5
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
func (s scorer) classes(pred []float64, l layout, t targetRows, rows []int32) float64 {
	hits := 0.0
	tp, wrong, p := make([]float64, l.classes), make([]float64, l.classes), make([]float64, l.classes)
	for i := range len(rows) * l.positions {
		sample, position := i/l.positions, i%l.positions
		for k := range p {
			p[k] = pred[sample*l.size+(position/l.inner*l.classes+k)*l.inner+position%l.inner]
		}
		c := t.class(rows[sample], position, l)
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
		if k := int(c); float64(k) == c && k >= 0 && k < l.classes {
			wrong[k]++
		}
	}
	if s.metric != F1 {
		return hits / float64(len(rows)*l.positions)
	}
	if l.classes == 2 {
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
