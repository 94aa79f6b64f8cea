package reference

import (
	"context"
	"fmt"

	"netmend/engine"
)

// executable is a compiled program: the buffers of all tensors and the kernels of all functions.
type executable[T element] struct {
	p      *engine.Program
	floats [][]T     // by TensorID; nil for Int tensors
	ints   [][]int32 // by TensorID; nil for Float tensors
	funcs  []function
}

type function struct {
	kernels []kernel
	feeds   []engine.TensorID // Feed tensors that it reads
}

func (e *executable[T]) Close() error { return nil }

// tensor finds a tensor of one of the roles that the host may touch, for a message that begins with verb.
func (e *executable[T]) tensor(verb string, id engine.TensorID, n int, isInt bool, roles ...engine.Role) (*engine.Tensor, error) {
	if id < 0 || int(id) >= len(e.p.Tensors) {
		return nil, fmt.Errorf("reference: %s: the program has no tensor %d", verb, id)
	}
	t := &e.p.Tensors[id]
	allowed := false
	for _, r := range roles {
		allowed = allowed || t.Role == r
	}
	switch {
	case !allowed:
		return nil, fmt.Errorf("reference: %s %q: a %v tensor, wants one of %v", verb, t.Name, t.Role, roles)
	case isInt != (t.Type == engine.Int):
		return nil, fmt.Errorf("reference: %s %q: the tensor is %v, wants []int32 for int and []float32 or []float64 for float", verb, t.Name, t.Type)
	case n != t.Len():
		return nil, fmt.Errorf("reference: %s %q: %d values for shape %v, wants %d", verb, t.Name, n, t.Shape, t.Len())
	}
	return t, nil
}

// Load copies values into a State or Data tensor.
func (e *executable[T]) Load(id engine.TensorID, values any) error {
	var n int
	var isInt bool
	switch v := values.(type) {
	case []float32:
		n = len(v)
	case []float64:
		n = len(v)
	case []int32:
		n, isInt = len(v), true
	default:
		return fmt.Errorf("reference: load tensor %d: values of type %T, wants []float32, []float64 or []int32", id, values)
	}
	if _, err := e.tensor("load", id, n, isInt, engine.State, engine.Data); err != nil {
		return err
	}
	switch v := values.(type) {
	case []float32:
		convert(e.floats[id], v)
	case []float64:
		convert(e.floats[id], v)
	case []int32:
		copy(e.ints[id], v)
	}
	return nil
}

// Fetch copies a State tensor out.
func (e *executable[T]) Fetch(id engine.TensorID, values any) error {
	switch v := values.(type) {
	case []float32:
		if _, err := e.tensor("fetch", id, len(v), false, engine.State); err != nil {
			return err
		}
		convert(v, e.floats[id])
	case []float64:
		if _, err := e.tensor("fetch", id, len(v), false, engine.State); err != nil {
			return err
		}
		convert(v, e.floats[id])
	case []int32:
		if _, err := e.tensor("fetch", id, len(v), true, engine.State); err != nil {
			return err
		}
		copy(v, e.ints[id])
	default:
		return fmt.Errorf("reference: fetch tensor %d: values of type %T, wants []float32, []float64 or []int32", id, values)
	}
	return nil
}

func convert[A, B int32 | float32 | float64](dst []A, src []B) {
	for i, v := range src {
		dst[i] = A(v)
	}
}

// Run executes the steps of a schedule.
func (e *executable[T]) Run(ctx context.Context, s engine.Schedule) (*engine.Result, error) {
	n, err := e.p.Steps(&s)
	if err != nil {
		return nil, err
	}
	f, fn := e.p.Funcs[s.Func], &e.funcs[s.Func]
	res := &engine.Result{Outputs: make([][]float64, len(f.Outputs))}
	for k, id := range f.Outputs {
		res.Outputs[k] = make([]float64, 0, n*e.p.Tensors[id].Len())
	}
	st := &step{seed: s.Seed}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		st.number = s.FirstStep + uint64(i)
		st.rows = s.Rows[i*f.Batch : (i+1)*f.Batch]
		for _, id := range fn.feeds {
			size := e.p.Tensors[id].Len()
			v := s.Feeds[id][i*size : (i+1)*size]
			if e.floats[id] != nil {
				convert(e.floats[id], v)
			} else {
				convert(e.ints[id], v)
			}
		}
		for _, k := range fn.kernels {
			k(st)
		}
		for k, id := range f.Outputs {
			for _, v := range e.floats[id] {
				res.Outputs[k] = append(res.Outputs[k], float64(v))
			}
			for _, v := range e.ints[id] {
				res.Outputs[k] = append(res.Outputs[k], float64(v))
			}
		}
		res.Steps++
	}
	return res, nil
}
