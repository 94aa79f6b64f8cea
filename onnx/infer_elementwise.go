package onnx

import (
	"errors"
	"fmt"
)

// inferRules gives the types of an operator's outputs from those of its inputs; an operator that is not here has
// outputs of unknown type.
var inferRules = map[string]func(*inference) error{}

func init() {
	for _, op := range []string{"Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Clip", "Cos",
		"Cosh", "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "InstanceNormalization", "LRN",
		"LeakyRelu", "Log", "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "Reciprocal", "Relu", "Round",
		"RMSNormalization", "GroupNormalization", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
		"Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu", "ImageScaler", "ParametricSoftplus", "ScaledTanh", "Scale",
		"ScatterElements", "ScatterND", "Scatter", "ReverseSequence"} {
		inferRules[op] = (*inference).sameAsInput
	}
	inferRules["Identity"] = (*inference).sameAsInput
	for _, op := range []string{"Not", "IsNaN", "IsInf"} {
		inferRules[op] = func(c *inference) error { return c.likeInput(Bool) }
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Mod", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"} {
		inferRules[op] = func(c *inference) error { return c.broadcast(Undefined, true) }
	}
	inferRules["Pow"] = func(c *inference) error { return c.broadcast(Undefined, false) }
	for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"} {
		inferRules[op] = func(c *inference) error { return c.broadcast(Bool, true) }
	}
	for _, op := range []string{"Sum", "Max", "Min", "Mean"} {
		inferRules[op] = (*inference).variadic
	}
	inferRules["PRelu"] = (*inference).prelu
	inferRules["Where"] = (*inference).where
	inferRules["Cast"] = (*inference).cast
	inferRules["CastLike"] = func(c *inference) error { return c.likeInput(c.in(1).Elem) }
	inferRules["Dropout"] = (*inference).dropout
	for _, op := range []string{"Softmax", "LogSoftmax", "Hardmax"} {
		inferRules[op] = (*inference).softmax
	}
	for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
		"ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"} {
		inferRules[op] = (*inference).reduce
	}
	inferRules["ArgMax"] = (*inference).argMax
	inferRules["ArgMin"] = (*inference).argMax
	inferRules["TopK"] = (*inference).topK
	inferRules["SoftmaxCrossEntropyLoss"] = (*inference).crossEntropy
	inferRules["NegativeLogLikelihoodLoss"] = (*inference).crossEntropy
}

// sameAsInput: the output is of the first input's type.
func (c *inference) sameAsInput() error {
	if len(c.outs) > 0 {
		c.outs[0] = bare(c.in(0))
	}
	return nil
}

// bare drops what belongs to the value that a type was declared for.
func bare(t Type) Type {
	t.proto, t.Denotation = nil, ""
	return t
}

// likeInput: the output has the first input's shape and another element type.
func (c *inference) likeInput(elem DataType) error {
	if shape, ok := c.shape(0); ok {
		c.out(0, elem, shape)
	} else {
		c.outUnshaped(0, elem)
	}
	return nil
}

// sameElem reports inputs whose element types differ.
func (c *inference) sameElem(inputs ...int) error {
	first := -1
	for _, i := range inputs {
		t := c.in(i)
		if t.Kind != KindTensor || t.Elem == Undefined {
			continue
		}
		if first >= 0 && c.in(first).Elem != t.Elem {
			return fmt.Errorf("input %q is %s, input %q %s", c.node.Input(first), c.in(first).Elem, c.node.Input(i), t.Elem)
		}
		if first < 0 {
			first = i
		}
	}
	return nil
}

// broadcastDims applies numpy's rule: aligned at the end, dimensions are equal or one of them is 1.
func broadcastDims(a, b []Dim) ([]Dim, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := make([]Dim, len(a))
	copy(out, a)
	for i, y := range b {
		k := len(a) - len(b) + i
		x := a[k]
		switch {
		case x.Known() && x.Value == 1:
			out[k] = y
		case y.Known() && y.Value == 1:
			out[k] = x
		case x.Known() && y.Known():
			if x.Value != y.Value {
				return nil, fmt.Errorf("shapes %s and %s do not broadcast: %d against %d", shapeString(a), shapeString(b), x.Value, y.Value)
			}
		case x.Known():
			out[k] = x
		case y.Known():
			out[k] = y
		case x.Param != y.Param || x.Param == "":
			out[k] = NewDim(-1)
		}
		out[k].Denotation = ""
	}
	return out, nil
}

func (c *inference) broadcast(elem DataType, sameElem bool) error {
	if sameElem {
		if err := c.sameElem(0, 1); err != nil {
			return err
		}
	}
	if elem == Undefined {
		elem = c.in(0).Elem
	}
	a, okA := c.shape(0)
	b, okB := c.shape(1)
	if !okA || !okB {
		c.outUnshaped(0, elem)
		return nil
	}
	if c.opset < 7 { // before operator set 7 the second input was stretched to the first
		c.out(0, elem, a)
		return nil
	}
	shape, err := broadcastDims(a, b)
	if err != nil {
		return err
	}
	c.out(0, elem, shape)
	return nil
}

func (c *inference) variadic() error {
	all := make([]int, len(c.node.Inputs))
	for i := range all {
		all[i] = i
	}
	if err := c.sameElem(all...); err != nil {
		return err
	}
	var shape []Dim
	for i := range c.node.Inputs {
		s, ok := c.shape(i)
		if !ok {
			c.outUnshaped(0, c.in(0).Elem)
			return nil
		}
		var err error
		if shape, err = broadcastDims(shape, s); err != nil {
			return err
		}
	}
	c.out(0, c.in(0).Elem, shape)
	return nil
}

func (c *inference) prelu() error {
	x, okX := c.shape(0)
	slope, okS := c.shape(1)
	if okX && okS && c.opset >= 7 {
		shape, err := broadcastDims(x, slope)
		if err == nil && len(shape) != len(x) {
			err = errors.New("the slope has more dimensions than the input")
		}
		if err != nil {
			return err
		}
	}
	return c.sameAsInput()
}

func (c *inference) where() error {
	if err := c.sameElem(1, 2); err != nil {
		return err
	}
	if t := c.in(0); t.Kind == KindTensor && t.Elem != Bool {
		return fmt.Errorf("condition %q is %s, not bool", c.node.Input(0), t.Elem)
	}
	elem := c.in(1).Elem
	shape := []Dim{}
	for i := range 3 {
		s, ok := c.shape(i)
		if !ok {
			c.outUnshaped(0, elem)
			return nil
		}
		var err error
		if shape, err = broadcastDims(shape, s); err != nil {
			return err
		}
	}
	c.out(0, elem, shape)
	return nil
}

func (c *inference) cast() error {
	if a := c.node.attr("to", AttrString); a != nil { // operator sets below 6 spell the type
		return nil
	}
	to := c.node.Int("to", 0)
	if to <= 0 || !DataType(to).Valid() || to != int64(DataType(to)) {
		return fmt.Errorf("attribute %q is %d, which is no element type", "to", to)
	}
	return c.likeInput(DataType(to))
}

func (c *inference) dropout() error {
	mask := c.in(0).Elem
	if c.opset >= 10 {
		mask = Bool
	}
	if shape, ok := c.shape(0); ok {
		c.out(1, mask, shape)
	} else {
		c.outUnshaped(1, mask)
	}
	return c.sameAsInput()
}

func (c *inference) softmax() error {
	if shape, ok := c.shape(0); ok {
		def := int64(-1)
		if c.opset < 13 {
			def = 1
		}
		axis := c.node.Int("axis", def)
		_, err := axisOf(axis, len(shape))
		if err != nil && !(c.opset < 13 && axis == int64(len(shape))) { // it flattens there, and may flatten all
			return err
		}
	}
	return c.sameAsInput()
}

func (c *inference) reduce() error {
	elem := c.in(0).Elem
	axes, given, known := c.intsFrom("axes", 1)
	shape, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	keep := c.node.Int("keepdims", 1) != 0
	if !known {
		if n, ok := c.lengthOf(1); keep || ok && n == 0 {
			c.outRanked(0, elem, len(shape))
		} else if ok {
			c.outRanked(0, elem, max(len(shape)-int(n), 0))
		} else {
			c.outUnshaped(0, elem)
		}
		return nil
	}
	all := !given || len(axes) == 0
	if all && c.node.Int("noop_with_empty_axes", 0) != 0 {
		c.out(0, elem, shape)
		return nil
	}
	set, err := axesOf(axes, len(shape))
	if err != nil {
		return err
	}
	out := []Dim{}
	for i, d := range shape {
		switch {
		case !all && !set[i]:
			out = append(out, d)
		case keep:
			out = append(out, NewDim(1))
		}
	}
	c.out(0, elem, out)
	return nil
}

// lengthOf returns the length of a one-dimensional input whose contents are not known.
func (c *inference) lengthOf(i int) (int64, bool) {
	shape, ok := c.shape(i)
	if !ok || len(shape) != 1 || !shape[0].Known() || shape[0].Value > maxFolded {
		return 0, false
	}
	return shape[0].Value, true
}

func (c *inference) argMax() error {
	shape, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, Int64)
		return nil
	}
	axis, err := axisOf(c.node.Int("axis", 0), len(shape))
	if err != nil {
		return err
	}
	out := []Dim{}
	for i, d := range shape {
		switch {
		case i != axis:
			out = append(out, d)
		case c.node.Int("keepdims", 1) != 0:
			out = append(out, NewDim(1))
		}
	}
	c.out(0, Int64, out)
	return nil
}

func (c *inference) topK() error {
	shape, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, c.in(0).Elem)
		c.outUnshaped(1, Int64)
		return nil
	}
	axis, err := axisOf(c.node.Int("axis", -1), len(shape))
	if err != nil {
		return err
	}
	out := append([]Dim(nil), shape...)
	out[axis] = NewDim(-1)
	k := c.node.Int("k", -1)
	if c.opset >= 10 {
		if v, ok := c.scalarInput(1); ok {
			k = v
		}
	}
	if k >= 0 {
		if shape[axis].Known() && k > shape[axis].Value {
			return fmt.Errorf("k is %d, axis %d of %s is shorter", k, axis, shapeString(shape))
		}
		out[axis] = NewDim(k)
	}
	c.out(0, c.in(0).Elem, out)
	c.out(1, Int64, out)
	return nil
}

func (c *inference) crossEntropy() error {
	elem := c.in(0).Elem
	if x, ok := c.shape(0); ok {
		c.out(1, elem, x)
		if labels, ok := c.shape(1); ok && len(labels) != len(x)-1 {
			return fmt.Errorf("scores have shape %s, labels %s; labels have one dimension fewer", shapeString(x), shapeString(labels))
		}
	}
	if c.node.String("reduction", "mean") != "none" {
		c.out(0, elem, []Dim{})
	} else if labels, ok := c.shape(1); ok {
		c.out(0, elem, labels)
	} else {
		c.outUnshaped(0, elem)
	}
	return nil
}
