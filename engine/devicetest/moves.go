package devicetest

import (
	"fmt"

	"netmend/engine"
)

func moveCases() []testCase {
	var cases []testCase
	add := func(name string, f func(g *graph)) { cases = append(cases, testCase{name: name, build: f}) }
	for _, c := range []struct{ shape, perm ints }{{ints{}, ints{}}, {ints{3, 4}, ints{1, 0}}, {ints{2, 3, 4}, ints{2, 0, 1}}, {ints{2, 3, 4}, ints{0, 2, 1}},
		{ints{2, 3, 4, 5}, ints{0, 2, 3, 1}}, {ints{2, 3, 4, 5}, ints{0, 3, 1, 2}}, {ints{1, 3, 1}, ints{1, 2, 0}}, {ints{130, 170}, ints{1, 0}}} {
		add(fmt.Sprintf("transpose/%v,%v", c.shape, c.perm), func(g *graph) { g.emit(g.b.Transpose(g.x(c.shape...), c.perm...)) })
	}
	for _, c := range []struct{ from, to ints }{{ints{}, ints{1, 1}}, {ints{2, 3, 4}, ints{6, 4}}, {ints{2, 3, 4}, ints{24}}, {ints{0, 3}, ints{5, 0}}} {
		add(fmt.Sprintf("reshape/%v,%v", c.from, c.to), func(g *graph) {
			x := g.x(c.from...)
			g.emit(g.b.Reshape(x, c.to), g.b.Reshape(g.b.Unary(engine.Neg, x), c.to))
		})
	}
	for _, c := range []struct {
		axis   int
		shapes []ints
	}{{0, []ints{{3}}}, {0, []ints{{2, 3}, {1, 3}, {4, 3}}}, {1, []ints{{2, 3, 2}, {2, 1, 2}, {2, 5, 2}}}, {2, []ints{{2, 3, 1}, {2, 3, 4}}},
		{1, []ints{{2, 16, 3, 3}, {2, 7, 3, 3}}}, {1, []ints{{2, 3}, {2, 0}, {2, 1}}}} {
		add(fmt.Sprintf("concat/%d,%v", c.axis, c.shapes), func(g *graph) {
			var in []engine.TensorID
			for _, s := range c.shapes {
				in = append(in, g.x(s...))
			}
			g.emit(g.b.Concat(c.axis, in...))
		})
	}
	// A computed part is read while the result, which several steps may write, is under way: their memory must not overlap. The first part
	// is not needed for any gradient, so that nothing else keeps it.
	add("concat/computed and given", func(g *graph) { g.emit(g.b.Concat(1, g.b.Affine(g.x(16, 54), 2, 1), g.x(16, 4))) })
	add("concat/with itself", func(g *graph) { x := g.x(2, 3); g.emit(g.b.Concat(1, x, x)) })
	for _, c := range []struct{ big, starts, steps, small ints }{{ints{7}, ints{1}, ints{1}, ints{4}}, {ints{7}, ints{6}, ints{-2}, ints{4}}, {ints{4, 5}, ints{0, 4}, ints{1, -1}, ints{4, 5}},
		{ints{4, 5, 6}, ints{1, 0, 5}, ints{2, 1, -3}, ints{2, 5, 2}}, {ints{2, 3, 8, 8}, ints{0, 0, 1, 2}, ints{1, 1, 1, 1}, ints{2, 3, 6, 4}},
		{ints{1, 1}, ints{0, 0}, ints{1, 1}, ints{1, 1}}, {ints{3, 4}, ints{0, 0}, ints{1, 1}, ints{3, 0}}} {
		name := fmt.Sprintf("%v,%v,%v,%v", c.big, c.starts, c.steps, c.small)
		add("slice/"+name, func(g *graph) { g.emit(g.b.Slice(g.x(c.big...), c.starts, c.steps, c.small)) })
		add("pad/"+name, func(g *graph) { g.emit(g.b.Pad(g.x(c.small...), c.starts, c.steps, c.big, 0.75)) })
	}
	for _, c := range []struct {
		x, i ints
		axis int
	}{{ints{5}, ints{}, 0}, {ints{5}, ints{7}, 0}, {ints{5, 3}, ints{2, 4}, 0}, {ints{3, 5, 2}, ints{4}, 1}, {ints{3, 5}, ints{2, 1, 3}, 1}, {ints{100, 40}, ints{500}, 0}} {
		add(fmt.Sprintf("gather/%v,%v,%d", c.x, c.i, c.axis), func(g *graph) {
			n := c.x[c.axis]
			g.emit(g.b.Gather(g.x(c.x...), g.ints(-n, n, c.i...), c.axis))
		})
	}
	return append(cases, testCase{name: "gather/out of range", noGrad: true, build: func(g *graph) {
		i := g.p.NewConstant("", engine.Int, ints{5}, []float64{0, 3, -4, 1 << 30, -1 << 31})
		x := g.x(3, 2)
		y := g.b.Gather(x, i, 0)
		g.emit(y)
		g.emit(g.b.Gradient(g.b.Reduce(engine.Sum, y, false), []engine.TensorID{x})...)
	}})
}

// intCases are the operations on Int tensors and between the two types.
func intCases() []testCase {
	var cases []testCase
	add := func(name string, f func(g *graph)) {
		cases = append(cases, testCase{name: name, noGrad: true, build: f})
	}
	add("int/transpose", func(g *graph) { g.emit(g.b.Transpose(g.ints(-9, 9, 2, 3, 4), 2, 0, 1)) })
	add("int/reshape", func(g *graph) { g.emit(g.b.Reshape(g.ints(-9, 9, 2, 3), ints{3, 2})) })
	add("int/concat", func(g *graph) { g.emit(g.b.Concat(1, g.ints(-9, 9, 2, 3), g.ints(-9, 9, 2, 2))) })
	add("int/slice", func(g *graph) { g.emit(g.b.Slice(g.ints(-9, 9, 7), ints{6}, ints{-2}, ints{3})) })
	add("int/pad", func(g *graph) { g.emit(g.b.Pad(g.ints(-9, 9, 3), ints{2}, ints{2}, ints{8}, -3)) })
	add("int/gather", func(g *graph) {
		g.emit(g.b.Gather(g.ints(-99, 99, 4, 3), g.p.NewConstant("", engine.Int, ints{4}, []float64{3, -1, 4, -5}), 0))
	})
	add("cast/to int", func(g *graph) {
		v := []float64{0, 0.9, -0.9, 1.5, -1.5, 2.5, 1e6 + 0.5, -1e6, 16777216, 3e9, -3e9, inf, -inf, nan}
		g.emit(g.b.Cast(g.given(v, len(v)), engine.Int))
	})
	add("cast/to float", func(g *graph) {
		g.emit(g.b.Cast(g.p.NewConstant("", engine.Int, ints{4}, []float64{0, -7, 16777216, -16777215}), engine.Float))
	})
	for _, s := range []ints{{}, {5}, {2, 3}} {
		add(fmt.Sprintf("onehot/%v", s), func(g *graph) { g.emit(g.b.OneHot(g.ints(-1, 5, s...), 4)) }) // -1 and 4 are in no class
	}
	for _, c := range []struct {
		s    ints
		axis int
	}{{ints{1}, 0}, {ints{9}, 0}, {ints{4, 7}, 1}, {ints{4, 7}, 0}, {ints{2, 3, 4}, 1}, {ints{300, 10}, 1}} {
		add(fmt.Sprintf("argmax/%v,%d", c.s, c.axis), func(g *graph) { g.emit(g.b.ArgMax(g.x(c.s...), c.axis)) })
	}
	add("argmax/ties", func(g *graph) { g.emit(g.b.ArgMax(g.given([]float64{1, 3, 3, 0, 0, 0}, 2, 3), 1)) })
	add("moments/scalar", func(g *graph) { g.emit(g.b.Moments(g.x())) })
	add("moments/large", func(g *graph) {
		x := g.x(50, 999)
		g.emit(g.b.Moments(x), g.b.Moments(g.b.Unary(engine.Relu, x)))
	})
	add("moments/empty", func(g *graph) { g.emit(g.b.Moments(g.x(0, 3))) })
	add("argmax to onehot", func(g *graph) {
		i := g.b.Reshape(g.b.ArgMax(g.x(6, 5), 1), ints{6})
		g.emit(g.b.OneHot(i, 5), g.b.Gather(g.x(5, 3), i, 0))
	})
	return cases
}

// rules are the optimizers' rules in all forms, with plausible constants and coefficients.
func rules() []engine.Rule {
	var list []engine.Rule
	for _, momentum := range []bool{false, true} {
		list = append(list, engine.Rule{Kind: engine.RuleLinear, Momentum: momentum}, engine.Rule{Kind: engine.RuleLinear, Momentum: momentum, L2: 0.01})
		for _, centered := range []bool{false, true} {
			list = append(list, engine.Rule{Kind: engine.RuleRMSprop, B2: 0.9, EpsIn: 1e-7, Momentum: momentum, Centered: centered},
				engine.Rule{Kind: engine.RuleRMSprop, B2: 0.99, EpsOut: 1e-8, L2: 0.01, Momentum: momentum, Centered: centered})
		}
	}
	return append(list, engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.999, EpsOut: 1e-8},
		engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.99, EpsOut: 1e-7, L2: 0.01, Max: true},
		engine.Rule{Kind: engine.RuleAdamax, B1: 0.9, B2: 0.999, EpsIn: 1e-8}, engine.Rule{Kind: engine.RuleAdamax, B1: 0.9, B2: 0.999, EpsOut: 1e-7, L2: 0.01},
		engine.Rule{Kind: engine.RuleAdagrad, EpsOut: 1e-10}, engine.Rule{Kind: engine.RuleAdagrad, EpsIn: 1e-7, L2: 0.01},
		engine.Rule{Kind: engine.RuleAdadelta, B2: 0.9, EpsIn: 1e-6}, engine.Rule{Kind: engine.RuleAdadelta, B2: 0.95, EpsIn: 1e-7, L2: 0.01})
}

func updateCases() []testCase {
	var cases []testCase
	for i, r := range rules() {
		for _, s := range []ints{{}, {7}, {3, 2, 5}, {70, 130}} {
			// Square roots and quotients of few elements: a handful of roundings each.
			cases = append(cases, testCase{name: fmt.Sprintf("update/%s %d/%v", r.Kind, i, s), noGrad: true, loose: 4, build: func(g *graph) {
				coefs := g.p.NewFeed("coefs", ints{engine.RuleCoefs})
				g.feed[coefs] = append(g.values(engine.RuleCoefs, 0.5, 1), g.values(engine.RuleCoefs, 0.5, 1)...)
				p := g.x(s...)
				var slots []engine.TensorID
				for range r.Slots() {
					slots = append(slots, g.given(g.values(engine.Len(s), 0.2, 0.4), s...))
				}
				g.b.Update(r, p, g.x(s...), coefs, slots...)
				g.emit(p)
				g.emit(slots...)
			}})
		}
	}
	return append(cases, testCase{name: "lerp", noGrad: true, build: func(g *graph) {
		s := g.x(3, 4)
		g.b.Lerp(s, g.x(3, 4), 0.75, 0.5)
		g.emit(s, g.b.Unary(engine.Neg, s))
	}}, testCase{name: "state read before and after its update", noGrad: true, build: func(g *graph) {
		s := g.x(3, 4)
		before := g.b.Reshape(s, ints{12})
		g.b.Lerp(s, g.x(3, 4), 0.5, 0.5)
		g.emit(before, g.b.Reshape(s, ints{12}))
	}})
}
