package lower

import (
	"testing"

	"netmend/onnx"
)

// TestAttentionGradients: heads of their own and shared ones, masks of every kind, a row that may attend to nothing.
func TestAttentionGradients(t *testing.T) {
	node := func(in []string, attrs ...*onnx.Attribute) []*onnx.Node {
		return []*onnx.Node{onnx.NewNode("Attention", "a", in, []string{"y"}, attrs...)}
	}
	qkv := []string{"x0", "x1", "x2"}
	four := [][]int{{2, 2, 3, 2}, {2, 2, 4, 2}, {2, 2, 4, 3}}
	mask := onnx.NewRaw("mask", onnx.Bool, []int64{3, 4}, []byte{1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0})
	for _, c := range []gradientCase{
		{name: "plain", nodes: node(qkv), shapes: four},
		{name: "scale and softcap", nodes: node(qkv, onnx.Float("scale", 0.3), onnx.Float("softcap", 0.7)), shapes: four},
		{name: "three dimensions, shared heads, causal", shapes: [][]int{{2, 3, 8}, {2, 3, 4}, {2, 3, 6}},
			nodes: node(qkv, onnx.Int("q_num_heads", 4), onnx.Int("kv_num_heads", 2), onnx.Int("is_causal", 1))},
		{name: "float mask", nodes: node([]string{"x0", "x1", "x2", "x3"}), shapes: append(four[:3:3], []int{3, 4})},
		{name: "boolean mask", nodes: node([]string{"x0", "x1", "x2", "mask"}), shapes: four, inits: []*onnx.Tensor{mask}},
		{name: "past", nodes: node([]string{"x0", "x1", "x2", "", "x3", "x4"}, onnx.Int("is_causal", 1)),
			shapes: append(four[:3:3], []int{2, 2, 1, 2}, []int{2, 2, 1, 3})},
		{name: "padding", nodes: node([]string{"x0", "x1", "x2", "", "", "", "lens"}, onnx.Int("is_causal", 1)), shapes: four,
			inits: []*onnx.Tensor{onnx.NewInt64("lens", []int64{2}, []int64{4, 2})}},
	} {
		t.Run(c.name, c.check)
	}
}
