package onnx

import (
	"fmt"
	"slices"
)

// Types maps value names of the main graph to their types.
type Types map[string]Type

// maxInferred bounds how many nodes shape inference looks at, calls of functions included: functions that call
// functions could otherwise multiply without end.
const maxInferred = 1 << 21

// InferShapes returns the types of all values of the main graph: inputs, initializers, node outputs. Symbolic
// dimensions keep their name as far as they can be followed; integer subexpressions of shapes (Shape, Gather,
// Concat, …) are computed. Where an operator is not known or a dimension cannot be computed, the declared
// value_info fills in, and what is left has Kind KindUnknown, HasShape false or an unknown dimension. Inputs that
// do not fit their operator are an error naming node and dimensions. The nodes must be in topological order.
func InferShapes(m *Model) (Types, error) { return inferAt(m, nil) }

// InferShapesAt is InferShapes with other dimensions of some graph inputs than the model declares: a batch size in
// the place of "N" or of a fixed 1. A symbol that gets a number that way has it everywhere.
func InferShapesAt(m *Model, inputs map[string][]int64) (Types, error) { return inferAt(m, inputs) }

func inferAt(m *Model, inputs map[string][]int64) (Types, error) {
	if m.Graph == nil {
		return nil, fmt.Errorf("onnx: the model has no graph")
	}
	inf := &inferrer{calls: map[functionKey]*Function{}, rebound: len(inputs) > 0}
	for _, f := range m.Functions {
		inf.calls[keyOf(f.Domain, f.Name, f.Overload)] = f
	}
	symbols := map[string]int64{}
	for name, dims := range inputs {
		v := m.Graph.Input(name)
		if v == nil {
			return nil, fmt.Errorf("onnx: the graph has no input %q", name)
		}
		if _, err := Elements(dims); err != nil {
			return nil, fmt.Errorf("onnx: input %q: %w", name, err)
		}
		if !v.Type.HasShape {
			continue
		}
		if len(v.Type.Shape) != len(dims) {
			return nil, fmt.Errorf("onnx: input %q has shape %s, not the rank of %v", name, shapeString(v.Type.Shape), dims)
		}
		for i, d := range v.Type.Shape {
			if d.Value < 0 && d.Param != "" {
				symbols[d.Param] = dims[i]
			}
		}
	}
	e := newEnv(m.Graph, nil, m.Opsets)
	for _, v := range m.Graph.Inputs {
		t := v.Type.clone()
		if dims, ok := inputs[v.Name]; ok {
			t.Shape, t.HasShape = dimsOf(dims), true
		}
		for i, d := range t.Shape {
			if n, ok := symbols[d.Param]; ok && d.Value < 0 {
				t.Shape[i] = NewDim(n)
			}
		}
		if _, err := elementsKnown(t.Shape); err != nil {
			return nil, fmt.Errorf("onnx: graph input %q: %w", v.Name, err)
		}
		if _, isInit := e.initializers[v.Name]; !isInit {
			e.types[v.Name] = t
		}
	}
	if err := inf.nodes(m.Graph.Nodes, e, declaredTypes(m.Graph)); err != nil {
		return nil, err
	}
	return e.types, nil
}

// SetValueInfo writes types into the graph: the types of graph outputs and the value_info of what lies between.
// Values whose type is not known keep what was declared.
func (g *Graph) SetValueInfo(types Types) {
	for i := range g.Outputs {
		if t := types[g.Outputs[i].Name]; t.Kind != KindUnknown {
			t.proto, t.Denotation = g.Outputs[i].Type.proto, g.Outputs[i].Type.Denotation
			g.Outputs[i].Type = t.clone()
		}
	}
	have := map[string]int{}
	for i, v := range g.ValueInfo {
		have[v.Name] = i
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			t, ok := types[name]
			if name == "" || !ok || t.Kind == KindUnknown || g.Output(name) != nil {
				continue
			}
			if i, ok := have[name]; ok {
				t.proto, t.Denotation = g.ValueInfo[i].Type.proto, g.ValueInfo[i].Type.Denotation
				g.ValueInfo[i].Type = t.clone()
				continue
			}
			t.proto = nil
			g.ValueInfo = append(g.ValueInfo, Value{Name: name, Type: t.clone()})
		}
	}
}

func dimsOf(dims []int64) []Dim {
	shape := make([]Dim, len(dims))
	for i, d := range dims {
		shape[i] = NewDim(d)
	}
	return shape
}

func declaredTypes(g *Graph) map[string]Type {
	declared := make(map[string]Type, len(g.ValueInfo)+len(g.Outputs))
	for _, vs := range [][]Value{g.ValueInfo, g.Outputs} {
		for _, v := range vs {
			if v.Type.Kind != KindUnknown {
				declared[v.Name] = v.Type
			}
		}
	}
	return declared
}

type inferrer struct {
	calls   map[functionKey]*Function
	rebound bool // input shapes were replaced: declared numbers inside the graph may be stale
	seen    int  // nodes looked at
	folded  int  // integers computed
	depth   int
}

// env holds what is known of the values of one graph.
type env struct {
	types        map[string]Type
	values       map[string]integers // contents of small integer tensors
	initializers map[string]*Tensor
	outer        *env
	opsets       []Opset
}

func newEnv(g *Graph, outer *env, opsets []Opset) *env {
	e := &env{types: map[string]Type{}, values: map[string]integers{}, initializers: map[string]*Tensor{}, outer: outer, opsets: opsets}
	for _, t := range g.Initializers {
		e.initializers[t.Name] = t
		e.types[t.Name] = Type{Kind: KindTensor, Elem: t.Type}
		if len(t.Dims) <= maxRank {
			e.types[t.Name] = TensorType(t.Type, dimsOf(t.Dims)...)
		}
	}
	for _, t := range g.SparseInitializers {
		if t.Values != nil && len(t.Dims) <= maxRank {
			e.types[t.Name()] = TensorType(t.Values.Type, dimsOf(t.Dims)...)
		}
	}
	return e
}

func (e *env) typeOf(name string) Type {
	for ; e != nil && name != ""; e = e.outer {
		if t, ok := e.types[name]; ok {
			return t
		}
	}
	return Type{}
}

// constant returns the initializer of this name that is visible here, or nil.
func (e *env) constant(name string) *Tensor {
	for ; e != nil; e = e.outer {
		if t, ok := e.initializers[name]; ok {
			return t
		}
		if _, ok := e.types[name]; ok {
			return nil
		}
	}
	return nil
}

// value returns the contents of a small integer tensor, where they are known.
func (e *env) value(name string) (integers, bool) {
	for ; e != nil && name != ""; e = e.outer {
		if v, ok := e.values[name]; ok {
			return v, true
		}
		if t, ok := e.initializers[name]; ok {
			v, ok := integersOf(t)
			if ok {
				e.values[name] = v
			}
			return v, ok
		}
		if _, ok := e.types[name]; ok {
			return integers{}, false
		}
	}
	return integers{}, false
}

// inference is the context of one node.
type inference struct {
	*inferrer
	node    *Node
	env     *env
	opset   int64
	outs    []Type
	outVals map[int]integers
}

// nodes infers the outputs of nodes in order.
func (inf *inferrer) nodes(nodes []*Node, e *env, declared map[string]Type) error {
	for _, n := range nodes {
		if inf.seen++; inf.seen > maxInferred {
			return errNode(n, "shape inference stops after %d nodes; functions call each other too often", maxInferred)
		}
		c := &inference{inferrer: inf, node: n, env: e, opset: opsetOf(e.opsets, n.Domain), outs: make([]Type, len(n.Outputs)), outVals: map[int]integers{}}
		if err := c.run(); err != nil {
			return err
		}
		for i, name := range n.Outputs {
			if name == "" {
				continue
			}
			t, err := inf.merge(c.outs[i], declared[name])
			if err != nil {
				return errNode(n, "output %q: %w", name, err)
			}
			if _, err := elementsKnown(t.Shape); err != nil {
				return errNode(n, "output %q: %w", name, err)
			}
			e.types[name] = t
			if v, ok := c.outVals[i]; ok {
				e.values[name] = v
			}
		}
	}
	return nil
}

func (c *inference) run() error {
	if f := c.calls[keyOf(c.node.Domain, c.node.OpType, c.node.Overload)]; f != nil {
		return c.call(f)
	}
	if normalDomain(c.node.Domain) != "" {
		return nil
	}
	rule := inferRules[c.node.OpType]
	if rule == nil {
		return nil
	}
	if err := rule(c); err != nil {
		return errNode(c.node, "%s: %w", c.node.OpType, err)
	}
	c.fold()
	return nil
}

// call infers the outputs of a model-local function from its body.
func (c *inference) call(f *Function) error {
	if c.depth >= maxDepth {
		return errNode(c.node, "functions call each other more than %d deep", maxDepth)
	}
	g := &Graph{Name: f.Name}
	for _, n := range f.Nodes {
		g.Nodes = append(g.Nodes, bindAttrs(n, c.node, f))
	}
	e := newEnv(g, nil, f.Opsets)
	for i, name := range f.Inputs {
		if in := c.node.Input(i); in != "" {
			e.types[name] = c.in(i)
			if v, ok := c.env.value(in); ok {
				e.values[name] = v
			}
		}
	}
	declared := map[string]Type{}
	for _, v := range f.ValueInfo {
		declared[v.Name] = v.Type
	}
	c.depth++
	err := c.nodes(g.Nodes, e, declared)
	c.depth--
	if err != nil {
		return errNode(c.node, "in function %q: %w", f.Name, err)
	}
	for i, name := range f.Outputs {
		if i < len(c.outs) {
			c.outs[i] = e.typeOf(name)
			if v, ok := e.value(name); ok {
				c.outVals[i] = v
			}
		}
	}
	return nil
}

// bindAttrs returns a node of a function's body with the caller's attributes in the place of references.
func bindAttrs(n, caller *Node, f *Function) *Node {
	bound := *n
	bound.Attrs = nil
	for _, a := range n.Attrs {
		if a.Ref == "" {
			bound.Attrs = append(bound.Attrs, a)
			continue
		}
		v := caller.Attr(a.Ref)
		for _, d := range f.AttrDefaults {
			if v == nil && d.Name == a.Ref {
				v = d
			}
		}
		if v != nil {
			w := *v
			w.Name = a.Name
			bound.Attrs = append(bound.Attrs, &w)
		}
	}
	return &bound
}

// subgraph infers a control-flow body and returns the types of its outputs.
func (c *inference) subgraph(g *Graph, inputs []Type) ([]Type, error) {
	e := newEnv(g, c.env, c.env.opsets)
	for i, v := range g.Inputs {
		e.types[v.Name] = v.Type
		if i < len(inputs) && inputs[i].Kind != KindUnknown {
			e.types[v.Name] = inputs[i]
		}
	}
	if err := c.nodes(g.Nodes, e, declaredTypes(g)); err != nil {
		return nil, err
	}
	outs := make([]Type, len(g.Outputs))
	for i, v := range g.Outputs {
		outs[i] = e.typeOf(v.Name)
	}
	return outs, nil
}

// merge combines what was inferred with what the file declares. Inferred dimensions win: they follow from the
// inputs; a declared 0 is what some exporters write for "unknown". Another element type or rank is an error, as it
// is for ONNX Runtime.
func (inf *inferrer) merge(inferred, declared Type) (Type, error) {
	if declared.Kind == KindUnknown {
		return inferred, nil
	}
	if inferred.Kind == KindUnknown {
		inferred = Type{Kind: declared.Kind, Elem: declared.Elem, Of: declared.Of}
		if !declared.HasShape {
			return inferred, nil
		}
	}
	if inferred.Kind != declared.Kind {
		return inferred, fmt.Errorf("is %s, the file declares %s", inferred, declared)
	}
	if inferred.Kind != KindTensor {
		return inferred, nil
	}
	if inferred.Elem == Undefined {
		inferred.Elem = declared.Elem
	}
	if declared.Elem != Undefined && inferred.Elem != declared.Elem {
		return inferred, fmt.Errorf("is %s, the file declares %s", inferred.Elem, declared.Elem)
	}
	if !declared.HasShape {
		return inferred, nil
	}
	if !inferred.HasShape {
		inferred.HasShape, inferred.Shape = true, make([]Dim, len(declared.Shape))
		for i := range inferred.Shape {
			inferred.Shape[i] = NewDim(-1)
		}
	}
	if len(inferred.Shape) != len(declared.Shape) {
		return inferred, fmt.Errorf("has shape %s, the file declares %s", shapeString(inferred.Shape), shapeString(declared.Shape))
	}
	inferred.Shape = slices.Clone(inferred.Shape)
	for i, d := range declared.Shape {
		if have := inferred.Shape[i]; have.Known() || have.Param != "" || d.Value == 0 || d.Known() && inf.rebound {
			continue
		}
		inferred.Shape[i] = d
	}
	return inferred, nil
}

// in returns the type of input i; an input that is left out has Kind KindUnknown.
func (c *inference) in(i int) Type { return c.env.typeOf(c.node.Input(i)) }

// tensorIn returns the type of input i as a tensor; false where its rank is not known.
func (c *inference) shape(i int) ([]Dim, bool) {
	t := c.in(i)
	return t.Shape, t.Kind == KindTensor && t.HasShape
}

// out sets the type of output i.
func (c *inference) out(i int, elem DataType, shape []Dim) {
	if i < len(c.outs) {
		c.outs[i] = TensorType(elem, shape...)
	}
}

// outUnshaped sets an output of which only the element type is known.
func (c *inference) outUnshaped(i int, elem DataType) {
	if i < len(c.outs) {
		c.outs[i] = Type{Kind: KindTensor, Elem: elem}
	}
}

// outRanked sets an output of which only element type and rank are known.
func (c *inference) outRanked(i int, elem DataType, rank int) {
	c.out(i, elem, unknownDims(rank))
}

func unknownDims(rank int) []Dim {
	shape := make([]Dim, rank)
	for i := range shape {
		shape[i] = NewDim(-1)
	}
	return shape
}

// axis turns an axis, counted from the end where negative, into one in [0, rank).
func axisOf(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d is outside a tensor of rank %d", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// axesOf is axisOf for a list; an axis that comes twice is an error.
func axesOf(axes []int64, rank int) (map[int]bool, error) {
	set := map[int]bool{}
	for _, a := range axes {
		k, err := axisOf(a, rank)
		if err != nil {
			return nil, err
		}
		if set[k] {
			return nil, fmt.Errorf("axis %d comes twice in %v", a, axes)
		}
		set[k] = true
	}
	return set, nil
}

// intsFrom returns a list that is an attribute in older operator sets and an input in newer ones. given says whether
// there is one at all, known whether its contents are.
func (c *inference) intsFrom(attr string, input int) (v []int64, given, known bool) {
	if v, ok := c.node.Ints(attr); ok {
		return v, true, true
	}
	name := c.node.Input(input)
	if name == "" {
		return nil, false, true
	}
	vals, ok := c.env.value(name)
	if !ok {
		return nil, true, false
	}
	v, ok = vals.numbers()
	return v, true, ok
}
