package data

import (
	"fmt"
	"slices"
	"strings"
)

// Layout is how the samples of an array become what a model's input expects: the axes of a sample are permuted (Perm, where not nil: axis i
// of the result is axis Perm[i] of the data, axes counted without the rows axis), then the sample is reshaped to Shape.
type Layout struct {
	From, Shape []int
	Perm        []int
}

// Changes says whether applying the layout changes anything.
func (l Layout) Changes() bool { return l.Perm != nil || !slices.Equal(l.From, l.Shape) }

// String names the change for a report, e.g. "32x32x3 transposed to 3x32x32"; "28x28x1" where nothing changes.
func (l Layout) String() string {
	switch {
	case l.Perm != nil:
		return fmt.Sprintf("%s transposed to %s", dims(l.From), dims(l.Shape))
	case l.Changes():
		return fmt.Sprintf("%s reshaped to %s", dims(l.From), dims(l.Shape))
	}
	return dims(l.Shape)
}

// Fit gives an array the shape of a model's input, want; see FitLayout for what is accepted. want[0] is the batch axis and is not compared;
// -1 is an unknown dimension. The result shares the samples where their order stays the same. Element types are left alone.
func Fit(a Array, want []int) (Array, error) {
	l, err := FitLayout(&a, want)
	if err != nil {
		return Array{}, err
	}
	return *l.Apply(&a), nil
}

// FitLayout finds the way from the samples of a to the shape of a model's input. Accepted are, in this order:
//
//   - the same shape: never changed, whatever else would fit;
//   - axes of length 1 added or left out, where one way to do it fits (28x28 or 28x28x1 -> 1x28x28);
//   - channels moved last to first or first to last in samples of three or more axes, where exactly one of them fits (32x32x3 -> 3x32x32);
//   - flattening in row-major order (28x28 -> 784), and the way back where the model's sample has at most two axes longer than 1
//     (784 -> 1x28x28; but 3072 values could be 3x32x32 or 32x32x3, so that is refused).
//
// Anything else is an error that says which axis differs and by how much.
func FitLayout(a *Array, want []int) (Layout, error) {
	if len(a.Shape) == 0 || len(want) == 0 {
		return Layout{}, fmt.Errorf("data: input %q: shapes need a batch axis: %v in the data, %v in the model", a.Name, a.Shape, want)
	}
	have, want := a.Shape[1:], want[1:]
	l := Layout{From: have, Shape: slices.Clone(have)}
	if matches(have, want) {
		return l, nil
	}
	shapes := padded(have, want)
	if len(shapes) == 1 {
		l.Shape = shapes[0]
		return l, nil
	}
	if len(shapes) > 1 {
		return Layout{}, fmt.Errorf("data: input %q: samples of %s could become %s or %s in the model's %s: store them in the model's shape",
			a.Name, dims(have), dims(shapes[0]), dims(shapes[1]), dims(want))
	}
	if perm, err := channelMove(a.Name, have, want); perm != nil || err != nil {
		l.Perm, l.Shape = perm, permuted(have, perm)
		return l, err
	}
	n := a.RowSize()
	flat := []int{n}
	if shapes := padded(flat, want); longAxes(have) > 1 && longAxes(want) <= 1 && len(shapes) == 1 {
		l.Shape = shapes[0]
		return l, nil
	}
	if w, err := elements(want); err == nil && w == n && longAxes(have) <= 1 {
		if longAxes(want) > 2 {
			return Layout{}, fmt.Errorf("data: input %q: %d flat values may hold the axes of %s in any order: store the samples in the model's shape",
				a.Name, n, dims(want))
		}
		l.Shape = slices.Clone(want)
		return l, nil
	}
	return Layout{}, mismatch(a.Name, have, want)
}

// Apply returns the array in the new layout; a has the sample shape that the layout was found for.
func (l Layout) Apply(a *Array) *Array {
	out := &Array{Name: a.Name, Shape: append([]int{a.Rows()}, l.Shape...), Float: a.Float, Int: a.Int}
	if l.Perm != nil {
		if a.IsInt() {
			out.Int = transpose(a.Int, l.From, l.Perm)
		} else {
			out.Float = transpose(a.Float, l.From, l.Perm)
		}
	}
	return out
}

// transpose permutes the axes of every sample; shape is the sample's shape before.
func transpose[T any](from []T, shape, perm []int) []T {
	size := 1
	stride := make([]int, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i] = size
		size *= shape[i]
	}
	// index[j] is where element j of a permuted sample lies in the sample: walked once, used for every row.
	index := make([]int, 0, size)
	var walk func(axis, at int)
	walk = func(axis, at int) {
		if axis == len(perm) {
			index = append(index, at)
			return
		}
		for i := range shape[perm[axis]] {
			walk(axis+1, at+i*stride[perm[axis]])
		}
	}
	walk(0, 0)
	to := make([]T, 0, len(from))
	for at := 0; size > 0 && at < len(from); at += size {
		sample := from[at : at+size]
		for _, i := range index {
			to = append(to, sample[i])
		}
	}
	return to
}

// matches says whether the shapes agree; -1 in want agrees with anything.
func matches(have, want []int) bool {
	return slices.EqualFunc(have, want, func(h, w int) bool { return w < 0 || h == w })
}

// padded lists the shapes that fit want and have the axes of have longer than 1 in the same order, with axes of 1 elsewhere.
func padded(have, want []int) [][]int {
	long := slices.DeleteFunc(slices.Clone(have), func(d int) bool { return d == 1 })
	if len(long) > len(want) {
		return nil
	}
	var out [][]int
	shape := make([]int, len(want))
	var place func(axis, used int)
	place = func(axis, used int) {
		if len(out) > 1 {
			return // two are enough to say that it is ambiguous
		}
		if axis == len(want) {
			if used == len(long) {
				out = append(out, slices.Clone(shape))
			}
			return
		}
		if used < len(long) && (want[axis] < 0 || want[axis] == long[used]) {
			shape[axis] = long[used]
			place(axis+1, used+1)
		}
		if want[axis] < 0 || want[axis] == 1 {
			shape[axis] = 1
			place(axis+1, used)
		}
	}
	place(0, 0)
	return out
}

// channelMove finds the permutation that moves the channel axis last to first or first to last; nil where neither fits.
func channelMove(name string, have, want []int) ([]int, error) {
	rank := len(have)
	if rank < 3 || rank != len(want) {
		return nil, nil
	}
	toFirst, toLast := []int{rank - 1}, []int{}
	for i := range rank - 1 {
		toFirst, toLast = append(toFirst, i), append(toLast, i+1)
	}
	toLast = append(toLast, 0)
	first, last := matches(permuted(have, toFirst), want), matches(permuted(have, toLast), want)
	switch {
	case first && last:
		return nil, fmt.Errorf("data: input %q: the channels of samples of %s could be the first axis or the last, the model's %s fits both: store them in the model's shape",
			name, dims(have), dims(want))
	case first:
		return toFirst, nil
	case last:
		return toLast, nil
	}
	return nil, nil
}

func permuted(shape, perm []int) []int {
	out := make([]int, len(perm))
	for i, p := range perm {
		out[i] = shape[p]
	}
	return out
}

// longAxes counts the axes of a length other than 1, unknown ones included.
func longAxes(shape []int) int {
	n := 0
	for _, d := range shape {
		if d != 1 {
			n++
		}
	}
	return n
}

func mismatch(name string, have, want []int) error {
	if len(have) != len(want) {
		h, err := elements(have)
		if err != nil {
			return fmt.Errorf("data: input %q: %w", name, err)
		}
		if w, err := elements(want); err == nil {
			return fmt.Errorf("data: input %q: a sample has %d values (%s) in the data, %d (%s) in the model", name, h, dims(have), w, dims(want))
		}
		return fmt.Errorf("data: input %q: a sample has %d axes (%s) in the data, %d (%s) in the model",
			name, len(have), dims(have), len(want), dims(want))
	}
	var axes []string
	for i, w := range want {
		if w >= 0 && have[i] != w {
			axes = append(axes, fmt.Sprintf("axis %d is %d in the data, %d in the model", i+1, have[i], w))
		}
	}
	return fmt.Errorf("data: input %q: %s", name, strings.Join(axes, "; "))
}

// dims writes a sample's shape as 28x28x1, unknown dimensions as ?, a scalar's as "scalar".
func dims(shape []int) string {
	if len(shape) == 0 {
		return "scalar"
	}
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = fmt.Sprint(d)
		if d < 0 {
			parts[i] = "?"
		}
	}
	return strings.Join(parts, "x")
}

// Match pairs a model's inputs (or outputs) with arrays by name: the result holds, for every name, the index of its array.
// A single array belongs to a single name whatever either is called. Arrays left over are an error too: a feed that nothing
// reads is a mistake.
func Match(arrays []Array, names []string) ([]int, error) {
	have := make([]string, len(arrays))
	for i := range arrays {
		have[i] = arrays[i].Name
	}
	if len(arrays) == 1 && len(names) == 1 {
		return []int{0}, nil
	}
	out := make([]int, len(names))
	for i, name := range names {
		if out[i] = slices.Index(have, name); out[i] < 0 {
			return nil, fmt.Errorf("data: there is no array for %q of the model; the data has %q", name, have)
		}
	}
	for _, name := range have {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("data: array %q belongs to nothing in the model, which has %q", name, names)
		}
	}
	return out, nil
}
