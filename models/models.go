// Package models builds the subject networks of the fault benchmark of "Repairing DNN Architecture: Are We There Yet?" (ICST 2023) in
// their healthy architectures, as graphs in the layout that an export from Keras through tf2onnx has: inputs with the channels last, moved
// to the front for the convolutions and back before flattening; kernels of dense layers as MatMul takes them, [inputs, units], with a
// bias added by a node of its own; kernels of convolutions [units, inputs, height, width].
//
// Weights are zeros: a recipe names an initializer for every tensor. Names say what a node is and which of its kind, and nothing about what
// may be wrong with it: "conv1/Conv", "dense2/MatMul", "dense2/activation", weights "dense2/kernel" and "dense2/bias".
//
// The subjects of faults of larger networks ([LargeNames]) are reference networks ([Reference]), in the layout of PyTorch's exporter.
package models

import (
	"fmt"

	"netmend/onnx"
)

// network is a subject network: what it is and how it is built.
type network struct {
	name, doc string
	build     func(b *builder)
}

// networks are the subjects with their architectures in the benchmark's order: M, C, R and U of DeepCrime's subject programs, D1 to D9 of the
// questions on Stack Overflow that "DeepFD: Automated Fault Diagnosis and Localization for Deep Learning Programs" (ICSE 2022) collected.
var networks = []network{
	{"M", "digits, the convolutional network of Keras' MNIST example", func(b *builder) {
		b.image("input", 28, 28, 1)
		b.conv(32, 3, valid, "Relu")
		b.conv(64, 3, valid, "Relu")
		b.maxPool(2)
		b.dropout(0.25)
		b.flatten()
		b.dense(128, "Relu")
		b.dropout(0.5)
		b.dense(10, "Softmax")
	}},
	{"C", "photographs of ten classes", func(b *builder) {
		b.image("input", 32, 32, 3)
		for _, units := range []int64{32, 64, 128} {
			b.conv(units, 3, valid, "Relu")
			b.maxPool(2)
		}
		b.flatten()
		b.dense(256, "Relu")
		b.dense(128, "Relu")
		b.dense(10, "Softmax")
	}},
	{"R", "news wires of 46 topics as bags of 10,000 words", func(b *builder) {
		b.table("input", 10000)
		b.dense(512, "Relu")
		b.dropout(0.5)
		b.dense(46, "Softmax")
	}},
	{"U", "gaze angles of an image of an eye and the angles of the head", func(b *builder) {
		b.image("image", 36, 60, 1)
		b.conv(20, 5, valid, "Relu")
		b.maxPool(2)
		b.conv(50, 5, valid, "Relu")
		b.maxPool(2)
		b.flatten()
		b.dense(500, "Relu")
		b.join("head", 2)
		b.dense(2, "")
	}},
	{"D1", "two classes, one unit", func(b *builder) {
		b.table("input", 128)
		b.dense(50, "Relu")
		b.dropout(0.2)
		b.dense(50, "Relu")
		b.dropout(0.2)
		b.dense(1, "Sigmoid")
	}},
	{"D2", "two classes, one unit", func(b *builder) {
		b.table("input", 31)
		for _, units := range []int64{600, 400, 100} {
			b.dense(units, "Relu")
			b.dropout(0.5)
		}
		b.dense(1, "Sigmoid")
	}},
	{"D3", "two classes of one number", func(b *builder) {
		b.table("input", 1)
		b.dense(1, "Relu")
		b.dense(2, "Sigmoid")
	}},
	{"D4", "digits as rows of pixels", func(b *builder) {
		b.table("input", 784)
		b.dense(30, "Sigmoid")
		b.dense(10, "Softmax")
	}},
	{"D5", "photographs of ten classes", func(b *builder) {
		b.image("input", 32, 32, 3)
		b.conv(256, 3, valid, "Relu")
		b.maxPool(2)
		b.conv(128, 2, valid, "Relu")
		b.maxPool(2)
		b.flatten()
		b.dense(1024, "Relu")
		b.dropout(0.5)
		b.dense(10, "Softmax")
	}},
	{"D6", "two classes of pairs of numbers", func(b *builder) {
		b.table("input", 2)
		b.dense(2, "Sigmoid")
		b.dense(2, "Sigmoid")
	}},
	{"D7", "a line", func(b *builder) {
		b.table("input", 1)
		b.dense(1, "")
	}},
	{"D8", "bits of a number, bits of its remainder", func(b *builder) {
		b.table("input", 20)
		b.dense(20, "Relu")
		b.dense(20, "Relu")
		b.dense(20, "Softmax")
	}},
	{"D9", "digits", func(b *builder) {
		b.image("input", 28, 28, 1)
		b.conv(64, 3, same, "Selu")
		b.maxPool(2)
		b.conv(32, 3, same, "Sigmoid")
		b.maxPool(2)
		b.flatten()
		b.dense(128, "Relu")
		b.dense(10, "Softmax")
	}},
}

// Names are the subject networks in the benchmark's order.
func Names() []string {
	names := make([]string, len(networks))
	for i, n := range networks {
		names[i] = n.name
	}
	return names
}

// Build makes a subject network anew, one of Names or of LargeNames.
func Build(name string) (*onnx.Model, error) {
	for _, n := range networks {
		if n.name != name {
			continue
		}
		b := newBuilder(n.doc)
		n.build(b)
		return b.finish(), nil
	}
	if build, ok := large[name]; ok {
		return buildReference("network", build), nil
	}
	return nil, fmt.Errorf("models: there is no network %q: one of %v or %v", name, Names(), LargeNames())
}
