package lower

import (
	"errors"
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// reductions over axes.
var reductions = map[string]lowering{"ReduceSum": reduction(engine.Sum, nil, nil), "ReduceMean": reduction(engine.Mean, nil, nil),
	"ReduceMax": reduction(engine.Max, nil, nil), "ReduceMin": reduction(engine.Min, nil, nil), "ReduceProd": reduction(engine.Prod, nil, nil),
	"ReduceSumSquare": reduction(engine.Sum, (*env).square, nil), "ReduceL1": reduction(engine.Sum, unaryOf(engine.Abs), nil),
	"ReduceL2": reduction(engine.Sum, (*env).square, unaryOf(engine.Sqrt)), "ReduceLogSum": reduction(engine.Sum, nil, unaryOf(engine.Log)),
	"CumSum": cumulative(engine.Add), "CumProd": cumulative(engine.Mul),
	"ReduceLogSumExp": lowerReduceLogSumExp, "ArgMax": argExtremum(false), "ArgMin": argExtremum(true)}

func (e *env) square(x value) value { return e.mul(x, x) }

func unaryOf(fn engine.Fn) func(*env, value) value {
	return func(e *env, x value) value { return e.unary(fn, x) }
}

// reducedAxes are the axes of the current node, an attribute or an input by the operator set, and whether it is the identity.
func (e *env) reducedAxes(rank int) (axes []int, identity bool, err error) {
	axes, err = e.intsAt("axes", 1)
	if err != nil {
		return nil, false, err
	}
	if len(axes) == 0 {
		return seq(rank), e.node.Int("noop_with_empty_axes", 0) != 0, nil
	}
	axes, err = axesOf(axes, rank)
	return axes, false, err
}

// reduction is after(fn over axes of before(x)).
func reduction(fn engine.Fn, before, after func(*env, value) value) lowering {
	return func(e *env, n *onnx.Node) error {
		x, err := e.arg(0)
		if err != nil {
			return err
		}
		axes, identity, err := e.reducedAxes(len(e.shape(x)))
		if err != nil {
			return err
		}
		if before != nil {
			x = before(e, x)
		}
		if !identity && e.Err() == nil {
			x = e.reduce(fn, x, n.Int("keepdims", 1) != 0, axes)
		}
		if after != nil && e.Err() == nil {
			x = after(e, x)
		}
		return e.set(0, x)
	}
}

// reduce reduces over axes. Means of integers are cut off towards zero.
func (e *env) reduce(fn engine.Fn, x value, keep bool, axes []int) value {
	s := e.shape(x)
	var kept []int
	for i, d := range s {
		switch {
		case !slices.Contains(axes, i):
			kept = append(kept, d)
		case keep:
			kept = append(kept, 1)
		}
	}
	if hosted(x) && (fn == engine.Sum || fn == engine.Prod || engine.Len(s) > 0 && fn != engine.Mean) {
		return e.reshape(reduceHost(fn, x.host, axes), kept)
	}
	if !e.isFloat(x) && narrow(x.elem) && fn != engine.Max && fn != engine.Min {
		return e.fail(fmt.Errorf("%s of %s is not supported", fn, x.elem))
	}
	isInt := !e.isFloat(x) && x.elem != onnx.Bool
	id := e.deviceFloat(x)
	if len(axes) > 0 {
		id = e.Reduce(fn, id, true, axes...)
	}
	if e.Err() != nil {
		return value{id: engine.None}
	}
	id = e.Reshape(id, kept)
	if isInt {
		return e.toInt(id, x.elem)
	}
	return value{id: id, elem: x.elem}
}

// reduceHost keeps the axes with size 1.
func reduceHost(fn engine.Fn, c *constant, axes []int) value {
	shape := slices.Clone(c.shape)
	for _, a := range axes {
		shape[a] = 1
	}
	d := c.like(shape)
	fresh := make([]bool, d.size())
	each(c.shape, func(k int, pos []int) {
		to := flat(shape, pos)
		if !fresh[to] {
			fresh[to] = true
			d.copyAt(to, c, k)
			return
		}
		f := map[engine.Fn]engine.Fn{engine.Sum: engine.Add, engine.Prod: engine.Mul}[fn]
		if f == engine.NoFn {
			f = fn
		}
		if d.isFloat() {
			d.f[to] = hostBinary[f](d.f[to], c.f[k])
			return
		}
		v, _ := intBinary(f, d.i[to], c.i[k]) // none of these fails
		d.i[to] = wrap(d.elem, v)
	})
	for k, done := range fresh { // the sum of nothing is 0, which it is already; the product 1
		if !done && fn == engine.Prod {
			if d.isFloat() {
				d.f[k] = 1
			} else {
				d.i[k] = 1
			}
		}
	}
	return hostValue(d)
}

// lowerReduceLogSumExp is m + log(sum(exp(x-m))) with m the maximum, which takes no part in the gradient: it cancels out.
func lowerReduceLogSumExp(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	axes, identity, err := e.reducedAxes(len(e.Shape(x)))
	if err != nil {
		return err
	}
	v := e.floats(x)
	if identity || len(axes) == 0 {
		return e.set(0, v)
	}
	m := e.floats(e.Detach(e.Unary(engine.Clip, e.Reduce(engine.Max, x, true, axes...), -maxShift, maxShift)))
	if e.Err() != nil {
		return e.Err()
	}
	y := e.reduce(engine.Sum, e.unary(engine.Exp, e.sub(v, m)), true, axes)
	y = e.add(e.unary(engine.Log, y), m)
	if e.Err() == nil && n.Int("keepdims", 1) == 0 {
		var kept []int
		for i, d := range e.Shape(x) {
			if !slices.Contains(axes, i) {
				kept = append(kept, d)
			}
		}
		y = e.reshape(y, kept)
	}
	return e.set(0, y)
}

// maxShift bounds the maximum by which ReduceLogSumExp shifts, so that infinite elements give infinity and not NaN; it is float32's range.
const maxShift = 3.4e38

func argExtremum(least bool) lowering {
	return func(e *env, n *onnx.Node) error {
		x, err := e.inFloat(0)
		if err != nil {
			return err
		}
		s := e.Shape(x)
		a, err := axis(clampInt(n.Int("axis", 0)), len(s))
		if err != nil {
			return err
		}
		if s[a] == 0 {
			return errors.New("the axis is empty")
		}
		if least {
			x = e.Unary(engine.Neg, x)
		}
		last := n.Int("select_last_index", 0) != 0
		if last {
			starts, steps := repeat(0, len(s)), repeat(1, len(s))
			starts[a], steps[a] = s[a]-1, -1
			x = e.Slice(x, starts, steps, s)
		}
		y := e.ArgMax(x, a)
		if last {
			y = e.Cast(e.Affine(e.Cast(y, engine.Float), -1, float64(s[a]-1)), engine.Int)
		}
		if n.Int("keepdims", 1) == 0 {
			y = e.Reshape(y, slices.Concat(s[:a], s[a+1:]))
		}
		return e.set(0, value{id: y, elem: onnx.Int64})
	}
}

// cumulative is the running sum or product along an axis, which is an input.
func cumulative(fn engine.Fn) lowering {
	return func(e *env, n *onnx.Node) error {
		x, err := e.arg(0)
		if err != nil {
			return err
		}
		at, err := e.hostInts(1)
		if err != nil {
			return err
		}
		if len(at) != 1 {
			return fmt.Errorf("axis has %d elements, wants one", len(at))
		}
		a, err := axis(at[0], len(e.shape(x)))
		if err != nil {
			return err
		}
		if !e.isFloat(x) && narrow(x.elem) {
			return fmt.Errorf("of %s is not supported", x.elem)
		}
		y := e.Cumulative(fn, e.deviceFloat(x), a, n.Int("exclusive", 0) != 0, n.Int("reverse", 0) != 0)
		if !e.isFloat(x) {
			return e.set(0, e.toInt(y, x.elem))
		}
		return e.set(0, value{id: y, elem: x.elem})
	}
}
