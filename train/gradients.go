package train

import (
	"context"
	"errors"
	"fmt"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
)

// Gradient is the derivative of a batch's loss by one trained weight.
type Gradient struct {
	Name   string // of the initializer
	Shape  []int
	Values []float32 // row-major; nil where the loss does not depend on the weight
}

// Gradients is the first training step of a recipe on a device, without its update and before any clipping: the loss of the given rows in
// training form, with regularisers, and its gradient by every trained weight in the order of the graph's initializers.
func Gradients(ctx context.Context, dev engine.Device, m *onnx.Model, r Recipe, d data.Splits, rows []int32) (float64, []Gradient, error) {
	if err := r.Check(); err != nil {
		return 0, nil, fmt.Errorf("train: recipe: %w", err)
	}
	if len(rows) == 0 {
		return 0, nil, errors.New("train: no rows to differentiate the loss of")
	}
	d.Train, r.BatchSize = rows, len(rows)
	p, err := newPlan(m, r, d, Options{})
	if err != nil {
		return 0, nil, err
	}
	f, grads, err := p.addGradients(m, r)
	if err != nil {
		return 0, nil, err
	}
	exec, err := dev.Compile(p.prog)
	if err != nil {
		return 0, nil, fmt.Errorf("train: device %s: %w", dev.Name(), err)
	}
	defer exec.Close()
	if err := p.load(exec); err != nil {
		return 0, nil, err
	}
	res, err := exec.Run(ctx, engine.Schedule{Func: f, Rows: rows, Seed: r.Seed})
	if err != nil {
		return 0, nil, fmt.Errorf("train: %w", err)
	}
	next := 1
	for i := range grads {
		if grads[i].Values == nil {
			continue
		}
		for k, v := range res.Outputs[next] {
			grads[i].Values[k] = float32(v)
		}
		next++
	}
	return res.Outputs[0][0], grads, nil
}

// addGradients adds a function that gives the loss and, after it, every gradient that there is; grads tells their names and shapes.
func (p *plan) addGradients(m *onnx.Model, r Recipe) (f int, grads []Gradient, err error) {
	b := p.prog.NewFunc("gradients", p.batch)
	low, err := p.lower(b, m, r, true)
	if err != nil {
		return 0, nil, err
	}
	loss, objective := p.objective(b, low, r)
	b.Output(loss)
	ids := p.gradients(b, objective, GradientClip{}, r.Semantics)
	for _, x := range p.params {
		if !x.Trained {
			continue
		}
		g := Gradient{Name: x.Name, Shape: x.Shape}
		if id := ids[len(grads)]; id != engine.None {
			b.Output(id)
			g.Values = make([]float32, engine.Len(x.Shape))
		}
		grads = append(grads, g)
	}
	if b.Err() != nil {
		return 0, nil, fmt.Errorf("train: gradients: %w", b.Err())
	}
	return len(p.prog.Funcs) - 1, grads, nil
}
