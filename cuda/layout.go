//go:build linux && cgo

package cuda

import (
	"math/bits"

	"netmend/cuda/driver"
	"netmend/engine"
)

// The structures here are parameters of kernels, laid out as in kernels/walk.cuh.

// maxAxes is NM_AXES: of a tensor whose axes are merged where all operands pass through them evenly.
const maxAxes = 8

// divisor divides by multiplication; see nm_divisor.
type divisor struct{ d, mul, shift uint32 }

func divideBy(d int) divisor {
	n := uint64(max(d, 1))
	shift := bits.Len64(n - 1)
	return divisor{uint32(n), uint32((1<<32)*(1<<shift-n)/n + 1), uint32(shift)}
}

type walk struct {
	n, axes int32
	size    [maxAxes]divisor
}

type strideParams struct {
	start int32
	by    [maxAxes]int32
}

// merged is a shape, innermost axis first, without axes of one element and with those merged that every operand passes through evenly.
type merged struct {
	shape  []int
	stride [][]int // by operand, by axis
}

func merge(shape []int, stride ...[]int) merged {
	m := merged{stride: make([][]int, len(stride))}
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] == 1 {
			continue
		}
		last := len(m.shape) - 1
		even := last >= 0
		for k := range stride {
			even = even && stride[k][i] == m.stride[k][last]*m.shape[last]
		}
		if even {
			m.shape[last] *= shape[i]
			continue
		}
		m.shape = append(m.shape, shape[i])
		for k := range stride {
			m.stride[k] = append(m.stride[k], stride[k][i])
		}
	}
	if len(m.shape) == 0 {
		m.shape = []int{1}
		for k := range stride {
			m.stride[k] = []int{0}
		}
	}
	return m
}

// walk is the shape as kernels take it.
func (m *merged) walk() walk {
	w := walk{n: int32(engine.Len(m.shape)), axes: int32(len(m.shape))}
	for i, d := range m.shape {
		w.size[i] = divideBy(d)
	}
	return w
}

// operand is the strides of operand k, starting at an element.
func (m *merged) operand(k, start int) strideParams {
	s := strideParams{start: int32(start)}
	for i, d := range m.stride[k] {
		s.by[i] = int32(d)
	}
	return s
}

// lanes describes an axis of a tensor as outer × length × inner.
func lanes(shape []int, axis int) (outer, length, inner int) {
	return engine.Len(shape[:axis]), shape[axis], engine.Len(shape[axis+1:])
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func line(n int) driver.Dim { return driver.Dim{X: n} }
