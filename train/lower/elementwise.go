package lower

import (
	"errors"
	"fmt"
	"math"

	"netmend/engine"
	"netmend/onnx"
)

// elementwise are arithmetic, comparisons, logic and casts.
var elementwise = map[string]lowering{
	"Identity": func(e *env, n *onnx.Node) error { return e.unaryNode(func(x value) value { return x }) },
	"Neg":      unary(engine.Neg), "Abs": unary(engine.Abs), "Sign": unary(engine.Sign), "Exp": unary(engine.Exp), "Log": unary(engine.Log),
	"Sqrt": unary(engine.Sqrt), "Reciprocal": unary(engine.Reciprocal), "Sin": unary(engine.Sin), "Cos": unary(engine.Cos),
	"Asin": unary(engine.Asin), "Acos": unary(engine.Acos), "Atan": unary(engine.Atan), "Sinh": unary(engine.Sinh),
	"Asinh": unary(engine.Asinh), "Acosh": unary(engine.Acosh), "Atanh": unary(engine.Atanh), "Erf": unary(engine.Erf), "Floor": unary(engine.Floor), "Relu": unary(engine.Relu),
	"Ceil":  composed((*env).ceil),
	"Round": composed((*env).round),
	"Tan":   composed(func(e *env, x value) value { return e.div(e.unary(engine.Sin, x), e.unary(engine.Cos, x)) }),
	// cosh x = (exp(x) + exp(-x)) / 2
	"Cosh": composed(func(e *env, x value) value {
		return e.affine(e.add(e.unary(engine.Exp, x), e.unary(engine.Exp, e.unary(engine.Neg, x))), 0.5, 0)
	}),

	"Add": arithmetic(engine.Add), "Sub": arithmetic(engine.Sub), "Mul": arithmetic(engine.Mul), "Div": arithmetic(engine.Div),
	"Pow": arithmetic(engine.Pow), "Max": variadic(engine.Max, false), "Min": variadic(engine.Min, false), "Sum": variadic(engine.Add, false),
	"Mean": variadic(engine.Add, true), "Mod": lowerMod,

	"Greater": comparison(engine.Greater), "GreaterOrEqual": comparison(engine.GreaterOrEqual), "Less": comparison(engine.Less),
	"LessOrEqual": comparison(engine.LessOrEqual), "Equal": comparison(engine.Equal),
	"And": comparison(engine.Mul), "Or": comparison(engine.Max), "Xor": lowerXor,
	"Not": func(e *env, n *onnx.Node) error { return e.unaryNode(e.not) },
	"IsNaN": func(e *env, n *onnx.Node) error {
		return e.unaryNode(func(x value) value { return e.not(e.compare(engine.Equal, x, x)) })
	},
	"IsInf": lowerIsInf,
	"Where": lowerWhere, "Clip": lowerClip, "Cast": lowerCast, "CastLike": lowerCastLike,
}

// unaryNode lowers a node of one input and one output.
func (e *env) unaryNode(f func(value) value) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	return e.set(0, f(x))
}

func unary(fn engine.Fn) lowering {
	return func(e *env, n *onnx.Node) error { return e.unaryNode(func(x value) value { return e.unary(fn, x) }) }
}

// composed lowers a node of one float input by a formula.
func composed(f func(*env, value) value) lowering {
	return func(e *env, n *onnx.Node) error {
		return e.unaryNode(func(x value) value {
			if !e.isFloat(x) {
				return e.fail(errors.New("integers are not supported"))
			}
			return f(e, x)
		})
	}
}

// hostUnary are the functions that the host computes; others go to the device even for constants.
var hostUnary = map[engine.Fn]func(float64) float64{engine.Neg: func(x float64) float64 { return -x }, engine.Abs: math.Abs, engine.Exp: math.Exp,
	engine.Log: math.Log, engine.Sqrt: math.Sqrt, engine.Reciprocal: func(x float64) float64 { return 1 / x }, engine.Floor: math.Floor,
	engine.Sin: math.Sin, engine.Cos: math.Cos, engine.Relu: func(x float64) float64 { return max(x, 0) }, engine.Sign: signOf}

func signOf(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// unary applies a function. Of integers, only those whose result is one.
func (e *env) unary(fn engine.Fn, x value, params ...float64) value {
	if !e.isFloat(x) {
		switch fn {
		case engine.Floor:
			return x
		case engine.Neg, engine.Abs, engine.Sign, engine.Relu:
			return e.unaryInt(fn, x)
		}
		return e.fail(fmt.Errorf("%s of integers is not supported", fn))
	}
	if f := hostUnary[fn]; f != nil && hosted(x) {
		c := x.host.like(x.host.shape)
		for k, v := range x.host.f {
			c.f[k] = f(v)
		}
		return hostValue(c)
	}
	return value{id: e.Unary(fn, e.device(x), params...), elem: x.elem}
}

func (e *env) unaryInt(fn engine.Fn, x value) value {
	if hosted(x) {
		c := x.host.like(x.host.shape)
		for k, v := range x.host.i {
			switch {
			case fn == engine.Relu:
				v = max(v, 0)
			case fn == engine.Sign:
				v = min(max(v, -1), 1)
			case fn == engine.Neg || v < 0:
				v = -v
			}
			c.i[k] = wrap(c.elem, v)
		}
		return hostValue(c)
	}
	if narrow(x.elem) && fn != engine.Relu && fn != engine.Sign {
		return e.fail(fmt.Errorf("%s of %s is not supported", fn, x.elem))
	}
	return e.toInt(e.Unary(fn, e.deviceFloat(x)), x.elem)
}

// toInt rounds a float tensor towards zero.
func (e *env) toInt(id engine.TensorID, elem onnx.DataType) value {
	if e.Err() != nil {
		return value{id: engine.None}
	}
	return value{id: e.Cast(id, engine.Int), elem: elem}
}

// narrow says of an integer type that the engine's int32 does not hold its arithmetic: its results wrap around elsewhere.
func narrow(t onnx.DataType) bool { return t != onnx.Int32 && t != onnx.Int64 && t != onnx.Bool }

// wrap is v as an element of type t, modulo 2^bits.
func wrap(t onnx.DataType, v int64) int64 {
	switch t {
	case onnx.Int32:
		return int64(int32(v))
	case onnx.Int16:
		return int64(int16(v))
	case onnx.Int8:
		return int64(int8(v))
	case onnx.Uint32:
		return int64(uint32(v))
	case onnx.Uint16:
		return int64(uint16(v))
	case onnx.Uint8:
		return int64(uint8(v))
	}
	return v
}

// The usual combinations of values.
func (e *env) add(x, y value) value { return e.binary(engine.Add, x, y) }
func (e *env) sub(x, y value) value { return e.binary(engine.Sub, x, y) }
func (e *env) mul(x, y value) value { return e.binary(engine.Mul, x, y) }
func (e *env) div(x, y value) value { return e.binary(engine.Div, x, y) }

// affine is a·x + c of floats.
func (e *env) affine(x value, a, c float64) value {
	if hosted(x) && x.host.isFloat() {
		d := x.host.like(x.host.shape)
		for k, v := range x.host.f {
			d.f[k] = a*v + c
		}
		return hostValue(d)
	}
	return value{id: e.Affine(e.deviceFloat(x), a, c), elem: x.elem}
}

func (e *env) ceil(x value) value {
	return e.unary(engine.Neg, e.unary(engine.Floor, e.unary(engine.Neg, x)))
}

// round is to the nearest integer, halves to the even one: floor(x+1/2), less one where that is odd and x+1/2 was whole.
func (e *env) round(x value) value {
	h := e.affine(x, 1, 0.5)
	r := e.unary(engine.Floor, h)
	odd := e.sub(r, e.affine(e.unary(engine.Floor, e.affine(r, 0.5, 0)), 2, 0))
	return e.sub(r, e.mul(odd, e.truth(e.compare(engine.Equal, h, r))))
}

// truth is a boolean as a float.
func (e *env) truth(x value) value {
	if hosted(x) && !x.host.isFloat() {
		return hostValue(&constant{shape: x.host.shape, elem: onnx.Float32, f: x.host.toFloats()})
	}
	return e.floats(e.deviceFloat(x))
}

var hostBinary = map[engine.Fn]func(a, b float64) float64{engine.Add: func(a, b float64) float64 { return a + b },
	engine.Sub: func(a, b float64) float64 { return a - b }, engine.Mul: func(a, b float64) float64 { return a * b },
	engine.Div: func(a, b float64) float64 { return a / b }, engine.Pow: math.Pow, engine.Max: func(a, b float64) float64 { return max(a, b) },
	engine.Min: func(a, b float64) float64 { return min(a, b) }, engine.Greater: func(a, b float64) float64 { return bit(a > b) },
	engine.GreaterOrEqual: func(a, b float64) float64 { return bit(a >= b) }, engine.Less: func(a, b float64) float64 { return bit(a < b) },
	engine.LessOrEqual: func(a, b float64) float64 { return bit(a <= b) }, engine.Equal: func(a, b float64) float64 { return bit(a == b) }}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// intBinary is a function of integers; Div rounds towards zero, as in C.
func intBinary(fn engine.Fn, a, b int64) (int64, error) {
	switch fn {
	case engine.Add:
		return a + b, nil
	case engine.Sub:
		return a - b, nil
	case engine.Mul:
		return a * b, nil
	case engine.Div:
		if b == 0 {
			return 0, errors.New("division of an integer by zero")
		}
		if b == -1 {
			return -a, nil
		}
		return a / b, nil
	case engine.Max:
		return max(a, b), nil
	case engine.Min:
		return min(a, b), nil
	case engine.Pow:
		return truncate(math.Pow(float64(a), float64(b))), nil
	case engine.Greater:
		return int64(bit(a > b)), nil
	case engine.GreaterOrEqual:
		return int64(bit(a >= b)), nil
	case engine.Less:
		return int64(bit(a < b)), nil
	case engine.LessOrEqual:
		return int64(bit(a <= b)), nil
	case engine.Equal:
		return int64(bit(a == b)), nil
	}
	return 0, fmt.Errorf("%s of integers is not supported", fn)
}

// binary applies a function with broadcasting; the result has x's type.
func (e *env) binary(fn engine.Fn, x, y value) value {
	shape, err := engine.BroadcastShapes(e.shape(x), e.shape(y))
	if err != nil {
		return e.fail(err)
	}
	if err := checkSize(shape); err != nil {
		return e.fail(err)
	}
	if hosted(x, y) && engine.Len(shape) <= maxHostSize {
		return e.binaryHost(fn, x.host, y.host, shape)
	}
	whole := !e.isFloat(x) && (x.host == nil || x.host.elem != onnx.Bool)
	if whole && narrow(x.elem) && fn != engine.Max && fn != engine.Min {
		return e.fail(fmt.Errorf("arithmetic on %s is not supported", x.elem))
	}
	if !whole {
		if v, ok := e.byScalar(fn, x, y); ok {
			return v
		}
	}
	id := e.Binary(fn, e.deviceFloat(x), e.deviceFloat(y))
	if whole {
		return e.toInt(id, x.elem)
	}
	return value{id: id, elem: x.elem}
}

// byScalar is a sum or product of a tensor with a single constant, which is one pass over the tensor forward and backward, and the square,
// whose gradient needs no logarithm.
func (e *env) byScalar(fn engine.Fn, x, y value) (value, bool) {
	c := y.host
	if c == nil {
		if fn != engine.Add && fn != engine.Mul && fn != engine.Sub {
			return value{}, false
		}
		c = x.host
	}
	if c == nil || c.size() != 1 || len(c.shape) > min(len(e.shape(x)), len(e.shape(y))) || x.host != nil && y.host != nil {
		return value{}, false
	}
	a := c.toFloats()[0]
	switch {
	case fn == engine.Pow && a == 2:
		return e.mul(x, x), true
	case fn == engine.Sub && y.host == nil:
		return e.affine(y, -1, a), true
	case fn == engine.Sub:
		return e.affine(x, 1, -a), true
	case fn != engine.Add && fn != engine.Mul:
		return value{}, false
	case y.host == nil:
		x = y
	}
	if fn == engine.Add {
		return e.affine(x, 1, a), true
	}
	return e.affine(x, a, 0), true
}

func (e *env) binaryHost(fn engine.Fn, x, y *constant, shape []int) value {
	d := x.like(shape)
	var err error
	if x.isFloat() || y.isFloat() {
		xf, yf, f := x.toFloats(), y.toFloats(), hostBinary[fn]
		each(shape, func(k int, pos []int) {
			v := f(xf[flat(x.shape, pos)], yf[flat(y.shape, pos)])
			if d.isFloat() {
				d.f[k] = v
			} else {
				d.i[k] = truncate(v)
			}
		})
		return hostValue(d)
	}
	each(shape, func(k int, pos []int) {
		v, e := intBinary(fn, x.i[flat(x.shape, pos)], y.i[flat(y.shape, pos)])
		if e != nil {
			err = e
		}
		d.i[k] = wrap(d.elem, v)
	})
	if err != nil {
		return e.fail(err)
	}
	return hostValue(d)
}

// compare is binary with a boolean result, which on a device is a float.
func (e *env) compare(fn engine.Fn, x, y value) value {
	shape, err := engine.BroadcastShapes(e.shape(x), e.shape(y))
	if err != nil {
		return e.fail(err)
	}
	if err := checkSize(shape); err != nil {
		return e.fail(err)
	}
	if hosted(x, y) && engine.Len(shape) <= maxHostSize {
		v := e.binaryHost(fn, x.host, y.host, shape)
		if v.host == nil {
			return v
		}
		c := &constant{shape: shape, elem: onnx.Bool, i: make([]int64, v.host.size())}
		for k, t := range v.host.toInts() {
			c.i[k] = int64(t)
		}
		return hostValue(c)
	}
	return value{id: e.Binary(fn, e.deviceFloat(x), e.deviceFloat(y)), elem: onnx.Bool}
}

func (e *env) not(x value) value {
	return e.compare(engine.Equal, x, hostValue(&constant{elem: onnx.Bool, i: []int64{0}}))
}

// pair is both inputs. Before operator set 7 the second one was aligned at an axis that the node names.
func (e *env) pair() (x, y value, err error) {
	vs, err := e.args(2)
	if err != nil {
		return value{}, value{}, err
	}
	x, y = vs[0], vs[1]
	if e.opset < 7 && e.node.Int("broadcast", 0) != 0 && e.node.Attr("axis") != nil {
		rank := len(e.shape(x))
		a, err := axis(clampInt(e.node.Int("axis", 0)), max(rank, 1))
		if err != nil {
			return x, y, err
		}
		s := append([]int{}, e.shape(y)...)
		if a+len(s) > rank {
			return x, y, fmt.Errorf("cannot align %v with axis %d of %v", s, a, e.shape(x))
		}
		y = e.reshape(y, append(s, repeat(1, rank-a-len(s))...))
	}
	return x, y, e.Err()
}

func arithmetic(fn engine.Fn) lowering {
	return func(e *env, n *onnx.Node) error {
		x, y, err := e.pair()
		if err != nil {
			return err
		}
		return e.set(0, e.binary(fn, x, y))
	}
}

func comparison(fn engine.Fn) lowering {
	return func(e *env, n *onnx.Node) error {
		x, y, err := e.pair()
		if err != nil {
			return err
		}
		return e.set(0, e.compare(fn, x, y))
	}
}

// lowerXor: booleans that differ.
func lowerXor(e *env, n *onnx.Node) error {
	x, y, err := e.pair()
	if err != nil {
		return err
	}
	return e.set(0, e.not(e.compare(engine.Equal, x, y)))
}

func variadic(fn engine.Fn, mean bool) lowering {
	return func(e *env, n *onnx.Node) error {
		vs, err := e.args(-1)
		if err != nil {
			return err
		}
		y := vs[0]
		for _, x := range vs[1:] {
			y = e.binary(fn, y, x)
			if err := e.Err(); err != nil {
				return err
			}
		}
		if mean {
			y = e.affine(y, 1/float64(len(vs)), 0)
		}
		return e.set(0, y)
	}
}

// lowerMod is the remainder, of constants only: with the divisor's sign, or with fmod = 1 the dividend's.
func lowerMod(e *env, n *onnx.Node) error {
	x, y, err := e.pair()
	if err != nil {
		return err
	}
	shape, err := engine.BroadcastShapes(e.shape(x), e.shape(y))
	if err != nil {
		return err
	}
	if !hosted(x, y) || checkSize(shape) != nil || engine.Len(shape) > maxHostSize {
		return errors.New("is supported for constants only")
	}
	if x.host.isFloat() != y.host.isFloat() {
		return errors.New("mixes integers and floats")
	}
	cut, zero := n.Int("fmod", 0) != 0, false
	d := x.host.like(shape)
	each(shape, func(k int, pos []int) {
		i, j := flat(x.host.shape, pos), flat(y.host.shape, pos)
		if d.isFloat() {
			d.f[k] = math.Mod(x.host.f[i], y.host.f[j])
			return
		}
		a, b := x.host.i[i], y.host.i[j]
		if b == 0 || b == -1 {
			zero = zero || b == 0
			return
		}
		if d.i[k] = a % b; !cut && d.i[k] != 0 && (d.i[k] < 0) != (b < 0) {
			d.i[k] += b
		}
	})
	if zero {
		return errors.New("division of an integer by zero")
	}
	return e.set(0, hostValue(d))
}

func lowerIsInf(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	pos, neg := n.Int("detect_positive", 1) != 0, n.Int("detect_negative", 1) != 0
	v, inf := e.floats(x), math.Inf(1)
	y := e.compare(engine.Equal, v, scalar(inf))
	switch {
	case pos && neg:
		y = e.compare(engine.Equal, e.unary(engine.Abs, v), scalar(inf))
	case neg:
		y = e.compare(engine.Equal, v, scalar(-inf))
	case !pos:
		y = e.compare(engine.Less, v, v)
	}
	return e.set(0, y)
}

// where is c ? x : y with broadcasting.
func (e *env) where(c, x, y value) value {
	shape, err := engine.BroadcastShapes(e.shape(x), e.shape(y))
	if err == nil {
		shape, err = engine.BroadcastShapes(shape, e.shape(c))
	}
	if err == nil {
		err = checkSize(shape)
	}
	if err != nil {
		return e.fail(err)
	}
	if hosted(c, x, y) && engine.Len(shape) <= maxHostSize {
		if x.host.elem != y.host.elem {
			return e.fail(fmt.Errorf("chooses between %s and %s", x.host.elem, y.host.elem))
		}
		d, cond := x.host.like(shape), c.host.toInts()
		each(shape, func(k int, pos []int) {
			if cond[flat(c.host.shape, pos)] != 0 {
				d.copyAt(k, x.host, flat(x.host.shape, pos))
			} else {
				d.copyAt(k, y.host, flat(y.host.shape, pos))
			}
		})
		return hostValue(d)
	}
	id := e.Where(e.deviceFloat(c), e.deviceFloat(x), e.deviceFloat(y))
	if dx, dy := e.device(x), e.device(y); e.Err() == nil && (e.Type(dx) == engine.Int || e.Type(dy) == engine.Int) {
		return e.toInt(id, x.elem)
	}
	return value{id: id, elem: x.elem}
}

func lowerWhere(e *env, n *onnx.Node) error {
	v, err := e.args(3)
	if err != nil {
		return err
	}
	return e.set(0, e.where(v[0], v[1], v[2]))
}

// lowerClip: the bounds are attributes before operator set 11, inputs since.
func lowerClip(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	lo, hi := math.Inf(-1), math.Inf(1)
	for i, p := range []*float64{&lo, &hi} {
		name := []string{"min", "max"}[i]
		*p = float64(n.Float(name, float32(*p)))
		if !e.has(i + 1) {
			continue
		}
		v, err := e.arg(i + 1)
		if err != nil {
			return err
		}
		if v.host == nil {
			x = e.binary([]engine.Fn{engine.Max, engine.Min}[i], x, v)
			continue
		}
		if v.host.size() != 1 {
			return fmt.Errorf("%s has shape %v, wants a scalar", name, v.host.shape)
		}
		*p = v.host.toFloats()[0]
	}
	switch {
	case e.Err() != nil || math.IsInf(lo, -1) && math.IsInf(hi, 1):
	case e.isFloat(x):
		x = e.unary(engine.Clip, x, lo, hi)
	default:
		x = e.toInt(e.Unary(engine.Clip, e.deviceFloat(x), lo, hi), x.elem)
	}
	return e.set(0, x)
}

func lowerCast(e *env, n *onnx.Node) error {
	to := onnx.DataType(n.Int("to", 0))
	if a := n.Attr("to"); a != nil && a.Type == onnx.AttrString { // before operator set 6
		to = map[string]onnx.DataType{"FLOAT": onnx.Float32, "DOUBLE": onnx.Float64, "INT32": onnx.Int32, "INT64": onnx.Int64, "BOOL": onnx.Bool}[a.Str]
	}
	return e.unaryNode(func(x value) value { return e.cast(x, to) })
}

func lowerCastLike(e *env, n *onnx.Node) error {
	v, err := e.args(2)
	if err != nil {
		return err
	}
	to := v[1].elem
	if v[1].host != nil {
		to = v[1].host.elem
	}
	return e.set(0, e.cast(v[0], to))
}

// cast changes the element type. Floats are cut off towards zero.
func (e *env) cast(x value, to onnx.DataType) value {
	ok := false
	for _, t := range readable {
		ok = ok || t == to
	}
	if !ok || x.elem != onnx.Undefined && x.elem == onnx.StringType {
		return e.fail(fmt.Errorf("cast of %s to %s is not supported", x.elem, to))
	}
	if hosted(x) {
		return hostValue(x.host.cast(to))
	}
	id := e.device(x)
	if e.Err() != nil {
		return value{id: engine.None}
	}
	isInt := e.Type(id) == engine.Int
	switch {
	case to == onnx.Bool && (isInt || x.elem != onnx.Bool):
		return e.not(e.compare(engine.Equal, x, scalar(0)))
	case to.IsFloat() || to == onnx.Bool:
		return value{id: e.Cast(id, engine.Float), elem: to}
	case isInt && narrow(to) && to != x.elem:
		return e.fail(fmt.Errorf("cast of %s to %s is not supported", x.elem, to))
	case !isInt && (to == onnx.Uint32 || to == onnx.Uint64):
		return e.fail(fmt.Errorf("cast of %s to %s is not supported", x.elem, to))
	}
	return value{id: e.Cast(id, engine.Int), elem: to}
}

func (c *constant) cast(to onnx.DataType) *constant {
	d := &constant{shape: c.shape, elem: to}
	if to.IsFloat() {
		d.f = make([]float64, c.size())
		for k, v := range c.toFloats() {
			if d.f[k] = v; to == onnx.Float32 {
				d.f[k] = float64(float32(v))
			}
		}
		return d
	}
	d.i = make([]int64, c.size())
	for k := range d.i {
		switch {
		case to == onnx.Bool && c.isFloat():
			d.i[k] = int64(bit(c.f[k] != 0))
		case to == onnx.Bool:
			d.i[k] = int64(bit(c.i[k] != 0))
		case c.isFloat():
			d.i[k] = wrap(to, truncate(c.f[k]))
		default:
			d.i[k] = wrap(to, c.i[k])
		}
	}
	return d
}
