package onnx

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// Encode serializes the model. What was read and not changed is written back field by field, unknown fields
// included. External data is written by reference.
func (m *Model) Encode() ([]byte, error) {
	if m.Graph == nil {
		return nil, fmt.Errorf("onnx: the model has no graph to write")
	}
	p := m.toProto()
	if size := proto.Size(p); size > maxFileSize {
		return nil, fmt.Errorf("onnx: the model takes %d bytes; a model file has at most %d", size, maxFileSize)
	}
	b, err := (proto.MarshalOptions{Deterministic: true}).Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return b, nil
}

// base returns a message to fill in: a copy of the one that was read, without its children, or a new one.
func base[P any, M interface {
	*P
	proto.Message
}](read M) M {
	p := M(new(P))
	if read != nil {
		proto.Merge(p, read)
	}
	return p
}

// set changes an optional field where its value changed, so that absent and empty stay what they were.
func set[T comparable](field **T, v T) {
	var have T
	if *field != nil {
		have = **field
	}
	if have == v {
		return
	}
	*field = &v
}

func (m *Model) toProto() *pb.ModelProto {
	p := base(m.proto)
	set(&p.IrVersion, m.IRVersion)
	set(&p.ProducerName, m.ProducerName)
	set(&p.ProducerVersion, m.ProducerVersion)
	set(&p.Domain, m.Domain)
	set(&p.ModelVersion, m.ModelVersion)
	set(&p.DocString, m.Doc)
	p.OpsetImport = opsetsTo(m.Opsets)
	p.MetadataProps = pairsTo(m.Metadata)
	p.Graph = m.Graph.toProto()
	p.Functions = each(m.Functions, (*Function).toProto)
	return p
}

func (f *Function) toProto() *pb.FunctionProto {
	p := base(f.proto)
	set(&p.Name, f.Name)
	set(&p.Domain, f.Domain)
	set(&p.Overload, f.Overload)
	set(&p.DocString, f.Doc)
	p.Input, p.Output, p.Attribute = f.Inputs, f.Outputs, f.AttrNames
	p.AttributeProto = each(f.AttrDefaults, (*Attribute).toProto)
	p.Node = each(f.Nodes, (*Node).toProto)
	p.OpsetImport = opsetsTo(f.Opsets)
	p.ValueInfo = valuesTo(f.ValueInfo)
	p.MetadataProps = pairsTo(f.Metadata)
	return p
}

func (g *Graph) toProto() *pb.GraphProto {
	if g == nil {
		return nil
	}
	p := base(g.proto)
	set(&p.Name, g.Name)
	set(&p.DocString, g.Doc)
	p.Node = each(g.Nodes, (*Node).toProto)
	p.Input, p.Output, p.ValueInfo = valuesTo(g.Inputs), valuesTo(g.Outputs), valuesTo(g.ValueInfo)
	p.Initializer = each(g.Initializers, (*Tensor).toProto)
	p.SparseInitializer = each(g.SparseInitializers, (*SparseTensor).toProto)
	p.MetadataProps = pairsTo(g.Metadata)
	return p
}

func (n *Node) toProto() *pb.NodeProto {
	p := base(n.proto)
	set(&p.Name, n.Name)
	set(&p.OpType, n.OpType)
	set(&p.Domain, n.Domain)
	set(&p.Overload, n.Overload)
	set(&p.DocString, n.Doc)
	p.Input, p.Output = n.Inputs, n.Outputs
	p.Attribute = each(n.Attrs, (*Attribute).toProto)
	p.MetadataProps = pairsTo(n.Metadata)
	return p
}

func (a *Attribute) toProto() *pb.AttributeProto {
	p := base(a.proto)
	set(&p.Name, a.Name)
	set(&p.DocString, a.Doc)
	set(&p.RefAttrName, a.Ref)
	// A new value is written even where it is zero; one that was read keeps its presence.
	fresh := a.proto == nil || a.Type != a.read
	if fresh {
		p.Type = pb.AttributeProto_AttributeType(a.Type).Enum()
	}
	if v := a.Float; fresh && a.Type == AttrFloat || v != p.GetF() && v == v {
		p.F = &v
	}
	if v := a.Int; fresh && a.Type == AttrInt || v != p.GetI() {
		p.I = &v
	}
	if fresh && a.Type == AttrString || a.Str != string(p.S) {
		p.S = []byte(a.Str)
	}
	p.G = a.Graph.toProto()
	p.Floats, p.Ints = a.Floats, a.Ints
	p.Tensors, p.Graphs = each(a.Tensors, (*Tensor).toProto), each(a.Graphs, (*Graph).toProto)
	p.SparseTensors = each(a.SparseTensors, (*SparseTensor).toProto)
	p.Strings = each(a.Strings, func(s string) []byte { return []byte(s) })
	p.TypeProtos = each(a.TypeProtos, Type.toProto)
	if a.Tensor != nil {
		p.T = a.Tensor.toProto()
	}
	if a.Sparse != nil {
		p.SparseTensor = a.Sparse.toProto()
	}
	if a.TypeProto != nil {
		p.Tp = a.TypeProto.toProto()
	}
	return p
}

func (t *Tensor) toProto() *pb.TensorProto {
	// Everything but the contents is copied; the contents are shared with the tensor, and marshalling only reads.
	p := new(pb.TensorProto)
	if r := t.proto; r != nil {
		p.Name, p.DocString, p.DataType, p.Segment, p.DataLocation = r.Name, r.DocString, r.DataType, r.Segment, r.DataLocation
		p.ExternalData, p.RawData, p.StringData = r.ExternalData, r.RawData, r.StringData
		p.FloatData, p.DoubleData, p.Int32Data, p.Int64Data, p.Uint64Data = r.FloatData, r.DoubleData, r.Int32Data, r.Int64Data, r.Uint64Data
		p.ProtoReflect().SetUnknown(r.ProtoReflect().GetUnknown())
	}
	set(&p.Name, t.Name)
	set(&p.DocString, t.Doc)
	set(&p.DataType, int32(t.Type))
	p.Dims = t.Dims
	p.MetadataProps = pairsTo(t.Metadata)
	return p
}

func (t *SparseTensor) toProto() *pb.SparseTensorProto {
	p := base(t.proto)
	p.Dims = t.Dims
	if t.Values != nil {
		p.Values = t.Values.toProto()
	}
	if t.Indices != nil {
		p.Indices = t.Indices.toProto()
	}
	return p
}

func opsetsTo(opsets []Opset) []*pb.OperatorSetIdProto {
	return each(opsets, func(o Opset) *pb.OperatorSetIdProto {
		if o.proto != nil && o.proto.GetDomain() == o.Domain && o.proto.GetVersion() == o.Version {
			return o.proto
		}
		p := base(o.proto)
		set(&p.Domain, o.Domain)
		set(&p.Version, o.Version)
		return p
	})
}

func pairsTo(pairs []StringPair) []*pb.StringStringEntryProto {
	return each(pairs, func(s StringPair) *pb.StringStringEntryProto {
		if s.proto != nil && s.proto.GetKey() == s.Key && s.proto.GetValue() == s.Value {
			return s.proto
		}
		p := base(s.proto)
		set(&p.Key, s.Key)
		set(&p.Value, s.Value)
		return p
	})
}

func valuesTo(vs []Value) []*pb.ValueInfoProto { return each(vs, Value.toProto) }

func (v Value) toProto() *pb.ValueInfoProto {
	p := base(v.proto)
	set(&p.Name, v.Name)
	set(&p.DocString, v.Doc)
	p.Type = v.Type.toProto()
	p.MetadataProps = pairsTo(v.Metadata)
	return p
}

// toProto returns the message as read where nothing changed, and otherwise one that keeps what this package does
// not model (unknown fields, the opaque type's name).
func (t Type) toProto() *pb.TypeProto {
	var read Type
	if t.proto != nil {
		read = typeFrom(t.proto)
	}
	if equalTypes(t, read) {
		return t.proto
	}
	p := base(t.proto)
	set(&p.Denotation, t.Denotation)
	elem := int32(t.Elem)
	switch t.Kind {
	case KindUnknown:
		p.Value = nil
	case KindTensor:
		p.Value = &pb.TypeProto_TensorType{TensorType: &pb.TypeProto_Tensor{ElemType: &elem, Shape: t.shapeTo(read)}}
	case KindSparseTensor:
		p.Value = &pb.TypeProto_SparseTensorType{SparseTensorType: &pb.TypeProto_SparseTensor{ElemType: &elem, Shape: t.shapeTo(read)}}
	case KindSequence:
		p.Value = &pb.TypeProto_SequenceType{SequenceType: &pb.TypeProto_Sequence{ElemType: t.ofTo()}}
	case KindOptional:
		p.Value = &pb.TypeProto_OptionalType{OptionalType: &pb.TypeProto_Optional{ElemType: t.ofTo()}}
	case KindMap:
		p.Value = &pb.TypeProto_MapType{MapType: &pb.TypeProto_Map{KeyType: &elem, ValueType: t.ofTo()}}
	}
	return p
}

func (t Type) ofTo() *pb.TypeProto {
	if t.Of == nil {
		return nil
	}
	return t.Of.toProto()
}

// shapeTo keeps the messages of dimensions that did not change.
func (t Type) shapeTo(read Type) *pb.TensorShapeProto {
	if !t.HasShape {
		return nil
	}
	var old *pb.TensorShapeProto
	if v := t.proto.GetTensorType(); v != nil {
		old = v.GetShape()
	} else if v := t.proto.GetSparseTensorType(); v != nil {
		old = v.GetShape()
	}
	p := &pb.TensorShapeProto{}
	for i, d := range t.Shape {
		if i < len(read.Shape) && read.Shape[i] == d && i < len(old.GetDim()) {
			p.Dim = append(p.Dim, old.GetDim()[i])
			continue
		}
		q := &pb.TensorShapeProto_Dimension{}
		switch {
		case d.Value >= 0:
			q.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: d.Value}
		case d.Param != "":
			q.Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: d.Param}
		}
		set(&q.Denotation, d.Denotation)
		p.Dim = append(p.Dim, q)
	}
	return p
}

func equalTypes(a, b Type) bool {
	if a.Kind != b.Kind || a.Elem != b.Elem || a.HasShape != b.HasShape || a.Denotation != b.Denotation || !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	if a.Of == nil || b.Of == nil {
		return a.Of == b.Of
	}
	return equalTypes(*a.Of, *b.Of)
}
