package lower

import (
	"fmt"
	"math"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// value is a value of the graph: a tensor of the function, or a constant known to the host.
type value struct {
	id      engine.TensorID // None for a constant
	host    *constant       // nil for a tensor of the function
	elem    onnx.DataType
	batched bool // depends on a data input, so that its first axis may be the batch
}

// constant is a tensor that the host knows.
type constant struct {
	shape []int
	elem  onnx.DataType
	f     []float64 // elements of a floating-point type
	i     []int64   // elements of any other type
}

func hostValue(c *constant) value { return value{id: engine.None, host: c, elem: c.elem} }

func intConstant(shape []int, v ...int64) *constant {
	return &constant{shape: shape, elem: onnx.Int64, i: v}
}

func floatConstant(shape []int, v ...float64) *constant {
	return &constant{shape: shape, elem: onnx.Float32, f: v}
}

func scalar(v float64) value { return hostValue(floatConstant(nil, v)) }

func (c *constant) isFloat() bool { return c.elem.IsFloat() }

func (c *constant) size() int { return len(c.f) + len(c.i) }

// toInts are the elements as ints, cut off at ±2^62.
func (c *constant) toInts() []int {
	out := make([]int, c.size())
	for k := range out {
		if c.isFloat() {
			out[k] = clampInt(truncate(c.f[k]))
		} else {
			out[k] = clampInt(c.i[k])
		}
	}
	return out
}

// toFloats are the elements as floats.
func (c *constant) toFloats() []float64 {
	if c.isFloat() {
		return c.f
	}
	out := make([]float64, len(c.i))
	for k, v := range c.i {
		out[k] = float64(v)
	}
	return out
}

// truncate rounds towards zero and saturates; NaN gives 0.
func truncate(v float64) int64 {
	switch {
	case math.IsNaN(v):
		return 0
	case v >= math.MaxInt64:
		return math.MaxInt64
	case v <= math.MinInt64:
		return math.MinInt64
	}
	return int64(v)
}

// readable are the element types that a graph may compute with; float16 and the like would be trained in another precision than they say.
var readable = []onnx.DataType{onnx.Float32, onnx.Float64, onnx.Int64, onnx.Int32, onnx.Int16, onnx.Int8, onnx.Uint8, onnx.Uint16, onnx.Uint32,
	onnx.Uint64, onnx.Bool}

// tensorConstant reads a tensor.
func tensorConstant(t *onnx.Tensor) (*constant, error) {
	if !slices.Contains(readable, t.Type) {
		return nil, fmt.Errorf("tensor %q has element type %s, which is not supported: export in float32", t.Name, t.Type)
	}
	c := &constant{elem: t.Type, shape: make([]int, len(t.Dims))}
	for k, d := range t.Dims {
		c.shape[k] = clampInt(d)
	}
	if err := checkSize(c.shape); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	var err error
	if c.isFloat() {
		c.f, err = t.Float64s()
	} else {
		c.i, err = t.Int64s()
	}
	return c, err
}

func (e *env) shape(v value) []int {
	if v.host != nil {
		return v.host.shape
	}
	return e.Shape(v.id)
}

func (e *env) isFloat(v value) bool {
	if v.host != nil {
		return v.host.isFloat()
	}
	return e.Type(v.id) == engine.Float
}

// device is a value as a tensor of the function; a constant becomes one however often it is used. Booleans are floats.
func (e *env) device(v value) engine.TensorID {
	if v.host == nil {
		return v.id
	}
	if v.host.isFloat() || v.host.elem == onnx.Bool {
		return e.constant(v.host, engine.Float)
	}
	for _, x := range v.host.i {
		if x != int64(int32(x)) {
			return e.Fail(fmt.Errorf("integer constant %d is beyond int32", x))
		}
	}
	return e.constant(v.host, engine.Int)
}

// deviceFloat is device as floats.
func (e *env) deviceFloat(v value) engine.TensorID {
	if v.host != nil {
		return e.constant(v.host, engine.Float)
	}
	if e.Err() != nil {
		return engine.None
	}
	return e.Cast(v.id, engine.Float)
}

// placed is a constant of the program.
type placed struct {
	c *constant
	t engine.DType
}

func (e *env) constant(c *constant, t engine.DType) engine.TensorID {
	if e.Err() != nil {
		return engine.None
	}
	id, ok := e.placed[placed{c, t}]
	if !ok {
		id = e.Program().NewConstant("", t, c.shape, c.toFloats())
		e.placed[placed{c, t}] = id
	}
	return id
}

// fail records an error and gives a value for it.
func (e *env) fail(err error) value { return value{id: e.Fail(err)} }

// hosted says whether all values are constants and small enough to be computed here.
func hosted(vs ...value) bool {
	for _, v := range vs {
		if v.host == nil || v.host.size() > maxHostSize {
			return false
		}
	}
	return true
}

// like makes a constant of c's type.
func (c *constant) like(shape []int) *constant {
	d := &constant{shape: slices.Clone(shape), elem: c.elem}
	if c.isFloat() {
		d.f = make([]float64, engine.Len(shape))
	} else {
		d.i = make([]int64, engine.Len(shape))
	}
	return d
}

// copyAt sets element to of d to element from of c.
func (d *constant) copyAt(to int, c *constant, from int) {
	if d.isFloat() {
		d.f[to] = c.f[from]
	} else {
		d.i[to] = c.i[from]
	}
}

// pick makes a constant of shape whose element at pos is c's element number from(pos).
func (c *constant) pick(shape []int, from func(pos []int) int) *constant {
	d := c.like(shape)
	each(shape, func(k int, pos []int) { d.copyAt(k, c, from(pos)) })
	return d
}

// each calls f for every place of a shape in row-major order.
func each(shape []int, f func(k int, pos []int)) {
	pos := make([]int, len(shape))
	for k := range engine.Len(shape) {
		f(k, pos)
		for i := len(pos) - 1; i >= 0; i-- {
			if pos[i]++; pos[i] < shape[i] {
				break
			}
			pos[i] = 0
		}
	}
}

// flat is the row-major number of a place; along axes of size 1 every place is the first, and leading axes that shape lacks are ignored.
func flat(shape, pos []int) int {
	k := 0
	lead := len(pos) - len(shape)
	for i, d := range shape {
		p := pos[lead+i]
		if d == 1 {
			p = 0
		}
		k = k*d + p
	}
	return k
}

// reshape is x's elements under another shape.
func (e *env) reshape(x value, shape []int) value {
	if engine.Len(e.shape(x)) != engine.Len(shape) {
		return e.fail(fmt.Errorf("cannot reshape %v to %v", e.shape(x), shape))
	}
	if x.host != nil {
		c := *x.host
		c.shape = slices.Clone(shape)
		return hostValue(&c)
	}
	x.id = e.Reshape(x.id, shape)
	return x
}

func (e *env) transpose(x value, perm []int) value {
	if hosted(x) {
		s := e.shape(x)
		shape := make([]int, len(s))
		for i, a := range perm {
			shape[i] = s[a]
		}
		from := make([]int, len(s))
		return hostValue(x.host.pick(shape, func(pos []int) int {
			for i, a := range perm {
				from[a] = pos[i]
			}
			return flat(s, from)
		}))
	}
	return value{id: e.Transpose(e.device(x), perm...), elem: x.elem}
}

// slice takes shape elements from starts on in steps.
func (e *env) slice(x value, starts, steps, shape []int) value {
	if hosted(x) {
		s := e.shape(x)
		from := make([]int, len(s))
		return hostValue(x.host.pick(shape, func(pos []int) int {
			k := 0
			for i := range from {
				k = k*s[i] + starts[i] + pos[i]*steps[i]
			}
			return k
		}))
	}
	return value{id: e.Slice(e.device(x), starts, steps, shape), elem: x.elem}
}

// gather picks elements along an axis; negative indices count from its end.
func (e *env) gather(x, index value, axis int) value {
	s := e.shape(x)
	if index.host != nil {
		for _, k := range index.host.toInts() {
			if k < -s[axis] || k >= s[axis] {
				return e.fail(fmt.Errorf("index %d is out of range for axis %d of %v", k, axis, s))
			}
		}
	}
	is := e.shape(index)
	shape := slices.Concat(s[:axis], is, s[axis+1:])
	if checkSize(shape) == nil && engine.Len(shape) <= maxHostSize && hosted(x, index) {
		at := index.host.toInts()
		from := make([]int, len(s))
		return hostValue(x.host.pick(shape, func(pos []int) int {
			k := at[flat(is, pos[axis:axis+len(is)])]
			if k < 0 {
				k += s[axis]
			}
			copy(from, pos[:axis])
			from[axis] = k
			copy(from[axis+1:], pos[axis+len(is):])
			return flat(s, from)
		}))
	}
	i := e.device(index)
	if e.Err() != nil {
		return value{id: engine.None}
	}
	return value{id: e.Gather(e.device(x), e.Cast(i, engine.Int), axis), elem: x.elem}
}

// gatherInts is gather with known indices.
func (e *env) gatherInts(x value, index []int, axis int) value {
	i := make([]int64, len(index))
	for k, v := range index {
		i[k] = int64(v)
	}
	return e.gather(x, hostValue(intConstant([]int{len(i)}, i...)), axis)
}

func (e *env) concat(xs []value, axis int) value {
	if hosted(xs...) {
		shape := slices.Clone(e.shape(xs[0]))
		shape[axis] = 0
		for _, x := range xs {
			s := slices.Clone(e.shape(x))
			if x.host.elem != xs[0].host.elem {
				return e.fail(fmt.Errorf("joins %s and %s", xs[0].host.elem, x.host.elem))
			}
			if len(s) == len(shape) {
				shape[axis] += s[axis]
				s[axis] = shape[axis]
			}
			if !slices.Equal(s, shape) {
				return e.fail(fmt.Errorf("cannot join %v and %v along axis %d", e.shape(xs[0]), e.shape(x), axis))
			}
		}
		d, at := xs[0].host.like(shape), 0
		for _, x := range xs {
			each(e.shape(x), func(k int, pos []int) {
				to := slices.Clone(pos)
				to[axis] += at
				d.copyAt(flat(shape, to), x.host, k)
			})
			at += e.shape(x)[axis]
		}
		return hostValue(d)
	}
	ids := make([]engine.TensorID, len(xs))
	for i, x := range xs {
		ids[i] = e.device(x)
	}
	return value{id: e.Concat(axis, ids...), elem: xs[0].elem}
}

// broadcast repeats x to shape.
func (e *env) broadcast(x value, shape []int) value {
	s := e.shape(x)
	if got, err := engine.BroadcastShapes(s, shape); err != nil || !slices.Equal(got, shape) {
		return e.fail(fmt.Errorf("cannot broadcast %v to %v", s, shape))
	}
	if err := checkSize(shape); err != nil {
		return e.fail(err)
	}
	if slices.Equal(s, shape) {
		return x
	}
	if hosted(x) && engine.Len(shape) <= maxHostSize {
		return hostValue(x.host.pick(shape, func(pos []int) int { return flat(s, pos) }))
	}
	id := e.device(x)
	if e.Type(id) == engine.Float {
		return value{id: e.Broadcast(id, shape), elem: x.elem}
	}
	// Integers are not broadcast by the engine, but gathered.
	x = e.reshape(value{id: id, elem: x.elem}, append(repeat(1, len(shape)-len(s)), s...))
	for i, d := range shape {
		if e.Err() == nil && e.shape(x)[i] != d {
			x = e.gatherInts(x, make([]int, d), i)
		}
	}
	return x
}
