//go:build linux && cgo

package cuda_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"netmend/cuda"
	"netmend/cuda/cudnn"
	"netmend/cuda/emulator"
	"netmend/engine"
	"netmend/engine/devicetest"
	"netmend/engine/reference"
)

// openCuDNN is open with cuDNN, which convolves even the smallest images: the emulator's, or the machine's, where there is one.
func openCuDNN(t testing.TB, o cuda.Options, settings string) engine.Device {
	t.Helper()
	o.CuDNN = true
	if !*gpu {
		emulator.Use(t, settings)
		t.Setenv("NETMEND_LIBCUDNN", os.Getenv("NETMEND_LIBCUDA")) // the emulator is both
	} else if _, err := cudnn.Open(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(cuda.LeastConvolution(1))
	dev, err := cuda.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// TestCuDNNDevice: the table of cases, with every convolution that cuDNN has an algorithm for by that.
func TestCuDNNDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	devicetest.Run(t, openCuDNN(t, cuda.Options{}, ""))
}

var calls = []string{"cudnnConvolutionForward", "cudnnConvolutionBackwardData", "cudnnConvolutionBackwardFilter"}

// TestCuDNNConvolutions: cuDNN computes the results and the gradients of what it can: groups, strides, dilation, one to three axes, padding that is the same before and
// behind or makes no difference. Other padding and depthwise convolutions are ours. Recorded in a graph or launched anew, the bits are the same, and the same twice.
func TestCuDNNConvolutions(t *testing.T) {
	dev, direct := openCuDNN(t, cuda.Options{}, ""), openCuDNN(t, cuda.Options{}, "")
	cuda.Direct(direct)
	if name := dev.Name(); !strings.Contains(name, ", cuDNN ") {
		t.Errorf("the name %q does not say so", name)
	}
	for _, c := range []struct {
		name string
		x, w []int
		win  engine.Window
		ours bool
	}{
		{name: "plane", x: []int{2, 3, 9, 8}, w: []int{5, 3, 3, 3}, win: window(2, 1, 1, 1, 1, 1)},
		{name: "groups", x: []int{2, 6, 7, 6}, w: []int{4, 3, 3, 3}, win: window(2, 1, 1, 1, 1, 2)},
		{name: "stride", x: []int{2, 3, 9, 9}, w: []int{4, 3, 3, 3}, win: window(2, 2, 1, 1, 1, 1)},
		{name: "dilation", x: []int{2, 3, 9, 9}, w: []int{4, 3, 3, 3}, win: window(2, 1, 2, 2, 2, 1)},
		{name: "line", x: []int{2, 3, 9}, w: []int{4, 3, 3}, win: window(1, 1, 1, 1, 1, 1)},
		{name: "volume", x: []int{1, 2, 4, 5, 6}, w: []int{3, 2, 3, 3, 3}, win: window(3, 1, 1, 1, 1, 1)},
		{name: "one place", x: []int{1, 4, 3, 3}, w: []int{5, 4, 3, 3}, win: window(2, 1, 1, 0, 0, 1)},
		{name: "one channel", x: []int{2, 3, 5, 5}, w: []int{1, 3, 3, 3}, win: window(2, 1, 1, 1, 1, 1)},
		{name: "end pads of no effect", x: []int{2, 3, 8, 8}, w: []int{4, 3, 3, 3}, win: window(2, 2, 1, 1, 0, 1)},
		{name: "end pads", x: []int{2, 3, 8, 8}, w: []int{4, 3, 3, 3}, win: window(2, 2, 1, 0, 1, 1), ours: true},
		{name: "depthwise", x: []int{2, 4, 6, 6}, w: []int{4, 1, 3, 3}, win: window(2, 1, 1, 1, 1, 4), ours: true},
		{name: "one channel to one", x: []int{2, 1, 6, 6}, w: []int{1, 1, 3, 3}, win: window(2, 1, 1, 1, 1, 1), ours: !*gpu}, // the emulator's cuDNN has no algorithm; NVIDIA's may have
	} {
		t.Run(c.name, func(t *testing.T) {
			p, load := convolution(c.x, c.w, c.win)
			want, _ := outputs(t, reference.NewFloat64(), p, load)
			got, kernels := outputs(t, dev, p, load)
			t.Logf("the step is %v", kernels)
			for _, call := range calls {
				// Beside the plainest, NVIDIA's library may have no algorithm.
				if used := slices.Contains(kernels, call); used == c.ours && (!*gpu || used || c.name == "plane") {
					t.Errorf("%s: %t", call, used)
				}
			}
			for k := range want {
				for i, w := range want[k] {
					if d := got[k][i] - w; !(math.Abs(d) <= 1e-4) { // some ten units in the last place of sums of a hundred products of about 1
						t.Fatalf("output %d, element %d: %v, want %v", k, i, got[k][i], w)
					}
				}
			}
			for _, dev := range []engine.Device{dev, direct} {
				again, _ := outputs(t, dev, p, load)
				for k := range again {
					if !slices.Equal(again[k], got[k]) {
						t.Errorf("output %d of the same convolution has other bits", k)
					}
				}
			}
		})
	}
}

// TestCuDNNOnlyWhenAsked: neither small convolutions nor a device that was not asked to use it reach cuDNN, and one that was asked and finds none does not open.
func TestCuDNNOnlyWhenAsked(t *testing.T) {
	emulated(t)
	p, load := convolution([]int{2, 3, 9, 8}, []int{5, 3, 3, 3}, window(2, 1, 1, 1, 1, 1))
	reaches := func(dev engine.Device) bool {
		_, kernels := outputs(t, dev, p, load)
		return slices.ContainsFunc(calls, func(c string) bool { return slices.Contains(kernels, c) })
	}
	dev := openCuDNN(t, cuda.Options{}, "")
	products := 5 * 3 * 9 * 2 * 9 * 8
	defer cuda.LeastConvolution(products + 1)()
	if reaches(dev) {
		t.Error("a small convolution is cuDNN's")
	}
	cuda.LeastConvolution(products)
	if !reaches(dev) {
		t.Error("one that is large enough is not")
	}
	t.Setenv("NETMEND_LIBCUDNN", "")
	if reaches(open(t, cuda.Options{}, "")) {
		t.Error("nobody asked for it")
	}
	t.Setenv("NETMEND_LIBCUDNN", "off")
	for _, precision := range cuda.Precisions {
		emulator.Use(t, "compute=80")
		if _, err := cuda.New(cuda.Options{CuDNN: true, Precision: precision}); err == nil || !strings.Contains(err.Error(), `NETMEND_LIBCUDNN is "off"`) {
			t.Errorf("%s, no library: %v", precision, err)
		}
	}
}

// TestCuDNNPrecision: tf32 reaches cuDNN, and bf16 stays with our kernels.
func TestCuDNNPrecision(t *testing.T) {
	for precision, unit := range map[string]float64{"tf32": 1.0 / (1 << 11), "bf16": 1.0 / (1 << 8)} {
		dev := openCuDNN(t, cuda.Options{Precision: precision}, "compute=80")
		if strings.Contains(dev.Name(), "cuDNN") != (precision == "tf32") {
			t.Errorf("%s: the name is %q", precision, dev.Name())
		}
		p, load := convolution([]int{2, 16, 9, 8}, []int{24, 16, 3, 3}, window(2, 1, 1, 1, 1, 1))
		want, _ := outputs(t, reference.NewFloat64(), p, load)
		got, kernels := outputs(t, dev, p, load)
		for _, call := range calls {
			if used := slices.Contains(kernels, call); used != (precision == "tf32") && (!*gpu || used) {
				t.Errorf("%s: the step is %v", precision, kernels)
			}
		}
		for k := range want[:3] { // the result, and the gradients by images and kernel; that by the bias is a sum in float32
			square, off := 0.0, 0.0
			for i, w := range want[k] {
				square += w * w / float64(len(want[k]))
				off = max(off, math.Abs(got[k][i]-w))
			}
			if off /= math.Sqrt(square); !(off <= 6*unit && (*gpu || off > unit/50)) { // a library may round less
				t.Errorf("%s, output %d: off by %.2g of the root mean square, wants some, and at most %.2g", precision, k, off, 6*unit)
			}
		}
	}
}

// window is one with the same along all axes.
func window(axes, stride, dilation, begin, end, groups int) engine.Window {
	w := engine.Window{Group: groups}
	for range axes {
		w.Kernel, w.Strides, w.Dilations = append(w.Kernel, 3), append(w.Strides, stride), append(w.Dilations, dilation)
		w.PadBegin, w.PadEnd = append(w.PadBegin, begin), append(w.PadEnd, end)
	}
	return w
}

// convolution is a program of one convolution of random states with a bias and a function of the result. Its outputs are that, and the gradients by images, kernel
// and bias of a sum of it with random weights.
func convolution(x, w []int, win engine.Window) (*engine.Program, map[engine.TensorID][]float32) {
	return randomProgram(func(f *engine.Builder, state func(...int) engine.TensorID) []engine.TensorID {
		in := []engine.TensorID{state(x...), state(w...), state(w[0])}
		y := f.Affine(f.Conv(in[0], in[1], in[2], win), 0.5, 1)
		return append([]engine.TensorID{y}, f.Gradient(f.Reduce(engine.Sum, f.Mul(y, state(f.Shape(y)...)), false), in)...)
	})
}
