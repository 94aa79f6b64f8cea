//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import (
	"math"
	"slices"

	"netmend/engine"
)

// lanes describes an axis of a tensor as outer × length × inner.
func lanes(shape []int, axis int) (outer, length, inner C.int64_t) {
	return C.int64_t(engine.Len(shape[:axis])), C.int64_t(shape[axis]), C.int64_t(engine.Len(shape[axis+1:]))
}

// reduce brings the reduced axes side by side and then reduces them as one.
func (c *compiler) reduce() {
	op, shape := c.op, c.shape(c.op.In[0])
	last := c.isLast(op.In[0])
	x := c.in(op.In[0], last)
	// The axes in memory order, those of size 1 left out: outer, then reduced, then inner ones.
	var groups [][]int
	reduced := func(a int) bool { return slices.Contains(op.Axes, a) }
	for _, a := range order(len(shape), last) {
		if shape[a] == 1 {
			continue
		}
		if n := len(groups); n > 0 && reduced(groups[n-1][0]) == reduced(a) {
			groups[n-1] = append(groups[n-1], a)
		} else {
			groups = append(groups, []int{a})
		}
	}
	outer, length, inner := 1, 1, 1
	product := func(g []int) int {
		n := 1
		for _, a := range g {
			n *= shape[a]
		}
		return n
	}
	passes := 0
	for _, g := range groups {
		if reduced(g[0]) {
			passes++
		}
	}
	if passes <= 1 {
		for _, g := range groups {
			switch n := product(g); {
			case reduced(g[0]):
				length = n
			case length == 1 && passes > 0 && outer == 1 && !reduced(groups[0][0]):
				outer = n
			default:
				inner = n
			}
		}
		if passes == 0 {
			outer, inner = outer*inner, 1
		}
	} else { // the reduced axes go behind the others
		var kept, gone []int
		for _, g := range groups {
			if reduced(g[0]) {
				gone = append(gone, g...)
			} else {
				kept = append(kept, g...)
			}
		}
		outer, length = product(kept), product(gone)
		axes := append(kept, gone...)
		from := strides(shape, last)
		to := make([]int, len(shape))
		n := 1
		for _, a := range slices.Backward(axes) {
			to[a] = n
			n *= shape[a]
		}
		moved := c.scratch(x.n)
		c.strided(x, moved, newWalk(shape, axes, make([]int, 2), to, from))
		x = moved
	}
	y := c.out(op.Out[0], last)
	if engine.Len(shape) == 0 { // reduced to what is the result of no elements
		length = 0
		outer, inner = y.n, 1
	}
	c.add(list(x), list(y), nil, func() {
		C.nm_reduce(c.plan, reduceCode[op.Fn], floats(x), floats(y), C.int64_t(outer), C.int64_t(length), C.int64_t(inner))
	})
}

func (c *compiler) argMax() {
	op := c.op
	x, y := c.plain(op.In[0]), c.newPlain(op.Out[0])
	outer, length, inner := lanes(c.shape(op.In[0]), op.Axes[0])
	c.add(list(x), list(y), nil, func() { C.nm_arg_max(c.plan, floats(x), words(y), outer, length, inner) })
}

func (c *compiler) softmax() {
	op := c.op
	x, y := c.plain(op.In[0]), c.newPlain(op.Out[0])
	outer, length, inner := lanes(c.shape(op.In[0]), op.Axes[0])
	log := C.int(0)
	if op.Kind == engine.LogSoftmax {
		log = 1
	}
	c.addLines(length, inner, list(x), list(y), list(x), func() { C.nm_softmax(c.plan, log, floats(x), floats(y), outer, length, inner) })
}

// addLines appends a step that does the same for every line along an axis: elementwise where the lines lie one after the other.
func (c *compiler) addLines(length, inner C.int64_t, reads, writes, inPlace []*buffer, emit func()) {
	if inner == 1 {
		c.addElementwise(int(length), reads, writes, inPlace, emit)
	} else {
		c.add(reads, writes, inPlace, emit)
	}
}

func (c *compiler) softmaxGrad() {
	op := c.op
	dy, y, dx := c.plain(op.In[0]), c.plain(op.In[1]), c.newPlain(op.Out[0])
	outer, length, inner := lanes(c.shape(op.In[0]), op.Axes[0])
	log := C.int(0)
	if op.Kind == engine.LogSoftmaxGrad {
		log = 1
	}
	c.addLines(length, inner, list(dy, y), list(dx), list(dy, y), func() { C.nm_softmax_grad(c.plan, log, floats(dy), floats(y), floats(dx), outer, length, inner) })
}

// sameMemory gives the output of a Transpose the buffer of its input where the elements lie in memory as the output, row-major or
// channels-last, has them: moving the channels of a channels-last tensor to the back or to the front is no work.
func (c *compiler) sameMemory() bool {
	op, in, out := c.op, c.shape(c.op.In[0]), c.shape(c.op.Out[0])
	from := c.find(op.In[0])
	for _, x := range []struct {
		b    *buffer
		last bool
	}{{from.plain, false}, {from.last, true}} {
		if x.b == nil || !x.b.Temporary && c.writtenBefore(x.b, c.lastUse[op.Out[0]]) {
			continue
		}
		s := strides(in, x.last)
		moved := make([]int, len(out))
		for i, a := range op.Axes {
			moved[i] = s[a]
		}
		plain, last := sameOrder(out, moved, strides(out, false)), sameOrder(out, moved, strides(out, true))
		if !plain && !last {
			continue
		}
		v := &value{}
		if plain {
			v.plain = x.b
		}
		if last {
			v.last = x.b
		}
		c.values[op.Out[0]] = v
		return true
	}
	return false
}

// sameOrder says that two lists of strides lead through a shape alike: along axes of one element they do not count.
func sameOrder(shape, a, b []int) bool {
	for i, d := range shape {
		if d != 1 && a[i] != b[i] {
			return false
		}
	}
	return true
}

func (c *compiler) transpose() {
	if c.sameMemory() {
		return
	}
	op, in, out := c.op, c.shape(c.op.In[0]), c.shape(c.op.Out[0])
	last := c.isLast(op.In[0])
	x, y := c.in(op.In[0], last), c.newPlain(op.Out[0])
	s := strides(in, last)
	from := make([]int, len(out))
	for i, a := range op.Axes {
		from[i] = s[a]
	}
	w := newWalk(out, order(len(out), false), make([]int, 2), strides(out, false), from)
	if w.n == 2 && w.stride[1][0] == 1 && w.stride[1][1] == w.dim[0] { // a matrix: in tiles
		rows, cols := w.dim[1], w.dim[0]
		c.add(list(x), list(y), nil, func() { C.nm_transpose(c.plan, x.at, y.at, 1, rows, cols) })
		return
	}
	c.strided(x, y, w)
}

// reshape gives the same buffer another shape. A state that is written before the last reader of the reshaped tensor is copied.
func (c *compiler) reshape() {
	op := c.op
	x := c.plain(op.In[0])
	if !x.Temporary && c.writtenBefore(x, c.lastUse[op.Out[0]]) {
		y := c.newPlain(op.Out[0])
		c.add(list(x), list(y), nil, func() { C.nm_copy(c.plan, x.at, y.at, size(y)) })
		return
	}
	v := &value{plain: x}
	if oneLayout(c.shape(op.Out[0])) {
		v.last = x
	}
	c.values[op.Out[0]] = v
}

// writtenBefore says that an op of the function from the present one up to op number end writes a permanent buffer.
func (c *compiler) writtenBefore(b *buffer, end int) bool {
	for i := c.at; i < min(end+1, len(c.f.Ops)); i++ {
		for _, id := range c.f.Ops[i].Out {
			if c.permanent[id] == b {
				return true
			}
		}
	}
	return false
}

func (c *compiler) concat() {
	op, out, axis := c.op, c.shape(c.op.Out[0]), c.op.Axes[0]
	last := false
	for _, id := range op.In {
		last = last || c.isLast(id)
	}
	in := make([]*buffer, len(op.In))
	for i, id := range op.In {
		in[i] = c.in(id, last)
	}
	y := c.out(op.Out[0], last)
	at, to := 0, strides(out, last)
	for i, id := range op.In {
		s := c.shape(id)
		if in[i].n > 0 {
			c.strided(in[i], y, newWalk(s, order(len(s), last), []int{at * to[axis], 0}, to, strides(s, last)))
		}
		at += s[axis]
	}
}

// placed is where the elements of the small tensor of a Slice or Pad lie in the big one.
func placed(big []int, op *engine.Op, last bool) (start int, stride []int) {
	stride = strides(big, last)
	for i := range stride {
		start += op.Starts[i] * stride[i]
		stride[i] *= op.Steps[i]
	}
	return start, stride
}

func (c *compiler) slice() {
	op, in, out := c.op, c.shape(c.op.In[0]), c.shape(c.op.Out[0])
	last := c.isLast(op.In[0])
	x, y := c.in(op.In[0], last), c.out(op.Out[0], last)
	start, from := placed(in, op, last)
	c.strided(x, y, newWalk(out, order(len(out), last), []int{0, start}, strides(out, last), from))
}

func (c *compiler) pad() {
	op, in, out := c.op, c.shape(c.op.In[0]), c.shape(c.op.Out[0])
	last := c.isLast(op.In[0])
	x, y := c.in(op.In[0], last), c.out(op.Out[0], last)
	word := C.uint32_t(math.Float32bits(float32(op.Alpha)))
	if c.p.Tensors[op.Out[0]].Type == engine.Int {
		word = C.uint32_t(uint32(int32(op.Alpha)))
	}
	c.add(nil, list(y), nil, func() { C.nm_fill(c.plan, y.at, size(y), word) })
	if x.n > 0 {
		start, to := placed(out, op, last)
		c.strided(x, y, newWalk(in, order(len(in), last), []int{start, 0}, to, strides(in, last)))
	}
}

func (c *compiler) gather() {
	op := c.op
	x, i, y := c.plain(op.In[0]), c.plain(op.In[1]), c.newPlain(op.Out[0])
	outer, length, inner := lanes(c.shape(op.In[0]), op.Axes[0])
	missing := C.uint32_t(math.Float32bits(float32(math.NaN())))
	if c.p.Tensors[op.Out[0]].Type == engine.Int {
		missing = math.MaxUint32 // -1
	}
	c.add(list(x, i), list(y), nil, func() { C.nm_gather(c.plan, x.at, words(i), y.at, outer, length, inner, size(i), missing) })
}

func (c *compiler) gatherGrad() {
	op := c.op
	dy, i, dx := c.plain(op.In[0]), c.plain(op.In[1]), c.newPlain(op.Out[0])
	outer, length, inner := lanes(op.Shape, op.Axes[0])
	c.add(list(dy, i), list(dx), nil, func() { C.nm_gather_grad(c.plan, floats(dy), words(i), floats(dx), outer, length, inner, size(i)) })
}

func (c *compiler) cast() {
	op := c.op
	x, y := c.plain(op.In[0]), c.newPlain(op.Out[0])
	from := c.p.Tensors[op.In[0]].Type
	c.add(list(x), list(y), nil, func() {
		switch {
		case from == op.Type:
			C.nm_copy(c.plan, x.at, y.at, size(y))
		case from == engine.Int:
			C.nm_cast_float(c.plan, words(x), floats(y), size(y))
		default:
			C.nm_cast_int(c.plan, floats(x), words(y), size(y))
		}
	})
}

func (c *compiler) oneHot() {
	op := c.op
	x, y := c.plain(op.In[0]), c.newPlain(op.Out[0])
	classes := C.int64_t(op.Shape[len(op.Shape)-1])
	c.add(list(x), list(y), nil, func() { C.nm_one_hot(c.plan, words(x), floats(y), size(x), classes) })
}
