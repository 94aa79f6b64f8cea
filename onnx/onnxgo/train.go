package onnxgo

import (
	"context"
	"fmt"

	onnxgo "github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"netmend/data"
	"netmend/onnx"
	"netmend/train"
)

// Train trains the model that onnx-go decoded into b by a recipe, for its epochs, and puts the trained weights into the initializers' nodes,
// so that the next [Backend.Run] computes with them. m tells which values are the outputs. The inputs of d belong to the model's by name
// and have the layout that the model takes, because onnx-go may have lost a dimension of the model's own shapes. A training that diverges is
// no error: its outcome says so, and the weights stay as they were.
func (b *Backend) Train(ctx context.Context, m *onnxgo.Model, r train.Recipe, d data.Splits) (train.Outcome, error) {
	g, err := b.Model(m.Output...)
	if err != nil {
		return "", err
	}
	names := make([]string, len(g.Graph.Inputs))
	for i := range names {
		names[i] = g.Graph.Inputs[i].Name
	}
	of, err := data.Match(d.Inputs, names)
	if err != nil {
		return "", fmt.Errorf("onnxgo: %w", err)
	}
	for i := range g.Graph.Inputs {
		dims := []onnx.Dim{onnx.SymbolicDim("N")}
		for _, n := range d.Inputs[of[i]].Shape[1:] {
			dims = append(dims, onnx.NewDim(int64(n)))
		}
		t := &g.Graph.Inputs[i].Type
		*t = onnx.TensorType(t.Elem, dims...)
	}
	trainer, err := train.New(g, r, d, train.Options{Device: b.device})
	if err != nil {
		return "", err
	}
	defer trainer.Close()
	outcome, err := trainer.Fit(ctx, r.Epochs)
	if err != nil || outcome == train.Diverged {
		return outcome, err
	}
	trained, err := trainer.Model()
	if err != nil {
		return outcome, err
	}
	return outcome, b.setWeights(trained)
}

// setWeights copies a model's float initializers into the nodes' tensors.
func (b *Backend) setWeights(m *onnx.Model) error {
	_, initializers := b.inputs()
	for _, v := range initializers {
		w := m.Graph.Initializer(v.name)
		if w == nil || !w.Type.IsFloat() {
			continue
		}
		values, err := w.Float64s()
		if err != nil {
			return fmt.Errorf("onnxgo: initializer %q: %w", v.name, err)
		}
		t, err := toTensor(w.Type, append(tensor.Shape(nil), v.tensor.Shape()...), values)
		if err != nil {
			return fmt.Errorf("onnxgo: initializer %q: %w", v.name, err)
		}
		v.tensor = t
	}
	return nil
}
