// Package data holds samples: it opens data sets, divides them into training, search and hold-out rows, orders batches
// from a seed, and fits arrays to what a model's inputs and outputs expect.
//
// The samples stay raw: what a file holds is what an Array holds. The preprocessing steps of a recipe (scaling, one-hot encoding)
// are applied by package train with the functions of this package. Arrays are not changed after they are opened: every function
// that transforms one returns a new one, which may share the samples of the old one where their values stay the same.
package data

import (
	"fmt"
	"math"
	"slices"
)

// Array is one named table of samples in row-major order. Shape[0] is the number of rows. Exactly one of Float and Int is set
// (both are empty when the array has no elements); its length is the product of Shape.
type Array struct {
	Name  string
	Shape []int
	Float []float32
	Int   []int32
}

// Rows is the number of samples, Shape[0]; 0 for an array without shape.
func (a *Array) Rows() int {
	if len(a.Shape) == 0 {
		return 0
	}
	return a.Shape[0]
}

// RowSize is the number of elements of one sample, the product of Shape[1:]; 1 where a sample is a scalar.
func (a *Array) RowSize() int {
	n := 1
	for _, d := range a.Shape[min(1, len(a.Shape)):] {
		n *= d
	}
	return n
}

// IsInt says whether the elements are integers (token ids, class labels) rather than floats.
func (a *Array) IsInt() bool { return a.Int != nil }

// Select returns a new array with the given rows, in the given order; a row may occur more than once.
// It panics when a row is out of range: rows come from Split, Join and BatchOrder, never from a user.
func (a *Array) Select(rows []int32) *Array {
	size := a.RowSize()
	out := &Array{Name: a.Name, Shape: slices.Clone(a.Shape)}
	if len(out.Shape) == 0 {
		out.Shape = []int{0}
	}
	out.Shape[0] = len(rows)
	if a.IsInt() {
		out.Int = selectRows(a.Int, rows, size)
	} else {
		out.Float = selectRows(a.Float, rows, size)
	}
	return out
}

func selectRows[T any](from []T, rows []int32, size int) []T {
	to := make([]T, 0, len(rows)*size)
	for _, r := range rows {
		to = append(to, from[int(r)*size:(int(r)+1)*size]...)
	}
	return to
}

// AsFloat returns the array with float elements: the same array where it has them already, otherwise a copy.
// Integers beyond 2^24 in magnitude are rounded to the nearest float32.
func (a *Array) AsFloat() *Array {
	if !a.IsInt() {
		return a
	}
	out := &Array{Name: a.Name, Shape: a.Shape, Float: make([]float32, len(a.Int))}
	for i, v := range a.Int {
		out.Float[i] = float32(v)
	}
	return out
}

// AsInt returns the array with integer elements: the same array where it has them already, otherwise a copy.
// It refuses an element that is not an integer of 32 bits, naming its row.
func (a *Array) AsInt() (*Array, error) {
	if a.IsInt() {
		return a, nil
	}
	out := &Array{Name: a.Name, Shape: a.Shape, Int: make([]int32, len(a.Float))}
	for i, v := range a.Float {
		// The bounds are exact in float32: -2^31 is an int32, 2^31 is not.
		if v != float32(math.Trunc(float64(v))) || !(v >= -1<<31 && v < 1<<31) {
			return nil, fmt.Errorf("data: %q: row %d holds %v, which is not a 32-bit integer", a.Name, i/max(1, a.RowSize()), v)
		}
		out.Int[i] = int32(v)
	}
	return out, nil
}

// Check reports an array whose shape and elements do not belong together. What Open returns passes it.
func (a *Array) Check() error {
	if len(a.Shape) == 0 {
		return fmt.Errorf("data: %q: the array has no rows axis", a.Name)
	}
	n, err := elements(a.Shape)
	if err != nil {
		return fmt.Errorf("data: %q: %w", a.Name, err)
	}
	if a.Int != nil && a.Float != nil {
		return fmt.Errorf("data: %q: both float and integer elements are set", a.Name)
	}
	if have := len(a.Int) + len(a.Float); have != n {
		return fmt.Errorf("data: %q: shape %v needs %d elements, there are %d", a.Name, a.Shape, n, have)
	}
	return nil
}

// elements is the product of the dimensions; an error where one is negative or the product overflows an int.
func elements(shape []int) (int, error) {
	n, zero := 1, false
	for axis, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("axis %d of shape %v is negative", axis, shape)
		case d == 0:
			zero = true
		case n > math.MaxInt/d:
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		default:
			n *= d
		}
	}
	if zero {
		return 0, nil
	}
	return n, nil
}

// Set is samples: all of its arrays have the same number of rows.
type Set struct {
	Inputs, Targets []Array
	// Classes are the names of the classes, indexed by label, where the source has them (folders, text labels), else nil.
	Classes []string
}

// Rows is the number of samples; 0 for the empty Set.
func (s *Set) Rows() int {
	for _, arrays := range [][]Array{s.Inputs, s.Targets} {
		if len(arrays) > 0 {
			return arrays[0].Rows()
		}
	}
	return 0
}

// Select returns a new Set with the given rows of every array, in the given order.
func (s *Set) Select(rows []int32) Set {
	out := Set{Classes: s.Classes}
	for i := range s.Inputs {
		out.Inputs = append(out.Inputs, *s.Inputs[i].Select(rows))
	}
	for i := range s.Targets {
		out.Targets = append(out.Targets, *s.Targets[i].Select(rows))
	}
	return out
}

// Check reports a set without inputs, with a malformed array, two arrays of one name, or arrays with different numbers of rows.
func (s *Set) Check() error {
	if len(s.Inputs) == 0 {
		return fmt.Errorf("data: there is no input array")
	}
	rows := s.Inputs[0].Rows()
	for _, arrays := range [][]Array{s.Inputs, s.Targets} {
		names := map[string]bool{}
		for i := range arrays {
			a := &arrays[i]
			if err := a.Check(); err != nil {
				return err
			}
			if a.Rows() != rows {
				return fmt.Errorf("data: %q has %d rows, %q has %d", a.Name, a.Rows(), s.Inputs[0].Name, rows)
			}
			if names[a.Name] {
				return fmt.Errorf("data: two arrays are named %q", a.Name)
			}
			names[a.Name] = true
		}
	}
	return nil
}

// Concat appends the rows of b to those of a. Arrays are matched by position; names, sample shapes and element types must agree.
func Concat(a, b Set) (Set, error) {
	out := Set{Classes: a.Classes}
	if !slices.Equal(a.Classes, b.Classes) {
		return Set{}, fmt.Errorf("data: the two parts have different classes: %q and %q", a.Classes, b.Classes)
	}
	var err error
	if out.Inputs, err = concatArrays(a.Inputs, b.Inputs); err != nil {
		return Set{}, err
	}
	if out.Targets, err = concatArrays(a.Targets, b.Targets); err != nil {
		return Set{}, err
	}
	return out, nil
}

func concatArrays(a, b []Array) ([]Array, error) {
	if len(a) != len(b) {
		return nil, fmt.Errorf("data: one part has %d arrays, the other %d", len(a), len(b))
	}
	out := make([]Array, len(a))
	for i := range a {
		x, y := &a[i], &b[i]
		switch {
		case x.Name != y.Name:
			return nil, fmt.Errorf("data: array %d is %q in one part and %q in the other", i, x.Name, y.Name)
		case len(x.Shape) != len(y.Shape) || !slices.Equal(x.Shape[1:], y.Shape[1:]):
			return nil, fmt.Errorf("data: %q: samples are %v in one part and %v in the other", x.Name, x.Shape[1:], y.Shape[1:])
		case x.IsInt() != y.IsInt() && x.Rows() > 0 && y.Rows() > 0:
			x, y = x.AsFloat(), y.AsFloat()
		}
		shape := slices.Clone(x.Shape)
		shape[0] += y.Rows()
		out[i] = Array{Name: x.Name, Shape: shape}
		if x.IsInt() || y.IsInt() {
			out[i].Int = slices.Concat(x.Int, y.Int)
		} else {
			out[i].Float = slices.Concat(x.Float, y.Float)
		}
	}
	return out, nil
}
