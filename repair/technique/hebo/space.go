// Package hebo is the optimiser HEBO: Cowen-Rivers et al., "HEBO: Pushing the limits of sample-efficient hyper-parameter optimisation", JAIR 74
// (2022), on spaces of real, logarithmic, integer and categorical parameters. It minimises. It follows the authors' package HEBO 0.3.5 (May
// 2023, the last one whose default surrogate is the paper's), file by file; names of files in comments are of its directory hebo/.
package hebo

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Kind is the scale of a parameter.
type Kind int

// The kinds: the types num, pow, int and cat of design_space/.
const (
	Real Kind = iota
	Log
	Integer
	Categorical
)

// Parameter is a dimension of the space.
type Parameter struct {
	Name     string
	Kind     Kind
	Min, Max float64 // both included; positive for Log, whole for Integer; not of Categorical
	Choices  int     // Categorical: values are 0 to Choices-1
}

// Point is a value per parameter, in the order of the space.
type Point []float64

func (p Parameter) check() error {
	switch {
	case p.Kind == Categorical && p.Choices < 1:
		return fmt.Errorf("hebo: parameter %q: %d choices: it needs one at least", p.Name, p.Choices)
	case p.Kind == Categorical:
		return nil
	case !(p.Min <= p.Max) || math.IsInf(p.Min, 0) || math.IsInf(p.Max, 0):
		return fmt.Errorf("hebo: parameter %q: bounds %v and %v: they need to be finite and in order", p.Name, p.Min, p.Max)
	case p.Kind == Log && p.Min <= 0:
		return fmt.Errorf("hebo: parameter %q: the lower bound %v of a logarithmic scale needs to be positive", p.Name, p.Min)
	case p.Kind == Integer && (p.Min != math.Trunc(p.Min) || p.Max != math.Trunc(p.Max)):
		return fmt.Errorf("hebo: parameter %q: the bounds %v and %v of an integer need to be whole", p.Name, p.Min, p.Max)
	case p.Kind < Real || p.Kind > Categorical:
		return fmt.Errorf("hebo: parameter %q: kind %d is not known", p.Name, p.Kind)
	}
	return nil
}

// transform takes a value to the scale on which it is searched and modelled: the decadic logarithm for Log (design_space/pow_param.py).
func (p Parameter) transform(v float64) float64 {
	if p.Kind == Log {
		return math.Log10(v)
	}
	return v
}

// inverse takes a transformed value back. Logarithms that rounding has put outside the bounds are set on them.
func (p Parameter) inverse(v float64) float64 {
	switch p.Kind {
	case Log:
		return min(p.Max, max(p.Min, math.Pow(10, v)))
	case Integer, Categorical:
		return math.RoundToEven(v)
	}
	return v
}

// bounds are the transformed bounds.
func (p Parameter) bounds() (lower, upper float64) {
	if p.Kind == Categorical {
		return 0, float64(p.Choices - 1)
	}
	return p.transform(p.Min), p.transform(p.Max)
}

func (p Parameter) discrete() bool { return p.Kind == Integer || p.Kind == Categorical }

// space is a space in the order in which the original has it: numeric parameters, then categorical ones (design_space/design_space.py, parse).
type space struct {
	params  []Parameter
	order   []int // params[i] is the caller's parameter order[i]
	numeric int
	lower   []float64 // transformed
	upper   []float64
}

func newSpace(params []Parameter) (*space, error) {
	s := &space{}
	if len(params) == 0 {
		return nil, fmt.Errorf("hebo: the space is empty: it needs one parameter at least")
	}
	for _, categorical := range []bool{false, true} {
		for i, p := range params {
			if err := p.check(); err != nil {
				return nil, err
			}
			if (p.Kind == Categorical) != categorical {
				continue
			}
			s.params, s.order = append(s.params, p), append(s.order, i)
			lower, upper := p.bounds()
			s.lower, s.upper = append(s.lower, lower), append(s.upper, upper)
			if !categorical {
				s.numeric++
			}
		}
	}
	return s, nil
}

// sizes are the numbers of choices of the categorical parameters.
func (s *space) sizes() []int {
	var out []int
	for _, p := range s.params[s.numeric:] {
		out = append(out, p.Choices)
	}
	return out
}

// transform takes a caller's point to transformed coordinates in the internal order.
func (s *space) transform(x Point) []float64 {
	out := make([]float64, len(s.params))
	for i, p := range s.params {
		out[i] = p.transform(x[s.order[i]])
	}
	return out
}

// point takes transformed coordinates to a caller's point.
func (s *space) point(x []float64) Point {
	out := make(Point, len(x))
	for i, p := range s.params {
		out[s.order[i]] = p.inverse(x[i])
	}
	return out
}

// quasi is a point of a Sobol sequence as quasi_sample of optimizers/hebo.py makes it: discrete coordinates are rounded, so that their first and
// last values are half as likely as the others.
func (s *space) quasi(seq *sobol) Point {
	u := seq.next()
	for i := range u {
		u[i] = u[i]*(s.upper[i]-s.lower[i]) + s.lower[i]
	}
	return s.point(u)
}

// uniform is a transformed point drawn uniformly (design_space/: sample).
func (s *space) uniform(rng *rand.Rand) []float64 {
	out := make([]float64, len(s.params))
	for i, p := range s.params {
		out[i] = sampleUniform(p, s.lower[i], s.upper[i], rng)
	}
	return out
}

func sampleUniform(p Parameter, lower, upper float64, rng *rand.Rand) float64 {
	if p.discrete() {
		return lower + float64(rng.Int64N(int64(upper-lower)+1))
	}
	return lower + rng.Float64()*(upper-lower)
}
