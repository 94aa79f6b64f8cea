package onnx

import (
	"errors"
	"fmt"
	"strings"
)

// maxProblems is how many problems Check reports before it stops looking.
const maxProblems = 10

// Check reports what makes the model invalid: names used twice or never defined, nodes out of order or in a cycle,
// operators and attributes that the imported operator sets do not have, tensors whose data does not fit their
// shape. The error joins up to ten problems, each naming its node, tensor or value. Shapes between nodes are
// InferShapes' business.
func Check(m *Model) error {
	c := &checker{model: m, calls: map[functionKey]*Function{}}
	for _, f := range m.Functions {
		if k := keyOf(f.Domain, f.Name, f.Overload); c.calls[k] == nil {
			c.calls[k] = f
		}
	}
	c.header()
	if m.Graph == nil {
		c.add("the model has no graph")
		return errors.Join(c.problems...)
	}
	c.functions()
	c.graph(m.Graph, scope{opsets: m.Opsets})
	return errors.Join(c.problems...)
}

type checker struct {
	model    *Model
	calls    map[functionKey]*Function
	problems []error
}

// functionKey is what a node calls a function by.
type functionKey struct{ domain, name, overload string }

func keyOf(domain, name, overload string) functionKey {
	return functionKey{normalDomain(domain), name, overload}
}

func (c *checker) add(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Errorf("onnx: "+format, args...))
	}
}

func (c *checker) full() bool { return len(c.problems) >= maxProblems }

// scope is what a graph sees from outside.
type scope struct {
	opsets []Opset
	outer  *names // values of the enclosing graphs; nil at the top
	refs   map[string]bool
	inFunc bool
	in     string // where the graph is, for messages: `node "loop": body: `
}

// names is the set of values defined so far in a graph, on top of those of the enclosing graphs.
type names struct {
	own   map[string]bool
	outer *names
}

func (n *names) has(name string) bool {
	for ; n != nil; n = n.outer {
		if n.own[name] {
			return true
		}
	}
	return false
}

func (c *checker) header() {
	m := c.model
	if m.IRVersion < 1 {
		c.add("the model has no ir_version")
	}
	if m.IRVersion >= 3 && len(m.Opsets) == 0 {
		c.add("the model imports no operator set")
	}
	c.opsets(m.Opsets, "")
	seen := map[string]bool{}
	for _, p := range m.Metadata {
		if seen[p.Key] {
			c.add("metadata key %q is there twice", p.Key)
		}
		seen[p.Key] = true
	}
}

func (c *checker) opsets(opsets []Opset, in string) {
	seen := map[string]bool{}
	for _, o := range opsets {
		d := normalDomain(o.Domain)
		if seen[d] {
			c.add("%soperator set %q is imported twice", in, o.Domain)
		}
		seen[d] = true
		if newest := newestOpset(d); newest > 0 && (o.Version < 1 || o.Version > newest) {
			c.add("%soperator set %q has no version %d known here; the newest is %d", in, o.Domain, o.Version, newest)
		}
	}
}

func (c *checker) functions() {
	calls := map[*Function][]*Function{}
	for i, f := range c.model.Functions {
		in := fmt.Sprintf("function %q: ", f.Name)
		if f.Name == "" {
			c.add("function %d has no name", i)
		}
		if c.calls[keyOf(f.Domain, f.Name, f.Overload)] != f {
			c.add("function %q of domain %q is defined twice", f.Name, f.Domain)
		}
		c.opsets(f.Opsets, in)
		refs := map[string]bool{}
		for _, a := range f.AttrNames {
			refs[a] = true
		}
		for _, a := range f.AttrDefaults {
			refs[a.Name] = true
			c.attribute(a, in, scope{opsets: f.Opsets, in: in})
		}
		g := &Graph{Name: f.Name, Nodes: f.Nodes}
		for _, name := range f.Inputs {
			g.Inputs = append(g.Inputs, Value{Name: name})
		}
		for _, name := range f.Outputs {
			g.Outputs = append(g.Outputs, Value{Name: name})
		}
		c.graph(g, scope{opsets: f.Opsets, refs: refs, inFunc: true, in: in})
		eachNode(f.Nodes, func(n *Node) {
			if callee := c.calls[keyOf(n.Domain, n.OpType, n.Overload)]; callee != nil {
				calls[f] = append(calls[f], callee)
			}
		})
	}
	state := map[*Function]int{} // 1: on the way, 2: done
	var visit func(f *Function) bool
	visit = func(f *Function) bool {
		state[f] = 1
		for _, callee := range calls[f] {
			if state[callee] == 1 || state[callee] == 0 && visit(callee) {
				return true
			}
		}
		state[f] = 2
		return false
	}
	for _, f := range c.model.Functions {
		if state[f] == 0 && visit(f) {
			c.add("function %q calls itself", f.Name)
			return
		}
	}
}

// eachNode visits nodes and those of their subgraphs.
func eachNode(nodes []*Node, visit func(*Node)) {
	for _, n := range nodes {
		visit(n)
		for _, g := range n.Subgraphs() {
			eachNode(g.Nodes, visit)
		}
	}
}

func (c *checker) graph(g *Graph, s scope) {
	known := &names{own: map[string]bool{}, outer: s.outer}
	defined := map[string]string{} // value -> what defines it
	define := func(name, by string) {
		if before, dup := defined[name]; dup {
			c.add("%svalue %q is defined twice, by %s and by %s", s.in, name, before, by)
		}
		defined[name] = by
	}
	for i, v := range g.Inputs {
		if v.Name == "" {
			c.add("%sgraph input %d has no name", s.in, i)
			continue
		}
		define(v.Name, "a graph input")
		known.own[v.Name] = true
		c.valueType(v, s, "graph input", s.outer == nil && !s.inFunc)
	}
	c.initializers(g, s, known)
	order := c.order(g, s, known)
	for i, n := range g.Nodes {
		if c.full() {
			return
		}
		for k, name := range n.Inputs {
			if name != "" && !known.has(name) && order.reported[name] == nil {
				c.add("%snode %q: input %d, %q, is defined nowhere", s.in, n.Label(), k, name)
			}
		}
		c.node(n, i, s, known)
		for _, name := range n.Outputs {
			if name == "" {
				continue
			}
			if known.own[name] && defined[name] == "" {
				c.add("%snode %q: output %q is an initializer too", s.in, n.Label(), name)
			}
			define(name, fmt.Sprintf("node %q", n.Label()))
			known.own[name] = true
		}
	}
	outputs := map[string]bool{}
	for i, v := range g.Outputs {
		switch {
		case v.Name == "":
			c.add("%sgraph output %d has no name", s.in, i)
		case !known.has(v.Name):
			c.add("%sgraph output %q is defined nowhere", s.in, v.Name)
		case outputs[v.Name] && s.outer == nil:
			c.add("%sgraph output %q is there twice", s.in, v.Name)
		}
		outputs[v.Name] = true
		c.valueType(v, s, "graph output", false)
	}
	for _, v := range g.ValueInfo {
		c.valueType(v, s, "value_info", false)
	}
}

// valueType checks a declared type; a top-level input must have one.
func (c *checker) valueType(v Value, s scope, what string, needed bool) {
	t := v.Type
	switch {
	case t.Kind == KindUnknown && needed:
		c.add("%s%s %q has no type", s.in, what, v.Name)
	case t.Kind == KindTensor && !t.Elem.Valid():
		c.add("%s%s %q has %s, which is no element type", s.in, what, v.Name, t.Elem)
	case t.Kind == KindTensor:
		if _, err := elementsKnown(t.Shape); err != nil {
			c.add("%s%s %q: %w", s.in, what, v.Name, err)
		}
	}
}

// elementsKnown returns the product of the dimensions that are numbers.
func elementsKnown(shape []Dim) (int64, error) {
	if len(shape) > maxRank {
		return 0, fmt.Errorf("shape has %d dimensions, more than %d", len(shape), maxRank)
	}
	var dims []int64
	for _, d := range shape {
		if d.Known() {
			dims = append(dims, d.Value)
		}
	}
	return Elements(dims)
}

func (c *checker) initializers(g *Graph, s scope, known *names) {
	seen := map[string]bool{}
	name := func(name string, i int) {
		switch {
		case name == "":
			c.add("%sinitializer %d has no name", s.in, i)
		case seen[name]:
			c.add("%sinitializer %q is there twice", s.in, name)
		}
		seen[name] = true
		known.own[name] = true
	}
	inputs := make(map[string]*Value, len(g.Inputs))
	for i := range g.Inputs {
		inputs[g.Inputs[i].Name] = &g.Inputs[i]
	}
	for i, t := range g.Initializers {
		name(t.Name, i)
		c.tensor(t, s.in)
		if in := inputs[t.Name]; in != nil {
			c.initializerFits(t, in, s)
		}
	}
	for i, t := range g.SparseInitializers {
		name(t.Name(), i)
		c.sparse(t, s.in)
	}
	delete(known.own, "")
}

// initializerFits compares an initializer with the graph input whose default it is.
func (c *checker) initializerFits(t *Tensor, in *Value, s scope) {
	if in.Type.Kind != KindTensor {
		return
	}
	if in.Type.Elem != t.Type {
		c.add("%sinitializer %q holds %s, the graph input of its name %s", s.in, t.Name, t.Type, in.Type.Elem)
	}
	fits := len(t.Dims) == len(in.Type.Shape)
	for i := 0; fits && i < len(t.Dims); i++ {
		fits = !in.Type.Shape[i].Known() || in.Type.Shape[i].Value == t.Dims[i]
	}
	if in.Type.HasShape && !fits {
		c.add("%sinitializer %q has shape %v, the graph input of its name %s", s.in, t.Name, t.Dims, shapeString(in.Type.Shape))
	}
}

func (c *checker) tensor(t *Tensor, in string) {
	if err := t.check(); err != nil {
		c.add("%s%s", in, strings.TrimPrefix(err.Error(), "onnx: "))
	}
}

func (c *checker) sparse(t *SparseTensor, in string) {
	if t.Values == nil || t.Indices == nil {
		c.add("%ssparse tensor %q lacks values or indices", in, t.Name())
		return
	}
	c.tensor(t.Values, in)
	c.tensor(t.Indices, in)
	if _, err := Elements(t.Dims); err != nil {
		c.add("%ssparse tensor %q: %w", in, t.Name(), err)
	}
	switch {
	case t.Indices.Type != Int64:
		c.add("%ssparse tensor %q: indices are %s, not int64", in, t.Name(), t.Indices.Type)
	case len(t.Values.Dims) != 1:
		c.add("%ssparse tensor %q: values have shape %v, not [NNZ]", in, t.Name(), t.Values.Dims)
	case len(t.Indices.Dims) == 1 && t.Indices.Dims[0] == t.Values.Dims[0]:
	case len(t.Indices.Dims) == 2 && t.Indices.Dims[0] == t.Values.Dims[0] && t.Indices.Dims[1] == int64(len(t.Dims)):
	default:
		c.add("%ssparse tensor %q: indices have shape %v, not [%d] or [%d,%d]", in, t.Name(), t.Indices.Dims, t.Values.Dims[0], t.Values.Dims[0], len(t.Dims))
	}
}

func (c *checker) node(n *Node, i int, s scope, known *names) {
	where := fmt.Sprintf("%snode %q: ", s.in, n.Label())
	if n.OpType == "" {
		c.add("%snode %d (%q) has no op type", s.in, i, n.Label())
		return
	}
	seen := map[string]bool{}
	for _, a := range n.Attrs {
		if a.Name == "" {
			c.add("%san attribute has no name", where)
		} else if seen[a.Name] {
			c.add("%sattribute %q is there twice", where, a.Name)
		}
		seen[a.Name] = true
		c.attribute(a, where, s)
		for _, g := range append([]*Graph{a.Graph}, a.Graphs...) {
			if g != nil {
				sub := s
				sub.outer, sub.in = known, where+a.Name+": "
				c.graph(g, sub)
			}
		}
	}
	if c.calls[keyOf(n.Domain, n.OpType, n.Overload)] != nil {
		return
	}
	version := opsetOf(s.opsets, n.Domain)
	if version == 0 && normalDomain(n.Domain) == "" && c.model.IRVersion < 3 {
		version = 1 // before IR version 3 a model had no imports
	}
	if version == 0 {
		c.add("%s%s is of domain %q, which is not imported", where, n.OpType, n.Domain)
		return
	}
	if newest := newestOpset(n.Domain); newest > 0 && version >= 1 && version <= newest {
		c.signature(n, where, version)
	}
}

// signature compares a node with its operator's definition.
func (c *checker) signature(n *Node, where string, version int64) {
	s := schemaOf(n.Domain, n.OpType, version)
	if s == nil || s.deprecated {
		domain := n.Domain
		if domain == "" {
			domain = "ai.onnx"
		}
		c.add("%s%s is no operator of %s %d", where, n.OpType, domain, version)
		return
	}
	c.arity(where, n.OpType, "input", n.Inputs, s.inputs)
	c.arity(where, n.OpType, "output", n.Outputs, s.outputs)
	for _, a := range n.Attrs {
		want, ok := s.attrs[a.Name]
		switch {
		case a.Name == "":
		case !ok:
			c.add("%s%s of operator set %d has no attribute %q", where, n.OpType, version, a.Name)
		case a.Type != want.kind:
			c.add("%sattribute %q is %s, %s wants %s", where, a.Name, a.Type, n.OpType, want.kind)
		}
	}
	for name, a := range s.attrs {
		if a.required && n.Attr(name) == nil {
			c.add("%s%s needs the attribute %q", where, n.OpType, name)
		}
	}
}

func (c *checker) arity(where, op, what string, have []string, sig signature) {
	if most, ok := sig.accepts(len(have)); !ok {
		switch {
		case most < 0:
			c.add("%s%s has %d %ss, it takes at least %d", where, op, len(have), what, sig.least)
		case sig.least == most:
			c.add("%s%s has %d %ss, it takes %d", where, op, len(have), what, most)
		default:
			c.add("%s%s has %d %ss, it takes %d to %d", where, op, len(have), what, sig.least, most)
		}
		return
	}
	if what == "output" { // an output that nobody uses may be left out
		return
	}
	for i, name := range have {
		if name == "" && sig.required(i) {
			c.add("%s%s of %s is left out, but required", where, fmt.Sprintf("%s %d", what, i), op)
		}
	}
}

// attribute checks that the field that the type names is the one in use, and the tensors in it.
func (c *checker) attribute(a *Attribute, where string, s scope) {
	if a.Ref != "" {
		switch {
		case !s.inFunc:
			c.add("%sattribute %q refers to %q, which is allowed in functions only", where, a.Name, a.Ref)
		case !s.refs[a.Ref]:
			c.add("%sattribute %q refers to %q, which the function does not have", where, a.Name, a.Ref)
		}
		return
	}
	if a.Type <= AttrUndefined || a.Type > AttrTypeProtos {
		c.add("%sattribute %q has no type", where, a.Name)
		return
	}
	used := map[AttrType]bool{
		AttrFloat: a.Float != 0, AttrInt: a.Int != 0, AttrString: a.Str != "", AttrTensor: a.Tensor != nil,
		AttrGraph: a.Graph != nil, AttrSparseTensor: a.Sparse != nil, AttrTypeProto: a.TypeProto != nil,
		AttrFloats: len(a.Floats) > 0, AttrInts: len(a.Ints) > 0, AttrStrings: len(a.Strings) > 0,
		AttrTensors: len(a.Tensors) > 0, AttrGraphs: len(a.Graphs) > 0, AttrSparseTensors: len(a.SparseTensors) > 0,
		AttrTypeProtos: len(a.TypeProtos) > 0,
	}
	for kind := AttrFloat; kind <= AttrTypeProtos; kind++ {
		if used[kind] && kind != a.Type {
			c.add("%sattribute %q is declared %s but holds %s", where, a.Name, a.Type, kind)
		}
	}
	switch a.Type {
	case AttrTensor, AttrGraph, AttrSparseTensor, AttrTypeProto:
		if !used[a.Type] {
			c.add("%sattribute %q holds no %s", where, a.Name, a.Type)
		}
	}
	at := fmt.Sprintf("%sattribute %q: ", where, a.Name)
	for _, t := range append([]*Tensor{a.Tensor}, a.Tensors...) {
		if t != nil {
			c.tensor(t, at)
		}
	}
	for _, t := range append([]*SparseTensor{a.Sparse}, a.SparseTensors...) {
		if t != nil {
			c.sparse(t, at)
		}
	}
}
