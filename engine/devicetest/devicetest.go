// Package devicetest is one table of cases that any [engine.Device] must pass: parity with the float64 reference device, gradients,
// non-finite values, repeatability, whole networks, and the errors of the interface. A device joins by calling [Run] from a test.
//
// Inputs come from a seed (flag -devicetest.seed) and the case's name. A failure prints the line that replays it.
//
// Left open on purpose: padding times a non-finite weight (0·Inf or nothing, as the device computes it), and gradients at NaN inputs but
// for Relu.
package devicetest

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
)

var seed = flag.Uint64("devicetest.seed", 1, "seed of the inputs of the device tests")

// Run tests a device against the whole table.
func Run(t *testing.T, dev engine.Device) { RunRounded(t, dev, 0) }

// RunRounded is Run for a device that rounds the factors of matrix products and convolutions with a relative error of at most unit: 2⁻⁸ for
// bfloat16, 0 where they stay float32. See rounded for what that allows.
func RunRounded(t *testing.T, dev engine.Device, unit float64) {
	t.Logf("device: %s", dev.Name())
	for _, c := range table() {
		c.unit = unit
		t.Run(c.name, func(t *testing.T) { c.parity(t, dev) })
	}
	for _, c := range nonFinite() {
		c.unit = unit
		t.Run("nonfinite/"+c.name, func(t *testing.T) { c.nonFinite(t, dev) })
	}
	t.Run("networks", func(t *testing.T) { networks(t, dev, unit) })
	t.Run("interface", func(t *testing.T) { interfaces(t, dev) })
}

// testCase is one small program. build appends to g.b and names inputs and outputs.
type testCase struct {
	name   string
	build  func(g *graph)
	noGrad bool    // not differentiated: it changes state, or has no gradient
	loose  float64 // factor of the tolerance, 1 when 0; the case says why
	unit   float64 // of RunRounded
}

// graph is a program under construction with the values of its inputs.
type graph struct {
	p    *engine.Program
	b    *engine.Builder
	r    *rand.Rand
	load map[engine.TensorID][]float64 // State
	feed map[engine.TensorID][]float64 // of all steps
	in   []engine.TensorID             // differentiated by
	out  []engine.TensorID             // differentiated
	only []engine.TensorID             // compared, not differentiated
	loss engine.TensorID
}

const (
	steps     = 2 // of every case, so that state that one step leaves behind shows in the next
	firstStep = 5
	epsilon32 = 1.0 / (1 << 23)
	// tiny is the smallest normal float32: a device may flush smaller results to zero.
	tiny = 1.0 / (1 << 63) / (1 << 63)
)

func newGraph(name string) *graph {
	h := fnv.New64a()
	h.Write([]byte(name))
	p := engine.NewProgram(0)
	return &graph{p: p, b: p.NewFunc("f", 0), r: rand.New(rand.NewPCG(*seed, h.Sum64())),
		load: make(map[engine.TensorID][]float64), feed: make(map[engine.TensorID][]float64)}
}

// values are uniform in [lo, hi) and exact in float32, so that every device starts from the same numbers.
func (g *graph) values(n int, lo, hi float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(float32(lo + (hi-lo)*g.r.Float64()))
	}
	return v
}

// between is a differentiated input with elements in [lo, hi).
func (g *graph) between(lo, hi float64, shape ...int) engine.TensorID {
	id := g.given(g.values(engine.Len(shape), lo, hi), shape...)
	g.in = append(g.in, id)
	return id
}

// x is a differentiated input with elements in [-1, 1).
func (g *graph) x(shape ...int) engine.TensorID { return g.between(-1, 1, shape...) }

// given is an input that is not differentiated by.
func (g *graph) given(v []float64, shape ...int) engine.TensorID {
	id := g.p.NewState("s"+string(rune('a'+len(g.load)%26))+string(rune('a'+len(g.load)/26)), shape)
	g.load[id] = v
	return id
}

// ints is a constant of whole numbers in [lo, hi).
func (g *graph) ints(lo, hi int, shape ...int) engine.TensorID {
	v := make([]float64, engine.Len(shape))
	for i := range v {
		v[i] = float64(lo + g.r.IntN(hi-lo))
	}
	return g.p.NewConstant("", engine.Int, shape, v)
}

func (g *graph) emit(ids ...engine.TensorID) { g.out = append(g.out, ids...) }
func (g *graph) show(ids ...engine.TensorID) { g.only = append(g.only, ids...) }

// finish makes the outputs: those of the case, then in differentiable cases the gradients of g.loss = Σ out·weights by every input.
func (g *graph) finish(t *testing.T, grad bool) {
	t.Helper()
	for _, id := range slices.Concat(g.out, g.only) {
		g.b.Output(id)
	}
	if grad {
		loss := engine.None
		for _, id := range g.out {
			if g.b.Type(id) != engine.Float {
				continue
			}
			w := g.p.NewConstant("", engine.Float, g.b.Shape(id), g.values(engine.Len(g.b.Shape(id)), -1, 1))
			l := g.b.Reduce(engine.Sum, g.b.Mul(id, w), false)
			if loss != engine.None {
				l = g.b.Add(loss, l)
			}
			loss = l
		}
		g.loss = loss
		for _, d := range g.b.Gradient(loss, g.in) {
			if d != engine.None {
				g.b.Output(d)
			}
		}
	}
	if err := g.b.Err(); err != nil {
		t.Fatal(err)
	}
	if err := g.p.Check(); err != nil {
		t.Fatal(err)
	}
}

// run compiles the graph on a device, loads its inputs and runs it.
func (g *graph) run(t *testing.T, dev engine.Device) *engine.Result {
	t.Helper()
	for _, f := range g.p.Funcs {
		for i := range f.Ops {
			if err := dev.Supports(g.p, &f.Ops[i]); err != nil {
				t.Fatalf("not supported: %v", err)
			}
		}
	}
	e, err := dev.Compile(g.p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for id, v := range g.load {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	res, err := e.Run(context.Background(), engine.Schedule{Steps: steps, FirstStep: firstStep, Seed: 42, Feeds: g.feed})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// parity compares a device with the float64 reference: outputs, and gradients where the case has any.
func (c *testCase) parity(t *testing.T, dev engine.Device) {
	g := newGraph(c.name)
	c.build(g)
	tol := max(tolerance(g.p, g.b.Func().Ops)*max(c.loose, 1), rounded(g.b.Func().Ops, c.unit))
	grad := !c.noGrad
	g.finish(t, grad)
	want := g.run(t, reference.NewFloat64())
	got := g.run(t, dev)
	for k := range want.Outputs {
		what := "output"
		if k >= len(g.out)+len(g.only) {
			what, tol = "gradient", max(tolerance(g.p, g.b.Func().Ops)*max(c.loose, 1), rounded(g.b.Func().Ops, c.unit))
		}
		compare(t, what, k, got.Outputs[k], want.Outputs[k], tol)
	}
}

// nonFinite compares a device with the float32 reference, so that what overflows float32 is infinite on both sides.
func (c *testCase) nonFinite(t *testing.T, dev engine.Device) {
	g := newGraph(c.name)
	c.build(g)
	tol := max(tolerance(g.p, g.b.Func().Ops)*max(c.loose, 1), rounded(g.b.Func().Ops, c.unit))
	g.finish(t, false)
	want, got := g.run(t, reference.New()), g.run(t, dev)
	for k := range want.Outputs {
		classes(t, k, got.Outputs[k], want.Outputs[k], tol)
	}
}

// exact are the kinds whose results are copies, whole numbers or one of their inputs: they must agree to the last bit.
var exact = []engine.Kind{engine.Batch, engine.Where, engine.Broadcast, engine.MaxPool, engine.Transpose, engine.Reshape, engine.Concat,
	engine.Slice, engine.Pad, engine.Gather, engine.Cast, engine.OneHot, engine.ArgMax}

// tolerance is the relative error that float32 may make in a list of operations: rounding errors of sums of K terms add up like a random
// walk, ε·sqrt(K); 8 covers the constants and the few operations in a row. Transcendental functions get 40 ε (5e-6): vector libraries
// promise a few units in the last place, and composites such as Gelu and Mish multiply them.
func tolerance(p *engine.Program, ops []engine.Op) float64 {
	tol := 0.0
	for i := range ops {
		op := &ops[i]
		switch {
		case slices.Contains(exact, op.Kind), op.Kind == engine.Reduce && (op.Fn == engine.Max || op.Fn == engine.Min):
		case op.Kind == engine.Unary && op.Fn != engine.Affine, op.Kind == engine.UnaryGrad, op.Fn == engine.Pow:
			tol = max(tol, 40*epsilon32)
		case op.Kind == engine.Recurrent, op.Kind == engine.RecurrentGrad:
			tol = max(tol, 40*epsilon32, 8*epsilon32*math.Sqrt(float64(terms(p, op))))
		default:
			tol = max(tol, 8*epsilon32*math.Sqrt(float64(terms(p, op))))
		}
	}
	return tol
}

// rounded is the error, relative to a result's size and the root mean square of its tensor, that rounded factors may make. Both factors of a
// product are off by at most unit each, independently, so that a sum of products is off like a random walk: by its root mean square times
// unit·sqrt(2/3) for one standard deviation. Six units cover the largest of thousands of elements and the gradients behind them.
func rounded(ops []engine.Op, unit float64) float64 {
	for i := range ops {
		switch ops[i].Kind {
		case engine.MatMul, engine.Conv, engine.ConvDX, engine.ConvDW:
			return 6 * unit
		}
	}
	return 0
}

// terms is the number of terms that an operation adds up.
func terms(p *engine.Program, op *engine.Op) int {
	in := func(i int) []int { return p.Tensors[op.In[i]].Shape }
	out := p.Tensors[op.Out[0]].Shape
	switch op.Kind {
	case engine.MatMul:
		if op.TransA {
			return in(0)[len(in(0))-2]
		}
		return in(0)[len(in(0))-1]
	case engine.Conv:
		return engine.Len(in(1)[1:])
	case engine.ConvDX:
		return engine.Len(in(1)) / in(1)[1]
	case engine.ConvDW:
		return engine.Len(in(0)) / in(0)[1]
	case engine.AvgPool, engine.AvgPoolGrad, engine.MaxPoolGrad:
		return engine.Len(op.Window.Kernel)
	case engine.BatchNorm, engine.BatchNormGrad:
		return engine.Len(out) / max(1, out[1])
	case engine.Reduce, engine.Moments:
		return max(1, engine.Len(in(0))/max(1, engine.Len(out)))
	case engine.Softmax, engine.LogSoftmax, engine.SoftmaxGrad, engine.LogSoftmaxGrad:
		return out[op.Axes[0]]
	case engine.GatherGrad:
		return engine.Len(in(1))
	case engine.Recurrent:
		return in(1)[0]
	case engine.RecurrentGrad: // of R's gradient, and of a state's
		return max(out[0]*out[1], out[2])
	}
	return 1
}

// compare reports the first element that is off by more than tol times (its size + the root mean square of all).
func compare(t *testing.T, what string, k int, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s %d: %d values, want %d (%s)", what, k, len(got), len(want), replay(t))
	}
	square := 0.0
	for _, w := range want {
		square += w * w / float64(len(want))
	}
	scale := math.Sqrt(square)
	if math.IsNaN(scale) || math.IsInf(scale, 0) {
		scale = 0
	}
	if len(want) < 8 { // so few sums may all have cancelled by chance; their terms are about 1
		scale = max(scale, 0.3)
	}
	for i, w := range want {
		if limit := tol*(math.Abs(w)+scale) + tiny; !same(got[i], w, limit) {
			t.Errorf("%s %d, element %d of %d: got %.9g, want %.9g, off by %.3g, allowed %.3g (%s)", what, k, i, len(want), got[i], w,
				math.Abs(got[i]-w), limit, replay(t))
			return
		}
	}
}

// classes is compare for values of very different size: each is judged by itself.
func classes(t *testing.T, k int, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("output %d: %d values, want %d (%s)", k, len(got), len(want), replay(t))
	}
	small := tiny
	if tol >= 40*epsilon32 { // approximations are good to so much of their function's range, which is about 1
		small = 1e-6
	}
	for i, w := range want {
		if !same(got[i], w, tol*math.Abs(w)+small) {
			t.Errorf("output %d, element %d of %d: got %.9g, want %.9g (%s)", k, i, len(want), got[i], w, replay(t))
			return
		}
	}
}

// same: NaN equals NaN, an infinity equals itself.
func same(got, want, limit float64) bool {
	switch {
	case math.IsNaN(want) || math.IsNaN(got):
		return math.IsNaN(want) && math.IsNaN(got)
	case math.IsInf(want, 0) || math.IsInf(got, 0):
		return got == want
	}
	return math.Abs(got-want) <= limit
}

func replay(t *testing.T) string {
	return fmt.Sprintf("replay: go test -run '^%s$' -devicetest.seed=%d", regexp.QuoteMeta(t.Name()), *seed)
}
