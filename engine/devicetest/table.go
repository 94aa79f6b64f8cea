package devicetest

import (
	"fmt"

	"netmend/engine"
)

// table is all parity cases.
func table() []testCase {
	var all []testCase
	for _, part := range []func() []testCase{unaryCases, binaryCases, reduceCases, matMulCases, convCases, poolCases, normCases, softmaxCases,
		moveCases, intCases, dropoutCases, recurrentCases, updateCases} {
		all = append(all, part()...)
	}
	return all
}

// domain is where a unary function is tried: its parameters and an interval inside its domain.
type domain struct{ alpha, beta, lo, hi float64 }

var domains = map[engine.Fn]domain{
	engine.Log: {0, 0, 0.1, 3}, engine.Sqrt: {0, 0, 0.1, 3}, engine.Reciprocal: {0, 0, 0.3, 3}, engine.Asin: {0, 0, -0.9, 0.9},
	engine.Acos: {0, 0, -0.9, 0.9}, engine.Acosh: {0, 0, 1.1, 4}, engine.Atanh: {0, 0, -0.9, 0.9},
	engine.Affine: {-1.5, 0.25, -4, 4}, engine.Clip: {-1.2, 2.1, -4, 4}, engine.LeakyRelu: {0.01, 0, -4, 4}, engine.Elu: {1.5, 0, -4, 4},
	engine.Selu: {1.67326324235437728, 1.05070098735548049, -4, 4}, engine.Celu: {1.5, 0, -4, 4}, engine.HardSigmoid: {0.2, 0.5, -4, 4},
	engine.ThresholdedRelu: {0.7, 0, -4, 4}, engine.Swish: {1.3, 0, -4, 4},
}

func domainOf(fn engine.Fn) domain {
	if d, ok := domains[fn]; ok {
		return d
	}
	return domain{0, 0, -4, 4}
}

func unaryCases() []testCase {
	var cases []testCase
	for _, fn := range engine.Fns() {
		if !fn.Unary() {
			continue
		}
		d := domainOf(fn)
		for _, s := range [][]int{{}, {3, 1, 5}, {17, 301}, {0, 3}} {
			cases = append(cases, testCase{name: fmt.Sprintf("unary/%s/%v", fn, s), build: func(g *graph) {
				g.emit(g.b.Unary(fn, g.between(d.lo, d.hi, s...), d.alpha, d.beta))
			}})
		}
	}
	return append(cases, testCase{name: "unary/Relu/threads", build: func(g *graph) {
		g.emit(g.b.Unary(engine.Relu, g.x(64, 16, 28, 28)))
	}}, testCase{name: "unary/chain", build: func(g *graph) {
		h := g.x(5, 7)
		for _, fn := range []engine.Fn{engine.Tanh, engine.Exp, engine.Sqrt, engine.Sigmoid, engine.Neg} {
			h = g.b.Unary(fn, h)
		}
		g.emit(h)
	}})
}

func binaryCases() []testCase {
	var cases []testCase
	shapes := [][2][]int{{{}, {}}, {{3}, {}}, {{}, {2, 3}}, {{2, 3, 4}, {3, 1}}, {{4, 1, 5}, {1, 3, 1}}, {{7}, {2, 1, 7}}, {{1, 1}, {1}},
		{{2, 5, 3, 3}, {5, 1, 1}}, {{2, 1, 3}, {2, 4, 3}}, {{130, 77}, {130, 77}}, {{300, 10}, {10}}, {{0, 3}, {3}}}
	for _, fn := range engine.Fns() {
		if !fn.Binary() {
			continue
		}
		for _, s := range shapes {
			cases = append(cases, testCase{name: fmt.Sprintf("binary/%s/%v,%v", fn, s[0], s[1]), build: func(g *graph) {
				lo, hi := -2.0, 2.0
				if fn == engine.Pow || fn == engine.Div {
					lo = 0.3
				}
				g.emit(g.b.Binary(fn, g.between(lo, hi, s[0]...), g.between(lo, hi, s[1]...)))
			}})
		}
		// Equal elements, whose gradients Max and Min share.
		cases = append(cases, testCase{name: "binary/" + fn.String() + "/ties", noGrad: true, build: func(g *graph) {
			a := g.given([]float64{1, 2, 3, 4, -1, 0, 2, 2}, 8)
			b := g.given([]float64{1, 1, 4, 4, -1, 0, 3, 2}, 8)
			g.emit(g.b.Binary(fn, a, b))
			if fn.Differentiable() {
				g.emit(g.b.Gradient(g.b.Reduce(engine.Sum, g.b.Binary(fn, a, b), false), []engine.TensorID{a, b})...)
			}
		}})
	}
	return append(cases, testCase{name: "binary/shared operand", build: func(g *graph) {
		a := g.x(3, 4)
		g.emit(g.b.Mul(a, g.b.Add(a, a)))
	}}, testCase{name: "binary/layouts", build: func(g *graph) { // a device may have the image and the tensor without its batch axis in different orders
		win := engine.Window{Kernel: ints{1, 1}, Strides: ints{1, 1}, Dilations: ints{1, 1}, PadBegin: ints{0, 0}, PadEnd: ints{0, 0}, Group: 1}
		image := g.b.Conv(g.x(1, 3, 5, 4), g.x(6, 3, 1, 1), engine.None, win)
		g.emit(g.b.Binary(engine.Sub, g.b.Unary(engine.Neg, g.x(6, 5, 4)), image))
	}}, testCase{name: "where/same shapes", build: func(g *graph) {
		c := g.b.Cast(g.ints(0, 2, 4, 5), engine.Float)
		g.emit(g.b.Where(c, g.x(4, 5), g.x(4, 5)))
	}}, testCase{name: "where/broadcast", build: func(g *graph) {
		c := g.b.Cast(g.ints(-1, 2, 4, 1, 3), engine.Float)
		g.emit(g.b.Where(c, g.x(5, 1), g.x(3)))
	}}, testCase{name: "broadcast/in front", build: func(g *graph) { g.emit(g.b.Broadcast(g.x(3, 1), []int{4, 3, 5})) }},
		testCase{name: "broadcast/scalar", build: func(g *graph) { g.emit(g.b.Broadcast(g.x(), []int{2, 3})) }},
		testCase{name: "broadcast/large", build: func(g *graph) { g.emit(g.b.Broadcast(g.x(64, 1, 1), []int{8, 64, 30, 31})) }})
}

func reduceCases() []testCase {
	var cases []testCase
	for _, fn := range engine.Fns() {
		if !fn.Reduces() {
			continue
		}
		for _, c := range []struct{ shape, axes []int }{{[]int{}, nil}, {[]int{7}, []int{0}}, {[]int{2, 3, 4}, []int{1}}, {[]int{2, 3, 4}, []int{0, 2}},
			{[]int{2, 3, 4}, []int{0, 1, 2}}, {[]int{1, 5, 1}, []int{0, 2}}, {[]int{300, 21}, []int{0}}, {[]int{21, 300}, []int{1}}, {[]int{3, 4}, []int{}},
			{[]int{4, 3, 5, 7}, []int{0, 2, 3}}} {
			cases = append(cases, testCase{name: fmt.Sprintf("reduce/%s/%v,%v", fn, c.shape, c.axes), build: func(g *graph) {
				x := g.between(0.9, 1.1, c.shape...) // keeps long products in range
				g.emit(g.b.Emit(engine.Op{Kind: engine.Reduce, Fn: fn, Axes: c.axes, In: []engine.TensorID{x}})[0])
			}})
		}
		cases = append(cases, testCase{name: "reduce/" + fn.String() + "/empty", noGrad: true, build: func(g *graph) {
			g.emit(g.b.Reduce(fn, g.x(3, 0), true, 1))
		}})
	}
	return append(cases, testCase{name: "reduce/Sum/threads", build: func(g *graph) { g.emit(g.b.Reduce(engine.Sum, g.x(400, 500), false)) }},
		testCase{name: "reduce/Max/ties", noGrad: true, build: func(g *graph) {
			x := g.given([]float64{1, 3, 3, 0, 2, 2, 2, 2}, 2, 4)
			g.emit(g.b.Gradient(g.b.Reduce(engine.Max, x, false, 1), []engine.TensorID{x})...)
		}})
}

func matMulCases() []testCase {
	var cases []testCase
	add := func(a, b []int, ta, tb bool) {
		for _, bias := range []bool{false, true} {
			cases = append(cases, testCase{name: fmt.Sprintf("matmul/%v,%v,%t,%t,%t", a, b, ta, tb, bias), build: func(g *graph) {
				x, y, z := g.x(a...), g.x(b...), engine.None
				if bias {
					n := b[len(b)-1]
					if tb {
						n = b[len(b)-2]
					}
					z = g.x(n)
				}
				op := engine.Op{Kind: engine.MatMul, In: []engine.TensorID{x, y, z}, TransA: ta, TransB: tb}
				if !bias {
					op.In = op.In[:2]
				}
				g.emit(g.b.Emit(op)[0])
			}})
		}
	}
	for _, d := range [][3]int{{1, 1, 1}, {3, 4, 5}, {1, 17, 1}, {1, 1, 33}, {65, 257, 9}, {32, 2, 16}, {128, 100, 130}} {
		m, k, n := d[0], d[1], d[2]
		add([]int{m, k}, []int{k, n}, false, false)
		add([]int{k, m}, []int{k, n}, true, false)
		add([]int{m, k}, []int{n, k}, false, true)
		add([]int{k, m}, []int{n, k}, true, true)
	}
	add([]int{5, 3, 4}, []int{5, 4, 2}, false, false)
	add([]int{5, 4, 3}, []int{5, 2, 4}, true, true)
	add([]int{2, 1, 3, 4}, []int{3, 4, 2}, false, false)
	add([]int{3, 4}, []int{2, 4, 5}, false, false)
	add([]int{2, 3, 4}, []int{4, 5}, false, false)
	add([]int{1, 3, 4}, []int{6, 4, 2}, false, false)
	add([]int{20, 5000}, []int{5000, 7}, false, false) // a long sum
	return append(cases, testCase{name: "matmul/stack folded by the builder", build: func(g *graph) {
		g.emit(g.b.MatMul(g.x(2, 3, 4), g.x(4, 5), g.x(5), false, false))
	}})
}

func softmaxCases() []testCase {
	var cases []testCase
	for _, s := range [][]int{{1}, {5}, {3, 10}, {2, 1, 4}, {2, 7, 3, 5}, {257, 1000}} {
		for axis := range s {
			for _, log := range []bool{false, true} {
				// In the gradient dy - Σ dy·y cancels where one output is nearly 1, which loses a digit.
				cases = append(cases, testCase{name: fmt.Sprintf("softmax/log %t/%v,%d", log, s, axis), loose: 4, build: func(g *graph) {
					x := g.between(-5, 5, s...)
					if log {
						g.emit(g.b.LogSoftmax(x, axis))
					} else {
						g.emit(g.b.Softmax(x, axis))
					}
				}})
			}
		}
	}
	return append(cases, testCase{name: "softmax/far apart", build: func(g *graph) {
		x := g.between(-80, 80, 9, 11)
		g.emit(g.b.Softmax(x, 1), g.b.LogSoftmax(x, 1))
	}})
}

func dropoutCases() []testCase {
	var cases []testCase
	for _, rate := range []float64{0, 0.1, 0.5, 0.99, 1} {
		for _, s := range [][]int{{}, {7}, {3, 5, 2}, {100, 333}} {
			cases = append(cases, testCase{name: fmt.Sprintf("dropout/%g/%v", rate, s), build: func(g *graph) {
				x := g.x(s...)
				g.emit(g.b.Dropout(x, rate, 3), g.b.Dropout(x, rate, 1<<31+7))
			}})
		}
	}
	return cases
}
