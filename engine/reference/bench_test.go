package reference

import (
	"context"
	"testing"

	"netmend/engine"
)

// BenchmarkLeNet is training steps of a LeNet-5 at batch 128 on 28×28 images.
func BenchmarkLeNet(b *testing.B) {
	const batch = 128
	p := engine.NewProgram(batch)
	x := p.NewData("x", engine.Float, []int{1, 28, 28})
	label := p.NewData("label", engine.Int, nil)
	coefs := p.NewFeed("coefs", []int{engine.RuleCoefs})
	f := p.NewFunc("train", batch)
	conv := engine.Window{Kernel: []int{5, 5}, Strides: []int{1, 1}, Dilations: []int{1, 1}, PadBegin: []int{0, 0}, PadEnd: []int{0, 0}, Group: 1}
	pool := engine.Window{Kernel: []int{2, 2}, Strides: []int{2, 2}, Dilations: []int{1, 1}, PadBegin: []int{0, 0}, PadEnd: []int{0, 0}}
	w := []engine.TensorID{p.NewState("w1", []int{6, 1, 5, 5}), p.NewState("w2", []int{16, 6, 5, 5}),
		p.NewState("w3", []int{256, 120}), p.NewState("w4", []int{120, 84}), p.NewState("w5", []int{84, 10})}
	h := f.Batch(x)
	for i := range 2 {
		h = f.MaxPool(f.Unary(engine.Relu, f.Conv(h, w[i], engine.None, conv)), pool)
	}
	h = f.Reshape(h, []int{batch, 256})
	h = f.Unary(engine.Relu, f.MatMul(h, w[2], engine.None, false, false))
	h = f.Unary(engine.Relu, f.MatMul(h, w[3], engine.None, false, false))
	h = f.LogSoftmax(f.MatMul(h, w[4], engine.None, false, false), 1)
	loss := f.Affine(f.Reduce(engine.Sum, f.Mul(h, f.OneHot(f.Batch(label), 10)), false), -1.0/batch, 0)
	for i, g := range f.Gradient(loss, w) {
		f.Update(engine.Rule{Kind: engine.RuleLinear}, w[i], g, coefs)
	}
	f.Output(loss)
	if f.Err() != nil {
		b.Fatal(f.Err())
	}
	e, err := New().Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	for _, id := range append(w, x) {
		v := make([]float64, p.Tensors[id].Len())
		for i := range v {
			v[i] = float64(i%7-3) / 30
		}
		if err := e.Load(id, v); err != nil {
			b.Fatal(err)
		}
	}
	rows := make([]int32, batch)
	for i := range rows {
		rows[i] = int32(i)
	}
	s := engine.Schedule{Rows: rows, Feeds: map[engine.TensorID][]float64{coefs: {1, 0, 0, 0, 0.01}}}
	for b.Loop() {
		if _, err := e.Run(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "samples/s")
}
