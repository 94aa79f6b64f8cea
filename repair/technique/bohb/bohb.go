// Package bohb is BOHB: Hyperband that draws its configurations from densities of good and bad ones (Falkner, Klein and Hutter, "BOHB: Robust
// and Efficient Hyperparameter Optimization at Scale", ICML 2018), as HpBandSter 0.7.4 does it. Where code and papers differ it is the code:
// the number of configurations of a bracket is a floor of a ratio, and losses on smaller budgets than that of the model in use are forgotten.
//
// It minimises, by ask and tell. Several runs may be out at once, and what a run brought may be told in any order. With equal numbers from
// its Source and equal calls it asks the same.
package bohb

import (
	"fmt"
	"math"
	"slices"
)

// Source gives numbers uniform in [0, 1): a *rand.Rand.
type Source interface{ Float64() float64 }

// Settings of a search.
type Settings struct {
	MinBudget, MaxBudget float64
	Eta                  float64 // one in Eta configurations is promoted, to a budget Eta times as large; at least 2
	MinPoints            int     // observations on a budget that a model needs; d+1 for d dimensions is the least
	TopPercent           int     // of the observations are good
	Samples              int     // draws among which a proposal is the best
	RandomFraction       float64 // of the proposals are uniform
	BandwidthFactor      float64 // widens the kernels that proposals are drawn from
	MinBandwidth         float64
}

// Defaults are the original's (HpBandSter, optimizers/bohb.py).
func Defaults() Settings {
	return Settings{MinBudget: 0.01, MaxBudget: 1, Eta: 3, TopPercent: 15, Samples: 64, RandomFraction: 1. / 3, BandwidthFactor: 3, MinBandwidth: 1e-3}
}

// maxStages keeps the number of configurations of a bracket in an int.
const maxStages = 32

func (s Settings) check() error {
	switch {
	case !(s.MinBudget > 0 && s.MinBudget <= s.MaxBudget) || math.IsInf(s.MaxBudget, 0):
		return fmt.Errorf("bohb: budgets from %v to %v: must be positive and in order", s.MinBudget, s.MaxBudget)
	case !(s.Eta >= 2) || math.IsInf(s.Eta, 0):
		return fmt.Errorf("bohb: eta %v: must be at least 2", s.Eta)
	case s.stages() > maxStages || float64(s.stages()-1)*math.Log2(s.Eta) > 60:
		return fmt.Errorf("bohb: %d budgets from %v to %v: raise the least", s.stages(), s.MinBudget, s.MaxBudget)
	case s.TopPercent < 1 || s.TopPercent > 99:
		return fmt.Errorf("bohb: %d %% of the observations good: must be from 1 to 99", s.TopPercent)
	case s.Samples < 1:
		return fmt.Errorf("bohb: %d draws per proposal: must be at least 1", s.Samples)
	case !(s.BandwidthFactor > 0) || !(s.MinBandwidth > 0):
		return fmt.Errorf("bohb: bandwidth factor %v and least bandwidth %v: must be positive", s.BandwidthFactor, s.MinBandwidth)
	}
	return nil
}

// stages is how many budgets there are: the original's max_SH_iter, rounded as it does.
func (s Settings) stages() int { return 1 - int(math.Log(s.MinBudget/s.MaxBudget)/math.Log(s.Eta)) }

// Budgets are the budgets, rising to MaxBudget.
func (s Settings) Budgets() []float64 {
	n := s.stages()
	out := make([]float64, n)
	for i := range out {
		out[i] = s.MaxBudget * math.Pow(s.Eta, -float64(n-1-i))
	}
	return out
}

// Bracket is how many configurations bracket i = 0, 1, … trains on which budgets, stage by stage (HpBandSter, optimizers/bohb.py,
// get_next_iteration). Hyperband's own number would be ⌈stages·eta^s/(s+1)⌉ (Li et al. 2018, algorithm 1).
func (s Settings) Bracket(i int) (configs []int, budgets []float64) {
	stages := s.stages()
	last := stages - 1 - i%stages
	n := math.Floor(float64(stages)/float64(last+1)) * math.Pow(s.Eta, float64(last))
	for k := range last + 1 {
		configs = append(configs, max(1, int(math.Trunc(n)*math.Pow(s.Eta, -float64(k)))))
	}
	return configs, s.Budgets()[stages-1-last:]
}

// Run is a configuration to be evaluated on a budget.
type Run struct {
	ID         int       // runs are numbered from 0 in the order of asking
	Config     int       // so are configurations
	Point      []float64 // one value per dimension: the index of a choice, or a number; NaN where a condition does not hold
	Budget     float64
	Previous   int // the run of this configuration on the budget before; -1: it is new
	Bracket    int
	Stage      int  // of the bracket
	ModelBased bool // drawn by the model, not uniformly
}

// Optimizer is a search.
type Optimizer struct {
	sampler  *sampler
	brackets []*bracket // not yet finished, in the order of their beginning
	begun    int        // brackets
	configs  int
	runs     int
	out      map[int]pending
}

// pending is a run that has not been told.
type pending struct {
	bracket *bracket
	config  *config
}

// New starts a search of a space.
func New(dimensions []Dimension, s Settings, src Source) (*Optimizer, error) {
	x := space(slices.Clone(dimensions))
	if len(x) == 0 {
		return nil, fmt.Errorf("bohb: the space has no dimensions")
	}
	if err := x.check(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return &Optimizer{sampler: newSampler(x, s, src), out: map[int]pending{}}, nil
}

// Ask gives the next run: of the oldest bracket that has one, else of a new bracket (HpBandSter, core/master.py, run). There is always one.
func (o *Optimizer) Ask() Run {
	o.brackets = slices.DeleteFunc(o.brackets, func(b *bracket) bool { return b.finished })
	for _, b := range o.brackets {
		if c := b.next(o); c != nil {
			return o.send(b, c)
		}
	}
	counts, budgets := o.sampler.Bracket(o.begun)
	b := &bracket{number: o.begun, counts: counts, budgets: budgets}
	o.begun++
	o.brackets = append(o.brackets, b)
	return o.send(b, b.next(o))
}

func (o *Optimizer) send(b *bracket, c *config) Run {
	r := Run{ID: o.runs, Config: c.id, Point: o.sampler.space.point(c.vector), Budget: b.budgets[b.stage], Previous: c.run, Bracket: b.number, Stage: b.stage,
		ModelBased: c.modelBased}
	o.runs++
	o.out[r.ID] = pending{b, c}
	c.run = r.ID
	return r
}

// Tell brings the loss of a run; one that is not finite says that it failed, and its configuration is never promoted. A run that is not out
// is an error.
func (o *Optimizer) Tell(id int, loss float64) error {
	p, ok := o.out[id]
	if !ok {
		return fmt.Errorf("bohb: run %d is not out", id)
	}
	delete(o.out, id)
	budget := p.bracket.budgets[p.bracket.stage]
	p.bracket.result(p.config, loss)
	o.sampler.observe(p.config.vector, budget, loss)
	return nil
}

// Observe tells the loss of a point that was not asked for: the model learns of it, brackets do not (HpBandSter's warm start).
func (o *Optimizer) Observe(point []float64, budget, loss float64) error {
	v, err := o.sampler.space.vector(point)
	if err != nil {
		return err
	}
	if !(budget > 0) || math.IsInf(budget, 0) {
		return fmt.Errorf("bohb: budget %v: must be positive and finite", budget)
	}
	o.sampler.observe(v, budget, loss)
	return nil
}
