package onnx

import (
	"errors"
	"fmt"

	"netmend/onnx/internal/pb"
)

// Node is one operator of a graph (NodeProto). An empty input or output name is an optional one left out.
type Node struct {
	Name, OpType, Domain, Overload, Doc string
	Inputs, Outputs                     []string
	Attrs                               []*Attribute
	Metadata                            []StringPair

	proto *pb.NodeProto // device configurations and unknown fields as read; never changed
}

// AttrType says which field of an Attribute is in use; the numbers are ONNX's.
type AttrType int32

// The attribute types of ONNX.
const (
	AttrUndefined     AttrType = 0
	AttrFloat         AttrType = 1
	AttrInt           AttrType = 2
	AttrString        AttrType = 3
	AttrTensor        AttrType = 4
	AttrGraph         AttrType = 5
	AttrFloats        AttrType = 6
	AttrInts          AttrType = 7
	AttrStrings       AttrType = 8
	AttrTensors       AttrType = 9
	AttrGraphs        AttrType = 10
	AttrSparseTensor  AttrType = 11
	AttrSparseTensors AttrType = 12
	AttrTypeProto     AttrType = 13
	AttrTypeProtos    AttrType = 14
)

var attrTypeNames = [...]string{"undefined", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings",
	"tensors", "graphs", "sparse_tensor", "sparse_tensors", "type_proto", "type_protos"}

// String returns ONNX's name of the attribute type in lower case.
func (t AttrType) String() string {
	if t < 0 || int(t) >= len(attrTypeNames) {
		return "unknown"
	}
	return attrTypeNames[t]
}

// Attribute is a named constant of a node (AttributeProto); Type says which field holds it.
type Attribute struct {
	Name, Doc string
	Type      AttrType
	Ref       string // inside a function: the name of the function's attribute that gives the value

	Float         float32
	Int           int64
	Str           string
	Tensor        *Tensor
	Graph         *Graph
	Sparse        *SparseTensor
	TypeProto     *Type
	Floats        []float32
	Ints          []int64
	Strings       []string
	Tensors       []*Tensor
	Graphs        []*Graph
	SparseTensors []*SparseTensor
	TypeProtos    []Type

	proto *pb.AttributeProto
	read  AttrType // Type as read; the file need not say it
}

// NewNode returns a node of the default domain.
func NewNode(opType, name string, inputs, outputs []string, attrs ...*Attribute) *Node {
	return &Node{Name: name, OpType: opType, Inputs: inputs, Outputs: outputs, Attrs: attrs}
}

// Int returns an integer attribute.
func Int(name string, v int64) *Attribute { return &Attribute{Name: name, Type: AttrInt, Int: v} }

// Ints returns an attribute that is a list of integers.
func Ints(name string, v ...int64) *Attribute { return &Attribute{Name: name, Type: AttrInts, Ints: v} }

// Float returns a float attribute.
func Float(name string, v float32) *Attribute {
	return &Attribute{Name: name, Type: AttrFloat, Float: v}
}

// Floats returns an attribute that is a list of floats.
func Floats(name string, v ...float32) *Attribute {
	return &Attribute{Name: name, Type: AttrFloats, Floats: v}
}

// String returns a string attribute.
func String(name, v string) *Attribute { return &Attribute{Name: name, Type: AttrString, Str: v} }

// Strings returns an attribute that is a list of strings.
func Strings(name string, v ...string) *Attribute {
	return &Attribute{Name: name, Type: AttrStrings, Strings: v}
}

// TensorAttr returns a tensor attribute.
func TensorAttr(name string, v *Tensor) *Attribute {
	return &Attribute{Name: name, Type: AttrTensor, Tensor: v}
}

// GraphAttr returns a graph attribute.
func GraphAttr(name string, v *Graph) *Attribute {
	return &Attribute{Name: name, Type: AttrGraph, Graph: v}
}

// Label names the node in messages: its name, or OpType(first output) where it has none.
func (n *Node) Label() string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != "" {
			return n.OpType + "(" + o + ")"
		}
	}
	return n.OpType + "()"
}

// Is reports whether the node is opType of the default domain.
func (n *Node) Is(opType string) bool { return n.OpType == opType && normalDomain(n.Domain) == "" }

// Input returns the name of input i, "" where it is left out.
func (n *Node) Input(i int) string {
	if i < 0 || i >= len(n.Inputs) {
		return ""
	}
	return n.Inputs[i]
}

// Output returns the name of output i, "" where it is left out.
func (n *Node) Output(i int) string {
	if i < 0 || i >= len(n.Outputs) {
		return ""
	}
	return n.Outputs[i]
}

// Attr returns the attribute of this name, or nil.
func (n *Node) Attr(name string) *Attribute {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// attr returns the attribute when it holds a value of type t. Check reports attributes of a wrong type.
func (n *Node) attr(name string, t AttrType) *Attribute {
	if a := n.Attr(name); a != nil && a.Type == t && a.Ref == "" {
		return a
	}
	return nil
}

// Int returns the integer attribute name, or def where the node has none.
func (n *Node) Int(name string, def int64) int64 {
	if a := n.attr(name, AttrInt); a != nil {
		return a.Int
	}
	return def
}

// Float returns the float attribute name, or def where the node has none.
func (n *Node) Float(name string, def float32) float32 {
	if a := n.attr(name, AttrFloat); a != nil {
		return a.Float
	}
	return def
}

// String returns the string attribute name, or def where the node has none.
func (n *Node) String(name, def string) string {
	if a := n.attr(name, AttrString); a != nil {
		return a.Str
	}
	return def
}

// Ints returns the integers of attribute name and whether the node has it. The caller must not change them.
func (n *Node) Ints(name string) ([]int64, bool) {
	if a := n.attr(name, AttrInts); a != nil {
		return a.Ints, true
	}
	return nil, false
}

// Floats returns the floats of attribute name and whether the node has it. The caller must not change them.
func (n *Node) Floats(name string) ([]float32, bool) {
	if a := n.attr(name, AttrFloats); a != nil {
		return a.Floats, true
	}
	return nil, false
}

// Strings returns the strings of attribute name and whether the node has it. The caller must not change them.
func (n *Node) Strings(name string) ([]string, bool) {
	if a := n.attr(name, AttrStrings); a != nil {
		return a.Strings, true
	}
	return nil, false
}

// Tensor returns the tensor attribute name, or nil.
func (n *Node) Tensor(name string) *Tensor {
	if a := n.attr(name, AttrTensor); a != nil {
		return a.Tensor
	}
	return nil
}

// Graph returns the graph attribute name, or nil.
func (n *Node) Graph(name string) *Graph {
	if a := n.attr(name, AttrGraph); a != nil {
		return a.Graph
	}
	return nil
}

// SetAttr replaces the attribute that has a's name, or appends a.
func (n *Node) SetAttr(a *Attribute) {
	for i, old := range n.Attrs {
		if old.Name == a.Name {
			n.Attrs[i] = a
			return
		}
	}
	n.Attrs = append(n.Attrs, a)
}

// SetInt, SetInts, SetFloat, SetFloats and SetString set an attribute of the node.
func (n *Node) SetInt(name string, v int64)         { n.SetAttr(Int(name, v)) }
func (n *Node) SetInts(name string, v ...int64)     { n.SetAttr(Ints(name, v...)) }
func (n *Node) SetFloat(name string, v float32)     { n.SetAttr(Float(name, v)) }
func (n *Node) SetFloats(name string, v ...float32) { n.SetAttr(Floats(name, v...)) }
func (n *Node) SetString(name, v string)            { n.SetAttr(String(name, v)) }

// DeleteAttr removes the attribute and says whether there was one.
func (n *Node) DeleteAttr(name string) bool {
	for i, a := range n.Attrs {
		if a.Name == name {
			n.Attrs = append(n.Attrs[:i:i], n.Attrs[i+1:]...)
			return true
		}
	}
	return false
}

// Subgraphs returns the graphs among the node's attributes, in order.
func (n *Node) Subgraphs() []*Graph {
	var gs []*Graph
	for _, a := range n.Attrs {
		if a.Graph != nil {
			gs = append(gs, a.Graph)
		}
		for _, g := range a.Graphs {
			if g != nil {
				gs = append(gs, g)
			}
		}
	}
	return gs
}

// Clone returns a copy that may be edited freely; tensor contents are shared.
func (n *Node) Clone() *Node {
	c := *n
	c.Inputs, c.Outputs = cloneSlice(n.Inputs), cloneSlice(n.Outputs)
	c.Attrs = cloneEach(n.Attrs, (*Attribute).Clone)
	c.Metadata = cloneSlice(n.Metadata)
	return &c
}

// Clone returns a copy that may be edited freely; tensor contents are shared.
func (a *Attribute) Clone() *Attribute {
	c := *a
	c.Floats, c.Ints, c.Strings = cloneSlice(a.Floats), cloneSlice(a.Ints), cloneSlice(a.Strings)
	c.Graph = a.Graph.Clone()
	c.Graphs = cloneEach(a.Graphs, (*Graph).Clone)
	if a.Tensor != nil {
		c.Tensor = a.Tensor.Clone()
	}
	c.Tensors = cloneEach(a.Tensors, (*Tensor).Clone)
	if a.Sparse != nil {
		c.Sparse = a.Sparse.clone()
	}
	c.SparseTensors = cloneEach(a.SparseTensors, (*SparseTensor).clone)
	if a.TypeProto != nil {
		t := a.TypeProto.clone()
		c.TypeProto = &t
	}
	c.TypeProtos = cloneSlice(a.TypeProtos)
	for i := range c.TypeProtos {
		c.TypeProtos[i] = c.TypeProtos[i].clone()
	}
	return &c
}

// nodeError is an error about a node; nested in another it loses the package's name.
type nodeError struct{ text string }

func (e *nodeError) Error() string { return "onnx: " + e.text }

func errNode(n *Node, format string, args ...any) error {
	for i, a := range args {
		if inner, ok := a.(*nodeError); ok {
			args[i] = errors.New(inner.text)
		}
	}
	return &nodeError{fmt.Sprintf("node %q: %s", n.Label(), fmt.Errorf(format, args...))}
}
