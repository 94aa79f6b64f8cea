//go:build linux && cgo

package cuda

import (
	"slices"

	"netmend/cuda/driver"
	"netmend/engine"
)

type reductionParams struct {
	kept, gone        walk
	keptAt, goneAt    strideParams
	x, y              driver.Pointer
	partial, counters driver.Pointer
	function          int32
	epilogue          epilogueParams
	before            chainParams
}

func (c *compiler) reduce() {
	op, shape := c.op, c.shape(c.op.In[0])
	var keptShape, keptStride, goneShape, goneStride []int
	for i, s := range engine.Strides(shape) {
		if slices.Contains(op.Axes, i) {
			goneShape, goneStride = append(goneShape, shape[i]), append(goneStride, s)
		} else {
			keptShape, keptStride = append(keptShape, shape[i]), append(keptStride, s)
		}
	}
	x, y, kept, gone := c.in(op.In[0]), c.out(op.Out[0]), merge(keptShape, keptStride), merge(goneShape, goneStride)
	if rows, columns := engine.Len(gone.shape), y.n; op.Fn == engine.Sum && len(kept.shape) == 1 && kept.stride[0][0] == 1 && len(gone.shape) == 1 &&
		gone.stride[0][0] == columns && c.byTheWay(x, y, rows, columns) {
		return
	}
	c.fold(foldCode[op.Fn], x, y, kept, gone)
}

// sumRows sums the columns of a matrix.
func (c *compiler) sumRows(x, y *buffer, rows, columns int) {
	c.fold(foldCode[engine.Sum], x, y, merge([]int{columns}, []int{1}), merge([]int{rows}, []int{columns}))
}

// fold chooses who adds up an output: a thread, a warp, a block, or eight warps for 32 outputs side by side; and over how many blocks long sums are split.
func (c *compiler) fold(function int32, x, y *buffer, kept, gone merged) {
	outputs, length := y.n, engine.Len(gone.shape)
	sideBySide := kept.stride[0][0] == 1 && kept.shape[0] >= 8 // outputs that are neighbours in memory
	ends := &product{result: y}
	s := &step{reads: list(x), writes: list(y), block: line(threads), product: ends}
	before := c.swallow(x)
	var m merged
	if before != nil {
		s.reads = nil
		for k := range before.in {
			s.reads = append(s.reads, before.in[k].b)
		}
		for k := range before.code {
			before.code[k].store = -1
		}
		m, _ = before.merged(x.n)
	}
	switch {
	case length <= 16 || sideBySide && length <= 64 && outputs >= 8*threads:
		s.kernel, s.grid = "reduce_threads", c.blocks(outputs)
	case sideBySide:
		s.kernel, s.grid, s.block = "reduce_columns", line(ceilDiv(outputs, 32)), driver.Dim{X: 32, Y: 8}
		s.grid.Y = c.reduceSplits(s.grid.X, length, 64)
	case length <= 1024 && outputs > 1:
		s.kernel, s.grid = "reduce_warps", line(ceilDiv(outputs*32, threads))
	default:
		s.kernel, s.grid = "reduce_blocks", line(outputs)
		s.grid.Y = c.reduceSplits(outputs, length, 2048)
	}
	var partial *buffer
	if s.grid.Y > 1 {
		partial = c.scratch(s.grid.Y * outputs)
		s.writes = append(s.writes, partial)
	}
	position := c.position
	s.params = func() []any {
		p := reductionParams{kept: kept.walk(), gone: gone.walk(), keptAt: kept.operand(0, 0), goneAt: gone.operand(0, 0), y: ends.result.at,
			partial: addr(partial), counters: addr(c.counters), function: function, epilogue: ends.epilogue()}
		if before == nil {
			p.x = x.at
		} else {
			p.before = before.params(&m, false, addr(position))
		}
		return []any{p}
	}
	c.add(s)
}

// reduceSplits is over how many blocks each of so many sums is spread, so that the device is full and every block has at least so much to add.
func (c *compiler) reduceSplits(sums, length, least int) int {
	if sums > maxCounters {
		return 1
	}
	return max(1, min(ceilDiv(4*c.dev.info.Multiprocessors, sums), length/least, 1024))
}

func (c *compiler) argMax() {
	op := c.op
	x, y := c.in(op.In[0]), c.out(op.Out[0])
	outer, length, inner := lanes(c.shape(op.In[0]), op.Axes[0])
	lanes := 1
	if inner == 1 && length > 8 {
		lanes = 32
	}
	c.add(&step{kernel: "arg_max", grid: line(ceilDiv(outer*inner*lanes, threads)), block: line(threads), reads: list(x), writes: list(y),
		params: func() []any { return []any{x.at, y.at, int32(outer), int32(length), int32(inner), int32(lanes)} }})
}

type softmaxParams struct {
	x, y, out                        driver.Pointer
	outer, length, inner, log, lanes int32
}

func (c *compiler) softmax() {
	c.softmaxOn("softmax", c.in(c.op.In[0]), nil, c.out(c.op.Out[0]), c.op.Kind == engine.LogSoftmax)
}

func (c *compiler) softmaxGrad() {
	c.softmaxOn("softmax_grad", c.in(c.op.In[0]), c.in(c.op.In[1]), c.out(c.op.Out[0]), c.op.Kind == engine.LogSoftmaxGrad)
}

func (c *compiler) softmaxOn(kernel string, x, y, out *buffer, log bool) {
	outer, length, inner := lanes(c.shape(c.op.In[0]), c.op.Axes[0])
	p := softmaxParams{outer: int32(outer), length: int32(length), inner: int32(inner), lanes: 1}
	if log {
		p.log = 1
	}
	switch {
	case inner > 1 || length <= 4:
	case length <= 2048:
		p.lanes = 32
	default:
		p.lanes = threads
	}
	c.add(&step{kernel: kernel, grid: line(ceilDiv(outer*inner*int(p.lanes), threads)), block: line(threads), reads: there(x, y), writes: list(out),
		params: func() []any {
			p.x, p.y, p.out = x.at, addr(y), out.at
			return []any{p}
		}})
}

// momentsWords is the size of nm_moments.
const momentsWords = 6

func (c *compiler) moments() {
	x, y := c.in(c.op.In[0]), c.out(c.op.Out[0])
	grid := max(1, min(ceilDiv(x.n, 2048), 2*c.dev.info.Multiprocessors))
	partial := c.scratch(grid * momentsWords)
	c.add(&step{kernel: "moments", grid: line(grid), block: line(threads), reads: list(x), writes: list(y, partial),
		params: func() []any { return []any{x.at, y.at, uint32(x.n), partial.at, addr(c.counters)} }})
}
