package hebo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Options are the settings of an [Optimizer].
type Options struct {
	Surrogate Surrogate
	Seed      uint64
	// InitialDesign is the number of observations before the first model; zero: one more than there are parameters. Fewer than two count as two.
	InitialDesign int
}

// Optimizer minimises by ask and tell. What it asks is a function of the space, the options, and the order of the calls.
type Optimizer struct {
	space  *space
	o      Options
	rng    *rand.Rand
	design *sobol
	x      []Point
	y      []float64 // finite
}

// New makes an optimiser. The error names a parameter that makes no sense.
func New(params []Parameter, o Options) (*Optimizer, error) {
	s, err := newSpace(params)
	if err != nil {
		return nil, err
	}
	if o.InitialDesign == 0 {
		o.InitialDesign = 1 + len(params)
	}
	o.InitialDesign = max(2, o.InitialDesign)
	rng := rand.New(rand.NewPCG(o.Seed, 0x6865626f)) // the word "hebo"
	return &Optimizer{space: s, o: o, rng: rng, design: newScrambled(len(params), rng)}, nil
}

// Tell brings the value of a point, asked for or not. A value that is not finite is dropped, as the original does (observe).
func (o *Optimizer) Tell(x Point, y float64) error {
	if len(x) != len(o.space.params) {
		return fmt.Errorf("hebo: a point has %d values, and the space %d parameters", len(x), len(o.space.params))
	}
	for i, p := range o.space.params {
		v := x[o.space.order[i]]
		if math.IsNaN(v) || math.IsInf(v, 0) || p.Kind == Log && v <= 0 || p.Kind == Categorical && (v != math.Trunc(v) || v < 0 || v >= float64(p.Choices)) {
			return fmt.Errorf("hebo: parameter %q cannot be %v", p.Name, v)
		}
	}
	if !math.IsNaN(y) && !math.IsInf(y, 0) {
		o.x, o.y = append(o.x, slices.Clone(x)), append(o.y, y)
	}
	return nil
}

// Designing says whether the next points come from the initial design whatever n more values turn out to be.
func (o *Optimizer) Designing(n int) bool { return len(o.x)+n < o.o.InitialDesign }

// Ask gives n points to evaluate; modelled says that a surrogate chose them, and not the initial design.
func (o *Optimizer) Ask(n int) (points []Point, modelled bool) {
	if len(o.x) >= o.o.InitialDesign {
		if points := o.suggest(o.x, o.y, n); points != nil {
			return points, true
		}
	}
	for range n {
		points = append(points, o.space.quasi(o.design))
	}
	return points, false
}

// suggest is a batch from the Pareto set of the acquisition functions (optimizers/hebo.py, suggest); nil where no model can be fitted.
func (o *Optimizer) suggest(points []Point, y []float64, n int) []Point {
	x := make([][]float64, len(points))
	for i, p := range points {
		x[i] = o.space.transform(p)
	}
	m := o.fit(x, y)
	if m == nil {
		return nil
	}
	best := 0
	for i, v := range y {
		if v < y[best] {
			best = i
		}
	}
	tau, _ := m.predict(x[best])
	acquisition := mace{m, tau, kappa(len(points), n, len(o.space.params))}
	front := pareto(o.space, x[best], func(x []float64) objectives { return acquisition.eval(x, o.rng) }, o.rng)
	var candidates []Point
	for _, f := range front {
		if p := o.space.point(f); !contains(candidates, p) && !contains(points, p) {
			candidates = append(candidates, p)
		}
	}
	candidates = o.topUp(candidates, points, n)
	return o.choose(m, candidates, n)
}

func contains(all []Point, p Point) bool {
	return slices.ContainsFunc(all, func(q Point) bool { return slices.Equal(p, q) })
}

// fit fits the surrogate to transformed values, or to the values as they are where that fails.
func (o *Optimizer) fit(x [][]float64, y []float64) model {
	if transformed, err := transformOutput(y); err == nil {
		if m, err := fit(o.o.Surrogate, o.space, x, transformed, o.rng); err == nil {
			return m
		}
	}
	m, err := fit(o.o.Surrogate, o.space, x, y, o.rng)
	if err != nil {
		return nil
	}
	return m
}

// designTries bounds the attempts at points that were not evaluated: a space may have no others.
const designTries = 4

// topUp adds points of the initial design until there are n candidates, at last such as were evaluated before.
func (o *Optimizer) topUp(candidates, evaluated []Point, n int) []Point {
	for range designTries {
		for range n - len(candidates) {
			if p := o.space.quasi(o.design); !contains(evaluated, p) {
				candidates = append(candidates, p)
			}
		}
	}
	for len(candidates) < n {
		candidates = append(candidates, o.space.quasi(o.design))
	}
	return candidates
}

// choose draws n candidates; of three or more, one place is for the candidate with the largest standard deviation and one for that with the
// lowest mean.
func (o *Optimizer) choose(m model, candidates []Point, n int) []Point {
	chosen := o.rng.Perm(len(candidates))[:n]
	lowest, widest, low, wide := 0, 0, math.Inf(1), math.Inf(-1)
	for i, p := range candidates {
		mean, variance := m.predict(o.space.transform(p))
		if mean < low {
			low, lowest = mean, i
		}
		if variance > wide {
			wide, widest = variance, i
		}
	}
	if n > 2 && !slices.Contains(chosen, widest) {
		chosen[0] = widest
	}
	if n > 2 && !slices.Contains(chosen, lowest) {
		chosen[1] = lowest
	}
	out := make([]Point, n)
	for i, c := range chosen {
		out[i] = slices.Clone(candidates[c])
	}
	return out
}
