package reference

import (
	"context"
	"errors"
	"fmt"

	"netmend/engine"
)

// executable is a compiled program: the buffers of all tensors and the kernels of all functions.
type executable[T element] struct {
	p      *engine.Program
	floats [][]T     // by TensorID; nil for Int tensors
	ints   [][]int32 // by TensorID; nil for Float tensors
	funcs  []function
	closed bool
}

type function struct {
	kernels []kernel
	feeds   []engine.TensorID // Feed tensors that it reads
}

// Close makes the executable refuse all that follows.
func (e *executable[T]) Close() error {
	e.closed = true
	return nil
}

// host finds a tensor that the host may touch, see engine.Program.Transfer.
func (e *executable[T]) host(verb string, id engine.TensorID, values any, roles ...engine.Role) error {
	if e.closed {
		return fmt.Errorf("reference: %s: the executable is closed", verb)
	}
	_, err := e.p.Transfer(verb, id, values, roles...)
	return err
}

// Load copies values into a State or Data tensor.
func (e *executable[T]) Load(id engine.TensorID, values any) error {
	if err := e.host("load", id, values, engine.State, engine.Data); err != nil {
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
	if err := e.host("fetch", id, values, engine.State); err != nil {
		return err
	}
	switch v := values.(type) {
	case []float32:
		convert(v, e.floats[id])
	case []float64:
		convert(v, e.floats[id])
	case []int32:
		copy(v, e.ints[id])
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
	if e.closed {
		return nil, errors.New("reference: run: the executable is closed")
	}
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
