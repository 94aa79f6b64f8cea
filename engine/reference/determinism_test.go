package reference

import (
	"context"
	"math"
	"runtime"
	"slices"
	"testing"

	"netmend/engine"
)

// TestBitsDoNotDependOnGoroutines runs what is split among goroutines, a matrix product with a long sum among it, on one and on seven.
func TestBitsDoNotDependOnGoroutines(t *testing.T) {
	p := engine.NewProgram(0)
	f := p.NewFunc("f", 0)
	x, w := p.NewState("x", []int{8, 6, 30, 30}), p.NewState("w", []int{10, 6, 3, 3})
	win := engine.Window{Kernel: []int{3, 3}, Strides: []int{1, 1}, Dilations: []int{1, 1}, PadBegin: []int{1, 1}, PadEnd: []int{1, 1}, Group: 1}
	y := f.Conv(x, w, engine.None, win)
	long := f.Reshape(y, []int{9, 8000})
	z := f.MatMul(long, long, engine.None, false, true)
	loss := f.Add(f.Reduce(engine.Sum, f.Unary(engine.Tanh, y), false), f.Reduce(engine.Mean, z, false))
	for _, id := range append(f.Gradient(loss, []engine.TensorID{x, w}), z, loss) {
		f.Output(id)
	}
	run := func(procs int) []uint64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		e, err := New().Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []engine.TensorID{x, w} {
			if err := e.Load(id, salted(p.Tensors[id].Len(), int(id))); err != nil {
				t.Fatal(err)
			}
		}
		res, err := e.Run(context.Background(), engine.Schedule{Steps: 1})
		if err != nil {
			t.Fatal(err)
		}
		var bits []uint64
		for _, v := range slices.Concat(res.Outputs...) {
			bits = append(bits, math.Float64bits(v))
		}
		return bits
	}
	if !slices.Equal(run(1), run(7)) {
		t.Error("one and seven goroutines give different bits")
	}
}
