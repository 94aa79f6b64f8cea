package lower

import (
	"errors"
	"fmt"
	"math"

	"netmend/engine"
	"netmend/onnx"
)

// constants make values of attributes and shapes.
var constants = map[string]lowering{"Constant": lowerConstant, "ConstantOfShape": lowerConstantOfShape, "Shape": lowerShape, "Size": lowerSize,
	"Range": lowerRange, "EyeLike": lowerEyeLike}

func lowerConstant(e *env, n *onnx.Node) error {
	if len(n.Attrs) != 1 {
		return fmt.Errorf("has %d values, wants one", len(n.Attrs))
	}
	a := n.Attrs[0]
	var c *constant
	var err error
	switch a.Name {
	case "value":
		if a.Tensor == nil {
			return errors.New("value is no tensor")
		}
		c, err = tensorConstant(a.Tensor)
	case "value_float":
		c = floatConstant(nil, float64(a.Float))
	case "value_floats":
		c = floatConstant([]int{len(a.Floats)})
		for _, v := range a.Floats {
			c.f = append(c.f, float64(v))
		}
	case "value_int":
		c = intConstant(nil, a.Int)
	case "value_ints":
		c = intConstant([]int{len(a.Ints)}, a.Ints...)
	default:
		return fmt.Errorf("attribute %q is not supported", a.Name)
	}
	if err != nil {
		return err
	}
	return e.set(0, hostValue(c))
}

// lowerConstantOfShape: large ones are made on the device, as example models use them for weights.
func lowerConstantOfShape(e *env, n *onnx.Node) error {
	shape, err := e.hostInts(0)
	if err != nil {
		return err
	}
	if err := checkSize(shape); err != nil {
		return err
	}
	c := floatConstant(nil, 0)
	if t := n.Tensor("value"); t != nil {
		if c, err = tensorConstant(t); err != nil {
			return err
		}
	}
	if c.size() != 1 {
		return fmt.Errorf("value has shape %v, wants one element", c.shape)
	}
	one := hostValue(c)
	return e.set(0, e.broadcast(e.reshape(one, nil), shape))
}

// lowerShape gives the dimensions from start to end.
func lowerShape(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	from, to := clampInt(n.Int("start", 0)), clampInt(n.Int("end", math.MaxInt64))
	start, count := span(len(s), from, to, 1)
	out := make([]int64, count)
	for i := range out {
		out[i] = int64(s[start+i])
	}
	return e.set(0, hostValue(intConstant([]int{count}, out...)))
}

func lowerSize(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	return e.set(0, hostValue(intConstant(nil, int64(engine.Len(e.shape(x))))))
}

// lowerRange is start, start+delta, … before limit.
func lowerRange(e *env, n *onnx.Node) error {
	var in [3]*constant
	for i := range in {
		c, err := e.hostInput(i)
		if err != nil {
			return err
		}
		if c == nil || c.size() != 1 {
			return fmt.Errorf("input %d is no scalar", i)
		}
		in[i] = c
	}
	start, limit, delta := in[0].toFloats()[0], in[1].toFloats()[0], in[2].toFloats()[0]
	count := math.Ceil((limit - start) / delta)
	if !(count <= maxHostSize) || delta == 0 {
		return fmt.Errorf("from %v to %v by %v: out of range", start, limit, delta)
	}
	d := in[0].like([]int{int(max(0, count))})
	for k := range d.size() {
		if d.isFloat() {
			d.f[k] = start + float64(k)*delta
		} else {
			d.i[k] = in[0].i[0] + int64(k)*truncate(delta)
		}
	}
	return e.set(0, hostValue(d))
}

// lowerEyeLike is 1 on diagonal k of a matrix of the input's shape.
func lowerEyeLike(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	if len(s) != 2 || engine.Len(s) > maxHostSize {
		return fmt.Errorf("input has shape %v, wants a matrix of up to %d elements", s, maxHostSize)
	}
	k := clampInt(n.Int("k", 0))
	c := floatConstant(s, make([]float64, engine.Len(s))...)
	each(s, func(at int, pos []int) { c.f[at] = bit(pos[1]-pos[0] == k) })
	to := onnx.DataType(n.Int("dtype", int64(x.elem)))
	return e.set(0, e.cast(hostValue(c), to))
}
