package reference

import (
	"math"

	"netmend/engine"
)

// channels walks over the planes of one channel of a tensor (N, C, …).
type channels struct{ n, c, plane int }

func newChannels(shape []int) channels { return channels{shape[0], shape[1], engine.Len(shape[2:])} }

// sums calls f for every channel.
func (ch channels) run(f func(c int)) {
	parallel(ch.c, ch.n*ch.plane*6, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			f(c)
		}
	})
}

// each calls f with the position of every element of a channel, in row-major order.
func (ch channels) each(c int, f func(at int)) {
	for n := range ch.n {
		from := (n*ch.c + c) * ch.plane
		for at := from; at < from+ch.plane; at++ {
			f(at)
		}
	}
}

// batchNorm: two passes for the statistics, as a difference of large sums would lose them.
func (e *executable[T]) batchNorm(op *engine.Op) kernel {
	x, scale, bias := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.In[2]]
	y, mean, variance := e.floats[op.Out[0]], e.floats[op.Out[1]], e.floats[op.Out[2]]
	ch := newChannels(e.p.Tensors[op.In[0]].Shape)
	count := float64(ch.n * ch.plane)
	return func(*step) {
		ch.run(func(c int) {
			sum, square := 0.0, 0.0
			ch.each(c, func(at int) { sum += float64(x[at]) })
			m := sum / count
			ch.each(c, func(at int) { d := float64(x[at]) - m; square += d * d })
			v := square / count
			k, b := float64(scale[c])/math.Sqrt(v+op.Epsilon), float64(bias[c])
			ch.each(c, func(at int) { y[at] = T((float64(x[at])-m)*k + b) })
			mean[c], variance[c] = T(m), T(v)
		})
	}
}

// batchNormGrad, with x̂ = (x-mean)/sqrt(var+ε) and M elements per channel: dbias = Σdy, dscale = Σdy·x̂,
// dx = scale/sqrt(var+ε)·(dy - dbias/M - x̂·dscale/M). Ioffe and Szegedy 2015, section 3, simplified.
func (e *executable[T]) batchNormGrad(op *engine.Op) kernel {
	dy, x, scale, mean, variance := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.In[2]], e.floats[op.In[3]], e.floats[op.In[4]]
	dx, dscale, dbias := e.floats[op.Out[0]], e.floats[op.Out[1]], e.floats[op.Out[2]]
	ch := newChannels(e.p.Tensors[op.In[1]].Shape)
	count := float64(ch.n * ch.plane)
	return func(*step) {
		ch.run(func(c int) {
			m, inv := float64(mean[c]), 1/math.Sqrt(float64(variance[c])+op.Epsilon)
			ds, db := 0.0, 0.0
			ch.each(c, func(at int) {
				db += float64(dy[at])
				ds += float64(dy[at]) * (float64(x[at]) - m) * inv
			})
			k := float64(scale[c]) * inv
			ch.each(c, func(at int) {
				dx[at] = T(k * (float64(dy[at]) - db/count - (float64(x[at])-m)*inv*ds/count))
			})
			dscale[c], dbias[c] = T(ds), T(db)
		})
	}
}

func (e *executable[T]) batchNormInfer(op *engine.Op) kernel {
	x, scale, bias, mean, variance := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.In[2]], e.floats[op.In[3]], e.floats[op.In[4]]
	y := e.floats[op.Out[0]]
	ch := newChannels(e.p.Tensors[op.In[0]].Shape)
	return func(*step) {
		ch.run(func(c int) {
			m, k, b := float64(mean[c]), float64(scale[c])/math.Sqrt(float64(variance[c])+op.Epsilon), float64(bias[c])
			ch.each(c, func(at int) { y[at] = T((float64(x[at])-m)*k + b) })
		})
	}
}
