package onnx

import (
	"fmt"
	"strconv"
	"strings"

	"netmend/onnx/internal/pb"
)

// Graph is a computation graph (GraphProto): the model's own, or the body of a control-flow node. Nodes are in
// topological order.
type Graph struct {
	Name, Doc          string
	Nodes              []*Node
	Inputs, Outputs    []Value
	ValueInfo          []Value // types of values inside the graph
	Initializers       []*Tensor
	SparseInitializers []*SparseTensor
	Metadata           []StringPair

	proto *pb.GraphProto // quantization annotations, scalars and unknown fields as read; never changed
}

// Value is a name with its type: a graph input, a graph output or an entry of value_info (ValueInfoProto).
type Value struct {
	Name, Doc string
	Type      Type
	Metadata  []StringPair

	proto *pb.ValueInfoProto
}

// Kind says which sort of value a Type describes.
type Kind int

// The kinds of ONNX values.
const (
	KindUnknown Kind = iota // no type given
	KindTensor
	KindSparseTensor
	KindSequence
	KindMap
	KindOptional
	KindOpaque
)

// Type is the type of a value (TypeProto).
type Type struct {
	Kind       Kind
	Elem       DataType // tensors: element type; maps: key type
	Shape      []Dim    // tensors; meaningful where HasShape, empty for a scalar
	HasShape   bool     // false: not even the rank is known
	Of         *Type    // sequences and optionals: element type; maps: value type
	Denotation string

	proto *pb.TypeProto
}

// Dim is one dimension of a shape: a number, a symbol ("N"), or unknown.
type Dim struct {
	Value      int64  // -1 where it is a symbol or unknown
	Param      string // the symbol's name, "" where there is none
	Denotation string
}

// Known reports whether the dimension is a number.
func (d Dim) Known() bool { return d.Value >= 0 }

// String returns the number, the symbol, or "?".
func (d Dim) String() string {
	switch {
	case d.Value >= 0:
		return strconv.FormatInt(d.Value, 10)
	case d.Param != "":
		return d.Param
	}
	return "?"
}

// NewDim returns a dimension of n elements; a negative n makes an unknown one.
func NewDim(n int64) Dim { return Dim{Value: max(n, -1)} }

// SymbolicDim returns a dimension known by name only.
func SymbolicDim(name string) Dim { return Dim{Value: -1, Param: name} }

// TensorType returns the type of a tensor with the given dimensions; none makes a scalar.
func TensorType(elem DataType, shape ...Dim) Type {
	return Type{Kind: KindTensor, Elem: elem, Shape: shape, HasShape: true}
}

// NewValue returns a named tensor type. A dimension is an int, an int64 (negative: unknown), a string (symbol) or
// a Dim; anything else becomes an unknown dimension.
func NewValue(name string, elem DataType, dims ...any) Value {
	shape := make([]Dim, len(dims))
	for i, d := range dims {
		switch d := d.(type) {
		case int:
			shape[i] = NewDim(int64(d))
		case int64:
			shape[i] = NewDim(d)
		case string:
			shape[i] = SymbolicDim(d)
		case Dim:
			shape[i] = d
		default:
			shape[i] = NewDim(-1)
		}
	}
	return Value{Name: name, Type: TensorType(elem, shape...)}
}

// Dims returns the shape as numbers, -1 where a dimension is symbolic or unknown, and false where not even the
// rank is known or the value is no tensor.
func (t Type) Dims() ([]int64, bool) {
	if t.Kind != KindTensor || !t.HasShape {
		return nil, false
	}
	dims := make([]int64, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = d.Value
	}
	return dims, true
}

// String returns the type in the form float32[N,3,32,32].
func (t Type) String() string {
	switch t.Kind {
	case KindTensor, KindSparseTensor:
		s := t.Elem.String()
		if t.Kind == KindSparseTensor {
			s = "sparse " + s
		}
		if !t.HasShape {
			return s + "[...]"
		}
		return s + shapeString(t.Shape)
	case KindSequence:
		return "sequence(" + t.Of.str() + ")"
	case KindOptional:
		return "optional(" + t.Of.str() + ")"
	case KindMap:
		return fmt.Sprintf("map(%s,%s)", t.Elem, t.Of.str())
	case KindOpaque:
		return "opaque"
	}
	return "?"
}

func (t *Type) str() string {
	if t == nil {
		return "?"
	}
	return t.String()
}

func shapeString(shape []Dim) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range shape {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(d.String())
	}
	b.WriteByte(']')
	return b.String()
}

func (t Type) clone() Type {
	t.Shape = cloneSlice(t.Shape)
	if t.Of != nil {
		of := t.Of.clone()
		t.Of = &of
	}
	return t
}

// Initializer returns the dense initializer of this name, or nil.
func (g *Graph) Initializer(name string) *Tensor {
	for _, t := range g.Initializers {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// SetInitializer replaces the initializer that has t's name, or appends t.
func (g *Graph) SetInitializer(t *Tensor) {
	for i, old := range g.Initializers {
		if old.Name == t.Name {
			g.Initializers[i] = t
			return
		}
	}
	g.Initializers = append(g.Initializers, t)
}

// Input returns the graph input of this name, or nil.
func (g *Graph) Input(name string) *Value { return findValue(g.Inputs, name) }

// Output returns the graph output of this name, or nil.
func (g *Graph) Output(name string) *Value { return findValue(g.Outputs, name) }

func findValue(vs []Value, name string) *Value {
	for i := range vs {
		if vs[i].Name == name {
			return &vs[i]
		}
	}
	return nil
}

// DataInputs returns the inputs that the user must feed: those without an initializer of the same name. (Before
// IR version 4 every initializer was listed among the inputs.)
func (g *Graph) DataInputs() []Value {
	initialised := make(map[string]bool, len(g.Initializers))
	for _, t := range g.Initializers {
		initialised[t.Name] = true
	}
	for _, t := range g.SparseInitializers {
		initialised[t.Name()] = true
	}
	var in []Value
	for _, v := range g.Inputs {
		if !initialised[v.Name] {
			in = append(in, v)
		}
	}
	return in
}

// Node returns the first node of this name (or, for nodes without one, of this Label), or nil.
func (g *Graph) Node(name string) *Node {
	for _, n := range g.Nodes {
		if n.Label() == name {
			return n
		}
	}
	return nil
}

// Clone returns a copy that may be edited freely; tensor contents are shared.
func (g *Graph) Clone() *Graph {
	if g == nil {
		return nil
	}
	c := *g
	c.Nodes = cloneEach(g.Nodes, (*Node).Clone)
	c.Inputs, c.Outputs, c.ValueInfo = cloneValues(g.Inputs), cloneValues(g.Outputs), cloneValues(g.ValueInfo)
	c.Initializers = cloneEach(g.Initializers, (*Tensor).Clone)
	c.SparseInitializers = cloneEach(g.SparseInitializers, (*SparseTensor).clone)
	c.Metadata = cloneSlice(g.Metadata)
	return &c
}

func cloneValues(vs []Value) []Value {
	c := cloneSlice(vs)
	for i := range c {
		c[i].Type = c[i].Type.clone()
		c[i].Metadata = cloneSlice(c[i].Metadata)
	}
	return c
}
