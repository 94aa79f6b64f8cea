//go:build linux && cgo

package cuda

import (
	"errors"

	"netmend/cuda/cublaslt"
	"netmend/cuda/driver"
)

// leastLibrary is the number of multiply-adds from which on a product is the library's, where there is one: below, its launches and the operations that our kernels do on
// the result before they store it weigh more than a faster kernel gains. An estimate: nobody has measured it. Tests set it.
var leastLibrary = 1 << 27

// libraryWorkspace bounds what the library may take besides, in bytes: what NVIDIA recommends for GPUs of compute capability 9.0 and for all others
// (cuBLAS, "cublasSetWorkspace").
func (d *device) libraryWorkspace() int {
	if d.info.Compute[0] >= 9 {
		return 32 << 20
	}
	return 4 << 20
}

// byLibrary appends the product of multiply as a call of cuBLASLt, unless it is small, or not one that the library computes.
func (c *compiler) byLibrary(a, b matrix, bias, y *buffer, start, m, n, k, ldc int) bool {
	stack := max(1, len(a.offsets))
	if c.dev.library == nil || stack*m*n*k < leastLibrary {
		return false
	}
	stepA, evenA := evenSteps(a.offsets)
	stepB, evenB := evenSteps(b.offsets)
	if !evenA || !evenB {
		return false
	}
	p := cublaslt.Product{M: m, N: n, K: k, TransA: a.turned, TransB: b.turned, LDA: a.stride, LDB: b.stride, LDY: ldc,
		Stack: stack, StepA: stepA, StepB: stepB, StepY: m * ldc, Bias: bias != nil, Compute: cublaslt.Float32,
		AlignA: alignmentOf(a.start), AlignB: alignmentOf(b.start), AlignY: alignmentOf(start), Workspace: c.dev.libraryWorkspace()}
	if c.onTensorCores(m, n, k) != nil {
		p.Compute = libraryPrecision[c.dev.precision]
	}
	plan, err := c.dev.library.Plan(p)
	if err != nil {
		if !errors.Is(err, cublaslt.ErrUnsupported) {
			c.failed = errors.Join(c.failed, err)
		}
		return false
	}
	var workspace *buffer
	if bytes := plan.WorkspaceBytes(); bytes > 0 {
		workspace = c.scratch(ceilDiv(bytes, 4))
	}
	place := func(b *buffer, start int) driver.Pointer { return b.at + driver.Pointer(4*start) }
	c.add(&step{kernel: "cublasLtMatmul", reads: there(a.b, b.b, bias), writes: there(y, workspace), queue: func(s *driver.Stream) error {
		return plan.Run(s, place(a.b, a.start), place(b.b, b.start), addr(bias), place(y, start), addr(workspace))
	}})
	return true
}

var libraryPrecision = map[string]cublaslt.Compute{"tf32": cublaslt.TF32, "bf16": cublaslt.BF16}

// evenSteps is how far apart the matrices of a stack begin, if that is the same for all.
func evenSteps(offsets []int) (step int, even bool) {
	for i := 1; i < len(offsets); i++ {
		if i == 1 {
			step = offsets[1] - offsets[0]
		} else if offsets[i]-offsets[i-1] != step {
			return 0, false
		}
	}
	return step, step >= 0
}

// alignmentOf is what the address of so many words after a buffer's beginning is a multiple of, in bytes.
func alignmentOf(words int) int {
	bytes := alignment
	for 4*words%bytes != 0 {
		bytes /= 2
	}
	return bytes
}
