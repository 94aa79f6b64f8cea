package reference

import (
	"math"
	"slices"

	"netmend/engine"
)

// batch copies the step's rows of a data column.
func (e *executable[T]) batch(op *engine.Op) kernel {
	t := &e.p.Tensors[op.In[0]]
	size := engine.Len(t.Shape[1:])
	if t.Type == engine.Int {
		return pick(e.ints[op.Out[0]], e.ints[op.In[0]], size)
	}
	return pick(e.floats[op.Out[0]], e.floats[op.In[0]], size)
}

func pick[E any](y, x []E, size int) kernel {
	return func(s *step) {
		for i, r := range s.rows {
			copy(y[i*size:(i+1)*size], x[int(r)*size:])
		}
	}
}

// move makes the kernels that put elements elsewhere and compute nothing: buf is the buffers of all tensors of their type.
func move[E int32 | float32 | float64](p *engine.Program, op *engine.Op, buf [][]E) kernel {
	x, y := buf[op.In[0]], buf[op.Out[0]]
	in, out := p.Tensors[op.In[0]].Shape, p.Tensors[op.Out[0]].Shape
	switch op.Kind {
	case engine.Reshape:
		if len(x) == 0 || &x[0] == &y[0] {
			return nil // plan gave both the same buffer
		}
		return func(*step) { copy(y, x) }
	case engine.Broadcast:
		return strided(y, x, newWalk(out, []int{0, 0}, engine.Strides(out), engine.BroadcastStrides(in, out)))
	case engine.Transpose:
		from := make([]int, len(out))
		for i, s := 0, engine.Strides(in); i < len(out); i++ {
			from[i] = s[op.Axes[i]]
		}
		return strided(y, x, newWalk(out, []int{0, 0}, engine.Strides(out), from))
	case engine.Slice:
		start, from := placed(in, op)
		return strided(y, x, newWalk(out, []int{0, start}, engine.Strides(out), from))
	case engine.Pad:
		start, to := placed(out, op)
		put := strided(y, x, newWalk(in, []int{start, 0}, to, engine.Strides(in)))
		return func(s *step) {
			for i := range y {
				y[i] = E(op.Alpha)
			}
			put(s)
		}
	case engine.Concat:
		return concat(p, op, buf)
	}
	return nil
}

// placed is where element 0 of the small tensor of a Slice or Pad lies in the big one, and how far apart its elements are there.
func placed(big []int, op *engine.Op) (start int, stride []int) {
	stride = engine.Strides(big)
	for i := range stride {
		start += op.Starts[i] * stride[i]
		stride[i] *= op.Steps[i]
	}
	return start, stride
}

// strided copies the walk's second operand x to its first y.
func strided[E any](y, x []E, w walk) kernel {
	n, ty, tx := w.inner(), w.step(0), w.step(1)
	if n == 0 {
		return func(*step) {}
	}
	return func(*step) {
		parallel(w.rows(), n*2, func(lo, hi int) {
			w.each(lo, hi, func(_ int, pos []int) {
				if ty == 1 && tx == 1 {
					copy(y[pos[0]:pos[0]+n], x[pos[1]:pos[1]+n])
					return
				}
				to, from := pos[0], pos[1]
				for range n {
					y[to] = x[from]
					to += ty
					from += tx
				}
			})
		})
	}
}

func concat[E any](p *engine.Program, op *engine.Op, buf [][]E) kernel {
	y := buf[op.Out[0]]
	outer, length, inner := lanes(p.Tensors[op.Out[0]].Shape, op.Axes[0])
	in := slices.Clone(op.In)
	return func(*step) {
		at := 0
		for _, id := range in {
			n := p.Tensors[id].Shape[op.Axes[0]] * inner
			for o := range outer {
				copy(y[o*length*inner+at:], buf[id][o*n:(o+1)*n])
			}
			at += n
		}
	}
}

// index resolves an index of Gather; -1 is out of range.
func index(i int32, length int) int {
	k := int(i)
	if k < 0 {
		k += length
	}
	if k < 0 || k >= length {
		return -1
	}
	return k
}

// gather copies the elements that the indices pick; missing stands for those out of range.
func gather[E any](p *engine.Program, op *engine.Op, y, x []E, indices []int32, missing E) kernel {
	outer, length, inner := lanes(p.Tensors[op.In[0]].Shape, op.Axes[0])
	return func(*step) {
		for o := range outer {
			for j, i := range indices {
				to := y[(o*len(indices)+j)*inner : (o*len(indices)+j+1)*inner]
				if k := index(i, length); k >= 0 {
					copy(to, x[(o*length+k)*inner:])
					continue
				}
				for c := range to {
					to[c] = missing
				}
			}
		}
	}
}

// gatherGrad adds every dy to the element that it was picked from, in the order of the indices.
func (e *executable[T]) gatherGrad(op *engine.Op) kernel {
	dy, indices, dx := e.floats[op.In[0]], e.ints[op.In[1]], e.floats[op.Out[0]]
	outer, length, inner := lanes(op.Shape, op.Axes[0])
	return func(*step) {
		clear(dx)
		parallel(outer, len(indices)*inner, func(lo, hi int) {
			for o := lo; o < hi; o++ {
				for j, i := range indices {
					k := index(i, length)
					if k < 0 {
						continue
					}
					from := dy[(o*len(indices)+j)*inner : (o*len(indices)+j+1)*inner]
					for c, v := range from {
						dx[(o*length+k)*inner+c] += v
					}
				}
			}
		})
	}
}

// cast: towards zero, saturating; NaN gives 0.
func (e *executable[T]) cast(op *engine.Op) kernel {
	in, out := op.In[0], op.Out[0]
	from, to := e.p.Tensors[in].Type, op.Type
	return func(*step) {
		switch {
		case from == engine.Int && to == engine.Int:
			copy(e.ints[out], e.ints[in])
		case from == engine.Int:
			convert(e.floats[out], e.ints[in])
		case to == engine.Int:
			for i, v := range e.floats[in] {
				e.ints[out][i] = toInt(float64(v))
			}
		default:
			copy(e.floats[out], e.floats[in])
		}
	}
}

func toInt(v float64) int32 {
	switch {
	case v != v:
		return 0
	case v >= math.MaxInt32:
		return math.MaxInt32
	case v <= math.MinInt32:
		return math.MinInt32
	}
	return int32(v)
}

func (e *executable[T]) oneHot(op *engine.Op) kernel {
	x, y := e.ints[op.In[0]], e.floats[op.Out[0]]
	classes := op.Shape[len(op.Shape)-1]
	return func(*step) {
		clear(y)
		for i, c := range x {
			if c >= 0 && int(c) < classes {
				y[i*classes+int(c)] = 1
			}
		}
	}
}
