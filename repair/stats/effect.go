package stats

import (
	"fmt"
	"math"
)

// A12 is the effect size of Vargha and Delaney (2000, "A critique and improvement of the CL common language effect size statistics"): the
// probability that a run of x is better than one of y, ties counted half: (#(x better y) + #(x = y)/2) / (n·m), after Clean. 0.5 is no
// difference, 1 is that every run of x is better.
func A12(x, y []float64, better Direction) (float64, error) {
	if err := better.check(); err != nil {
		return 0, err
	}
	if len(x) == 0 || len(y) == 0 {
		return 0, fmt.Errorf("stats: %d and %d runs: both groups need some", len(x), len(y))
	}
	wins := 0.0
	cx, cy := better.Clean(x), better.Clean(y)
	for _, a := range cx {
		for _, b := range cy {
			switch {
			case a == b:
				wins += 0.5
			case (a > b) == (better == HigherIsBetter):
				wins++
			}
		}
	}
	return wins / (float64(len(x)) * float64(len(y))), nil
}

// Magnitude names the size of an effect by Cliff's delta, |2·A12 - 1|: below 0.147 negligible, below 0.33 small, below 0.474 medium, else large
// (Romano et al. 2006, "Appropriate statistics for ordinal level data", the levels of the benchmark that netmend compares with).
func Magnitude(a12 float64) string {
	switch d := math.Abs(2*a12 - 1); {
	case d < 0.147:
		return "negligible"
	case d < 0.33:
		return "small"
	case d < 0.474:
		return "medium"
	case d >= 0.474:
		return "large"
	}
	return "undefined" // NaN
}

// CohenD is (mean x - mean y) / s with the pooled s² = ((n-1)·var x + (m-1)·var y) / (n+m-2), variances with ddof 1 (Cohen 1988, §2.2).
// Where s is 0 it is 0 for equal means and infinite otherwise. NaN with fewer than two runs in a group or a non-finite run: an effect
// relative to the spread has no meaning then, A12 has.
func CohenD(x, y []float64) float64 {
	n, m := float64(len(x)), float64(len(y))
	s := math.Sqrt(((n-1)*Variance(x) + (m-1)*Variance(y)) / (n + m - 2))
	d := Mean(x) - Mean(y)
	if s == 0 && d == 0 {
		return 0
	}
	return d / s
}
