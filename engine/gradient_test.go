package engine_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
)

// Expected gradients are PyTorch 2's (autograd, float64) of the same expressions. They are those where a derivation of a gradient goes
// wrong: a tensor used twice by one operation, broadcast scalars, ties, repeated indices, 0^0, branches that are not taken.
func TestGradientsWherePyTorchsAreKnown(t *testing.T) {
	type tensor struct {
		shape []int
		v     []float64
	}
	vec := func(v ...float64) tensor { return tensor{[]int{len(v)}, v} }
	mat := func(rows int, v ...float64) tensor { return tensor{[]int{rows, len(v) / rows}, v} }
	type B = engine.Builder
	type ID = engine.TensorID
	constant := func(b *B, x tensor) ID { return b.Program().NewConstant("", engine.Float, x.shape, x.v) }
	for _, c := range []struct {
		name string
		in   []tensor
		loss func(b *B, x []ID) ID
		want [][]float64
	}{
		{"Mul(x,x)", []tensor{vec(1, 2, 3)}, func(b *B, x []ID) ID { return b.Mul(x[0], x[0]) }, [][]float64{{2, 4, 6}}},
		{"MatMul(x,x)", []tensor{mat(2, 1, 2, 3, 4)}, func(b *B, x []ID) ID { return b.MatMul(x[0], x[0], engine.None, false, false) }, [][]float64{{7, 11, 9, 13}}},
		{"MatMul(x,x')", []tensor{mat(2, 1, 2, 3, 4)}, func(b *B, x []ID) ID { return b.MatMul(x[0], x[0], engine.None, false, true) }, [][]float64{{8, 12, 8, 12}}},
		{"Concat(x,x)", []tensor{vec(1, 2)}, func(b *B, x []ID) ID { return b.Mul(b.Concat(0, x[0], x[0]), constant(b, vec(1, 2, 3, 4))) }, [][]float64{{4, 6}}},
		{"a scalar broadcast", []tensor{vec(2), vec(1, 2, 3)}, func(b *B, x []ID) ID { return b.Div(b.Mul(x[0], x[1]), b.Add(x[0], x[1])) },
			[][]float64{{0.7211111111111111}, {0.4444444444444444, 0.25, 0.16}}},
		{"ties of Reduce Max", []tensor{mat(2, 1, 3, 3, 2, 2, 2)}, func(b *B, x []ID) ID {
			return b.Mul(b.Reduce(engine.Max, x[0], false, 1), constant(b, vec(1, 6)))
		}, [][]float64{{0, .5, .5, 2, 2, 2}}},
		{"ties of Max and Min", []tensor{vec(1, 2, 2), vec(2, 2, 1)}, func(b *B, x []ID) ID {
			return b.Add(b.Mul(b.Binary(engine.Max, x[0], x[1]), constant(b, vec(1, 2, 3))), b.Binary(engine.Min, x[0], x[1]))
		}, [][]float64{{1, 1.5, 3}, {1, 1.5, 1}}},
		{"Pow at 0", []tensor{vec(0, 0, 0, 2), vec(0, 1, 2, 0)}, func(b *B, x []ID) ID { return b.Binary(engine.Pow, x[0], x[1]) },
			[][]float64{{0, 1, 0, 0}, {0, 0, 0, math.Ln2}}},
		{"Pow with the exponent 0", []tensor{vec(0, 2)}, func(b *B, x []ID) ID { return b.Binary(engine.Pow, x[0], b.Scalar(0)) }, [][]float64{{0, 0}}},
		{"Gather of repeated rows", []tensor{mat(3, 1, 2, 3, 4, 5, 6)}, func(b *B, x []ID) ID {
			i := b.Program().NewConstant("", engine.Int, []int{4}, []float64{2, 0, -1, 2})
			return b.Mul(b.Gather(x[0], i, 0), constant(b, mat(4, 1, 2, 3, 4, 5, 6, 7, 8)))
		}, [][]float64{{3, 4, 0, 0, 13, 16}}},
		{"Where", []tensor{vec(-1, 0, 2)}, func(b *B, x []ID) ID {
			return b.Where(b.Binary(engine.Greater, x[0], b.Scalar(0)), b.Unary(engine.Log, b.Unary(engine.Clip, x[0], 1e-3, math.Inf(1))), b.Mul(x[0], x[0]))
		}, [][]float64{{-2, 0, .5}}},
		{"a shared subexpression", []tensor{vec(1, 2)}, func(b *B, x []ID) ID {
			h := b.Unary(engine.Exp, x[0])
			return b.Add(b.Mul(h, h), b.Div(h, b.Add(h, x[0])))
		}, [][]float64{{14.778112197861297, 109.2801195720907}}},
		{"the loss itself", []tensor{vec(3, 4)}, func(_ *B, x []ID) ID { return x[0] }, [][]float64{{1, 1}}},
		{"nothing", []tensor{vec(1), {[]int{0}, nil}}, func(b *B, x []ID) ID { return b.Mul(x[0], x[1]) }, [][]float64{{0}, {}}},
		{"not reached", []tensor{vec(1), vec(2)}, func(b *B, x []ID) ID { return b.Mul(x[0], x[0]) }, [][]float64{{2}, nil}},
	} {
		p := engine.NewProgram(0)
		b := p.NewFunc("f", 0)
		var x []ID
		for i, in := range c.in {
			x = append(x, p.NewState(string(rune('a'+i)), in.shape))
		}
		for i, g := range b.Gradient(c.loss(b, x), x) {
			if (g == engine.None) != (c.want[i] == nil) {
				t.Fatalf("%s: gradient %d is %v, wants %v", c.name, i, g, c.want[i])
			}
			if g != engine.None {
				b.Output(g)
			}
		}
		if b.Err() != nil || p.Check() != nil {
			t.Fatalf("%s: %v, %v", c.name, b.Err(), p.Check())
		}
		e, err := reference.NewFloat64().Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, in := range c.in {
			if err := e.Load(x[i], in.v); err != nil {
				t.Fatal(err)
			}
		}
		res, err := e.Run(context.Background(), engine.Schedule{Steps: 1})
		if err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(c.want), func(w []float64) bool { return w == nil })
		for i, w := range want {
			if !slices.EqualFunc(res.Outputs[i], w, func(a, b float64) bool { return math.Abs(a-b) <= 1e-12*(1+math.Abs(b)) }) {
				t.Errorf("%s: gradient by input %d is %v, PyTorch has %v", c.name, i, res.Outputs[i], w)
			}
		}
		e.Close()
	}
}
