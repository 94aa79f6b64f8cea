package main

import (
	"fmt"

	"netmend/data"
	"netmend/onnx"
	"netmend/onnx/ort"
	"netmend/repair/smoke"
)

// openOracle gives ONNX Runtime as an oracle; nil where its library is not on this machine.
func openOracle() smoke.Oracle {
	if err := ort.Open(""); err != nil {
		return nil
	}
	return runOracle
}

// runOracle runs a model through ONNX Runtime.
func runOracle(m *onnx.Model, inputs map[string]data.Array) (map[string]data.Array, error) {
	s, err := ort.NewSession(m)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	feeds := make(map[string]*onnx.Tensor)
	for _, v := range s.Inputs {
		a, ok := inputs[v.Name]
		if !ok {
			return nil, fmt.Errorf("input %q is not given", v.Name)
		}
		if feeds[v.Name], err = tensorOf(a, v.Type.Elem); err != nil {
			return nil, err
		}
	}
	outs, err := s.Run(feeds)
	if err != nil {
		return nil, err
	}
	result := make(map[string]data.Array)
	for name, t := range outs {
		a := data.Array{Name: name, Shape: intsOf(t.Dims)}
		if a.Float, err = t.Float32s(); err != nil {
			ints, intErr := t.Int64s()
			if intErr != nil {
				return nil, err
			}
			a.Float = make([]float32, len(ints))
			for i, v := range ints {
				a.Float[i] = float32(v)
			}
		}
		result[name] = a
	}
	return result, nil
}

// tensorOf is an array as a tensor of an element type.
func tensorOf(a data.Array, elem onnx.DataType) (*onnx.Tensor, error) {
	dims := make([]int64, len(a.Shape))
	for i, d := range a.Shape {
		dims[i] = int64(d)
	}
	switch elem {
	case onnx.Float32:
		return onnx.NewFloat32(a.Name, dims, a.AsFloat().Float), nil
	case onnx.Float64:
		f := a.AsFloat().Float
		v := make([]float64, len(f))
		for i, x := range f {
			v[i] = float64(x)
		}
		return onnx.NewFloat64(a.Name, dims, v), nil
	case onnx.Int64, onnx.Int32:
		ia, err := a.AsInt()
		if err != nil {
			return nil, err
		}
		if elem == onnx.Int32 {
			return onnx.NewInt32(a.Name, dims, ia.Int), nil
		}
		v := make([]int64, len(ia.Int))
		for i, x := range ia.Int {
			v[i] = int64(x)
		}
		return onnx.NewInt64(a.Name, dims, v), nil
	}
	return nil, fmt.Errorf("input %q: ONNX Runtime is not fed %s from here", a.Name, elem)
}

func intsOf(dims []int64) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = int(d)
	}
	return out
}
