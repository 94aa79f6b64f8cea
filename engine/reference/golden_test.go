package reference

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"netmend/engine"
)

// golden is one case of testdata/golden_ops.json, which scripts/golden_ops.py records from PyTorch in float64.
type golden struct {
	Name, Op, Fn                           string
	Shapes                                 [][]int
	Alpha, Beta                            float64
	Kernel, Strides, Dilations, Begin, End []int
	Group, Axis                            int
	Ceil, Count                            bool
	Epsilon, Scale                         float64
	Grid                                   []any
	Shape                                  []int
	Y                                      []any
	Grads                                  [][]any
}

// salts of the inputs, as the script numbers them.
var salts = map[string]int{"conv": 1, "maxpool": 4, "avgpool": 4, "batchnorm": 5, "softmax": 8, "logsoftmax": 8}

func salted(n, salt int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64((7919*i+104729*salt)%2003-1001) / 500
	}
	return v
}

func parse(t *testing.T, in []any) []float64 {
	t.Helper()
	out := make([]float64, len(in))
	for i, v := range in {
		switch v {
		case "NaN":
			out[i] = math.NaN()
		case "Inf":
			out[i] = math.Inf(1)
		case "-Inf":
			out[i] = math.Inf(-1)
		default:
			f, ok := v.(float64)
			if !ok {
				t.Fatalf("no number: %v", v)
			}
			out[i] = f
		}
	}
	return out
}

func fnByName(t *testing.T, name string) engine.Fn {
	t.Helper()
	for _, f := range engine.Fns() {
		if f.String() == name {
			return f
		}
	}
	t.Fatalf("no function %q", name)
	return 0
}

func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/golden_ops.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Grid  []any
		Cases []golden
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 60 {
		t.Fatalf("only %d cases", len(file.Cases))
	}
	for i := range file.Cases {
		c := &file.Cases[i]
		if c.Op == "unary" && c.Grid == nil {
			c.Grid = file.Grid
		}
		t.Run(c.Op+"/"+c.Name, func(t *testing.T) {
			if c.Op == "optimizer" {
				c.optimize(t)
			} else {
				c.check(t)
			}
		})
	}
}

func (c *golden) check(t *testing.T) {
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	var in []engine.TensorID
	for i, s := range c.Shapes {
		in = append(in, p.NewState(fmt.Sprint("in", i), s))
	}
	y := c.build(t, b, in)
	dy := p.NewConstant("dy", engine.Float, c.Shape, salted(engine.Len(c.Shape), 99))
	b.Output(y)
	for _, g := range b.Gradient(b.Reduce(engine.Sum, b.Mul(y, dy), false), in) {
		b.Output(g)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	e, err := NewFloat64().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range in {
		v := salted(engine.Len(c.Shapes[i]), salts[c.Op]+i)
		if c.Grid != nil {
			v = parse(t, c.Grid)
		}
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	res, err := e.Run(context.Background(), engine.Schedule{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range append([][]any{c.Y}, c.Grads...) {
		got, want := res.Outputs[k], parse(t, want)
		if c.Op == "unary" && k == 1 && len(got) == len(want) {
			// Which branch PyTorch's gradient takes at a NaN input differs from function to function; ours is not meant to follow.
			for i, v := range parse(t, c.Grid) {
				if math.IsNaN(v) {
					got[i], want[i] = 0, 0
				}
			}
		}
		compare(t, k, got, want)
	}
}

func (c *golden) build(t *testing.T, b *engine.Builder, in []engine.TensorID) engine.TensorID {
	win := engine.Window{Kernel: c.Kernel, Strides: c.Strides, Dilations: c.Dilations, PadBegin: c.Begin, PadEnd: c.End, Group: c.Group,
		Ceil: c.Ceil, CountPad: c.Count}
	switch c.Op {
	case "conv":
		if len(in) == 2 {
			return b.Conv(in[0], in[1], engine.None, win)
		}
		return b.Conv(in[0], in[1], in[2], win)
	case "maxpool":
		return b.MaxPool(in[0], win)
	case "avgpool":
		return b.AvgPool(in[0], win)
	case "batchnorm":
		y, _, _ := b.BatchNorm(in[0], in[1], in[2], c.Epsilon)
		return y
	case "softmax":
		return b.Softmax(b.Affine(in[0], c.Scale, 0), c.Axis)
	case "logsoftmax":
		return b.LogSoftmax(b.Affine(in[0], c.Scale, 0), c.Axis)
	case "Sum", "Mean", "Max", "Min":
		return b.Reduce(fnByName(t, c.Op), in[0], true, c.Axis)
	case "maximum":
		return b.Binary(engine.Max, in[0], in[1])
	case "minimum":
		return b.Binary(engine.Min, in[0], in[1])
	case "unary":
		return b.Unary(fnByName(t, c.Fn), in[0], c.Alpha, c.Beta)
	}
	t.Fatalf("unknown op %q", c.Op)
	return engine.None
}

func compare(t *testing.T, k int, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("result %d: %d values, want %d", k, len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if math.IsNaN(w) && math.IsNaN(g) || g == w || math.Abs(g-w) <= 1e-9*math.Max(1, math.Abs(w)) {
			continue
		}
		t.Errorf("result %d (0 is y, then the gradients), element %d: %.15g, PyTorch says %.15g", k, i, g, w)
	}
}
