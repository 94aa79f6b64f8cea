package engine

import (
	"fmt"
	"slices"
)

// Gradient appends the operations that compute the gradients of loss, the sum of its elements, by each tensor of wrt, and returns
// their ids; None where loss does not depend on the tensor. It is reverse-mode differentiation of the operations built so far: an
// operation is differentiated only where it lies between wrt and loss.
func (b *Builder) Gradient(loss TensorID, wrt []TensorID) []TensorID {
	grads := make([]TensorID, len(wrt))
	for i := range grads {
		grads[i] = None
	}
	if b.err != nil {
		return grads
	}
	if b.Type(loss) != Float {
		b.Fail(fmt.Errorf("engine: gradient of an %v tensor", b.Type(loss)))
		return grads
	}
	g := &differ{Builder: b, needs: make(map[TensorID]bool), grad: make(map[TensorID]TensorID)}
	for _, id := range wrt {
		g.needs[id] = true
	}
	ops := slices.Clone(b.f.Ops)
	for i := range ops {
		if !ops[i].Kind.writesState() && slices.ContainsFunc(ops[i].In, func(id TensorID) bool { return g.needs[id] }) {
			for _, id := range ops[i].Out {
				g.needs[id] = b.Type(id) == Float && !b.detached[id]
			}
		}
	}
	ones := make([]float64, Len(b.Shape(loss)))
	for i := range ones {
		ones[i] = 1
	}
	g.grad[loss] = b.p.NewConstant("", Float, b.Shape(loss), ones)
	label := b.label
	for i := len(ops) - 1; i >= 0 && b.err == nil; i-- {
		op := &ops[i]
		if op.Kind.writesState() || !slices.ContainsFunc(op.Out, func(id TensorID) bool { return g.needs[id] }) {
			continue
		}
		if op.Kind == Recurrent {
			b.label = op.Label
			g.recurrent(op)
			continue
		}
		if dy, ok := g.grad[op.Out[0]]; ok {
			b.label = op.Label
			g.backward(op, dy)
		}
		for _, id := range op.Out[1:] {
			if _, ok := g.grad[id]; ok {
				b.Fail(fmt.Errorf("engine: %s %q: no gradient flows through its output %d", op.Kind, op.Label, id))
			}
		}
	}
	b.label = label
	for i, id := range wrt {
		if d, ok := g.grad[id]; ok && b.err == nil {
			grads[i] = d
		}
	}
	return grads
}

type differ struct {
	*Builder
	needs map[TensorID]bool
	grad  map[TensorID]TensorID
}

// give adds d, of any shape that x broadcasts to, to the gradient of x.
func (g *differ) give(x, d TensorID) {
	if g.err != nil || d == None || !g.needs[x] {
		return
	}
	d = g.reduceTo(d, g.Shape(x))
	if old, ok := g.grad[x]; ok {
		d = g.Add(old, d)
	}
	g.grad[x] = d
}

// reduceTo sums d over the axes along which shape was broadcast to d's.
func (g *differ) reduceTo(d TensorID, shape []int) TensorID {
	have := g.Shape(d)
	if slices.Equal(have, shape) {
		return d
	}
	lead := len(have) - len(shape)
	var axes []int
	for i := range have {
		if i < lead || shape[i-lead] == 1 && have[i] != 1 {
			axes = append(axes, i)
		}
	}
	if len(axes) > 0 {
		d = g.Reduce(Sum, d, true, axes...)
	}
	return g.Reshape(d, shape)
}

// backward gives the inputs of op their share of dy, the gradient of op's first output. Emitting only what an input needs keeps the
// program free of dead convolutions.
func (g *differ) backward(op *Op, dy TensorID) {
	x, y := op.In[0], op.Out[0]
	switch op.Kind {
	case Batch, Cast, OneHot, ArgMax, Moments:
		// Integers, the data set and statistics: nothing flows.
	case Unary:
		if op.Fn.Differentiable() {
			r := x
			if op.Fn.GradFromOutput() {
				r = y
			}
			g.give(x, g.emit1(Op{Kind: UnaryGrad, In: ids(dy, r), Fn: op.Fn, Alpha: op.Alpha, Beta: op.Beta}))
		}
	case Binary:
		g.binary(op, dy)
	case Where:
		zero := g.Scalar(0)
		if g.needs[op.In[1]] {
			g.give(op.In[1], g.Where(x, dy, zero))
		}
		if g.needs[op.In[2]] {
			g.give(op.In[2], g.Where(x, zero, dy))
		}
	case Broadcast:
		g.give(x, dy)
	case Reduce:
		g.reduce(op, dy)
	case MatMul:
		g.matMul(op, dy)
	case Conv, ConvDX:
		g.conv(op, dy)
	case MaxPool:
		g.give(x, g.emit1(Op{Kind: MaxPoolGrad, In: ids(dy, x, y), Window: op.Window}))
	case AvgPool:
		g.give(x, g.emit1(Op{Kind: AvgPoolGrad, In: ids(dy), Window: op.Window, Shape: g.Shape(x)}))
	case BatchNorm:
		d := g.Emit(Op{Kind: BatchNormGrad, In: ids(dy, x, op.In[1], op.Out[1], op.Out[2]), Epsilon: op.Epsilon})
		for i := range 3 {
			g.give(op.In[i], d[i])
		}
	case BatchNormInfer:
		g.batchNormInfer(op, dy)
	case Softmax:
		g.give(x, g.emit1(Op{Kind: SoftmaxGrad, In: ids(dy, y), Axes: op.Axes}))
	case LogSoftmax:
		g.give(x, g.emit1(Op{Kind: LogSoftmaxGrad, In: ids(dy, y), Axes: op.Axes}))
	case Dropout:
		g.give(x, g.Dropout(dy, op.Rate, op.Stream))
	default:
		g.move(op, dy)
	}
}

// batchNormInfer: with r = 1/sqrt(var+ε), y = (x-mean)·r·scale + bias per channel gives dx = dy·r·scale, dscale = Σ dy·(x-mean)·r, dbias = Σ dy,
// dmean = -Σ dx and dvar = -Σ dx·(x-mean)·r²/2, the sums over all axes but the channels'.
func (g *differ) batchNormInfer(op *Op, dy TensorID) {
	x, scale, bias, mean, variance := op.In[0], op.In[1], op.In[2], op.In[3], op.In[4]
	shape := g.Shape(x)
	channels, axes := make([]int, len(shape)), []int{}
	for i := range shape {
		if channels[i] = 1; i == 1 {
			channels[i] = shape[i]
			continue
		}
		axes = append(axes, i)
	}
	wide := func(v TensorID) TensorID { return g.Reshape(v, channels) }
	give := func(in, d TensorID) { g.give(in, g.Reduce(Sum, d, false, axes...)) }
	r := g.Unary(Reciprocal, g.Unary(Sqrt, g.Affine(variance, 1, op.Epsilon)))
	dx := g.Mul(dy, wide(g.Mul(r, scale)))
	g.give(x, dx)
	if g.needs[bias] {
		give(bias, dy)
	}
	if g.needs[scale] || g.needs[variance] {
		centred := g.Sub(x, wide(mean))
		if g.needs[scale] {
			give(scale, g.Mul(dy, g.Mul(centred, wide(r))))
		}
		if g.needs[variance] {
			give(variance, g.Affine(g.Mul(g.Mul(dx, centred), wide(g.Mul(r, r))), -0.5, 0))
		}
	}
	if g.needs[mean] {
		give(mean, g.Unary(Neg, dx))
	}
}

func (g *differ) binary(op *Op, dy TensorID) {
	a, c, y := op.In[0], op.In[1], op.Out[0]
	if !op.Fn.Differentiable() {
		return
	}
	da, dc := None, None
	switch op.Fn {
	case Add:
		da, dc = dy, dy
	case Sub:
		da = dy
		if g.needs[c] {
			dc = g.Unary(Neg, dy)
		}
	case Mul:
		if g.needs[a] {
			da = g.Mul(dy, c)
		}
		if g.needs[c] {
			dc = g.Mul(dy, a)
		}
	case Div:
		if g.needs[a] {
			da = g.Div(dy, c)
		}
		if g.needs[c] {
			dc = g.Unary(Neg, g.Div(g.Mul(dy, y), c))
		}
	case Max, Min:
		// Equal elements share the gradient, as in PyTorch.
		first := Greater
		if op.Fn == Min {
			first = Less
		}
		half := g.Affine(g.Binary(Equal, a, c), 0.5, 0)
		wa := g.Add(g.Binary(first, a, c), half)
		if g.needs[a] {
			da = g.Mul(dy, wa)
		}
		if g.needs[c] {
			dc = g.Mul(dy, g.Affine(wa, -1, 1))
		}
	case Pow:
		if g.needs[a] {
			da = g.Mul(dy, g.Mul(c, g.Binary(Pow, a, g.Affine(c, 1, -1))))
			if t := &g.p.Tensors[c]; t.Role != Constant || slices.Contains(t.Value, 0) {
				// a^0 is 1 everywhere, at 0 too, where the formula gives 0·Inf (PyTorch's pow_backward).
				zero := g.Scalar(0)
				da = g.Where(g.Binary(Equal, c, zero), zero, da)
			}
		}
		if g.needs[c] {
			// d/dc a^c = a^c·log a, and 0 where a is 0 (its limit for c > 0).
			zero := g.Scalar(0)
			dc = g.Mul(dy, g.Where(g.Binary(Equal, a, zero), zero, g.Mul(y, g.Unary(Log, a))))
		}
	}
	g.give(a, da)
	g.give(c, dc)
}

func (g *differ) reduce(op *Op, dy TensorID) {
	x, y := op.In[0], op.Out[0]
	shape := g.Shape(x)
	switch op.Fn {
	case Sum:
		g.give(x, g.Broadcast(dy, shape))
	case Mean:
		n := max(1, Len(shape)/max(1, Len(g.Shape(y))))
		g.give(x, g.Broadcast(g.Affine(dy, 1/float64(n), 0), shape))
	case Max, Min:
		// The elements that reach the extremum share the gradient, as in PyTorch's amax and TensorFlow's reduce_max.
		mask := g.Binary(Equal, x, y)
		count := g.Reduce(Sum, mask, true, op.Axes...)
		if len(op.Axes) == 0 {
			count = mask
		}
		g.give(x, g.Mul(mask, g.Div(dy, count)))
	case Prod:
		g.give(x, g.Mul(dy, g.productOfOthers(x, op.Axes)))
	default:
		g.Fail(fmt.Errorf("engine: Reduce %s %q: has no gradient", op.Fn, op.Label))
	}
}

// productOfOthers is at every place the product of the elements that Reduce multiplies it with: of those before it and of those after it,
// so that no zero is divided by.
func (g *differ) productOfOthers(x TensorID, axes []int) TensorID {
	shape, perm, back := g.Shape(x), make([]int, 0, len(axes)), make([]int, len(g.Shape(x)))
	for i := range shape {
		if !slices.Contains(axes, i) {
			perm = append(perm, i)
		}
	}
	perm = append(perm, axes...)
	var moved []int
	n := 1
	for i, a := range perm {
		moved, back[a] = append(moved, shape[a]), i
		if slices.Contains(axes, a) {
			n *= shape[a]
		}
	}
	rows := g.Reshape(g.Transpose(x, perm...), []int{Len(shape) / max(1, n), n})
	others := g.Mul(g.Cumulative(Mul, rows, 1, true, false), g.Cumulative(Mul, rows, 1, true, true))
	return g.Transpose(g.Reshape(others, moved), back...)
}

func (g *differ) matMul(op *Op, dy TensorID) {
	a, c := op.In[0], op.In[1]
	if g.needs[a] {
		if op.TransA {
			g.give(a, g.MatMul(c, dy, None, op.TransB, true))
		} else {
			g.give(a, g.MatMul(dy, c, None, false, !op.TransB))
		}
	}
	if g.needs[c] {
		if op.TransB {
			g.give(c, g.MatMul(dy, a, None, true, op.TransA))
		} else {
			g.give(c, g.MatMul(a, dy, None, !op.TransA, false))
		}
	}
	if len(op.In) > 2 && g.needs[op.In[2]] {
		g.give(op.In[2], dy)
	}
}

func (g *differ) conv(op *Op, dy TensorID) {
	x, w := op.In[0], op.In[1]
	if op.Kind == ConvDX {
		// y = ConvDX(x, w) is linear in x with Conv as its adjoint, and in w with ConvDW's operands exchanged.
		if g.needs[x] {
			g.give(x, g.Conv(dy, w, None, *op.Window))
		}
		if g.needs[w] {
			g.give(w, g.emit1(Op{Kind: ConvDW, In: ids(x, dy), Window: op.Window, Shape: g.Shape(w), Out: make([]TensorID, 1)}))
		}
		return
	}
	if g.needs[x] {
		g.give(x, g.emit1(Op{Kind: ConvDX, In: ids(dy, w), Window: op.Window, Shape: g.Shape(x)}))
	}
	bias := len(op.In) > 2 && g.needs[op.In[2]]
	switch {
	case g.needs[w] && bias:
		d := g.Emit(Op{Kind: ConvDW, In: ids(dy, x), Window: op.Window, Shape: g.Shape(w), Out: make([]TensorID, 2)})
		g.give(w, d[0])
		g.give(op.In[2], d[1])
	case g.needs[w]:
		g.give(w, g.emit1(Op{Kind: ConvDW, In: ids(dy, x), Window: op.Window, Shape: g.Shape(w), Out: make([]TensorID, 1)}))
	case bias:
		axes := []int{0}
		for i := 2; i < len(g.Shape(dy)); i++ {
			axes = append(axes, i)
		}
		g.give(op.In[2], g.Reduce(Sum, dy, false, axes...))
	}
}

// move is backward for the operations that move elements.
func (g *differ) move(op *Op, dy TensorID) {
	x := op.In[0]
	switch op.Kind {
	case Transpose:
		inv := make([]int, len(op.Axes))
		for i, a := range op.Axes {
			inv[a] = i
		}
		g.give(x, g.Transpose(dy, inv...))
	case Reshape:
		g.give(x, g.Reshape(dy, g.Shape(x)))
	case Concat:
		n := len(g.Shape(x))
		starts, steps := make([]int, n), make([]int, n)
		for i := range steps {
			steps[i] = 1
		}
		for _, id := range op.In {
			if g.needs[id] {
				g.give(id, g.Slice(dy, slices.Clone(starts), steps, g.Shape(id)))
			}
			starts[op.Axes[0]] += g.Shape(id)[op.Axes[0]]
		}
	case Slice:
		g.give(x, g.Pad(dy, op.Starts, op.Steps, g.Shape(x), 0))
	case Pad:
		g.give(x, g.Slice(dy, op.Starts, op.Steps, g.Shape(x)))
	case Gather:
		g.give(x, g.emit1(Op{Kind: GatherGrad, In: ids(dy, op.In[1]), Axes: op.Axes, Shape: g.Shape(x)}))
	case GatherGrad:
		g.give(x, g.Gather(dy, op.In[1], op.Axes[0]))
	default:
		g.Fail(fmt.Errorf("engine: %s %q: has no gradient", op.Kind, op.Label))
	}
}
