package study

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Budget is how much a search may spend. Exactly one field is not zero.
type Budget struct {
	Times    float64       // trainings of the faulty subject, by the cost model
	Duration time.Duration // of the search, by the clock: such a search does not replay to the same trials on another machine
	Trials   int
}

// maxTimes and maxTrials keep sums far from where float64 and int lose meaning.
const (
	maxTimes  = 1e9
	maxTrials = 1 << 30
)

// ParseBudget reads "20x" (times the faulty model's training), "10m" (a duration as Go writes them: 90s, 1h30m) or "30t" (trials).
func ParseBudget(s string) (Budget, error) {
	fail := func(why string) (Budget, error) {
		return Budget{}, fmt.Errorf("study: budget %q %s: write 20x (times the faulty training's cost), 10m (a duration) or 30t (trials)", s, why)
	}
	if number, ok := strings.CutSuffix(s, "x"); ok {
		v, err := strconv.ParseFloat(number, 64)
		switch {
		case err != nil:
			return fail("is not a number of trainings")
		case math.IsNaN(v) || v < 1 || v > maxTimes:
			return fail(fmt.Sprintf("must be from 1x to %gx", maxTimes))
		}
		return Budget{Times: v}, nil
	}
	if number, ok := strings.CutSuffix(s, "t"); ok {
		v, err := strconv.Atoi(number)
		switch {
		case err != nil:
			return fail("is not a number of trials")
		case v < 1 || v > maxTrials:
			return fail(fmt.Sprintf("must be from 1t to %dt", maxTrials))
		}
		return Budget{Trials: v}, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return fail("is not understood")
	case d <= 0:
		return fail("must be positive")
	}
	return Budget{Duration: d}, nil
}

// String is what ParseBudget reads back.
func (b Budget) String() string {
	switch {
	case b.Times > 0:
		return strconv.FormatFloat(b.Times, 'g', -1, 64) + "x"
	case b.Trials > 0:
		return strconv.Itoa(b.Trials) + "t"
	}
	return b.Duration.String()
}

func (b Budget) check() error {
	n := 0
	for _, set := range []bool{b.Times != 0, b.Duration != 0, b.Trials != 0} {
		if set {
			n++
		}
	}
	if n != 1 || b.Times < 0 || b.Duration < 0 || b.Trials < 0 || math.IsNaN(b.Times) || math.IsInf(b.Times, 0) {
		return fmt.Errorf("study: budget %+v must have one of times, duration and trials", b)
	}
	return nil
}

// used is the share of the budget that is spent.
func (b Budget) used(times float64, d time.Duration, trials int) float64 {
	switch {
	case b.Times > 0:
		return times / b.Times
	case b.Trials > 0:
		return float64(trials) / float64(b.Trials)
	}
	return float64(d) / float64(b.Duration)
}

// CostModel declares what a training costs: every device step takes Overhead seconds, and its operations take flops/Rate seconds more. It
// is a convention, the same on every machine, so that a study replays exactly, and it prices what a patch changes: a batch size of 1 pays in
// overhead, a wider layer in operations.
type CostModel struct {
	Overhead float64 `json:"overhead_seconds"` // per device step
	Rate     float64 `json:"flops_per_second"`
}

// DefaultCost has the order of two CPU cores: 50 µs for a step of a tiny network, 40 GFLOP/s for the operations of a large one.
var DefaultCost = CostModel{Overhead: 50e-6, Rate: 40e9}

func (c CostModel) check() error {
	if !(c.Overhead >= 0) || !(c.Rate > 0) || math.IsInf(c.Overhead, 0) || math.IsInf(c.Rate, 0) {
		return fmt.Errorf("study: cost model: overhead %v s must not be negative and rate %v flop/s must be positive", c.Overhead, c.Rate)
	}
	return nil
}

// seconds is the declared time of so many steps of so many operations each.
func (c CostModel) seconds(steps, flops float64) float64 {
	return steps*c.Overhead + steps*flops/c.Rate
}

// prices are the declared times of a training's parts.
type prices struct{ step, eval float64 }

func (c CostModel) prices(t Training, searchRows int) prices {
	p := prices{step: c.seconds(1, t.StepFlops())}
	if searchRows > 0 {
		p.eval = c.seconds(float64(t.EvalSteps(searchRows)), 0) + t.EvalFlops(searchRows)/c.Rate
	}
	return p
}

// training is the declared time of so many epochs with an evaluation after each, a part of an epoch in whole steps.
func (p prices) training(steps float64, evals float64) float64 { return steps*p.step + evals*p.eval }
