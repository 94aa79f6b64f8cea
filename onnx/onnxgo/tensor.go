package onnxgo

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"netmend/onnx"
)

// elemTypes are ONNX's element types for gorgonia's.
var elemTypes = map[tensor.Dtype]onnx.DataType{tensor.Float32: onnx.Float32, tensor.Float64: onnx.Float64, tensor.Int64: onnx.Int64,
	tensor.Int32: onnx.Int32, tensor.Int16: onnx.Int16, tensor.Int8: onnx.Int8, tensor.Uint8: onnx.Uint8, tensor.Uint16: onnx.Uint16,
	tensor.Uint32: onnx.Uint32, tensor.Uint64: onnx.Uint64, tensor.Bool: onnx.Bool, tensor.String: onnx.StringType,
	tensor.Complex64: onnx.Complex64, tensor.Complex128: onnx.Complex128, tensor.Int: onnx.Int64}

func elemOf(t tensor.Dtype) onnx.DataType { return elemTypes[t] }

// fromTensor copies a gorgonia tensor. Views and transposed tensors are read in the order of their elements, not of their memory.
func fromTensor(name string, t tensor.Tensor) (*onnx.Tensor, error) {
	dims, n := make([]int64, t.Dims()), 1
	for i, d := range t.Shape() {
		dims[i] = int64(d)
		n *= d
	}
	if d, ok := t.(tensor.View); ok && (t.RequiresIterator() || d.IsMaterializable()) {
		t = d.Materialize()
	}
	if t.DataOrder().IsColMajor() {
		return nil, fmt.Errorf("a column-major tensor is not supported")
	}
	var out *onnx.Tensor
	have := n
	switch v := t.Data().(type) {
	case []float32:
		out, have = onnx.NewFloat32(name, dims, v), len(v)
	case []float64:
		out, have = onnx.NewFloat64(name, dims, v), len(v)
	case []int64:
		out, have = onnx.NewInt64(name, dims, v), len(v)
	case []int32:
		out, have = onnx.NewInt32(name, dims, v), len(v)
	case []int:
		out, have = onnx.NewInt64(name, dims, integers(v)), len(v)
	case []bool:
		out, have = onnx.NewBool(name, dims, v), len(v)
	case []uint8:
		out, have = onnx.NewRaw(name, onnx.Uint8, dims, append([]byte(nil), v...)), len(v)
	case float32:
		out = onnx.NewFloat32(name, dims, []float32{v})
	case float64:
		out = onnx.NewFloat64(name, dims, []float64{v})
	case int64:
		out = onnx.NewInt64(name, dims, []int64{v})
	case int32:
		out = onnx.NewInt32(name, dims, []int32{v})
	case int:
		out = onnx.NewInt64(name, dims, []int64{int64(v)})
	case bool:
		out = onnx.NewBool(name, dims, []bool{v})
	case uint8:
		out = onnx.NewRaw(name, onnx.Uint8, dims, []byte{v})
	default:
		return nil, fmt.Errorf("element type %s is not supported", t.Dtype())
	}
	if have != n {
		return nil, fmt.Errorf("%d elements for shape %v", have, t.Shape())
	}
	return out, nil
}

func integers[T int | int64 | float64](in []T) []int64 {
	out := make([]int64, len(in))
	for i, v := range in {
		out[i] = int64(v)
	}
	return out
}

// toTensor makes a gorgonia tensor of what a device gave, with the element type that the model declares; float32 where it declares none.
func toTensor(elem onnx.DataType, shape []int, values []float64) (tensor.Tensor, error) {
	switch elem {
	case onnx.Float64:
		return dense(shape, append([]float64(nil), values...)), nil
	case onnx.Float32, onnx.Undefined:
		return dense(shape, convert[float32](values)), nil
	case onnx.Int64:
		return dense(shape, integers(values)), nil
	case onnx.Int32:
		return dense(shape, convert[int32](values)), nil
	case onnx.Int16:
		return dense(shape, convert[int16](values)), nil
	case onnx.Int8:
		return dense(shape, convert[int8](values)), nil
	case onnx.Uint8:
		return dense(shape, convert[uint8](values)), nil
	case onnx.Uint16:
		return dense(shape, convert[uint16](values)), nil
	case onnx.Uint32:
		return dense(shape, convert[uint32](values)), nil
	case onnx.Uint64:
		return dense(shape, convert[uint64](values)), nil
	case onnx.Bool:
		out := make([]bool, len(values))
		for i, v := range values {
			out[i] = v != 0 && !math.IsNaN(v)
		}
		return dense(shape, out), nil
	}
	return nil, fmt.Errorf("element type %s is not supported", elem)
}

func convert[T float32 | int32 | int16 | int8 | uint8 | uint16 | uint32 | uint64](in []float64) []T {
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = T(v)
	}
	return out
}

// dense makes a tensor; one element of no dimension is gorgonia's scalar.
func dense[T any](shape []int, values []T) tensor.Tensor {
	if len(shape) == 0 && len(values) == 1 {
		return tensor.New(tensor.FromScalar(values[0]))
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(values))
}
