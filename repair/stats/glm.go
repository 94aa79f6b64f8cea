package stats

import (
	"fmt"
	"math"
)

// GLMResult is the slope of a 0/1 flag in a linear model.
type GLMResult struct {
	Coefficient   float64 // mean y - mean x
	StandardError float64
	Z             float64 // Coefficient / StandardError
	P             float64 // two-sided, of the standard normal distribution
}

// GLM fits v = b0 + b1·flag by a generalised linear model of the Gaussian family with the identity link, the flag 0 for the runs of x and 1
// for those of y, and tests b1 = 0. With that family the fit is ordinary least squares: b1 = mean y - mean x, its standard error is
// √(φ·(1/n + 1/m)) with the dispersion φ = (Σ(x - mean x)² + Σ(y - mean y)²) / (n+m-2), and p = 2·(1 - Φ(|b1/se|)), from the normal and not from
// Student's distribution, as statsmodels' GLM reports it (McCullagh and Nelder 1989, §2.2). This is the test of DeepCrime's killing criterion.
//
// Where neither group varies, the standard error is 0: p is 1 for equal means and 0 for different ones, since the flag explains everything
// there is. Each group needs two finite runs; rank tests take those that are not finite.
func GLM(x, y []float64) (GLMResult, error) {
	if len(x) < 2 || len(y) < 2 {
		return GLMResult{}, fmt.Errorf("stats: %d and %d runs: both groups need two at least", len(x), len(y))
	}
	for _, group := range [][]float64{x, y} {
		for i, v := range group {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return GLMResult{}, fmt.Errorf("stats: run %d is %v: the linear model needs finite values", i+1, v)
			}
		}
	}
	n, m := float64(len(x)), float64(len(y))
	r := GLMResult{Coefficient: Mean(y) - Mean(x)}
	dispersion := ((n-1)*Variance(x) + (m-1)*Variance(y)) / (n + m - 2)
	r.StandardError = math.Sqrt(dispersion * (1/n + 1/m))
	if r.StandardError == 0 && r.Coefficient == 0 {
		r.P = 1
		return r, nil
	}
	r.Z = r.Coefficient / r.StandardError
	r.P = math.Erfc(math.Abs(r.Z) / math.Sqrt2)
	return r, nil
}
