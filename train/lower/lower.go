// Package lower turns an ONNX graph into operations of an engine function.
//
// A lowering is written once, on values (value.go): a value is a constant that the host knows or a tensor of the function, and whatever
// depends on nothing but constants and shapes is computed on the host, in int64 and float64, so that the shape arithmetic which exporters
// leave behind never reaches a device. There is one file per family of operators. An operator without a lowering is refused by [Check]
// before anything is built.
//
// The engine computes with floats. Booleans are floats 0 and 1; int64 is int32; integer arithmetic that depends on data is carried out in
// floats, which is exact up to 2^24.
package lower

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"netmend/engine"
	"netmend/onnx"
)

// Options say in which form a graph is lowered.
type Options struct {
	Training bool // batch statistics in BatchNormalization, random Dropout; false: inference
	// Batch is the rows per step: the size of the data inputs' first axis, whatever size the model was exported with. 0: the inputs are
	// what the model says, and no axis is the batch.
	Batch int
	// Unbiased: the running variance of BatchNormalization takes in n/(n-1) times the batch's variance, as in PyTorch; false: the batch's
	// own, as in Keras and in the ONNX operator.
	Unbiased bool
	// Dropout replaces the ratio of Dropout nodes, by label.
	Dropout map[string]float64
}

// Activation is the output of a node whose statistics say how a layer does.
type Activation struct {
	Node, Op string
	ID       engine.TensorID
}

// End is the activation that an output ends in.
type End struct {
	Logits engine.TensorID // the activation's input, in the shape of the output
	Op     string          // Softmax, LogSoftmax, Sigmoid
	Axis   int             // Softmax, LogSoftmax
}

// Result is a lowered graph.
type Result struct {
	Outputs     map[string]engine.TensorID
	Ends        map[string]End             // of the outputs that end in one
	Activations []Activation               // in graph order: what layers and activation functions give
	Values      map[string]engine.TensorID // every value that is a tensor of the function, by its name in the graph
}

// Lower builds the operations of m's graph. inputs maps the graph's data inputs to tensors; params maps initializers to State tensors, the
// other initializers are constants.
func Lower(b *engine.Builder, m *onnx.Model, inputs, params map[string]engine.TensorID, o Options) (*Result, error) {
	if m.Graph == nil {
		return nil, errors.New("train: the model has no graph")
	}
	e := newEnv(b, m, o)
	if err := e.bind(inputs, params); err != nil {
		return nil, err
	}
	r := &Result{Outputs: make(map[string]engine.TensorID), Ends: make(map[string]End), Values: make(map[string]engine.TensorID)}
	for i, n := range m.Graph.Nodes {
		e.node, e.index = n, i
		b.Label(n.Label())
		if err := e.lowerNode(n); err != nil {
			return nil, fmt.Errorf("train: node %q: op %s: %w", n.Label(), opName(n), err)
		}
		if v, ok := e.values[n.Output(0)]; ok && v.host == nil && watched[n.OpType] {
			r.Activations = append(r.Activations, Activation{Node: n.Label(), Op: n.OpType, ID: v.id})
		}
	}
	for _, v := range m.Graph.Outputs {
		x, err := e.get(v.Name)
		if err != nil {
			return nil, fmt.Errorf("train: graph output %w", err)
		}
		r.Outputs[v.Name] = e.device(x)
		if end, ok := e.endOf(v.Name); ok {
			r.Ends[v.Name] = end
		}
	}
	for name, v := range e.values {
		if v.host == nil {
			r.Values[name] = v.id
		}
	}
	b.Label("")
	if b.Err() != nil {
		return nil, fmt.Errorf("train: %w", b.Err())
	}
	return r, nil
}

// watched are the operators whose outputs a probe looks at.
var watched = map[string]bool{"Conv": true, "Gemm": true, "MatMul": true, "ConvTranspose": true, "BatchNormalization": true, "Relu": true,
	"LeakyRelu": true, "Elu": true, "Selu": true, "Celu": true, "PRelu": true, "Sigmoid": true, "Tanh": true, "Softplus": true, "Softsign": true,
	"HardSigmoid": true, "HardSwish": true, "ThresholdedRelu": true, "Gelu": true, "Mish": true, "Swish": true, "Exp": true, "Softmax": true,
	"LogSoftmax": true}

type env struct {
	*engine.Builder
	model       *onnx.Model
	opset       int64
	options     Options
	inits       map[string]*onnx.Tensor
	maker       map[string]*onnx.Node
	used        map[string]bool // names that a node reads or the graph gives
	values      map[string]value
	placed      map[placed]engine.TensorID
	ends        map[string]End // by the activation's output
	node        *onnx.Node
	index       int                   // of node in the graph: Dropout's random stream
	seen        map[string]*onnx.Node // by what they compute
	inlined     int                   // nodes of bodies that were lowered
	depth       int                   // of the body being lowered
	exportBatch int                   // the batch size that the model was exported with; 0 when it is symbolic
}

func newEnv(b *engine.Builder, m *onnx.Model, o Options) *env {
	e := &env{Builder: b, model: m, opset: m.Opset(""), options: o, inits: make(map[string]*onnx.Tensor), maker: make(map[string]*onnx.Node),
		used: make(map[string]bool), values: make(map[string]value), ends: make(map[string]End), seen: make(map[string]*onnx.Node),
		placed: make(map[placed]engine.TensorID)}
	for _, t := range m.Graph.Initializers {
		e.inits[t.Name] = t
	}
	for _, n := range m.Graph.Nodes {
		for _, out := range n.Outputs {
			e.maker[out] = n
		}
	}
	useNames(e.used, m.Graph.Nodes)
	for _, v := range m.Graph.Outputs {
		e.used[v.Name] = true
	}
	return e
}

// bind gives the graph's inputs and parameters their tensors.
func (e *env) bind(inputs, params map[string]engine.TensorID) error {
	for _, v := range e.model.Graph.DataInputs() {
		id, ok := inputs[v.Name]
		if !ok {
			return fmt.Errorf("train: graph input %q is not fed", v.Name)
		}
		if err := checkType(v); err != nil {
			return err
		}
		e.values[v.Name] = value{id: id, elem: v.Type.Elem, batched: e.options.Batch > 0}
		if e.exportBatch == 0 && len(v.Type.Shape) > 0 && v.Type.Shape[0].Value > 0 && v.Type.Shape[0].Value < maxDim {
			e.exportBatch = int(v.Type.Shape[0].Value)
		}
	}
	for name, t := range e.inits {
		if id, ok := params[name]; ok {
			e.values[name] = value{id: id, elem: t.Type}
		}
	}
	return nil
}

// checkType refuses inputs that the engine cannot hold.
func checkType(v onnx.Value) error {
	switch t := v.Type; {
	case t.Kind != onnx.KindUnknown && t.Kind != onnx.KindTensor:
		return fmt.Errorf("train: graph input %q is a %s: only tensors are supported", v.Name, t)
	case t.Elem != onnx.Undefined && !slices.Contains(readable, t.Elem):
		return fmt.Errorf("train: graph input %q has element type %s, which is not supported: export in float32", v.Name, t.Elem)
	}
	return nil
}

// lowering makes the outputs of a node.
type lowering func(e *env, n *onnx.Node) error

// lowerings are the operators of the default domain. It is filled by the files of the families.
var lowerings = merge(elementwise, activations, linear, convolutions, pools, normalisations, shapes, indexing, reductions, constants, scatters, losses, resizes, sums,
	signals, samples, sequences, recurrent, attention, ngrams)

func merge(families ...map[string]lowering) map[string]lowering {
	all := make(map[string]lowering)
	for _, f := range families {
		for op, l := range f {
			all[op] = l
		}
	}
	return all
}

func (e *env) lowerNode(n *onnx.Node) error {
	if e.repeated(n) {
		return nil
	}
	f, ok := lowerings[n.OpType]
	var err error
	if own := e.model.Function(n.Domain, n.OpType, n.Overload); own != nil {
		err = lowerFunction(e, n, own)
	} else if ok && defaultDomain(n) {
		err = f(e, n)
	} else {
		err = errors.New("is not supported")
	}
	if err != nil {
		return err
	}
	if err := e.Err(); err != nil {
		return err
	}
	batched := false
	for _, in := range n.Inputs {
		batched = batched || e.values[in].batched
	}
	for _, out := range n.Outputs {
		v, ok := e.values[out]
		if out == "" || !ok {
			continue
		}
		if err := checkSize(e.shape(v)); err != nil {
			return fmt.Errorf("output %q: %w", out, err)
		}
		v.batched = (batched || v.batched) && v.host == nil
		e.values[out] = v
	}
	return nil
}

func defaultDomain(n *onnx.Node) bool { return n.Domain == "" || n.Domain == "ai.onnx" }

// opName is a node's operator as messages show it.
func opName(n *onnx.Node) string {
	if defaultDomain(n) {
		return n.OpType
	}
	return n.Domain + ":" + n.OpType
}

const (
	maxDim      = 1 << 31 // of a dimension, an attribute or a number of elements: what an int32 index reaches
	maxHostSize = 1 << 20 // elements of a constant that the host computes; a device computes larger ones
)

// checkSize refuses shapes of more elements than an index reaches.
func checkSize(shape []int) error {
	n := 1
	for _, d := range shape {
		if d < 0 || d > maxDim {
			return fmt.Errorf("dimension %d of shape %v is out of range", d, shape)
		}
		if n *= d; n > maxDim {
			return fmt.Errorf("shape %v has more than 2^31 elements", shape)
		}
	}
	return nil
}

// get is the value of a name.
func (e *env) get(name string) (value, error) {
	if v, ok := e.values[name]; ok {
		return v, nil
	}
	if t := e.inits[name]; t != nil {
		c, err := tensorConstant(t)
		if err != nil {
			return value{}, err
		}
		v := hostValue(c)
		e.values[name] = v
		return v, nil
	}
	return value{}, fmt.Errorf("%q is not computed by any node before it", name)
}

// has says whether the current node has input i.
func (e *env) has(i int) bool { return e.node.Input(i) != "" }

// arg is input i; an absent one is an error.
func (e *env) arg(i int) (value, error) {
	if !e.has(i) {
		return value{}, fmt.Errorf("input %d is missing", i)
	}
	return e.get(e.node.Input(i))
}

// args are the first n inputs, none of which may be absent; n < 0 means all, at least one.
func (e *env) args(n int) ([]value, error) {
	if n < 0 {
		n = max(1, len(e.node.Inputs))
	}
	vs := make([]value, n)
	for i := range vs {
		v, err := e.arg(i)
		if err != nil {
			return nil, err
		}
		vs[i] = v
	}
	return vs, nil
}

// in is input i as a tensor of the function; an absent one is None.
func (e *env) in(i int) engine.TensorID {
	if !e.has(i) {
		return engine.None
	}
	v, err := e.arg(i)
	if err != nil {
		return e.Fail(err)
	}
	return e.device(v)
}

// inFloat is in for operators that compute with floats only; integers are refused.
func (e *env) inFloat(i int) (engine.TensorID, error) {
	x := e.in(i)
	if x != engine.None && e.Type(x) != engine.Float {
		return x, fmt.Errorf("input %d (%q) is an integer tensor", i, e.node.Input(i))
	}
	return x, e.Err()
}

// hostInput is input i as a constant; nil when it is absent, an error when it depends on data.
func (e *env) hostInput(i int) (*constant, error) {
	if !e.has(i) {
		return nil, nil
	}
	v, err := e.arg(i)
	if err != nil {
		return nil, err
	}
	if v.host == nil {
		return nil, fmt.Errorf("input %d (%q) must be a constant, but depends on data or on trained weights", i, e.node.Input(i))
	}
	return v.host, nil
}

// hostInts is hostInput as integers.
func (e *env) hostInts(i int) ([]int, error) {
	c, err := e.hostInput(i)
	if err != nil || c == nil {
		return nil, err
	}
	return c.toInts(), nil
}

// intsAt is a list of integers that older operator sets take as an attribute and newer ones as input i; nil when there is none.
func (e *env) intsAt(attr string, i int) ([]int, error) {
	if v := ints(e.node, attr); v != nil {
		return v, nil
	}
	return e.hostInts(i)
}

// set gives output i of the current node its value.
func (e *env) set(i int, v value) error {
	if name := e.node.Output(i); name != "" {
		e.values[name] = v
	}
	return e.Err()
}

// setTensor is set for a float tensor.
func (e *env) setTensor(i int, id engine.TensorID) error { return e.set(i, e.floats(id)) }

// floats is a float tensor as a value.
func (e *env) floats(id engine.TensorID) value { return value{id: id, elem: onnx.Float32} }

// wants says whether somebody reads output i of the current node.
func (e *env) wants(i int) bool { name := e.node.Output(i); return name != "" && e.used[name] }

// ints is an attribute as ints, cut off at ±2^62; nil when it is absent.
func ints(n *onnx.Node, name string) []int {
	v, ok := n.Ints(name)
	if !ok {
		return nil
	}
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = clampInt(x)
	}
	return out
}

func clampInt(x int64) int { return int(max(-1<<62, min(1<<62, x))) }

// axis makes an axis of a tensor of so many dimensions non-negative.
func axis(a, rank int) (int, error) {
	if a < -rank || a >= rank {
		return 0, fmt.Errorf("axis %d of a tensor of %d dimensions", a, rank)
	}
	if a < 0 {
		a += rank
	}
	return a, nil
}

// axesOf makes axes non-negative and refuses one that is named twice. The order stays.
func axesOf(as []int, rank int) ([]int, error) {
	out := make([]int, len(as))
	seen := make(map[int]bool)
	for i, a := range as {
		var err error
		if out[i], err = axis(a, rank); err != nil {
			return nil, err
		}
		if seen[out[i]] {
			return nil, fmt.Errorf("axes %v name one twice", as)
		}
		seen[out[i]] = true
	}
	return out, nil
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func repeat(v, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// endOf finds the activation behind an output, through operators that only move its elements.
func (e *env) endOf(name string) (End, bool) {
	out := e.values[name]
	for range len(e.model.Graph.Nodes) {
		if end, ok := e.ends[name]; ok {
			have, want := e.Shape(end.Logits), e.shape(out)
			if end.Op != "Sigmoid" && !sameAxis(have, want, end.Axis) {
				return End{}, false
			}
			end.Logits = e.Reshape(end.Logits, want)
			return end, e.Err() == nil
		}
		n := e.maker[name]
		if n == nil || !strings.Contains(" Identity Reshape Flatten Squeeze Unsqueeze ", " "+n.OpType+" ") {
			return End{}, false
		}
		name = n.Input(0)
	}
	return End{}, false
}

// sameAxis says whether two shapes of the same elements have the same axis a: the same dimensions up to and after it.
func sameAxis(x, y []int, a int) bool {
	if len(x) <= a || len(y) <= a || engine.Len(x) != engine.Len(y) {
		return false
	}
	for i := range a + 1 {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}
