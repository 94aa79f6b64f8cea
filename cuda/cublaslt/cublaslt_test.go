//go:build linux && cgo

package cublaslt_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netmend/cuda/cublaslt"
	"netmend/cuda/driver"
	"netmend/cuda/emulator"
)

// rig is the emulated library in a context with a stream.
type rig struct {
	testing.TB
	x *driver.Context
	s *driver.Stream
	h *cublaslt.Handle
}

// use makes the emulator the driver and the library.
func use(t testing.TB, settings string) {
	t.Helper()
	emulator.Use(t, settings)
	t.Setenv("NETMEND_LIBCUBLASLT", os.Getenv("NETMEND_LIBCUDA"))
}

func newRig(t testing.TB) *rig {
	t.Helper()
	use(t, "")
	r := &rig{TB: t}
	drv, err := driver.Open()
	r.ok(err)
	dev, err := drv.Device(0)
	r.ok(err)
	r.x, err = dev.Context()
	r.ok(err)
	r.s, err = r.x.NewStream()
	r.ok(err)
	lib, err := cublaslt.Open()
	r.ok(err)
	r.h, err = lib.Handle(r.x)
	r.ok(err)
	t.Cleanup(func() {
		if err := errors.Join(r.h.Close(), r.s.Close(), r.x.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) upload(v []float32) driver.Pointer {
	r.Helper()
	p, err := r.x.Alloc(int64(4 * len(v)))
	r.ok(err)
	r.Cleanup(func() { r.x.Free(p) })
	r.ok(r.s.Upload(p, driver.Bytes(v)))
	return p
}

func TestOpenSaysWhy(t *testing.T) {
	for _, c := range []struct{ value, text string }{
		{"off", `NETMEND_LIBCUBLASLT is "off"`},
		{"/nonexistent/libcublasLt.so", "/nonexistent/libcublasLt.so"},
		{"libm.so.6", "libm.so.6 has no function cublasLtGetVersion"},
	} {
		t.Setenv("NETMEND_LIBCUBLASLT", c.value)
		if _, err := cublaslt.Open(); !errors.Is(err, cublaslt.ErrNoLibrary) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%q: %v", c.value, err)
		}
		if asked := cublaslt.Asked(); asked != (c.value != "off") {
			t.Errorf("%q asks: %t", c.value, asked)
		}
	}
	use(t, "")
	lib, err := cublaslt.Open()
	if err != nil || lib.Version() != "12.6.4" {
		t.Errorf("%v, version %v", err, lib.Version())
	}
}

// TestProducts compares with sums in double, over transposes, rows with gaps, stacks, biases, and with and without workspace. What lies between the rows of
// the result is untouched.
func TestProducts(t *testing.T) {
	r := newRig(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range []cublaslt.Product{
		{M: 5, N: 7, K: 3, Stack: 1},
		{M: 5, N: 7, K: 3, Stack: 1, TransA: true},
		{M: 5, N: 7, K: 3, Stack: 1, TransB: true, Bias: true},
		{M: 5, N: 7, K: 3, Stack: 1, TransA: true, TransB: true},
		{M: 40, N: 24, K: 50, Stack: 1, Bias: true, Workspace: 1 << 20},
		{M: 40, N: 24, K: 50, Stack: 1, Bias: true}, // the algorithm that needs no workspace
		{M: 1, N: 9, K: 33, Stack: 1, Bias: true, Workspace: 1 << 20},
		{M: 6, N: 4, K: 8, Stack: 3, TransB: true, Bias: true},
		{M: 6, N: 4, K: 8, Stack: 3, TransA: true},
	} {
		for _, gap := range []int{0, 3} {
			for _, shared := range []bool{false, true} {
				if shared && p.Stack == 1 {
					continue
				}
				t.Run(fmt.Sprintf("%+v gap %d shared %t", p, gap, shared), func(t *testing.T) { product(t, r, random, p, gap, shared) })
			}
		}
	}
}

// product multiplies random matrices whose rows are so far apart; shared: all of the stack have the same b.
func product(t *testing.T, r *rig, random *rand.Rand, p cublaslt.Product, gap int, shared bool) {
	rows := func(transposed bool, rows, columns int) (int, int) {
		if transposed {
			return columns, rows
		}
		return rows, columns
	}
	ra, ca := rows(p.TransA, p.M, p.K)
	rb, cb := rows(p.TransB, p.K, p.N)
	p.LDA, p.LDB, p.LDY = ca+gap, cb+gap, p.N+gap
	p.StepA, p.StepB, p.StepY = ra*p.LDA, rb*p.LDB, p.M*p.LDY
	if shared {
		p.StepB = 0
	}
	p.Compute, p.AlignA, p.AlignB, p.AlignY = cublaslt.Float32, 4, 4, 4
	fill := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(random.NormFloat64())
		}
		return v
	}
	a, b, bias, y := fill(p.Stack*ra*p.LDA), fill(p.Stack*rb*p.LDB), fill(p.N), fill(p.Stack*p.M*p.LDY)
	plan, err := r.h.Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := r.h.Plan(p); again != plan {
		t.Error("the same product has another plan")
	}
	if want := p.Workspace > 0; (plan.WorkspaceBytes() > 0) != want || plan.WorkspaceBytes() > p.Workspace {
		t.Errorf("a workspace of %d bytes", plan.WorkspaceBytes())
	}
	workspace := driver.Pointer(0)
	if n := plan.WorkspaceBytes(); n > 0 {
		workspace = r.upload(make([]float32, n/4))
	}
	at, biasAt := r.upload(y), driver.Pointer(0)
	if p.Bias {
		biasAt = r.upload(bias)
	}
	aAt, bAt := r.upload(a), r.upload(b)
	graph, err := r.s.Capture(func() error { return plan.Run(r.s, aAt, bAt, biasAt, at, workspace) })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(graph.Launch(r.s, 1), r.s.Synchronize(), graph.Close()); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, len(y))
	if err := r.s.Download(driver.Bytes(got), at); err != nil {
		t.Fatal(err)
	}
	for i, g := range got {
		z, row, column := i/p.StepY, i%p.StepY/p.LDY, i%p.LDY
		want := float64(y[i])
		if column < p.N {
			want = 0
			if p.Bias {
				want = float64(bias[column])
			}
			for k := range p.K {
				u, v := z*p.StepA+row*p.LDA+k, z*p.StepB+k*p.LDB+column
				if p.TransA {
					u = z*p.StepA + k*p.LDA + row
				}
				if p.TransB {
					v = z*p.StepB + column*p.LDB + k
				}
				want += float64(a[u]) * float64(b[v])
			}
		}
		if float32(want) != g {
			t.Fatalf("matrix %d, row %d, column %d: %v, want %v", z, row, column, g, float32(want))
		}
	}
}

func TestPrecisions(t *testing.T) {
	r := newRig(t)
	x := []float32{1 + 1.0/256, 1 + 1.0/2048} // of which bf16 keeps neither, and tf32 the first
	for compute, want := range map[cublaslt.Compute]float32{cublaslt.Float32: x[0] + x[1], cublaslt.TF32: x[0] + 1, cublaslt.BF16: 2} {
		p := cublaslt.Product{M: 1, N: 2, K: 2, LDA: 2, LDB: 2, LDY: 2, Stack: 1, Compute: compute, AlignA: 4, AlignB: 4, AlignY: 4}
		plan, err := r.h.Plan(p)
		r.ok(err)
		y := r.upload([]float32{0, 0})
		r.ok(plan.Run(r.s, r.upload(x), r.upload([]float32{1, 1, 1, 1}), 0, y, 0))
		got := make([]float32, 2)
		r.ok(r.s.Download(driver.Bytes(got), y))
		if got[0] != want || got[1] != want {
			t.Errorf("computation %d: %v, want %v", compute, got, want)
		}
	}
}

// TestRefusals: what the library has no algorithm for, what it refuses, and a lost context are errors that say so.
func TestRefusals(t *testing.T) {
	r := newRig(t)
	p := cublaslt.Product{M: 4, N: 1, K: 2, LDA: 2, LDB: 1, LDY: 1, Stack: 1, Compute: cublaslt.Float32, AlignA: 4, AlignB: 4, AlignY: 4}
	for range 2 {
		if _, err := r.h.Plan(p); !errors.Is(err, cublaslt.ErrUnsupported) {
			t.Errorf("a product of one column: %v", err)
		}
	}
	p.N, p.LDB, p.LDY = 2, 1, 2 // rows that overlap
	if _, err := r.h.Plan(p); err == nil || errors.Is(err, cublaslt.ErrUnsupported) || !strings.Contains(err.Error(), "CUBLAS_STATUS_INVALID_VALUE") {
		t.Errorf("rows that overlap: %v", err)
	}
	p.LDB, p.AlignY = 2, 256
	plan, err := r.h.Plan(p)
	r.ok(err)
	a := r.upload(make([]float32, 64))
	if err := plan.Run(r.s, a, a, 0, a+16, 0); err == nil || !strings.Contains(err.Error(), "cublasLtMatmul: CUBLAS_STATUS_INVALID_VALUE") {
		t.Errorf("an address that is less aligned than promised: %v", err)
	}
	if err := plan.Run(r.s, a, a, 0, 1<<40, 0); err == nil || !strings.Contains(err.Error(), "CUBLAS_STATUS_EXECUTION_FAILED") {
		t.Errorf("an address in no allocation: %v", err)
	}
}

// TestPrototypes holds shim.h against NVIDIA's cublasLt.h, where that is: NETMEND_CUBLAS_INCLUDE names the folders, separated by colons, where it and what it includes are.
func TestPrototypes(t *testing.T) {
	folders := os.Getenv("NETMEND_CUBLAS_INCLUDE")
	if folders == "" {
		t.Skip("NETMEND_CUBLAS_INCLUDE does not name NVIDIA's headers of cuBLASLt and of the CUDA runtime")
	}
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip(err)
	}
	args := []string{"-std=c++17", "-fsyntax-only", "-w", "-I", "."}
	for _, f := range filepath.SplitList(folders) {
		args = append(args, "-I", f)
	}
	compile := func(define ...string) (string, error) {
		out, err := exec.Command(compiler, append(append(args, define...), filepath.Join("testdata", "prototypes.cc"))...).CombinedOutput()
		return string(out), err
	}
	if out, err := compile(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, err := compile("-DWRONG"); err == nil || !strings.Contains(out, "static assertion failed: found") {
		t.Errorf("a wrong prototype passes: %s", out)
	}
}
