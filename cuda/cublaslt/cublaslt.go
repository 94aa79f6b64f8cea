//go:build linux && cgo

package cublaslt

// #cgo CFLAGS: -std=c11 -O2 -Wall
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"netmend/cuda/driver"
)

// ErrNoLibrary: cuBLASLt is not installed, or what was found is not usable.
var ErrNoLibrary = errors.New("cuBLASLt is not installed")

// ErrUnsupported: the library has no algorithm for a product.
var ErrUnsupported = errors.New("cuBLASLt has no algorithm for this product")

// library is found by the names of those of its major versions that have the functions of shim.h, the newest first.
var library = driver.Optional{Package: "cublaslt", Variable: "NETMEND_LIBCUBLASLT", Files: []string{"libcublasLt.so.13", "libcublasLt.so.12"}, Missing: ErrNoLibrary}

// Asked reports whether the environment asks for the library.
func Asked() bool { return library.Asked() }

// Library is an open library. It is never unloaded.
type Library struct {
	calls *C.nm_lt_calls
	path  string
}

// Open opens the library. The error is ErrNoLibrary, with its cause.
func Open() (l *Library, err error) {
	err = library.Open(func(path string) (err error) {
		l, err = open(path)
		return err
	})
	return l, err
}

func open(path string) (*Library, error) {
	calls := (*C.nm_lt_calls)(C.calloc(1, C.sizeof_nm_lt_calls))
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	reason := make([]byte, 512)
	code := C.nm_lt_open(name, calls, (*C.char)(unsafe.Pointer(&reason[0])), C.size_t(len(reason)))
	if code == 0 {
		return &Library{calls, path}, nil
	}
	C.free(unsafe.Pointer(calls))
	return nil, driver.NotOpened(path, int(code), reason)
}

// Version is the library's, for example "12.6.4".
func (l *Library) Version() string {
	v := int(C.nm_lt_version(l.calls))
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// Error is a call that failed.
type Error struct {
	Call string // "cublasLtMatmul"
	Code int    // cublasStatus_t
	Name string // "CUBLAS_STATUS_INVALID_VALUE"
	Text string // the library's words
}

func (e *Error) Error() string { return fmt.Sprintf("cublaslt: %s: %s (%s)", e.Call, e.Name, e.Text) }

// Is tells ErrUnsupported.
func (e *Error) Is(class error) bool {
	return class == ErrUnsupported && e.Code == C.CUBLAS_STATUS_NOT_SUPPORTED
}

func (l *Library) check(r C.nm_lt_result) error {
	if r.code == C.CUBLAS_STATUS_SUCCESS {
		return nil
	}
	return &Error{C.GoString(r.call), int(r.code), C.GoString(C.nm_lt_status(l.calls, r.code, 0)), C.GoString(C.nm_lt_status(l.calls, r.code, 1))}
}

// Compute is how a product's factors are rounded; sums are float32.
type Compute int

// The computations: not at all, to 10 bits of mantissa, and to 7 (or 10, as the library likes).
const (
	Float32 Compute = C.CUBLAS_COMPUTE_32F
	TF32    Compute = C.CUBLAS_COMPUTE_32F_FAST_TF32
	BF16    Compute = C.CUBLAS_COMPUTE_32F_FAST_16BF
)

// Product is y (M × N) = op(a)·op(b) + bias for a stack of row-major matrices. a is M × K, or K × M where TransA, and b K × N, or N × K where TransB. The
// bias has N elements, begins at a multiple of 256 bytes, and is the same for all rows and matrices.
type Product struct {
	M, N, K                int
	TransA, TransB         bool
	LDA, LDB, LDY          int // elements from one row in memory to the next
	Stack                  int // number of matrices, at least 1
	StepA, StepB, StepY    int // elements from one to the next; 0: the same for all
	Bias                   bool
	Compute                Compute
	AlignA, AlignB, AlignY int // bytes: what the addresses are multiples of, 256 at most
	Workspace              int // bytes that it may take
}

// columnMajor says the product in the library's terms: a row-major matrix is, column-major, its transpose, and (a·b)ᵀ = bᵀ·aᵀ. So b comes first, and what was
// transposed stays it; y's columns become rows, and the bias one number for each of them.
func (p *Product) columnMajor() C.nm_lt_product {
	op := func(transposed bool) C.int {
		if transposed {
			return C.CUBLAS_OP_T
		}
		return C.CUBLAS_OP_N
	}
	q := C.nm_lt_product{m: C.int64_t(p.N), n: C.int64_t(p.M), k: C.int64_t(p.K), op_a: op(p.TransB), op_b: op(p.TransA),
		ld_a: C.int64_t(p.LDB), ld_b: C.int64_t(p.LDA), ld_d: C.int64_t(p.LDY),
		batch: C.int32_t(p.Stack), step_a: C.int64_t(p.StepB), step_b: C.int64_t(p.StepA), step_d: C.int64_t(p.StepY),
		compute: C.int32_t(p.Compute), align_a: C.uint32_t(p.AlignB), align_b: C.uint32_t(p.AlignA), align_d: C.uint32_t(p.AlignY),
		workspace: C.uint64_t(p.Workspace)}
	if p.Bias {
		q.bias = 1
	}
	return q
}

// Handle is the library in a context. Its methods may be called from several goroutines.
type Handle struct {
	library *Library
	context *driver.Context
	h       C.cublasLtHandle_t

	mu    sync.Mutex
	plans map[Product]*Plan
}

// Handle makes a handle. Close it before the context.
func (l *Library) Handle(x *driver.Context) (*Handle, error) {
	h := &Handle{library: l, context: x, plans: make(map[Product]*Plan)}
	if err := x.Do(func() error { return l.check(C.nm_lt_create(l.calls, &h.h)) }); err != nil {
		return nil, err
	}
	return h, nil
}

// Close frees the handle and its plans. What they queued must be done.
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h == nil {
		return nil
	}
	err := h.context.Do(func() error {
		for _, p := range h.plans {
			if p != nil {
				C.nm_lt_free(h.library.calls, &p.plan)
			}
		}
		return h.library.check(C.nm_lt_destroy(h.library.calls, h.h))
	})
	h.h, h.plans = nil, nil
	return err
}

// Plan is a product with the algorithm that computes it. It lives as long as its handle.
type Plan struct {
	Product
	handle *Handle
	plan   C.nm_lt_plan
}

// Plan chooses the algorithm of a product, once for every one. ErrUnsupported: there is none.
func (h *Handle) Plan(p Product) (*Plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if made, known := h.plans[p]; made != nil {
		return made, nil
	} else if known {
		return nil, ErrUnsupported
	}
	made := &Plan{Product: p, handle: h}
	q := p.columnMajor()
	l := h.library
	err := h.context.Do(func() error {
		err := l.check(C.nm_lt_make(l.calls, h.h, &q, &made.plan))
		if err != nil {
			C.nm_lt_free(l.calls, &made.plan)
		}
		return err
	})
	switch {
	case errors.Is(err, ErrUnsupported):
		h.plans[p] = nil
		return nil, err
	case err != nil:
		return nil, err
	}
	h.plans[p] = made
	return made, nil
}

// WorkspaceBytes is what Run wants as workspace, Product.Workspace at most.
func (p *Plan) WorkspaceBytes() int { return int(p.plan.workspace) }

// Run queues the product. bias is 0 where the plan has none; workspace begins at a multiple of 256 bytes, and nothing else may use it until the product is done.
func (p *Plan) Run(s *driver.Stream, a, b, bias, y, workspace driver.Pointer) error {
	if p.Bias != (bias != 0) {
		panic("cublaslt: a bias that the plan does not have, or none where it has one")
	}
	h := p.handle
	h.mu.Lock() // the bias is a part of the plan's description
	defer h.mu.Unlock()
	return h.context.Do(func() error {
		return h.library.check(C.nm_lt_run(h.library.calls, h.h, &p.plan, C.uint64_t(b), C.uint64_t(a), C.uint64_t(y), C.uint64_t(bias), C.uint64_t(workspace),
			C.cudaStream_t(s.Handle())))
	})
}
