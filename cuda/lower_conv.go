//go:build linux && cgo

package cuda

import (
	"fmt"

	"netmend/cuda/cudnn"
	"netmend/cuda/driver"
	"netmend/engine"
)

// extent is nm_extent: z, y, x.
type extent [maxSpatial]int32

// maxSpatial is the largest number of spatial axes of a convolution or pool.
const maxSpatial = 3

func toExtent(v []int, missing int) extent {
	e := extent{int32(missing), int32(missing), int32(missing)}
	for i, d := range v {
		e[maxSpatial-len(v)+i] = int32(d)
	}
	return e
}

func (e extent) ints() [maxSpatial]int { return [...]int{int(e[0]), int(e[1]), int(e[2])} }

func (e extent) volume() int { return int(e[0]) * int(e[1]) * int(e[2]) }

func (e extent) divisors() (plane, yx, x divisor) {
	return divideBy(e.volume()), divideBy(int(e[1]) * int(e[2])), divideBy(int(e[2]))
}

// windowParams is nm_window.
type windowParams struct {
	n, ci, co, groups                             int32
	countPad                                      int32
	in, out, kernel, stride, dilation, begin, end extent
	outPlane, outYX, outX                         divisor
	inPlane, inYX, inX                            divisor
	taps, tapsYX, tapsX                           divisor
	strideZ, strideY, strideX                     divisor
}

// window is the geometry of a convolution or a pool between an input and an output shape.
func window(x, y []int, win *engine.Window) windowParams {
	w := windowParams{n: int32(x[0]), ci: int32(x[1]), co: int32(y[1]), groups: int32(max(win.Group, 1)), in: toExtent(x[2:], 1), out: toExtent(y[2:], 1),
		kernel: toExtent(win.Kernel, 1), stride: toExtent(win.Strides, 1), dilation: toExtent(win.Dilations, 1), begin: toExtent(win.PadBegin, 0),
		end: toExtent(win.PadEnd, 0)}
	if win.CountPad {
		w.countPad = 1
	}
	w.outPlane, w.outYX, w.outX = w.out.divisors()
	w.inPlane, w.inYX, w.inX = w.in.divisors()
	w.taps, w.tapsYX, w.tapsX = w.kernel.divisors()
	w.strideZ, w.strideY, w.strideX = divideBy(int(w.stride[0])), divideBy(int(w.stride[1])), divideBy(int(w.stride[2]))
	return w
}

type convParams struct {
	w             windowParams
	x, kernel, dy driver.Pointer
	y, db         driver.Pointer
	even          int32
	tilesN, tiles divisor
	epilogue      epilogueParams
	splits        splitParams
}

type depthwiseParams struct {
	w                    windowParams
	x, kernel, dy, bias  driver.Pointer
	y, db                driver.Pointer
	channels, multiplier divisor
}

// convolution is one of the three with what it reads and writes; those that it has nothing to do with are nil.
type convolution struct {
	w               windowParams
	x, kernel, dy   *buffer
	bias            *buffer
	y, db           *buffer
	cig, cog        int // channels of a group
	in, out, volume int // elements of the planes and of the kernel
}

func newConvolution(x, y []int, win *engine.Window) *convolution {
	v := &convolution{w: window(x, y, win)}
	v.cig, v.cog = x[1]/int(v.w.groups), y[1]/int(v.w.groups)
	v.in, v.out, v.volume = v.w.in.volume(), v.w.out.volume(), v.w.kernel.volume()
	return v
}

func (v *convolution) depthwise() bool { return v.cig == 1 && v.w.groups > 1 }

// tiledConv appends the product (m × k)·(k × n) of every group; even says that the result's columns lie in fours.
func (c *compiler) tiledConv(kernel string, v *convolution, m, n, k int, even bool, fusable bool) {
	t := c.tiled(m, n, k, int(v.w.groups))
	ends := &product{result: v.y, bias: v.bias}
	s := c.add(&step{kernel: fmt.Sprintf("%s_%s", kernel, t.name), grid: t.grid, block: line(threads), reads: there(v.x, v.kernel, v.dy, v.bias),
		writes: there(v.y, v.db, t.partial)})
	if fusable {
		s.product = ends
	}
	s.params = func() []any {
		p := convParams{w: v.w, x: addr(v.x), kernel: addr(v.kernel), dy: addr(v.dy), y: addr(ends.result), db: addr(v.db), tilesN: t.tilesN, tiles: t.tiles,
			epilogue: ends.epilogue(), splits: t.params(c)}
		if even {
			p.even = 1
		}
		return []any{p}
	}
}

func (c *compiler) depthwise(kernel string, v *convolution, grid driver.Dim, channels int) {
	c.add(&step{kernel: kernel, grid: grid, block: line(threads), reads: there(v.x, v.kernel, v.dy, v.bias), writes: there(v.y, v.db),
		params: func() []any {
			return []any{depthwiseParams{w: v.w, x: addr(v.x), kernel: addr(v.kernel), dy: addr(v.dy), bias: addr(v.bias), y: addr(v.y), db: addr(v.db),
				channels: divideBy(channels), multiplier: divideBy(v.cog)}}
		}})
}

func (c *compiler) conv() {
	op := c.op
	v := newConvolution(c.shape(op.In[0]), c.shape(op.Out[0]), op.Window)
	v.x, v.kernel, v.y = c.in(op.In[0]), c.in(op.In[1]), c.out(op.Out[0])
	if len(op.In) > 2 {
		v.bias = c.in(op.In[2])
	}
	if v.depthwise() {
		c.depthwise("depthwise_fwd", v, c.blocks(v.y.n), int(v.w.co))
		return
	}
	m, n, k := v.cog, int(v.w.n)*v.out, v.cig*v.volume
	if !c.convByCuDNN(v, m, n, k) {
		c.tiledConv("conv_fwd", v, m, n, k, v.out%4 == 0, true)
	}
}

func (c *compiler) convDX() {
	op := c.op
	v := newConvolution(op.Shape, c.shape(op.In[0]), op.Window)
	v.dy, v.kernel, v.y = c.in(op.In[0]), c.in(op.In[1]), c.out(op.Out[0])
	if v.depthwise() {
		c.depthwise("depthwise_dx", v, c.blocks(v.y.n), int(v.w.ci))
		return
	}
	m, n, k := v.cig, int(v.w.n)*v.in, v.cog*v.volume
	if !c.byCuDNN(cudnn.BackwardData, v.y, v.kernel, v.dy, v, m, n, k) {
		c.tiledConv("conv_dx", v, m, n, k, v.in%4 == 0, true)
	}
}

func (c *compiler) convDW() {
	op := c.op
	v := newConvolution(c.shape(op.In[1]), c.shape(op.In[0]), op.Window)
	v.dy, v.x, v.y = c.in(op.In[0]), c.in(op.In[1]), c.out(op.Out[0])
	columns := v.cig * v.volume
	if len(op.Out) > 1 {
		v.db = c.out(op.Out[1])
		columns++
	}
	if v.depthwise() {
		grid := line(v.volume)
		if v.db != nil {
			grid.X++
		}
		grid.Y = int(v.w.co)
		c.depthwise("depthwise_dw", v, grid, int(v.w.ci))
		return
	}
	m, n, k := v.cog, columns, int(v.w.n)*v.out
	if !c.convDWByCuDNN(v, m, n, k) {
		c.tiledConv("conv_dw", v, m, n, k, false, false)
	}
}
