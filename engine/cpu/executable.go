//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"netmend/engine"
)

type executable struct {
	p         *engine.Program
	plan      *C.nm_plan // nil once closed
	permanent []*buffer
	lastData  []bool
	funcs     []function
	stop      *int32 // in C memory: the plan looks at it before every step
}

type function struct {
	feeds     []engine.TensorID // Feed tensors that it reads
	fed, read int               // values per step, of all feeds and of all outputs
}

func (e *executable) Close() error {
	if e.plan != nil {
		C.nm_free(e.plan)
		e.plan = nil
	}
	return nil
}

// host finds a tensor that the host may touch, see engine.Program.Transfer.
func (e *executable) host(verb string, id engine.TensorID, values any, roles ...engine.Role) (*engine.Tensor, error) {
	if e.plan == nil {
		return nil, fmt.Errorf("cpu: %s: the executable is closed", verb)
	}
	return e.p.Transfer(verb, id, values, roles...)
}

// Load copies values into a State or Data tensor.
func (e *executable) Load(id engine.TensorID, values any) error {
	t, err := e.host("load", id, values, engine.State, engine.Data)
	if err != nil {
		return err
	}
	n := t.Len()
	at := e.permanent[id].at
	switch v := values.(type) {
	case []float32:
		load(unsafe.Slice((*float32)(at), n), v, t.Shape, e.lastData[id])
	case []float64:
		load(unsafe.Slice((*float32)(at), n), v, t.Shape, e.lastData[id])
	case []int32:
		copy(unsafe.Slice((*int32)(at), n), v)
	}
	return nil
}

// load converts to the device's type, and to channels-last.
func load[E float32 | float64](to []float32, from []E, shape []int, last bool) {
	if !last || len(from) == 0 {
		for i, v := range from {
			to[i] = float32(v)
		}
		return
	}
	channels, places := shape[1], engine.Len(shape[2:])
	for row := range shape[0] {
		x, y := from[row*channels*places:], to[row*channels*places:]
		for c := range channels {
			for i := range places {
				y[i*channels+c] = float32(x[c*places+i])
			}
		}
	}
}

// Fetch copies a State tensor out.
func (e *executable) Fetch(id engine.TensorID, values any) error {
	t, err := e.host("fetch", id, values, engine.State)
	if err != nil {
		return err
	}
	n, at := t.Len(), e.permanent[id].at
	switch v := values.(type) {
	case []float32:
		copy(v, unsafe.Slice((*float32)(at), n))
	case []float64:
		for i, x := range unsafe.Slice((*float32)(at), n) {
			v[i] = float64(x)
		}
	case []int32:
		copy(v, unsafe.Slice((*int32)(at), n))
	}
	return nil
}

// chunkValues bounds the feeds and outputs that one call to the plan carries: 8 MiB.
const chunkValues = 1 << 20

// Run executes the steps of a schedule.
func (e *executable) Run(ctx context.Context, s engine.Schedule) (*engine.Result, error) {
	if e.plan == nil {
		return nil, errors.New("cpu: run: the executable is closed")
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
	atomic.StoreInt32(e.stop, 0)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(ended); atomic.StoreInt32(e.stop, 1) })
	defer func() {
		if !stop() {
			<-ended
		}
	}()
	chunk := max(1, chunkValues/max(1, fn.fed+fn.read))
	feeds, outputs := make([]float64, 0, min(chunk, n)*fn.fed), make([]float64, min(chunk, n)*fn.read)
	for res.Steps < n {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		todo := min(chunk, n-res.Steps)
		feeds = e.gatherFeeds(feeds[:0], &s, fn, res.Steps, todo)
		done := int(C.nm_run(e.plan, C.int(s.Func), C.int64_t(todo), (*C.int32_t)(unsafe.SliceData(s.Rows[res.Steps*f.Batch:])),
			(*C.double)(unsafe.SliceData(feeds)), (*C.double)(unsafe.SliceData(outputs)), C.uint64_t(s.Seed),
			C.uint64_t(s.FirstStep+uint64(res.Steps)), (*C.int32_t)(unsafe.Pointer(e.stop))))
		e.scatter(res, f, outputs, done)
		res.Steps += done
	}
	return res, nil
}

// gatherFeeds lays the feeds of so many steps out as the plan reads them: step by step.
func (e *executable) gatherFeeds(to []float64, s *engine.Schedule, fn *function, first, steps int) []float64 {
	for i := first; i < first+steps; i++ {
		for _, id := range fn.feeds {
			n := e.p.Tensors[id].Len()
			to = append(to, s.Feeds[id][i*n:(i+1)*n]...)
		}
	}
	return to
}

// scatter appends the outputs of so many steps to the result.
func (e *executable) scatter(res *engine.Result, f *engine.Func, from []float64, steps int) {
	for range steps {
		for k, id := range f.Outputs {
			n := e.p.Tensors[id].Len()
			res.Outputs[k] = append(res.Outputs[k], from[:n]...)
			from = from[n:]
		}
	}
}
