package models

import (
	"fmt"

	"netmend/onnx"
)

// The versions that tf2onnx 1.17 writes.
const (
	irVersion = 8
	opset     = 18
)

// padding of a convolution, as Keras names it.
type padding bool

const (
	valid padding = false // none
	same  padding = true  // zeros around the input, so that the output has its height and width; kernels have odd sizes
)

// builder appends layers to a graph.
type builder struct {
	g     *onnx.Graph
	at    string         // the value that the next layer takes
	shape []int64        // of a sample of it, channels first
	count map[string]int // of layers by kind
}

func newBuilder(doc string) *builder {
	return &builder{g: &onnx.Graph{Name: "network", Doc: doc}, count: map[string]int{}}
}

// layer numbers the next layer of a kind: "dense2".
func (b *builder) layer(kind string) string {
	b.count[kind]++
	return fmt.Sprintf("%s%d", kind, b.count[kind])
}

// node appends a node that takes the current value and constants. Its result, named as tf2onnx names it, becomes the current value.
func (b *builder) node(op, name string, constants []string, attrs ...*onnx.Attribute) {
	out := name + ":0"
	b.g.Nodes = append(b.g.Nodes, onnx.NewNode(op, name, append([]string{b.at}, constants...), []string{out}, attrs...))
	b.at = out
}

// weight adds an initializer of zeros.
func (b *builder) weight(name string, dims ...int64) string {
	b.g.Initializers = append(b.g.Initializers, onnx.NewFloat32(name, dims, make([]float32, size(dims))))
	return name
}

// integers adds an initializer that holds a shape.
func (b *builder) integers(name string, values ...int64) string {
	b.g.Initializers = append(b.g.Initializers, onnx.NewInt64(name, []int64{int64(len(values))}, values))
	return name
}

func size(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

func (b *builder) input(name string, dims ...any) {
	b.g.Inputs = append(b.g.Inputs, onnx.NewValue(name, onnx.Float32, append([]any{"batch"}, dims...)...))
}

// table starts with rows of features.
func (b *builder) table(name string, features int64) {
	b.input(name, features)
	b.at, b.shape = name, []int64{features}
}

// image starts with images of float values, channels last, and moves the channels to the front: one channel by a Reshape, as tf2onnx does.
func (b *builder) image(name string, height, width, channels int64) {
	b.input(name, height, width, channels)
	b.at, b.shape = name, []int64{channels, height, width}
	if channels == 1 {
		b.node("Reshape", "channels_first", []string{b.integers("channels_first/shape", -1, channels, height, width)})
		return
	}
	b.node("Transpose", "channels_first", nil, onnx.Ints("perm", 0, 3, 1, 2))
}

// conv appends a convolution with square kernels, stride 1 and a bias, and its activation ("": none).
func (b *builder) conv(units, kernel int64, pad padding, activation string) {
	name := b.layer("conv")
	attrs := []*onnx.Attribute{onnx.Ints("dilations", 1, 1), onnx.Ints("strides", 1, 1), onnx.Ints("kernel_shape", kernel, kernel), onnx.Int("group", 1)}
	lost := kernel - 1
	if p := lost / 2; pad == same {
		attrs = append(attrs, onnx.Ints("pads", p, p, p, p))
		lost = 0
	}
	weights := []string{b.weight(name+"/kernel", units, b.shape[0], kernel, kernel), b.weight(name+"/bias", units)}
	b.node("Conv", name+"/Conv", weights, attrs...)
	b.shape = []int64{units, b.shape[1] - lost, b.shape[2] - lost}
	b.activate(name, activation)
}

// maxPool appends pooling of squares that do not overlap; what does not fill a square is left out.
func (b *builder) maxPool(n int64) {
	b.node("MaxPool", b.layer("pool")+"/MaxPool", nil, onnx.Ints("strides", n, n), onnx.Ints("kernel_shape", n, n))
	b.shape = []int64{b.shape[0], b.shape[1] / n, b.shape[2] / n}
}

// flatten makes rows of feature maps, channels last.
func (b *builder) flatten() {
	n := size(b.shape)
	b.node("Transpose", "channels_last", nil, onnx.Ints("perm", 0, 2, 3, 1))
	b.node("Reshape", "flatten", []string{b.integers("flatten/shape", -1, n)})
	b.shape = []int64{n}
}

// dense appends a dense layer with a bias, and its activation ("": none).
func (b *builder) dense(units int64, activation string) {
	name := b.layer("dense")
	b.node("MatMul", name+"/MatMul", []string{b.weight(name+"/kernel", b.shape[0], units)})
	b.node("Add", name+"/BiasAdd", []string{b.weight(name+"/bias", units)})
	b.shape = []int64{units}
	b.activate(name, activation)
}

func (b *builder) activate(layer, op string) {
	if op != "" {
		b.node(op, layer+"/activation", nil)
	}
}

// dropout appends dropout of a rate in training mode, as our exporter restores it.
func (b *builder) dropout(rate float32) {
	name := b.layer("dropout")
	if b.g.Initializer("training") == nil {
		b.g.Initializers = append(b.g.Initializers, onnx.NewBool("training", nil, []bool{true}))
	}
	b.g.Initializers = append(b.g.Initializers, onnx.NewFloat32(name+"/rate", nil, []float32{rate}))
	b.node("Dropout", name, []string{name + "/rate", "training"})
}

// join puts the features of another input in front of the current ones.
func (b *builder) join(name string, features int64) {
	b.input(name, features)
	join := onnx.NewNode("Concat", "join", []string{name, b.at}, []string{"join:0"}, onnx.Int("axis", 1))
	b.g.Nodes = append(b.g.Nodes, join)
	b.at, b.shape = join.Outputs[0], []int64{features + b.shape[0]}
}

// finish makes the current value the output and wraps the graph up.
func (b *builder) finish() *onnx.Model {
	b.g.Nodes[len(b.g.Nodes)-1].Outputs[0] = "output"
	b.g.Outputs = []onnx.Value{onnx.NewValue("output", onnx.Float32, "batch", b.shape[0])}
	return &onnx.Model{IRVersion: irVersion, Opsets: []onnx.Opset{{Version: opset}}, ProducerName: "netmend", Graph: b.g}
}
