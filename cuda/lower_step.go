//go:build linux && cgo

package cuda

import (
	"slices"

	"netmend/cuda/driver"
	"netmend/engine"
)

// load is a tensor that begin_step lays out: rows of the data set, or a feed.
type load struct {
	from   *buffer // nil: the record
	to     *buffer
	words  int
	rows   int
	offset int // in the record
}

// segment is nm_segment.
type segment struct {
	from, to            driver.Pointer
	words, rows         int32
	offset, first_block int32
}

// span is NM_SPAN.
const span = 1024

// segments are the tables of begin_step and end_step: what to copy, and by block which of it.
func (c *compiler) segments(loads []load) (segments table, blocks *buffer, grid int) {
	var owner []int32
	first := make([]int32, len(loads))
	for i, l := range loads {
		first[i] = int32(len(owner))
		for range ceilDiv(l.words*l.rows, span) {
			owner = append(owner, int32(i))
		}
	}
	tableOf(c, len(loads), func() []segment {
		list := make([]segment, len(loads))
		for i, l := range loads {
			list[i] = segment{addr(l.from), addr(l.to), int32(l.words), int32(l.rows), int32(l.offset), first[i]}
		}
		return list
	})
	segments = c.tables[len(c.tables)-1]
	return segments, tableOf(c, len(owner), func() []int32 { return owner }), len(owner)
}

func (c *compiler) batch() {
	op := c.op
	y := c.out(op.Out[0])
	if id := op.In[0]; c.p.Tensors[id].Len() > 0 && !slices.Contains(c.data, id) {
		c.data = append(c.data, id)
	}
	c.loads = append(c.loads, load{from: c.permanent[op.In[0]], to: y, words: engine.Len(c.shape(op.In[0])[1:]), rows: c.f.Batch})
}

// feed is a feed's value of the step.
func (c *compiler) feed(id engine.TensorID, offset int) *buffer {
	n := c.p.Tensors[id].Len()
	b := c.scratch(n)
	if n == 0 {
		return c.fix(0)
	}
	c.loads = append(c.loads, load{to: b, words: n, rows: 1, offset: offset})
	return b
}

// positionWords is the size of nm_position, with room for records that begin at a multiple of 16 bytes behind it.
const positionWords = 8

// maxRecords bounds the words of uploads, and of outputs, that lie on the device at once: 4 MiB each.
const maxRecords = 1 << 20

// maxSteps bounds the steps between two looks at the host.
const maxSteps = 4096

// begin makes the function's first launch, in the place reserved for it, and the memory of what the host sends and gets.
func (c *compiler) begin(fn *function, s *step) {
	read := 0
	for _, id := range c.f.Outputs {
		read += c.p.Tensors[id].Len()
	}
	fn.read = read
	fn.capacity = max(1, min(maxSteps, maxRecords/max(fn.record, read, 1)))
	*c.position = *c.fix(positionWords + fn.capacity*fn.record) // launches know it by its address
	fn.position = c.position
	fn.outputs = c.fix(fn.capacity * read)
	if len(c.loads) == 0 {
		c.steps = c.steps[1:]
		return
	}
	segments, blocks, grid := c.segments(c.loads)
	for _, l := range c.loads {
		s.writes = append(s.writes, l.to)
	}
	fn.data, fn.begin = c.data, segments
	s.grid, s.block, s.what = line(grid), line(threads), "the step's rows and feeds"
	position, record := fn.position, fn.record
	s.params = func() []any {
		return []any{position.at, position.at + 4*positionWords, int32(record), segments.b.at, blocks.at}
	}
}

// end makes the function's last launch.
func (c *compiler) end(fn *function) {
	var outputs []load
	var reads []*buffer
	at := 0
	for _, id := range c.f.Outputs {
		b, n := c.in(id), c.p.Tensors[id].Len()
		if n > 0 {
			outputs = append(outputs, load{from: b, words: n, rows: 1, offset: at})
			reads = append(reads, b)
		}
		at += n
	}
	var segments table
	var blocks *buffer
	grid := 1
	if len(outputs) > 0 {
		segments, blocks, grid = c.segments(outputs)
	}
	position, to, read := fn.position, fn.outputs, fn.read
	c.add(&step{kernel: "end_step", grid: line(grid), block: line(threads), reads: reads,
		params: func() []any { return []any{position.at, to.at, int32(read), addr(segments.b), addr(blocks)} }})
	c.steps[len(c.steps)-1].what = "the step's outputs"
}
