// Package stats holds the statistics by which a repair is judged: rank tests, effect sizes, bootstrap intervals and the
// correction for several tests. Samples are the metric of one run each.
//
// A run that diverged has a metric, and it is the worst: Direction.Clean replaces every non-finite value (NaN and both infinities: an
// accuracy of +Inf is no achievement) by the infinity on the worse side. Differences, A12 and MannWhitney do so themselves. Rank statistics
// take the infinities as they are; what they mean for means and intervals is said at each function.
package stats

import (
	"fmt"
	"math"
	"slices"
)

// Direction says which values of a metric are better.
type Direction int

// The directions; the zero value is neither, so that a forgotten one is an error.
const (
	HigherIsBetter Direction = 1  // accuracy
	LowerIsBetter  Direction = -1 // loss, error
)

func (d Direction) check() error {
	if d != HigherIsBetter && d != LowerIsBetter {
		return fmt.Errorf("stats: direction %d is neither HigherIsBetter nor LowerIsBetter", int(d))
	}
	return nil
}

// Worst is the infinity on the worse side.
func (d Direction) Worst() float64 { return math.Inf(-int(d)) }

// Clean returns a copy of x in which every non-finite value is the worst.
func (d Direction) Clean(x []float64) []float64 {
	out := slices.Clone(x)
	for i, v := range out {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			out[i] = d.Worst()
		}
	}
	return out
}

// Differences are x[i] - y[i] of paired runs (the same seed), after Clean. Where both runs are the worst they are equal: 0; where one is, the
// difference is infinite. Pairs that should be a gain of x over y have positive differences where higher is better.
func Differences(x, y []float64, better Direction) ([]float64, error) {
	if err := better.check(); err != nil {
		return nil, err
	}
	if len(x) != len(y) {
		return nil, fmt.Errorf("stats: %d and %d runs are not paired", len(x), len(y))
	}
	x, y = better.Clean(x), better.Clean(y)
	d := make([]float64, len(x))
	for i := range x {
		if x[i] != y[i] {
			d[i] = x[i] - y[i]
		}
	}
	return d, nil
}

// Mean is Σx/n, summed in order; NaN without samples. An infinity makes it infinite.
func Mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// Variance is Σ(x-mean)²/(n-1) (ddof 1), in two passes; NaN with fewer than two samples or a non-finite one.
func Variance(x []float64) float64 {
	if len(x) < 2 {
		return math.NaN()
	}
	m, sum := Mean(x), 0.0
	for _, v := range x {
		sum += (v - m) * (v - m)
	}
	return sum / float64(len(x)-1)
}

// SD is the square root of Variance.
func SD(x []float64) float64 { return math.Sqrt(Variance(x)) }

// Median is Quantile 0.5.
func Median(x []float64) float64 { return Quantile(x, 0.5) }

// HodgesLehmann is the median of the means of all pairs of values, every value with itself included: the shift that the signed-rank test would find
// none of (Hodges and Lehmann 1963, "Estimates of location based on rank tests", eq. 1.2). NaN for no values. A few that are far off hardly move it.
func HodgesLehmann(x []float64) float64 {
	means := make([]float64, 0, len(x)*(len(x)+1)/2)
	for i, a := range x {
		for _, b := range x[i:] {
			means = append(means, a/2+b/2)
		}
	}
	return Median(means)
}

// Quantile is the q-th quantile, q of 0..1, by linear interpolation at (n-1)q (Hyndman and Fan 1996, type 7; numpy's default). NaN without
// samples, with a NaN among them, or with q outside 0..1. Infinities count as the extreme values they are.
func Quantile(x []float64, q float64) float64 {
	if len(x) == 0 || !(q >= 0 && q <= 1) || slices.ContainsFunc(x, math.IsNaN) {
		return math.NaN()
	}
	return sortedQuantile(slices.Sorted(slices.Values(x)), q)
}

func sortedQuantile(x []float64, q float64) float64 {
	at := q * float64(len(x)-1)
	i := int(at)
	if i >= len(x)-1 {
		return x[len(x)-1]
	}
	lo, hi, t := x[i], x[i+1], at-float64(i)
	if t == 0 || lo == hi { // an infinity next to it must not make NaN of it
		return lo
	}
	return lo + (hi-lo)*t
}

// Holm adjusts p-values of several tests so that the chance of one false finding stays below the level they are compared with:
// p'(i) = max over j<=i of min(1, (m-j+1)·p(j)), p sorted ascending, i from 1 (Holm 1979, "A simple sequentially rejective multiple test
// procedure"). The result is in the order of p. A NaN (no test) stays NaN and does not count as a test.
func Holm(p []float64) []float64 {
	out := make([]float64, len(p))
	var order []int
	for i, v := range p {
		if out[i] = v; !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	worst := 0.0
	for k, i := range order {
		worst = max(worst, min(1, float64(len(order)-k)*p[i]))
		out[i] = worst
	}
	return out
}
