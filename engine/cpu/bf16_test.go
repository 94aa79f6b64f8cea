//go:build cgo && amd64

package cpu_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/devicetest"
	"netmend/engine/reference"
)

// bf16 is the device with factors rounded to bfloat16, on a machine that can.
func bf16(t *testing.T, threads int) engine.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: threads, Precision: "bf16"})
	if err != nil {
		if !strings.Contains(err.Error(), "no AVX-512 BF16") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func TestBF16Device(t *testing.T) {
	dev := bf16(t, 2)
	if !strings.Contains(dev.Name(), ", bf16)") {
		t.Errorf("name is %q", dev.Name())
	}
	devicetest.RunRounded(t, dev, 1.0/(1<<8))
}

func TestPrecisionUnknown(t *testing.T) {
	if _, err := cpu.New(cpu.Options{Precision: "float16"}); err == nil || !strings.Contains(err.Error(), "float16") {
		t.Errorf("error %v", err)
	}
}

// product is a program that multiplies two states, and convolves them where they have four axes, forward and backward.
type product struct {
	p  *engine.Program
	in []engine.TensorID
}

func newProduct(x, y []int, transX, transY bool) product {
	p := engine.NewProgram(0)
	in := []engine.TensorID{p.NewState("x", x), p.NewState("y", y)}
	b := p.NewFunc("f", 0)
	if len(x) == 2 {
		b.Output(b.MatMul(in[0], in[1], engine.None, transX, transY))
	} else {
		one := []int{1, 1}
		z := b.Conv(in[0], in[1], engine.None, engine.Window{Kernel: y[2:], Strides: one, Dilations: one, PadBegin: one, PadEnd: one, Group: 1})
		b.Output(z)
		for _, g := range b.Gradient(b.Reduce(engine.Sum, b.Mul(z, z), false), in) { // the gradient 2·z is a whole number too
			b.Output(g)
		}
	}
	if b.Err() != nil {
		panic(b.Err())
	}
	return product{p, in}
}

func (q product) run(t *testing.T, dev engine.Device, values ...[]float32) [][]float64 {
	t.Helper()
	e, err := dev.Compile(q.p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i, v := range values {
		if err := e.Load(q.in[i], v); err != nil {
			t.Fatal(err)
		}
	}
	res, err := e.Run(t.Context(), engine.Schedule{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	return res.Outputs
}

// TestBF16Exact: products of small whole numbers, which bfloat16 holds, are exact: sums are kept in float32, and so are the results.
func TestBF16Exact(t *testing.T) {
	dev, r := bf16(t, 2), rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		x, y           []int
		transX, transY bool
	}{
		{[]int{128, 300}, []int{300, 70}, false, false}, {[]int{300, 33}, []int{300, 130}, true, false}, {[]int{17, 1000}, []int{41, 1000}, false, true},
		{[]int{65, 40}, []int{33, 65}, true, true}, {[]int{1, 20000}, []int{20000, 3}, false, false},
		{[]int{5, 3, 9, 8}, []int{7, 3, 3, 3}, false, false}, {[]int{8, 16, 12, 12}, []int{32, 16, 3, 3}, false, false},
		{[]int{4, 1, 10, 10}, []int{20, 1, 5, 5}, false, false},
	} {
		q := newProduct(c.x, c.y, c.transX, c.transY)
		whole := func(shape []int, most int) []float32 {
			v := make([]float32, engine.Len(shape))
			for i := range v {
				v[i] = float32(r.IntN(2*most+1) - most)
			}
			return v
		}
		x, y := whole(c.x, 100), whole(c.y, 100)
		if len(c.x) == 4 { // the gradient is twice the result: small enough for eight bits in most places, and compared there
			x, y = whole(c.x, 1), whole(c.y, 1)
		}
		got, want := q.run(t, dev, x, y), q.run(t, reference.NewFloat64(), x, y)
		for k := range want {
			for i, w := range want[k] {
				if got[k][i] != w {
					t.Errorf("%v by %v, output %d, element %d: %v, want %v", c.x, c.y, k, i, got[k][i], w)
					break
				}
			}
		}
	}
}

// TestBF16Infinity: an infinity spoils the places that its window reaches, and no other.
func TestBF16Infinity(t *testing.T) {
	dev := bf16(t, 2)
	for _, channels := range []int{1, 2, 3, 4, 6, 9, 10, 16, 18, 20, 34, 50} {
		q := newProduct([]int{2, channels, 9, 7}, []int{6, channels, 3, 3}, false, false)
		x, w := make([]float32, 2*channels*9*7), make([]float32, 6*channels*9)
		for i := range x {
			x[i] = 1
		}
		for i := range w {
			w[i] = 1
		}
		x[(channels-1)*63+4*7+3] = float32(math.Inf(1)) // sample 0, last channel, row 4, column 3
		for i, v := range q.run(t, dev, x, w)[0] {
			row, col := i%63/7, i%7
			if reached := i < 6*63 && row >= 3 && row <= 5 && col >= 2 && col <= 4; reached != math.IsInf(v, 1) || !reached && math.IsNaN(v) {
				t.Fatalf("%d channels, output %d (row %d, column %d): %g", channels, i, row, col, v)
			}
		}
	}
}

// TestBF16Rounding: a product with the identity shows how a factor is rounded: to nearest, ties to even; NaN and infinities stay.
func TestBF16Rounding(t *testing.T) {
	const n = 128
	dev := bf16(t, 1)
	x, identity := make([]float32, n*n), make([]float32, n*n)
	for i := range n {
		identity[i*n+i] = 1
	}
	for i := range x {
		x[i] = math.Float32frombits(uint32(i)*524287 + 1<<15) // all exponents; many ties
		if math.IsNaN(float64(x[i])) || math.IsInf(float64(x[i]), 0) || math.Abs(float64(x[i])) < 0x1p-126 {
			x[i] = float32(i) + 0.5 // a NaN would fill its row
		}
		if math.Abs(float64(x[i])) > 3.3e38 { // rounds to infinity
			x[i] = 1
		}
	}
	got := newProduct([]int{n, n}, []int{n, n}, false, false).run(t, dev, x, identity)[0]
	for i, v := range x {
		u := math.Float32bits(v)
		want := u &^ 0xffff
		switch low := u & 0xffff; {
		case low > 1<<15, low == 1<<15 && want&(1<<16) != 0:
			want += 1 << 16
		}
		if float32(got[i]) != math.Float32frombits(want) {
			t.Fatalf("%g (%#x) became %g, want %g", v, u, got[i], math.Float32frombits(want))
		}
	}
	x[0], x[n+1], x[2*n+2] = float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))
	ones := make([]float32, n*n)
	for i := range ones {
		ones[i] = 1
	}
	got = newProduct([]int{n, n}, []int{n, n}, false, false).run(t, dev, x, ones)[0]
	if !math.IsNaN(got[0]) || !math.IsInf(got[n], 1) || !math.IsInf(got[2*n], -1) {
		t.Errorf("rows with NaN, infinity and minus infinity add up to %g, %g, %g", got[0], got[n], got[2*n])
	}
}
