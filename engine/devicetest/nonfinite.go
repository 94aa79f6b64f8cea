package devicetest

import (
	"fmt"
	"math"

	"netmend/engine"
)

var inf, nan = math.Inf(1), math.NaN()

// grid is every kind of float32: NaN, infinities, zeros, denormals, the smallest normal, ordinary and huge numbers.
var grid = round32([]float64{nan, inf, -inf, 0, math.Copysign(0, -1), 1e-40, -1e-40, 0x1p-126, 1e-20, -1e-20, 1e-3, 0.5, -0.5, 1, -1, 2, -2, 3, -3,
	10, -10, 88, -88, 100, -100, 1e4, -1e4, 1e18, 1e30, -1e30, 3e38, -3e38})

func round32(v []float64) []float64 {
	for i := range v {
		v[i] = float64(float32(v[i]))
	}
	return v
}

// nonFinite is the cases whose inputs are not all finite.
func nonFinite() []testCase {
	var cases []testCase
	for _, part := range []func() []testCase{nonFiniteElementwise, nonFiniteReductions, nonFiniteLayers, nonFiniteRecurrent} {
		cases = append(cases, part()...)
	}
	return cases
}

func nonFiniteElementwise() []testCase {
	var cases []testCase
	for _, fn := range engine.Fns() {
		switch {
		case fn.Unary():
			d := domainOf(fn)
			cases = append(cases, testCase{name: "unary/" + fn.String(), build: func(g *graph) {
				v := grid
				if fn == engine.Sin || fn == engine.Cos { // whole turns of a huge argument are below its last bit
					v = within(grid, 100)
				}
				g.emit(g.b.Unary(fn, g.given(v, len(v)), d.alpha, d.beta))
			}})
			if fn.Differentiable() {
				cases = append(cases, nonFiniteGrad(fn))
			}
		case fn.Binary():
			cases = append(cases, testCase{name: "binary/" + fn.String(), build: func(g *graph) {
				g.emit(g.b.Binary(fn, g.given(grid, len(grid), 1), g.given(grid, len(grid))))
			}})
		}
	}
	for i, r := range rules() {
		cases = append(cases, testCase{name: fmt.Sprintf("update/%s %d", r.Kind, i), loose: 4, build: func(g *graph) {
			v := []float64{nan, inf, -inf, 0, 1, -1}
			coefs := g.p.NewFeed("coefs", ints{engine.RuleCoefs})
			g.feed[coefs] = ones(steps*engine.RuleCoefs, 0.5)
			p := g.given(ones(36, 0.25), 6, 6)
			var slots []engine.TensorID
			for range r.Slots() {
				slots = append(slots, g.given(ones(36, 0.5), 6, 6))
			}
			x, y := g.given(v, 6, 1), g.b.Broadcast(g.given(v, 6), ints{6, 6})
			g.b.Update(r, p, g.b.Where(g.b.Binary(engine.Equal, x, x), y, x), coefs, slots...)
			g.emit(p)
			g.emit(slots...)
		}})
	}
	return append(cases, testCase{name: "where", build: func(g *graph) {
		g.emit(g.b.Where(g.given(grid, len(grid), 1), g.given(grid, len(grid)), g.given(ones(len(grid), 7), len(grid))))
	}}, testCase{name: "lerp", build: func(g *graph) {
		s := g.given(ones(len(grid), 1), len(grid))
		g.b.Lerp(s, g.given(grid, len(grid)), 0.5, 0.5)
		g.emit(s)
	}}, testCase{name: "dropout", build: func(g *graph) {
		v := ones(64, nan)
		for i := range 32 {
			v[i] = -inf
		}
		g.emit(g.b.Dropout(g.given(v, 64), 0.5, 1), g.b.Dropout(g.given(v, 64), 1, 2))
	}}, testCase{name: "moments", build: func(g *graph) {
		v := round32([]float64{nan, inf, -inf, 0, math.Copysign(0, -1), 1e-40, 1e-20, 0.5, 1, -2, 10, 1e4, nan}) // no sum that cancels
		g.emit(g.b.Moments(g.given(v, len(v))), g.b.Moments(g.given([]float64{nan, inf}, 2)))
	}})
}

// within keeps what is not finite or at most so large.
func within(v []float64, limit float64) []float64 {
	var out []float64
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) || math.Abs(x) <= limit {
			out = append(out, x)
		}
	}
	return out
}

// nonFiniteGrad sends gradients of every kind through ordinary inputs; through NaN only where that is specified. Abs is left out at 0.
func nonFiniteGrad(fn engine.Fn) testCase {
	d := domainOf(fn)
	return testCase{name: "unarygrad/" + fn.String(), build: func(g *graph) {
		dy := []float64{nan, inf, -inf, 0, 1, -2}
		r := []float64{0.5, -0.5, 1, -1, 2, -2}
		if fn != engine.Abs {
			r = append(r, 0)
		}
		if fn == engine.Relu {
			r = append(r, nan, inf)
		}
		s := ints{len(dy), len(r)}
		g.emit(g.b.Emit(engine.Op{Kind: engine.UnaryGrad, Fn: fn, Alpha: d.alpha, Beta: d.beta, In: []engine.TensorID{
			g.b.Broadcast(g.given(dy, len(dy), 1), s), g.b.Broadcast(g.given(r, len(r)), s)}})[0])
	}}
}

// lines are rows of eight with one trouble each.
var lines = round32([]float64{
	1, 2, 3, 4, 5, 6, 7, 8,
	1, nan, 3, 4, 5, 6, 7, 8,
	nan, nan, nan, nan, nan, nan, nan, nan,
	1, 2, 3, 4, 5, 6, 7, inf,
	-inf, 2, 3, 4, 5, 6, 7, 8,
	1, inf, 3, 4, -inf, 6, 7, 8,
	-inf, -inf, -inf, -inf, -inf, -inf, -inf, -inf,
	inf, inf, inf, inf, inf, inf, inf, inf,
	0, math.Copysign(0, -1), 0, 0, 0, 0, 0, 0,
	1e30, 0, -1e20, 1, 2, 1e30, 3, 4,
	-1e30, -1e30, -1e30, -1e30, -1e30, -1e30, -1e30, -1e30,
	1e-40, 1e-40, 1e-40, 1e-40, 1e-40, 1e-40, 1e-40, 1e-40,
	5, 4, nan, inf, -inf, 0, 1, 2})

const rowsOfLines = 13

func nonFiniteReductions() []testCase {
	var cases []testCase
	for _, fn := range engine.Fns() {
		if fn.Reduces() {
			cases = append(cases, testCase{name: "reduce/" + fn.String(), build: func(g *graph) {
				x := g.given(lines, rowsOfLines, 8)
				g.emit(g.b.Reduce(fn, x, false, 1), g.b.Reduce(fn, g.b.Transpose(x, 1, 0), false, 0))
			}})
		}
	}
	return append(cases, testCase{name: "argmax", build: func(g *graph) { g.emit(g.b.ArgMax(g.given(lines, rowsOfLines, 8), 1)) }},
		testCase{name: "softmax", build: func(g *graph) {
			x := g.given(lines, rowsOfLines, 8)
			g.emit(g.b.Softmax(x, 1), g.b.LogSoftmax(x, 1), g.b.Softmax(g.b.Transpose(x, 1, 0), 0))
		}},
		testCase{name: "softmax gradient", build: func(g *graph) {
			x := g.given([]float64{1, 2, 3, 1, nan, 3, 1, 2, inf}, 3, 3)
			g.emit(g.b.Gradient(g.b.Mul(g.b.Softmax(x, 1), g.given([]float64{1, -2, 0.5}, 3)), []engine.TensorID{x})...)
			g.emit(g.b.Gradient(g.b.Mul(g.b.LogSoftmax(x, 1), g.given([]float64{1, -2, 0.5}, 3)), []engine.TensorID{x})...)
		}},
		testCase{name: "matmul", build: func(g *graph) {
			x, w := g.given(lines, rowsOfLines, 8), g.given(g.values(8*5, 0.5, 1), 8, 5)
			g.emit(g.b.MatMul(x, w, engine.None, false, false), g.b.MatMul(w, x, engine.None, true, true))
			g.emit(g.b.MatMul(w, g.b.Slice(x, ints{0, 0}, ints{1, 1}, ints{9, 8}), engine.None, true, true))
			g.emit(g.b.MatMul(g.between(0.5, 1, 3, 8), w, g.given([]float64{nan, inf, -inf, 0, 1}, 5), false, false))
		}})
}

func nonFiniteLayers() []testCase {
	image := func(g *graph) engine.TensorID {
		v := g.values(2*3*7*6, -1, 1)
		v[3], v[50], v[51], v[90], v[200], v[251] = nan, inf, -inf, inf, -inf, nan
		for i := 126; i < 150; i++ { // windows of nothing but -Inf
			v[i] = -inf
		}
		return g.given(v, 2, 3, 7, 6)
	}
	both := func(g *graph, x, y engine.TensorID) {
		w := g.p.NewConstant("", engine.Float, g.b.Shape(y), g.values(engine.Len(g.b.Shape(y)), 1, 2))
		g.emit(y)
		g.emit(g.b.Gradient(g.b.Mul(y, w), []engine.TensorID{x})...)
	}
	cases := []testCase{{name: "batchnorm", build: func(g *graph) {
		x := image(g)
		y, mean, variance := g.b.BatchNorm(x, g.x(3), g.x(3), 1e-5)
		g.emit(y, mean, variance)
		g.emit(g.b.BatchNormInfer(x, g.x(3), g.x(3), g.x(3), g.between(1, 2, 3), 1e-5))
		g.emit(g.b.BatchNormInfer(g.x(2, 5, 3), g.between(1, 2, 5), g.x(5), g.given([]float64{nan, inf, 0, 0, 0}, 5), g.given([]float64{1, 1, nan, inf, -1}, 5), 1e-5))
	}}, {name: "batchnorm/infinite mean", build: func(g *graph) {
		y, mean, variance := g.b.BatchNorm(g.given([]float64{1, 2, inf, 1, 2, 4, 1, 2, -inf, 3, 2, 1}, 2, 6), g.x(6), g.x(6), 1e-5)
		g.emit(y, mean, variance)
	}}, {name: "batchnorm/constant channel", loose: 20, build: func(g *graph) {
		// x-mean is nothing or a rounding error over sqrt(ε) = 0.003, and the variance nothing or its square.
		y, mean, variance := g.b.BatchNorm(g.given(ones(2*3*4, 0.1), 2, 3, 4), g.between(0.5, 1, 3), g.between(1, 2, 3), 1e-5)
		g.emit(y, mean, g.b.Affine(variance, 1, 1))
	}}}
	for name, w := range map[string]engine.Window{
		"2x2":      win(ints{2, 2}, ints{2, 2}, nil, nil, nil, 0),
		"3x3 pads": win(ints{3, 3}, ints{1, 2}, nil, ints{1, 1}, ints{1, 1}, 0),
		"global":   win(ints{7, 6}, nil, nil, nil, nil, 0),
	} {
		cases = append(cases, testCase{name: "maxpool/" + name, build: func(g *graph) { x := image(g); both(g, x, g.b.MaxPool(x, w)) }},
			testCase{name: "maxpool after relu/" + name, build: func(g *graph) { x := image(g); both(g, x, g.b.MaxPool(g.b.Unary(engine.Relu, x), w)) }},
			testCase{name: "avgpool/" + name, build: func(g *graph) { g.emit(g.b.AvgPool(image(g), w)) }})
	}
	for name, w := range map[string]engine.Window{
		"3x3 pads": win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 1),
		"stride":   win(ints{3, 3}, ints{2, 2}, nil, nil, nil, 1),
		"1x1":      win(ints{1, 1}, nil, nil, nil, nil, 1),
	} {
		cases = append(cases, testCase{name: "conv/" + name, loose: 4, build: func(g *graph) {
			x, k := image(g), g.between(0.5, 1, append(ints{4, 3}, w.Kernel...)...)
			g.emit(g.b.Conv(x, k, g.x(4), w))
		}})
	}
	return cases
}
