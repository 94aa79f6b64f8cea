package operators

import (
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// batchNormalization puts a normalisation between a hidden layer and its activation (Ioffe and Szegedy 2015, section 3.2). Epsilon and
// momentum are the framework's defaults (ONNX's momentum is the share of the old running statistics, as Keras counts it). The units must be on
// axis 1. Operator set 14 brought the training form; before it, the node stands in its inference form, and training treats both alike.
var batchNormalization = operator{
	name: "batch_normalization", noun: "batch normalization",
	doc: "inserts batch normalization between a layer and its activation",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, l := range v.layers {
			if l.last || !v.wants(l.name()) || v.Model.Opset("") < 9 || v.block(l).norm != nil || !l.conv && len(v.shape(l.out)) != 2 || v.outputs[l.out] {
				continue
			}
			if n := v.inits[l.kernel]; n.Type != onnx.Float32 {
				continue
			}
			slots = append(slots, repair.Slot{Target: l.name(), Domain: choice("none", "before_activation"), Current: repair.Word("none")})
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, _ repair.Value) error {
		l, _ := v.layerNamed(slot.Target)
		epsilon, momentum := float32(1e-5), float32(0.9)
		if v.Recipe.Semantics == train.Keras {
			epsilon, momentum = 1e-3, 0.99
		}
		base, dims := slot.Target+"_bn", []int64{int64(l.units)}
		zeros, ones := filled(l.units, 0), filled(l.units, 1)
		n := onnx.NewNode("BatchNormalization", v.g.NewName(base), []string{l.out,
			v.addTensor(base+"_scale", dims, ones, train.Initializer{Name: "ones"}),
			v.addTensor(base+"_shift", dims, zeros, train.Initializer{Name: "zeros"}),
			v.addTensor(base+"_mean", dims, zeros, train.Initializer{Name: "zeros"}),
			v.addTensor(base+"_variance", dims, ones, train.Initializer{Name: "ones"})}, nil,
			onnx.Float("epsilon", epsilon), onnx.Float("momentum", momentum))
		if n.Outputs = []string{v.g.NewName(base + "_output")}; v.Model.Opset("") >= 14 {
			n.SetInt("training_mode", 1)
			n.Outputs = append(n.Outputs, v.g.NewName(base+"_new_mean"), v.g.NewName(base+"_new_variance"))
		}
		return v.g.InsertAfter(l.out, n)
	},
	words: func(v *view, slot repair.Slot, value repair.Value) string {
		if value.Text == "none" {
			return "no batch normalization after " + slot.Target
		}
		return "batch normalization after " + slot.Target + ", before its activation"
	},
}
