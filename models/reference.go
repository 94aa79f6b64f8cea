package models

import (
	"fmt"
	"slices"
	"strconv"

	"netmend/onnx"
)

// The networks that speed is measured on beside the subjects, in the layout of PyTorch's exporter: NCHW images, weights of dense layers as
// (out, in). scripts/bench_pytorch.py holds the same networks; names of weights are neutral.
var references = map[string]func(g *reference){
	"tiny":     tiny,
	"mlp":      perceptron,
	"resnet20": resnet20,
	"vgg11bn":  vgg11bn,
}

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
func Reference(name string) (*onnx.Model, error) {
	build, ok := references[name]
	if !ok {
		return nil, fmt.Errorf("models: reference network %q is not known: one of %v", name, ReferenceNames())
	}
	g := &reference{m: &onnx.Model{IRVersion: 9, Opsets: []onnx.Opset{{Version: 18}}, ProducerName: "netmend", Graph: &onnx.Graph{Name: name}}}
	build(g)
	return g.m, nil
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

func resnet20(g *reference) {
	g.input(3, 32, 32)
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

func vgg11bn(g *reference) {
	g.input(3, 32, 32)
	in := int64(3)
	for _, stage := range [][]int64{{64}, {128}, {256, 256}, {512, 512}, {512, 512}} {
		for _, out := range stage {
			g.conv(in, out, 3, 1, true)
			g.norm(out)
			g.act("Relu")
			in = out
		}
		g.node("MaxPool", g.name("pool"), nil, onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2))
	}
	g.node("Flatten", g.name("flatten"), nil)
	g.gemm(512, 10)
	g.output(10)
}
