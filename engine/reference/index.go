package reference

import (
	"netmend/engine"
	"slices"
)

// walk is a loop nest over a shape that carries one position per operand.
type walk struct {
	shape  []int
	stride [][]int // by operand, by axis
	start  []int   // position of the first element, by operand
}

// newWalk merges neighbouring axes that every operand passes through evenly, so that the innermost axis is as long as can be. There is
// always an innermost axis.
func newWalk(shape []int, start []int, stride ...[]int) walk {
	w := walk{start: start, stride: make([][]int, len(stride))}
	push := func(d int, at func(k int) int) {
		w.shape = append(w.shape, d)
		for k := range stride {
			w.stride[k] = append(w.stride[k], at(k))
		}
	}
	for i, d := range shape {
		if d == 1 {
			continue
		}
		last := len(w.shape) - 1
		even := last >= 0
		for k := range stride {
			even = even && w.stride[k][last] == stride[k][i]*d
		}
		if even {
			w.shape[last] *= d
			for k := range stride {
				w.stride[k][last] = stride[k][i]
			}
			continue
		}
		push(d, func(k int) int { return stride[k][i] })
	}
	if len(w.shape) == 0 {
		push(1, func(int) int { return 0 })
	}
	return w
}

// rows is the number of passes of the innermost axis, inner its length.
func (w *walk) rows() int  { return engine.Len(w.shape[:len(w.shape)-1]) }
func (w *walk) inner() int { return w.shape[len(w.shape)-1] }

// step is operand k's stride along the innermost axis.
func (w *walk) step(k int) int { return w.stride[k][len(w.shape)-1] }

// each calls f for the passes [lo, hi) in row-major order with every operand's position at the start of the pass. f must not keep pos.
func (w *walk) each(lo, hi int, f func(row int, pos []int)) {
	if lo >= hi {
		return
	}
	outer := len(w.shape) - 1
	index := make([]int, outer)
	pos := slices.Clone(w.start)
	for i, r := outer-1, lo; i >= 0; i-- {
		index[i] = r % w.shape[i]
		r /= w.shape[i]
		for k := range pos {
			pos[k] += index[i] * w.stride[k][i]
		}
	}
	for row := lo; row < hi; row++ {
		f(row, pos)
		for i := outer - 1; i >= 0; i-- {
			index[i]++
			for k := range pos {
				pos[k] += w.stride[k][i]
			}
			if index[i] < w.shape[i] {
				break
			}
			for k := range pos {
				pos[k] -= w.shape[i] * w.stride[k][i]
			}
			index[i] = 0
		}
	}
}
