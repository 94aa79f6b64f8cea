//go:build linux && cgo

package cuda_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"netmend/cuda"
	"netmend/cuda/cublaslt"
	"netmend/cuda/emulator"
	"netmend/engine"
	"netmend/engine/devicetest"
	"netmend/engine/reference"
)

// openLibrary is open with cuBLASLt, which multiplies even the smallest matrices: the emulator's, or the machine's, where there is one.
func openLibrary(t testing.TB, o cuda.Options, settings string) engine.Device {
	t.Helper()
	o.CuBLASLt = true
	if !*gpu {
		emulator.Use(t, settings)
		t.Setenv("NETMEND_LIBCUBLASLT", os.Getenv("NETMEND_LIBCUDA")) // the emulator is both
	} else if _, err := cublaslt.Open(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(cuda.LeastLibrary(1))
	dev, err := cuda.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// TestLibraryDevice: the table of cases, with every product that cuBLASLt has an algorithm for by that.
func TestLibraryDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	devicetest.Run(t, openLibrary(t, cuda.Options{}, ""))
}

// TestLibraryProducts: the library multiplies what it can, of transposed matrices, stacks, and stacks that share a factor; a stack of which only some of the axes are
// shared is ours. Recorded in a graph or launched anew, the bits are the same, and the same twice.
func TestLibraryProducts(t *testing.T) {
	dev, direct := openLibrary(t, cuda.Options{}, ""), openLibrary(t, cuda.Options{}, "")
	cuda.Direct(direct)
	if name := dev.Name(); !strings.Contains(name, ", cuBLASLt ") {
		t.Errorf("the name %q does not say so", name)
	}
	for _, c := range []struct {
		a, b           []int
		transA, transB bool
		bias           bool
		ours           bool
	}{
		{a: []int{40, 33}, b: []int{33, 20}, bias: true},
		{a: []int{33, 40}, b: []int{33, 20}, transA: true},
		{a: []int{40, 33}, b: []int{20, 33}, transB: true, bias: true},
		{a: []int{33, 40}, b: []int{20, 33}, transA: true, transB: true},
		{a: []int{3, 2, 8, 5}, b: []int{3, 2, 5, 6}},
		{a: []int{3, 2, 8, 5}, b: []int{5, 6}, bias: true},
		{a: []int{4, 8, 5}, b: []int{1, 6, 5}, transB: true, bias: true},
		{a: []int{8, 5}, b: []int{4, 5, 6}},
		{a: []int{3, 1, 8, 5}, b: []int{3, 2, 5, 6}, ours: true},
		{a: []int{40, 33}, b: []int{33, 1}, ours: true}, // the emulator's library has no algorithm for one column; NVIDIA's may have
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			p, load := multiplication(c.a, c.b, c.transA, c.transB, c.bias)
			want, _ := multiplied(t, reference.NewFloat64(), p, load)
			got, kernels := multiplied(t, dev, p, load)
			if used := slices.Contains(kernels, "cublasLtMatmul"); used == c.ours && !(*gpu && p.Tensors[p.Funcs[0].Outputs[0]].Shape[1] == 1) {
				t.Errorf("the step is %v", kernels)
			}
			for i, w := range want {
				if d := got[i] - w; !(d < 1e-4 && d > -1e-4) { // some ten units in the last place of sums of 33 products of about 1
					t.Fatalf("element %d: %v, want %v", i, got[i], w)
				}
			}
			for _, dev := range []engine.Device{dev, direct} {
				if again, _ := multiplied(t, dev, p, load); !slices.Equal(again, got) {
					t.Error("the same product has other bits")
				}
			}
		})
	}
}

// TestLibraryOnlyWhenAsked: neither small products nor a device that was not asked to use it reach the library, and one that was asked and finds none does not open.
func TestLibraryOnlyWhenAsked(t *testing.T) {
	emulated(t)
	p, load := multiplication([]int{40, 33}, []int{33, 20}, false, false, false)
	dev := openLibrary(t, cuda.Options{}, "")
	defer cuda.LeastLibrary(40*33*20 + 1)()
	if _, kernels := multiplied(t, dev, p, load); slices.Contains(kernels, "cublasLtMatmul") {
		t.Errorf("a small product is the library's: %v", kernels)
	}
	cuda.LeastLibrary(1)
	t.Setenv("NETMEND_LIBCUBLASLT", "")
	if _, kernels := multiplied(t, open(t, cuda.Options{}, ""), p, load); slices.Contains(kernels, "cublasLtMatmul") {
		t.Errorf("nobody asked for the library: %v", kernels)
	}
	t.Setenv("NETMEND_LIBCUBLASLT", "off")
	if _, err := cuda.New(cuda.Options{CuBLASLt: true}); err == nil || !strings.Contains(err.Error(), `NETMEND_LIBCUBLASLT is "off"`) {
		t.Errorf("no library: %v", err)
	}
}

// TestLibraryPrecision: the precisions reach the library.
func TestLibraryPrecision(t *testing.T) {
	for precision, unit := range map[string]float64{"tf32": 1.0 / (1 << 11), "bf16": 1.0 / (1 << 8)} {
		dev := openLibrary(t, cuda.Options{Precision: precision}, "compute=80")
		p, load := multiplication([]int{32, 64}, []int{64, 32}, false, false, true)
		want, _ := multiplied(t, reference.NewFloat64(), p, load)
		got, kernels := multiplied(t, dev, p, load)
		off := 0.0
		for i, w := range want {
			off = max(off, got[i]-w, w-got[i])
		}
		if off /= 8; !slices.Contains(kernels, "cublasLtMatmul") || !(off < 6*unit && (*gpu || off > unit/50)) {
			// 8 is the root mean square of sums of 64 products. A library may round less.
			t.Errorf("%s: off by %.2g, wants some, and at most %.2g; the step is %v", precision, off, 6*unit, kernels)
		}
	}
}

// multiplication is a program of one product of random states, whose result is the output of its function.
func multiplication(a, b []int, transA, transB, bias bool) (*engine.Program, map[engine.TensorID][]float32) {
	return randomProgram(func(f *engine.Builder, state func(...int) engine.TensorID) []engine.TensorID {
		v := engine.None
		if bias {
			n := b[len(b)-1]
			if transB {
				n = b[len(b)-2]
			}
			v = state(n)
		}
		return []engine.TensorID{f.MatMul(state(a...), state(b...), v, transA, transB)}
	})
}

// randomProgram is a program of one function, whose outputs build makes from random states.
func randomProgram(build func(f *engine.Builder, state func(...int) engine.TensorID) []engine.TensorID) (*engine.Program, map[engine.TensorID][]float32) {
	r := rand.New(rand.NewPCG(3, 4))
	p := engine.NewProgram(0)
	f := p.NewFunc("f", 0)
	load := make(map[engine.TensorID][]float32)
	for _, id := range build(f, func(shape ...int) engine.TensorID {
		id := p.NewState(fmt.Sprint("s", len(load)), shape)
		load[id] = make([]float32, engine.Len(shape))
		for i := range load[id] {
			load[id][i] = float32(r.NormFloat64())
		}
		return id
	}) {
		f.Output(id)
	}
	return p, load
}

// multiplied is the output of a program's function, with the kernels of its step where the device is ours.
func multiplied(t *testing.T, dev engine.Device, p *engine.Program, load map[engine.TensorID][]float32) (out []float64, kernels []string) {
	t.Helper()
	all, kernels := outputs(t, dev, p, load)
	return all[0], kernels
}

// outputs are those of a program's function.
func outputs(t *testing.T, dev engine.Device, p *engine.Program, load map[engine.TensorID][]float32) (out [][]float64, kernels []string) {
	t.Helper()
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for id, v := range load {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	res, err := e.Run(t.Context(), engine.Schedule{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(dev.Name(), "cuda") {
		kernels = cuda.Launches(e, 0)
	}
	return res.Outputs, kernels
}
