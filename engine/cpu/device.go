//go:build cgo && amd64

package cpu

// #cgo CXXFLAGS: -std=c++20 -O3
// #cgo LDFLAGS: -ldnnl -lgomp -lm -lpthread
// #include <stdlib.h>
// #include "plan.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"netmend/engine"
)

type device struct {
	threads int
	limit   int64
	half    bool // multiply bfloat16 numbers
	apart   bool // every operation is a pass of its own, for tests
}

// maxThreads bounds Options.Threads: more are a mistake, not a machine.
const maxThreads = 1024

// New makes the device.
func New(o Options) (engine.Device, error) {
	if o.Threads < 0 || o.Threads > maxThreads {
		return nil, fmt.Errorf("cpu: %d threads, wants 0 (all cores) to %d", o.Threads, maxThreads)
	}
	if o.MemoryLimit < 0 {
		return nil, fmt.Errorf("cpu: memory limit of %d bytes", o.MemoryLimit)
	}
	d := &device{threads: o.Threads, limit: o.MemoryLimit, half: o.Precision == "bf16"}
	switch {
	case o.Precision != "" && !slices.Contains(Precisions, o.Precision):
		return nil, fmt.Errorf("cpu: precision %q is not known: one of %v", o.Precision, Precisions)
	case d.half && C.nm_has_bf16() == 0:
		return nil, errors.New("cpu: precision bf16: this processor has no AVX-512 BF16 and no AMX; use float32")
	}
	if d.threads == 0 {
		d.threads = runtime.NumCPU()
	}
	if d.limit == 0 {
		d.limit = int64(C.nm_physical_memory()) / 4 * 3
	}
	return d, nil
}

// Name is, for example, "cpu (oneDNN 2.6.3, 2 threads, avx512)"; with bf16, "cpu (oneDNN 2.6.3, 2 threads, avx512, bf16)".
func (d *device) Name() string {
	s := "s"
	if d.threads == 1 {
		s = ""
	}
	precision := ""
	if d.half {
		precision = ", bf16"
	}
	return fmt.Sprintf("cpu (oneDNN %s, %d thread%s, %s%s)", C.GoString(C.nm_dnnl_version()), d.threads, s, C.GoString(C.nm_isa()), precision)
}

// use chooses the kernels of programs that are compiled from now on, for tests. It is false where the machine cannot run them.
func use(isa string) bool {
	name := C.CString(isa)
	defer C.free(unsafe.Pointer(name))
	return C.nm_use(name) != 0
}

const (
	maxSpatial = C.NM_SPATIAL
	maxAxes    = C.NM_DIMS
)

// Supports refuses windows of more than three spatial axes, tensors of more than twelve axes, and gradients of functions that have none.
func (d *device) Supports(p *engine.Program, op *engine.Op) error {
	if op.Window != nil && len(op.Window.Kernel) > maxSpatial {
		return fmt.Errorf("cpu: %s %q: %d spatial axes, at most %d are supported", op.Kind, op.Label, len(op.Window.Kernel), maxSpatial)
	}
	for _, ids := range [][]engine.TensorID{op.In, op.Out} {
		for _, id := range ids {
			if id >= 0 && int(id) < len(p.Tensors) && len(p.Tensors[id].Shape) > maxAxes {
				return fmt.Errorf("cpu: %s %q: a tensor of %d axes, at most %d are supported", op.Kind, op.Label, len(p.Tensors[id].Shape), maxAxes)
			}
		}
	}
	if lowerings[op.Kind] == nil {
		return fmt.Errorf("cpu: %s %q: the operation is not supported", op.Kind, op.Label)
	}
	switch op.Kind {
	case engine.Unary, engine.UnaryGrad:
		if _, ok := unaryCode[op.Fn]; !ok || op.Kind == engine.UnaryGrad && !op.Fn.Differentiable() {
			return fmt.Errorf("cpu: %s %q: the function %s is not supported", op.Kind, op.Label, op.Fn)
		}
	case engine.Binary:
		if _, ok := binaryCode[op.Fn]; !ok {
			return fmt.Errorf("cpu: %s %q: the function %s is not supported", op.Kind, op.Label, op.Fn)
		}
	case engine.Reduce:
		if _, ok := reduceCode[op.Fn]; !ok {
			return fmt.Errorf("cpu: %s %q: the function %s is not supported", op.Kind, op.Label, op.Fn)
		}
	case engine.Update:
		if _, ok := ruleCode[op.Rule.Kind]; !ok {
			return fmt.Errorf("cpu: %s %q: the rule %s is not supported", op.Kind, op.Label, op.Rule.Kind)
		}
	}
	return nil
}

func (d *device) Close() error { return nil }

var unaryCode = map[engine.Fn]C.int{engine.Neg: C.NM_NEG, engine.Abs: C.NM_ABS, engine.Sign: C.NM_SIGN, engine.Exp: C.NM_EXP, engine.Log: C.NM_LOG,
	engine.Sqrt: C.NM_SQRT, engine.Reciprocal: C.NM_RECIPROCAL, engine.Sin: C.NM_SIN, engine.Cos: C.NM_COS, engine.Asin: C.NM_ASIN,
	engine.Acos: C.NM_ACOS, engine.Atan: C.NM_ATAN, engine.Sinh: C.NM_SINH, engine.Asinh: C.NM_ASINH, engine.Acosh: C.NM_ACOSH, engine.Atanh: C.NM_ATANH,
	engine.Erf: C.NM_ERF, engine.Affine: C.NM_AFFINE, engine.Clip: C.NM_CLIP, engine.Floor: C.NM_FLOOR, engine.Relu: C.NM_RELU,
	engine.LeakyRelu: C.NM_LEAKY_RELU, engine.Elu: C.NM_ELU, engine.Selu: C.NM_SELU, engine.Celu: C.NM_CELU, engine.Sigmoid: C.NM_SIGMOID,
	engine.Tanh: C.NM_TANH, engine.Softplus: C.NM_SOFTPLUS, engine.Softsign: C.NM_SOFTSIGN, engine.HardSigmoid: C.NM_HARD_SIGMOID,
	engine.HardSwish: C.NM_HARD_SWISH, engine.ThresholdedRelu: C.NM_THRESHOLDED_RELU, engine.Gelu: C.NM_GELU, engine.GeluTanh: C.NM_GELU_TANH,
	engine.Swish: C.NM_SWISH, engine.Mish: C.NM_MISH}

var binaryCode = map[engine.Fn]C.int{engine.Add: C.NM_ADD, engine.Sub: C.NM_SUB, engine.Mul: C.NM_MUL, engine.Div: C.NM_DIV, engine.Pow: C.NM_POW,
	engine.Max: C.NM_MAX, engine.Min: C.NM_MIN, engine.Greater: C.NM_GREATER, engine.GreaterOrEqual: C.NM_GREATER_OR_EQUAL,
	engine.Less: C.NM_LESS, engine.LessOrEqual: C.NM_LESS_OR_EQUAL, engine.Equal: C.NM_EQUAL}

var reduceCode = map[engine.Fn]C.int{engine.Sum: C.NM_REDUCE_SUM, engine.Mean: C.NM_REDUCE_MEAN, engine.Max: C.NM_REDUCE_MAX,
	engine.Min: C.NM_REDUCE_MIN, engine.Prod: C.NM_REDUCE_PROD}

var ruleCode = map[engine.RuleKind]C.int32_t{engine.RuleLinear: C.NM_RULE_LINEAR, engine.RuleAdam: C.NM_RULE_ADAM, engine.RuleAdamax: C.NM_RULE_ADAMAX,
	engine.RuleRMSprop: C.NM_RULE_RMSPROP, engine.RuleAdagrad: C.NM_RULE_ADAGRAD, engine.RuleAdadelta: C.NM_RULE_ADADELTA}
