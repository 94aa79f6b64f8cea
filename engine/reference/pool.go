package reference

import (
	"math"

	"netmend/engine"
)

// pooling is a pool's geometry; planes are (sample, channel).
type pooling struct {
	*window
	planes  int
	divisor [maxSpatial][]float64 // AvgPool: the window's size along every axis, by output; their product is the divisor
}

func newPooling(x, y []int, win *engine.Window) *pooling {
	p := &pooling{window: newWindow(x[2:], y[2:], win), planes: x[0] * x[1]}
	stride, dilation := toSpatial(win.Strides, 1), toSpatial(win.Dilations, 1)
	begin, end := toSpatial(win.PadBegin, 0), toSpatial(win.PadEnd, 0)
	for ax := range maxSpatial {
		p.divisor[ax] = make([]float64, p.out[ax])
		for o := range p.out[ax] {
			for k := range p.k[ax] {
				i := o*stride[ax] + k*dilation[ax] - begin[ax]
				if i >= 0 && i < p.in[ax] || win.CountPad && i < p.in[ax]+end[ax] {
					p.divisor[ax][o]++
				}
			}
		}
	}
	return p
}

// each calls f for the outputs of a plane, and visit's g for the elements of that output's window, both in row-major order.
func (p *pooling) each(f func(o, z, y, x int)) {
	p.out.line(0, p.out.len(), func(from, to, z, y, x int) {
		for o := from; o < to; o++ {
			f(o, z, y, x+o-from)
		}
	})
}

// visit calls g with the positions of a window's elements until it returns false.
func (p *pooling) visit(z, y, x int, g func(at int) bool) {
	for kz := range p.k[0] {
		iz := int(p.fwd[0][kz*p.out[0]+z])
		for ky := 0; ky < p.k[1] && iz >= 0; ky++ {
			iy := int(p.fwd[1][ky*p.out[1]+y])
			for kx := 0; kx < p.k[2] && iy >= 0; kx++ {
				if ix := int(p.fwd[2][kx*p.out[2]+x]); ix >= 0 && !g((iz*p.in[1]+iy)*p.in[2]+ix) {
					return
				}
			}
		}
	}
}

// run calls f for every plane.
func (p *pooling) run(f func(plane int)) {
	parallel(p.planes, p.out.len()*p.k.len()*3, func(lo, hi int) {
		for plane := lo; plane < hi; plane++ {
			f(plane)
		}
	})
}

// maxPool: a window that lies in the padding altogether gives -Inf.
func (e *executable[T]) maxPool(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.floats[op.Out[0]]
	p := newPooling(e.p.Tensors[op.In[0]].Shape, e.p.Tensors[op.Out[0]].Shape, op.Window)
	in, out := p.in.len(), p.out.len()
	return func(*step) {
		p.run(func(plane int) {
			xs, ys := x[plane*in:(plane+1)*in], y[plane*out:(plane+1)*out]
			p.each(func(o, z, yy, xx int) {
				best := T(math.Inf(-1))
				p.visit(z, yy, xx, func(at int) bool { best = max(best, xs[at]); return true })
				ys[o] = best
			})
		})
	}
}

func (e *executable[T]) maxPoolGrad(op *engine.Op) kernel {
	dy, x, y, dx := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.In[2]], e.floats[op.Out[0]]
	p := newPooling(e.p.Tensors[op.In[1]].Shape, e.p.Tensors[op.In[2]].Shape, op.Window)
	in, out := p.in.len(), p.out.len()
	return func(*step) {
		p.run(func(plane int) {
			xs, ds := x[plane*in:(plane+1)*in], dx[plane*in:(plane+1)*in]
			clear(ds)
			p.each(func(o, z, yy, xx int) {
				best := y[plane*out+o]
				p.visit(z, yy, xx, func(at int) bool {
					if xs[at] != best && (xs[at] == xs[at] || best == best) {
						return true
					}
					ds[at] += dy[plane*out+o]
					return false
				})
			})
		})
	}
}

// avgPool: a window without an element that counts gives 0.
func (e *executable[T]) avgPool(op *engine.Op) kernel {
	x, y := e.floats[op.In[0]], e.floats[op.Out[0]]
	p := newPooling(e.p.Tensors[op.In[0]].Shape, e.p.Tensors[op.Out[0]].Shape, op.Window)
	in, out := p.in.len(), p.out.len()
	return func(*step) {
		p.run(func(plane int) {
			xs, ys := x[plane*in:(plane+1)*in], y[plane*out:(plane+1)*out]
			p.each(func(o, z, yy, xx int) {
				sum := 0.0
				p.visit(z, yy, xx, func(at int) bool { sum += float64(xs[at]); return true })
				ys[o] = T(sum / max(1, p.divisor[0][z]*p.divisor[1][yy]*p.divisor[2][xx]))
			})
		})
	}
}

func (e *executable[T]) avgPoolGrad(op *engine.Op) kernel {
	dy, dx := e.floats[op.In[0]], e.floats[op.Out[0]]
	p := newPooling(op.Shape, e.p.Tensors[op.In[0]].Shape, op.Window)
	in, out := p.in.len(), p.out.len()
	return func(*step) {
		p.run(func(plane int) {
			ds := dx[plane*in : (plane+1)*in]
			clear(ds)
			p.each(func(o, z, yy, xx int) {
				share := T(float64(dy[plane*out+o]) / max(1, p.divisor[0][z]*p.divisor[1][yy]*p.divisor[2][xx]))
				p.visit(z, yy, xx, func(at int) bool { ds[at] += share; return true })
			})
		})
	}
}
