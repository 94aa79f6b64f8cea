//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import (
	"slices"

	"netmend/engine"
)

// leastHalfProduct is the number of multiply-adds up to which a product stays in float32: rounding its factors would cost more than it saves.
const leastHalfProduct = 1 << 14

// matMul lists where the matrices of both stacks begin, the leading axes being broadcast.
func (c *compiler) matMul() {
	op, sa, sb, sy := c.op, c.shape(c.op.In[0]), c.shape(c.op.In[1]), c.shape(c.op.Out[0])
	a, b, y := c.plain(op.In[0]), c.plain(op.In[1]), c.newPlain(op.Out[0])
	lead := sy[:len(sy)-2]
	m, n, k := sy[len(sy)-2], sy[len(sy)-1], sa[len(sa)-1]
	if op.TransA {
		k = sa[len(sa)-2]
	}
	aAt, bAt := offsets(sa[:len(sa)-2], lead, m*k), offsets(sb[:len(sb)-2], lead, k*n)
	var bias *buffer
	if len(op.In) > 2 && op.In[2] != engine.None {
		bias = c.plain(op.In[2])
	}
	batch := len(aAt)
	// One matrix for a whole stack of row-major matrices is one product of all rows.
	if k > 0 && batch > 1 && !op.TransA && len(sa) == len(sy) && slices.Equal(sa[:len(lead)], lead) && engine.Len(sb[:len(sb)-2]) == 1 {
		m, batch = m*batch, 1
	}
	half := batch == 1 && m*n*k > leastHalfProduct && c.dev.half
	if half {
		a, b = c.operand(a), c.operand(b)
	}
	reads := list(a, b)
	if bias != nil {
		reads = append(reads, bias)
	}
	flag := func(b bool) C.int {
		if b {
			return 1
		}
		return 0
	}
	c.add(reads, list(y), nil, func() {
		C.nm_matmul(c.plan, flag(half), a.at, b.at, floats(bias), floats(y), C.int64_t(batch), &aAt[0], &bAt[0], C.int64_t(m), C.int64_t(n), C.int64_t(k),
			flag(op.TransA), flag(op.TransB))
	}).unit = n
}

// offsets lists where the matrices of a stack begin when it is broadcast to another; size is a matrix's number of elements.
func offsets(shape, to []int, size int) []C.int64_t {
	stride := stretch(shape, strides(shape, false), to)
	at := make([]C.int64_t, engine.Len(to))
	for i := range at {
		rest := i
		for axis := len(to) - 1; axis >= 0; axis-- {
			at[i] += C.int64_t(rest % to[axis] * stride[axis] * size)
			rest /= to[axis]
		}
	}
	return at
}

// window is the geometry of a convolution or a pool between an input and an output shape.
func window(x, y []int, win *engine.Window) *C.nm_window {
	w := &C.nm_window{n: C.int64_t(x[0]), ci: C.int64_t(x[1]), co: C.int64_t(y[1]), groups: C.int64_t(max(win.Group, 1))}
	if win.CountPad {
		w.count_pad = 1
	}
	fill := func(to *[maxSpatial]C.int64_t, from []int, missing int) {
		for i := range to {
			if k := i - (maxSpatial - len(from)); k >= 0 {
				to[i] = C.int64_t(from[k])
			} else {
				to[i] = C.int64_t(missing)
			}
		}
	}
	fill(&w.in, x[2:], 1)
	fill(&w.out, y[2:], 1)
	fill(&w.kernel, win.Kernel, 1)
	fill(&w.stride, win.Strides, 1)
	fill(&w.dilation, win.Dilations, 1)
	fill(&w.begin, win.PadBegin, 0)
	fill(&w.end, win.PadEnd, 0)
	return w
}

// factors says whether a convolution's factors are rounded to bfloat16 when so many channels are summed over. The processor multiplies them in
// pairs: where their number is odd, oneDNN pairs the last with an element of the neighbouring place, times zero, which is NaN where that
// is not finite.
func (c *compiler) factors(channels int) bool { return c.dev.half && channels%2 == 0 }

// factor is a tensor in channels-last order as a convolution reads it.
func (c *compiler) factor(id engine.TensorID, half bool) *buffer {
	if half {
		return c.operand(c.last(id))
	}
	return c.last(id)
}

// convolution is the geometry with factors rounded to bfloat16 or not.
func convolution(x, y []int, win *engine.Window, half bool) *C.nm_window {
	w := window(x, y, win)
	if half {
		w.half = 1
	}
	return w
}

func (c *compiler) conv() {
	op := c.op
	half := c.factors(c.shape(op.In[1])[1])
	x, w, y := c.factor(op.In[0], half), c.plain(op.In[1]), c.newLast(op.Out[0])
	reads := list(x, w)
	var bias *buffer
	if len(op.In) > 2 && op.In[2] != engine.None {
		bias = c.plain(op.In[2])
		reads = append(reads, bias)
	}
	win := convolution(c.shape(op.In[0]), c.shape(op.Out[0]), op.Window, half)
	if x.n == 0 { // no input channels: nothing but the bias
		c.zero(y)
		return
	}
	c.add(reads, list(y), nil, func() { C.nm_conv(c.plan, win, x.at, floats(w), floats(bias), floats(y)) }).unit = sample(c.shape(op.Out[0]))
}

// sample is the number of elements of one sample.
func sample(shape []int) int { return engine.Len(shape[1:]) }

func (c *compiler) zero(y *buffer) {
	c.add(nil, list(y), nil, func() { C.nm_fill(c.plan, y.at, size(y), 0) })
}

func (c *compiler) convDX() {
	op := c.op
	half := c.factors(c.shape(op.In[1])[0] / max(op.Window.Group, 1))
	dy, w, dx := c.factor(op.In[0], half), c.plain(op.In[1]), c.newLast(op.Out[0])
	win := convolution(op.Shape, c.shape(op.In[0]), op.Window, half)
	if dy.n == 0 {
		c.zero(dx)
		return
	}
	c.add(list(dy, w), list(dx), nil, func() { C.nm_conv_dx(c.plan, win, dy.at, floats(w), floats(dx)) }).unit = sample(op.Shape)
}

func (c *compiler) convDW() {
	op := c.op
	// With few channels, one or three of an image, oneDNN's bfloat16 kernel takes twice as long as ours in float32 at best.
	half := c.factors(c.shape(op.In[1])[1])
	dy, x, dw := c.factor(op.In[0], half), c.factor(op.In[1], half), c.newPlain(op.Out[0])
	writes := list(dw)
	var db *buffer
	if len(op.Out) > 1 {
		db = c.newPlain(op.Out[1])
		writes = append(writes, db)
	}
	if dy.n == 0 || x.n == 0 {
		for _, b := range writes {
			c.zero(b)
		}
		return
	}
	win := convolution(c.shape(op.In[1]), c.shape(op.In[0]), op.Window, half)
	c.add(list(dy, x), writes, nil, func() { C.nm_conv_dw(c.plan, win, dy.at, x.at, floats(dw), floats(db)) })
}

func (c *compiler) pool() {
	op := c.op
	x, y := c.last(op.In[0]), c.newLast(op.Out[0])
	win := window(c.shape(op.In[0]), c.shape(op.Out[0]), op.Window)
	c.add(list(x), list(y), nil, func() {
		if op.Kind == engine.MaxPool {
			C.nm_max_pool(c.plan, win, floats(x), floats(y))
		} else {
			C.nm_avg_pool(c.plan, win, floats(x), floats(y))
		}
	})
}

func (c *compiler) maxPoolGrad() {
	op := c.op
	win := window(c.shape(op.In[1]), c.shape(op.In[0]), op.Window)
	out, relu := op.Out[0], C.int(0)
	if i := c.reluBehind(); i >= 0 && C.nm_pools_squares(win) != 0 {
		out, relu = c.f.Ops[i].Out[0], 1
		c.done[i] = true
	}
	dy, x, y, dx := c.last(op.In[0]), c.last(op.In[1]), c.last(op.In[2]), c.newLast(out)
	c.add(list(dy, x, y), list(dx), nil, func() { C.nm_max_pool_grad(c.plan, win, relu, floats(dy), floats(x), floats(y), floats(dx)) })
}

// reluBehind is the op that differentiates the ReLU whose result the pool took, where it is the only reader of the pool's gradient; or -1.
func (c *compiler) reluBehind() int {
	dx := c.op.Out[0]
	if len(c.uses[dx]) != 1 || slices.Contains(c.f.Outputs, dx) {
		return -1
	}
	i := c.uses[dx][0]
	if u := &c.f.Ops[i]; u.Kind == engine.UnaryGrad && u.Fn == engine.Relu && u.In[0] == dx && u.In[1] == c.op.In[1] {
		return i
	}
	return -1
}

func (c *compiler) avgPoolGrad() {
	op := c.op
	dy, dx := c.last(op.In[0]), c.newLast(op.Out[0])
	win := window(op.Shape, c.shape(op.In[0]), op.Window)
	c.add(list(dy), list(dx), nil, func() { C.nm_avg_pool_grad(c.plan, win, floats(dy), floats(dx)) })
}

// channels is a tensor's shape as (rows, channels).
func channels(shape []int) (rows, n C.int64_t) {
	return C.int64_t(engine.Len(shape) / max(1, shape[1])), C.int64_t(shape[1])
}

func (c *compiler) batchNorm() {
	op := c.op
	x, scale, bias := c.last(op.In[0]), c.plain(op.In[1]), c.plain(op.In[2])
	y, mean, variance := c.newLast(op.Out[0]), c.newPlain(op.Out[1]), c.newPlain(op.Out[2])
	rows, n := channels(c.shape(op.In[0]))
	c.add(list(x, scale, bias), list(y, mean, variance), nil, func() {
		C.nm_batch_norm(c.plan, C.double(op.Epsilon), floats(x), floats(scale), floats(bias), floats(y), floats(mean), floats(variance), rows, n)
	}).unit = int(n)
}

func (c *compiler) batchNormGrad() {
	op := c.op
	dy, x, scale, mean, variance := c.last(op.In[0]), c.last(op.In[1]), c.plain(op.In[2]), c.plain(op.In[3]), c.plain(op.In[4])
	dx, dscale, dbias := c.newLast(op.Out[0]), c.newPlain(op.Out[1]), c.newPlain(op.Out[2])
	rows, n := channels(c.shape(op.In[1]))
	c.add(list(dy, x, scale, mean, variance), list(dx, dscale, dbias), nil, func() {
		C.nm_batch_norm_grad(c.plan, C.double(op.Epsilon), floats(dy), floats(x), floats(scale), floats(mean), floats(variance), floats(dx),
			floats(dscale), floats(dbias), rows, n)
	})
}

func (c *compiler) batchNormInfer() {
	op := c.op
	x, scale, bias, mean, variance := c.last(op.In[0]), c.plain(op.In[1]), c.plain(op.In[2]), c.plain(op.In[3]), c.plain(op.In[4])
	y := c.newLast(op.Out[0])
	rows, n := channels(c.shape(op.In[0]))
	c.add(list(x, scale, bias, mean, variance), list(y), list(x), func() {
		C.nm_batch_norm_infer(c.plan, C.double(op.Epsilon), floats(x), floats(scale), floats(bias), floats(mean), floats(variance), floats(y), rows, n)
	}).unit = int(n)
}
