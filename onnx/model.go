// Package onnx reads, checks, edits and writes ONNX models.
//
// A Model is our own representation, not the protobuf messages: plain Go values whose edges are value
// names, as in ONNX, so that writing is a walk. Whoever holds a Model may change its structure; tensor
// contents are shared between clones and are replaced, never written. What this package does not model
// (unknown fields, training information, device configurations, the difference between an absent and an
// empty field) is remembered beside the value it was read with and written back unchanged.
package onnx

import (
	"netmend/onnx/internal/pb"
)

// Model is an ONNX model (ModelProto).
type Model struct {
	IRVersion       int64
	Opsets          []Opset
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Metadata        []StringPair // metadata_props, in file order
	Graph           *Graph
	Functions       []*Function

	proto  *pb.ModelProto // scalars, training info, configurations and unknown fields as read; never changed
	source *folder        // where external data lives; nil for a model that was decoded or built
}

// Opset says which version of an operator set the model uses. The domain "" is the default one, ai.onnx.
type Opset struct {
	Domain  string
	Version int64

	proto *pb.OperatorSetIdProto
}

// StringPair is one entry of a metadata or external-data list.
type StringPair struct {
	Key, Value string

	proto *pb.StringStringEntryProto
}

// Function is a model-local function (FunctionProto).
type Function struct {
	Name, Domain, Overload, Doc string
	Inputs, Outputs             []string
	AttrNames                   []string     // attributes without a default
	AttrDefaults                []*Attribute // attributes with their default
	Nodes                       []*Node
	Opsets                      []Opset
	ValueInfo                   []Value
	Metadata                    []StringPair

	proto *pb.FunctionProto
}

// Opset returns the version of the operator set that the model imports for domain ("" and "ai.onnx" are
// the same), or 0 where it imports none.
func (m *Model) Opset(domain string) int64 { return opsetOf(m.Opsets, domain) }

// SetOpset sets the imported version of domain.
func (m *Model) SetOpset(domain string, version int64) {
	for i := range m.Opsets {
		if sameDomain(m.Opsets[i].Domain, domain) {
			m.Opsets[i].Version = version
			return
		}
	}
	m.Opsets = append(m.Opsets, Opset{Domain: domain, Version: version})
}

func opsetOf(opsets []Opset, domain string) int64 {
	for _, o := range opsets {
		if sameDomain(o.Domain, domain) {
			return o.Version
		}
	}
	return 0
}

func sameDomain(a, b string) bool { return normalDomain(a) == normalDomain(b) }

func normalDomain(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// Meta returns the model's metadata value of key and whether there is one.
func (m *Model) Meta(key string) (string, bool) {
	for _, p := range m.Metadata {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// SetMeta sets the metadata value of key, at its old place or at the end.
func (m *Model) SetMeta(key, value string) {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			m.Metadata[i].Value = value
			return
		}
	}
	m.Metadata = append(m.Metadata, StringPair{Key: key, Value: value})
}

// DeleteMeta removes the metadata value of key and says whether there was one.
func (m *Model) DeleteMeta(key string) bool {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			m.Metadata = append(m.Metadata[:i:i], m.Metadata[i+1:]...)
			return true
		}
	}
	return false
}

// Function returns the model-local function that a node of this domain, op type and overload calls, or nil.
func (m *Model) Function(domain, name, overload string) *Function {
	for _, f := range m.Functions {
		if f.Name == name && f.Overload == overload && sameDomain(f.Domain, domain) {
			return f
		}
	}
	return nil
}

// Clone returns a copy that may be edited freely without the original changing. Tensor contents are shared.
func (m *Model) Clone() *Model {
	c := *m
	c.Opsets = cloneSlice(m.Opsets)
	c.Metadata = cloneSlice(m.Metadata)
	c.Graph = m.Graph.Clone()
	c.Functions = cloneEach(m.Functions, (*Function).clone)
	return &c
}

func (f *Function) clone() *Function {
	c := *f
	c.Inputs, c.Outputs, c.AttrNames = cloneSlice(f.Inputs), cloneSlice(f.Outputs), cloneSlice(f.AttrNames)
	c.AttrDefaults = cloneEach(f.AttrDefaults, (*Attribute).Clone)
	c.Nodes = cloneEach(f.Nodes, (*Node).Clone)
	c.Opsets = cloneSlice(f.Opsets)
	c.ValueInfo = cloneValues(f.ValueInfo)
	c.Metadata = cloneSlice(f.Metadata)
	return &c
}

func cloneSlice[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append(make([]T, 0, len(s)), s...)
}

func cloneEach[T any](s []*T, clone func(*T) *T) []*T {
	if s == nil {
		return nil
	}
	c := make([]*T, len(s))
	for i, v := range s {
		if v != nil {
			c[i] = clone(v)
		}
	}
	return c
}
