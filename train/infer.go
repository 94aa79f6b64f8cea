package train

import (
	"context"
	"fmt"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
	"netmend/train/lower"
)

// Infer runs a model once in inference form on a device, with the weights that it holds. inputs are the graph's data inputs by name, in
// whole: the first axis of the first one is the batch, whatever size the model was exported with. It returns every output in row-major
// order.
func Infer(ctx context.Context, dev engine.Device, m *onnx.Model, inputs map[string]data.Array) (map[string]data.Array, error) {
	if err := lower.Check(m); err != nil {
		return nil, err
	}
	p := engine.NewProgram(0)
	ids, batch := make(map[string]engine.TensorID), 0
	b := p.NewFunc("infer", 0)
	for i, v := range m.Graph.DataInputs() {
		a, ok := inputs[v.Name]
		if !ok {
			return nil, fmt.Errorf("train: graph input %q is not given", v.Name)
		}
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("train: graph input %q: %w", v.Name, err)
		}
		if i == 0 && len(a.Shape) > 0 {
			batch = a.Shape[0]
		}
		ids[v.Name] = p.NewState(v.Name, a.Shape)
		if isIntegerType(v.Type.Elem) {
			ids[v.Name] = b.Cast(ids[v.Name], engine.Int)
		}
	}
	low, err := lower.Lower(b, m, ids, nil, lower.Options{Batch: batch})
	if err != nil {
		return nil, err
	}
	for i := range m.Graph.Outputs {
		b.Output(low.Outputs[m.Graph.Outputs[i].Name])
	}
	exec, err := dev.Compile(p)
	if err != nil {
		return nil, fmt.Errorf("train: device %s: %w", dev.Name(), err)
	}
	defer exec.Close()
	for name, a := range inputs {
		if id := p.Find(name); id != engine.None {
			if err := exec.Load(id, a.AsFloat().Float); err != nil {
				return nil, fmt.Errorf("train: graph input %q: %w", name, err)
			}
		}
	}
	res, err := exec.Run(ctx, engine.Schedule{Func: 0, Steps: 1})
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	out := make(map[string]data.Array)
	for i := range m.Graph.Outputs {
		name := m.Graph.Outputs[i].Name
		a := data.Array{Name: name, Shape: b.Shape(low.Outputs[name]), Float: make([]float32, len(res.Outputs[i]))}
		for k, x := range res.Outputs[i] {
			a.Float[k] = float32(x)
		}
		out[name] = a
	}
	return out, nil
}
