package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"netmend/data"
	"netmend/onnx"
)

// Constant is how the best constant answer does on rows of the data set: one output for every sample, whatever the input. A model that is no better
// has learned nothing that the metric sees. Score and Without are as of Trainer.EvaluateGroups; there is no loss, which is NaN.
//
// The answer is fitted on the rows fit alone, so that it needs no target of the rows that it is scored on, unless they are the same. Every metric has one:
//
//   - accuracies, and F1 over several classes: the most frequent class of every position; top k: the k most frequent ones;
//   - accuracies of binary values: for every value the side of the threshold on which more targets are;
//   - F1 of one class: yes wherever that makes the pooled F1 of the fitted rows largest;
//   - mean absolute error: the median of every value; mean squared error: its mean;
//   - angle: the direction with the smallest mean angle to the targets' (gazeMedian).
//
// Targets are preprocessed as those of search and hold-out rows, which scores are computed from; a step for the training rows alone does not count.
// The error is that of New: model, recipe and data do not go together.
func Constant(m *onnx.Model, r Recipe, d data.Splits, fit, rows []int32, groups int) (Evaluation, error) {
	ev := Evaluation{Score: math.NaN(), Loss: math.NaN()}
	if len(fit) == 0 || len(rows) == 0 {
		return ev, nil
	}
	r = r.Clone()
	r.Preprocessing = slices.DeleteFunc(r.Preprocessing, func(p Preprocess) bool { return p.Part == "train" })
	for i := range r.Preprocessing {
		r.Preprocessing[i].Part = ""
	}
	p, err := newPlan(m, r, d, Options{})
	if err != nil {
		return ev, err
	}
	s := newScorer(r)
	preds := make([][]float64, len(p.targets))
	for i := range p.targets {
		answer := s.constant(p.outShapes[i], targetRows{&p.targets[i].raw}, fit)
		preds[i] = slices.Repeat(answer, len(rows))
	}
	if ev.Score, ev.NonFinite, err = p.scores(s, preds, rows); err != nil {
		return ev, fmt.Errorf("train: constant answer: %w", err)
	}
	ev.Without, err = p.without(s, preds, rows, groups)
	return ev, err
}

// constant is the answer for samples of a shape.
func (s scorer) constant(shape []int, t targetRows, fit []int32) []float64 {
	l := layoutOf(shape, s.semantics)
	switch {
	case s.metric == Angle:
		theta, phi := gazeMedian(t, fit)
		return []float64{theta, phi}
	case s.byElement(l):
		return s.constantValues(l.size, t, fit)
	}
	return s.constantClasses(l, t, fit)
}

// constantValues is the answer where every value is judged on its own.
func (s scorer) constantValues(size int, t targetRows, fit []int32) []float64 {
	answer, yes, column := make([]float64, size), make([]int, size), make([]float64, len(fit))
	for k := range answer {
		for i, row := range fit {
			if column[i] = t.dense(row, k, size); column[i] > 0.5 {
				yes[k]++
			}
		}
		switch s.metric {
		case MAE:
			slices.Sort(column)
			n := len(column)
			answer[k] = (column[(n-1)/2] + column[n/2]) / 2
		case MSE:
			for _, v := range column {
				answer[k] += v / float64(len(column))
			}
		default:
			answer[k] = side(2*yes[k] > len(fit))
		}
	}
	if s.metric == F1 {
		for k, v := range f1Answer(yes, len(fit)) {
			answer[k] = side(v)
		}
	}
	return answer
}

// side is a value on one side of every threshold of scorer: 0 and 0.5.
func side(yes bool) float64 {
	if yes {
		return 1
	}
	return -1
}

// constantClasses is the answer where positions have a class: outputs in the order of how frequent the classes are, the lower index first of equal ones.
func (s scorer) constantClasses(l layout, t targetRows, fit []int32) []float64 {
	answer, yes := make([]float64, l.size), make([]int, l.positions)
	set := func(position int, order []int) {
		for rank, k := range order {
			answer[(position/l.inner*l.classes+k)*l.inner+position%l.inner] = float64(l.classes - rank)
		}
	}
	for position := range l.positions {
		counts, order := make([]int, l.classes), make([]int, l.classes)
		for _, row := range fit {
			if c := t.class(row, position, l); c == math.Trunc(c) && c >= 0 && c < float64(l.classes) {
				counts[int(c)]++
			}
		}
		for k := range order {
			order[k] = k
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(counts[b], counts[a]) })
		set(position, order)
		if l.classes == 2 {
			yes[position] = counts[1]
		}
	}
	if s.metric == F1 && l.classes == 2 {
		for position, v := range f1Answer(yes, len(fit)) {
			if set(position, []int{0, 1}); v {
				set(position, []int{1, 0})
			}
		}
	}
	return answer
}

// f1Answer says at which of several places "yes" makes the pooled F1 of n samples largest, given in how many samples each is yes: the places with
// the most, since of as many answers those with more hits are better; at one place at least, since none scores 0.
func f1Answer(yes []int, n int) []bool {
	order, total := make([]int, len(yes)), 0
	for k, c := range yes {
		order[k], total = k, total+c
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(yes[b], yes[a]) })
	best, most, tp := 1, -1.0, 0
	for i, k := range order {
		tp += yes[k]
		if v := f1(float64(tp), float64((i+1)*n-tp+total-tp)); v > most {
			best, most = i+1, v
		}
	}
	answer := make([]bool, len(yes))
	for _, k := range order[:best] {
		answer[k] = true
	}
	return answer
}

const (
	medianSteps     = 200   // Weiszfeld's iteration converges linearly: far more than it takes to a millionth of a radian
	medianTolerance = 1e-10 // radians
)

// gazeMedian is the direction with the smallest mean angle to those of the rows (see gazeAngle), as its two angles, in radians: Weiszfeld's iteration
// on the sphere from the mean direction (Fletcher, Venkatasubramanian and Joshi, "The geometric median on Riemannian manifolds with application
// to robust atlas estimation", NeuroImage 2009, eq. 3): m <- Exp_m(Σ Log_m(x)/d(m, x) / Σ 1/d(m, x)). A direction that is m itself has no part in a step.
func gazeMedian(t targetRows, fit []int32) (theta, phi float64) {
	directions, m := make([][3]float64, len(fit)), [3]float64{}
	for i, row := range fit {
		a, b := t.at(row, 0), t.at(row, 1)
		directions[i] = [3]float64{math.Sin(a) * math.Cos(b), math.Sin(a) * math.Sin(b), math.Cos(a)}
		m = along(m, 1, directions[i])
	}
	if n := length(m); n > 0 {
		m = along([3]float64{}, 1/n, m)
	} else {
		m = directions[0]
	}
	for range medianSteps {
		step, weight := [3]float64{}, 0.0
		for _, x := range directions {
			c := m[0]*x[0] + m[1]*x[1] + m[2]*x[2]
			tangent := along(x, -c, m) // Log_m(x) points there and is as long as the angle
			n := length(tangent)
			if n < medianTolerance {
				continue
			}
			step, weight = along(step, 1/n, tangent), weight+1/math.Atan2(n, c)
		}
		n := length(step) / weight
		if !(n > medianTolerance) {
			break
		}
		m = along(along([3]float64{}, math.Cos(n), m), math.Sin(n)/(n*weight), step)
	}
	return math.Acos(min(max(m[2], -1), 1)), math.Atan2(m[1], m[0])
}

// along is a + s·b.
func along(a [3]float64, s float64, b [3]float64) [3]float64 {
	return [3]float64{a[0] + s*b[0], a[1] + s*b[1], a[2] + s*b[2]}
}

func length(a [3]float64) float64 { return math.Sqrt(a[0]*a[0] + a[1]*a[1] + a[2]*a[2]) }
