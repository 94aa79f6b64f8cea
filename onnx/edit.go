package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// The editing verbs keep a valid graph valid: names stay unique, every use has its definition, nodes stay in
// topological order, the graph keeps its inputs and outputs under their names. An error leaves the graph as it was.
// Shapes are not their business; InferShapes says whether the edited graph's still fit.

// Producer returns the node that computes value, or nil where it is an input, an initializer or not of this graph.
func (g *Graph) Producer(value string) *Node {
	if i := g.producerAt(value); i >= 0 {
		return g.Nodes[i]
	}
	return nil
}

func (g *Graph) producerAt(value string) int {
	if value == "" {
		return -1
	}
	return slices.IndexFunc(g.Nodes, func(n *Node) bool { return slices.Contains(n.Outputs, value) })
}

// Consumers returns the nodes that use value, as an input or inside a subgraph, in order.
func (g *Graph) Consumers(value string) []*Node {
	var users []*Node
	for _, n := range g.Nodes {
		if value != "" && slices.Contains(n.uses(), value) {
			users = append(users, n)
		}
	}
	return users
}

// defines reports whether value is an input, an initializer or a node's output of this graph.
func (g *Graph) defines(value string) bool {
	return g.Input(value) != nil || g.isConstant(value) || g.producerAt(value) >= 0
}

func (g *Graph) isConstant(value string) bool {
	return g.Initializer(value) != nil ||
		slices.ContainsFunc(g.SparseInitializers, func(t *SparseTensor) bool { return t.Name() == value })
}

// NewName returns base, or base with the lowest number that makes it unlike every name of values and nodes in the
// graph and its subgraphs.
func (g *Graph) NewName(base string) string {
	taken := map[string]bool{"": true}
	g.collectNames(taken)
	return freeName(base, taken)
}

func freeName(base string, taken map[string]bool) string {
	name := base
	for i := 1; taken[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	return name
}

func (g *Graph) collectNames(taken map[string]bool) {
	for _, vs := range [][]Value{g.Inputs, g.Outputs, g.ValueInfo} {
		for _, v := range vs {
			taken[v.Name] = true
		}
	}
	for _, t := range g.Initializers {
		taken[t.Name] = true
	}
	for _, t := range g.SparseInitializers {
		taken[t.Name()] = true
	}
	for _, n := range g.Nodes {
		taken[n.Name] = true
		for _, names := range [][]string{n.Inputs, n.Outputs} {
			for _, name := range names {
				taken[name] = true
			}
		}
		for _, sub := range n.Subgraphs() {
			sub.collectNames(taken)
		}
	}
}

// InsertAfter puts n behind value: n's first input becomes value, and all that used value, the graph's output of
// that name included, use n's first output instead. Further inputs of n must exist already. A name or output that n
// lacks is made up.
func (g *Graph) InsertAfter(value string, n *Node) error {
	if value == "" || !g.defines(value) {
		return fmt.Errorf("onnx: insert %s: the graph has no value %q", n.OpType, value)
	}
	if err := g.fits(n, value); err != nil {
		return err
	}
	for _, in := range n.Inputs[min(1, len(n.Inputs)):] {
		if in != value && g.reaches(value, in) {
			return errNode(n, "cannot be inserted after %q: its input %q depends on it", value, in)
		}
	}
	users := g.Consumers(value)
	if out := g.Output(value); out != nil {
		producer := g.Producer(value)
		if producer == nil {
			return errNode(n, "cannot be inserted after %q: it is a graph output that no node computes", value)
		}
		before := g.NewName(value + "_before")
		producer.Outputs = replaced(producer.Outputs, value, before)
		n.substitute(value, before)
		g.moveValueInfo(value, before)
		g.place(n, before, value)
		return nil
	}
	g.complete(n, value)
	after := n.Outputs[0]
	for _, u := range users {
		if err := u.canSubstitute(value, after); err != nil {
			return err
		}
	}
	for _, u := range users {
		u.substitute(value, after)
	}
	g.place(n, value, after)
	return nil
}

// InsertBefore puts n in front of one input of a node: n's first input becomes what the node read there, and the
// node reads n's first output instead. Other users of the value keep it.
func (g *Graph) InsertBefore(node *Node, input int, n *Node) error {
	at := slices.Index(g.Nodes, node)
	if at < 0 {
		return errNode(node, "is not in the graph")
	}
	value := node.Input(input)
	if value == "" {
		return errNode(node, "has no input %d to insert %s before", input, n.OpType)
	}
	if err := g.fits(n, value); err != nil {
		return err
	}
	n.Inputs = withFirst(n.Inputs, value)
	for _, in := range n.uses() {
		if k := g.producerAt(in); k >= at {
			return errNode(n, "cannot be inserted before node %q: its input %q is computed later", node.Label(), in)
		}
	}
	g.complete(n, value)
	node.Inputs = cloneSlice(node.Inputs)
	node.Inputs[input] = n.Outputs[0]
	g.Nodes = slices.Insert(g.Nodes, at, n)
	return nil
}

// Remove takes a node out and connects its users with its input. The node must have one input that is not a
// constant (or one input), and nobody may use its further outputs. Constants that only it used stay; see RemoveUnused.
func (g *Graph) Remove(n *Node) error {
	at := slices.Index(g.Nodes, n)
	if at < 0 {
		return errNode(n, "is not in the graph")
	}
	value, err := g.bypass(n)
	if err != nil {
		return err
	}
	out := n.Output(0)
	for _, extra := range n.Outputs[min(1, len(n.Outputs)):] {
		if extra != "" && (g.Output(extra) != nil || len(g.Consumers(extra)) > 0) {
			return errNode(n, "cannot be removed: its output %q is used", extra)
		}
	}
	from, to := out, value
	if g.Output(out) != nil { // the value before the node takes the output's name
		from, to = value, out
		if g.Producer(value) == nil || g.Output(value) != nil {
			return errNode(n, "cannot be removed: graph output %q would be %q, which is an input, a constant or another output", out, value)
		}
	}
	var users []*Node
	for _, u := range g.Consumers(from) {
		if u == n {
			continue
		}
		if err := u.canSubstitute(from, to); err != nil {
			return err
		}
		users = append(users, u)
	}
	for _, u := range users {
		u.substitute(from, to)
	}
	if from == value {
		p := g.Producer(value)
		p.Outputs = replaced(p.Outputs, value, out)
		g.dropValueInfo(value)
	}
	g.Nodes = slices.Delete(g.Nodes, at, at+1)
	for i, name := range n.Outputs {
		if i > 0 || from == out {
			g.dropValueInfo(name)
		}
	}
	return nil
}

// bypass returns the one input of n that is no constant, or the only one.
func (g *Graph) bypass(n *Node) (string, error) {
	var value string
	for _, in := range n.Inputs {
		if in == "" || g.isConstant(in) && len(n.Inputs) > 1 {
			continue
		}
		if p := g.Producer(in); p != nil && p.Is("Constant") && len(n.Inputs) > 1 {
			continue
		}
		if value != "" && value != in {
			return "", errNode(n, "cannot be removed: it joins %q and %q", value, in)
		}
		value = in
	}
	switch {
	case value == "":
		return "", errNode(n, "cannot be removed: it has no input that could take its place")
	case len(n.Subgraphs()) > 0:
		return "", errNode(n, "cannot be removed: it has a subgraph")
	}
	return value, nil
}

// Replace puts n in the place of old. Inputs and outputs that n leaves nil are old's; every output of old that is
// used must be one of n's.
func (g *Graph) Replace(old, n *Node) error {
	at := slices.Index(g.Nodes, old)
	if at < 0 {
		return errNode(old, "is not in the graph")
	}
	inputs, outputs := n.Inputs, n.Outputs
	if inputs == nil {
		inputs = cloneSlice(old.Inputs)
	}
	if outputs == nil {
		outputs = cloneSlice(old.Outputs)
	}
	for _, out := range old.Outputs {
		if out != "" && !slices.Contains(outputs, out) && (g.Output(out) != nil || len(g.Consumers(out)) > 0) {
			return errNode(old, "cannot be replaced by %s: output %q is used", n.OpType, out)
		}
	}
	for i, out := range outputs {
		if out != "" && (!slices.Contains(old.Outputs, out) && g.defines(out) || slices.Contains(outputs[:i], out)) {
			return errNode(old, "cannot be replaced by %s: value %q exists already", n.OpType, out)
		}
	}
	for _, in := range inputs {
		if in == "" {
			continue
		}
		if k := g.producerAt(in); k >= at || k < 0 && !g.visible(in) {
			return errNode(old, "cannot be replaced by %s: input %q is not defined before it", n.OpType, in)
		}
	}
	if n.Name != "" && n.Name != old.Name && g.nodeNameTaken(n.Name) {
		return errNode(old, "cannot be replaced: there is a node %q already", n.Name)
	}
	n.Inputs, n.Outputs = inputs, outputs
	if n.Name == "" {
		n.Name = old.Name
	}
	g.Nodes[at] = n
	for _, out := range old.Outputs {
		if !slices.Contains(outputs, out) {
			g.dropValueInfo(out)
		}
	}
	return nil
}

// Rename gives a value another name wherever it is defined, used or described, in subgraphs too.
func (g *Graph) Rename(old, name string) error {
	switch {
	case old == name:
		return nil
	case old == "" || !g.defines(old):
		return fmt.Errorf("onnx: rename: the graph has no value %q", old)
	case name == "":
		return fmt.Errorf("onnx: rename %q: the new name is empty", old)
	}
	taken := map[string]bool{}
	g.collectNames(taken)
	if taken[name] {
		return fmt.Errorf("onnx: rename %q: the name %q is taken", old, name)
	}
	for _, n := range g.Nodes {
		n.substitute(old, name) // cannot be captured: the name is new
		n.Outputs = replaced(n.Outputs, old, name)
	}
	for _, vs := range [][]Value{g.Inputs, g.Outputs, g.ValueInfo} {
		for i := range vs {
			if vs[i].Name == old {
				vs[i].Name = name
			}
		}
	}
	for _, t := range g.Initializers {
		if t.Name == old {
			t.Name = name
		}
	}
	for _, t := range g.SparseInitializers {
		if t.Values != nil && t.Values.Name == old {
			t.Values.Name = name
		}
	}
	g.renameAnnotations(old, name)
	return nil
}

// renameAnnotations follows a rename in the quantization annotations, which live in the message as read.
func (g *Graph) renameAnnotations(old, name string) {
	named := func(a *pb.TensorAnnotation) bool {
		return a.GetTensorName() == old || slices.ContainsFunc(a.QuantParameterTensorNames, func(p *pb.StringStringEntryProto) bool { return p.GetValue() == old })
	}
	if g.proto == nil || !slices.ContainsFunc(g.proto.QuantizationAnnotation, named) {
		return
	}
	g.proto = proto.Clone(g.proto).(*pb.GraphProto)
	for _, a := range g.proto.QuantizationAnnotation {
		if a.GetTensorName() == old {
			a.TensorName = &name
		}
		for _, p := range a.QuantParameterTensorNames {
			if p.GetValue() == old {
				p.Value = &name
			}
		}
	}
}

// RemoveUnused removes nodes whose outputs nobody uses, then initializers (and their graph inputs of IR version 3)
// that nobody uses, and returns the labels and names of what it removed.
func (g *Graph) RemoveUnused() []string {
	used := map[string]int{}
	for _, v := range g.Outputs {
		used[v.Name]++
	}
	for _, n := range g.Nodes {
		for _, in := range n.uses() {
			used[in]++
		}
	}
	var removed []string
	for i := len(g.Nodes) - 1; i >= 0; i-- { // users come after what they use
		n := g.Nodes[i]
		if slices.ContainsFunc(n.Outputs, func(o string) bool { return o != "" && used[o] > 0 }) {
			continue
		}
		for _, in := range n.uses() {
			used[in]--
		}
		for _, o := range n.Outputs {
			g.dropValueInfo(o)
		}
		removed = append(removed, n.Label())
		g.Nodes = slices.Delete(g.Nodes, i, i+1)
	}
	unused := func(name string) bool {
		if used[name] > 0 {
			return false
		}
		removed = append(removed, name)
		g.Inputs = slices.DeleteFunc(g.Inputs, func(v Value) bool { return v.Name == name })
		return true
	}
	g.Initializers = slices.DeleteFunc(g.Initializers, func(t *Tensor) bool { return unused(t.Name) })
	g.SparseInitializers = slices.DeleteFunc(g.SparseInitializers, func(t *SparseTensor) bool { return unused(t.Name()) })
	return removed
}

// FreezeDim replaces a symbolic dimension by a number in the types of inputs, outputs and value_info.
func (g *Graph) FreezeDim(symbol string, n int64) error {
	if symbol == "" || n < 0 {
		return fmt.Errorf("onnx: dimension %q cannot be %d", symbol, n)
	}
	for _, vs := range [][]Value{g.Inputs, g.Outputs, g.ValueInfo} {
		for i := range vs {
			for k, d := range vs[i].Type.Shape {
				if d.Value < 0 && d.Param == symbol {
					vs[i].Type.Shape[k] = Dim{Value: n, Denotation: d.Denotation}
				}
			}
		}
	}
	return nil
}

// fits checks that n may be put behind value: its other inputs exist, its own names are free.
func (g *Graph) fits(n *Node, value string) error {
	if n.OpType == "" {
		return errors.New("onnx: insert: the node has no op type")
	}
	if slices.Contains(g.Nodes, n) {
		return errNode(n, "is in the graph already")
	}
	for i, in := range n.Inputs {
		if i > 0 && in != "" && in != value && !g.visible(in) {
			return errNode(n, "cannot be inserted: its input %q does not exist", in)
		}
	}
	for i, out := range n.Outputs {
		if out != "" && g.defines(out) || out != "" && slices.Contains(n.Outputs[:i], out) {
			return errNode(n, "cannot be inserted: its output %q exists already", out)
		}
	}
	if n.Name != "" && g.nodeNameTaken(n.Name) {
		return errNode(n, "cannot be inserted: there is a node of this name already")
	}
	return nil
}

// visible reports whether value may be used: it is defined here, or taken from an enclosing graph already.
func (g *Graph) visible(value string) bool {
	return g.defines(value) || slices.Contains(g.captures(), value)
}

func (g *Graph) nodeNameTaken(name string) bool {
	return slices.ContainsFunc(g.Nodes, func(n *Node) bool { return n.Name == name })
}

// complete gives n a name and a first output where it has none.
func (g *Graph) complete(n *Node, value string) {
	taken := map[string]bool{"": true}
	g.collectNames(taken)
	if n.Name == "" {
		n.Name = freeName(value+"_"+n.OpType, taken)
		taken[n.Name] = true
	}
	if n.Output(0) == "" {
		n.Outputs = withFirst(n.Outputs, freeName(n.Name+"_output", taken))
	}
}

// place puts n between the definition of its inputs and its users.
func (g *Graph) place(n *Node, in, out string) {
	n.Inputs, n.Outputs = withFirst(n.Inputs, in), withFirst(n.Outputs, out)
	g.complete(n, in)
	at := 0
	for _, name := range n.uses() {
		at = max(at, g.producerAt(name)+1)
	}
	g.Nodes = slices.Insert(g.Nodes, at, n)
	if sorted, cycle := sortNodes(g.Nodes); cycle == nil { // a later input of n may come after some users
		g.Nodes = sorted
	}
}

func withFirst(list []string, first string) []string {
	list = cloneSlice(list)
	if len(list) == 0 {
		return []string{first}
	}
	list[0] = first
	return list
}

// replaced returns list with old replaced by name, copied where something changes.
func replaced(list []string, old, name string) []string {
	if !slices.Contains(list, old) {
		return list
	}
	list = cloneSlice(list)
	for i := range list {
		if list[i] == old {
			list[i] = name
		}
	}
	return list
}

// reaches reports whether the computation of to depends on from.
func (g *Graph) reaches(from, to string) bool {
	reached := map[string]bool{from: true}
	for _, n := range g.Nodes {
		if slices.ContainsFunc(n.uses(), func(in string) bool { return reached[in] }) {
			for _, out := range n.Outputs {
				reached[out] = out != ""
			}
		}
	}
	return reached[to]
}

// canSubstitute reports whether the node's uses of a value, those in subgraphs included, can use another one: no
// subgraph on the way may have a value of the other's name.
func (n *Node) canSubstitute(from, to string) error {
	for _, g := range n.Subgraphs() {
		if !slices.Contains(g.captures(), from) {
			continue
		}
		if g.defines(to) {
			return errNode(n, "its subgraph %q has a value %q of its own, which hides the outer one", g.Name, to)
		}
		for _, inner := range g.Nodes {
			if err := inner.canSubstitute(from, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// substitute makes the node use to where it used from.
func (n *Node) substitute(from, to string) {
	n.Inputs = replaced(n.Inputs, from, to)
	for _, g := range n.Subgraphs() {
		if g.defines(from) {
			continue
		}
		for _, inner := range g.Nodes {
			inner.substitute(from, to)
		}
		for i := range g.Outputs {
			if g.Outputs[i].Name == from {
				g.Outputs[i].Name = to
			}
		}
	}
}

func (g *Graph) dropValueInfo(name string) {
	g.ValueInfo = slices.DeleteFunc(g.ValueInfo, func(v Value) bool { return v.Name == name })
}

// moveValueInfo describes a value by the type of the graph output whose name it had.
func (g *Graph) moveValueInfo(output, name string) {
	v := g.Output(output)
	if v == nil || v.Type.Kind == KindUnknown {
		return
	}
	t := v.Type.clone()
	g.dropValueInfo(output)
	g.ValueInfo = append(g.ValueInfo, Value{Name: name, Type: t})
}
