package operators

import (
	"fmt"
	"math"
	"slices"

	"netmend/onnx"
	"netmend/train"
)

// span says where the units of a layer are in a value: along axis, the elements are prefix others, then outer groups of units with inner
// elements each, then suffix others. Behind a convolution that is flattened channels first, inner is the area of the feature map; channels
// last, outer is. Prefix and suffix come from joining with other values.
type span struct{ axis, prefix, outer, inner, suffix int }

// gather is, for each place along the axis when there are width units, the place to copy from when there were units: new units repeat
// the old ones in turn, so that what is stored stays sensible (a running variance positive) until the tensors are drawn anew.
func (s span) gather(units, width int) []int {
	var from []int
	for i := range s.prefix {
		from = append(from, i)
	}
	for o := range s.outer {
		for u := range width {
			for i := range s.inner {
				from = append(from, s.prefix+(o*units+u%units)*s.inner+i)
			}
		}
	}
	for i := range s.suffix {
		from = append(from, s.prefix+s.outer*units*s.inner+i)
	}
	return from
}

func (s span) total(units int) int { return s.prefix + s.outer*units*s.inner + s.suffix }

// change is a new size of an initializer along one axis, or new contents of a constant shape.
type change struct {
	tensor string
	axis   int
	from   []int
}

// resizing is the plan of a layer's new width: what follows from it for every node that its units reach.
type resizing struct {
	*view
	layer        layer
	units, width int // per group
	spans        map[string]span
	changes      []change
	shapes       map[string][]int64 // by the name of a constant with a shape: its new elements
	outputs      []string           // graph outputs that the units reach
	fans         []fan
}

// fan is a layer whose number of inputs changes.
type fan struct {
	layer    layer
	old, new int // per unit
}

// planResize finds out what a new width of a layer means for the rest of the graph. Where the units meet something that fixes their number
// (a sum with another branch, a grouped convolution, an operator that is not known here) it is an error naming the node.
func (v *view) planResize(l layer, width int) (*resizing, error) {
	r := &resizing{view: v, layer: l, units: l.units, width: width, spans: map[string]span{}, shapes: map[string][]int64{}}
	if err := r.start(); err != nil {
		return nil, err
	}
	begun := false
	for _, n := range v.g.Nodes {
		if n == l.node {
			begun = true
			continue
		}
		if !begun || !slices.ContainsFunc(n.Inputs, r.reaches) {
			continue
		}
		if n == l.add {
			for _, in := range n.Inputs {
				if s, ok := r.spans[in]; ok {
					r.spans[l.out] = s
				}
			}
			continue
		}
		if len(n.Subgraphs()) > 0 || !n.Is(n.OpType) {
			return nil, fmt.Errorf("node %q (%s) fixes the number of units", nodeName(n), n.OpType)
		}
		if err := r.follow(n); err != nil {
			return nil, fmt.Errorf("node %q (%s): %w", nodeName(n), n.OpType, err)
		}
	}
	for i := range v.g.Outputs {
		if r.reaches(v.g.Outputs[i].Name) {
			r.outputs = append(r.outputs, v.g.Outputs[i].Name)
		}
	}
	return r, nil
}

func (r *resizing) reaches(value string) bool { _, ok := r.spans[value]; return ok }

// start plans the layer's own tensors.
func (r *resizing) start() error {
	l := r.layer
	group := 1
	if l.conv {
		group = int(l.node.Int("group", 1))
	}
	if group < 1 || r.width%group != 0 {
		return fmt.Errorf("%d units do not divide into the %d groups of %q", r.width, group, l.name())
	}
	axis := 1
	if l.node.Is("MatMul") {
		shape := r.shape(l.node.Output(0))
		if shape == nil {
			return fmt.Errorf("the shape of %q's output is not known", l.name())
		}
		axis = len(shape) - 1
	}
	r.units, r.width = l.units/group, r.width/group // the units of each group are together
	whole := span{outer: group, inner: 1}
	if err := r.grow(l.kernel, l.outAxis, whole); err != nil {
		return err
	}
	if l.bias != "" {
		if err := r.growConstant(l.bias, whole); err != nil {
			return err
		}
	}
	whole.axis = axis
	r.spans[l.node.Output(0)] = whole
	return nil
}

// grow plans the new size of an initializer along an axis whose elements are a span.
func (r *resizing) grow(name string, axis int, s span) error {
	t := r.inits[name]
	if t == nil {
		return fmt.Errorf("%q is no initializer", name)
	}
	if t.Type != onnx.Float32 {
		return fmt.Errorf("tensor %q is %s, not float32", name, t.Type)
	}
	if axis < 0 || axis >= len(t.Dims) || t.Dims[axis] != int64(s.total(r.units)) {
		return fmt.Errorf("tensor %q has shape %v where %d elements along axis %d are expected", name, t.Dims, s.total(r.units), axis)
	}
	if len(r.users[name]) != 1 {
		return fmt.Errorf("tensor %q is shared by %d nodes", name, len(r.users[name]))
	}
	r.changes = append(r.changes, change{name, axis, s.gather(r.units, r.width)})
	return nil
}

// growConstant plans the new size of a constant operand with one element per unit, looking through what reshapes it.
func (r *resizing) growConstant(value string, s span) error {
	for range 4 {
		if n := r.maker[value]; n != nil && (n.Is("Unsqueeze") || n.Is("Identity")) {
			value = n.Input(0)
		}
	}
	t := r.inits[value]
	if t == nil {
		return fmt.Errorf("operand %q is no initializer", value)
	}
	axis := slices.Index(t.Dims, int64(s.total(r.units)))
	if axis < 0 {
		return fmt.Errorf("tensor %q has shape %v, no axis of %d", value, t.Dims, s.total(r.units))
	}
	return r.grow(value, axis, s)
}

// size is the number of elements of a constant operand, -1 where it is none.
func (r *resizing) size(value string) int {
	for range 4 {
		if n := r.maker[value]; n != nil && (n.Is("Unsqueeze") || n.Is("Identity")) {
			value = n.Input(0)
		}
	}
	if t := r.inits[value]; t != nil {
		n, err := t.NumElements()
		if err == nil && n < math.MaxInt32 {
			return int(n)
		}
	}
	if c := r.constant(value); c != nil {
		return len(c)
	}
	return -1
}

// alike are the operators whose first output has its first input's shape.
var alike = map[string]bool{"Relu": true, "Sigmoid": true, "Tanh": true, "Elu": true, "Selu": true, "Celu": true, "LeakyRelu": true,
	"ThresholdedRelu": true, "HardSigmoid": true, "HardSwish": true, "Softplus": true, "Softsign": true, "Softmax": true, "LogSoftmax": true, "Exp": true,
	"Log": true, "Gelu": true, "Mish": true, "Identity": true, "Dropout": true, "Clip": true, "Cast": true, "Abs": true, "Neg": true, "Erf": true, "Sqrt": true}

// pools work on each channel (axis 1) by itself.
var pools = map[string]bool{"MaxPool": true, "AveragePool": true, "GlobalAveragePool": true, "GlobalMaxPool": true, "LpPool": true, "GlobalLpPool": true}

// follow plans what the units mean for a node that takes them in.
func (r *resizing) follow(n *onnx.Node) error {
	s, first := r.spans[n.Input(0)]
	switch {
	case binary[n.OpType] || n.Is("PRelu"):
		return r.followBinary(n)
	case n.Is("Concat"):
		return r.followConcat(n)
	case !first:
		return fmt.Errorf("takes the units in a way that is not known here")
	case alike[n.OpType]:
		for _, out := range n.Outputs {
			r.spans[out] = s
		}
		return nil
	case pools[n.OpType]:
		if s.axis != 1 {
			return fmt.Errorf("the units are on axis %d, not 1", s.axis)
		}
		r.spans[n.Output(0)] = s
		return nil
	}
	switch n.OpType {
	case "BatchNormalization":
		if s.axis != 1 {
			return fmt.Errorf("the units are on axis %d, not 1", s.axis)
		}
		for _, name := range n.Inputs[1:] {
			if err := r.grow(name, 0, s); err != nil {
				return err
			}
		}
		r.spans[n.Output(0)] = s
		return nil
	case "Gemm", "MatMul", "Conv":
		return r.consume(n, s)
	}
	return r.followMove(n, s)
}

// consume plans the kernel of the next layer, where the units end.
func (r *resizing) consume(n *onnx.Node, s span) error {
	i := slices.IndexFunc(r.layers, func(l layer) bool { return l.node == n })
	if i < 0 || slices.ContainsFunc(n.Inputs[1:], r.reaches) {
		return fmt.Errorf("has no kernel that could be resized")
	}
	l := r.layers[i]
	rank := len(r.shape(n.Input(0)))
	switch {
	case l.conv && (s.axis != 1 || n.Int("group", 1) != 1):
		return fmt.Errorf("a grouped convolution fixes the number of its input channels")
	case !l.conv && s.axis != rank-1:
		return fmt.Errorf("the units are on axis %d of %d, not the last", s.axis, rank)
	}
	if err := r.grow(l.kernel, l.inAxis, s); err != nil {
		return err
	}
	area := 1
	for a, d := range r.inits[l.kernel].Dims {
		if l.conv && a >= 2 {
			area *= int(d)
		}
	}
	r.fans = append(r.fans, fan{l, s.total(r.units) * area, s.total(r.width) * area})
	return nil
}

// followBinary plans an elementwise operator of two values: both from the layer alike, or one constant.
func (r *resizing) followBinary(n *onnx.Node) error {
	var s span
	found := false
	for _, in := range n.Inputs {
		if x, ok := r.spans[in]; ok {
			if found && x != s {
				return fmt.Errorf("joins the units in two different orders")
			}
			s, found = x, true
		}
	}
	for _, in := range n.Inputs {
		if in == "" || r.reaches(in) {
			continue
		}
		switch size := r.size(in); {
		case size < 0:
			return fmt.Errorf("joins the units with %q, which fixes their number", in)
		case size > 1:
			if err := r.growConstant(in, s); err != nil {
				return err
			}
		}
	}
	r.spans[n.Output(0)] = s
	return nil
}

// followConcat plans a join: along the units' axis the other values come before or behind them.
func (r *resizing) followConcat(n *onnx.Node) error {
	var s span
	at := -1
	for i, in := range n.Inputs {
		if x, ok := r.spans[in]; ok {
			if at >= 0 {
				return fmt.Errorf("joins the units with themselves")
			}
			s, at = x, i
		}
	}
	rank := len(r.shape(n.Inputs[at]))
	axis := int(n.Int("axis", 1))
	if axis < 0 {
		axis += rank
	}
	if axis != s.axis {
		return fmt.Errorf("joins along axis %d, the units on axis %d must stay as many as the others'", axis, s.axis)
	}
	for i, in := range n.Inputs {
		if i == at {
			continue
		}
		shape := r.shape(in)
		if axis >= len(shape) || shape[axis] < 0 {
			return fmt.Errorf("the shape of %q is not known", in)
		}
		if i < at {
			s.prefix += int(shape[axis])
		} else {
			s.suffix += int(shape[axis])
		}
	}
	r.spans[n.Output(0)] = s
	return nil
}

// followMove plans the operators that move, drop or reduce axes.
func (r *resizing) followMove(n *onnx.Node, s span) error {
	in, out := r.shape(n.Input(0)), r.shape(n.Output(0))
	if in == nil || out == nil {
		return fmt.Errorf("its shapes are not known")
	}
	switch n.OpType {
	case "Flatten":
		axis := int(n.Int("axis", 1))
		if axis < 0 {
			axis += len(in)
		}
		return r.merge(n, s, in, axis, len(in))
	case "Reshape":
		return r.followReshape(n, s, in, out)
	case "Transpose":
		perm, ok := n.Ints("perm")
		if !ok {
			for i := range in {
				perm = append(perm, int64(len(in)-1-i))
			}
		}
		s.axis = slices.Index(perm, int64(s.axis))
	case "Pad":
		pads, ok := n.Ints("pads")
		if !ok {
			pads, ok = r.integers(n.Input(1))
		}
		if !ok || n.Input(3) != "" || len(pads) != 2*len(in) || pads[s.axis] != 0 || pads[s.axis+len(in)] != 0 {
			return fmt.Errorf("pads the units")
		}
	case "Squeeze", "Unsqueeze", "ReduceMean", "ReduceMax", "ReduceSum":
		axes, ok := n.Ints("axes")
		if !ok {
			axes, ok = r.integers(n.Input(1))
		}
		if !ok {
			return fmt.Errorf("its axes are not known")
		}
		if (n.Is("Squeeze") || n.Is("Unsqueeze")) || n.Int("keepdims", 1) == 0 {
			return r.shiftAxis(n, s, axes, len(in), len(out))
		}
		if slices.ContainsFunc(axes, func(a int64) bool { return int(a) == s.axis || int(a)+len(in) == s.axis }) {
			return fmt.Errorf("reduces over the units")
		}
	default:
		return fmt.Errorf("fixes the number of units")
	}
	if s.axis < 0 {
		return fmt.Errorf("loses the units")
	}
	r.spans[n.Output(0)] = s
	return nil
}

// shiftAxis follows the units through an operator that takes axes out or puts them in.
func (r *resizing) shiftAxis(n *onnx.Node, s span, axes []int64, in, out int) error {
	rank := in
	if n.Is("Unsqueeze") {
		rank = out
	}
	for i := range axes {
		a := int(axes[i])
		if a < 0 {
			a += rank
		}
		if a == s.axis && !n.Is("Unsqueeze") {
			return fmt.Errorf("takes the units' axis away")
		}
		axes = slices.Clone(axes)
		axes[i] = int64(a)
	}
	if n.Is("Unsqueeze") {
		for a, left := 0, s.axis; a < out; a++ {
			if slices.Contains(axes, int64(a)) {
				continue
			}
			if left == 0 {
				s.axis = a
				break
			}
			left--
		}
	} else {
		before := 0
		for _, a := range axes {
			if int(a) < s.axis {
				before++
			}
		}
		s.axis -= before
	}
	r.spans[n.Output(0)] = s
	return nil
}

// merge follows the units into one axis that takes in the axes from..to of the input.
func (r *resizing) merge(n *onnx.Node, s span, in []int64, from, to int) error {
	if s.axis < from || s.axis >= to {
		return fmt.Errorf("merges the units with the batch")
	}
	before, behind := 1, 1
	for a := from; a < to; a++ {
		switch d := int(in[a]); {
		case a == s.axis:
		case d < 0:
			return fmt.Errorf("its shape %v is not known", in)
		case a < s.axis:
			before *= d
		default:
			behind *= d
		}
	}
	if (before != 1 || behind != 1) && (s.prefix != 0 || s.suffix != 0) {
		return fmt.Errorf("flattens units that are joined with others")
	}
	r.spans[n.Output(0)] = span{axis: from, prefix: s.prefix, outer: s.outer * before, inner: s.inner * behind, suffix: s.suffix}
	return nil
}

// followReshape follows the units through a reshape that keeps the leading axes and merges the rest into one, or changes nothing but axes of
// length 1; a constant shape that names the number of elements is planned anew.
func (r *resizing) followReshape(n *onnx.Node, s span, in, out []int64) error {
	// The leading axes that stay: those of equal length, open ones being the batch.
	keep := 0
	for keep < len(out)-1 && keep < len(in)-1 && (in[keep] == out[keep] || keep == 0) {
		keep++
	}
	if len(out) != keep+1 && !slices.Equal(in, out) {
		return fmt.Errorf("reshapes %v to %v: only flattening can be followed", in, out)
	}
	if err := r.merge(n, s, in, keep, len(in)); err != nil {
		return err
	}
	shape, name := r.shapeConstant(n.Input(1))
	if shape == nil {
		return fmt.Errorf("its shape is computed by the graph")
	}
	last := len(shape) - 1
	if shape[last] > 0 {
		if len(r.users[name]) != 1 {
			return fmt.Errorf("its shape %q is used elsewhere too", name)
		}
		shape = slices.Clone(shape)
		shape[last] = int64(r.spans[n.Output(0)].total(r.width))
		r.shapes[name] = shape
	}
	return nil
}

// shapeConstant gives the elements of a constant shape, or of the constant that a computed one (Concat of the batch size and constants) ends
// with, and that constant's name.
func (r *resizing) shapeConstant(value string) ([]int64, string) {
	if x, ok := r.integers(value); ok && len(x) > 0 {
		return x, value
	}
	if n := r.maker[value]; n != nil && n.Is("Concat") && len(n.Inputs) > 0 {
		return r.shapeConstant(n.Inputs[len(n.Inputs)-1])
	}
	return nil, ""
}

// commit makes the planned changes on the view's graph and recipe.
func (r *resizing) commit() error {
	for _, c := range r.changes {
		t, err := resized(r.inits[c.tensor], c.axis, c.from)
		if err != nil {
			return err
		}
		r.g.SetInitializer(t)
		r.inits[c.tensor] = t
		if in := r.g.Input(t.Name); in != nil { // IR version 3
			in.Type.Shape[c.axis] = onnx.NewDim(t.Dims[c.axis])
		}
		// What the file holds is of the old size: the tensor starts as the framework has it.
		if r.Recipe.Initializers[c.tensor].Name == "model" {
			delete(r.Recipe.Initializers, c.tensor)
		}
	}
	for name, shape := range r.shapes {
		t := onnx.NewInt64(name, []int64{int64(len(shape))}, shape)
		if r.inits[name] != nil {
			r.g.SetInitializer(t)
			continue
		}
		n := r.maker[name]
		n.DeleteAttr("value_ints")
		t.Name = ""
		n.SetAttr(onnx.TensorAttr("value", t))
	}
	for _, f := range r.fans {
		r.rescaleBias(f.layer.bias, f.old, f.new)
	}
	for i := range r.g.Outputs {
		o := &r.g.Outputs[i]
		s, ok := r.spans[o.Name]
		if ok && o.Type.HasShape && s.axis < len(o.Type.Shape) && o.Type.Shape[s.axis].Known() {
			o.Type.Shape[s.axis] = onnx.NewDim(int64(s.total(r.width)))
		}
	}
	r.g.ValueInfo = nil // the shapes between the nodes are others now
	return nil
}

// rescaleBias keeps PyTorch's default of a bias, uniform within ±1/√(inputs per unit), true when the number of inputs changes.
func (v *view) rescaleBias(bias string, before, after int) {
	init, ok := v.Recipe.Initializers[bias]
	if !ok || v.Recipe.Semantics != train.PyTorch || init.Name != "uniform" && init.Name != "random_uniform" {
		return
	}
	old := 1 / math.Sqrt(float64(before))
	if math.Abs(init.Maxval-old) > 1e-6*old || math.Abs(init.Minval+old) > 1e-6*old {
		return
	}
	init.Maxval = 1 / math.Sqrt(float64(after))
	init.Minval = -init.Maxval
	v.Recipe.Initializers[bias] = init
}

// resized copies a tensor with other places along one axis.
func resized(t *onnx.Tensor, axis int, from []int) (*onnx.Tensor, error) {
	old, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	outer, inner := 1, 1
	for a, d := range t.Dims {
		if a < axis {
			outer *= int(d)
		} else if a > axis {
			inner *= int(d)
		}
	}
	n := int(t.Dims[axis])
	values := make([]float32, 0, outer*len(from)*inner)
	for o := range outer {
		for _, i := range from {
			values = append(values, old[(o*n+i)*inner:(o*n+i+1)*inner]...)
		}
	}
	dims := slices.Clone(t.Dims)
	dims[axis] = int64(len(from))
	return onnx.NewFloat32(t.Name, dims, values), nil
}
