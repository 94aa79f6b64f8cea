package bohb

import (
	"fmt"
	"math"
)

// Kind is how a dimension is measured.
type Kind uint8

const (
	Choice  Kind = iota // unordered values, by index
	Linear              // real numbers
	Log                 // positive real numbers, on a logarithmic scale
	Integer             // whole numbers
)

// Dimension is one hyperparameter.
type Dimension struct {
	Kind     Kind
	Choices  int        // Choice: how many
	Min, Max float64    // other kinds: both included
	When     *Condition // nil: always active
}

// Condition makes a dimension active only where another one, a Choice, is active and has one of some values.
type Condition struct {
	Dimension int // index of the other one
	Choices   []int
}

// integerMargin is by how much the interval of an integer is wider on both sides than its values, so that rounding gives all of them the
// same share (ConfigSpace 0.6.1, UniformIntegerHyperparameter).
const integerMargin = 0.49999

// space works with vectors of one number per dimension: the index of a Choice, a place in [0, 1] of the other kinds, NaN where a condition
// does not hold. This is ConfigSpace's representation, which the densities are estimated in.
type space []Dimension

func (s space) check() error {
	for i, d := range s {
		switch {
		case d.Kind > Integer:
			return fmt.Errorf("bohb: dimension %d: kind %d is not known", i, d.Kind)
		case d.Kind == Choice && d.Choices < 1:
			return fmt.Errorf("bohb: dimension %d has %d choices: must be at least 1", i, d.Choices)
		case d.Kind != Choice && !(d.Min <= d.Max && !math.IsInf(d.Max-d.Min, 0)):
			return fmt.Errorf("bohb: dimension %d: bounds %v and %v: must be finite and in order", i, d.Min, d.Max)
		case d.Kind == Log && d.Min <= 0:
			return fmt.Errorf("bohb: dimension %d: bound %v of a logarithmic scale: must be positive", i, d.Min)
		}
		for at, hops := d.When, 0; at != nil; hops++ {
			if at.Dimension < 0 || at.Dimension >= len(s) || s[at.Dimension].Kind != Choice {
				return fmt.Errorf("bohb: dimension %d depends on dimension %d: must be a choice of this space", i, at.Dimension)
			}
			if hops > len(s) {
				return fmt.Errorf("bohb: dimension %d depends on itself", i)
			}
			at = s[at.Dimension].When
		}
	}
	return nil
}

// active says whether the condition of a dimension holds in a vector whose other entries are all set.
func (s space) active(i int, v []float64) bool {
	for d := s[i]; d.When != nil; d = s[d.When.Dimension] {
		holds := false
		for _, c := range d.When.Choices {
			holds = holds || v[d.When.Dimension] == float64(c)
		}
		if !holds {
			return false
		}
	}
	return true
}

// deactivate puts NaN where conditions do not hold.
func (s space) deactivate(v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		if out[i] = v[i]; !s.active(i, v) {
			out[i] = math.NaN()
		}
	}
	return out
}

// bounds are those of the interval [0, 1] in the dimension's own scale.
func (d Dimension) bounds() (lo, hi float64) {
	switch d.Kind {
	case Log:
		return math.Log(d.Min), math.Log(d.Max)
	case Integer:
		return d.Min - integerMargin, d.Max + integerMargin
	default:
		return d.Min, d.Max
	}
}

// value is what an entry of a vector stands for.
func (d Dimension) value(u float64) float64 {
	lo, hi := d.bounds()
	x := lo + u*(hi-lo)
	switch {
	case d.Kind == Choice || math.IsNaN(u):
		return u
	case d.Kind == Log:
		x = math.Exp(x)
	case d.Kind == Integer:
		x = math.RoundToEven(x)
	}
	return min(d.Max, max(d.Min, x))
}

// entry is the inverse of value.
func (d Dimension) entry(x float64) float64 {
	if d.Kind == Choice || math.IsNaN(x) {
		return x
	}
	lo, hi := d.bounds()
	if lo == hi {
		return 0.5
	}
	if d.Kind == Log {
		x = math.Log(x)
	}
	return min(1, max(0, (x-lo)/(hi-lo)))
}

// contains says whether a value is one of the dimension's.
func (d Dimension) contains(x float64) bool {
	if d.Kind == Choice {
		return x >= 0 && x < float64(d.Choices) && x == math.Trunc(x)
	}
	return x >= d.Min && x <= d.Max && (d.Kind != Integer || x == math.Trunc(x))
}

// sample draws a vector uniformly.
func (s space) sample(src Source) []float64 {
	v := make([]float64, len(s))
	for i, d := range s {
		switch d.Kind {
		case Choice:
			v[i] = float64(intN(src, d.Choices))
		case Integer:
			v[i] = d.entry(d.Min + math.Floor(src.Float64()*(d.Max-d.Min+1)))
		default:
			v[i] = src.Float64()
		}
	}
	return s.deactivate(v)
}

// point gives the values of a vector.
func (s space) point(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, d := range s {
		out[i] = d.value(v[i])
	}
	return out
}

// vector is the inverse of point.
func (s space) vector(p []float64) ([]float64, error) {
	if len(p) != len(s) {
		return nil, fmt.Errorf("bohb: a point of %d values in a space of %d dimensions", len(p), len(s))
	}
	v := make([]float64, len(p))
	for i, d := range s {
		v[i] = d.entry(p[i])
	}
	for i, d := range s {
		switch active := s.active(i, v); {
		case active && !d.contains(p[i]):
			return nil, fmt.Errorf("bohb: value %v is outside dimension %d", p[i], i)
		case !active && !math.IsNaN(p[i]):
			return nil, fmt.Errorf("bohb: dimension %d is not active and has value %v: must be NaN", i, p[i])
		}
	}
	return v, nil
}

// intN draws one of n.
func intN(src Source, n int) int { return min(n-1, int(src.Float64()*float64(n))) }
