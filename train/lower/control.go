package lower

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// controls are the operators with subgraphs. A branch is taken, and a loop unrolled, when it is lowered: its condition and its count must be
// constants.
var controls map[string]lowering

func init() { // the lowerings of a body refer to this table
	controls = map[string]lowering{"If": lowerIf, "Loop": lowerLoop, "Scan": lowerScan}
	maps.Copy(lowerings, controls)
}

const (
	maxInlined = 200_000 // nodes that branches, loops and functions may unfold to
	maxDepth   = 16      // of functions and subgraphs inside each other
)

// body is a list of nodes that stands for one node.
type body struct {
	nodes  []*onnx.Node
	inits  []*onnx.Tensor
	out    []string
	bound  map[string]value // what the inputs are
	closed bool             // a function: the names outside are not seen
	opset  int64
}

// inline lowers a body and gives its outputs.
func (e *env) inline(b body) ([]value, error) {
	saved := *e
	defer func() {
		inlined := e.inlined
		*e = saved
		e.inlined = inlined
	}()
	if e.depth++; e.depth > maxDepth {
		return nil, fmt.Errorf("functions and subgraphs are nested more than %d deep", maxDepth)
	}
	if b.closed {
		e.values, e.inits = make(map[string]value), make(map[string]*onnx.Tensor)
	} else {
		e.values, e.inits = maps.Clone(e.values), maps.Clone(e.inits)
	}
	e.used = make(map[string]bool)
	e.opset = b.opset
	for _, t := range b.inits {
		delete(e.values, t.Name)
		e.inits[t.Name] = t
	}
	maps.Copy(e.values, b.bound)
	useNames(e.used, b.nodes)
	for _, name := range b.out {
		e.used[name] = true
	}
	for _, n := range b.nodes {
		if e.inlined++; e.inlined > maxInlined {
			return nil, fmt.Errorf("unfolds to more than %d nodes", maxInlined)
		}
		e.node, e.index = n, len(e.model.Graph.Nodes)+e.inlined
		if err := e.lowerNode(n); err != nil {
			return nil, fmt.Errorf("node %q: op %s: %w", n.Label(), opName(n), err)
		}
	}
	out := make([]value, len(b.out))
	for i, name := range b.out {
		var err error
		if out[i], err = e.get(name); err != nil {
			return nil, fmt.Errorf("output %w", err)
		}
	}
	return out, nil
}

// useNames collects the names that nodes and their subgraphs read.
func useNames(used map[string]bool, nodes []*onnx.Node) {
	for _, n := range nodes {
		for _, in := range n.Inputs {
			used[in] = true
		}
		for _, g := range n.Subgraphs() {
			useNames(used, g.Nodes)
			for _, v := range g.Outputs {
				used[v.Name] = true
			}
		}
	}
}

// subgraph lowers a graph attribute whose inputs are given.
func (e *env) subgraph(name string, in ...value) ([]value, error) {
	g := e.node.Graph(name)
	if g == nil {
		return nil, fmt.Errorf("has no graph %q", name)
	}
	if len(in) != len(g.Inputs) {
		return nil, fmt.Errorf("%s takes %d inputs, wants %d", name, len(g.Inputs), len(in))
	}
	b := body{nodes: g.Nodes, inits: g.Initializers, bound: make(map[string]value), opset: e.opset}
	for i, v := range g.Inputs {
		b.bound[v.Name] = in[i]
	}
	for _, v := range g.Outputs {
		b.out = append(b.out, v.Name)
	}
	return e.inline(b)
}

// lowerFunction lowers a node that the model itself defines as a function: by its body.
func lowerFunction(e *env, n *onnx.Node, f *onnx.Function) error {
	b := body{out: f.Outputs, bound: make(map[string]value), closed: true, opset: e.opset}
	for _, o := range f.Opsets {
		if o.Domain == "" || o.Domain == "ai.onnx" {
			b.opset = o.Version
		}
	}
	for i, name := range f.Inputs {
		if !e.has(i) {
			continue
		}
		v, err := e.arg(i)
		if err != nil {
			return err
		}
		b.bound[name] = v
	}
	for _, inner := range f.Nodes {
		inner = inner.Clone()
		for _, a := range slices.Clone(inner.Attrs) {
			if a.Ref == "" {
				continue
			}
			given := n.Attr(a.Ref)
			for _, d := range f.AttrDefaults {
				if given == nil && d.Name == a.Ref {
					given = d
				}
			}
			inner.DeleteAttr(a.Name)
			if given != nil {
				c := given.Clone()
				c.Name = a.Name
				inner.SetAttr(c)
			}
		}
		for i, in := range inner.Inputs { // an input that the call leaves out is left out inside
			if k := slices.Index(f.Inputs, in); k >= 0 && !e.has(k) {
				inner.Inputs[i] = ""
			}
		}
		b.nodes = append(b.nodes, inner)
	}
	out, err := e.inline(b)
	if err != nil {
		return err
	}
	return e.setAll(out)
}

// setAll gives the outputs of the current node their values.
func (e *env) setAll(out []value) error {
	if len(out) < len(e.node.Outputs) {
		return fmt.Errorf("has %d outputs, the body %d", len(e.node.Outputs), len(out))
	}
	for i := range e.node.Outputs {
		if err := e.set(i, out[i]); err != nil {
			return err
		}
	}
	return nil
}

func lowerIf(e *env, n *onnx.Node) error {
	c, err := e.hostInts(0)
	if err != nil {
		return err
	}
	if len(c) != 1 {
		return fmt.Errorf("condition has %d elements, wants one", len(c))
	}
	branch := "else_branch"
	if c[0] != 0 {
		branch = "then_branch"
	}
	out, err := e.subgraph(branch)
	if err != nil {
		return err
	}
	return e.setAll(out)
}

// lowerLoop runs the body with (iteration, condition, carried values…) until the count is reached or the condition is false; what the body
// gives beyond condition and carried values is stacked along a new first axis.
func lowerLoop(e *env, n *onnx.Node) error {
	count := maxInlined
	if c, err := e.hostInts(0); err != nil {
		return err
	} else if len(c) == 1 {
		count = min(count, c[0])
	}
	on := hostValue(&constant{elem: onnx.Bool, i: []int64{1}})
	if c, err := e.hostInput(1); err != nil {
		return err
	} else if c != nil && c.size() == 1 {
		on = hostValue(c.cast(onnx.Bool))
	}
	var carried []value
	for i := 2; i < len(n.Inputs); i++ {
		v, err := e.arg(i)
		if err != nil {
			return err
		}
		carried = append(carried, v)
	}
	var stacked [][]value
	for it := 0; it < count && on.host.i[0] != 0; it++ {
		out, err := e.subgraph("body", append([]value{hostValue(intConstant(nil, int64(it))), on}, carried...)...)
		if err != nil {
			return err
		}
		if len(out) < 1+len(carried) {
			return fmt.Errorf("the body has %d outputs, wants at least %d", len(out), 1+len(carried))
		}
		if out[0].host == nil || out[0].host.size() != 1 {
			return errors.New("the condition must be a constant, but depends on data or on trained weights")
		}
		on = hostValue(out[0].host.cast(onnx.Bool))
		on.host.shape = nil
		carried = out[1 : 1+len(carried)]
		stacked = append(stacked, out[1+len(carried):])
	}
	if len(stacked) == 0 && len(n.Outputs) > len(carried) {
		return errors.New("scan outputs of a loop that never runs are not supported")
	}
	out := carried
	for k := range len(n.Outputs) - len(carried) {
		y, err := e.stack(stacked, k, 0, false)
		if err != nil {
			return err
		}
		out = append(out, y)
	}
	return e.setAll(out)
}

// stack joins what output k of every iteration gave along a new axis a.
func (e *env) stack(parts [][]value, k, a int, reverse bool) (value, error) {
	var xs []value
	for _, p := range parts {
		if k >= len(p) {
			return value{}, fmt.Errorf("the body has no scan output %d", k)
		}
		s := e.shape(p[k])
		at, err := axis(a, len(s)+1)
		if err != nil {
			return value{}, err
		}
		a = at
		xs = append(xs, e.reshape(p[k], slices.Insert(slices.Clone(s), at, 1)))
	}
	if reverse {
		slices.Reverse(xs)
	}
	if e.Err() != nil {
		return value{}, e.Err()
	}
	return e.concat(xs, a), e.Err()
}

// lowerScan runs the body over the slices of its scan inputs; states go from one to the next.
func lowerScan(e *env, n *onnx.Node) error {
	if e.opset < 9 {
		return errors.New("before operator set 9 is not supported")
	}
	in, err := e.args(-1)
	if err != nil {
		return err
	}
	scans := clampInt(n.Int("num_scan_inputs", 0))
	if scans < 1 || scans > len(in) {
		return fmt.Errorf("%d scan inputs of %d", scans, len(in))
	}
	states, xs := in[:len(in)-scans], in[len(in)-scans:]
	list := func(name string, length int) ([]int, error) {
		v := ints(n, name)
		if v == nil {
			v = repeat(0, length)
		}
		if len(v) != length {
			return nil, fmt.Errorf("%s has %d numbers, wants %d", name, len(v), length)
		}
		return v, nil
	}
	outs := len(n.Outputs) - len(states)
	if outs < 0 {
		return fmt.Errorf("%d outputs for %d states", len(n.Outputs), len(states))
	}
	var settings [4][]int
	for i, name := range []string{"scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions"} {
		if settings[i], err = list(name, []int{scans, scans, outs, outs}[i]); err != nil {
			return err
		}
	}
	length := -1
	for k, x := range xs {
		a, err := axis(settings[0][k], len(e.shape(x)))
		if err != nil {
			return err
		}
		settings[0][k] = a
		if d := e.shape(x)[a]; length >= 0 && d != length {
			return fmt.Errorf("scan inputs are %d and %d long", length, d)
		} else {
			length = d
		}
	}
	var stacked [][]value
	for t := range length {
		args := slices.Clone(states)
		for k, x := range xs {
			at := t
			if settings[1][k] != 0 {
				at = length - 1 - t
			}
			args = append(args, e.part(x, settings[0][k], at))
		}
		out, err := e.subgraph("body", args...)
		if err != nil {
			return err
		}
		if len(out) < len(states)+outs {
			return fmt.Errorf("the body has %d outputs, wants %d", len(out), len(states)+outs)
		}
		states, stacked = out[:len(states)], append(stacked, out[len(states):])
	}
	if length == 0 && outs > 0 {
		return errors.New("scan outputs of an empty scan are not supported")
	}
	out := slices.Clone(states)
	for k := range outs {
		y, err := e.stack(stacked, k, settings[2][k], settings[3][k] != 0)
		if err != nil {
			return err
		}
		out = append(out, y)
	}
	return e.setAll(out)
}

// part is element k of x along an axis, which goes.
func (e *env) part(x value, a, k int) value {
	if e.Err() != nil {
		return value{id: engine.None}
	}
	s := e.shape(x)
	starts, shape := repeat(0, len(s)), slices.Clone(s)
	starts[a], shape[a] = k, 1
	y := e.slice(x, starts, repeat(1, len(s)), shape)
	if e.Err() != nil {
		return y
	}
	batched := x.batched
	y = e.reshape(y, slices.Delete(slices.Clone(shape), a, a+1))
	y.batched = batched
	return y
}
