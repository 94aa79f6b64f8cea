package engine

import (
	"fmt"
	"slices"
)

// Builder appends operations to one function of a Program. Every method returns the id of the new tensor. The first operation that is
// wrong is remembered: Err returns it, later calls return None and do nothing.
type Builder struct {
	p        *Program
	f        *Func
	err      error
	label    string
	detached map[TensorID]bool // results that Gradient takes for constants
}

// NewFunc adds an empty function that takes batch rows of the data set per step (0 for none).
func (p *Program) NewFunc(name string, batch int) *Builder {
	f := &Func{Name: name, Batch: batch}
	p.Funcs = append(p.Funcs, f)
	return &Builder{p: p, f: f, detached: make(map[TensorID]bool)}
}

// Err is the first error of this builder.
func (b *Builder) Err() error { return b.err }

// Func is the function being built.
func (b *Builder) Func() *Func { return b.f }

// Program is the program that the function belongs to.
func (b *Builder) Program() *Program { return b.p }

// Label sets what later operations say they come from.
func (b *Builder) Label(s string) { b.label = s }

// Shape is the shape of a tensor; nil for None.
func (b *Builder) Shape(id TensorID) []int {
	if id < 0 || int(id) >= len(b.p.Tensors) {
		return nil
	}
	return b.p.Tensors[id].Shape
}

// Type is the element type of a tensor.
func (b *Builder) Type(id TensorID) DType {
	if id < 0 || int(id) >= len(b.p.Tensors) {
		return Float
	}
	return b.p.Tensors[id].Type
}

// Output makes the host read a tensor after every step, and returns its place in Result.Outputs.
func (b *Builder) Output(id TensorID) int {
	b.f.Outputs = append(b.f.Outputs, id)
	return len(b.f.Outputs) - 1
}

// Fail records an error, unless there is one already.
func (b *Builder) Fail(err error) TensorID {
	if b.err == nil {
		b.err = err
	}
	return None
}

// maxOuts is the largest number of outputs of a kind.
const maxOuts = 6

// Emit appends an op, infers its outputs and returns their ids. Lerp and Update bring their own outputs.
func (b *Builder) Emit(op Op) []TensorID {
	none := slices.Repeat([]TensorID{None}, maxOuts)
	if b.err != nil {
		return none
	}
	if op.Label == "" {
		op.Label = b.label
	}
	fail := func(err error) []TensorID {
		b.err = fmt.Errorf("engine: %s %q: %w", op.Kind, op.Label, err)
		return none
	}
	for _, id := range op.In {
		if id != None && (id < 0 || int(id) >= len(b.p.Tensors)) {
			return fail(fmt.Errorf("input %d is no tensor", id))
		}
	}
	shapes, types, err := b.p.infer(b.f, &op)
	if err != nil {
		return fail(err)
	}
	if !op.Kind.writesState() {
		op.Out = make([]TensorID, len(shapes))
		for i := range shapes {
			op.Out[i] = b.p.add(Tensor{Shape: slices.Clone(shapes[i]), Type: types[i]})
		}
	}
	b.f.Ops = append(b.f.Ops, op)
	return op.Out
}

func (b *Builder) emit1(op Op) TensorID { return b.Emit(op)[0] }

func ids(in ...TensorID) []TensorID { return in }

// Scalar is a Float constant without dimensions.
func (b *Builder) Scalar(v float64) TensorID {
	return b.p.NewConstant("", Float, nil, []float64{v})
}

// Batch picks the step's rows of a data column.
func (b *Builder) Batch(x TensorID) TensorID { return b.emit1(Op{Kind: Batch, In: ids(x)}) }

// Unary applies fn with its parameters: none, α, or α and β.
func (b *Builder) Unary(fn Fn, x TensorID, params ...float64) TensorID {
	op := Op{Kind: Unary, In: ids(x), Fn: fn}
	if len(params) > 0 {
		op.Alpha = params[0]
	}
	if len(params) > 1 {
		op.Beta = params[1]
	}
	return b.emit1(op)
}

// Affine is a·x + c.
func (b *Builder) Affine(x TensorID, a, c float64) TensorID { return b.Unary(Affine, x, a, c) }

// Binary applies fn with broadcasting.
func (b *Builder) Binary(fn Fn, x, y TensorID) TensorID {
	return b.emit1(Op{Kind: Binary, In: ids(x, y), Fn: fn})
}

func (b *Builder) Add(x, y TensorID) TensorID { return b.Binary(Add, x, y) }
func (b *Builder) Sub(x, y TensorID) TensorID { return b.Binary(Sub, x, y) }
func (b *Builder) Mul(x, y TensorID) TensorID { return b.Binary(Mul, x, y) }
func (b *Builder) Div(x, y TensorID) TensorID { return b.Binary(Div, x, y) }

// Where is c != 0 ? x : y.
func (b *Builder) Where(c, x, y TensorID) TensorID {
	return b.emit1(Op{Kind: Where, In: ids(c, x, y)})
}

// Broadcast repeats x to shape; x itself when it has it already.
func (b *Builder) Broadcast(x TensorID, shape []int) TensorID {
	if b.err == nil && slices.Equal(b.Shape(x), shape) {
		return x
	}
	return b.emit1(Op{Kind: Broadcast, In: ids(x), Shape: slices.Clone(shape)})
}

// Reduce reduces over axes (negative ones count from the end; none means all), keeping them with size 1 when keep is set.
func (b *Builder) Reduce(fn Fn, x TensorID, keep bool, axes ...int) TensorID {
	shape := b.Shape(x)
	norm := make([]int, 0, len(shape))
	for _, a := range axes {
		if a < 0 {
			a += len(shape)
		}
		norm = append(norm, a)
	}
	if len(axes) == 0 {
		for i := range shape {
			norm = append(norm, i)
		}
	}
	slices.Sort(norm)
	norm = slices.Compact(norm)
	y := b.emit1(Op{Kind: Reduce, In: ids(x), Fn: fn, Axes: norm})
	if keep || b.err != nil {
		return y
	}
	var s []int
	for i, d := range shape {
		if !slices.Contains(norm, i) {
			s = append(s, d)
		}
	}
	return b.Reshape(y, s)
}

// Cumulative is the running sum (Add) or product (Mul) along an axis, in log2(n) passes (Hillis and Steele 1986); exclusive: of the elements
// before the place only; reverse: from the end.
func (b *Builder) Cumulative(fn Fn, x TensorID, axis int, exclusive, reverse bool) TensorID {
	shape := b.Shape(x)
	if b.err != nil || len(shape) == 0 {
		return b.Fail(fmt.Errorf("engine: cumulative %s %q: wants a tensor with axes", fn, b.label))
	}
	axis = b.axis(x, axis)
	neutral := 0.0
	if fn == Mul {
		neutral = 1
	}
	zeros, ones := make([]int, len(shape)), make([]int, len(shape))
	for i := range ones {
		ones[i] = 1
	}
	// shift moves x by k places along the axis, away from where the running starts.
	shift := func(x TensorID, k int) TensorID {
		kept := slices.Clone(shape)
		kept[axis] -= k
		from, to := slices.Clone(zeros), slices.Clone(zeros)
		if reverse {
			from[axis] = k
		} else {
			to[axis] = k
		}
		return b.Pad(b.Slice(x, from, ones, kept), to, ones, shape, neutral)
	}
	n := shape[axis]
	if exclusive && n > 0 {
		x = shift(x, 1)
	}
	for k := 1; k < n && b.err == nil; k *= 2 {
		x = b.Binary(fn, x, shift(x, k))
	}
	return x
}

// MatMul is a·b, plus a bias over the last axis unless it is None. A stack of matrices times one matrix is computed as one product of
// all rows, which makes the weights' gradient one product too.
func (b *Builder) MatMul(x, y, bias TensorID, transX, transY bool) TensorID {
	if s := b.Shape(x); len(s) > 2 && len(b.Shape(y)) == 2 && !transX && b.err == nil {
		k := s[len(s)-1]
		z := b.MatMul(b.Reshape(x, []int{Len(s[:len(s)-1]), k}), y, bias, false, transY)
		if b.err != nil {
			return None
		}
		return b.Reshape(z, append(slices.Clone(s[:len(s)-1]), b.Shape(z)[1]))
	}
	op := Op{Kind: MatMul, In: ids(x, y), TransA: transX, TransB: transY}
	if bias != None {
		op.In = append(op.In, bias)
	}
	return b.emit1(op)
}

// Conv is a convolution, plus a bias per output channel unless it is None.
func (b *Builder) Conv(x, w, bias TensorID, win Window) TensorID {
	op := Op{Kind: Conv, In: ids(x, w), Window: &win}
	if bias != None {
		op.In = append(op.In, bias)
	}
	return b.emit1(op)
}

func (b *Builder) MaxPool(x TensorID, win Window) TensorID {
	return b.emit1(Op{Kind: MaxPool, In: ids(x), Window: &win})
}

func (b *Builder) AvgPool(x TensorID, win Window) TensorID {
	return b.emit1(Op{Kind: AvgPool, In: ids(x), Window: &win})
}

// BatchNorm normalises with the batch's own statistics and returns y, mean and biased variance.
func (b *Builder) BatchNorm(x, scale, bias TensorID, epsilon float64) (y, mean, variance TensorID) {
	out := b.Emit(Op{Kind: BatchNorm, In: ids(x, scale, bias), Epsilon: epsilon})
	return out[0], out[1], out[2]
}

// BatchNormInfer normalises with given statistics.
func (b *Builder) BatchNormInfer(x, scale, bias, mean, variance TensorID, epsilon float64) TensorID {
	return b.emit1(Op{Kind: BatchNormInfer, In: ids(x, scale, bias, mean, variance), Epsilon: epsilon})
}

func (b *Builder) Softmax(x TensorID, axis int) TensorID {
	return b.emit1(Op{Kind: Softmax, In: ids(x), Axes: []int{b.axis(x, axis)}})
}

func (b *Builder) LogSoftmax(x TensorID, axis int) TensorID {
	return b.emit1(Op{Kind: LogSoftmax, In: ids(x), Axes: []int{b.axis(x, axis)}})
}

func (b *Builder) axis(x TensorID, axis int) int {
	if axis < 0 {
		axis += len(b.Shape(x))
	}
	return axis
}

// Dropout zeroes elements at a rate and scales the others; stream must be unique in the function.
func (b *Builder) Dropout(x TensorID, rate float64, stream uint32) TensorID {
	return b.emit1(Op{Kind: Dropout, In: ids(x), Rate: rate, Stream: stream})
}

func (b *Builder) Transpose(x TensorID, perm ...int) TensorID {
	return b.emit1(Op{Kind: Transpose, In: ids(x), Axes: perm})
}

// Reshape gives x another shape; x itself when it has it already.
func (b *Builder) Reshape(x TensorID, shape []int) TensorID {
	if b.err == nil && slices.Equal(b.Shape(x), shape) {
		return x
	}
	return b.emit1(Op{Kind: Reshape, In: ids(x), Shape: slices.Clone(shape)})
}

// Detach is x as a constant to Gradient: nothing flows back through it.
func (b *Builder) Detach(x TensorID) TensorID {
	y := b.emit1(Op{Kind: Reshape, In: ids(x), Shape: slices.Clone(b.Shape(x))})
	b.detached[y] = true
	return y
}

func (b *Builder) Concat(axis int, xs ...TensorID) TensorID {
	if len(xs) == 0 {
		return b.Fail(fmt.Errorf("engine: Concat %q: no inputs", b.label))
	}
	return b.emit1(Op{Kind: Concat, In: slices.Clone(xs), Axes: []int{b.axis(xs[0], axis)}})
}

// Slice takes shape elements from starts on in steps.
func (b *Builder) Slice(x TensorID, starts, steps, shape []int) TensorID {
	return b.emit1(Op{Kind: Slice, In: ids(x), Starts: starts, Steps: steps, Shape: shape})
}

// Pad places x at starts, in steps, inside shape filled with value.
func (b *Builder) Pad(x TensorID, starts, steps, shape []int, value float64) TensorID {
	return b.emit1(Op{Kind: Pad, In: ids(x), Starts: starts, Steps: steps, Shape: shape, Alpha: value})
}

func (b *Builder) Gather(x, indices TensorID, axis int) TensorID {
	return b.emit1(Op{Kind: Gather, In: ids(x, indices), Axes: []int{b.axis(x, axis)}})
}

func (b *Builder) Cast(x TensorID, t DType) TensorID {
	if b.err == nil && b.Type(x) == t {
		return x
	}
	return b.emit1(Op{Kind: Cast, In: ids(x), Type: t})
}

// OneHot adds a last axis of so many classes.
func (b *Builder) OneHot(x TensorID, classes int) TensorID {
	return b.emit1(Op{Kind: OneHot, In: ids(x), Shape: append(slices.Clone(b.Shape(x)), classes)})
}

// ArgMax gives the index of the largest element along an axis that keeps size 1.
func (b *Builder) ArgMax(x TensorID, axis int) TensorID {
	return b.emit1(Op{Kind: ArgMax, In: ids(x), Axes: []int{b.axis(x, axis)}})
}

// Lerp sets a state to keep·state + take·x.
func (b *Builder) Lerp(state, x TensorID, keep, take float64) {
	b.Emit(Op{Kind: Lerp, Out: ids(state), In: ids(state, x), Alpha: keep, Beta: take})
}

// Update applies an optimizer's rule to a parameter.
func (b *Builder) Update(rule Rule, parameter, gradient, coefs TensorID, slots ...TensorID) {
	b.Emit(Op{Kind: Update, Rule: &rule, Out: append(ids(parameter), slots...), In: append(ids(parameter, gradient, coefs), slots...)})
}

// Moments summarises a tensor; see the kind.
func (b *Builder) Moments(x TensorID) TensorID { return b.emit1(Op{Kind: Moments, In: ids(x)}) }
