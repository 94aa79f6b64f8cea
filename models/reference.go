package models

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"netmend/onnx"
)

// The networks that speed is measured on beside the subjects, in the layout of PyTorch's exporter: NCHW images, weights of dense layers as
// (out, in). scripts/bench_pytorch.py holds the same networks; names of weights are neutral.
var references = map[string]func(g *reference){
	"tiny":        tiny,
	"mlp":         perceptron,
	"resnet20":    resnet20(32),
	"vgg11bn":     vgg11bn(1),
	"lstm":        lstm(80, 128),
	"transformer": transformer(200),
}

// Vocabulary is the number of words that the reference networks of texts know: Keras' examples take the most frequent 20,000 of IMDB.
const Vocabulary = 20000

// ReferenceNames lists the networks that Reference builds, sorted.
func ReferenceNames() []string {
	var names []string
	for n := range references {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Reference builds a network that speed is measured on:
//
//	tiny       2-16-1, tanh
//	mlp        784-128-10, ReLU
//	resnet20   He et al. 2016, section 4.2: 3 x 3 blocks of 16, 32, 64 channels on 32 x 32 images, shortcuts of the second kind (1x1)
//	vgg11bn    Simonyan and Zisserman 2015, table 1, column A, with batch normalisation, on 32 x 32 images with one dense layer
//	lstm       Keras' example imdb_lstm without its dropout: texts of 80 words, embedding in 128 dimensions, LSTM(128), one logit
//	transformer  Keras' example text_classification_with_transformer: texts of 200 words, one encoder block of width 32 with two heads of 32,
//	           dropout of 0.1, dense layers of 20 and 2
func Reference(name string) (*onnx.Model, error) {
	build, ok := references[name]
	if !ok {
		return nil, fmt.Errorf("models: reference network %q is not known: one of %v", name, ReferenceNames())
	}
	return buildReference(name, build), nil
}

func buildReference(name string, build func(g *reference)) *onnx.Model {
	g := &reference{m: &onnx.Model{IRVersion: 9, Opsets: []onnx.Opset{{Version: 18}}, ProducerName: "netmend", Graph: &onnx.Graph{Name: name}}}
	build(g)
	return g.m
}

// reference is a graph under construction; last is the value that the next layer takes.
type reference struct {
	m    *onnx.Model
	last string
	n    int // layers so far
}

func (g *reference) input(dims ...any) {
	g.last = "input"
	g.m.Graph.Inputs = []onnx.Value{onnx.NewValue("input", onnx.Float32, append([]any{"N"}, dims...)...)}
}

func (g *reference) output(classes int) {
	g.m.Graph.Nodes[len(g.m.Graph.Nodes)-1].Outputs[0] = "output"
	g.m.Graph.Outputs = []onnx.Value{onnx.NewValue("output", onnx.Float32, "N", classes)}
}

// weight adds an initializer of one value.
func (g *reference) weight(name string, fill float32, dims ...int64) string {
	n, err := onnx.Elements(dims)
	if err != nil {
		panic(err) // shapes are written in this file
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = fill
	}
	g.m.Graph.SetInitializer(onnx.NewFloat32(name, dims, v))
	return name
}

// node appends a node that takes the last value and weights, and gives out as many values as outputs says.
func (g *reference) node(op, name string, weights []string, attrs ...*onnx.Attribute) {
	in := append([]string{g.last}, weights...)
	g.last = name + "_out"
	g.m.Graph.Nodes = append(g.m.Graph.Nodes, onnx.NewNode(op, name, in, []string{g.last}, attrs...))
}

func (g *reference) name(kind string) string {
	g.n++
	return kind + strconv.Itoa(g.n)
}

func (g *reference) gemm(in, out int64) {
	n := g.name("fc")
	g.node("Gemm", n, []string{g.weight(n+".weight", 0, out, in), g.weight(n+".bias", 0, out)}, onnx.Int("transB", 1))
}

func (g *reference) act(op string) { g.node(op, g.name("act"), nil) }

func (g *reference) conv(in, out, kernel, stride int64, bias bool) {
	n := g.name("conv")
	w := []string{g.weight(n+".weight", 0, out, in, kernel, kernel)}
	if bias {
		w = append(w, g.weight(n+".bias", 0, out))
	}
	p := kernel / 2
	g.node("Conv", n, w, onnx.Ints("kernel_shape", kernel, kernel), onnx.Ints("strides", stride, stride), onnx.Ints("pads", p, p, p, p))
}

// norm is a BatchNormalization in training form, as an export with training=TRAINING has it.
func (g *reference) norm(channels int64) {
	n := g.name("norm")
	w := []string{g.weight(n+".weight", 1, channels), g.weight(n+".bias", 0, channels), g.weight(n+".running_mean", 0, channels),
		g.weight(n+".running_var", 1, channels)}
	g.node("BatchNormalization", n, w, onnx.Float("epsilon", 1e-5), onnx.Float("momentum", 0.9), onnx.Int("training_mode", 1))
	last := g.m.Graph.Nodes[len(g.m.Graph.Nodes)-1]
	last.Outputs = append(last.Outputs, n+"_mean", n+"_var")
}

// words is an input of texts and its embedding.
func (g *reference) words(length, width int64) {
	g.last = g.weight("embedding.weight", 0, Vocabulary, width)
	g.node("Gather", "embedding", []string{"input"})
	g.m.Graph.Inputs = []onnx.Value{onnx.NewValue("input", onnx.Int64, "N", int(length))}
}

// dense is a layer over the last axis.
func (g *reference) dense(in, out int64) {
	n := g.name("fc")
	g.node("MatMul", n, []string{g.weight(n+".weight", 0, in, out)})
	g.node("Add", n+".add", []string{g.weight(n+".bias", 0, out)})
}

func (g *reference) dropout(rate float32) {
	n := g.name("dropout")
	if g.m.Graph.Initializer("training") == nil {
		g.m.Graph.SetInitializer(onnx.NewBool("training", nil, []bool{true}))
	}
	g.m.Graph.SetInitializer(onnx.NewFloat32(n+".ratio", nil, []float32{rate}))
	g.node("Dropout", n, []string{n + ".ratio", "training"})
}

func (g *reference) layerNorm(width int64) {
	n := g.name("norm")
	g.node("LayerNormalization", n, []string{g.weight(n+".weight", 1, width), g.weight(n+".bias", 0, width)}, onnx.Float("epsilon", 1e-6))
}

// reshape gives rows of dims; 0 stands for the input's dimension.
func (g *reference) reshape(dims ...int64) {
	n := g.name("reshape")
	g.m.Graph.SetInitializer(onnx.NewInt64(n+".shape", []int64{int64(len(dims))}, dims))
	g.node("Reshape", n, []string{n + ".shape"})
}

func (g *reference) transpose(perm ...int64) {
	g.node("Transpose", g.name("transpose"), nil, onnx.Ints("perm", perm...))
}

func tiny(g *reference) {
	g.input(2)
	g.gemm(2, 16)
	g.act("Tanh")
	g.gemm(16, 1)
	g.output(1)
}

func perceptron(g *reference) {
	g.input(784)
	g.gemm(784, 128)
	g.act("Relu")
	g.gemm(128, 10)
	g.output(10)
}

// resnet20 is for images of side x side pixels.
func resnet20(side int) func(g *reference) {
	return func(g *reference) {
		g.input(3, side, side)
		g.conv(3, 16, 3, 1, false)
		g.norm(16)
		g.act("Relu")
		in := int64(16)
		for _, out := range []int64{16, 16, 16, 32, 32, 32, 64, 64, 64} {
			g.block(in, out)
			in = out
		}
		g.node("GlobalAveragePool", g.name("pool"), nil)
		g.node("Flatten", g.name("flatten"), nil)
		g.gemm(64, 10)
		g.output(10)
	}
}

// block is a residual block; where the width changes it halves the image, and a 1x1 convolution takes the shortcut along.
func (g *reference) block(in, out int64) {
	stride := int64(1)
	if in != out {
		stride = 2
	}
	from := g.last
	g.conv(in, out, 3, stride, false)
	g.norm(out)
	g.act("Relu")
	g.conv(out, out, 3, 1, false)
	g.norm(out)
	main := g.last
	g.last = from
	if in != out {
		g.conv(in, out, 1, stride, false)
		g.norm(out)
	}
	g.node("Add", g.name("add"), []string{main})
	g.act("Relu")
}

// vgg11bn has its numbers of channels divided by narrow.
func vgg11bn(narrow int64) func(g *reference) {
	return func(g *reference) {
		g.input(3, 32, 32)
		in := int64(3)
		for _, stage := range [][]int64{{64}, {128}, {256, 256}, {512, 512}, {512, 512}} {
			for _, out := range stage {
				out /= narrow
				g.conv(in, out, 3, 1, true)
				g.norm(out)
				g.act("Relu")
				in = out
			}
			g.node("MaxPool", g.name("pool"), nil, onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2))
		}
		g.node("Flatten", g.name("flatten"), nil)
		g.gemm(in, 10)
		g.output(10)
	}
}

// lstm is for texts of length words, embedded in as many dimensions as it has hidden units.
func lstm(length, hidden int64) func(g *reference) {
	return func(g *reference) {
		g.words(length, hidden)
		g.transpose(1, 0, 2)
		w := []string{g.weight("lstm.weight", 0, 1, 4*hidden, hidden), g.weight("lstm.recurrent", 0, 1, 4*hidden, hidden), g.weight("lstm.bias", 0, 1, 8*hidden)}
		g.node("LSTM", "lstm", w, onnx.Int("hidden_size", hidden))
		n := g.m.Graph.Nodes[len(g.m.Graph.Nodes)-1]
		n.Outputs = []string{"", "lstm_h"} // of the last word
		g.last = "lstm_h"
		g.reshape(-1, hidden)
		g.gemm(hidden, 1)
		g.output(1)
	}
}

// transformer is for texts of length words.
func transformer(length int64) func(g *reference) {
	return func(g *reference) {
		const width, heads, key, inner = 32, 2, 32, 32
		g.words(length, width)
		word := g.last
		places := make([]int64, length)
		for i := range places {
			places[i] = int64(i)
		}
		g.m.Graph.SetInitializer(onnx.NewInt64("places", []int64{length}, places))
		g.last = g.weight("position.weight", 0, length, width)
		g.node("Gather", "position", []string{"places"})
		g.node("Add", "embedded", []string{word})
		x := g.last
		head := func(perm ...int64) string {
			g.last = x
			g.dense(width, heads*key)
			g.reshape(0, length, heads, key)
			g.transpose(perm...)
			return g.last
		}
		q, k, v := head(0, 2, 1, 3), head(0, 2, 3, 1), head(0, 2, 1, 3)
		g.last = q
		g.node("MatMul", "scores", []string{k})
		g.m.Graph.SetInitializer(onnx.NewFloat32("scale", nil, []float32{float32(1 / math.Sqrt(key))}))
		g.node("Mul", "scaled", []string{"scale"})
		g.node("Softmax", "attention", nil, onnx.Int("axis", -1))
		g.node("MatMul", "context", []string{v})
		g.transpose(0, 2, 1, 3)
		g.reshape(0, length, heads*key)
		g.dense(heads*key, width)
		g.dropout(0.1)
		g.node("Add", "residual1", []string{x})
		g.layerNorm(width)
		x = g.last
		g.dense(width, inner)
		g.act("Relu")
		g.dense(inner, width)
		g.dropout(0.1)
		g.node("Add", "residual2", []string{x})
		g.layerNorm(width)
		g.m.Graph.SetInitializer(onnx.NewInt64("pool.axes", []int64{1}, []int64{1}))
		g.node("ReduceMean", "pool", []string{"pool.axes"}, onnx.Int("keepdims", 0))
		g.dropout(0.1)
		g.gemm(width, 20)
		g.act("Relu")
		g.dropout(0.1)
		g.gemm(20, 2)
		g.output(2)
	}
}
