package reference

import "netmend/engine"

// convolution is what Conv and its gradients have in common. They are matrix products whose operand is read through the window's taps
// (im2col, Chellapilla et al. 2006, without storing it). Padding is a zero that takes part in the product.
type convolution struct {
	*window
	n, ci, co, groups int
	cig, cog          int // channels per group
	kk, in, out       int // flat sizes of kernel, input and output planes
}

func newConvolution(x, w, y []int, win *engine.Window) *convolution {
	c := &convolution{window: newWindow(x[2:], y[2:], win), n: x[0], ci: x[1], co: w[0], groups: win.Group, cig: w[1], cog: w[0] / win.Group}
	c.kk, c.in, c.out = c.k.len(), c.window.in.len(), c.window.out.len()
	return c
}

// packTaps packs columns [lo, hi) of a plane, terms (channel, tap), in panels of nr.
func packTaps[T element](c *convolution, dst []float64, src []T, t *taps, in, out spatial, lo, hi, k0, k1 int) {
	n := k1 - k0
	var line [nc]float64
	for k := k0; k < k1; k++ {
		read(line[:], src[k/c.kk*in.len():], c.window, t, k%c.kk, lo, hi, in, out)
		for i, v := range line[:hi-lo] {
			dst[i/nr*nr*n+(k-k0)*nr+i%nr] = v
		}
	}
}

// conv: y[n,o,p] = Σ_{i,k} w[o,i,k]·x[n,i,p·stride+k·dilation-pad] + bias[o].
func (e *executable[T]) conv(op *engine.Op) kernel {
	x, w, y := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.Out[0]]
	c := newConvolution(e.p.Tensors[op.In[0]].Shape, e.p.Tensors[op.In[1]].Shape, e.p.Tensors[op.Out[0]].Shape, op.Window)
	var bias []T
	if len(op.In) > 2 && op.In[2] != engine.None {
		bias = e.floats[op.In[2]]
	}
	terms := c.cig * c.kk
	g := &gemm{batch: c.n * c.groups, m: c.cog, n: c.out, k: terms,
		packA: func(dst []float64, batch, lo, hi, k0, k1 int) {
			pack(dst, w[batch%c.groups*c.cog*terms:], terms, 1, mr, lo, hi, k0, k1)
		},
		packB: func(dst []float64, batch, lo, hi, k0, k1 int) {
			packTaps(c, dst, x[batch*c.cig*c.in:], &c.fwd, c.window.in, c.window.out, lo, hi, k0, k1)
		},
		store: func(batch, i0, i1, j0, j1 int, r []float64) {
			for i := i0; i < i1; i++ {
				add := 0.0
				if bias != nil {
					add = float64(bias[batch%c.groups*c.cog+i])
				}
				row := y[(batch*c.cog+i)*c.out:]
				for j := j0; j < j1; j++ {
					row[j] = T(r[(i-i0)*nc+j-j0] + add)
				}
			}
		}}
	return func(*step) { g.run() }
}

// convDX: dx[n,i,q] = Σ_{o,k} w[o,i,k]·dy[n,o,p] over those (k, p) with p·stride+k·dilation-pad = q.
func (e *executable[T]) convDX(op *engine.Op) kernel {
	dy, w, dx := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.Out[0]]
	c := newConvolution(op.Shape, e.p.Tensors[op.In[1]].Shape, e.p.Tensors[op.In[0]].Shape, op.Window)
	g := &gemm{batch: c.n * c.groups, m: c.cig, n: c.in, k: c.cog * c.kk,
		packA: func(dst []float64, batch, lo, hi, k0, k1 int) {
			n := k1 - k0
			for k := k0; k < k1; k++ {
				from := (batch%c.groups*c.cog+k/c.kk)*c.cig*c.kk + k%c.kk
				for i := lo; i < hi; i++ {
					dst[(i-lo)/mr*mr*n+(k-k0)*mr+(i-lo)%mr] = float64(w[from+i*c.kk])
				}
			}
		},
		packB: func(dst []float64, batch, lo, hi, k0, k1 int) {
			packTaps(c, dst, dy[batch*c.cog*c.out:], &c.bwd, c.window.out, c.window.in, lo, hi, k0, k1)
		},
		store: func(batch, i0, i1, j0, j1 int, r []float64) {
			for i := i0; i < i1; i++ {
				row := dx[(batch*c.cig+i)*c.in:]
				for j := j0; j < j1; j++ {
					row[j] = T(r[(i-i0)*nc+j-j0])
				}
			}
		}}
	return func(*step) { g.run() }
}

// convDW: dw[o,i,k] = Σ_{n,p} dy[n,o,p]·x[n,i,p·stride+k·dilation-pad]; db[o] = Σ_{n,p} dy[n,o,p].
func (e *executable[T]) convDW(op *engine.Op) kernel {
	dy, x, dw := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.Out[0]]
	c := newConvolution(e.p.Tensors[op.In[1]].Shape, op.Shape, e.p.Tensors[op.In[0]].Shape, op.Window)
	// planes calls f for the terms [k0, k1), which are (sample, place), sample by sample.
	planes := func(k0, k1 int, f func(sample, lo, hi, at int)) {
		for k := k0; k < k1; {
			lo := k % c.out
			hi := min(c.out, lo+k1-k)
			f(k/c.out, lo, hi, k-k0)
			k += hi - lo
		}
	}
	g := &gemm{batch: c.groups, m: c.cog, n: c.cig * c.kk, k: c.n * c.out,
		packA: func(dst []float64, batch, lo, hi, k0, k1 int) {
			n := k1 - k0
			planes(k0, k1, func(sample, from, to, at int) {
				for o := lo; o < hi; o++ {
					row := dy[(sample*c.co+batch*c.cog+o)*c.out:]
					for p := from; p < to; p++ {
						dst[(o-lo)/mr*mr*n+(at+p-from)*mr+(o-lo)%mr] = float64(row[p])
					}
				}
			})
		},
		packB: func(dst []float64, batch, lo, hi, k0, k1 int) {
			n := k1 - k0
			var line [kc]float64
			planes(k0, k1, func(sample, from, to, at int) {
				for j := lo; j < hi; j++ {
					src := x[(sample*c.ci+batch*c.cig+j/c.kk)*c.in:]
					read(line[:], src, c.window, &c.fwd, j%c.kk, from, to, c.window.in, c.window.out)
					for i, v := range line[:to-from] {
						dst[(j-lo)/nr*nr*n+(at+i)*nr+(j-lo)%nr] = v
					}
				}
			})
		},
		store: func(batch, i0, i1, j0, j1 int, r []float64) {
			for i := i0; i < i1; i++ {
				row := dw[(batch*c.cog+i)*c.cig*c.kk:]
				for j := j0; j < j1; j++ {
					row[j] = T(r[(i-i0)*nc+j-j0])
				}
			}
		}}
	if len(op.Out) == 1 {
		return func(*step) { g.run() }
	}
	db := e.floats[op.Out[1]]
	return func(*step) {
		g.run()
		parallel(c.co, c.n*c.out, func(lo, hi int) {
			for o := lo; o < hi; o++ {
				sum := 0.0
				for n := range c.n {
					for _, v := range dy[(n*c.co+o)*c.out : (n*c.co+o+1)*c.out] {
						sum += float64(v)
					}
				}
				db[o] = T(sum)
			}
		})
	}
}
