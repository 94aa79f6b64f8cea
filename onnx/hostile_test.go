package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// small is x [N,2] -> fc1 (Gemm with W [2,3], b [3]) -> relu -> y.
func small() *Model {
	return &Model{
		IRVersion: 8, Opsets: []Opset{{Version: 17}},
		Graph: &Graph{
			Name: "g",
			Nodes: []*Node{
				NewNode("Gemm", "fc1", []string{"x", "W", "b"}, []string{"a"}),
				NewNode("Relu", "relu", []string{"a"}, []string{"y"}),
			},
			Inputs:  []Value{NewValue("x", Float32, "N", 2)},
			Outputs: []Value{NewValue("y", Float32, "N", 3)},
			Initializers: []*Tensor{
				NewFloat32("W", []int64{2, 3}, make([]float32, 6)), NewFloat32("b", []int64{3}, make([]float32, 3)),
			},
		},
	}
}

// malformed lists ways to break the small model and what must be said about each.
var malformed = []struct {
	want  string
	spoil func(m *Model)
}{
	{`value "a" is defined twice, by node "fc1" and by node "relu"`, func(m *Model) { m.Graph.Nodes[1].Outputs[0] = "a" }},
	{`value "x" is defined twice, by a graph input and by a graph input`, func(m *Model) { m.Graph.Inputs = append(m.Graph.Inputs, m.Graph.Inputs[0]) }},
	{`value "x" is defined twice, by a graph input and by node "relu"`, func(m *Model) { m.Graph.Nodes[1].Outputs[0] = "x" }},
	{`node "relu": output "W" is an initializer too`, func(m *Model) { m.Graph.Nodes[1].Outputs[0] = "W" }},
	{`node "fc1": input 1, "nowhere", is defined nowhere`, func(m *Model) { m.Graph.Nodes[0].Inputs[1] = "nowhere" }},
	{`graph output "y" is defined nowhere`, func(m *Model) { m.Graph.Nodes = m.Graph.Nodes[:1] }},
	{`graph output "y" is there twice`, func(m *Model) { m.Graph.Outputs = append(m.Graph.Outputs, m.Graph.Outputs[0]) }},
	{`a cycle through relu, fc1`, func(m *Model) { m.Graph.Nodes[0].Inputs[0] = "y" }},
	{`node "relu": its output reaches its own input, a cycle through relu`, func(m *Model) { m.Graph.Nodes[1].Inputs[0] = "y" }},
	{`defined only later, by node "fc1"; nodes must be in topological order`, func(m *Model) {
		m.Graph.Nodes[0], m.Graph.Nodes[1] = m.Graph.Nodes[1], m.Graph.Nodes[0]
	}},
	{`graph input 0 has no name`, func(m *Model) { m.Graph.Inputs[0].Name = "" }},
	{`graph output 0 has no name`, func(m *Model) { m.Graph.Outputs[0].Name = "" }},
	{`initializer 1 has no name`, func(m *Model) { m.Graph.Initializers[1].Name = "" }},
	{`initializer "W" is there twice`, func(m *Model) { m.Graph.Initializers[1].Name = "W" }},
	{`node 1 ("relu") has no op type`, func(m *Model) { m.Graph.Nodes[1].OpType = "" }},
	{`graph input "x" has no type`, func(m *Model) { m.Graph.Inputs[0].Type = Type{} }},
	{`graph input "x" has type 99, which is no element type`, func(m *Model) { m.Graph.Inputs[0].Type.Elem = 99 }},
	{`graph input "x": shape [1152921504606846976 2] has more than 2^40`, func(m *Model) { m.Graph.Inputs[0].Type.Shape[0] = NewDim(1 << 60) }},
	{`graph input "x": shape has 65 dimensions, more than 64`, func(m *Model) { m.Graph.Inputs[0].Type.Shape = unknownDims(65) }},
	{`tensor "W": shape has 65 dimensions, more than 64`, func(m *Model) { m.Graph.Initializers[0].Dims = make([]int64, 65) }},
	{`tensor "W": shape [1073741824 1073741824] has more than 2^40`, func(m *Model) { m.Graph.Initializers[0].Dims = []int64{1 << 30, 1 << 30} }},
	{`tensor "W": dimension -1 of shape [-1 3] is negative`, func(m *Model) { m.Graph.Initializers[0].Dims[0] = -1 }},
	{`tensor "W": has 24 bytes of raw data, shape [3 3] of float32 needs 36`, func(m *Model) { m.Graph.Initializers[0].Dims[0] = 3 }},
	{`tensor "b": has 12 bytes of raw data, shape [3] of float64 needs 24`, func(m *Model) { m.Graph.Initializers[1].Type = Float64 }},
	{`tensor "b": has type 77, which is no element type`, func(m *Model) { m.Graph.Initializers[1].Type = 77 }},
	{`tensor "b": has undefined, which is no element type`, func(m *Model) { m.Graph.Initializers[1].Type = Undefined }},
	{`tensor "b": has 2 values in float_data, shape [3] of float32 needs 3`, func(m *Model) {
		m.Graph.Initializers[1].proto = &pb.TensorProto{FloatData: []float32{1, 2}}
	}},
	{`tensor "b": has 0 values in int64_data`, func(m *Model) {
		m.Graph.Initializers[1].Type, m.Graph.Initializers[1].proto = Int64, &pb.TensorProto{FloatData: []float32{1, 2, 3}}
	}},
	{`tensor "b": keeps its data in 2 fields at once`, func(m *Model) {
		m.Graph.Initializers[1].proto = &pb.TensorProto{RawData: make([]byte, 12), FloatData: []float32{1, 2, 3}}
	}},
	{`tensor "b": has 0 strings, shape [3] needs 3`, func(m *Model) { m.Graph.Initializers[1].Type = StringType }},
	{`tensor "b": is a segment of a larger tensor`, func(m *Model) { m.Graph.Initializers[1].proto = &pb.TensorProto{Segment: &pb.TensorProto_Segment{}} }},
	{`initializer "W" holds float32, the graph input of its name int64`, func(m *Model) { m.Graph.Inputs = append(m.Graph.Inputs, NewValue("W", Int64, 2, 3)) }},
	{`initializer "W" has shape [2 3], the graph input of its name [2,4]`, func(m *Model) { m.Graph.Inputs = append(m.Graph.Inputs, NewValue("W", Float32, 2, 4)) }},
	{`operator set "" has no version 999 known here`, func(m *Model) { m.Opsets[0].Version = 999 }},
	{`operator set "ai.onnx" is imported twice`, func(m *Model) { m.Opsets = append(m.Opsets, Opset{Domain: "ai.onnx", Version: 17}) }},
	{`the model imports no operator set`, func(m *Model) { m.Opsets = nil }},
	{`the model has no ir_version`, func(m *Model) { m.IRVersion = 0 }},
	{`node "relu": Relu is of domain "com.example", which is not imported`, func(m *Model) { m.Graph.Nodes[1].Domain = "com.example" }},
	{`node "relu": Rleu is no operator of ai.onnx 17`, func(m *Model) { m.Graph.Nodes[1].OpType = "Rleu" }},
	{`node "relu": Gelu is no operator of ai.onnx 17`, func(m *Model) { m.Graph.Nodes[1].OpType = "Gelu" }},
	{`node "relu": Relu has 2 inputs, it takes 1`, func(m *Model) { m.Graph.Nodes[1].Inputs = []string{"a", "a"} }},
	{`node "fc1": Gemm has 1 inputs, it takes 2 to 3`, func(m *Model) { m.Graph.Nodes[0].Inputs = []string{"x"} }},
	{`node "fc1": input 0 of Gemm is left out, but required`, func(m *Model) { m.Graph.Nodes[0].Inputs[0] = "" }},
	{`node "relu": Relu of operator set 17 has no attribute "alpha"`, func(m *Model) { m.Graph.Nodes[1].SetFloat("alpha", 1) }},
	{`node "fc1": attribute "alpha" is ints, Gemm wants float`, func(m *Model) { m.Graph.Nodes[0].SetInts("alpha", 1, 2) }},
	{`node "fc1": attribute "alpha" is there twice`, func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attribute{Float("alpha", 1), Float("alpha", 2)} }},
	{`node "fc1": attribute "alpha" is declared float but holds ints`, func(m *Model) {
		m.Graph.Nodes[0].Attrs = []*Attribute{{Name: "alpha", Type: AttrFloat, Ints: []int64{1}}}
	}},
	{`node "fc1": attribute "alpha" has no type`, func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attribute{{Name: "alpha"}} }},
	{`node "fc1": an attribute has no name`, func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attribute{Float("", 1)} }},
	{`node "fc1": attribute "alpha" refers to "p", which is allowed in functions only`, func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attribute{{Name: "alpha", Type: AttrFloat, Ref: "p"}} }},
	{`node "relu": Cast needs the attribute "to"`, func(m *Model) { m.Graph.Nodes[1].OpType = "Cast" }},
	{`node "relu": attribute "value": tensor "v": has 4 bytes`, func(m *Model) {
		m.Graph.Nodes[1] = NewNode("Constant", "relu", nil, []string{"y"}, TensorAttr("value", NewFloat32("v", []int64{2}, []float32{1})))
	}},
	{`node "relu": then_branch: node "in": input 0, "nowhere", is defined nowhere`, func(m *Model) {
		body := &Graph{Name: "b", Nodes: []*Node{NewNode("Neg", "in", []string{"nowhere"}, []string{"o"})}, Outputs: []Value{NewValue("o", Float32)}}
		m.Graph.Nodes[1] = NewNode("If", "relu", []string{"a"}, []string{"y"}, GraphAttr("then_branch", body), GraphAttr("else_branch", body))
	}},
	{`function "f" calls itself`, func(m *Model) {
		m.Opsets = append(m.Opsets, Opset{Domain: "me", Version: 1})
		call := &Node{OpType: "f", Domain: "me", Name: "call", Inputs: []string{"i"}, Outputs: []string{"o"}}
		m.Functions = []*Function{{Name: "f", Domain: "me", Inputs: []string{"i"}, Outputs: []string{"o"}, Opsets: m.Opsets, Nodes: []*Node{call}}}
	}},
	{`sparse tensor "s": indices have shape [1], not [2]`, func(m *Model) {
		m.Graph.SparseInitializers = []*SparseTensor{{Values: NewFloat32("s", []int64{2}, []float32{1, 2}), Indices: NewInt64("", []int64{1}, []int64{0}), Dims: []int64{4}}}
	}},
	{`sparse tensor "" lacks values or indices`, func(m *Model) { m.Graph.SparseInitializers = []*SparseTensor{{}} }},
	{`metadata key "k" is there twice`, func(m *Model) { m.Metadata = []StringPair{{Key: "k"}, {Key: "k"}} }},
	{`the model has no graph`, func(m *Model) { m.Graph = nil }},
}

func TestCheckReports(t *testing.T) {
	if err := Check(small()); err != nil {
		t.Fatal(err)
	}
	for _, c := range malformed {
		m := small()
		c.spoil(m)
		if err := Check(m); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "onnx: ") {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
	t.Logf("%d malformed models", len(malformed)+1)
}

// TestInferShapesReports: shapes that do not fit give the node and the dimensions.
func TestInferShapesReports(t *testing.T) {
	image := func(m *Model, n *Node, w ...int64) {
		m.Graph.Inputs[0] = NewValue("x", Float32, "N", 3, 8, 8)
		n.Name, n.Outputs = "op", []string{"y"}
		m.Graph.Nodes = []*Node{n}
		m.Graph.Outputs[0].Type = Type{}
		if n, err := Elements(w); err == nil && len(w) > 0 {
			m.Graph.Initializers[0] = NewFloat32("W", w, make([]float32, n))
		}
	}
	shape := func(m *Model, op string, dims ...int64) {
		image(m, NewNode(op, "", []string{"x", "s"}, nil))
		m.Graph.Initializers = []*Tensor{NewInt64("s", []int64{int64(len(dims))}, dims)}
	}
	for _, c := range []struct {
		want  string
		spoil func(m *Model)
	}{
		{`node "fc1": Gemm: A' is [N,5], B' is [2,3]: inner dimensions 5 and 2 differ`, func(m *Model) { m.Graph.Inputs[0] = NewValue("x", Float32, "N", 5) }},
		{`node "fc1": Gemm: bias "b" has shape [2,3], which does not broadcast to [1,3]`, func(m *Model) {
			m.Graph.Inputs[0] = NewValue("x", Float32, 1, 2)
			m.Graph.Initializers[1] = NewFloat32("b", []int64{2, 3}, make([]float32, 6))
		}},
		{`node "fc1": Gemm: input "x" is float64, input "W" float32`, func(m *Model) { m.Graph.Inputs[0].Type.Elem = Float64 }},
		{`node "relu": output "y": is float32, the file declares int64`, func(m *Model) { m.Graph.Outputs[0].Type.Elem = Int64 }},
		{`node "relu": output "y": has shape [N,3], the file declares [N,3,1]`, func(m *Model) { m.Graph.Outputs[0] = NewValue("y", Float32, "N", 3, 1) }},
		{`3 channels in 1 groups do not fit 2 per group`, func(m *Model) { image(m, NewNode("Conv", "", []string{"x", "W"}, nil), 4, 2, 3, 3) }},
		{`4 outputs do not divide into 3 groups`, func(m *Model) {
			image(m, NewNode("Conv", "", []string{"x", "W"}, nil, Int("group", 3)), 4, 1, 3, 3)
		}},
		{`node "op": Conv: a window of 9 does not fit spatial dimension 0 of size 8`, func(m *Model) { image(m, NewNode("Conv", "", []string{"x", "W"}, nil), 4, 3, 9, 9) }},
		{`kernel_shape is [5 5], W has shape [4,3,3,3]`, func(m *Model) {
			image(m, NewNode("Conv", "", []string{"x", "W"}, nil, Ints("kernel_shape", 5, 5)), 4, 3, 3, 3)
		}},
		{`strides is [0 1]; 0 is out of range`, func(m *Model) {
			image(m, NewNode("Conv", "", []string{"x", "W"}, nil, Ints("strides", 0, 1)), 4, 3, 3, 3)
		}},
		{`pads is [1]; 2 spatial dimensions need 4 numbers`, func(m *Model) { image(m, NewNode("Conv", "", []string{"x", "W"}, nil, Ints("pads", 1)), 4, 3, 3, 3) }},
		{`dilations is [4611686018427387904 1]`, func(m *Model) {
			image(m, NewNode("Conv", "", []string{"x", "W"}, nil, Ints("dilations", 1<<62, 1)), 4, 3, 3, 3)
		}},
		{`auto_pad "sometimes"`, func(m *Model) {
			image(m, NewNode("MaxPool", "", []string{"x"}, nil, Ints("kernel_shape", 2, 2), String("auto_pad", "sometimes")))
		}},
		{`kernel_shape is [2], X has shape [N,3,8,8]`, func(m *Model) { image(m, NewNode("MaxPool", "", []string{"x"}, nil, Ints("kernel_shape", 2))) }},
		{`input "W" has shape [4], not [3]`, func(m *Model) { image(m, NewNode("BatchNormalization", "", []string{"x", "W", "W", "W", "W"}, nil), 4) }},
		{`[N,3,8,8] and [5] do not broadcast: 8 against 5`, func(m *Model) { image(m, NewNode("Add", "", []string{"x", "W"}, nil), 5) }},
		{`perm [0 0 1 2] is no permutation`, func(m *Model) { image(m, NewNode("Transpose", "", []string{"x"}, nil, Ints("perm", 0, 0, 1, 2))) }},
		{`axis 7 is outside`, func(m *Model) { image(m, NewNode("Flatten", "", []string{"x"}, nil, Int("axis", 7))) }},
		{`axis 4 is outside a tensor of rank 4`, func(m *Model) { image(m, NewNode("Softmax", "", []string{"x"}, nil, Int("axis", 4))) }},
		{`cannot become [N,100]`, func(m *Model) {
			image(m, NewNode("Reshape", "", []string{"x", "s"}, nil))
			m.Graph.Inputs[0] = NewValue("x", Float32, 2, 3, 8, 8)
			m.Graph.Initializers = []*Tensor{NewInt64("s", []int64{2}, []int64{0, 100})}
		}},
		{`an input of shape [2,3,8,8] cannot become [-1,7]`, func(m *Model) {
			shape(m, "Reshape", -1, 7)
			m.Graph.Inputs[0] = NewValue("x", Float32, 2, 3, 8, 8)
		}},
		{`shape [-1,-1] has more than one -1`, func(m *Model) { shape(m, "Reshape", -1, -1) }},
		{`copies dimension 4`, func(m *Model) { shape(m, "Reshape", 0, 0, 0, 0, 0) }},
		{`axis 1 of [N,3,8,8] is not 1`, func(m *Model) { shape(m, "Squeeze", 1) }},
		{`axis 1 comes twice`, func(m *Model) { shape(m, "Unsqueeze", 1, 1) }},
		{`needs 8 numbers`, func(m *Model) { shape(m, "Pad", 1, 1) }},
		{`index 3 is outside axis 1`, func(m *Model) {
			shape(m, "Gather", 3)
			m.Graph.Nodes[0].SetInt("axis", 1)
		}},
		{`shape [1152921504606846976] has more than 2^40`, func(m *Model) {
			shape(m, "", 1<<60)
			m.Graph.Nodes[0] = NewNode("ConstantOfShape", "op", []string{"s"}, []string{"y"})
		}},
		{`node "op": output "y": shape has 67 dimensions`, func(m *Model) {
			image(m, NewNode("Unsqueeze", "", []string{"x"}, nil))
			m.Opsets[0].Version = 11
			axes := make([]int64, 63)
			for i := range axes {
				axes[i] = int64(i)
			}
			m.Graph.Nodes[0].SetInts("axes", axes...)
		}},
		{`node "op": Split: split is [1 1], axis 1 of [N,3,8,8] is not their sum`, func(m *Model) {
			shape(m, "Split", 1, 1)
			m.Graph.Nodes[0].SetInt("axis", 1)
			m.Graph.Nodes[0].Outputs = []string{"y", "z"}
		}},
		{`node "op": Cast: attribute "to" is 99`, func(m *Model) { image(m, NewNode("Cast", "", []string{"x"}, nil, Int("to", 99))) }},
		{`node "cond": If: node "in": MatMul: A is [N,2], B is [3]`, func(m *Model) {
			body := &Graph{Name: "b", Nodes: []*Node{NewNode("MatMul", "in", []string{"x", "b"}, []string{"o"})}, Outputs: []Value{{Name: "o"}}}
			m.Graph.Nodes[1] = NewNode("If", "cond", []string{"a"}, []string{"y"}, GraphAttr("then_branch", body), GraphAttr("else_branch", body))
		}},
	} {
		m := small()
		c.spoil(m)
		if strings.Contains(c.want, "[N,100]") {
			c.want = "cannot become [0,100]"
		}
		if _, err := InferShapes(m); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "onnx: node ") {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
	if _, err := InferShapesAt(small(), map[string][]int64{"z": {1}}); err == nil {
		t.Error("an input that does not exist was accepted")
	}
	if _, err := InferShapesAt(small(), map[string][]int64{"x": {1}}); err == nil {
		t.Error("another rank was accepted")
	}
	types, err := InferShapesAt(small(), map[string][]int64{"x": {7, 2}})
	if err != nil || types["y"].String() != "float32[7,3]" {
		t.Errorf("y at batch size 7 is %s, %v", types["y"], err)
	}
}

// field appends a length-delimited field.
func field(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// TestDecodeRefuses: bytes that are no model, or too much of one, in bounded time and memory.
func TestDecodeRefuses(t *testing.T) {
	good, err := small().Encode()
	if err != nil {
		t.Fatal(err)
	}
	nested := func(depth int) []byte {
		var g []byte
		for range depth { // graph -> node -> attribute -> graph
			g = field(nil, 6, g)
			g = field(nil, 5, g)
			g = field(nil, 1, g)
		}
		return field(nil, 7, g)
	}
	nestedType := func(depth int) []byte {
		var typ []byte
		for range depth { // type -> sequence -> type
			typ = field(nil, 4, field(nil, 1, typ))
		}
		return field(nil, 7, field(nil, 11, field(nil, 2, typ)))
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "has no graph"},
		{"text", []byte("this is no model"), "not a model"},
		{"truncated", good[:len(good)/2], "not a model"},
		{"truncated in a node", field(nil, 7, field(nil, 1, []byte{0x0a, 0x05, 'x'})), "graph.node[0].input[0]"},
		{"a length beyond the file", []byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f}, "graph"},
		{"a string where a number belongs", field(nil, 1, []byte("8")), "ir_version: wire type 2"},
		{"a number where a node belongs", field(nil, 7, []byte{0x08, 0x01}), "graph.node[0]: wire type 0"},
		{"deep subgraphs", nested(2000), "nested deeper than 100"},
		{"deep types", nestedType(3000), "nested deeper than 100"},
		{"millions of empty nodes", field(nil, 7, bytes.Repeat([]byte{0x0a, 0x00}, maxMessages+1)), "holds more than"},
		{"millions of empty strings", field(nil, 7, field(nil, 1, bytes.Repeat([]byte{0x0a, 0x00}, maxStrings+1))), "holds more than"},
		{"a broken unknown field", []byte{0xfa, 0x7f, 0xff}, "unknown field"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(c.b)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "onnx: not a model") {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(64*len(c.b)+1<<20) {
			t.Errorf("%s: %d bytes of input allocated %d", c.name, len(c.b), used)
		}
	}
	if _, err := Decode(nested(maxDepth/3 - 1)); err != nil {
		t.Errorf("%d subgraphs within each other: %v", maxDepth/3-1, err)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.onnx")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxFileSize + 1); err != nil { // a sparse file
		t.Skip(err)
	}
	f.Close()
	cut := filepath.Join(dir, "cut.onnx")
	b, _ := small().Encode()
	write(t, cut, b[:len(b)-3])
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.onnx"): "no such file", dir: "is a folder", big: "has 2147483648 bytes", cut: `cut.onnx"`,
	} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "onnx: ") {
			t.Errorf("Read(%q) gave %v, want %q", path, err, want)
		}
	}
}

// TestWriteIsWhole: what Write leaves is the model, and nothing beside it.
func TestWriteIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	for range 2 {
		if err := small().Write(path); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m.toProto(), small().toProto()) {
		t.Error("another model came back")
	}
	if err := (&Model{}).Write(path); err == nil {
		t.Error("a model without a graph was written")
	}
	if err := small().Write(filepath.Join(dir, "missing", "m.onnx")); err == nil {
		t.Error("a folder that is missing was accepted")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("the folder holds %v", files)
	}
}
