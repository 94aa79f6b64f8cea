//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"netmend/cuda/driver"
	"netmend/engine"
)

// step is one launch of a step of a function, or what a library queues in its place.
type step struct {
	kernel        string
	grid, block   driver.Dim
	shared        int          // bytes of dynamic shared memory
	params        func() []any // known once the buffers have their places
	reads, writes []*buffer
	inPlace       []*buffer // inputs whose memory takes, one of writes, may take over: an element is read before it is written, by the same thread
	takes         *buffer
	queue         func(*driver.Stream) error // instead of a launch; kernel is its name then
	what          string                     // for messages
	chain         *chain
	product       *product
	dead          bool // nothing reads what it writes
}

// table is memory that the host fills once the buffers have their places: constants, and lists of addresses.
type table struct {
	b    *buffer
	fill func() []byte
}

// compiler turns a program into launches.
type compiler struct {
	dev       *device
	p         *engine.Program
	permanent []*buffer // by TensorID: state, data, constants; where data lies is known once it is loaded
	fixed     int       // bytes of the permanent memory so far
	tables    []table
	counters  *buffer // of nm_last: 0 between launches, so that all launches share them
	failed    error   // of lowering

	once []*step   // launches whose results are the same for all steps of all functions
	kept []*buffer // those results

	// Of the function being compiled:
	f        *engine.Func
	values   map[engine.TensorID]*buffer
	uses     []int // by TensorID: how often ops read it, under any shape, or the host does
	lastUse  []int // by TensorID: the last op that does
	maker    map[*buffer]*step
	steps    []*step
	barrier  int // number of steps of which the last may write state
	loads    []load
	data     []engine.TensorID // Data tensors that are read
	pending  updates
	position *buffer
	op       *engine.Op
	at       int                      // index of op
	same     map[engine.TensorID]bool // tensors that are the same in all steps
	hoisting bool                     // the op is one that makes such
}

// Compile prepares a program.
func (d *device) Compile(p *engine.Program) (engine.Executable, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	c := &compiler{dev: d, p: p}
	d.live.Add(1) // an executable's Close takes it back
	e, err := c.checked()
	if err != nil {
		d.live.Add(-1)
		return nil, d.explain(err)
	}
	return e, nil
}

// checked refuses what the device cannot run, and compiles the rest.
func (c *compiler) checked() (*executable, error) {
	d, p := c.dev, c.p
	if err := d.loss(); err != nil {
		return nil, err
	}
	for i := range p.Tensors { // in float64: a product of dimensions may exceed an int
		bytes := 4.0
		for _, n := range p.Tensors[i].Shape {
			bytes *= float64(n)
		}
		if bytes > float64(d.most()) {
			return nil, d.tooLarge(int64(min(bytes, math.MaxInt64/2)))
		}
	}
	for _, f := range p.Funcs {
		for i := range f.Ops {
			if err := d.Supports(p, &f.Ops[i]); err != nil {
				return nil, err
			}
		}
	}
	return c.compile()
}

func (d *device) tooLarge(needs int64) error {
	return fmt.Errorf("cuda: %w: needs %d MiB, no training may take more than %d MiB of this GPU; a smaller batch needs less",
		engine.ErrMemory, ceilMiB(needs), d.most()>>20)
}

// fix plans permanent memory of so many words.
func (c *compiler) fix(n int) *buffer {
	b := &buffer{n: n, Span: engine.Span{Offset: c.fixed}}
	c.fixed += bytesOf(b)
	return b
}

// table plans permanent memory of so many bytes that the host fills before the first step.
func (c *compiler) table(bytes int, fill func() []byte) *buffer {
	b := c.fix(ceilDiv(bytes, 4))
	c.tables = append(c.tables, table{b, fill})
	return b
}

// tableOf is a table of values, which make gives once the buffers have their places.
func tableOf[T any](c *compiler, n int, make func() []T) *buffer {
	var zero T
	return c.table(n*sizeOf(zero), func() []byte { return bytesOfSlice(make()) })
}

// maxCounters is the number of counters that launches share: a launch with more tiles or outputs than that is not split.
const maxCounters = 1 << 16

func (c *compiler) compile() (_ *executable, err error) {
	c.permanent = make([]*buffer, len(c.p.Tensors))
	columns, mapped := int64(0), int64(0) // bytes of the data set, and of the memory that holds it
	for i := range c.p.Tensors {
		t := &c.p.Tensors[i]
		switch t.Role {
		case engine.State:
			c.permanent[i] = c.fix(t.Len())
		case engine.Data:
			c.permanent[i] = &buffer{n: t.Len()}
			columns += int64(bytesOf(c.permanent[i]))
			mapped += granules(int64(bytesOf(c.permanent[i])))
		case engine.Constant:
			c.permanent[i] = c.table(4*t.Len(), func() []byte { return constant(t) })
		}
	}
	c.counters = c.fix(maxCounters)
	e := &executable{dev: c.dev, p: c.p, permanent: c.permanent, columns: make([]*column, len(c.p.Tensors))}
	lists := make([][]*step, len(c.p.Funcs))
	top := 0
	for i, f := range c.p.Funcs {
		fn := c.lower(f)
		e.funcs = append(e.funcs, fn)
		lists[i] = c.steps
		top = max(top, place(c.steps))
	}
	if c.failed != nil {
		return nil, c.failed
	}
	c.steps, c.f = c.once, &engine.Func{}
	c.finishChains()
	c.once = c.steps
	top = max(top, place(c.once))
	if needs := int64(c.fixed) + int64(top) + columns; needs > c.dev.most() || granules(int64(c.fixed))+granules(int64(top))+mapped > c.dev.usable() {
		return nil, c.dev.tooLarge(needs)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.free())
		}
	}()
	if err := e.allocate(int64(c.fixed), int64(top)); err != nil {
		return nil, err
	}
	c.settle(e, append(lists, c.once))
	for _, t := range c.tables {
		if err := e.stream.Upload(t.b.at, t.fill()); err != nil {
			return nil, err
		}
	}
	for i, list := range lists {
		if err := e.record(&e.funcs[i], list); err != nil {
			return nil, err
		}
	}
	var once function
	if err := e.list(&once, c.once); err != nil {
		return nil, err
	}
	if err := e.stream.Run(&once.launches); err != nil {
		return nil, err
	}
	return e, e.stream.Synchronize()
}

// settle gives all buffers their addresses.
func (c *compiler) settle(e *executable, lists [][]*step) {
	set := func(b *buffer) {
		if b == nil {
			return
		}
		if b.at = e.fixed + driver.Pointer(b.Offset); b.Temporary {
			b.at = e.arena + driver.Pointer(b.Offset)
		}
	}
	for i, b := range c.permanent {
		if c.p.Tensors[i].Role != engine.Data {
			set(b)
		}
	}
	for _, t := range c.tables {
		set(t.b)
	}
	set(c.counters)
	for _, b := range c.kept {
		set(b)
	}
	for i := range e.funcs {
		set(e.funcs[i].position)
		set(e.funcs[i].outputs)
	}
	for _, list := range lists {
		for _, s := range list {
			for _, b := range s.writes {
				set(b)
			}
		}
	}
}

// constant is a constant's elements as the device has them.
func constant(t *engine.Tensor) []byte {
	if t.Type == engine.Int {
		v := make([]int32, len(t.Value))
		for i, x := range t.Value {
			v[i] = int32(x)
		}
		return driver.Bytes(v)
	}
	v := make([]float32, len(t.Value))
	for i, x := range t.Value {
		v[i] = float32(x)
	}
	return driver.Bytes(v)
}

// lower makes the launches of a function.
func (c *compiler) lower(f *engine.Func) function {
	c.f, c.steps, c.barrier, c.loads, c.data, c.pending = f, nil, 0, nil, nil, updates{}
	c.values, c.maker, c.same = make(map[engine.TensorID]*buffer), make(map[*buffer]*step), make(map[engine.TensorID]bool)
	c.countUses()
	fn := function{batch: f.Batch}
	fn.record = f.Batch
	fn.feeds = c.p.Feeds(f)
	for _, id := range fn.feeds {
		c.values[id] = c.feed(id, fn.record)
		fn.record += c.p.Tensors[id].Len()
	}
	begin := c.reserve("begin_step")
	c.position = &buffer{}
	for i := range f.Ops {
		c.op, c.at = &f.Ops[i], i
		c.lowerOp()
	}
	c.op = &engine.Op{Label: f.Name}
	c.flush()
	c.begin(&fn, begin)
	c.finishChains()
	c.end(&fn)
	return fn
}

// countUses counts, for every tensor, its readers and those of its reshaped forms.
func (c *compiler) countUses() {
	f := c.f
	c.uses, c.lastUse = make([]int, len(c.p.Tensors)), make([]int, len(c.p.Tensors))
	for _, id := range f.Outputs {
		c.uses[id]++
		c.lastUse[id] = len(f.Ops)
	}
	for i := len(f.Ops) - 1; i >= 0; i-- {
		op := &f.Ops[i]
		for k, id := range op.In {
			switch {
			case id == engine.None || k == 1 && evenSlope(op):
			case op.Kind == engine.Reshape:
				c.uses[id] += c.uses[op.Out[0]]
				c.lastUse[id] = max(c.lastUse[id], i, c.lastUse[op.Out[0]])
			default:
				c.uses[id]++
				c.lastUse[id] = max(c.lastUse[id], i)
			}
		}
	}
}

func (c *compiler) lowerOp() {
	if c.pending.touches(c, c.op) {
		c.flush()
	}
	if c.empty() {
		return
	}
	if c.unchanging() {
		c.hoist()
		return
	}
	lowerings[c.op.Kind](c)
}

// maxHoisted bounds the elements of results that are computed once and kept.
const maxHoisted = 1 << 16

// unchanging says that the op computes the same in every step: from constants.
func (c *compiler) unchanging() bool {
	op := c.op
	if op.Kind == engine.Dropout {
		return false
	}
	for i, id := range op.In {
		if id != engine.None && c.p.Tensors[id].Role != engine.Constant && !c.same[id] && !(i == 1 && evenSlope(op)) {
			return false
		}
	}
	for _, id := range op.Out {
		if c.p.Tensors[id].Len() > maxHoisted {
			return false
		}
	}
	return true
}

// hoist puts the op's launches into the list of those that are run once.
func (c *compiler) hoist() {
	steps, barrier := c.steps, c.barrier
	c.steps, c.barrier, c.hoisting = c.once, 0, true
	lowerings[c.op.Kind](c)
	c.once = c.steps
	c.steps, c.barrier, c.hoisting = steps, barrier, false
	for _, id := range c.op.Out {
		c.same[id] = true
	}
}

// empty gives outputs without elements their buffers: there is nothing to compute. Reductions of nothing still have a result.
func (c *compiler) empty() bool {
	for _, id := range c.op.Out {
		if c.p.Tensors[id].Len() > 0 {
			return false
		}
	}
	for _, id := range c.op.Out {
		if c.p.Tensors[id].Role == engine.Temp {
			c.values[id] = c.fix(0)
		}
	}
	return true
}

func (c *compiler) shape(id engine.TensorID) []int { return c.p.Tensors[id].Shape }

// in is where a tensor lies; nil for one that is absent.
func (c *compiler) in(id engine.TensorID) *buffer {
	if id == engine.None {
		return nil
	}
	if b := c.values[id]; b != nil {
		return b
	}
	return c.permanent[id]
}

// out makes the output of an op; nil for one that is absent.
func (c *compiler) out(id engine.TensorID) *buffer {
	if id == engine.None {
		return nil
	}
	b := c.scratch(c.p.Tensors[id].Len())
	if c.hoisting {
		b = c.fix(b.n)
		c.kept = append(c.kept, b)
	}
	c.values[id] = b
	return b
}

// scratch is memory for one launch or a few.
func (c *compiler) scratch(n int) *buffer { return &buffer{n: n, Span: engine.Span{Temporary: true}} }

// there are the buffers of a list that are not absent.
func there(b ...*buffer) []*buffer {
	return slices.DeleteFunc(b, func(b *buffer) bool { return b == nil })
}

func list(b ...*buffer) []*buffer { return b }

// addr is where a buffer lies, 0 for none.
func addr(b *buffer) driver.Pointer {
	if b == nil {
		return 0
	}
	return b.at
}

// add appends a launch.
func (c *compiler) add(s *step) *step {
	s.what = fmt.Sprintf("%s %q", c.op.Kind, c.op.Label)
	c.steps = append(c.steps, s)
	for _, b := range s.writes {
		c.maker[b] = s
		if !b.Temporary && !c.hoisting {
			c.barrier = len(c.steps)
		}
	}
	return s
}

// reserve keeps a place for a launch that is known later.
func (c *compiler) reserve(kernel string) *step {
	s := &step{kernel: kernel}
	c.steps = append(c.steps, s)
	return s
}

const threads = 256

// blocks is a grid for n threads, at most as large as fills the device several times over: kernels go on in strides of the grid.
func (c *compiler) blocks(n int) driver.Dim {
	return line(max(1, min(ceilDiv(n, threads), 16*c.dev.info.Multiprocessors)))
}
