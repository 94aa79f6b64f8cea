package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"netmend/data"
	"netmend/onnx"
	"netmend/train"
)

// network builds the graphs that scripts/bench_torch113.py trains.
type network struct {
	m    *onnx.Model
	last string
	n    int
}

func newNetwork(input ...any) *network {
	g := &onnx.Graph{Name: "bench", Inputs: []onnx.Value{onnx.NewValue("x", onnx.Float32, append([]any{"N"}, input...)...)}}
	return &network{m: &onnx.Model{IRVersion: 9, Opsets: []onnx.Opset{{Version: 18}}, Graph: g}, last: "x"}
}

// add appends a node with fresh weights of the given shapes.
func (w *network) add(op string, attrs []*onnx.Attribute, shapes ...[]int64) {
	w.n++
	in := []string{w.last}
	for i, s := range shapes {
		name := fmt.Sprintf("w%d_%d", w.n, i)
		size, _ := onnx.Elements(s)
		w.m.Graph.SetInitializer(onnx.NewFloat32(name, s, make([]float32, size)))
		in = append(in, name)
	}
	w.last = fmt.Sprintf("v%d", w.n)
	w.m.Graph.Nodes = append(w.m.Graph.Nodes, onnx.NewNode(op, "", in, []string{w.last}, attrs...))
}

func (w *network) gemm(in, out int64) {
	w.add("Gemm", []*onnx.Attribute{onnx.Int("transB", 1)}, []int64{out, in}, []int64{out})
}

func (w *network) dropout(rate float32) {
	w.m.Graph.SetInitializer(onnx.NewFloat32(fmt.Sprint("rate", w.n), nil, []float32{rate}))
	w.add("Dropout", nil)
	w.m.Graph.Nodes[len(w.m.Graph.Nodes)-1].Inputs = append(w.m.Graph.Nodes[len(w.m.Graph.Nodes)-1].Inputs, fmt.Sprint("rate", w.n-1))
}

func (w *network) end(outputs int) *onnx.Model {
	w.m.Graph.Outputs = []onnx.Value{onnx.NewValue(w.last, onnx.Float32, "N", outputs)}
	return w.m
}

func benchM() (*onnx.Model, string, []int, int, int) {
	w := newNetwork(1, 28, 28)
	w.add("Conv", []*onnx.Attribute{onnx.Ints("kernel_shape", 3, 3)}, []int64{32, 1, 3, 3}, []int64{32})
	w.add("Relu", nil)
	w.add("Conv", []*onnx.Attribute{onnx.Ints("kernel_shape", 3, 3)}, []int64{64, 32, 3, 3}, []int64{64})
	w.add("Relu", nil)
	w.add("MaxPool", []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2)})
	w.dropout(0.25)
	w.add("Flatten", nil)
	w.gemm(9216, 128)
	w.add("Relu", nil)
	w.dropout(0.5)
	w.gemm(128, 10)
	return w.end(10), "adadelta", []int{1, 28, 28}, 2048, 128
}

func benchMLP() (*onnx.Model, string, []int, int, int) {
	w := newNetwork(784)
	w.gemm(784, 128)
	w.add("Relu", nil)
	w.gemm(128, 10)
	return w.end(10), "adam", []int{784}, 8192, 128
}

func benchTiny() (*onnx.Model, string, []int, int, int) {
	w := newNetwork(2)
	w.gemm(2, 16)
	w.add("Tanh", nil)
	w.gemm(16, 1)
	return w.end(1), "adam", []int{2}, 4096, 32
}

// BenchmarkTrain measures training steps: batches gathered in a new order every epoch, forward, loss, backward, optimizer.
func BenchmarkTrain(b *testing.B) {
	for name, build := range map[string]func() (*onnx.Model, string, []int, int, int){"m": benchM, "mlp": benchMLP, "tiny": benchTiny} {
		b.Run(name, func(b *testing.B) {
			m, optimizer, sample, rows, batch := build()
			dev, err := openDevice("cpu")
			if err != nil {
				b.Skip(err)
			}
			defer dev.Close()
			o, err := train.DefaultOptimizer(optimizer, train.PyTorch)
			if err != nil {
				b.Fatal(err)
			}
			r := train.Recipe{Semantics: train.PyTorch, Task: train.Classification, Optimizer: o, BatchSize: batch, Epochs: 1, Metric: train.Accuracy, Shuffle: true,
				Seed: 1, Loss: train.Loss{Name: "sparse_categorical_crossentropy", FromLogits: true}}
			if name == "tiny" {
				r.Loss = train.Loss{Name: "binary_crossentropy", FromLogits: true}
			}
			t, err := train.New(m, r, benchData(sample, rows, name == "tiny"), train.Options{Device: dev})
			if err != nil {
				b.Fatal(err)
			}
			defer t.Close()
			b.ResetTimer()
			for range b.N {
				if err := t.Epoch(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}

func benchData(sample []int, rows int, binary bool) data.Splits {
	rng := rand.New(rand.NewPCG(1, 2))
	x := data.Array{Name: "x", Shape: append([]int{rows}, sample...)}
	for range rows * x.RowSize() {
		x.Float = append(x.Float, rng.Float32())
	}
	y := data.Array{Name: "y", Shape: []int{rows}, Int: make([]int32, rows)}
	d := data.Splits{Train: make([]int32, rows)}
	for i := range rows {
		d.Train[i] = int32(i)
		if y.Int[i] = rng.Int32N(10); binary {
			y.Int[i] %= 2
		}
	}
	d.Set = data.Set{Inputs: []data.Array{x}, Targets: []data.Array{y}}
	return d
}
