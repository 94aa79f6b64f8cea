package data

import (
	"fmt"
	"math"
)

// ScaleMode is how a Scaler is fit.
type ScaleMode string

// The modes of FitScaler; x is a raw element.
const (
	Standardize ScaleMode = "standardize" // (x - mean) / sd, sd over n (ddof 0) as sklearn's StandardScaler
	MinMax      ScaleMode = "minmax"      // (x - min) / (max - min), to 0..1 as sklearn's MinMaxScaler
	Divide      ScaleMode = "divide"      // x / By, e.g. 255 for images
)

// Scaling says how an input is scaled.
type Scaling struct {
	Mode       ScaleMode
	PerFeature bool    // statistics per element of a sample; false: one for the whole array
	By         float32 // the divisor of Divide; otherwise not used
}

// Scaler maps x to (x - Shift) / Scale. Both have length 1 (one pair for every element) or RowSize (one pair per feature).
type Scaler struct{ Shift, Scale []float32 }

// FitScaler fits a Scaler on the given rows of an array: the training rows, so that nothing of the other parts leaks into it.
// Non-finite elements are left out of the statistics. A feature that is constant over the rows gets scale 1, as in sklearn.
func FitScaler(a *Array, rows []int32, s Scaling) (Scaler, error) {
	if s.Mode == Divide {
		if s.By == 0 || math.IsNaN(float64(s.By)) || math.IsInf(float64(s.By), 0) {
			return Scaler{}, fmt.Errorf("data: %q: cannot divide by %v", a.Name, s.By)
		}
		return Scaler{Shift: []float32{0}, Scale: []float32{s.By}}, nil
	}
	if s.Mode != Standardize && s.Mode != MinMax {
		return Scaler{}, fmt.Errorf("data: unknown scaling %q; there are %q, %q and %q", s.Mode, Standardize, MinMax, Divide)
	}
	if len(rows) == 0 {
		return Scaler{}, fmt.Errorf("data: %q: there are no rows to fit the scaling on", a.Name)
	}
	f, size, groups := a.AsFloat().Float, a.RowSize(), 1
	if s.PerFeature {
		groups = size
	}
	out := Scaler{Shift: make([]float32, groups), Scale: make([]float32, groups)}
	stats := make([]moments, groups)
	for _, r := range rows {
		for j, v := range f[int(r)*size : (int(r)+1)*size] {
			stats[j%groups].add(float64(v))
		}
	}
	for g, m := range stats {
		shift, scale := m.mean, 0.0
		if m.n > 0 {
			scale = math.Sqrt(m.m2 / m.n)
		}
		if s.Mode == MinMax {
			shift, scale = m.lo, m.hi-m.lo
		}
		// A float32 column of equal values has no rounding error in Welford's mean, so exact zero is the test for constant.
		if float32(scale) == 0 {
			scale = 1
		}
		out.Shift[g], out.Scale[g] = float32(shift), float32(scale)
	}
	return out, nil
}

// Apply returns the scaled array, with float elements and the same shape; an array has the RowSize that the Scaler was fit on.
func (s Scaler) Apply(a *Array) (*Array, error) {
	n, size := len(s.Shift), a.RowSize()
	if n != len(s.Scale) || n != 1 && n != size {
		return nil, fmt.Errorf("data: %q: a scaling of %d features does not fit samples of %d", a.Name, n, size)
	}
	f := a.AsFloat().Float
	out := &Array{Name: a.Name, Shape: a.Shape, Float: make([]float32, len(f))}
	for i, v := range f {
		g := 0
		if n > 1 {
			g = i % n
		}
		out.Float[i] = (v - s.Shift[g]) / s.Scale[g]
	}
	return out, nil
}

// moments are running statistics by Welford's method (Welford 1962, "Note on a method for calculating corrected sums of squares
// and products"), which stays accurate where the mean is large against the deviation.
type moments struct{ n, mean, m2, lo, hi float64 }

func (m *moments) add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if m.n == 0 {
		m.lo, m.hi = v, v
	}
	m.n++
	d := v - m.mean
	m.mean += d / m.n
	m.m2 += d * (v - m.mean)
	m.lo, m.hi = min(m.lo, v), max(m.hi, v)
}
