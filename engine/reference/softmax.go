package reference

import (
	"math"

	"netmend/engine"
)

// alongAxis calls f for every line along op's axis with the line's first position and the stride of its elements.
func (e *executable[T]) alongAxis(op *engine.Op, f func(first, length, stride int)) kernel {
	outer, length, inner := lanes(e.p.Tensors[op.In[0]].Shape, op.Axes[0])
	return func(*step) {
		parallel(outer*inner, length*30, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				f(i/inner*length*inner+i%inner, length, inner)
			}
		})
	}
}

// softmax: with m the maximum and s = Σ exp(x-m), Softmax is exp(x-m)/s and LogSoftmax x-m-log(s).
func (e *executable[T]) softmax(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.floats[op.Out[0]]
	return e.alongAxis(op, func(first, length, stride int) {
		top := math.Inf(-1)
		for k := range length {
			top = max(top, float64(x[first+k*stride]))
		}
		sum := 0.0
		for k := range length {
			sum += math.Exp(float64(x[first+k*stride]) - top)
		}
		log := math.Log(sum)
		for k := range length {
			d := float64(x[first+k*stride]) - top
			if op.Kind == engine.Softmax {
				y[first+k*stride] = T(math.Exp(d) / sum)
			} else {
				y[first+k*stride] = T(d - log)
			}
		}
	})
}

// softmaxGrad: Softmax has dx = y·(dy - Σ dy·y), LogSoftmax dx = dy - exp(y)·Σ dy.
func (e *executable[T]) softmaxGrad(op *engine.Op) kernel {
	dy, y, dx := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.Out[0]]
	return e.alongAxis(op, func(first, length, stride int) {
		sum := 0.0
		for k := range length {
			d := float64(dy[first+k*stride])
			if op.Kind == engine.SoftmaxGrad {
				d *= float64(y[first+k*stride])
			}
			sum += d
		}
		for k := range length {
			at := first + k*stride
			d, v := float64(dy[at]), float64(y[at])
			if op.Kind == engine.SoftmaxGrad {
				dx[at] = T(v * (d - sum))
			} else {
				dx[at] = T(d - math.Exp(v)*sum)
			}
		}
	})
}
