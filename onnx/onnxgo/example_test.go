package onnxgo_test

import (
	"context"
	"fmt"
	"log"

	onnxgo "github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/onnx"
	backend "netmend/onnx/onnxgo"
	"netmend/train"
)

// linear is the serialized model y = x·w + b with w = 0 and b = 0.
func linear() []byte {
	m := &onnx.Model{IRVersion: 8, Graph: &onnx.Graph{Name: "linear",
		Nodes:        []*onnx.Node{onnx.NewNode("Gemm", "fc", []string{"x", "w", "b"}, []string{"y"})},
		Inputs:       []onnx.Value{onnx.NewValue("x", onnx.Float32, "N", 1)},
		Outputs:      []onnx.Value{onnx.NewValue("y", onnx.Float32, "N", 1)},
		Initializers: []*onnx.Tensor{onnx.NewFloat32("w", []int64{1, 1}, []float32{0}), onnx.NewFloat32("b", []int64{1}, []float32{0})}}}
	m.SetOpset("", 13)
	raw, err := m.Encode()
	if err != nil {
		log.Fatal(err)
	}
	return raw
}

// A model is decoded by onnx-go, trained to y = 2x + 1 and run, all on one device.
func Example() {
	raw := linear()
	opset, err := backend.Opset(raw)
	if err != nil {
		log.Fatal(err)
	}
	b := backend.New(reference.New(), opset)
	m := onnxgo.NewModel(b)
	if err := m.UnmarshalBinary(raw); err != nil {
		log.Fatal(err)
	}

	recipe, err := train.ParseRecipe([]byte(`
semantics: pytorch
task: regression
loss: {name: mean_squared_error}
optimizer: {name: sgd, learning_rate: 0.1}
initializers: {w: {name: zeros}, b: {name: zeros}}
batch_size: 4
epochs: 200
metric: mean_squared_error
`))
	if err != nil {
		log.Fatal(err)
	}
	set := data.Set{
		Inputs:  []data.Array{{Name: "x", Shape: []int{4, 1}, Float: []float32{-1, 0, 1, 2}}},
		Targets: []data.Array{{Name: "y", Shape: []int{4, 1}, Float: []float32{-1, 1, 3, 5}}},
	}
	outcome, err := b.Train(context.Background(), m, recipe, data.Splits{Set: set, Train: []int32{0, 1, 2, 3}})
	if err != nil {
		log.Fatal(err)
	}

	if err := m.SetInput(0, tensor.New(tensor.WithShape(1, 1), tensor.WithBacking([]float32{10}))); err != nil {
		log.Fatal(err)
	}
	if err := b.Run(); err != nil {
		log.Fatal(err)
	}
	y, err := m.GetOutputTensors()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: y(10) = %.2f\n", outcome, y[0].Data())
	// Output: completed: y(10) = [21.00]
}
