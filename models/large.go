package models

import (
	"maps"
	"slices"

	"netmend/onnx"
)

// large are the subjects of the faults of larger networks: the reference networks of pictures and texts, and MobileNetV2. Each has a lite version
// with the same layers under the same names, for smaller images, narrower, or for shorter texts, that a core trains in seconds.
var large = map[string]func(g *reference){
	"resnet20":         resnet20(32),
	"resnet20-lite":    resnet20(16),
	"vgg11bn":          vgg11bn(1),
	"vgg11bn-lite":     vgg11bn(8),
	"mobilenetv2":      mobilenetv2(32, 1),
	"mobilenetv2-lite": mobilenetv2(16, 4),
	"lstm":             lstm(80, 128),
	"lstm-lite":        lstm(40, 64),
	"transformer":      transformer(200),
	"transformer-lite": transformer(64),
}

// LargeNames are the larger subject networks, sorted.
func LargeNames() []string { return slices.Sorted(maps.Keys(large)) }

// mobilenetv2 is the network of Sandler et al. 2018, table 2, for CIFAR-10: images of side x side pixels, strides of 1 in the first convolution and
// in the first stage of 24 channels, as there are fewer pixels than ImageNet's to lose. Numbers of channels are divided by narrow.
func mobilenetv2(side int, narrow int64) func(g *reference) {
	return func(g *reference) {
		g.input(3, side, side)
		g.m.Graph.SetInitializer(onnx.NewFloat32("clip.min", nil, []float32{0}))
		g.m.Graph.SetInitializer(onnx.NewFloat32("clip.max", nil, []float32{6}))
		in := 32 / narrow
		g.conv(3, in, 3, 1, false)
		g.norm(in)
		g.relu6()
		for _, stage := range []struct{ expansion, channels, blocks, stride int64 }{
			{1, 16, 1, 1}, {6, 24, 2, 1}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}} {
			for i := range stage.blocks {
				stride := int64(1)
				if i == 0 {
					stride = stage.stride
				}
				g.inverted(in, stage.channels/narrow, stage.expansion, stride)
				in = stage.channels / narrow
			}
		}
		last := 1280 / narrow
		g.conv(in, last, 1, 1, false)
		g.norm(last)
		g.relu6()
		g.node("GlobalAveragePool", g.name("pool"), nil)
		g.node("Flatten", g.name("flatten"), nil)
		g.gemm(last, 10)
		g.output(10)
	}
}

// inverted is an inverted residual: a 1x1 convolution to more channels, a depthwise one, and a 1x1 convolution back without an activation. The input is
// added where it has the result's shape.
func (g *reference) inverted(in, out, expansion, stride int64) {
	from, wide := g.last, in*expansion
	if expansion > 1 {
		g.conv(in, wide, 1, 1, false)
		g.norm(wide)
		g.relu6()
	}
	g.depthwise(wide, stride)
	g.norm(wide)
	g.relu6()
	g.conv(wide, out, 1, 1, false)
	g.norm(out)
	if stride == 1 && in == out {
		g.node("Add", g.name("add"), []string{from})
	}
}

// depthwise is a convolution with one 3x3 kernel for every channel.
func (g *reference) depthwise(channels, stride int64) {
	n := g.name("conv")
	g.node("Conv", n, []string{g.weight(n+".weight", 0, channels, 1, 3, 3)}, onnx.Ints("kernel_shape", 3, 3), onnx.Ints("strides", stride, stride),
		onnx.Ints("pads", 1, 1, 1, 1), onnx.Int("group", channels))
}

func (g *reference) relu6() { g.node("Clip", g.name("act"), []string{"clip.min", "clip.max"}) }
