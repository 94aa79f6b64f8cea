//go:build linux && cgo

package cuda

import (
	"netmend/cuda/driver"
	"netmend/engine"
)

type normParams struct {
	x, dy, scale, bias, mean, variance driver.Pointer
	y, meanOut, varianceOut            driver.Pointer
	partial, counters                  driver.Pointer
	n, channels, plane                 int32
	byPlane, byChannels                divisor
	epsilon                            float32
}

// norm is the geometry of a batch norm over x.
func (c *compiler) norm(x engine.TensorID) normParams {
	s := c.shape(x)
	plane := engine.Len(s[2:])
	return normParams{n: int32(s[0]), channels: int32(s[1]), plane: int32(plane), byPlane: divideBy(plane), byChannels: divideBy(s[1]),
		epsilon: float32(c.op.Epsilon)}
}

// statistics appends the launch that makes two sums for every channel; write gives its outputs to the parameters.
func (c *compiler) statistics(kernel string, p normParams, reads, writes []*buffer, set func(p *normParams)) {
	grid := line(int(p.channels))
	grid.Y = c.reduceSplits(grid.X, int(p.n)*int(p.plane), 1024)
	var partial *buffer
	if grid.Y > 1 {
		partial = c.scratch(2 * grid.X * grid.Y)
		writes = append(writes, partial)
	}
	c.add(&step{kernel: kernel, grid: grid, block: line(threads), reads: reads, writes: writes, params: func() []any {
		set(&p)
		p.partial, p.counters = addr(partial), addr(c.counters)
		return []any{p}
	}})
}

func (c *compiler) batchNorm() {
	op := c.op
	x, scale, bias := c.in(op.In[0]), c.in(op.In[1]), c.in(op.In[2])
	y, mean, variance := c.out(op.Out[0]), c.out(op.Out[1]), c.out(op.Out[2])
	p := c.norm(op.In[0])
	c.statistics("norm_statistics", p, list(x), list(mean, variance), func(p *normParams) { p.x, p.meanOut, p.varianceOut = x.at, mean.at, variance.at })
	if y.n > 0 {
		c.normApply(p, x, scale, bias, mean, variance, y)
	}
}

func (c *compiler) batchNormInfer() {
	op := c.op
	c.normApply(c.norm(op.In[0]), c.in(op.In[0]), c.in(op.In[1]), c.in(op.In[2]), c.in(op.In[3]), c.in(op.In[4]), c.out(op.Out[0]))
}

func (c *compiler) normApply(p normParams, x, scale, bias, mean, variance, y *buffer) {
	c.add(&step{kernel: "norm_apply", grid: c.blocks(y.n), block: line(threads), reads: list(x, scale, bias, mean, variance), writes: list(y),
		inPlace: list(x), takes: y, params: func() []any {
			p.x, p.scale, p.bias, p.mean, p.variance, p.y = x.at, scale.at, bias.at, mean.at, variance.at, y.at
			return []any{p}
		}})
}

func (c *compiler) batchNormGrad() {
	op := c.op
	dy, x, scale, mean, variance := c.in(op.In[0]), c.in(op.In[1]), c.in(op.In[2]), c.in(op.In[3]), c.in(op.In[4])
	dx, dscale, dbias := c.out(op.Out[0]), c.out(op.Out[1]), c.out(op.Out[2])
	p := c.norm(op.In[1])
	set := func(p *normParams) {
		p.x, p.dy, p.scale, p.mean, p.variance, p.meanOut, p.varianceOut = x.at, dy.at, scale.at, mean.at, variance.at, dscale.at, dbias.at
	}
	c.statistics("norm_grad_sums", p, list(dy, x, mean, variance), list(dscale, dbias), set)
	if dx.n == 0 {
		return
	}
	c.add(&step{kernel: "norm_grad_apply", grid: c.blocks(dx.n), block: line(threads), reads: list(dy, x, scale, mean, variance, dscale, dbias),
		writes: list(dx), inPlace: list(dy, x), takes: dx, params: func() []any {
			set(&p)
			p.y = dx.at
			return []any{p}
		}})
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
