//go:build linux && cgo

package cudnn_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netmend/cuda/cudnn"
	"netmend/cuda/driver"
	"netmend/cuda/emulator"
)

// rig is the emulated library in a context with a stream.
type rig struct {
	testing.TB
	x *driver.Context
	s *driver.Stream
	h *cudnn.Handle
}

// use makes the emulator the driver and the library.
func use(t testing.TB, settings string) {
	t.Helper()
	emulator.Use(t, settings)
	t.Setenv("NETMEND_LIBCUDNN", os.Getenv("NETMEND_LIBCUDA"))
}

func newRig(t testing.TB, settings string) *rig {
	t.Helper()
	use(t, settings)
	r := &rig{TB: t}
	drv, err := driver.Open()
	r.ok(err)
	dev, err := drv.Device(0)
	r.ok(err)
	r.x, err = dev.Context()
	r.ok(err)
	r.s, err = r.x.NewStream()
	r.ok(err)
	lib, err := cudnn.Open()
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
		{"off", `NETMEND_LIBCUDNN is "off"`},
		{"/nonexistent/libcudnn.so", "/nonexistent/libcudnn.so"},
		{"libm.so.6", "libm.so.6 has no function cudnnGetVersion"},
	} {
		t.Setenv("NETMEND_LIBCUDNN", c.value)
		if _, err := cudnn.Open(); !errors.Is(err, cudnn.ErrNoLibrary) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%q: %v", c.value, err)
		}
		if asked := cudnn.Asked(); asked != (c.value != "off") {
			t.Errorf("%q asks: %t", c.value, asked)
		}
	}
	for number, version := range map[int]string{90701: "9.7.1", 92800: "9.28.0", 8907: "8.9.7"} {
		use(t, fmt.Sprint("cudnn=", number))
		if _, err := driver.Open(); err != nil { // which reads the settings
			t.Fatal(err)
		}
		lib, err := cudnn.Open()
		if err != nil || lib.Version() != version {
			t.Errorf("%v, version %v, want %s", err, lib.Version(), version)
		}
	}
	for _, number := range []int{7605, 100000} {
		emulator.Set(t, "cudnn", int64(number))
		if _, err := cudnn.Open(); !errors.Is(err, cudnn.ErrNoLibrary) || !strings.Contains(fmt.Sprint(err), "netmend knows 8 and 9") {
			t.Errorf("cuDNN %d: %v", number, err)
		}
	}
}

// line is a convolution of images of one axis, plane of two.
func line(v cudnn.Convolution, in, out, kernel, stride, dilation, pad int) cudnn.Convolution {
	return plane(v, [2]int{1, in}, [2]int{1, out}, [2]int{1, kernel}, [2]int{1, stride}, [2]int{1, dilation}, [2]int{0, pad})
}

func plane(v cudnn.Convolution, in, out, kernel, stride, dilation, pad [2]int) cudnn.Convolution {
	three := func(first int, e [2]int) [3]int { return [3]int{first, e[0], e[1]} }
	v.In, v.Out, v.Kernel, v.Stride, v.Dilation, v.Pad = three(1, in), three(1, out), three(1, kernel), three(1, stride), three(1, dilation), three(0, pad)
	return v
}

// TestConvolutions compares the result and both gradients with sums in double, over groups, strides, dilations, padding, one to three axes, with and without
// workspace, and with both majors' values of a status.
func TestConvolutions(t *testing.T) {
	one := [2]int{1, 1}
	for _, settings := range []string{"", "cudnn=8907"} {
		r := newRig(t, settings)
		random := rand.New(rand.NewPCG(1, 2))
		for _, v := range []cudnn.Convolution{
			plane(cudnn.Convolution{N: 2, CI: 3, CO: 4, Groups: 1}, [2]int{6, 5}, [2]int{4, 3}, [2]int{3, 3}, one, one, [2]int{}),
			plane(cudnn.Convolution{N: 2, CI: 4, CO: 6, Groups: 2}, [2]int{7, 8}, [2]int{4, 4}, [2]int{3, 2}, [2]int{2, 2}, one, [2]int{1, 0}),
			plane(cudnn.Convolution{N: 1, CI: 2, CO: 3, Groups: 1}, [2]int{9, 11}, [2]int{9, 8}, [2]int{3, 2}, one, [2]int{2, 3}, [2]int{2, 0}),
			line(cudnn.Convolution{N: 3, CI: 2, CO: 3, Groups: 1}, 13, 6, 4, 2, 1, 1),
			{N: 1, CI: 2, CO: 3, Groups: 1, In: [3]int{4, 5, 6}, Out: [3]int{3, 3, 6}, Kernel: [3]int{2, 3, 2}, Stride: [3]int{1, 2, 1}, Dilation: [3]int{1, 1, 2},
				Pad: [3]int{0, 1, 1}},
			{N: 1, CI: 1, CO: 2, Groups: 1, In: [3]int{1, 1, 1}, Out: [3]int{3, 1, 1}, Kernel: [3]int{1, 1, 1}, Stride: [3]int{1, 1, 1}, Dilation: [3]int{1, 1, 1},
				Pad: [3]int{1, 0, 0}},
		} {
			v.Math = cudnn.Float32
			for _, workspace := range []int{0, 1 << 20} {
				for _, v.Kind = range []cudnn.Kind{cudnn.Forward, cudnn.BackwardData, cudnn.BackwardFilter} {
					v.Workspace = workspace
					t.Run(fmt.Sprintf("%s%+v", settings, v), func(t *testing.T) { convolve(t, r, random, v) })
				}
			}
		}
	}
}

// sums calls f for every product of a convolution with the places of its three numbers.
func sums(v *cudnn.Convolution, f func(x, w, y int)) {
	volume := func(e [3]int) int { return e[0] * e[1] * e[2] }
	at := func(i int, e [3]int) [3]int { return [3]int{i / e[2] / e[1], i / e[2] % e[1], i % e[2]} }
	cig, cog := v.CI/v.Groups, v.CO/v.Groups
	for n := range v.N {
		for co := range v.CO {
			for p := range volume(v.Out) {
				for ci := range cig {
				taps:
					for k := range volume(v.Kernel) {
						place, o, tap := 0, at(p, v.Out), at(k, v.Kernel)
						for i := range 3 {
							q := o[i]*v.Stride[i] + tap[i]*v.Dilation[i] - v.Pad[i]
							if q < 0 || q >= v.In[i] {
								continue taps
							}
							place = place*v.In[i] + q
						}
						f((n*v.CI+co/cog*cig+ci)*volume(v.In)+place, (co*cig+ci)*volume(v.Kernel)+k, (n*v.CO+co)*volume(v.Out)+p)
					}
				}
			}
		}
	}
}

// tensors are random x, w and y of a convolution.
func tensors(random *rand.Rand, v *cudnn.Convolution) (t [3][]float32) {
	volume := func(e [3]int) int { return e[0] * e[1] * e[2] }
	for i, n := range []int{v.N * v.CI * volume(v.In), v.CO * v.CI / v.Groups * volume(v.Kernel), v.N * v.CO * volume(v.Out)} {
		t[i] = make([]float32, n)
		for k := range t[i] {
			t[i][k] = float32(random.NormFloat64())
		}
	}
	return t
}

func convolve(t *testing.T, r *rig, random *rand.Rand, v cudnn.Convolution) {
	plan, err := r.h.Plan(v)
	if v.Workspace == 0 && v.Kind != cudnn.Forward { // the emulator's gradients need some
		if !errors.Is(err, cudnn.ErrUnsupported) {
			t.Errorf("without workspace: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := r.h.Plan(v); again != plan {
		t.Error("the same convolution has another plan")
	}
	if want := v.Workspace > 0; (plan.WorkspaceBytes() > 0) != want || plan.WorkspaceBytes() > v.Workspace {
		t.Errorf("a workspace of %d bytes", plan.WorkspaceBytes())
	}
	values := tensors(random, &v)
	x, w, y := values[0], values[1], values[2]
	result := map[cudnn.Kind]int{cudnn.Forward: 2, cudnn.BackwardData: 0, cudnn.BackwardFilter: 1}[v.Kind]
	want := make([]float64, len(values[result]))
	sums(&v, func(i, k, o int) {
		switch v.Kind {
		case cudnn.Forward:
			want[o] += float64(x[i]) * float64(w[k])
		case cudnn.BackwardData:
			want[i] += float64(y[o]) * float64(w[k])
		case cudnn.BackwardFilter:
			want[k] += float64(y[o]) * float64(x[i])
		}
	})
	workspace := driver.Pointer(0)
	if n := plan.WorkspaceBytes(); n > 0 {
		workspace = r.upload(make([]float32, n/4))
	}
	at := [3]driver.Pointer{r.upload(x), r.upload(w), r.upload(y)}
	graph, err := r.s.Capture(func() error { return plan.Run(r.s, at[0], at[1], at[2], workspace) })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(graph.Launch(r.s, 1), r.s.Synchronize(), graph.Close()); err != nil {
		t.Fatal(err)
	}
	for k, before := range values {
		got := make([]float32, len(before))
		if err := r.s.Download(driver.Bytes(got), at[k]); err != nil {
			t.Fatal(err)
		}
		for i, g := range got {
			if k != result && g != before[i] {
				t.Fatalf("a tensor that is read was written")
			}
			if d := float64(g) - want[min(i, len(want)-1)]; k == result && !(d <= 1e-6 && d >= -1e-6) { // half a unit in the last place of sums below 16
				t.Fatalf("element %d: %v, want %v", i, g, want[i])
			}
		}
	}
}

func TestPrecisions(t *testing.T) {
	r := newRig(t, "")
	x := []float32{1 + 1.0/256, 1 + 1.0/2048} // of which tf32 keeps the first alone
	for math, want := range map[cudnn.Math]float32{cudnn.Float32: x[0] + x[1], cudnn.TF32: x[0] + 1} {
		v := line(cudnn.Convolution{N: 1, CI: 2, CO: 1, Groups: 1, Math: math, Workspace: 1 << 20}, 1, 1, 1, 1, 1, 0)
		plan, err := r.h.Plan(v)
		r.ok(err)
		y := r.upload([]float32{0})
		r.ok(plan.Run(r.s, r.upload(x), r.upload([]float32{1, 1}), y, r.upload(make([]float32, plan.WorkspaceBytes()/4))))
		got := make([]float32, 1)
		r.ok(r.s.Download(driver.Bytes(got), y))
		if got[0] != want {
			t.Errorf("arithmetic %d: %v, want %v", math, got, want)
		}
	}
}

// TestRefusals: what the library has no algorithm for, what it refuses, and addresses of nothing are errors that say so, with both majors' values of a status.
func TestRefusals(t *testing.T) {
	for settings, code := range map[string]int{"": 2000, "cudnn=8907": 3} {
		r := newRig(t, settings)
		v := line(cudnn.Convolution{N: 1, CI: 1, CO: 1, Groups: 1, Math: cudnn.Float32, Workspace: 1 << 20}, 5, 3, 3, 1, 1, 0)
		for range 2 {
			if _, err := r.h.Plan(v); !errors.Is(err, cudnn.ErrUnsupported) {
				t.Errorf("from one channel to one: %v", err)
			}
		}
		v.CO, v.Out[2] = 2, 4 // one more than there are
		var e *cudnn.Error
		if _, err := r.h.Plan(v); errors.Is(err, cudnn.ErrUnsupported) || !errors.As(err, &e) || e.Code != code || e.Text != "CUDNN_STATUS_BAD_PARAM" ||
			e.Call != "cudnnGetConvolutionForwardAlgorithm_v7" {
			t.Errorf("a result that is too large: %v", err)
		}
		v.Out[2] = 3
		plan, err := r.h.Plan(v)
		r.ok(err)
		a := r.upload(make([]float32, 64))
		if err := plan.Run(r.s, a, a, a, 0); err == nil || !strings.Contains(err.Error(), "cudnnConvolutionForward: CUDNN_STATUS_BAD_PARAM") {
			t.Errorf("no workspace: %v", err)
		}
		if err := plan.Run(r.s, a, a, 1<<40, a); err == nil || !strings.Contains(err.Error(), "CUDNN_STATUS_EXECUTION_FAILED") {
			t.Errorf("an address in no allocation: %v", err)
		}
	}
	for code, unsupported := range map[int]bool{9: true, 3000: true, 3002: true, 3: false, 2000: false, 4000: false, 5000: false} {
		if errors.Is(&cudnn.Error{Code: code}, cudnn.ErrUnsupported) != unsupported {
			t.Errorf("status %d", code)
		}
	}
}

// TestPrototypes holds shim.h against NVIDIA's cudnn.h, where that is: NETMEND_CUDNN_INCLUDE names the folders, separated by colons, where it and what it includes are.
func TestPrototypes(t *testing.T) {
	folders := os.Getenv("NETMEND_CUDNN_INCLUDE")
	if folders == "" {
		t.Skip("NETMEND_CUDNN_INCLUDE does not name NVIDIA's headers of cuDNN and of the CUDA runtime")
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
