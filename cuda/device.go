//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"netmend/cuda/cublaslt"
	"netmend/cuda/driver"
	"netmend/cuda/kernels"
	"netmend/engine"
)

type device struct {
	limit     int64
	precision string // "": float32
	name      string
	info      driver.Info
	context   *driver.Context
	modules   []*driver.Module
	kernels   map[string]*driver.Function
	library   *cublaslt.Handle // nil: all products are by our own kernels
	closing   sync.Once
	direct    bool // launch every step anew instead of replaying a graph, for tests
}

// New makes the device. It fails where there is no GPU that can be used; the error says why.
func New(o Options) (engine.Device, error) {
	if o.Index < 0 || o.MemoryLimit < 0 {
		return nil, fmt.Errorf("cuda: device %d, memory limit of %d bytes: neither may be negative", o.Index, o.MemoryLimit)
	}
	if o.Precision != "" && !slices.Contains(Precisions, o.Precision) {
		return nil, fmt.Errorf("cuda: precision %q is not known: one of %v", o.Precision, Precisions)
	}
	lib, err := driver.Open()
	if err != nil {
		return nil, err
	}
	gpu, err := lib.Device(o.Index)
	if err != nil {
		return nil, err
	}
	d := &device{limit: o.MemoryLimit, info: gpu.Info, kernels: make(map[string]*driver.Function)}
	d.name = fmt.Sprintf("cuda:%d (%s, %d.%d, driver %v)", o.Index, gpu.Name, gpu.Compute[0], gpu.Compute[1], gpu.Driver)
	if o.Precision != "float32" {
		d.precision = o.Precision
	}
	if d.precision != "" {
		d.name = fmt.Sprintf("cuda:%d (%s, %d.%d, driver %v, %s)", o.Index, gpu.Name, gpu.Compute[0], gpu.Compute[1], gpu.Driver, o.Precision)
		if target, err := kernels.Target(gpu.Compute); err != nil || target == "ptx" {
			return nil, fmt.Errorf("%s: netmend has no %s kernels for compute capability %d.%d; use float32", d.name, o.Precision, gpu.Compute[0], gpu.Compute[1])
		}
	}
	if gpu.Prohibited {
		return nil, fmt.Errorf("%s: its compute mode allows no program; nvidia-smi --compute-mode=0 changes that", d.name)
	}
	if d.context, err = gpu.Context(); err != nil {
		return nil, d.explain(err)
	}
	if err := d.load(); err != nil {
		return nil, errors.Join(d.explain(err), d.Close())
	}
	if o.CuBLASLt || cublaslt.Asked() {
		if err := d.openLibrary(); err != nil {
			return nil, errors.Join(d.explain(err), d.Close())
		}
	}
	return d, nil
}

// openLibrary opens cuBLASLt, whose version is part of the device's name: it decides on bits.
func (d *device) openLibrary() error {
	lib, err := cublaslt.Open()
	if err != nil {
		return err
	}
	if d.library, err = lib.Handle(d.context); err != nil {
		return err
	}
	d.name = strings.TrimSuffix(d.name, ")") + ", cuBLASLt " + lib.Version() + ")"
	return nil
}

func (d *device) Name() string { return d.name }

// Close frees the kernels. Executables must be closed before.
func (d *device) Close() error {
	var errs []error
	d.closing.Do(func() {
		if d.library != nil {
			errs = append(errs, d.library.Close())
		}
		for _, m := range d.modules {
			errs = append(errs, m.Close())
		}
		errs = append(errs, d.context.Close())
	})
	return errors.Join(errs...)
}

// kernel finds a kernel; that it is there is our own business.
func (d *device) kernel(name string) *driver.Function {
	f := d.kernels[name]
	if f == nil {
		panic("cuda: there is no kernel " + name)
	}
	return f
}

// limitNow is the number of bytes that an executable may take.
func (d *device) limitNow() (int64, error) {
	free, _, err := d.context.Memory()
	if err != nil {
		return 0, err
	}
	if d.limit > 0 {
		free = min(free, d.limit)
	}
	return free, nil
}

// explain adds to an error what callers branch on, and the way out.
func (d *device) explain(err error) error {
	switch {
	case err == nil || errors.Is(err, engine.ErrMemory):
		return err
	case errors.Is(err, driver.ErrOutOfMemory):
		return fmt.Errorf("cuda: %w: %w; a smaller batch needs less", engine.ErrMemory, err)
	case errors.Is(err, driver.ErrLost):
		return fmt.Errorf("%s is lost to this process, and with it all that lay on it; start anew, from the last checkpoint: %w", d.name, err)
	}
	return err
}

// Supports refuses windows of more than three spatial axes, tensors of more than eight axes that are longer than one or of 2³¹ elements and more, gradients
// of functions that have none, and recurrent layers whose states do not fit into a multiprocessor's shared memory.
func (d *device) Supports(p *engine.Program, op *engine.Op) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("cuda: %s %q: %w", op.Kind, op.Label, fmt.Errorf(format, args...))
	}
	if lowerings[op.Kind] == nil {
		return refuse("the operation is not supported")
	}
	if op.Window != nil && len(op.Window.Kernel) > maxSpatial {
		return refuse("%d spatial axes, at most %d are supported", len(op.Window.Kernel), maxSpatial)
	}
	for _, id := range slices.Concat(op.In, op.Out) {
		if id < 0 || int(id) >= len(p.Tensors) {
			continue
		}
		t := &p.Tensors[id]
		axes, elements := 0, 1.0
		for _, n := range t.Shape {
			if elements *= float64(n); n != 1 {
				axes++
			}
		}
		if axes > maxAxes {
			return refuse("a tensor of %d axes, at most %d are supported", axes, maxAxes)
		}
		if t.Role != engine.Data && elements >= 1<<31 {
			return refuse("a tensor of %.3g elements, fewer than 2^31 are supported", elements)
		}
	}
	switch op.Kind {
	case engine.Unary, engine.UnaryGrad:
		if unaryCode[op.Fn] == codeCopy || op.Kind == engine.UnaryGrad && !op.Fn.Differentiable() {
			return refuse("the function %s is not supported", op.Fn)
		}
	case engine.Binary:
		if binaryCode[op.Fn] == codeCopy {
			return refuse("the function %s is not supported", op.Fn)
		}
	case engine.Reduce:
		if _, ok := foldCode[op.Fn]; !ok {
			return refuse("the function %s is not supported", op.Fn)
		}
	case engine.Update:
		if _, ok := ruleCode[op.Rule.Kind]; !ok {
			return refuse("the rule %s is not supported", op.Rule.Kind)
		}
	case engine.Recurrent, engine.RecurrentGrad:
		r := op.In[1]
		if op.Kind == engine.RecurrentGrad {
			r = op.In[3]
		}
		if n := p.Tensors[r].Shape[1]; sharedOfRecurrence(1, n, op.Cell.Kind.Gates()) > d.info.SharedPerBlockOptin {
			return refuse("%d hidden units: their states do not fit into %d KiB of shared memory", n, d.info.SharedPerBlockOptin>>10)
		}
	}
	return nil
}
