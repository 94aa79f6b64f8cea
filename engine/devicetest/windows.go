package devicetest

import (
	"fmt"

	"netmend/engine"
)

// win makes a window; nil strides and dilations are ones, nil pads zeros.
func win(kernel, strides, dilations, begin, end []int, group int) engine.Window {
	fill := func(v []int, with int) []int {
		if v != nil {
			return v
		}
		v = make([]int, len(kernel))
		for i := range v {
			v[i] = with
		}
		return v
	}
	return engine.Window{Kernel: kernel, Strides: fill(strides, 1), Dilations: fill(dilations, 1), PadBegin: fill(begin, 0),
		PadEnd: fill(end, 0), Group: group}
}

type ints = []int

func convCases() []testCase {
	var cases []testCase
	for _, c := range []struct {
		name string
		x, w ints
		win  engine.Window
	}{
		{"3x3", ints{2, 3, 6, 5}, ints{4, 3, 3, 3}, win(ints{3, 3}, nil, nil, nil, nil, 1)},
		{"same", ints{2, 3, 6, 5}, ints{4, 3, 3, 3}, win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 1)},
		{"one channel", ints{3, 1, 8, 8}, ints{6, 1, 5, 5}, win(ints{5, 5}, nil, nil, nil, nil, 1)},
		{"1x1", ints{2, 7, 3, 5}, ints{9, 7, 1, 1}, win(ints{1, 1}, nil, nil, nil, nil, 1)},
		{"1x1 stride", ints{2, 7, 5, 5}, ints{9, 7, 1, 1}, win(ints{1, 1}, ints{2, 2}, nil, nil, nil, 1)},
		{"whole image", ints{2, 5, 4, 4}, ints{3, 5, 4, 4}, win(ints{4, 4}, nil, nil, nil, nil, 1)},
		{"blocked channels", ints{2, 16, 7, 7}, ints{32, 16, 3, 3}, win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 1)},
		{"odd channels", ints{1, 17, 6, 6}, ints{19, 17, 3, 3}, win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 1)},
		{"stride", ints{2, 3, 9, 8}, ints{5, 3, 3, 3}, win(ints{3, 3}, ints{2, 3}, nil, ints{1, 1}, ints{1, 1}, 1)},
		{"stride beyond kernel", ints{1, 2, 9, 9}, ints{3, 2, 2, 2}, win(ints{2, 2}, ints{3, 3}, nil, nil, nil, 1)},
		{"dilation", ints{1, 2, 9, 11}, ints{3, 2, 3, 2}, win(ints{3, 2}, nil, ints{2, 3}, ints{2, 0}, ints{2, 0}, 1)},
		{"stride and dilation", ints{1, 2, 11, 11}, ints{3, 2, 3, 3}, win(ints{3, 3}, ints{2, 2}, ints{2, 2}, ints{1, 2}, ints{1, 2}, 1)},
		{"asymmetric pads", ints{1, 2, 7, 6}, ints{3, 2, 2, 4}, win(ints{2, 4}, ints{1, 2}, nil, ints{0, 1}, ints{1, 2}, 1)},
		{"end pads only", ints{2, 3, 5, 5}, ints{4, 3, 3, 3}, win(ints{3, 3}, ints{2, 2}, nil, ints{0, 0}, ints{1, 1}, 1)},
		{"groups", ints{2, 6, 5, 5}, ints{4, 3, 3, 3}, win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 2)},
		{"groups of 8", ints{1, 16, 5, 5}, ints{16, 8, 3, 3}, win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 2)},
		{"depthwise", ints{2, 5, 6, 6}, ints{5, 1, 3, 3}, win(ints{3, 3}, ints{2, 2}, nil, ints{1, 1}, ints{1, 1}, 5)},
		{"depthwise multiplier", ints{1, 3, 5, 4}, ints{6, 1, 2, 3}, win(ints{2, 3}, nil, nil, ints{0, 1}, ints{0, 1}, 3)},
		{"1d", ints{2, 3, 13}, ints{4, 3, 4}, win(ints{4}, ints{2}, nil, ints{1}, ints{2}, 1)},
		{"1d dilation", ints{1, 2, 17}, ints{3, 2, 3}, win(ints{3}, nil, ints{4}, ints{4}, ints{4}, 1)},
		{"1d groups", ints{2, 4, 9}, ints{6, 2, 3}, win(ints{3}, nil, nil, ints{1}, ints{1}, 2)},
		{"3d", ints{1, 2, 4, 5, 6}, ints{3, 2, 2, 3, 2}, win(ints{2, 3, 2}, ints{1, 2, 1}, ints{1, 1, 2}, ints{0, 1, 1}, ints{1, 1, 0}, 1)},
		{"one pixel", ints{1, 1, 1, 1}, ints{1, 1, 1, 1}, win(ints{1, 1}, nil, nil, nil, nil, 1)},
		{"batch of 1 with threads", ints{1, 24, 30, 30}, ints{40, 24, 3, 3}, win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 1)},
		{"many taps and filters", ints{5, 20, 8, 9}, ints{50, 20, 3, 3}, win(ints{3, 3}, nil, nil, nil, nil, 1)},
		{"stride without pads", ints{9, 3, 12, 12}, ints{40, 3, 3, 5}, win(ints{3, 5}, ints{2, 2}, nil, nil, nil, 1)},
		{"dilation without pads", ints{3, 4, 9, 13}, ints{33, 4, 3, 3}, win(ints{3, 3}, nil, ints{2, 3}, nil, nil, 1)},
		{"batch of 33 with threads", ints{33, 6, 14, 14}, ints{16, 6, 5, 5}, win(ints{5, 5}, nil, nil, nil, nil, 1)},
	} {
		for _, bias := range []bool{false, true} {
			cases = append(cases, testCase{name: fmt.Sprintf("conv/%s/bias %t", c.name, bias), build: func(g *graph) {
				x, w, b := g.x(c.x...), g.x(c.w...), engine.None
				if bias {
					b = g.x(c.w[0])
				}
				g.emit(g.b.Conv(x, w, b, c.win))
			}})
		}
		cases = append(cases, testCase{name: "conv transposed/" + c.name, build: func(g *graph) {
			s, err := engine.WindowShape(c.x, &c.win)
			if err != nil {
				g.b.Fail(err)
				return
			}
			dy := g.x(append(ints{c.x[0], c.w[0]}, s...)...)
			g.emit(g.b.Emit(engine.Op{Kind: engine.ConvDX, In: []engine.TensorID{dy, g.x(c.w...)}, Window: &c.win, Shape: c.x})[0])
		}}, testCase{name: "conv only bias/" + c.name, build: func(g *graph) {
			g.emit(g.b.Conv(g.given(g.values(engine.Len(c.x), -1, 1), c.x...), g.given(g.values(engine.Len(c.w), -1, 1), c.w...), g.x(c.w[0]), c.win))
		}})
	}
	return cases
}

func poolCases() []testCase {
	var cases []testCase
	for _, c := range []struct {
		name    string
		x       ints
		win     engine.Window
		ceil    bool
		maxOnly bool // dilation: PyTorch's and most libraries' average pools have none
	}{
		{"2x2", ints{2, 3, 6, 6}, win(ints{2, 2}, ints{2, 2}, nil, nil, nil, 0), false, false},
		{"cut off", ints{2, 3, 7, 5}, win(ints{2, 2}, ints{2, 2}, nil, nil, nil, 0), false, false},
		{"overlap", ints{2, 3, 7, 6}, win(ints{3, 3}, ints{2, 2}, nil, ints{1, 1}, ints{1, 1}, 0), false, false},
		{"stride 1", ints{1, 2, 5, 6}, win(ints{3, 2}, nil, nil, nil, nil, 0), false, false},
		{"ceil", ints{1, 2, 7, 8}, win(ints{3, 2}, ints{2, 3}, nil, nil, nil, 0), true, false},
		{"ceil pads", ints{1, 2, 8, 8}, win(ints{3, 3}, ints{2, 2}, nil, ints{1, 1}, ints{1, 1}, 0), true, false},
		{"ceil window in the end pads", ints{1, 2, 5, 5}, win(ints{1, 1}, ints{2, 3}, nil, nil, nil, 0), true, false},
		{"asymmetric pads", ints{1, 3, 6, 7}, win(ints{3, 3}, ints{2, 2}, nil, ints{0, 0}, ints{1, 1}, 0), false, false},
		{"global", ints{2, 5, 4, 3}, win(ints{4, 3}, nil, nil, nil, nil, 0), false, false},
		{"odd channels", ints{2, 17, 4, 4}, win(ints{2, 2}, ints{2, 2}, nil, nil, nil, 0), false, false},
		{"blocked channels", ints{2, 16, 4, 4}, win(ints{2, 2}, ints{2, 2}, nil, nil, nil, 0), false, false},
		{"threads", ints{16, 20, 24, 24}, win(ints{2, 2}, ints{2, 2}, nil, nil, nil, 0), false, false},
		{"1d", ints{2, 2, 11}, win(ints{3}, ints{2}, nil, ints{1}, ints{1}, 0), true, false},
		{"3d", ints{1, 2, 5, 4, 6}, win(ints{2, 2, 3}, ints{2, 1, 2}, nil, ints{1, 0, 1}, ints{1, 0, 1}, 0), false, false},
		{"dilation", ints{1, 2, 9, 8}, win(ints{3, 2}, ints{1, 2}, ints{2, 3}, ints{1, 1}, ints{1, 1}, 0), false, true},
	} {
		w := c.win
		w.Ceil = c.ceil
		cases = append(cases, testCase{name: "maxpool/" + c.name, build: func(g *graph) { g.emit(g.b.MaxPool(g.x(c.x...), w)) }})
		// A device may differentiate the two together.
		cases = append(cases, testCase{name: "maxpool after relu/" + c.name, build: func(g *graph) {
			g.emit(g.b.MaxPool(g.b.Unary(engine.Relu, g.x(c.x...)), w))
		}})
		if c.maxOnly {
			continue
		}
		for _, count := range []bool{false, true} {
			w.CountPad = count
			cases = append(cases, testCase{name: fmt.Sprintf("avgpool/%s/count pads %t", c.name, count), build: func(g *graph) {
				g.emit(g.b.AvgPool(g.x(c.x...), w))
			}})
		}
	}
	return append(cases, testCase{name: "maxpool/ties", noGrad: true, build: func(g *graph) {
		x := g.given(ones(2*3*6*6, 0.5), 2, 3, 6, 6)
		y := g.b.MaxPool(x, win(ints{3, 3}, ints{2, 2}, nil, ints{1, 1}, ints{1, 1}, 0))
		g.emit(y)
		g.emit(g.b.Gradient(g.b.Reduce(engine.Sum, y, false), []engine.TensorID{x})...)
	}})
}

func ones(n int, v float64) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func normCases() []testCase {
	var cases []testCase
	for _, s := range []ints{{8, 3}, {4, 5, 3, 3}, {2, 17, 5}, {2, 16, 4, 4}, {2, 3, 2, 3, 2}, {5, 1, 4}, {64, 33, 7, 7}} {
		for _, eps := range []float64{1e-5, 1e-3} {
			// The gradient subtracts two projections of dy, which loses a digit.
			cases = append(cases, testCase{name: fmt.Sprintf("batchnorm/%v,%g", s, eps), loose: 4, build: func(g *graph) {
				y, mean, variance := g.b.BatchNorm(g.between(-1, 3, s...), g.between(0.5, 1.5, s[1]), g.x(s[1]), eps)
				g.emit(y)
				g.show(mean, variance)
			}}, testCase{name: fmt.Sprintf("batchnorm given statistics/%v,%g", s, eps), loose: 4, build: func(g *graph) {
				g.emit(g.b.BatchNormInfer(g.x(s...), g.x(s[1]), g.x(s[1]), g.x(s[1]), g.between(0.1, 2, s[1]), eps))
			}})
		}
	}
	return append(cases, testCase{name: "batchnorm/large mean", loose: 500, noGrad: true, build: func(g *graph) {
		// The mean is 1000 times the deviation: x itself has lost three digits, and E[x²]-E[x]² would lose all.
		y, mean, variance := g.b.BatchNorm(g.between(999, 1001, 16, 3, 4, 4), g.x(3), g.x(3), 1e-5)
		g.emit(y, mean, variance)
	}}, testCase{name: "batchnorm/running statistics", noGrad: true, loose: 4, build: func(g *graph) {
		_, mean, variance := g.b.BatchNorm(g.x(16, 3), g.x(3), g.x(3), 1e-5)
		m, v := g.given(make([]float64, 3), 3), g.given(ones(3, 1), 3)
		g.b.Lerp(m, mean, 0.9, 0.1)
		g.b.Lerp(v, variance, 0.9, 0.1*16/15)
		g.emit(m, v)
	}})
}
