//go:build linux && cgo

package cuda

import (
	"netmend/cuda/driver"
	"netmend/engine"
)

type normParams struct {
	x, dy, scale, mean, variance driver.Pointer
	meanOut, varianceOut         driver.Pointer
	factor, slope, shift         driver.Pointer
	partial, counters            driver.Pointer
	n, channels, plane           int32
	byPlane                      divisor
	epsilon                      float32
}

// statistics appends the launch that makes sums for every channel of x; set gives its inputs and outputs to the parameters.
func (c *compiler) statistics(kernel string, x engine.TensorID, reads, writes []*buffer, set func(p *normParams)) {
	s := c.shape(x)
	plane := engine.Len(s[2:])
	grid := line(s[1])
	grid.Y = c.reduceSplits(grid.X, s[0]*plane, 1024)
	var partial *buffer
	if grid.Y > 1 {
		partial = c.scratch(2 * grid.X * grid.Y)
		writes = append(writes, partial)
	}
	p := normParams{n: int32(s[0]), channels: int32(s[1]), plane: int32(plane), byPlane: divideBy(plane), epsilon: float32(c.op.Epsilon)}
	c.add(&step{kernel: kernel, grid: grid, block: line(threads), reads: reads, writes: writes, params: func() []any {
		set(&p)
		p.partial, p.counters = addr(partial), addr(c.counters)
		return []any{p}
	}})
}

// channel is a vector over the channels as an operand of a result of that shape.
func channel(b *buffer, shape []int) operand {
	if b.n == 1 {
		return operand{b: b, reading: readOne}
	}
	stride := make([]int, len(shape))
	stride[1] = 1
	if _, stride = squeeze(shape, stride); engine.Len(shape) == b.n {
		return operand{b: b}
	}
	return operand{b: b, reading: readStrided, stride: stride}
}

// middle appends an instruction whose result only the next one reads.
func (c *compiler) middle(i instruction, shape []int, in ...operand) operand {
	y := c.scratch(engine.Len(shape))
	c.instruct(i, y, shape, in...)
	return operand{b: y}
}

func (c *compiler) batchNorm() {
	op, shape := c.op, c.shape(c.op.In[0])
	x, scale, bias := c.in(op.In[0]), c.in(op.In[1]), c.in(op.In[2])
	mean, variance, factor := c.out(op.Out[1]), c.out(op.Out[2]), c.scratch(shape[1])
	c.statistics("norm_statistics", op.In[0], list(x, scale), list(mean, variance, factor), func(p *normParams) {
		p.x, p.scale, p.meanOut, p.varianceOut, p.factor = x.at, scale.at, mean.at, variance.at, factor.at
	})
	y := c.out(op.Out[0])
	if y.n == 0 {
		return
	}
	centred := c.middle(instruction{f: codeSub}, shape, operand{b: x}, channel(mean, shape))
	c.instruct(instruction{f: codeFMA}, y, shape, centred, channel(factor, shape), channel(bias, shape))
}

func (c *compiler) batchNormInfer() {
	op, shape := c.op, c.shape(c.op.In[0])
	of := func(i int) operand { return channel(c.in(op.In[i]), shape) }
	centred := c.middle(instruction{f: codeSub}, shape, operand{b: c.in(op.In[0])}, of(3))
	unit := c.middle(instruction{f: codeNormalize, alpha: float32(op.Epsilon)}, shape, centred, of(4))
	c.instruct(instruction{f: codeFMA}, c.out(op.Out[0]), shape, unit, of(1), of(2))
}

func (c *compiler) batchNormGrad() {
	op, shape := c.op, c.shape(c.op.In[1])
	dy, x, scale, mean, variance := c.in(op.In[0]), c.in(op.In[1]), c.in(op.In[2]), c.in(op.In[3]), c.in(op.In[4])
	dx, dscale, dbias := c.out(op.Out[0]), c.out(op.Out[1]), c.out(op.Out[2])
	factor, slope, shift := c.scratch(shape[1]), c.scratch(shape[1]), c.scratch(shape[1])
	c.statistics("norm_grad_sums", op.In[1], list(dy, x, scale, mean, variance), list(dscale, dbias, factor, slope, shift), func(p *normParams) {
		p.x, p.dy, p.scale, p.mean, p.variance, p.meanOut, p.varianceOut = x.at, dy.at, scale.at, mean.at, variance.at, dscale.at, dbias.at
		p.factor, p.slope, p.shift = factor.at, slope.at, shift.at
	})
	if dx.n == 0 {
		return
	}
	centred := c.middle(instruction{f: codeSub}, shape, operand{b: x}, channel(mean, shape))
	sloped := c.middle(instruction{f: codeFMA}, shape, centred, channel(slope, shape), channel(shift, shape))
	c.instruct(instruction{f: codeFMA}, dx, shape, operand{b: dy}, channel(factor, shape), sloped)
}

type poolParams struct {
	w        windowParams
	x, y, dy driver.Pointer
	out      driver.Pointer
	picks    driver.Pointer
}

func (c *compiler) poolStep(kernel string, w windowParams, x, y, dy, picks *buffer, out *buffer) {
	writes := list(out)
	reads := there(x, y, dy)
	to := picks
	if out == picks {
		to = nil
	} else if picks != nil {
		reads = append(reads, picks)
	}
	c.add(&step{kernel: kernel, grid: c.blocks(out.n), block: line(threads), reads: reads, writes: writes, params: func() []any {
		p := poolParams{w: w, x: addr(x), y: addr(y), dy: addr(dy), out: out.at, picks: addr(to)}
		if out == picks {
			p.out, p.picks = 0, picks.at
		}
		return []any{p}
	}})
}

func (c *compiler) pool() {
	op := c.op
	kernel := "max_pool"
	if op.Kind == engine.AvgPool {
		kernel = "avg_pool"
	}
	c.poolStep(kernel, window(c.shape(op.In[0]), c.shape(op.Out[0]), op.Window), c.in(op.In[0]), nil, nil, nil, c.out(op.Out[0]))
}

func (c *compiler) maxPoolGrad() {
	op := c.op
	w := window(c.shape(op.In[1]), c.shape(op.In[0]), op.Window)
	dy, x, y, dx := c.in(op.In[0]), c.in(op.In[1]), c.in(op.In[2]), c.out(op.Out[0])
	picks := c.scratch(y.n)
	c.poolStep("max_pool_picks", w, x, y, nil, picks, picks)
	c.poolStep("max_pool_grad", w, nil, nil, dy, picks, dx)
}

func (c *compiler) avgPoolGrad() {
	op := c.op
	c.poolStep("avg_pool_grad", window(op.Shape, c.shape(op.In[0]), op.Window), nil, nil, c.in(op.In[0]), nil, c.out(op.Out[0]))
}
