//go:build linux && cgo

package cudnn

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

// ErrNoLibrary: cuDNN is not installed, or what was found is not usable.
var ErrNoLibrary = errors.New("cuDNN is not installed")

// ErrUnsupported: the library has no algorithm for a convolution that gives the same bits every time, adds up the products themselves and fits into the workspace.
var ErrUnsupported = errors.New("cuDNN has no algorithm for this convolution")

// library is found by the names of those of its major versions that have the functions of shim.h, the newest first.
var library = driver.Optional{Package: "cudnn", Variable: "NETMEND_LIBCUDNN", Files: []string{"libcudnn.so.9", "libcudnn.so.8"}, Missing: ErrNoLibrary}

// Asked reports whether the environment asks for the library.
func Asked() bool { return library.Asked() }

// Library is an open library. It is never unloaded.
type Library struct {
	calls *C.nm_dnn_calls
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
	calls := (*C.nm_dnn_calls)(C.calloc(1, C.sizeof_nm_dnn_calls))
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	reason := make([]byte, 512)
	code := C.nm_dnn_open(name, calls, (*C.char)(unsafe.Pointer(&reason[0])), C.size_t(len(reason)))
	if code == 0 {
		l := &Library{calls, path}
		if v := int(C.nm_dnn_version(calls)); v < 8000 || v >= 100000 {
			err := fmt.Errorf("%s is cuDNN %s, netmend knows 8 and 9", path, l.Version())
			C.free(unsafe.Pointer(calls))
			return nil, err
		}
		return l, nil
	}
	C.free(unsafe.Pointer(calls))
	return nil, driver.NotOpened(path, int(code), reason)
}

// Version is the library's, for example "9.7.1" (90701) or "8.9.7" (8907).
func (l *Library) Version() string {
	v := int(C.nm_dnn_version(l.calls))
	if v < 10000 {
		return fmt.Sprintf("%d.%d.%d", v/1000, v/100%10, v%100)
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// Error is a call that failed.
type Error struct {
	Call string // "cudnnConvolutionForward"
	Code int    // cudnnStatus_t, whose values differ between 8 and 9
	Text string // the library's: "CUDNN_STATUS_BAD_PARAM"
}

func (e *Error) Error() string { return fmt.Sprintf("cudnn: %s: %s (%d)", e.Call, e.Text, e.Code) }

// Is tells ErrUnsupported.
func (e *Error) Is(class error) bool {
	return class == ErrUnsupported &&
		(e.Code == C.CUDNN_8_STATUS_NOT_SUPPORTED || e.Code >= C.CUDNN_9_STATUS_NOT_SUPPORTED && e.Code < C.CUDNN_9_STATUS_INTERNAL_ERROR)
}

func (l *Library) check(r C.nm_dnn_result) error {
	if r.code == C.CUDNN_STATUS_SUCCESS {
		return nil
	}
	return &Error{C.GoString(r.call), int(r.code), C.GoString(C.nm_dnn_status(l.calls, r.code))}
}

// Kind is which of a convolution's three tensors is computed from the other two.
type Kind int

// The kinds: the result, the gradient by the images, and that by the kernel.
const (
	Forward        Kind = C.NM_DNN_FORWARD
	BackwardData   Kind = C.NM_DNN_BACKWARD_DATA
	BackwardFilter Kind = C.NM_DNN_BACKWARD_FILTER
)

// String is the library's function for it.
func (k Kind) String() string {
	return [...]string{"cudnnConvolutionForward", "cudnnConvolutionBackwardData", "cudnnConvolutionBackwardFilter"}[k]
}

// Math is how the factors are rounded; sums are float32.
type Math int

// The arithmetics: not at all, and, where the GPU can, to 10 bits of mantissa.
const (
	Float32 Math = C.CUDNN_FMA_MATH
	TF32    Math = C.CUDNN_TENSOR_OP_MATH
)

// Convolution is y (N, CO, Out) = x (N, CI, In) * w (CO, CI/Groups, Kernel), the cross-correlation, row-major; or one of its gradients. Extents are z, y, x: 1, and 0
// for Pad, where the images have fewer axes.
type Convolution struct {
	Kind                                   Kind
	N, CI, CO, Groups                      int
	In, Out, Kernel, Stride, Dilation, Pad [3]int // Pad: zeros before and behind each axis
	Math                                   Math
	Workspace                              int // bytes that it may take
}

func (v *Convolution) c() C.nm_dnn_convolution {
	extent := func(e [3]int) [3]C.int { return [3]C.int{C.int(e[0]), C.int(e[1]), C.int(e[2])} }
	return C.nm_dnn_convolution{what: C.int(v.Kind), n: C.int(v.N), ci: C.int(v.CI), co: C.int(v.CO), groups: C.int(v.Groups), in: extent(v.In), out: extent(v.Out),
		kernel: extent(v.Kernel), stride: extent(v.Stride), dilation: extent(v.Dilation), pad: extent(v.Pad), math: C.int(v.Math), workspace: C.size_t(v.Workspace)}
}

// Handle is the library in a context. Its methods may be called from several goroutines.
type Handle struct {
	library *Library
	context *driver.Context
	h       C.cudnnHandle_t

	mu    sync.Mutex
	plans map[Convolution]*Plan
}

// Handle makes a handle. Close it before the context.
func (l *Library) Handle(x *driver.Context) (*Handle, error) {
	h := &Handle{library: l, context: x, plans: make(map[Convolution]*Plan)}
	if err := x.Do(func() error { return l.check(C.nm_dnn_create(l.calls, &h.h)) }); err != nil {
		return nil, err
	}
	return h, nil
}

// Close waits for the work of the whole GPU, and frees the handle and its plans.
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h == nil {
		return nil
	}
	err := h.context.Do(func() error {
		for _, p := range h.plans {
			if p != nil {
				C.nm_dnn_free(h.library.calls, &p.plan)
			}
		}
		return h.library.check(C.nm_dnn_destroy(h.library.calls, h.h))
	})
	h.h, h.plans = nil, nil
	return err
}

// Plan is a convolution with the algorithm that computes it. It lives as long as its handle.
type Plan struct {
	Convolution
	handle *Handle
	plan   C.nm_dnn_plan
}

// Plan chooses the algorithm of a convolution, once for every one. ErrUnsupported: there is none.
func (h *Handle) Plan(v Convolution) (*Plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if made, known := h.plans[v]; made != nil {
		return made, nil
	} else if known {
		return nil, ErrUnsupported
	}
	made := &Plan{Convolution: v, handle: h}
	q := v.c()
	l := h.library
	err := h.context.Do(func() error {
		var found C.int
		err := l.check(C.nm_dnn_make(l.calls, h.h, &q, &made.plan, &found))
		if err == nil && found == 0 {
			err = ErrUnsupported
		}
		if err != nil {
			C.nm_dnn_free(l.calls, &made.plan)
		}
		return err
	})
	switch {
	case errors.Is(err, ErrUnsupported):
		h.plans[v] = nil
		return nil, err
	case err != nil:
		return nil, err
	}
	h.plans[v] = made
	return made, nil
}

// WorkspaceBytes is what Run wants as workspace, Convolution.Workspace at most.
func (p *Plan) WorkspaceBytes() int { return int(p.plan.workspace) }

// Run queues the convolution: the tensor of its kind is written, the other two are read. workspace begins at a multiple of 256 bytes, and nothing else may use it
// until the convolution is done.
func (p *Plan) Run(s *driver.Stream, x, w, y, workspace driver.Pointer) error {
	h := p.handle
	h.mu.Lock() // the stream is a part of the handle
	defer h.mu.Unlock()
	return h.context.Do(func() error {
		return h.library.check(C.nm_dnn_run(h.library.calls, h.h, &p.plan, C.uint64_t(x), C.uint64_t(w), C.uint64_t(y), C.uint64_t(workspace),
			C.cudaStream_t(s.Handle())))
	})
}
