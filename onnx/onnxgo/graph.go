// Package onnxgo runs and trains models read by github.com/owulveryck/onnx-go on an [engine.Device].
//
// A [Backend] is an onnx-go backend: onnx.NewModel(backend) fills it, SetInput, Backend.Run and GetOutputTensors run it, [Backend.Train]
// trains it. It rebuilds an ONNX graph of package netmend/onnx from what onnx-go hands over and takes the one way to a device that
// everything else takes (package train/lower).
//
// What onnx-go v0.5.0 does not hand over, and what is done about it:
//   - The operator set's version. The caller gives it to [New]; [Opset] reads it from the model's bytes.
//   - Operator domains: an operator of another domain is taken for ONNX's own of that name, or refused when there is none.
//   - Node names: errors name the node after its first output.
//   - Symbolic dimensions: they vanish from a shape. [Backend.Run] takes an input's shape from its tensor, Train from the data.
//   - Which values are inputs, outputs and initializers: all are nodes with a tensor. See Backend.inputs for how they are told apart.
//     Outputs are all values that the file declares a type for and a node computes.
//   - Model.SetInput(i, …) writes to node i instead of node Model.Input[i]. They differ where initializers are listed among the inputs in
//     front of a data input (files of IR version 3): use GetNodeByName and SetTensor there.
//   - float16, bfloat16, subgraphs, sequences and external data: onnx-go refuses or misreads them before a backend is asked. It reads raw
//     booleans eight bytes at a time ("Unable to decode data" for the training_mode of Dropout in models exported for training), and
//     int8, uint8, int16 and uint16 initializers and empty tensors not at all.
package onnxgo

import (
	"fmt"
	"math"
	"slices"

	onnxgo "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/iterator"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	"netmend/engine"
	"netmend/onnx"
)

// Backend is a graph that onnx-go fills and a device runs. Like onnx-go's own it is a graph of values: an edge leads from an output to
// an input of the operator that computes it, and its weight is the input's place. Two edges may join the same two values (Mul(x, x)). One
// goroutine at a time.
type Backend struct {
	device engine.Device
	opset  int64
	nodes  map[int64]*Node
	order  []*Node // as added
	next   int64
	byName map[string]*value
	edges  map[int64][]graph.WeightedEdge // by the ID of the output, in the order of arrival
	fresh  map[int64]int                  // edges of an output that belong to an operator already applied
	ops    []*onnx.Node
	filled bool // the first edge has come: inputs, outputs and initializers are all declared
}

var _ backend.ComputationBackend = (*Backend)(nil)

// value is what nodes of one name share: onnx-go makes two nodes of a value that is both declared and an output, or input and output.
type value struct {
	name    string
	tensor  tensor.Tensor
	elem    onnx.DataType // of the tensor set before the first operator; Undefined where none was: nobody declared the value
	first   int64         // the first node's ID
	aliased bool
	made    bool // computed by a node
	init    bool // two tensors were set on one node: the declaration's and the initializer's
}

// Node is a value of the graph; it carries a name and a tensor.
type Node struct {
	backend *Backend
	id      int64
	value   *value
	sets    int
}

var (
	_ onnxgo.Namer       = (*Node)(nil)
	_ onnxgo.DataCarrier = (*Node)(nil)
)

// New returns an empty backend for models of an operator-set version of ONNX's default domain.
func New(d engine.Device, opset int64) *Backend {
	return &Backend{device: d, opset: opset, nodes: map[int64]*Node{}, byName: map[string]*value{}, edges: map[int64][]graph.WeightedEdge{},
		fresh: map[int64]int{}}
}

// Opset reads from a serialized model which version of the default operator set it imports: what [New] wants and onnx-go loses.
func Opset(model []byte) (int64, error) {
	m, err := onnx.Decode(model)
	if err != nil {
		return 0, err
	}
	return m.Opset(""), nil
}

// ID is the node's number: nodes are counted from 0 as onnx-go makes them.
func (n *Node) ID() int64 { return n.id }

// SetName names the value that the node stands for.
func (n *Node) SetName(name string) {
	if v, ok := n.backend.byName[name]; ok {
		v.aliased = true
		n.value = v
		return
	}
	n.value.name = name
	n.backend.byName[name] = n.value
}

// GetName is the value's name in the model.
func (n *Node) GetName() string { return n.value.name }

// SetTensor gives an input or an initializer its contents. The tensor is not copied: it must not change before [Backend.Run] returns.
func (n *Node) SetTensor(t tensor.Tensor) error {
	if t == nil {
		return fmt.Errorf("onnxgo: value %q: no tensor is given", n.value.name)
	}
	if !n.backend.filled {
		n.sets++
		n.value.init = n.value.init || n.sets > 1
		n.value.elem = elemOf(t.Dtype())
	}
	n.value.tensor = t
	return nil
}

// GetTensor is what was set, or, for an output after [Backend.Run], what was computed.
func (n *Node) GetTensor() tensor.Tensor { return n.value.tensor }

// NewNode returns a node that is not yet part of the graph.
func (b *Backend) NewNode() graph.Node {
	n := &Node{backend: b, id: b.next, value: &value{first: b.next}}
	b.next++
	return n
}

// AddNode adds a node of [Backend.NewNode]. As gonum asks of a builder, it panics when the ID is taken, or the node of another graph.
func (b *Backend) AddNode(n graph.Node) {
	own, ok := n.(*Node)
	if !ok || own.backend != b || b.nodes[own.id] != nil {
		panic(fmt.Sprintf("onnxgo: node %d is already in the graph or not of this backend", n.ID()))
	}
	b.nodes[own.id] = own
	b.order = append(b.order, own)
}

// NewWeightedEdge returns an edge from an output to an input of the same operator.
func (b *Backend) NewWeightedEdge(from, to graph.Node, weight float64) graph.WeightedEdge {
	return simple.WeightedEdge{F: from, T: to, W: weight}
}

// SetWeightedEdge adds an edge beside those that join the same nodes already.
func (b *Backend) SetWeightedEdge(e graph.WeightedEdge) {
	b.filled = true
	id := e.From().ID()
	b.edges[id] = append(b.edges[id], e)
}

// Node is the node of an ID, or nil.
func (b *Backend) Node(id int64) graph.Node {
	if n, ok := b.nodes[id]; ok {
		return n
	}
	return nil
}

// Nodes are all nodes in the order in which they were added.
func (b *Backend) Nodes() graph.Nodes {
	all := make([]graph.Node, len(b.order))
	for i, n := range b.order {
		all[i] = n
	}
	return nodes(all)
}

// From are the inputs of the operator that computes a node, each once.
func (b *Backend) From(id int64) graph.Nodes {
	var to []graph.Node
	for _, e := range b.edges[id] {
		if !slices.Contains(to, e.To()) {
			to = append(to, e.To())
		}
	}
	return nodes(to)
}

// To are the outputs of the operators that read a node, each once.
func (b *Backend) To(id int64) graph.Nodes {
	var from []graph.Node
	for _, n := range b.order {
		if b.HasEdgeFromTo(n.id, id) {
			from = append(from, n)
		}
	}
	return nodes(from)
}

func nodes(list []graph.Node) graph.Nodes {
	if len(list) == 0 {
		return graph.Empty
	}
	return iterator.NewOrderedNodes(list)
}

// HasEdgeBetween says whether an edge joins two nodes in either direction.
func (b *Backend) HasEdgeBetween(x, y int64) bool {
	return b.HasEdgeFromTo(x, y) || b.HasEdgeFromTo(y, x)
}

// HasEdgeFromTo says whether an edge leads from u to v.
func (b *Backend) HasEdgeFromTo(u, v int64) bool { return b.WeightedEdge(u, v) != nil }

// Edge is the first edge from u to v, or nil.
func (b *Backend) Edge(u, v int64) graph.Edge {
	if e := b.WeightedEdge(u, v); e != nil {
		return e
	}
	return nil
}

// WeightedEdge is the first edge from u to v, or nil.
func (b *Backend) WeightedEdge(u, v int64) graph.WeightedEdge {
	for _, e := range b.edges[u] {
		if e.To().ID() == v {
			return e
		}
	}
	return nil
}

// Weight is the weight of the first edge from u to v; as in gonum's graphs the largest float for u = v, and -1 and false without an edge.
func (b *Backend) Weight(u, v int64) (float64, bool) {
	if u == v {
		return math.MaxFloat64, true
	}
	if e := b.WeightedEdge(u, v); e != nil {
		return e.Weight(), true
	}
	return -1, false
}
