package reference

import (
	"math"
	"slices"

	"netmend/engine"
)

// fold is a reduction: it starts from init and takes the elements in row-major order, in float64.
func fold(fn engine.Fn) (init float64, f func(acc, v float64) float64) {
	switch fn {
	case engine.Max:
		return math.Inf(-1), func(acc, v float64) float64 { return max(acc, v) }
	case engine.Min:
		return math.Inf(1), func(acc, v float64) float64 { return min(acc, v) }
	case engine.Prod:
		return 1, func(acc, v float64) float64 { return acc * v }
	}
	return 0, func(acc, v float64) float64 { return acc + v } // Sum, Mean
}

// reduce: one output is one fold over the reduced axes. No elements give 0 (Sum), 1 (Prod), NaN (Mean) and -Inf, +Inf (Max, Min).
func (e *executable[T]) reduce(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.floats[op.Out[0]]
	kept, reduced := splitAxes(e.p.Tensors[op.In[0]].Shape, op.Axes)
	init, f := fold(op.Fn)
	count := 1.0
	if op.Fn == engine.Mean {
		count = float64(reduced.rows() * reduced.inner())
	}
	n, step1 := reduced.inner(), reduced.step(0)
	return func(*step) {
		parallel(len(y), reduced.rows()*n*2, func(lo, hi int) {
			starts := outputStarts(&kept, lo, hi)
			for o := lo; o < hi; o++ {
				acc := init
				reduced.each(0, reduced.rows(), func(_ int, pos []int) {
					at := starts[o-lo] + pos[0]
					for range n {
						acc = f(acc, float64(x[at]))
						at += step1
					}
				})
				y[o] = T(acc / count)
			}
		})
	}
}

// splitAxes makes two walks over x: over the axes that stay, and over those that are reduced. Both give positions in x.
func splitAxes(shape, axes []int) (kept, reduced walk) {
	var ks, kt, rs, rt []int
	for i, s := range engine.Strides(shape) {
		if slices.Contains(axes, i) {
			rs, rt = append(rs, shape[i]), append(rt, s)
		} else {
			ks, kt = append(ks, shape[i]), append(kt, s)
		}
	}
	return newWalk(ks, []int{0}, kt), newWalk(rs, []int{0}, rt)
}

// outputStarts lists the positions of the walk's elements [lo, hi).
func outputStarts(w *walk, lo, hi int) []int {
	starts := make([]int, 0, hi-lo)
	n := w.inner()
	if n == 0 {
		return starts
	}
	w.each(lo/n, (hi+n-1)/n, func(row int, pos []int) {
		for k := max(lo-row*n, 0); k < min(hi-row*n, n); k++ {
			starts = append(starts, pos[0]+k*w.step(0))
		}
	})
	return starts
}

// lanes describes an axis of a tensor as outer × length × inner.
func lanes(shape []int, axis int) (outer, length, inner int) {
	return engine.Len(shape[:axis]), shape[axis], engine.Len(shape[axis+1:])
}

func (e *executable[T]) argMax(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.ints[op.Out[0]]
	outer, length, inner := lanes(e.p.Tensors[op.In[0]].Shape, op.Axes[0])
	return func(*step) {
		parallel(outer, length*inner*2, func(lo, hi int) {
			for o := lo; o < hi; o++ {
				for i := range inner {
					best := 0
					for k := 1; k < length; k++ {
						v, top := x[(o*length+k)*inner+i], x[(o*length+best)*inner+i]
						if v > top || v != v && top == top {
							best = k
						}
					}
					y[o*inner+i] = int32(best)
				}
			}
		})
	}
}

// moments: see engine.Moments; without a finite element all but the count are 0.
func (e *executable[T]) moments(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.floats[op.Out[0]]
	return func(*step) {
		var finite, sum, abs, square, largest, zeros float64
		for _, t := range x {
			v := float64(t)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			finite++
			sum += v
			abs += math.Abs(v)
			square += v * v
			largest = max(largest, math.Abs(v))
			if v == 0 {
				zeros++
			}
		}
		n := max(finite, 1)
		for i, v := range [engine.MomentsLen]float64{float64(len(x)) - finite, sum / n, abs / n, square / n, largest, zeros / n} {
			y[i] = T(v)
		}
	}
}
