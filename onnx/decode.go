package onnx

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// maxFileSize is protobuf's own limit of a message: ONNX keeps larger models' weights in external data.
const maxFileSize = math.MaxInt32

// Read reads a model file. External data stays where it is and is read when a tensor's contents are asked for.
func Read(path string) (*Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("onnx: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("onnx: %q is a folder, not a model file", path)
	case info.Size() > maxFileSize:
		return nil, fmt.Errorf("onnx: %q has %d bytes; a model file has at most %d, larger ones keep their weights in external data", path, info.Size(), maxFileSize)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1)) // a pipe has no size beforehand
	if err != nil {
		return nil, fmt.Errorf("onnx: read %q: %w", path, err)
	}
	if len(b) > maxFileSize {
		return nil, fmt.Errorf("onnx: %q has more than %d bytes", path, maxFileSize)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("onnx: %q is empty", path)
	}
	m, err := decode(b, &folder{path: filepath.Dir(path)})
	if err != nil {
		return nil, fmt.Errorf("%w (in %q)", err, path)
	}
	return m, nil
}

// Decode reads a model from its serialized bytes. A tensor with external data has no folder to be read from. Nodes
// that are out of topological order, which ONNX forbids but old exporters write and ONNX Runtime accepts, are put in
// order where there is no cycle, so that nobody else has to think of it.
func Decode(b []byte) (*Model, error) { return decode(b, nil) }

func decode(b []byte, source *folder) (*Model, error) {
	if err := scan(b); err != nil {
		return nil, err
	}
	p := new(pb.ModelProto)
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth + 1}).Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("onnx: not a model: %w", err)
	}
	if p.Graph == nil {
		return nil, fmt.Errorf("onnx: not a model: it has no graph")
	}
	d := decoder{source: source}
	return d.model(p), nil
}

// decoder turns protobuf messages into our own values. It keeps each message, without the children that have a
// value of their own, as the base that encoding starts from.
type decoder struct{ source *folder }

func (d decoder) model(p *pb.ModelProto) *Model {
	m := &Model{
		IRVersion: p.GetIrVersion(), ProducerName: p.GetProducerName(), ProducerVersion: p.GetProducerVersion(),
		Domain: p.GetDomain(), ModelVersion: p.GetModelVersion(), Doc: p.GetDocString(),
		Opsets: opsetsFrom(p.OpsetImport), Metadata: pairsFrom(p.MetadataProps), Graph: d.graph(p.Graph),
		Functions: each(p.Functions, d.function), proto: p, source: d.source,
	}
	p.OpsetImport, p.MetadataProps, p.Graph, p.Functions = nil, nil, nil, nil
	return m
}

func (d decoder) function(p *pb.FunctionProto) *Function {
	f := &Function{
		Name: p.GetName(), Domain: p.GetDomain(), Overload: p.GetOverload(), Doc: p.GetDocString(),
		Inputs: p.Input, Outputs: p.Output, AttrNames: p.Attribute,
		AttrDefaults: each(p.AttributeProto, d.attribute), Nodes: each(p.Node, d.node),
		Opsets: opsetsFrom(p.OpsetImport), ValueInfo: valuesFrom(p.ValueInfo), Metadata: pairsFrom(p.MetadataProps), proto: p,
	}
	p.Input, p.Output, p.Attribute, p.AttributeProto, p.Node = nil, nil, nil, nil, nil
	p.OpsetImport, p.ValueInfo, p.MetadataProps = nil, nil, nil
	return f
}

func (d decoder) graph(p *pb.GraphProto) *Graph {
	if p == nil {
		return nil
	}
	g := &Graph{
		Name: p.GetName(), Doc: p.GetDocString(), Nodes: each(p.Node, d.node),
		Inputs: valuesFrom(p.Input), Outputs: valuesFrom(p.Output), ValueInfo: valuesFrom(p.ValueInfo),
		Initializers: each(p.Initializer, d.tensor), SparseInitializers: each(p.SparseInitializer, d.sparse),
		Metadata: pairsFrom(p.MetadataProps), proto: p,
	}
	if sorted, cycle := sortNodes(g.Nodes); cycle == nil {
		g.Nodes = sorted
	}
	p.Node, p.Input, p.Output, p.ValueInfo, p.Initializer, p.SparseInitializer, p.MetadataProps = nil, nil, nil, nil, nil, nil, nil
	return g
}

func (d decoder) node(p *pb.NodeProto) *Node {
	n := &Node{
		Name: p.GetName(), OpType: p.GetOpType(), Domain: p.GetDomain(), Overload: p.GetOverload(), Doc: p.GetDocString(),
		Inputs: p.Input, Outputs: p.Output, Attrs: each(p.Attribute, d.attribute), Metadata: pairsFrom(p.MetadataProps), proto: p,
	}
	p.Input, p.Output, p.Attribute, p.MetadataProps = nil, nil, nil, nil
	return n
}

func (d decoder) attribute(p *pb.AttributeProto) *Attribute {
	a := &Attribute{
		Name: p.GetName(), Doc: p.GetDocString(), Type: AttrType(p.GetType()), Ref: p.GetRefAttrName(),
		Float: p.GetF(), Int: p.GetI(), Str: string(p.S), Graph: d.graph(p.G),
		Floats: p.Floats, Ints: p.Ints, Tensors: each(p.Tensors, d.tensor), Graphs: each(p.Graphs, d.graph),
		SparseTensors: each(p.SparseTensors, d.sparse), proto: p,
	}
	if p.Type == nil {
		a.Type = impliedAttrType(p)
	}
	a.read = a.Type
	if p.T != nil {
		a.Tensor = d.tensor(p.T)
	}
	if p.SparseTensor != nil {
		a.Sparse = d.sparse(p.SparseTensor)
	}
	if p.Tp != nil {
		t := typeFrom(p.Tp)
		a.TypeProto = &t
	}
	for _, s := range p.Strings {
		a.Strings = append(a.Strings, string(s))
	}
	for _, t := range p.TypeProtos {
		a.TypeProtos = append(a.TypeProtos, typeFrom(t))
	}
	p.G, p.Floats, p.Ints, p.Strings, p.Tensors, p.Graphs, p.SparseTensors = nil, nil, nil, nil, nil, nil, nil
	p.T, p.SparseTensor, p.Tp, p.TypeProtos = nil, nil, nil, nil
	return a
}

// impliedAttrType returns the type of an attribute of IR version 1, which had no type field: the one field in use.
func impliedAttrType(p *pb.AttributeProto) AttrType {
	switch {
	case p.F != nil:
		return AttrFloat
	case p.I != nil:
		return AttrInt
	case p.S != nil:
		return AttrString
	case p.T != nil:
		return AttrTensor
	case p.G != nil:
		return AttrGraph
	case len(p.Floats) > 0:
		return AttrFloats
	case len(p.Ints) > 0:
		return AttrInts
	case len(p.Strings) > 0:
		return AttrStrings
	}
	return AttrUndefined
}

func (d decoder) tensor(p *pb.TensorProto) *Tensor {
	t := &Tensor{
		Name: p.GetName(), Doc: p.GetDocString(), Type: DataType(p.GetDataType()), Dims: p.Dims,
		Metadata: pairsFrom(p.MetadataProps), proto: p, source: d.source,
	}
	p.Dims, p.MetadataProps = nil, nil
	return t
}

func (d decoder) sparse(p *pb.SparseTensorProto) *SparseTensor {
	t := &SparseTensor{Dims: p.Dims, proto: p}
	if p.Values != nil {
		t.Values = d.tensor(p.Values)
	}
	if p.Indices != nil {
		t.Indices = d.tensor(p.Indices)
	}
	p.Dims, p.Values, p.Indices = nil, nil, nil
	return t
}

func opsetsFrom(ps []*pb.OperatorSetIdProto) []Opset {
	out := make([]Opset, len(ps))
	for i, p := range ps {
		out[i] = Opset{Domain: p.GetDomain(), Version: p.GetVersion(), proto: p}
	}
	return out
}

func pairsFrom(ps []*pb.StringStringEntryProto) []StringPair {
	if len(ps) == 0 {
		return nil
	}
	out := make([]StringPair, len(ps))
	for i, p := range ps {
		out[i] = StringPair{Key: p.GetKey(), Value: p.GetValue(), proto: p}
	}
	return out
}

func valuesFrom(ps []*pb.ValueInfoProto) []Value {
	if len(ps) == 0 {
		return nil
	}
	out := make([]Value, len(ps))
	for i, p := range ps {
		out[i] = Value{Name: p.GetName(), Doc: p.GetDocString(), Type: typeFrom(p.Type), Metadata: pairsFrom(p.MetadataProps), proto: p}
		p.MetadataProps = nil
	}
	return out
}

func typeFrom(p *pb.TypeProto) Type {
	t := Type{Denotation: p.GetDenotation(), proto: p}
	switch v := p.GetValue().(type) {
	case *pb.TypeProto_TensorType:
		t.Kind, t.Elem = KindTensor, DataType(v.TensorType.GetElemType())
		t.Shape, t.HasShape = shapeFrom(v.TensorType.GetShape())
	case *pb.TypeProto_SparseTensorType:
		t.Kind, t.Elem = KindSparseTensor, DataType(v.SparseTensorType.GetElemType())
		t.Shape, t.HasShape = shapeFrom(v.SparseTensorType.GetShape())
	case *pb.TypeProto_SequenceType:
		t.Kind, t.Of = KindSequence, typeOf(v.SequenceType.GetElemType())
	case *pb.TypeProto_OptionalType:
		t.Kind, t.Of = KindOptional, typeOf(v.OptionalType.GetElemType())
	case *pb.TypeProto_MapType:
		t.Kind, t.Elem, t.Of = KindMap, DataType(v.MapType.GetKeyType()), typeOf(v.MapType.GetValueType())
	case *pb.TypeProto_OpaqueType:
		t.Kind = KindOpaque
	}
	return t
}

func typeOf(p *pb.TypeProto) *Type {
	if p == nil {
		return nil
	}
	t := typeFrom(p)
	return &t
}

func shapeFrom(p *pb.TensorShapeProto) ([]Dim, bool) {
	if p == nil {
		return nil, false
	}
	dims := make([]Dim, len(p.Dim))
	for i, d := range p.Dim {
		dims[i] = dimFrom(d)
	}
	return dims, true
}

func dimFrom(p *pb.TensorShapeProto_Dimension) Dim {
	d := Dim{Value: -1, Denotation: p.GetDenotation()}
	switch v := p.GetValue().(type) {
	case *pb.TensorShapeProto_Dimension_DimValue:
		d.Value = max(v.DimValue, -1) // exporters write -1 for an unknown dimension
	case *pb.TensorShapeProto_Dimension_DimParam:
		d.Param = v.DimParam
	}
	return d
}

// each converts a list of messages; the result is nil for none.
func each[P, V any](ps []P, convert func(P) V) []V {
	if len(ps) == 0 {
		return nil
	}
	out := make([]V, len(ps))
	for i, p := range ps {
		out[i] = convert(p)
	}
	return out
}
