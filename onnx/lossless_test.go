package onnx

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"netmend/onnx/internal/pb"
)

// fill gives every field of a message a value, presence of zero values and unknown fields included, down to depth
// nested messages.
func fill(m protoreflect.Message, depth int, next *int) {
	fields := m.Descriptor().Fields()
	oneof := map[protoreflect.Name]bool{}
	for i := range fields.Len() {
		f := fields.Get(i)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if oneof[o.Name()] {
				continue
			}
			oneof[o.Name()] = true
		}
		if f.Message() != nil && depth == 0 {
			continue
		}
		value := func() protoreflect.Value {
			*next++
			switch f.Kind() {
			case protoreflect.StringKind:
				return protoreflect.ValueOfString(strings.Repeat("s", *next%3)) // now and then present but empty
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes(bytes.Repeat([]byte{0xff}, *next%3))
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(int64(*next % 2))
			case protoreflect.Uint64Kind:
				return protoreflect.ValueOfUint64(math.MaxUint64)
			case protoreflect.Int32Kind:
				return protoreflect.ValueOfInt32(int32(*next % 2))
			case protoreflect.EnumKind:
				return protoreflect.ValueOfEnum(f.Enum().Values().Get(*next % f.Enum().Values().Len()).Number())
			case protoreflect.FloatKind:
				return protoreflect.ValueOfFloat32(float32(math.NaN()))
			case protoreflect.DoubleKind:
				return protoreflect.ValueOfFloat64(math.Inf(-1))
			}
			panic("a kind that onnx-ml.proto did not have: " + f.Kind().String())
		}
		switch {
		case f.IsList() && f.Message() != nil:
			for range 2 {
				fill(m.Mutable(f).List().AppendMutable().Message(), depth-1, next)
			}
		case f.IsList():
			for range 3 {
				m.Mutable(f).List().Append(value())
			}
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), depth-1, next)
		default:
			m.Set(f, value())
		}
	}
	m.SetUnknown(protowire.AppendString(protowire.AppendTag(m.GetUnknown(), 4000, protowire.BytesType), "later"))
}

// TestEveryFieldSurvives: a message with every field of onnx-ml.proto set, and unknown fields at every level, comes
// out of Decode and Encode as it went in.
func TestEveryFieldSurvives(t *testing.T) {
	p, n := new(pb.ModelProto), 0
	fill(p.ProtoReflect(), 5, &n)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Clone().Encode()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d scalar fields in %d bytes", n, len(b))
	if !bytes.Equal(b, out) {
		got := new(pb.ModelProto)
		if err := proto.Unmarshal(out, got); err != nil {
			t.Fatal(err)
		}
		if proto.Equal(p, got) {
			t.Error("the bytes differ, the messages do not")
			return
		}
		t.Error("a field was lost or changed")
		diff(t, "model", p.ProtoReflect(), got.ProtoReflect())
	}
}

// diff logs the fields in which two messages differ.
func diff(t *testing.T, path string, a, b protoreflect.Message) {
	if !bytes.Equal(a.GetUnknown(), b.GetUnknown()) {
		t.Logf("%s: unknown fields differ", path)
	}
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		at := path + "." + string(f.Name())
		switch {
		case a.Has(f) != b.Has(f):
			t.Logf("%s: %v became %v", at, a.Has(f), b.Has(f))
		case f.IsList() && f.Message() != nil:
			x, y := a.Get(f).List(), b.Get(f).List()
			for k := range min(x.Len(), y.Len()) {
				diff(t, at, x.Get(k).Message(), y.Get(k).Message())
			}
		case f.Message() != nil && a.Has(f):
			diff(t, at, a.Get(f).Message(), b.Get(f).Message())
		case !a.Get(f).Equal(b.Get(f)):
			t.Logf("%s: %v became %v", at, a.Get(f), b.Get(f))
		}
	}
}

// TestElementTypes reads each element type from raw data and from its typed field. The values are those of the
// numpy extension ml_dtypes 0.5, which onnx.numpy_helper uses:
//
//	python3 -c "import ml_dtypes, numpy; print(numpy.array([0x3c,0x81,0x7e], 'u1').view(ml_dtypes.float8_e4m3fn))"
func TestElementTypes(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		elem DataType
		raw  []byte
		want []float64
	}{
		{Float32, []byte{0, 0, 0xc0, 0x3f, 0, 0, 0x80, 0xff}, []float64{1.5, -inf}},
		{Float64, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, []float64{1.5}},
		{Float16, []byte{0x00, 0x3e, 0x01, 0x00, 0x00, 0xfc, 0xff, 0x7b}, []float64{1.5, 5.960464477539063e-08, -inf, 65504}},
		{BFloat16, []byte{0xc0, 0x3f, 0x80, 0xff, 0xc0, 0x7f}, []float64{1.5, -inf, nan}},
		{Float8E4M3FN, []byte{0x3c, 0x81, 0x7e, 0x7f}, []float64{1.5, -0.001953125, 448, nan}},
		{Float8E4M3FNUZ, []byte{0x44, 0x81, 0x7f, 0x80}, []float64{1.5, -0.0009765625, 240, nan}},
		{Float8E5M2, []byte{0x3e, 0x81, 0x7b, 0x7c, 0x7d}, []float64{1.5, -1.52587890625e-05, 57344, inf, nan}},
		{Float8E5M2FNUZ, []byte{0x42, 0x81, 0x7f, 0x80}, []float64{1.5, -7.62939453125e-06, 57344, nan}},
		{Float8E8M0, []byte{0x80, 0x00, 0xff}, []float64{2, 5.877471754111438e-39, nan}},
		{Float4E2M1, []byte{0x71, 0x0b}, []float64{0.5, 6, -1.5}},
		{Float6E2M3, []byte{0x0c | 0x1f<<6&0xff, 0x1f>>2 | 0x21<<4&0xff, 0x21 >> 4}, []float64{1.5, 7.5, -0.125}},
		{Float6E3M2, []byte{0x0e | 0x1f<<6&0xff, 0x1f>>2 | 0x21<<4&0xff, 0x21 >> 4}, []float64{1.5, 28, -0.0625}},
		{Int8, []byte{1, 0xff}, []float64{1, -1}},
		{Uint8, []byte{1, 0xff}, []float64{1, 255}},
		{Int16, []byte{0xfe, 0xff}, []float64{-2}},
		{Uint16, []byte{0xfe, 0xff}, []float64{65534}},
		{Int32, []byte{0xfe, 0xff, 0xff, 0xff}, []float64{-2}},
		{Uint32, []byte{0xfe, 0xff, 0xff, 0xff}, []float64{4294967294}},
		{Int64, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []float64{-2}},
		{Uint64, []byte{0xfe, 0, 0, 0, 0, 0, 0, 0}, []float64{254}},
		{Int4, []byte{0x71, 0x0f}, []float64{1, 7, -1}},
		{Uint4, []byte{0x71, 0x0f}, []float64{1, 7, 15}},
		{Int2, []byte{0b11100100}, []float64{0, 1, -2, -1}},
		{Uint2, []byte{0b11100100}, []float64{0, 1, 2, 3}},
		{Bool, []byte{1, 0}, []float64{1, 0}},
	} {
		raw := NewRaw("t", c.elem, []int64{int64(len(c.want))}, c.raw)
		if err := raw.check(); err != nil {
			t.Error(err)
		}
		typed := raw.Clone()
		typed.proto = typedProto(t, raw)
		for form, tensor := range map[string]*Tensor{"raw": raw, "typed": typed} {
			var got []float64
			var err error
			if c.elem.IsFloat() {
				got, err = tensor.Float64s()
			} else {
				var v []int64
				v, err = tensor.Int64s()
				for _, x := range v {
					got = append(got, float64(x))
				}
			}
			if err != nil || len(got) != len(c.want) {
				t.Errorf("%s, %s: got %v, %v", c.elem, form, got, err)
				continue
			}
			for i := range got {
				if got[i] != c.want[i] && !(math.IsNaN(got[i]) && math.IsNaN(c.want[i])) {
					t.Errorf("%s, %s: element %d is %v, want %v", c.elem, form, i, got[i], c.want[i])
				}
			}
			back, err := tensor.Raw()
			if err != nil || !bytes.Equal(back, c.raw) {
				t.Errorf("%s, %s: Raw gives %x, %v, want %x", c.elem, form, back, err, c.raw)
			}
		}
	}
}

// typedProto moves raw data to the field that onnx-ml.proto prescribes for the element type.
func typedProto(t *testing.T, raw *Tensor) *pb.TensorProto {
	t.Helper()
	s, err := raw.open()
	if err != nil {
		t.Fatal(err)
	}
	at, p := s.bitsAt(raw.Type), &pb.TensorProto{}
	switch raw.Type {
	case Uint4, Int4, Float4E2M1, Uint2, Int2:
		for _, b := range s.raw {
			p.Int32Data = append(p.Int32Data, int32(b))
		}
		return p
	}
	for i := range s.n {
		switch v := at(i); raw.Type {
		case Float32:
			p.FloatData = append(p.FloatData, math.Float32frombits(uint32(v)))
		case Float64:
			p.DoubleData = append(p.DoubleData, math.Float64frombits(v))
		case Int64:
			p.Int64Data = append(p.Int64Data, int64(v))
		case Uint32, Uint64:
			p.Uint64Data = append(p.Uint64Data, v)
		default:
			p.Int32Data = append(p.Int32Data, int32(v))
		}
	}
	return p
}

func TestZeroElementsAndStrings(t *testing.T) {
	empty := &Tensor{Name: "e", Type: Float32, Dims: []int64{0, 3}}
	if v, err := empty.Float32s(); err != nil || len(v) != 0 {
		t.Errorf("no elements: %v, %v", v, err)
	}
	s := NewStrings("s", []int64{2}, []string{"", "b"})
	if v, err := s.Strings(); err != nil || len(v) != 2 || v[1] != "b" {
		t.Errorf("strings: %q, %v", v, err)
	}
	for _, err := range []error{second(s.Float32s()), second(s.Int64s()), second(s.Raw()), second(empty.Int64s()), second(empty.Strings()),
		second(NewFloat32("f", []int64{3}, []float32{1}).Float32s()), second(NewRaw("u", Uint64, nil, bytes.Repeat([]byte{0xff}, 8)).Int64s())} {
		if err == nil || !strings.HasPrefix(err.Error(), `onnx: tensor "`) {
			t.Errorf("got %v, want an error that names the tensor", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// externalModel is a model whose weight lies in a file at an offset.
func externalModel(dir, location string, extra ...string) []byte {
	t := &pb.TensorProto{Dims: []int64{2}, DataType: proto.Int32(1), Name: proto.String("w"), DataLocation: pb.TensorProto_EXTERNAL.Enum()}
	for i, kv := range append([]string{"location", location, "offset", "4", "length", "8"}, extra...) {
		if i%2 == 0 {
			t.ExternalData = append(t.ExternalData, &pb.StringStringEntryProto{Key: proto.String(kv)})
		} else {
			t.ExternalData[len(t.ExternalData)-1].Value = proto.String(kv)
		}
	}
	m := &Model{IRVersion: 8, Opsets: []Opset{{Version: 17}}, Graph: &Graph{Name: "g",
		Nodes:  []*Node{NewNode("Add", "add", []string{"x", "w"}, []string{"y"})},
		Inputs: []Value{NewValue("x", Float32, 2)}, Outputs: []Value{NewValue("y", Float32, 2)},
		Initializers: []*Tensor{decoder{source: &folder{dir}}.tensor(t)}}}
	b, err := m.Encode()
	if err != nil {
		panic(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestExternalData(t *testing.T) {
	dir := t.TempDir()
	data := append([]byte("skip"), NewFloat32("", nil, []float32{1.5, -2}).proto.RawData...)
	src := filepath.Join(dir, "src", "m.onnx")
	write(t, src, externalModel(filepath.Dir(src), "data/w.bin"))
	write(t, filepath.Join(dir, "src/data/w.bin"), data)
	weights := func(path string) []float32 {
		t.Helper()
		m, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(m); err != nil {
			t.Fatal(err)
		}
		w, err := m.Graph.Initializer("w").Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if !m.Graph.Initializer("w").IsExternal() {
			t.Error("the weight is no longer external")
		}
		return w
	}
	m, err := Read(src)
	if err != nil {
		t.Fatal(err)
	}
	same, err := m.Encode()
	if err != nil || !bytes.Equal(same, externalModel("", "data/w.bin")) {
		t.Errorf("encoding changed the reference: %v", err)
	}
	// Another folder, where a file of that name with other contents must stay.
	write(t, filepath.Join(dir, "dst/data/w.bin"), []byte("somebody else's"))
	dst := filepath.Join(dir, "dst", "m.onnx")
	for range 2 { // the second time finds its own copy
		if err := m.Write(dst); err != nil {
			t.Fatal(err)
		}
	}
	if w := weights(dst); w[0] != 1.5 || w[1] != -2 {
		t.Errorf("the copy's weights are %v", w)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "dst/data/w.bin")); string(b) != "somebody else's" {
		t.Error("a file in the way was overwritten")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "dst/data/*"))
	if len(files) != 2 {
		t.Errorf("the data folder holds %v", files)
	}
	// The same folder: the data file is shared, and the model may not be written over it.
	if err := m.Write(filepath.Join(dir, "src", "copy.onnx")); err != nil {
		t.Fatal(err)
	}
	if w := weights(filepath.Join(dir, "src", "copy.onnx")); w[1] != -2 {
		t.Errorf("weights are %v", w)
	}
	if err := m.Write(filepath.Join(dir, "src/data/w.bin")); err == nil || !strings.Contains(err.Error(), "would destroy") {
		t.Errorf("writing over the data gave %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "src/data/w.bin")); !bytes.Equal(b, data) {
		t.Error("the source's data changed")
	}
	// A failed write leaves nothing.
	os.Mkdir(filepath.Join(dir, "third"), 0o777)
	m.Graph.Name = strings.Repeat("x", 10)
	if err := m.Write(filepath.Join(dir, "third", strings.Repeat("n", 300)+".onnx")); err == nil {
		t.Error("a name that is too long was written")
	}
	files, _ = filepath.Glob(filepath.Join(dir, "third", "data", "*"))
	if len(files) != 0 {
		t.Errorf("a failed write left %v", files)
	}
}

func TestExternalDataRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), make([]byte, 64))
	in := filepath.Join(dir, "model")
	write(t, filepath.Join(in, "short"), make([]byte, 11))
	write(t, filepath.Join(in, "long"), make([]byte, 64))
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(in, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(dir, filepath.Join(in, "up")); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct{ location, key, value, want string }{
		{"../secret", "", "", "leaves the model's folder"},
		{filepath.Join(dir, "secret"), "", "", "leaves the model's folder"},
		{"a/../../secret", "", "", "leaves the model's folder"},
		{`..\secret`, "", "", "leaves the model's folder"},
		{"", "", "", "no location"},
		{"link", "", "", "symbolic link"},
		{"up/secret", "", "", "symbolic link"},
		{"missing", "", "", "no such file"},
		{".", "", "", "no regular file"},
		{"short", "", "", "has 11"},
		{"long", "offset", "-1", "no byte count"},
		{"long", "offset", "99999999999999999999", "no byte count"},
		{"long", "offset", "9223372036854775807", "has 64"},
		{"long", "length", "9223372036854775807", "needs 8 bytes"},
		{"long", "length", "4", "needs 8 bytes"},
	} {
		var extra []string
		if c.key != "" {
			extra = []string{c.key, c.value}
		}
		path := filepath.Join(in, "m.onnx")
		write(t, path, externalModel(in, c.location, extra...))
		m, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{"Check": Check(m), "Float32s": second(m.Graph.Initializers[0].Float32s())} {
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `tensor "w"`) {
				t.Errorf("%s of location %q %s %s gave %v, want %q", what, c.location, c.key, c.value, err, c.want)
			}
		}
	}
}
