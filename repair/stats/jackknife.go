package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// JackknifeResult is what a jackknife over groups says of an estimate.
type JackknifeResult struct {
	SE float64 // standard error of the estimate
	P  float64 // one-sided: that the estimate is not above zero
}

// Jackknife tests whether an estimate is above zero, from its values without each of g groups of equal size of the data (delete-a-group
// jackknife: Shao and Tu, "The Jackknife and Bootstrap", 1995, §2.3): SE² = (g-1)/g · Σ (without - mean of without)², and estimate/SE has
// Student's t distribution of g-1 degrees of freedom. For a mean that is the t-test of the groups' means. Where nothing varies, P is 0 for an
// estimate above zero and else 1.
func Jackknife(estimate float64, without []float64) (JackknifeResult, error) {
	g := float64(len(without))
	if g < 2 {
		return JackknifeResult{}, fmt.Errorf("stats: a jackknife over %d groups: it takes two", len(without))
	}
	for i, v := range without {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return JackknifeResult{}, fmt.Errorf("stats: estimate without group %d is %v", i, v)
		}
	}
	r := JackknifeResult{SE: (g - 1) / math.Sqrt(g) * SD(without)} // Σ(…)² = (g-1)·SD²
	switch {
	case r.SE > 0:
		r.P = distuv.StudentsT{Sigma: 1, Nu: g - 1}.Survival(estimate / r.SE)
	case !(estimate > 0):
		r.P = 1
	}
	return r, nil
}
