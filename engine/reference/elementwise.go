package reference

import "netmend/engine"

// costCall is about what one elementwise function costs, for parallel.
const costCall = 10

func (e *executable[T]) unary(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.floats[op.Out[0]]
	f := value(op.Fn, op.Alpha, op.Beta)
	return func(*step) {
		parallel(len(y), costCall, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				y[i] = T(f(float64(x[i])))
			}
		})
	}
}

// unaryGrad: dx = dy·Fn'. Where Fn' is 0 because the function is flat (Relu, Clip, …) dx is 0 even if dy is not finite: nothing passes.
func (e *executable[T]) unaryGrad(op *engine.Op) kernel {
	dy, r, dx := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.Out[0]]
	f := slope(op.Fn, op.Alpha, op.Beta)
	gate := false
	switch op.Fn {
	case engine.Relu, engine.Clip, engine.HardSigmoid, engine.ThresholdedRelu, engine.HardSwish:
		gate = true
	}
	return func(*step) {
		parallel(len(dx), costCall, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				if d := f(float64(r[i])); gate && d == 0 {
					dx[i] = 0
				} else {
					dx[i] = T(float64(dy[i]) * d)
				}
			}
		})
	}
}

func (e *executable[T]) binary(op *engine.Op) kernel {
	a, b, y := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.Out[0]]
	shape := e.p.Tensors[op.Out[0]].Shape
	w := newWalk(shape, []int{0, 0, 0}, engine.BroadcastStrides(e.p.Tensors[op.In[0]].Shape, shape),
		engine.BroadcastStrides(e.p.Tensors[op.In[1]].Shape, shape), engine.Strides(shape))
	f := number[T](op.Fn)
	n, sa, sb := w.inner(), w.step(0), w.step(1)
	pass := func(_ int, pos []int) {
		i, j := pos[0], pos[1]
		for k := range y[pos[2] : pos[2]+n] {
			y[pos[2]+k] = f(a[i], b[j])
			i += sa
			j += sb
		}
	}
	if w.rows() == 1 { // one long pass: split it
		return func(*step) {
			parallel(n, costCall, func(lo, hi int) {
				for k := lo; k < hi; k++ {
					y[k] = f(a[k*sa], b[k*sb])
				}
			})
		}
	}
	return func(*step) {
		parallel(w.rows(), n*costCall, func(lo, hi int) { w.each(lo, hi, pass) })
	}
}

func (e *executable[T]) where(op *engine.Op) kernel {
	c, a, b, y := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.In[2]], e.floats[op.Out[0]]
	shape := e.p.Tensors[op.Out[0]].Shape
	read := func(i int) []int { return engine.BroadcastStrides(e.p.Tensors[op.In[i]].Shape, shape) }
	w := newWalk(shape, []int{0, 0, 0, 0}, read(0), read(1), read(2), engine.Strides(shape))
	n := w.inner()
	return func(*step) {
		parallel(w.rows(), n*costCall, func(lo, hi int) {
			w.each(lo, hi, func(_ int, pos []int) {
				for k := range n {
					v := a[pos[1]+k*w.step(1)]
					if c[pos[0]+k*w.step(0)] == 0 {
						v = b[pos[2]+k*w.step(2)]
					}
					y[pos[3]+k] = v
				}
			})
		})
	}
}

// dropout: see engine.Dropout; four elements share a block of random words.
func (e *executable[T]) dropout(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.floats[op.Out[0]]
	if op.Rate >= 1 {
		return func(*step) { clear(y) }
	}
	threshold, keep := engine.DropThreshold(op.Rate), 1-op.Rate
	return func(s *step) {
		parallel((len(y)+3)/4, 4*costCall, func(lo, hi int) {
			for block := lo; block < hi; block++ {
				words := engine.Philox(s.seed, s.number, op.Stream, uint32(block))
				for i := 4 * block; i < min(4*block+4, len(y)); i++ {
					if words[i%4] < threshold {
						y[i] = 0
					} else {
						y[i] = T(float64(x[i]) / keep)
					}
				}
			}
		})
	}
}

func (e *executable[T]) lerp(op *engine.Op) kernel {
	s, x := e.floats[op.In[0]], e.floats[op.In[1]]
	return func(*step) {
		for i, v := range x {
			s[i] = T(op.Alpha*float64(s[i]) + op.Beta*float64(v))
		}
	}
}
