package reference

import (
	"context"
	"math"
	"testing"

	"netmend/engine"
)

// TestValues checks by hand what the pages of package engine say about the operations that PyTorch has no like of.
func TestValues(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	x := func(b *engine.Builder, v ...float64) engine.TensorID {
		return b.Program().NewConstant("", engine.Float, []int{len(v)}, v)
	}
	n := func(b *engine.Builder, v ...float64) engine.TensorID {
		return b.Program().NewConstant("", engine.Int, []int{len(v)}, v)
	}
	window := engine.Window{Kernel: []int{1}, Strides: []int{1}, Dilations: []int{1}, PadBegin: []int{1}, PadEnd: []int{1}}
	for name, c := range map[string]struct {
		build func(b *engine.Builder) engine.TensorID
		want  []float64
	}{
		"argmax takes the first": {func(b *engine.Builder) engine.TensorID { return b.ArgMax(x(b, 1, 3, 3), 0) }, []float64{1}},
		"argmax prefers NaN":     {func(b *engine.Builder) engine.TensorID { return b.ArgMax(x(b, inf, nan, 3, nan), 0) }, []float64{1}},
		"argmax of -Inf":         {func(b *engine.Builder) engine.TensorID { return b.ArgMax(x(b, -inf, -inf), 0) }, []float64{0}},
		"moments":                {func(b *engine.Builder) engine.TensorID { return b.Moments(x(b, 1, -3, 0, inf, nan, 0)) }, []float64{2, -0.5, 1, 2.5, 3, 0.5}},
		"moments of nothing":     {func(b *engine.Builder) engine.TensorID { return b.Moments(x(b, inf, nan)) }, []float64{2, 0, 0, 0, 0, 0}},
		"cast":                   {func(b *engine.Builder) engine.TensorID { return b.Cast(x(b, 1.9, -1.9, nan, 3e9, -inf), engine.Int) }, []float64{1, -1, 0, 1<<31 - 1, -1 << 31}},
		"onehot":                 {func(b *engine.Builder) engine.TensorID { return b.OneHot(n(b, 1, -1, 2), 2) }, []float64{0, 1, 0, 0, 0, 0}},
		"gather":                 {func(b *engine.Builder) engine.TensorID { return b.Gather(x(b, 5, 6), n(b, 1, -2, 2, -3), 0) }, []float64{6, 5, nan, nan}},
		"gather ints":            {func(b *engine.Builder) engine.TensorID { return b.Gather(n(b, 5, 6), n(b, 1, -2, 2), 0) }, []float64{6, 5, -1}},
		"comparisons are false": {func(b *engine.Builder) engine.TensorID {
			return b.Binary(engine.GreaterOrEqual, x(b, nan, 1), x(b, nan))
		}, []float64{0, 0}},
		"where takes NaN as true": {func(b *engine.Builder) engine.TensorID { return b.Where(x(b, nan, 0, 1), x(b, 1), x(b, 2)) }, []float64{1, 2, 1}},
		"max pool of padding":     {func(b *engine.Builder) engine.TensorID { return b.MaxPool(b.Reshape(x(b, 5), []int{1, 1, 1}), window) }, []float64{-inf, 5, -inf}},
		"average pool of padding": {func(b *engine.Builder) engine.TensorID { return b.AvgPool(b.Reshape(x(b, 5), []int{1, 1, 1}), window) }, []float64{0, 5, 0}},
		"dropout of everything":   {func(b *engine.Builder) engine.TensorID { return b.Dropout(x(b, nan, 1), 1, 0) }, []float64{0, 0}},
		"slice backwards": {func(b *engine.Builder) engine.TensorID {
			return b.Slice(x(b, 0, 1, 2, 3, 4), []int{4}, []int{-2}, []int{3})
		}, []float64{4, 2, 0}},
		"pad backwards": {func(b *engine.Builder) engine.TensorID { return b.Pad(x(b, 1, 2), []int{3}, []int{-2}, []int{5}, 9) }, []float64{9, 2, 9, 1, 9}},
		"sign":          {func(b *engine.Builder) engine.TensorID { return b.Unary(engine.Sign, x(b, -inf, -2, 0, 1e-300, nan)) }, []float64{-1, -1, 0, 1, nan}},
		"floor":         {func(b *engine.Builder) engine.TensorID { return b.Unary(engine.Floor, x(b, -1.5, 1.5, inf, nan)) }, []float64{-2, 1, inf, nan}},
		"prod":          {func(b *engine.Builder) engine.TensorID { return b.Reduce(engine.Prod, x(b, 2, 3, -4), true) }, []float64{-24}},
		"transpose": {func(b *engine.Builder) engine.TensorID {
			return b.Transpose(b.Reshape(x(b, 1, 2, 3, 4, 5, 6), []int{2, 3}), 1, 0)
		}, []float64{1, 4, 2, 5, 3, 6}},
		"concat": {func(b *engine.Builder) engine.TensorID {
			return b.Concat(1, b.Reshape(x(b, 1, 2), []int{2, 1}), b.Reshape(x(b, 3, 4, 5, 6), []int{2, 2}))
		}, []float64{1, 3, 4, 2, 5, 6}},
		"batch norm with given statistics": {func(b *engine.Builder) engine.TensorID {
			return b.BatchNormInfer(b.Reshape(x(b, 5, 7), []int{1, 2}), x(b, 2, 3), x(b, 1, -1), x(b, 3, 7), x(b, 3, 8), 1)
		}, []float64{3, -1}},
	} {
		p := engine.NewProgram(0)
		b := p.NewFunc("f", 0)
		b.Output(c.build(b))
		if b.Err() != nil {
			t.Fatal(name, b.Err())
		}
		e, err := NewFloat64().Compile(p)
		if err != nil {
			t.Fatal(name, err)
		}
		res, err := e.Run(context.Background(), engine.Schedule{Steps: 1})
		if err != nil {
			t.Fatal(name, err)
		}
		t.Run(name, func(t *testing.T) { compare(t, 0, res.Outputs[0], c.want) })
	}
}
