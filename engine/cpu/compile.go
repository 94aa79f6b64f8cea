//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"netmend/engine"
)

// value is where a tensor's elements are: row-major, channels-last, or both once somebody has asked for the other. Where the layouts are
// the same, so are the buffers.
type value struct{ plain, last *buffer }

// compiler turns a program into a plan.
type compiler struct {
	dev       *device
	p         *engine.Program
	plan      *C.nm_plan
	permanent []*buffer // by TensorID: state, data, feeds, constants
	lastData  []bool    // by TensorID: Data that is stored channels-last because convolutions read it
	needs     int64     // bytes that the tensors take

	// Of the function being compiled:
	f       *engine.Func
	values  map[engine.TensorID]*value
	done    map[int]bool              // ops that an earlier one computes along with itself
	halves  map[*buffer]*buffer       // what has been rounded to bfloat16 since it was written
	uses    map[engine.TensorID][]int // the ops that read a tensor
	lastUse map[engine.TensorID]int   // the last op that reads it, or reads it under another shape
	steps   []step
	op      *engine.Op
	at      int // index of op
}

// Compile prepares a program.
func (d *device) Compile(p *engine.Program) (engine.Executable, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	for _, f := range p.Funcs {
		for i := range f.Ops {
			if err := d.Supports(p, &f.Ops[i]); err != nil {
				return nil, err
			}
		}
	}
	c := &compiler{dev: d, p: p}
	if c.plan = C.nm_new(C.int(d.threads)); c.plan == nil {
		return nil, fmt.Errorf("cpu: %w: no %d threads to be had", engine.ErrMemory, d.threads)
	}
	e, err := c.compile()
	if err != nil {
		C.nm_free(c.plan)
		return nil, err
	}
	return e, nil
}

func (c *compiler) compile() (*executable, error) {
	for i := range c.p.Tensors { // in float64: a product of dimensions may exceed an int
		bytes := 4.0
		for _, d := range c.p.Tensors[i].Shape {
			bytes *= float64(d)
		}
		if bytes > float64(c.dev.limit) {
			return nil, c.tooLarge(int64(min(bytes, math.MaxInt64/2)))
		}
	}
	if err := c.makePermanent(); err != nil {
		return nil, err
	}
	lists := make([][]step, len(c.p.Funcs))
	owned := make([]map[engine.TensorID]*value, len(c.p.Funcs))
	top := 0
	for i, f := range c.p.Funcs {
		c.lower(f)
		lists[i], owned[i] = c.steps, c.values
		top = max(top, place(c.steps))
	}
	arena, err := c.alloc(top)
	if err != nil {
		return nil, err
	}
	e := &executable{p: c.p, plan: c.plan, permanent: c.permanent, lastData: c.lastData}
	for i, f := range c.p.Funcs {
		C.nm_function(c.plan, C.int64_t(f.Batch))
		lasting := false
		for k := range lists[i] {
			s := &lists[i][k]
			if !lasting && slices.ContainsFunc(s.writes, func(b *buffer) bool { return !b.Temporary }) {
				C.nm_lasting(c.plan)
				lasting = true
			}
			for _, b := range s.writes {
				if b.Temporary {
					b.at = unsafe.Add(arena, b.Offset)
				}
			}
			s.emitAll(c.plan)
			if why := C.nm_failed(c.plan); why != nil {
				if C.GoString(why) == "out of memory" {
					return nil, fmt.Errorf("cpu: %s: %w", s.what, engine.ErrMemory)
				}
				return nil, fmt.Errorf("cpu: %s: %s", s.what, C.GoString(why))
			}
		}
		if !lasting {
			C.nm_lasting(c.plan)
		}
		e.funcs = append(e.funcs, c.ends(f, owned[i]))
	}
	if have := int64(C.nm_allocated(c.plan)); have > c.dev.limit {
		return nil, c.tooLarge(have)
	}
	if e.stop = (*int32)(C.nm_alloc(c.plan, 4)); e.stop == nil {
		return nil, c.tooLarge(c.needs)
	}
	return e, nil
}

func (c *compiler) tooLarge(needs int64) error {
	return fmt.Errorf("cpu: %w: needs %d MiB, the limit is %d MiB; a smaller batch needs less", engine.ErrMemory, needs>>20, c.dev.limit>>20)
}

// alloc takes memory for so many bytes.
func (c *compiler) alloc(n int) (unsafe.Pointer, error) {
	c.needs += int64(n)
	if c.needs > c.dev.limit || n < 0 {
		return nil, c.tooLarge(c.needs)
	}
	at := C.nm_alloc(c.plan, C.size_t(max(n, 1)))
	if at == nil {
		return nil, c.tooLarge(c.needs)
	}
	return at, nil
}

// makePermanent allocates everything but temporaries.
func (c *compiler) makePermanent() error {
	c.permanent, c.lastData = make([]*buffer, len(c.p.Tensors)), make([]bool, len(c.p.Tensors))
	for _, f := range c.p.Funcs {
		c.findLastData(f)
	}
	for i := range c.p.Tensors {
		t := &c.p.Tensors[i]
		if t.Role == engine.Temp {
			continue
		}
		b := &buffer{n: t.Len()}
		if b.n > math.MaxInt/16 {
			return c.tooLarge(math.MaxInt64)
		}
		var err error
		if b.at, err = c.alloc(bytesOf(b)); err != nil {
			return fmt.Errorf("%w (%v %q of shape %v)", err, t.Role, t.Name, t.Shape)
		}
		c.permanent[i] = b
		for k, v := range t.Value {
			if t.Type == engine.Int {
				unsafe.Slice((*int32)(b.at), b.n)[k] = int32(v)
			} else {
				unsafe.Slice((*float32)(b.at), b.n)[k] = float32(v)
			}
		}
	}
	return nil
}

// findLastData marks the data whose batches go into convolutions: it is loaded channels-last.
func (c *compiler) findLastData(f *engine.Func) {
	from := make(map[engine.TensorID]engine.TensorID)
	for i := range f.Ops {
		op := &f.Ops[i]
		switch x := op.In[0]; op.Kind {
		case engine.Batch:
			if t := &c.p.Tensors[x]; t.Type == engine.Float && !oneLayout(append([]int{1}, t.Shape[1:]...)) {
				from[op.Out[0]] = x
			}
		case engine.Conv:
			if data, ok := from[x]; ok {
				c.lastData[data] = true
			}
		}
	}
}

// lower makes the steps of a function.
func (c *compiler) lower(f *engine.Func) {
	c.done = make(map[int]bool)
	c.f, c.values, c.steps, c.halves = f, make(map[engine.TensorID]*value), nil, make(map[*buffer]*buffer)
	c.uses, c.lastUse = make(map[engine.TensorID][]int), make(map[engine.TensorID]int)
	for _, id := range f.Outputs {
		c.lastUse[id] = len(f.Ops)
	}
	for i := len(f.Ops) - 1; i >= 0; i-- {
		op := &f.Ops[i]
		for _, id := range op.In {
			if id == engine.None {
				continue
			}
			c.uses[id] = append(c.uses[id], i)
			c.lastUse[id] = max(c.lastUse[id], i)
			if op.Kind == engine.Reshape || op.Kind == engine.Transpose {
				c.lastUse[id] = max(c.lastUse[id], c.lastUse[op.Out[0]])
			}
		}
	}
	var late []int
	for i := range f.Ops {
		if c.mayWait(i) {
			late = append(late, i)
		} else {
			c.lowerOp(i)
		}
	}
	for _, i := range late {
		c.lowerOp(i)
	}
	var outputs []*buffer
	for _, id := range f.Outputs {
		outputs = append(outputs, c.plain(id))
	}
	if !c.dev.apart {
		c.steps = fuse(c.steps, outputs)
	}
	for _, b := range outputs {
		b.Last = len(c.steps)
	}
}

func (c *compiler) lowerOp(i int) {
	c.op, c.at = &c.f.Ops[i], i
	if !c.done[i] && !c.empty() {
		lowerings[c.op.Kind](c)
	}
}

// mayWait says that an op may be run last: it writes running statistics, which nothing else in the function reads. A pass can be given up as long
// as nothing was written that outlives it.
func (c *compiler) mayWait(i int) bool {
	op := &c.f.Ops[i]
	return op.Kind == engine.Lerp && len(c.uses[op.In[0]]) == 1 && !slices.Contains(c.f.Outputs, op.In[0])
}

// empty gives outputs without elements their buffers: there is nothing to compute. Reductions of nothing still have a result.
func (c *compiler) empty() bool {
	for _, id := range c.op.Out {
		if c.p.Tensors[id].Len() > 0 {
			return false
		}
	}
	for _, id := range c.op.Out {
		c.newPlain(id)
	}
	return true
}

func (c *compiler) shape(id engine.TensorID) []int { return c.p.Tensors[id].Shape }

// find is the value of a tensor.
func (c *compiler) find(id engine.TensorID) *value {
	if v := c.values[id]; v != nil {
		return v
	}
	v := &value{}
	if b := c.permanent[id]; b != nil {
		v.plain = b
	} else { // an empty temporary whose op made no step
		v.plain = &buffer{n: c.p.Tensors[id].Len(), Span: engine.Span{Temporary: true}}
	}
	if oneLayout(c.shape(id)) {
		v.last = v.plain
	}
	c.values[id] = v
	return v
}

// isLast says that a tensor is there in channels-last order only.
func (c *compiler) isLast(id engine.TensorID) bool { return c.find(id).plain == nil }

// plain is a tensor in row-major order; last is one in channels-last order. A conversion is made once.
func (c *compiler) plain(id engine.TensorID) *buffer {
	v := c.find(id)
	if v.plain == nil {
		v.plain = c.transposed(v.last, c.shape(id), false)
	}
	return v.plain
}

func (c *compiler) last(id engine.TensorID) *buffer {
	v := c.find(id)
	if v.last == nil {
		v.last = c.transposed(v.plain, c.shape(id), true)
	}
	return v.last
}

func (c *compiler) in(id engine.TensorID, last bool) *buffer {
	if last {
		return c.last(id)
	}
	return c.plain(id)
}

// operand is a buffer as matrix products and convolutions read it: itself, or rounded to bfloat16. It is rounded once.
func (c *compiler) operand(x *buffer) *buffer {
	if !c.dev.half {
		return x
	}
	y := c.halves[x]
	if y == nil {
		y = &buffer{n: (x.n + 1) / 2, Span: engine.Span{Temporary: true}, half: true}
		c.halves[x] = y
		c.add(list(x), list(y), nil, func() { C.nm_to_bf16(c.plan, floats(x), y.at, size(x)) })
	}
	return y
}

func (c *compiler) transposed(x *buffer, shape []int, toLast bool) *buffer {
	y := &buffer{n: x.n, Span: engine.Span{Temporary: true}}
	rows, cols := shape[1], engine.Len(shape[2:])
	if !toLast {
		rows, cols = cols, rows
	}
	c.add([]*buffer{x}, []*buffer{y}, nil, func() {
		C.nm_transpose(c.plan, x.at, y.at, C.int64_t(shape[0]), C.int64_t(rows), C.int64_t(cols))
	})
	return y
}

// newPlain and newLast make the output of an op; out is whichever of the two is asked for.
func (c *compiler) newPlain(id engine.TensorID) *buffer { return c.out(id, false) }
func (c *compiler) newLast(id engine.TensorID) *buffer  { return c.out(id, true) }

func (c *compiler) out(id engine.TensorID, last bool) *buffer {
	b := &buffer{n: c.p.Tensors[id].Len(), Span: engine.Span{Temporary: true}}
	v := &value{}
	if last {
		v.last = b
	} else {
		v.plain = b
	}
	if oneLayout(c.shape(id)) {
		v.plain, v.last = b, b
	}
	c.values[id] = v
	return b
}

// scratch is memory for one step or a few.
func (c *compiler) scratch(n int) *buffer { return &buffer{n: n, Span: engine.Span{Temporary: true}} }

// add appends a step, which may still be told more of.
func (c *compiler) add(reads, writes, inPlace []*buffer, emit func()) *step {
	c.steps = append(c.steps, step{reads: reads, writes: writes, inPlace: inPlace, emit: emit, what: fmt.Sprintf("%s %q", c.op.Kind, c.op.Label)})
	return &c.steps[len(c.steps)-1]
}

// addElementwise appends a step that does the same for every unit of elements: see step.elementwise.
func (c *compiler) addElementwise(unit int, reads, writes, inPlace []*buffer, emit func()) {
	s := c.add(reads, writes, inPlace, emit)
	s.unit, s.elementwise = unit, true
}

// ends tells the plan what is fed and read, and remembers it.
func (c *compiler) ends(f *engine.Func, values map[engine.TensorID]*value) function {
	fn := function{feeds: c.p.Feeds(f)}
	for _, id := range fn.feeds {
		fn.fed += c.p.Tensors[id].Len()
		C.nm_feed(c.plan, (*C.float)(c.permanent[id].at), C.int64_t(c.p.Tensors[id].Len()))
	}
	for _, id := range f.Outputs {
		t := &c.p.Tensors[id]
		isInt := 0
		if t.Type == engine.Int {
			isInt = 1
		}
		fn.read += t.Len()
		if t.Len() > 0 {
			C.nm_output(c.plan, values[id].plain.at, C.int64_t(t.Len()), C.int(isInt))
		}
	}
	return fn
}
