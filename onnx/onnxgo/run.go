package onnxgo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	onnxgo "github.com/owulveryck/onnx-go"

	"netmend/engine"
	"netmend/onnx"
	"netmend/train/lower"
)

// Run computes the outputs from the tensors that the inputs have, in inference form. An operator or a use of one that has no lowering gives
// onnx-go's *ErrNotImplemented. The graph is compiled anew by every call.
func (b *Backend) Run() error { return b.RunContext(context.Background()) }

// RunContext is [Backend.Run] that ends when ctx does.
func (b *Backend) RunContext(ctx context.Context) error {
	m, err := b.Model()
	if err != nil {
		return err
	}
	if p := lower.Problems(m); len(p) > 0 {
		return &onnxgo.ErrNotImplemented{Operator: p[0].Op, Message: p[0].Error()}
	}
	fed := make(map[string]*onnx.Tensor)
	inputs, _ := b.inputs()
	for _, v := range inputs {
		t, err := fromTensor(v.name, v.tensor)
		if err != nil {
			return fmt.Errorf("onnxgo: graph input %q: %w", v.name, err)
		}
		fed[v.name] = t
	}
	// What a lowering must know on the host (shapes, axes, limits of Clip) is fed as a constant, where the model has it as an input: first
	// none, then short lists of integers, then all integers and single floats, last everything.
	for _, constant := range constants {
		err = b.run(ctx, m, fed, constant)
		var refused *refusal
		if !errors.As(err, &refused) {
			return err
		}
	}
	return &onnxgo.ErrNotImplemented{Operator: refusedOp(err), Message: err.Error()}
}

var constants = []func(*onnx.Tensor) bool{
	func(*onnx.Tensor) bool { return false },
	func(t *onnx.Tensor) bool { return !t.Type.IsFloat() && len(t.Dims) <= 1 },
	func(t *onnx.Tensor) bool {
		n, _ := t.NumElements()
		return !t.Type.IsFloat() || n == 1 && len(t.Dims) < 2
	},
	func(*onnx.Tensor) bool { return true },
}

// refusal is an error of the lowering: nothing has run.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// refusedOp is the operator that an error of the lowering names ("train: node %q: op %s: …"), or "(graph)".
func refusedOp(err error) string {
	_, rest, ok := strings.Cut(err.Error(), ": op ")
	if !ok {
		return "(graph)"
	}
	op, _, _ := strings.Cut(rest, ":")
	return op
}

// run lowers, compiles and runs the model once; inputs that constant accepts become initializers.
func (b *Backend) run(ctx context.Context, m *onnx.Model, fed map[string]*onnx.Tensor, constant func(*onnx.Tensor) bool) error {
	m = m.Clone()
	p := engine.NewProgram(1)
	f := p.NewFunc("infer", 1)
	ids, load := make(map[string]engine.TensorID), make(map[engine.TensorID]any)
	for _, t := range fed {
		if constant(t) {
			m.Graph.SetInitializer(t)
			continue
		}
		if err := feed(p, f, t, ids, load); err != nil {
			return &refusal{err}
		}
	}
	low, err := lower.Lower(f, m, ids, nil, lower.Options{})
	if err != nil {
		return &refusal{err}
	}
	for _, v := range m.Graph.Outputs {
		f.Output(low.Outputs[v.Name])
	}
	exec, err := b.device.Compile(p)
	if err != nil {
		return fmt.Errorf("onnxgo: device %s: %w", b.device.Name(), err)
	}
	defer exec.Close()
	for id, v := range load {
		if err := exec.Load(id, v); err != nil {
			return fmt.Errorf("onnxgo: %w", err)
		}
	}
	res, err := exec.Run(ctx, engine.Schedule{Rows: []int32{0}, Steps: 1})
	if err != nil {
		return fmt.Errorf("onnxgo: device %s: %w", b.device.Name(), err)
	}
	for i, v := range m.Graph.Outputs {
		t, err := toTensor(v.Type.Elem, f.Shape(low.Outputs[v.Name]), res.Outputs[i])
		if err != nil {
			return &refusal{fmt.Errorf("onnxgo: graph output %q: %w", v.Name, err)}
		}
		b.byName[v.Name].tensor = t
	}
	return nil
}

// feed makes an input a tensor of the program: floats and booleans as state, integers as the only row of a data set, which holds them
// exactly.
func feed(p *engine.Program, f *engine.Builder, t *onnx.Tensor, ids map[string]engine.TensorID, load map[engine.TensorID]any) error {
	shape := make([]int, len(t.Dims))
	for i, d := range t.Dims {
		shape[i] = int(d)
	}
	if t.Type.IsFloat() {
		v, err := t.Float64s()
		if err != nil {
			return err
		}
		ids[t.Name] = p.NewState(t.Name, shape)
		load[ids[t.Name]] = v
		return nil
	}
	v, err := t.Int64s()
	if err != nil {
		return err
	}
	if t.Type == onnx.Bool {
		x := make([]float64, len(v))
		for i := range v {
			x[i] = float64(v[i])
		}
		ids[t.Name] = p.NewState(t.Name, shape)
		load[ids[t.Name]] = x
		return nil
	}
	row := make([]int32, len(v))
	for i := range v {
		if row[i] = int32(v[i]); int64(row[i]) != v[i] {
			return fmt.Errorf("onnxgo: graph input %q: %d is beyond int32", t.Name, v[i])
		}
	}
	column := p.NewData(t.Name, engine.Int, shape)
	load[column] = row
	ids[t.Name] = f.Reshape(f.Batch(column), shape)
	return nil
}
