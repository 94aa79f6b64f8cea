//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import (
	"slices"

	"netmend/engine"
)

// A tensor (N, C, spatial…) may be stored row-major or channels-last, as (N, spatial…, C). Where there is one channel or one place the two
// are the same.

// oneLayout says that row-major and channels-last are the same for a shape.
func oneLayout(shape []int) bool {
	return len(shape) < 3 || shape[1] == 1 || engine.Len(shape[2:]) == 1 || engine.Len(shape) == 0
}

// order lists the axes of a tensor of so many from the outermost to the innermost.
func order(n int, last bool) []int {
	axes := make([]int, 0, n)
	for i := range n {
		axes = append(axes, i)
	}
	if last && n > 2 {
		axes = append(append(axes[:1], axes[2:]...), 1)
	}
	return axes
}

// strides are those of a shape's axes in a layout.
func strides(shape []int, last bool) []int {
	s := make([]int, len(shape))
	n := 1
	axes := order(len(shape), last && !oneLayout(shape))
	for _, a := range slices.Backward(axes) {
		s[a] = n
		n *= shape[a]
	}
	return s
}

// stretch are the strides with which a tensor is read when it is broadcast: 0 along repeated axes.
func stretch(shape, stride, to []int) []int {
	out := make([]int, len(to))
	lead := len(to) - len(shape)
	for i := range shape {
		if shape[i] != 1 {
			out[lead+i] = stride[i]
		}
	}
	return out
}

// newWalk is a loop nest over the axes of a shape in an order, with the strides of its operands. Axes that all operands pass through
// evenly are merged.
func newWalk(shape, axes []int, start []int, stride ...[]int) *C.nm_walk {
	w := new(C.nm_walk)
	n := 0
	for i, s := range start {
		w.start[i] = C.int64_t(s)
	}
	for _, a := range axes {
		d := shape[a]
		if d == 1 {
			continue
		}
		even := n > 0
		for k := range stride {
			even = even && w.stride[k][n-1] == C.int64_t(stride[k][a]*d)
		}
		if !even {
			w.dim[n] = 1
			n++
		}
		w.dim[n-1] *= C.int64_t(d)
		for k := range stride {
			w.stride[k][n-1] = C.int64_t(stride[k][a])
		}
	}
	if n == 0 {
		w.dim[0] = 1
		n = 1
	}
	w.n = C.int32_t(n)
	return w
}
