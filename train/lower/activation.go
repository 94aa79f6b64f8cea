package lower

import (
	"errors"
	"fmt"

	"netmend/engine"
	"netmend/onnx"
)

// activations are the activation functions of ONNX; the defaults of their attributes are the standard's.
var activations = map[string]lowering{
	"Sigmoid": lowerSigmoid, "Tanh": unary(engine.Tanh), "Softplus": unary(engine.Softplus), "Softsign": unary(engine.Softsign),
	"HardSwish": unary(engine.HardSwish), "Mish": unary(engine.Mish),
	"LeakyRelu": parametric(engine.LeakyRelu, "alpha", 0.01), "Elu": parametric(engine.Elu, "alpha", 1), "Celu": parametric(engine.Celu, "alpha", 1),
	"ThresholdedRelu": parametric(engine.ThresholdedRelu, "alpha", 1), "Swish": parametric(engine.Swish, "alpha", 1),
	"Selu":        parametric(engine.Selu, "alpha", 1.67326319217681884765625, "gamma", 1.05070102214813232421875),
	"HardSigmoid": parametric(engine.HardSigmoid, "alpha", 0.2, "beta", 0.5),
	"Gelu":        lowerGelu, "PRelu": lowerPRelu, "Shrink": lowerShrink,
	"Softmax": softmax((*engine.Builder).Softmax), "LogSoftmax": softmax((*engine.Builder).LogSoftmax), "Hardmax": lowerHardmax,
}

// parametric lowers a function whose parameters are attributes: pairs of a name and its default.
func parametric(fn engine.Fn, attrs ...any) lowering {
	return func(e *env, n *onnx.Node) error {
		var params []float64
		for i := 0; i < len(attrs); i += 2 {
			name := attrs[i].(string)
			v, ok := attrs[i+1].(float64)
			if !ok {
				v = float64(attrs[i+1].(int))
			}
			if n.Attr(name) != nil {
				v = float64(n.Float(name, float32(v)))
			}
			params = append(params, v)
		}
		return e.unaryNode(func(x value) value { return e.unary(fn, x, params...) })
	}
}

func lowerSigmoid(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	e.ends[n.Output(0)] = End{Logits: x, Op: "Sigmoid"}
	return e.setTensor(0, e.Unary(engine.Sigmoid, x))
}

func lowerGelu(e *env, n *onnx.Node) error {
	switch a := n.String("approximate", "none"); a {
	case "none":
		return unary(engine.Gelu)(e, n)
	case "tanh":
		return unary(engine.GeluTanh)(e, n)
	default:
		return fmt.Errorf("approximate %q is unknown: none or tanh", a)
	}
}

// lowerPRelu is x > 0 ? x : slope·x. Before operator set 7 a slope vector runs along the channels, since then it is broadcast.
func lowerPRelu(e *env, n *onnx.Node) error {
	v, err := e.args(2)
	if err != nil {
		return err
	}
	x, slope := v[0], v[1]
	s, rank := e.shape(slope), len(e.shape(x))
	if e.opset < 7 && len(s) == 1 && s[0] != 1 && rank > 2 {
		slope = e.reshape(slope, append([]int{s[0]}, repeat(1, rank-2)...))
	}
	if got, err := engine.BroadcastShapes(e.shape(x), e.shape(slope)); err != nil || len(got) != rank || engine.Len(got) != engine.Len(e.shape(x)) {
		return fmt.Errorf("slope %v cannot be broadcast to %v", s, e.shape(x))
	}
	if !e.isFloat(x) {
		return errors.New("integers are not supported")
	}
	return e.set(0, e.where(e.compare(engine.Greater, x, scalar(0)), x, e.mul(slope, x)))
}

// lowerShrink is x < -lambd ? x+bias : x > lambd ? x-bias : 0.
func lowerShrink(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	lambd, bias := float64(n.Float("lambd", 0.5)), float64(n.Float("bias", 0))
	v := e.floats(x)
	right := e.where(e.compare(engine.Greater, v, scalar(lambd)), e.affine(v, 1, -bias), scalar(0))
	return e.set(0, e.where(e.compare(engine.Less, v, scalar(-lambd)), e.affine(v, 1, bias), right))
}

// softmaxAxis is the axis of a softmax. Before operator set 13 the input counts as a matrix whose rows are the axes before it and whose
// columns are the rest (flattened); since then it is one axis.
func (e *env) softmaxAxis(n *onnx.Node, shape []int) (a int, flattened bool, err error) {
	def := int64(-1)
	if e.opset < 13 {
		def = 1
	}
	given := clampInt(n.Int("axis", def))
	if e.opset < 13 && given == len(shape) && len(shape) > 0 { // allowed then: every element a row of its own
		return given, true, nil
	}
	a, err = axis(given, len(shape))
	if err != nil || e.opset >= 13 {
		return a, false, err
	}
	return a, engine.Len(shape[a+1:]) != 1, nil
}

func softmax(f func(b *engine.Builder, x engine.TensorID, axis int) engine.TensorID) lowering {
	return func(e *env, n *onnx.Node) error {
		x, err := e.inFloat(0)
		if err != nil {
			return err
		}
		s := e.Shape(x)
		if len(s) == 0 && e.opset >= 13 && n.Attr("axis") == nil {
			x, s = e.Reshape(x, []int{1}), []int{}
		}
		a, flattened, err := e.softmaxAxis(n, e.Shape(x))
		if err != nil {
			return err
		}
		if !flattened {
			if len(s) == len(e.Shape(x)) {
				e.ends[n.Output(0)] = End{Logits: x, Op: n.OpType, Axis: a}
			}
			return e.setTensor(0, e.Reshape(f(e.Builder, x, a), s))
		}
		rows := e.Reshape(x, []int{engine.Len(s[:a]), engine.Len(s[a:])})
		return e.setTensor(0, e.Reshape(f(e.Builder, rows, 1), s))
	}
}

// lowerHardmax is 1 at the first largest element along the axis, 0 elsewhere.
func lowerHardmax(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	a, flattened, err := e.softmaxAxis(n, s)
	if err != nil {
		return err
	}
	shape := []int{engine.Len(s[:a]), engine.Len(s[a:]), 1}
	if !flattened {
		shape = []int{engine.Len(s[:a]), s[a], engine.Len(s[a+1:])}
	}
	if shape[1] == 0 {
		return errors.New("the axis is empty")
	}
	i := e.Reshape(e.ArgMax(e.Reshape(x, shape), 1), []int{shape[0], shape[2]})
	y := e.Transpose(e.OneHot(i, shape[1]), 0, 2, 1)
	return e.setTensor(0, e.Reshape(y, s))
}
