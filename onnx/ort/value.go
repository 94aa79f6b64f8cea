//go:build cgo

package ort

import (
	"fmt"
	"unsafe"

	ortgo "github.com/yalue/onnxruntime_go"

	"netmend/onnx"
)

// scalars and tensors make ONNX Runtime values of the element types that Go has, from little-endian bytes, which is
// how every machine that ONNX Runtime runs on stores them.
var (
	scalars = map[onnx.DataType]func(raw []byte) (ortgo.Value, error){
		onnx.Float32: newScalar[float32], onnx.Float64: newScalar[float64], onnx.Bool: newScalar[bool],
		onnx.Int8: newScalar[int8], onnx.Int16: newScalar[int16], onnx.Int32: newScalar[int32], onnx.Int64: newScalar[int64],
		onnx.Uint8: newScalar[uint8], onnx.Uint16: newScalar[uint16], onnx.Uint32: newScalar[uint32], onnx.Uint64: newScalar[uint64],
	}
	tensors = map[onnx.DataType]func(dims []int64, raw []byte) (ortgo.Value, error){
		onnx.Float32: newTensor[float32], onnx.Float64: newTensor[float64], onnx.Bool: newTensor[bool],
		onnx.Int8: newTensor[int8], onnx.Int16: newTensor[int16], onnx.Int32: newTensor[int32], onnx.Int64: newTensor[int64],
		onnx.Uint8: newTensor[uint8], onnx.Uint16: newTensor[uint16], onnx.Uint32: newTensor[uint32], onnx.Uint64: newTensor[uint64],
	}
)

// newScalar returns a rank-0 value; nil makes a zero to be overwritten.
func newScalar[T ortgo.TensorData](raw []byte) (ortgo.Value, error) {
	var v T
	if raw != nil {
		v = elements[T](raw)[0]
	}
	return ortgo.NewScalar(v)
}

func newTensor[T ortgo.TensorData](dims []int64, raw []byte) (ortgo.Value, error) {
	return ortgo.NewTensor(ortgo.Shape(dims), elements[T](raw))
}

// elements copies bytes into a slice that is aligned for T.
func elements[T any](raw []byte) []T {
	var v T
	out := make([]T, len(raw)/int(unsafe.Sizeof(v)))
	if len(out) > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), len(raw)), raw)
	}
	return out
}

// aligned returns a copy of raw that is aligned for any element type.
func aligned(raw []byte) []byte {
	words := make([]uint64, (len(raw)+7)/8)
	if len(words) == 0 {
		return nil
	}
	out := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(raw))
	copy(out, raw)
	return out
}

func toValue(t *onnx.Tensor) (ortgo.Value, error) {
	if t.Type == onnx.StringType {
		return stringValue(t)
	}
	raw, err := t.Raw()
	if err != nil {
		return nil, err
	}
	make, ok := tensors[t.Type]
	switch {
	case ok && len(t.Dims) == 0:
		return scalars[t.Type](raw)
	case ok:
		return make(t.Dims, raw)
	case len(t.Dims) == 0 || len(raw) == 0:
		return nil, fmt.Errorf("a %s of shape %v cannot be handed to ONNX Runtime", t.Type, t.Dims)
	}
	return ortgo.NewCustomDataTensor(ortgo.Shape(t.Dims), aligned(raw), ortgo.TensorElementDataType(t.Type))
}

func stringValue(t *onnx.Tensor) (ortgo.Value, error) {
	data, err := t.Strings()
	if err != nil {
		return nil, err
	}
	v, err := ortgo.NewStringTensor(ortgo.Shape(t.Dims))
	if err != nil {
		return nil, err
	}
	if err := v.SetContents(data); err != nil {
		v.Destroy()
		return nil, err
	}
	return v, nil
}

// shaped are the values that know their shape.
type shaped interface{ GetShape() ortgo.Shape }

// fromValue copies a value into a tensor.
func fromValue(name string, v ortgo.Value) (*onnx.Tensor, error) {
	var dims []int64
	if s, ok := v.(shaped); ok {
		dims = s.GetShape()
	}
	elem, raw, ok := contents(v)
	if ok {
		return onnx.NewRaw(name, elem, dims, raw), nil
	}
	if s, ok := v.(*ortgo.StringTensor); ok {
		data, err := s.GetContents()
		if err != nil {
			return nil, err
		}
		return onnx.NewStrings(name, dims, data), nil
	}
	if c, ok := v.(*ortgo.CustomDataTensor); ok {
		elem := onnx.DataType(c.DataType())
		n, err := onnx.Elements(dims)
		if err != nil || elem.Bits()*n != 8*int64(len(c.GetData())) {
			return nil, fmt.Errorf("%s of shape %v came back with %d bytes", elem, dims, len(c.GetData()))
		}
		return onnx.NewRaw(name, elem, dims, append([]byte(nil), c.GetData()...)), nil
	}
	return nil, fmt.Errorf("is no tensor but %T", v)
}

// contents returns the bytes of a value whose element type Go has.
func contents(v ortgo.Value) (onnx.DataType, []byte, bool) {
	switch v := v.(type) {
	case *ortgo.Tensor[float32]:
		return onnx.Float32, bytesOf(v.GetData()), true
	case *ortgo.Tensor[float64]:
		return onnx.Float64, bytesOf(v.GetData()), true
	case *ortgo.Tensor[bool]:
		return onnx.Bool, bytesOf(v.GetData()), true
	case *ortgo.Tensor[int8]:
		return onnx.Int8, bytesOf(v.GetData()), true
	case *ortgo.Tensor[int16]:
		return onnx.Int16, bytesOf(v.GetData()), true
	case *ortgo.Tensor[int32]:
		return onnx.Int32, bytesOf(v.GetData()), true
	case *ortgo.Tensor[int64]:
		return onnx.Int64, bytesOf(v.GetData()), true
	case *ortgo.Tensor[uint8]:
		return onnx.Uint8, bytesOf(v.GetData()), true
	case *ortgo.Tensor[uint16]:
		return onnx.Uint16, bytesOf(v.GetData()), true
	case *ortgo.Tensor[uint32]:
		return onnx.Uint32, bytesOf(v.GetData()), true
	case *ortgo.Tensor[uint64]:
		return onnx.Uint64, bytesOf(v.GetData()), true
	case *ortgo.Scalar[float32]:
		return onnx.Float32, bytesOf([]float32{v.GetData()}), true
	case *ortgo.Scalar[float64]:
		return onnx.Float64, bytesOf([]float64{v.GetData()}), true
	case *ortgo.Scalar[bool]:
		return onnx.Bool, bytesOf([]bool{v.GetData()}), true
	case *ortgo.Scalar[int8]:
		return onnx.Int8, bytesOf([]int8{v.GetData()}), true
	case *ortgo.Scalar[int16]:
		return onnx.Int16, bytesOf([]int16{v.GetData()}), true
	case *ortgo.Scalar[int32]:
		return onnx.Int32, bytesOf([]int32{v.GetData()}), true
	case *ortgo.Scalar[int64]:
		return onnx.Int64, bytesOf([]int64{v.GetData()}), true
	case *ortgo.Scalar[uint8]:
		return onnx.Uint8, bytesOf([]uint8{v.GetData()}), true
	case *ortgo.Scalar[uint16]:
		return onnx.Uint16, bytesOf([]uint16{v.GetData()}), true
	case *ortgo.Scalar[uint32]:
		return onnx.Uint32, bytesOf([]uint32{v.GetData()}), true
	case *ortgo.Scalar[uint64]:
		return onnx.Uint64, bytesOf([]uint64{v.GetData()}), true
	}
	return 0, nil, false
}

// bytesOf copies the bytes of a slice.
func bytesOf[T any](data []T) []byte {
	if len(data) == 0 {
		return nil
	}
	n := len(data) * int(unsafe.Sizeof(data[0]))
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), n)...)
}
