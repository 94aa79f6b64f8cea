package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"netmend/onnx/internal/pb"
)

// DataType is the element type of a tensor; the numbers are ONNX's.
type DataType int32

// The element types of ONNX.
const (
	Undefined      DataType = 0
	Float32        DataType = 1
	Uint8          DataType = 2
	Int8           DataType = 3
	Uint16         DataType = 4
	Int16          DataType = 5
	Int32          DataType = 6
	Int64          DataType = 7
	StringType     DataType = 8
	Bool           DataType = 9
	Float16        DataType = 10
	Float64        DataType = 11
	Uint32         DataType = 12
	Uint64         DataType = 13
	Complex64      DataType = 14
	Complex128     DataType = 15
	BFloat16       DataType = 16
	Float8E4M3FN   DataType = 17
	Float8E4M3FNUZ DataType = 18
	Float8E5M2     DataType = 19
	Float8E5M2FNUZ DataType = 20
	Uint4          DataType = 21
	Int4           DataType = 22
	Float4E2M1     DataType = 23
	Float8E8M0     DataType = 24
	Uint2          DataType = 25
	Int2           DataType = 26
	Float6E2M3     DataType = 27
	Float6E3M2     DataType = 28
)

// dataTypes holds name and width in bits of each element type; strings have no width.
var dataTypes = [...]struct {
	name string
	bits int64
}{
	{"undefined", 0}, {"float32", 32}, {"uint8", 8}, {"int8", 8}, {"uint16", 16}, {"int16", 16}, {"int32", 32},
	{"int64", 64}, {"string", 0}, {"bool", 8}, {"float16", 16}, {"float64", 64}, {"uint32", 32}, {"uint64", 64},
	{"complex64", 64}, {"complex128", 128}, {"bfloat16", 16}, {"float8e4m3fn", 8}, {"float8e4m3fnuz", 8},
	{"float8e5m2", 8}, {"float8e5m2fnuz", 8}, {"uint4", 4}, {"int4", 4}, {"float4e2m1", 4}, {"float8e8m0", 8},
	{"uint2", 2}, {"int2", 2}, {"float6e2m3", 6}, {"float6e3m2", 6},
}

// Valid reports whether t is an element type that a tensor may have.
func (t DataType) Valid() bool { return t > Undefined && int(t) < len(dataTypes) }

// String returns the name of the type, such as float32.
func (t DataType) String() string {
	if t < 0 || int(t) >= len(dataTypes) {
		return fmt.Sprintf("type %d", int32(t))
	}
	return dataTypes[t].name
}

// Bits returns the width of one element in raw data, 0 for strings and unknown types.
func (t DataType) Bits() int64 {
	if !t.Valid() {
		return 0
	}
	return dataTypes[t].bits
}

// IsFloat reports whether t is a real floating-point type.
func (t DataType) IsFloat() bool {
	switch t {
	case Float32, Float64, Float16, BFloat16, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float4E2M1,
		Float8E8M0, Float6E2M3, Float6E3M2:
		return true
	}
	return false
}

// IsInteger reports whether t is an integer type (bool is none).
func (t DataType) IsInteger() bool {
	switch t {
	case Uint8, Int8, Uint16, Int16, Int32, Int64, Uint32, Uint64, Uint4, Int4, Uint2, Int2:
		return true
	}
	return false
}

// Tensor is a constant: an initializer or an attribute (TensorProto). Its contents are read through Float32s,
// Int64s, … and never change; to change a weight, put a new tensor in its place.
type Tensor struct {
	Name, Doc string
	Type      DataType
	Dims      []int64 // none for a scalar
	Metadata  []StringPair

	proto  *pb.TensorProto // the contents, and fields as read; never changed
	source *folder         // where external data lives
}

// SparseTensor is a constant given by its non-zero values and their places (SparseTensorProto).
type SparseTensor struct {
	Values  *Tensor // [NNZ]; its name is the name of the sparse tensor
	Indices *Tensor // [NNZ] linear or [NNZ, rank], int64
	Dims    []int64

	proto *pb.SparseTensorProto
}

// Name returns the name of the sparse tensor, which is that of its values.
func (t *SparseTensor) Name() string {
	if t.Values == nil {
		return ""
	}
	return t.Values.Name
}

func (t *SparseTensor) clone() *SparseTensor {
	c := *t
	if t.Values != nil {
		c.Values = t.Values.Clone()
	}
	if t.Indices != nil {
		c.Indices = t.Indices.Clone()
	}
	c.Dims = cloneSlice(t.Dims)
	return &c
}

// Clone returns a tensor that shares t's contents; name, type and dims may be changed freely.
func (t *Tensor) Clone() *Tensor {
	c := *t
	c.Dims, c.Metadata = cloneSlice(t.Dims), cloneSlice(t.Metadata)
	return &c
}

// NewRaw returns a tensor from little-endian bytes (sub-byte types packed from the low bits). The bytes belong to
// the tensor from here on. A length that does not fit dims is an error of every read and of Check.
func NewRaw(name string, elem DataType, dims []int64, raw []byte) *Tensor {
	if raw == nil {
		raw = []byte{}
	}
	return &Tensor{Name: name, Type: elem, Dims: cloneSlice(dims), proto: &pb.TensorProto{RawData: raw}}
}

// NewFloat32 returns a float32 tensor with a copy of data in row-major order; see NewRaw.
func NewFloat32(name string, dims []int64, data []float32) *Tensor {
	raw := make([]byte, 4*len(data))
	for i, v := range data {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
	}
	return NewRaw(name, Float32, dims, raw)
}

// NewFloat64 returns a float64 tensor with a copy of data in row-major order; see NewRaw.
func NewFloat64(name string, dims []int64, data []float64) *Tensor {
	raw := make([]byte, 8*len(data))
	for i, v := range data {
		binary.LittleEndian.PutUint64(raw[8*i:], math.Float64bits(v))
	}
	return NewRaw(name, Float64, dims, raw)
}

// NewInt64 returns an int64 tensor with a copy of data in row-major order; see NewRaw.
func NewInt64(name string, dims []int64, data []int64) *Tensor {
	raw := make([]byte, 8*len(data))
	for i, v := range data {
		binary.LittleEndian.PutUint64(raw[8*i:], uint64(v))
	}
	return NewRaw(name, Int64, dims, raw)
}

// NewInt32 returns an int32 tensor with a copy of data in row-major order; see NewRaw.
func NewInt32(name string, dims []int64, data []int32) *Tensor {
	raw := make([]byte, 4*len(data))
	for i, v := range data {
		binary.LittleEndian.PutUint32(raw[4*i:], uint32(v))
	}
	return NewRaw(name, Int32, dims, raw)
}

// NewBool returns a bool tensor with a copy of data in row-major order; see NewRaw.
func NewBool(name string, dims []int64, data []bool) *Tensor {
	raw := make([]byte, len(data))
	for i, v := range data {
		if v {
			raw[i] = 1
		}
	}
	return NewRaw(name, Bool, dims, raw)
}

// NewStrings returns a string tensor with a copy of data in row-major order.
func NewStrings(name string, dims []int64, data []string) *Tensor {
	b := make([][]byte, len(data))
	for i, s := range data {
		b[i] = []byte(s)
	}
	return &Tensor{Name: name, Type: StringType, Dims: cloneSlice(dims), proto: &pb.TensorProto{StringData: b}}
}

// maxElements bounds the size that a shape may declare: 4 TiB of float32 is beyond what any machine trains with, and
// far below what overflows.
const maxElements = 1 << 40

// maxRank bounds the number of dimensions, as numpy 2 does: shapes are copied from value to value.
const maxRank = 64

// Elements returns the product of dims; a negative dimension, more than 64 dimensions or a product beyond 2^40 is an
// error.
func Elements(dims []int64) (int64, error) {
	if len(dims) > maxRank {
		return 0, fmt.Errorf("shape has %d dimensions, more than %d", len(dims), maxRank)
	}
	n := uint64(1)
	zero, overflow := false, false
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("dimension %d of shape %v is negative", d, dims)
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > maxElements {
			overflow = true
			continue
		}
		n = lo
	}
	switch {
	case zero:
		return 0, nil
	case overflow:
		return 0, fmt.Errorf("shape %v has more than 2^40 elements", dims)
	}
	return int64(n), nil
}

// NumElements returns the number of elements that dims declare.
func (t *Tensor) NumElements() (int64, error) {
	n, err := Elements(t.Dims)
	if err != nil {
		return 0, t.errorf("%w", err)
	}
	return n, nil
}

func (t *Tensor) errorf(format string, args ...any) error {
	return fmt.Errorf("onnx: tensor %q: %w", t.Name, fmt.Errorf(format, args...))
}

// rawSize returns the number of bytes of n packed elements of type t, and false where that has no meaning or does
// not fit an int64.
func rawSize(t DataType, n int64) (int64, bool) {
	w := t.Bits()
	if w == 0 || n > (math.MaxInt64-7)/w {
		return 0, false
	}
	return (n*w + 7) / 8, true
}

// storage describes where the elements are, after its size has been compared with what dims declare.
type storage struct {
	n   int                // elements (complex: parts)
	raw []byte             // little-endian bytes, or
	at  func(i int) uint64 // the bit pattern of element i of a typed field
}

// check reports contents that do not fit type and dims, without reading external data.
func (t *Tensor) check() error {
	if t.Type == StringType {
		n, err := t.NumElements()
		if err == nil && int64(len(t.proto.GetStringData())) != n {
			err = t.errorf("has %d strings, shape %v needs %d", len(t.proto.GetStringData()), t.Dims, n)
		}
		if err == nil && (t.proto.GetRawData() != nil || t.IsExternal()) {
			err = t.errorf("holds strings, which must lie in string_data")
		}
		return err
	}
	if p := t.proto; p != nil {
		fields := 0
		for _, used := range []bool{p.RawData != nil, len(p.FloatData) > 0, len(p.DoubleData) > 0, len(p.Int32Data) > 0,
			len(p.Int64Data) > 0, len(p.Uint64Data) > 0, len(p.StringData) > 0, t.IsExternal()} {
			if used {
				fields++
			}
		}
		if fields > 1 {
			return t.errorf("keeps its data in %d fields at once", fields)
		}
	}
	if !t.IsExternal() {
		_, err := t.open()
		return err
	}
	n, err := t.NumElements()
	if err != nil {
		return err
	}
	size, ok := rawSize(t.Type, n)
	if !ok {
		return t.errorf("%s of shape %v cannot lie in external data", t.Type, t.Dims)
	}
	f, _, err := t.openExternal(size)
	if err != nil {
		return err
	}
	return f.Close()
}

// open finds the elements and checks that there are as many as dims declare, before anything is allocated.
func (t *Tensor) open() (storage, error) {
	n, err := t.NumElements()
	if err != nil {
		return storage{}, err
	}
	if !t.Type.Valid() {
		return storage{}, t.errorf("has %s, which is no element type", t.Type)
	}
	if t.Type == StringType {
		return storage{}, t.errorf("holds strings, not numbers")
	}
	size, ok := rawSize(t.Type, n)
	if !ok {
		return storage{}, t.errorf("shape %v of %s needs more than 2^63 bytes", t.Dims, t.Type)
	}
	p := t.proto
	if p == nil {
		p = &pb.TensorProto{}
	}
	if p.Segment != nil {
		return storage{}, t.errorf("is a segment of a larger tensor, which is not supported")
	}
	if p.GetDataLocation() == pb.TensorProto_EXTERNAL {
		raw, err := t.readExternal(size)
		return storage{n: int(n), raw: raw}, err
	}
	if p.RawData != nil || n == 0 {
		if int64(len(p.RawData)) != size {
			return storage{}, t.errorf("has %d bytes of raw data, shape %v of %s needs %d", len(p.RawData), t.Dims, t.Type, size)
		}
		return storage{n: int(n), raw: p.RawData}, nil
	}
	field, have, at := typedField(p, t.Type)
	want := n
	switch t.Type {
	case Uint4, Int4, Float4E2M1, Uint2, Int2:
		want = size // int32_data holds one packed byte per entry
	case Complex64, Complex128:
		want = 2 * n
	}
	if int64(have) != want {
		return storage{}, t.errorf("has %d values in %s, shape %v of %s needs %d", have, field, t.Dims, t.Type, want)
	}
	return storage{n: int(n), at: at}, nil
}

// typedField returns the name and length of the field that holds elements of type dt outside raw_data, and the bit
// pattern of element i (for complex types, of part i).
func typedField(p *pb.TensorProto, dt DataType) (field string, n int, at func(i int) uint64) {
	switch dt {
	case Float32, Complex64:
		return "float_data", len(p.FloatData), func(i int) uint64 { return uint64(math.Float32bits(p.FloatData[i])) }
	case Float64, Complex128:
		return "double_data", len(p.DoubleData), func(i int) uint64 { return math.Float64bits(p.DoubleData[i]) }
	case Int64:
		return "int64_data", len(p.Int64Data), func(i int) uint64 { return uint64(p.Int64Data[i]) }
	case Uint32, Uint64:
		return "uint64_data", len(p.Uint64Data), func(i int) uint64 { return p.Uint64Data[i] }
	case Uint4, Int4, Float4E2M1, Uint2, Int2:
		w := uint(dt.Bits())
		per := int(8 / w)
		return "int32_data", len(p.Int32Data), func(i int) uint64 {
			return uint64(uint8(p.Int32Data[i/per])>>(w*uint(i%per))) & (1<<w - 1)
		}
	}
	mask := uint64(1)<<uint(dt.Bits()) - 1
	return "int32_data", len(p.Int32Data), func(i int) uint64 { return uint64(uint32(p.Int32Data[i])) & mask }
}

// bitsAt returns a function that gives the bit pattern of element i.
func (s storage) bitsAt(dt DataType) func(i int) uint64 {
	if s.at != nil {
		return s.at
	}
	raw := s.raw
	switch w := uint(dt.Bits()); w {
	case 8:
		return func(i int) uint64 { return uint64(raw[i]) }
	case 16:
		return func(i int) uint64 { return uint64(binary.LittleEndian.Uint16(raw[2*i:])) }
	case 32:
		return func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(raw[4*i:])) }
	case 64:
		return func(i int) uint64 { return binary.LittleEndian.Uint64(raw[8*i:]) }
	default: // 2, 4, 6: a stream of bits, lowest first
		return func(i int) uint64 {
			bit := uint(i) * w
			v := uint64(raw[bit/8]) >> (bit % 8)
			if bit%8+w > 8 {
				v |= uint64(raw[bit/8+1]) << (8 - bit%8)
			}
			return v & (1<<w - 1)
		}
	}
}

// Float32s returns the elements of a tensor of any real floating-point type as a new float32 slice.
func (t *Tensor) Float32s() ([]float32, error) {
	s, err := t.openFloat()
	if err != nil {
		return nil, err
	}
	out := make([]float32, s.n)
	at := s.bitsAt(t.Type)
	if t.Type == Float32 {
		for i := range out {
			out[i] = math.Float32frombits(uint32(at(i)))
		}
		return out, nil
	}
	for i := range out {
		out[i] = float32(floatFromBits(t.Type, at(i)))
	}
	return out, nil
}

// Float64s returns the elements of a tensor of any real floating-point type as a new float64 slice.
func (t *Tensor) Float64s() ([]float64, error) {
	s, err := t.openFloat()
	if err != nil {
		return nil, err
	}
	out := make([]float64, s.n)
	at := s.bitsAt(t.Type)
	for i := range out {
		out[i] = floatFromBits(t.Type, at(i))
	}
	return out, nil
}

func (t *Tensor) openFloat() (storage, error) {
	if t.Type.Valid() && !t.Type.IsFloat() {
		return storage{}, t.errorf("holds %s, not floating-point numbers", t.Type)
	}
	return t.open()
}

// Int64s returns the elements of a tensor of any integer type, or bool (0 and 1), as a new int64 slice. A uint64
// beyond the int64 range is an error.
func (t *Tensor) Int64s() ([]int64, error) {
	if t.Type.Valid() && !t.Type.IsInteger() && t.Type != Bool {
		return nil, t.errorf("holds %s, not integers", t.Type)
	}
	s, err := t.open()
	if err != nil {
		return nil, err
	}
	out := make([]int64, s.n)
	at := s.bitsAt(t.Type)
	for i := range out {
		v := at(i)
		switch t.Type {
		case Int8:
			out[i] = int64(int8(v))
		case Int16:
			out[i] = int64(int16(v))
		case Int32:
			out[i] = int64(int32(v))
		case Int64:
			out[i] = int64(v)
		case Int4:
			out[i] = int64(int8(v<<4)) >> 4
		case Int2:
			out[i] = int64(int8(v<<6)) >> 6
		case Bool:
			if v != 0 {
				out[i] = 1
			}
		default:
			if v > math.MaxInt64 {
				return nil, t.errorf("element %d is %d, beyond int64", i, v)
			}
			out[i] = int64(v)
		}
	}
	return out, nil
}

// Strings returns the elements of a string tensor as a new slice.
func (t *Tensor) Strings() ([]string, error) {
	if t.Type != StringType {
		return nil, t.errorf("holds %s, not strings", t.Type)
	}
	n, err := t.NumElements()
	if err != nil {
		return nil, err
	}
	data := t.proto.GetStringData()
	if int64(len(data)) != n {
		return nil, t.errorf("has %d strings, shape %v needs %d", len(data), t.Dims, n)
	}
	out := make([]string, len(data))
	for i, b := range data {
		out[i] = string(b)
	}
	return out, nil
}

// Raw returns the elements as packed little-endian bytes whatever form the file keeps them in; the caller must
// not change them.
func (t *Tensor) Raw() ([]byte, error) {
	s, err := t.open()
	if err != nil {
		return nil, err
	}
	if s.at == nil {
		return s.raw, nil
	}
	parts, w := s.n, uint(t.Type.Bits())
	if t.Type == Complex64 || t.Type == Complex128 {
		parts, w = 2*parts, w/2
	}
	raw := make([]byte, (uint64(parts)*uint64(w)+7)/8)
	for i := range parts {
		v := s.at(i)
		for done, bit := uint(0), uint(i)*w; done < w; {
			take := min(w-done, 8-bit%8)
			raw[bit/8] |= byte(v>>done&(1<<take-1)) << (bit % 8)
			done, bit = done+take, bit+take
		}
	}
	return raw, nil
}
