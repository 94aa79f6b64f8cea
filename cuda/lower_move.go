//go:build linux && cgo

package cuda

import (
	"math"

	"netmend/cuda/driver"
	"netmend/engine"
)

type moveParams struct {
	walk     walk
	from, to strideParams
	x, y     driver.Pointer
}

func (c *compiler) concat() {
	op, out, axis := c.op, c.shape(c.op.Out[0]), c.op.Axes[0]
	y := c.out(op.Out[0])
	at, to := 0, engine.Strides(out)
	for _, id := range op.In {
		s, x := c.shape(id), c.in(id)
		if x.n > 0 {
			m := merge(s, engine.Strides(s), to)
			start := at * to[axis]
			c.add(&step{kernel: "scatter", grid: c.blocks(x.n), block: line(threads), reads: list(x), writes: list(y), params: func() []any {
				return []any{moveParams{m.walk(), m.operand(0, 0), m.operand(1, start), x.at, y.at}}
			}})
		}
		at += s[axis]
	}
}

type padParams struct {
	walk                      walk
	start, step, size, stride [maxAxes]int32
	x, y                      driver.Pointer
	value                     float32
}

func (c *compiler) pad() {
	op, in, out := c.op, c.shape(c.op.In[0]), c.shape(c.op.Out[0])
	x, y := c.in(op.In[0]), c.out(op.Out[0])
	p := padParams{value: float32(op.Alpha)}
	if c.p.Tensors[op.Out[0]].Type == engine.Int {
		p.value = math.Float32frombits(uint32(int32(op.Alpha)))
	}
	// Axes that are taken as they are go into one; the others cannot be merged.
	m := merged{}
	stride := engine.Strides(in)
	whole := false // the axis before was taken as it is
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] == 1 && in[i] == 1 {
			continue
		}
		now := out[i] == in[i] && op.Steps[i] == 1 && op.Starts[i] == 0
		n := len(m.shape)
		if now && whole {
			m.shape[n-1] *= out[i]
			p.size[n-1] *= int32(in[i])
			continue
		}
		whole = now
		m.shape = append(m.shape, out[i])
		p.start[n], p.step[n], p.size[n], p.stride[n] = int32(op.Starts[i]), int32(op.Steps[i]), int32(in[i]), int32(stride[i])
	}
	if len(m.shape) == 0 {
		m.shape = []int{1}
		p.step[0], p.size[0] = 1, 1
	}
	p.walk = m.walk()
	c.add(&step{kernel: "pad", grid: c.blocks(y.n), block: line(threads), reads: list(x), writes: list(y), params: func() []any {
		p.x, p.y = x.at, y.at
		return []any{p}
	}})
}

func (c *compiler) gather() {
	op := c.op
	x, i, y := c.in(op.In[0]), c.in(op.In[1]), c.out(op.Out[0])
	_, length, inner := lanes(c.shape(op.In[0]), op.Axes[0])
	missing := math.Float32bits(float32(math.NaN()))
	if c.p.Tensors[op.Out[0]].Type == engine.Int {
		missing = math.MaxUint32 // -1
	}
	c.add(&step{kernel: "gather", grid: c.blocks(y.n), block: line(threads), reads: list(x, i), writes: list(y), params: func() []any {
		return []any{x.at, i.at, y.at, uint32(y.n), int32(length), divideBy(inner), divideBy(i.n), missing}
	}})
}

// gatherColumns is the number of elements that a warp of gather_grad adds up at once.
const gatherColumns = 128

func (c *compiler) gatherGrad() {
	op := c.op
	dy, i, dx := c.in(op.In[0]), c.in(op.In[1]), c.out(op.Out[0])
	outer, length, inner := lanes(op.Shape, op.Axes[0])
	warps := outer * length * ceilDiv(inner, gatherColumns)
	c.add(&step{kernel: "gather_grad", grid: line(ceilDiv(warps*32, threads)), block: line(threads), reads: list(dy, i), writes: list(dx),
		params: func() []any {
			return []any{dy.at, i.at, dx.at, int32(outer), int32(length), int32(inner), int32(i.n)}
		}})
}
