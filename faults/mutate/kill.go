package mutate

import (
	"fmt"
	"math"
	"slices"

	"netmend/repair"
	"netmend/repair/stats"
	"netmend/train"
)

// Criterion says when a mutant is killed: that many trainings of the original and of the mutant differ with a p-value below P, and the mutant
// is worse by an effect of at least Effect.
type Criterion struct {
	Runs   int     `json:"runs"`
	P      float64 `json:"p"`
	Effect float64 `json:"effect"` // Cohen's d
}

// DeepCrime's criterion (its stats.py).
var DeepCrime = Criterion{Runs: 20, P: 0.05, Effect: 0.5}

func (c Criterion) check() error {
	switch {
	case c.Runs < 2 || c.Runs > 1000:
		return fmt.Errorf("mutate: %d trainings: must be from 2 to 1000, since a spread needs two", c.Runs)
	case !(c.P > 0 && c.P < 1):
		return fmt.Errorf("mutate: significance level %v must be between 0 and 1", c.P)
	case !(c.Effect >= 0) || math.IsInf(c.Effect, 0):
		return fmt.Errorf("mutate: effect size %v must be finite and not negative", c.Effect)
	}
	return nil
}

// The tests of a Judgement.
const (
	TestGLM  = "glm"      // stats.GLM and Cohen's d
	TestRank = "rank-sum" // stats.MannWhitney and A12
)

// Judgement is the comparison of a mutant with the original.
type Judgement struct {
	Test   string        `json:"test"`
	P      repair.Number `json:"p"`      // two-sided
	Effect repair.Number `json:"effect"` // Cohen's d, or A12 for the rank test; greater: the mutant is worse
	Killed bool          `json:"killed"`
}

// Judge applies the criterion to scores of the original and of a mutant. A diverged training has the metric's worst value. Where that is
// infinite, as for errors, a linear model has no answer: the groups are compared by rank then, with the two-sided Mann-Whitney test (DeepCrime
// offers a rank test in place of the GLM as well) and by A12, for which an effect of d is Φ(d/√2) (the probability that one of two normal
// samples of equal spread, d apart, is larger: Vargha and Delaney 2000, eq. 4).
func (c Criterion) Judge(original, mutant []float64, m train.Metric) (Judgement, error) {
	better := stats.LowerIsBetter
	if m.Maximize() {
		better = stats.HigherIsBetter
	}
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	if slices.ContainsFunc(slices.Concat(original, mutant), func(v float64) bool { return !finite(v) }) {
		r, err := stats.MannWhitney(original, mutant, better, stats.TwoSided, stats.Auto)
		if err != nil {
			return Judgement{}, err
		}
		a12, err := stats.A12(original, mutant, better)
		if err != nil {
			return Judgement{}, err
		}
		limit := math.Erfc(-c.Effect/2) / 2 // Φ(x) = erfc(-x/√2)/2
		return Judgement{TestRank, repair.Number(r.P), repair.Number(a12), r.P < c.P && a12 >= limit}, nil
	}
	r, err := stats.GLM(original, mutant)
	if err != nil {
		return Judgement{}, err
	}
	d := float64(better) * stats.CohenD(original, mutant)
	return Judgement{TestGLM, repair.Number(r.P), repair.Number(d), r.P < c.P && d >= c.Effect}, nil
}
