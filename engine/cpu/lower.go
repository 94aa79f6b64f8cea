//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import (
	"netmend/engine"
)

// lowerings turn the op that the compiler stands at into steps.
var lowerings map[engine.Kind]func(c *compiler)

func init() {
	lowerings = map[engine.Kind]func(c *compiler){
		engine.Batch: (*compiler).batch, engine.Unary: (*compiler).unary, engine.UnaryGrad: (*compiler).unaryGrad, engine.Binary: (*compiler).binary,
		engine.Where: (*compiler).where, engine.Broadcast: (*compiler).broadcast, engine.Reduce: (*compiler).reduce,
		engine.MatMul: (*compiler).matMul, engine.Conv: (*compiler).conv, engine.ConvDX: (*compiler).convDX, engine.ConvDW: (*compiler).convDW,
		engine.MaxPool: (*compiler).pool, engine.AvgPool: (*compiler).pool, engine.MaxPoolGrad: (*compiler).maxPoolGrad,
		engine.AvgPoolGrad: (*compiler).avgPoolGrad, engine.BatchNorm: (*compiler).batchNorm, engine.BatchNormGrad: (*compiler).batchNormGrad,
		engine.BatchNormInfer: (*compiler).batchNormInfer, engine.Softmax: (*compiler).softmax, engine.LogSoftmax: (*compiler).softmax,
		engine.SoftmaxGrad: (*compiler).softmaxGrad, engine.LogSoftmaxGrad: (*compiler).softmaxGrad, engine.Dropout: (*compiler).dropout,
		engine.Transpose: (*compiler).transpose, engine.Reshape: (*compiler).reshape, engine.Concat: (*compiler).concat,
		engine.Slice: (*compiler).slice, engine.Pad: (*compiler).pad, engine.Gather: (*compiler).gather, engine.GatherGrad: (*compiler).gatherGrad,
		engine.Cast: (*compiler).cast, engine.OneHot: (*compiler).oneHot, engine.ArgMax: (*compiler).argMax, engine.Lerp: (*compiler).lerp,
		engine.Recurrent: (*compiler).recurrent, engine.RecurrentGrad: (*compiler).recurrentGrad,
		engine.Update: (*compiler).update, engine.Moments: (*compiler).moments,
	}
}

func list(b ...*buffer) []*buffer { return b }

func floats(b *buffer) *C.float {
	if b == nil {
		return nil
	}
	return (*C.float)(b.at)
}

func words(b *buffer) *C.int32_t { return (*C.int32_t)(b.at) }

func size(b *buffer) C.int64_t { return C.int64_t(b.n) }

func (c *compiler) batch() {
	op := c.op
	x := c.permanent[op.In[0]]
	y := c.out(op.Out[0], c.lastData[op.In[0]])
	row := C.int64_t(engine.Len(c.shape(op.In[0])[1:]))
	c.add(list(x), list(y), nil, func() { C.nm_batch(c.plan, x.at, y.at, row) })
}

func (c *compiler) unary() {
	op := c.op
	last := c.isLast(op.In[0])
	x := c.in(op.In[0], last)
	y := c.out(op.Out[0], last)
	c.addElementwise(1, list(x), list(y), list(x), func() {
		C.nm_unary(c.plan, unaryCode[op.Fn], C.double(op.Alpha), C.double(op.Beta), floats(x), floats(y), size(y))
	})
}

func (c *compiler) unaryGrad() {
	op := c.op
	last := c.isLast(op.In[0]) || c.isLast(op.In[1])
	dy, r := c.in(op.In[0], last), c.in(op.In[1], last)
	dx := c.out(op.Out[0], last)
	c.addElementwise(1, list(dy, r), list(dx), list(dy, r), func() {
		C.nm_unary_grad(c.plan, unaryCode[op.Fn], C.double(op.Alpha), C.double(op.Beta), floats(dy), floats(r), floats(dx), size(dx))
	})
}

// operands brings the inputs of an op with broadcasting into one layout: that of any input which has as many axes as the output and is
// there in channels-last order only. inPlace are those whose elements lie where the output's do.
func (c *compiler) operands(out []int) (in []*buffer, inPlace []*buffer, stride [][]int, last bool) {
	for _, id := range c.op.In {
		last = last || c.isLast(id) && len(c.shape(id)) == len(out)
	}
	to := strides(out, last)
	for _, id := range c.op.In {
		s := c.shape(id)
		mine := last && len(s) == len(out)
		b := c.in(id, mine)
		in = append(in, b)
		stride = append(stride, stretch(s, strides(s, mine), out))
		same := true
		for a, d := range out {
			same = same && (d == 1 || stride[len(stride)-1][a] == to[a])
		}
		if same {
			inPlace = append(inPlace, b)
		}
	}
	return in, inPlace, append(stride, to), last
}

func (c *compiler) binary() {
	op, shape := c.op, c.shape(c.op.Out[0])
	in, inPlace, stride, last := c.operands(shape)
	y := c.out(op.Out[0], last)
	w := newWalk(shape, order(len(shape), last), make([]int, 3), stride...)
	c.addElementwise(1, in, list(y), inPlace, func() { C.nm_binary(c.plan, binaryCode[op.Fn], floats(in[0]), floats(in[1]), floats(y), w) })
}

func (c *compiler) where() {
	op, shape := c.op, c.shape(c.op.Out[0])
	in, inPlace, stride, last := c.operands(shape)
	y := c.out(op.Out[0], last)
	w := newWalk(shape, order(len(shape), last), make([]int, 4), stride...)
	c.addElementwise(1, in, list(y), inPlace, func() { C.nm_where(c.plan, floats(in[0]), floats(in[1]), floats(in[2]), floats(y), w) })
}

func (c *compiler) broadcast() {
	op, shape := c.op, c.shape(c.op.Out[0])
	in, _, stride, last := c.operands(shape)
	y := c.out(op.Out[0], last)
	c.strided(in[0], y, newWalk(shape, order(len(shape), last), make([]int, 2), stride[1], stride[0])).unit = 1
}

func (c *compiler) strided(x, y *buffer, w *C.nm_walk) *step {
	return c.add(list(x), list(y), nil, func() { C.nm_strided(c.plan, x.at, y.at, w) })
}

func (c *compiler) dropout() {
	op, shape := c.op, c.shape(c.op.In[0])
	last := c.isLast(op.In[0])
	if last && c.wantedPlain(op.Out[0]) {
		last = false
	}
	x := c.in(op.In[0], last)
	y := c.out(op.Out[0], last)
	channels, places := 1, 1
	if last && !oneLayout(shape) {
		channels, places = shape[1], engine.Len(shape[2:])
	}
	threshold := C.uint32_t(engine.DropThreshold(op.Rate))
	s := c.add(list(x), list(y), list(x), func() {
		C.nm_dropout(c.plan, C.double(op.Rate), threshold, C.uint32_t(op.Stream), floats(x), floats(y), size(y), C.int64_t(channels), C.int64_t(places))
	})
	if places == 1 && op.Rate < 1 { // else it goes by whole samples, or is zero
		s.unit, s.elementwise = 1, true
	}
}

// wantedPlain says that all readers of a tensor will ask for row-major order.
func (c *compiler) wantedPlain(id engine.TensorID) bool {
	for _, i := range c.uses[id] {
		if c.f.Ops[i].Kind != engine.Reshape {
			return false
		}
	}
	return len(c.uses[id]) > 0
}

func (c *compiler) lerp() {
	op := c.op
	s, x := c.plain(op.In[0]), c.plain(op.In[1])
	c.written(op.Out[0])
	c.add(list(s, x), list(s), nil, func() { C.nm_lerp(c.plan, C.double(op.Alpha), C.double(op.Beta), floats(s), floats(x), size(s)) })
}

// written forgets the copies of a state that has changed.
func (c *compiler) written(id engine.TensorID) {
	delete(c.halves, c.permanent[id])
	delete(c.values, id)
}

func (c *compiler) update() {
	op, r := c.op, c.op.Rule
	p, g, coefs := c.plain(op.In[0]), c.plain(op.In[1]), c.plain(op.In[2])
	var slots [3]*buffer
	reads, writes := list(p, g, coefs), list(p)
	for i, id := range op.In[3:] {
		slots[i] = c.plain(id)
		reads, writes = append(reads, slots[i]), append(writes, slots[i])
	}
	for _, id := range op.Out {
		c.written(id)
	}
	flag := func(b bool) C.int32_t {
		if b {
			return 1
		}
		return 0
	}
	c.add(reads, writes, nil, func() {
		rule := C.nm_rule{kind: ruleCode[r.Kind], momentum: flag(r.Momentum), max: flag(r.Max), centered: flag(r.Centered), b1: C.double(r.B1),
			b2: C.double(r.B2), eps_in: C.double(r.EpsIn), eps_out: C.double(r.EpsOut), l2: C.double(r.L2)}
		C.nm_update(c.plan, &rule, floats(p), floats(g), floats(coefs), floats(slots[0]), floats(slots[1]), floats(slots[2]), size(p))
	})
}

func (c *compiler) moments() {
	op := c.op
	x := c.in(op.In[0], c.isLast(op.In[0]))
	y := c.newPlain(op.Out[0])
	c.add(list(x), list(y), nil, func() { C.nm_moments(c.plan, floats(x), floats(y), size(x)) })
}
