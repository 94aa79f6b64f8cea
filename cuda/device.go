//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"netmend/cuda/cublaslt"
	"netmend/cuda/cudnn"
	"netmend/cuda/driver"
	"netmend/cuda/kernels"
	"netmend/engine"
)

type device struct {
	*gpu
	limit     int64
	precision string // "": float32
	name      string
	closing   sync.Once
	direct    bool // launch every step anew instead of replaying a graph, for tests

	library      *cublaslt.Handle // nil: all products are by our own kernels
	convolutions *cudnn.Handle    // nil: all convolutions are
}

// New makes the device. It fails where there is no GPU that can be used; the error says why. Devices on the same GPU share its memory, its kernels and the
// data sets that lie there.
func New(o Options) (engine.Device, error) {
	lib, err := start(o)
	if err != nil {
		return nil, err
	}
	return newDevice(lib, o)
}

// start checks options and opens the driver.
func start(o Options) (*driver.Driver, error) {
	if o.Index < 0 || o.MemoryLimit < 0 {
		return nil, fmt.Errorf("cuda: device %d, memory limit of %d bytes: neither may be negative", o.Index, o.MemoryLimit)
	}
	if o.Precision != "" && !slices.Contains(Precisions, o.Precision) {
		return nil, fmt.Errorf("cuda: precision %q is not known: one of %v", o.Precision, Precisions)
	}
	return driver.Open()
}

func newDevice(lib *driver.Driver, o Options) (*device, error) {
	info, err := lib.Device(o.Index)
	if err != nil {
		return nil, err
	}
	d := &device{limit: o.MemoryLimit}
	if o.Precision != "float32" {
		d.precision = o.Precision
	}
	d.name = fmt.Sprintf("cuda:%d %s", o.Index, modelOf(info.Info, d.precision))
	if d.precision != "" {
		if target, err := kernels.Target(info.Compute); err != nil || target == "ptx" {
			return nil, fmt.Errorf("%s: netmend has no %s kernels for compute capability %d.%d; use float32", d.name, o.Precision, info.Compute[0], info.Compute[1])
		}
	}
	if d.gpu, err = openGPU(lib, o.Index); err != nil {
		if errors.Is(err, driver.ErrLost) || errors.Is(err, driver.ErrOutOfMemory) {
			return nil, d.explain(err)
		}
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	if err := d.openLibraries(o.CuBLASLt || cublaslt.Asked(), o.CuDNN || cudnn.Asked()); err != nil {
		return nil, errors.Join(d.explain(err), d.Close())
	}
	return d, nil
}

// modelOf is the part of a device's name that decides about bits: "(NVIDIA A100-SXM4-40GB, 8.0, 108 multiprocessors, driver 12.4, bf16)".
func modelOf(info driver.Info, precision string) string {
	if precision != "" {
		precision = ", " + precision
	}
	return fmt.Sprintf("(%s, %d.%d, %d multiprocessors, driver %v%s)", info.Name, info.Compute[0], info.Compute[1], info.Multiprocessors, info.Driver, precision)
}

// numbers are indices as --device takes them: "0,2".
func numbers(indices []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(indices), " ", ","), "[]")
}

// openLibraries opens those of NVIDIA's libraries that are asked for. The versions of those that compute something are part of the device's name: they decide on bits.
func (d *device) openLibraries(products, convolutions bool) error {
	if products {
		lib, err := cublaslt.Open()
		if err != nil {
			return err
		}
		if d.library, err = lib.Handle(d.context); err != nil {
			return err
		}
		d.uses("cuBLASLt " + lib.Version())
	}
	if convolutions {
		lib, err := cudnn.Open()
		if err != nil || d.precision == "bf16" { // which would want the images converted: they are float32 on this device
			return err
		}
		if d.convolutions, err = lib.Handle(d.context); err != nil {
			return err
		}
		d.uses("cuDNN " + lib.Version())
	}
	return nil
}

// uses adds to what the device's name says in its parenthesis.
func (d *device) uses(what string) { d.name = strings.TrimSuffix(d.name, ")") + ", " + what + ")" }

func (d *device) Name() string { return d.name }

// Close frees the kernels and the data sets, where no other device is open on the GPU. Executables must be closed before.
func (d *device) Close() error {
	var errs []error
	d.closing.Do(func() {
		if d.library != nil {
			errs = append(errs, d.library.Close())
		}
		if d.convolutions != nil {
			errs = append(errs, d.convolutions.Close())
		}
		errs = append(errs, d.gpu.close())
	})
	return errors.Join(errs...)
}

// most is the number of bytes that an executable may ever take.
func (d *device) most() int64 {
	if d.limit > 0 {
		return min(d.usable(), d.limit)
	}
	return d.usable()
}

// short is the part of a device's name that says which it is.
func short(name string) string {
	head, _, _ := strings.Cut(name, " (")
	return head
}

// explain adds to an error what callers branch on, and the way out.
func (d *device) explain(err error) error {
	var first *driver.Error // of several: what fails after the loss of a GPU, to free what is gone, says nothing new
	errors.As(err, &first)
	switch {
	case err == nil || errors.Is(err, engine.ErrMemory) || errors.Is(err, engine.ErrDeviceLost):
		return err
	case errors.Is(err, driver.ErrOutOfMemory): // not of a kind that allocate refuses
		return fmt.Errorf("cuda: %w: %w; fewer trainings at a time, or a smaller batch, need less", engine.ErrMemoryInUse, err)
	case errors.Is(err, driver.ErrLost) || first != nil && d.gpu != nil && d.loss() != nil:
		if d.gpu != nil {
			d.noteLoss(err)
		}
		return fmt.Errorf("%s: %w, with all that lay on it; this process cannot use it any more: %w", short(d.name), engine.ErrDeviceLost, first)
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
