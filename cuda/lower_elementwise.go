//go:build linux && cgo

package cuda

import (
	"math"

	"netmend/engine"
)

// with is an instruction with the op's parameters.
func (c *compiler) with(f code) instruction {
	return instruction{f: f, alpha: float32(c.op.Alpha), beta: float32(c.op.Beta)}
}

// inputs are all inputs of the op, broadcast to its output.
func (c *compiler) inputs() []operand {
	var in []operand
	for _, id := range c.op.In {
		in = append(in, c.broadcasted(id, c.shape(c.op.Out[0])))
	}
	return in
}

func (c *compiler) unary() { c.elementwise(c.with(unaryCode[c.op.Fn]), c.inputs()...) }

// unaryGrad: some slopes are the same everywhere.
func (c *compiler) unaryGrad() {
	dy := c.broadcasted(c.op.In[0], c.shape(c.op.Out[0]))
	switch c.op.Fn {
	case engine.Neg:
		c.elementwise(instruction{f: codeNeg}, dy)
	case engine.Affine:
		c.elementwise(instruction{f: codeAffine, alpha: float32(c.op.Alpha)}, dy)
	default:
		c.elementwise(c.with(codeSlope+unaryCode[c.op.Fn]), c.inputs()...)
	}
}

// evenSlope says that an op does not read its second input after all.
func evenSlope(op *engine.Op) bool {
	return op.Kind == engine.UnaryGrad && (op.Fn == engine.Neg || op.Fn == engine.Affine)
}
func (c *compiler) binary()    { c.elementwise(c.with(binaryCode[c.op.Fn]), c.inputs()...) }
func (c *compiler) where()     { c.elementwise(instruction{f: codeWhere}, c.inputs()...) }
func (c *compiler) broadcast() { c.elementwise(instruction{f: codeCopy}, c.inputs()...) }

func (c *compiler) dropout() {
	op := c.op
	if op.Rate >= 1 {
		c.elementwise(instruction{f: codeFill}, c.inputs()...)
		return
	}
	c.elementwise(instruction{f: codeDropout, stream: op.Stream, alpha: math.Float32frombits(engine.DropThreshold(op.Rate)),
		beta: float32(1 - op.Rate)}, c.inputs()...)
}

// oneHot reads the classes along a last axis that the input is broadcast over.
func (c *compiler) oneHot() {
	op, shape := c.op, c.shape(c.op.Out[0])
	x := c.broadcasted(op.In[0], shape)
	if x.reading != readOne && shape[len(shape)-1] > 1 {
		_, stride := squeeze(shape, append(engine.Strides(shape[:len(shape)-1]), 0))
		x = operand{b: x.b, reading: readStrided, stride: stride}
	}
	c.elementwise(instruction{f: codeOneHot, stream: uint32(shape[len(shape)-1])}, x)
}

func (c *compiler) cast() {
	f := codeCopy
	switch from := c.p.Tensors[c.op.In[0]].Type; {
	case from == c.op.Type:
	case from == engine.Int:
		f = codeCastFloat
	default:
		f = codeCastInt
	}
	c.elementwise(instruction{f: f}, c.inputs()...)
}

// transpose: a matrix, or a stack of matrices, goes through tiles of shared memory; anything else is a way of reading.
func (c *compiler) transpose() {
	op, in, out := c.op, c.shape(c.op.In[0]), c.shape(c.op.Out[0])
	from := make([]int, len(out))
	for i, s := 0, engine.Strides(in); i < len(out); i++ {
		from[i] = s[op.Axes[i]]
	}
	m := merge(out, from, engine.Strides(out))
	n := len(m.shape)
	if (n == 2 || n == 3 && m.stride[0][2] == m.shape[0]*m.shape[1] && m.shape[2] < maxStack) && m.stride[0][1] == 1 && m.stride[0][0] == m.shape[1] &&
		min(m.shape[0], m.shape[1]) >= 8 {
		stack := 1
		if n == 3 {
			stack = m.shape[2]
		}
		c.turn(c.in(op.In[0]), c.out(op.Out[0]), m.shape[0], m.shape[1], stack)
		return
	}
	c.strided(0, from)
}

// maxStack is the most blocks that a grid has along z.
const maxStack = 1 << 16

// turn transposes a stack of matrices.
func (c *compiler) turn(x, y *buffer, rows, columns, stack int) {
	grid, block := line(ceilDiv(columns, 32)), line(32)
	grid.Y, grid.Z, block.Y = ceilDiv(rows, 32), stack, 8
	c.add(&step{kernel: "transpose", grid: grid, block: block, reads: list(x), writes: list(y),
		params: func() []any { return []any{x.at, y.at, int32(rows), int32(columns)} }})
}

// strided copies the input's elements that lie at start and strides along the axes of the output.
func (c *compiler) strided(start int, from []int) {
	op, out := c.op, c.shape(c.op.Out[0])
	x := c.in(op.In[0])
	if _, stride := squeeze(out, from); len(stride) > 0 {
		c.elementwise(instruction{f: codeCopy}, operand{b: x, reading: readStrided, start: start, stride: stride})
		return
	}
	c.elementwise(instruction{f: codeCopy}, operand{b: x, reading: readOne, start: start})
}

// reshape gives the same buffer another shape. A state that is written before the last reader of the reshaped tensor is copied.
func (c *compiler) reshape() {
	op := c.op
	x := c.in(op.In[0])
	if !x.Temporary && c.writtenLater(x, c.lastUse[op.Out[0]]) {
		c.elementwise(instruction{f: codeCopy}, operand{b: x})
		return
	}
	c.values[op.Out[0]] = x
}

// placed is where the elements of the small tensor of a Slice or Pad lie in the big one.
func placed(big []int, op *engine.Op) (start int, stride []int) {
	stride = engine.Strides(big)
	for i := range stride {
		start += op.Starts[i] * stride[i]
		stride[i] *= op.Steps[i]
	}
	return start, stride
}

func (c *compiler) slice() { c.strided(placed(c.shape(c.op.In[0]), c.op)) }
