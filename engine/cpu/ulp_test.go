//go:build cgo && amd64

package cpu_test

import (
	"math"
	"testing"

	"netmend/engine"
	"netmend/engine/cpu"
)

// exactly are the functions in float64, accurate there to about 1e-15, and the error that we allow ourselves: in units of the last place
// of the correctly rounded result.
var exactly = []struct {
	fn   engine.Fn
	f    func(x float64) float64
	ulps float64
}{
	{engine.Exp, math.Exp, 1},
	{engine.Log, math.Log, 1},
	{engine.Sqrt, math.Sqrt, 0.5001},
	{engine.Tanh, math.Tanh, 1},
	{engine.Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 1},
	{engine.Asin, math.Asin, 1},
	{engine.Acos, math.Acos, 1},
	{engine.Atan, math.Atan, 1},
	{engine.Sinh, math.Sinh, 1},
	{engine.Asinh, math.Asinh, 1},
	{engine.Acosh, math.Acosh, 1},
	{engine.Atanh, math.Atanh, 1},
	{engine.Erf, math.Erf, 1},
	{engine.Softplus, func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, 1},
	{engine.Gelu, func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }, 1},
	{engine.Swish, func(x float64) float64 { return x / (1 + math.Exp(-x)) }, 1},
	{engine.Elu, func(x float64) float64 {
		if x < 0 {
			return math.Expm1(x)
		}
		return x
	}, 1},
	{engine.Mish, func(x float64) float64 { return x * math.Tanh(max(x, 0)+math.Log1p(math.Exp(-math.Abs(x)))) }, 1},
}

// TestUlps measures elementary functions on floats spread over all bit patterns: every sign and exponent, NaN and infinities included.
func TestUlps(t *testing.T) {
	const n, step = 1 << 19, 1<<13 - 1 // step is odd: the patterns run through all low bits
	x := make([]float32, n)
	for i := range x {
		x[i] = math.Float32frombits(uint32(i) * step)
	}
	// The last stretch is dense where the functions bend.
	for i := range n / 4 {
		x[n-1-i] = float32(i-n/8) / (n / 8) * 20
	}
	each(t, func(t *testing.T) {
		for _, c := range exactly {
			t.Run(c.fn.String(), func(t *testing.T) { ulps(t, x, c.fn, c.f, c.ulps) })
		}
	})
}

func ulps(t *testing.T, x []float32, fn engine.Fn, f func(float64) float64, limit float64) {
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	s := p.NewState("x", []int{len(x)})
	b.Output(b.Unary(fn, s, 1))
	e, err := open(t, cpu.Options{Threads: 2}).Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Load(s, x); err != nil {
		t.Fatal(err)
	}
	res, err := e.Run(t.Context(), engine.Schedule{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	worst, where := 0.0, float32(0)
	for i, got := range res.Outputs[0] {
		want := f(float64(x[i]))
		round := float32(want)
		switch {
		case math.IsNaN(want) != math.IsNaN(got) || math.IsInf(float64(round), 0) != math.IsInf(got, 0):
			t.Fatalf("%s(%g) is %g, want %g", fn, x[i], got, want)
		case math.IsNaN(want) || math.IsInf(got, 0):
			if got != float64(round) && !math.IsNaN(got) {
				t.Fatalf("%s(%g) is %g, want %g", fn, x[i], got, want)
			}
			continue
		}
		unit := float64(math.Nextafter32(float32(math.Abs(float64(round))), math.MaxFloat32)) - math.Abs(float64(round))
		if d := math.Abs(got-want) / unit; d > worst {
			worst, where = d, x[i]
		}
	}
	t.Logf("%s: at most %.3f units in the last place, at %g", fn, worst, where)
	if !(worst <= limit) {
		t.Errorf("%s(%g) is %.3f units in the last place off, allowed %g", fn, where, worst, limit)
	}
}
