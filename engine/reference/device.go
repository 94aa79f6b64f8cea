// Package reference is the plain Go device: the oracle that the other devices are compared with, and what netmend trains on when it was
// built without cgo.
//
// It is written to be read. Every operation is the formula of package engine's page; one file holds one family of them. Elements are
// float32 ([New]) or float64 ([NewFloat64]), but everything that adds up – matrix products, convolutions, means, statistics – and every
// transcendental function is computed in float64 and rounded once at the end: products of two float32 are exact in float64, so the
// oracle's own error is half a unit in the last place and does not grow with the length of a sum, and scalar float64 arithmetic costs Go
// no more than float32. Sums run in an order that depends on the shapes alone: the bits do not depend on the number of goroutines.
package reference

import (
	"fmt"
	"math"
	"runtime"

	"netmend/engine"
)

// element is the type of a Float tensor's elements.
type element interface{ float32 | float64 }

type device[T element] struct{}

// New is a device with float32 elements.
func New() engine.Device { return device[float32]{} }

// NewFloat64 is a device with float64 elements: for oracles and for checking gradients.
func NewFloat64() engine.Device { return device[float64]{} }

func (device[T]) Name() string {
	double := ""
	if _, ok := any(T(0)).(float64); ok {
		double = "float64, "
	}
	return fmt.Sprintf("reference (Go, %s%d goroutines)", double, runtime.GOMAXPROCS(0))
}

// maxSpatial is the largest number of spatial axes of a convolution or pool.
const maxSpatial = 3

// Supports refuses windows of more than three spatial axes and gradients of functions that have none.
func (device[T]) Supports(p *engine.Program, op *engine.Op) error {
	switch {
	case op.Window != nil && len(op.Window.Kernel) > maxSpatial:
		return fmt.Errorf("reference: %s %q: %d spatial axes, at most %d are supported", op.Kind, op.Label, len(op.Window.Kernel), maxSpatial)
	case op.Kind == engine.UnaryGrad && (!op.Fn.Unary() || !op.Fn.Differentiable()):
		return fmt.Errorf("reference: %s %q: %s has no gradient", op.Kind, op.Label, op.Fn)
	}
	return nil
}

// Compile checks the program, plans its memory and binds every operation to its buffers.
func (d device[T]) Compile(p *engine.Program) (engine.Executable, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	e := &executable[T]{p: p}
	if err := e.plan(); err != nil {
		return nil, err
	}
	for _, f := range p.Funcs {
		kernels := make([]kernel, 0, len(f.Ops))
		for i := range f.Ops {
			op := &f.Ops[i]
			if err := d.Supports(p, op); err != nil {
				return nil, err
			}
			if k := e.bind(op); k != nil {
				kernels = append(kernels, k)
			}
		}
		e.funcs = append(e.funcs, function{kernels: kernels, feeds: p.Feeds(f)})
	}
	return e, nil
}

func (device[T]) Close() error { return nil }

// kernel runs one operation of one step.
type kernel func(s *step)

// step is what differs between two steps of a function.
type step struct {
	rows         []int32 // of the data set, for Batch
	seed, number uint64  // for the random numbers
}

// bind makes the kernel of an operation; nil when there is nothing to do.
func (e *executable[T]) bind(op *engine.Op) kernel {
	switch op.Kind {
	case engine.Batch:
		return e.batch(op)
	case engine.Unary:
		return e.unary(op)
	case engine.UnaryGrad:
		return e.unaryGrad(op)
	case engine.Binary:
		return e.binary(op)
	case engine.Where:
		return e.where(op)
	case engine.Reduce:
		return e.reduce(op)
	case engine.ArgMax:
		return e.argMax(op)
	case engine.Moments:
		return e.moments(op)
	case engine.MatMul:
		return e.matMul(op)
	case engine.Conv:
		return e.conv(op)
	case engine.ConvDX:
		return e.convDX(op)
	case engine.ConvDW:
		return e.convDW(op)
	case engine.MaxPool:
		return e.maxPool(op)
	case engine.MaxPoolGrad:
		return e.maxPoolGrad(op)
	case engine.AvgPool:
		return e.avgPool(op)
	case engine.AvgPoolGrad:
		return e.avgPoolGrad(op)
	case engine.BatchNorm:
		return e.batchNorm(op)
	case engine.BatchNormGrad:
		return e.batchNormGrad(op)
	case engine.BatchNormInfer:
		return e.batchNormInfer(op)
	case engine.Softmax, engine.LogSoftmax:
		return e.softmax(op)
	case engine.SoftmaxGrad, engine.LogSoftmaxGrad:
		return e.softmaxGrad(op)
	case engine.Dropout:
		return e.dropout(op)
	case engine.Lerp:
		return e.lerp(op)
	case engine.Update:
		return e.update(op)
	case engine.Cast:
		return e.cast(op)
	case engine.OneHot:
		return e.oneHot(op)
	case engine.Recurrent:
		return e.recurrent(op)
	case engine.RecurrentGrad:
		return e.recurrentGrad(op)
	}
	in, out := op.In[0], op.Out[0]
	isInt := e.p.Tensors[out].Type == engine.Int
	switch {
	case op.Kind == engine.GatherGrad:
		return e.gatherGrad(op)
	case op.Kind == engine.Gather && isInt:
		return gather(e.p, op, e.ints[out], e.ints[in], e.ints[op.In[1]], -1)
	case op.Kind == engine.Gather:
		return gather(e.p, op, e.floats[out], e.floats[in], e.ints[op.In[1]], T(math.NaN()))
	case isInt:
		return move(e.p, op, e.ints)
	}
	return move(e.p, op, e.floats)
}
