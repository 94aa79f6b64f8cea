package operators

import (
	"slices"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// layerRepeat repeats a hidden layer with its normalisation, activation and dropout 0, 1 or 2 times, as the published space does. The copy
// takes in as many units as it gives out; that of a convolution keeps the size of the feature map (stride 1, padded with zeros). Taking a
// layer out fits the following ones to what it took in; within a residual branch that is possible only while the layer takes in as many units as
// it gives out, so that a patch which also resizes the layer before it is refused.
var layerRepeat = operator{
	name: "layer", noun: "layer repeated",
	doc: "duplicates (2) or removes (0) a dense or convolutional layer with its activation",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, l := range v.layers {
			if !v.wants(l.name()) {
				continue
			}
			b := v.block(l)
			if l.last || v.outputs[b.end] {
				continue
			}
			d := repair.Domain{}
			if v.removable(b) {
				d.Choices = append(d.Choices, repair.Num(0))
			}
			d.Choices = append(d.Choices, repair.Num(1))
			if v.duplicable(b) {
				d.Choices = append(d.Choices, repair.Num(2))
			}
			if len(d.Choices) > 1 {
				slots = append(slots, repair.Slot{Target: l.name(), Domain: d, Current: repair.Num(1)})
			}
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		l, _ := v.layerNamed(slot.Target)
		if value.Number == 0 {
			return v.removeLayer(l)
		}
		return v.duplicate(v.block(l))
	},
	words: func(v *view, slot repair.Slot, value repair.Value) string {
		switch value.Number {
		case 0:
			return "layer " + slot.Target + " removed"
		case 2:
			return "layer " + slot.Target + " duplicated"
		}
		return "layer " + slot.Target + " as it is"
	},
}

func (v *view) duplicable(b block) bool {
	k := v.inits[b.kernel]
	if k.Type != onnx.Float32 || b.units > maxUnits {
		return false
	}
	return !b.conv || int64(b.units)%max(1, b.node.Int("group", 1)) == 0
}

// inWidth is the number of units that a layer takes in.
func (v *view) inWidth(l layer) int {
	n := int(v.inits[l.kernel].Dims[l.inAxis])
	if l.conv {
		n *= int(l.node.Int("group", 1))
	}
	return n
}

// removable says whether a layer's input can stand in for the block's output: the same axes but for the units.
func (v *view) removable(b block) bool {
	in, out := v.shape(b.in), v.shape(b.end)
	if in == nil || len(in) != len(out) || v.isConstant(b.in) || b.in == "" {
		return false
	}
	axis := len(in) - 1
	if b.conv {
		axis = 1
	}
	for a := range in {
		if a > 0 && a != axis && (in[a] != out[a] || in[a] < 0) {
			return false
		}
	}
	if v.inWidth(b.layer) == b.units {
		return true
	}
	return v.resizable(b.layer, v.inWidth(b.layer))
}

func (v *view) removeLayer(l layer) error {
	if width := v.inWidth(l); width != l.units {
		plan, err := v.planResize(l, width)
		if err != nil {
			return err
		}
		if err := plan.commit(); err != nil {
			return err
		}
	}
	b := v.block(l)
	end := b.end
	v.g.Nodes = slices.DeleteFunc(v.g.Nodes, func(n *onnx.Node) bool { return slices.Contains(b.nodes, n) })
	for _, n := range v.g.Nodes {
		for i := range n.Inputs {
			if n.Inputs[i] == end {
				n.Inputs[i] = l.in
			}
		}
	}
	return nil
}

// duplicate puts a copy of a block behind it. The copy's tensors start as the original's do.
func (v *view) duplicate(b block) error {
	g := v.g
	at := 0
	for _, n := range b.nodes {
		at = max(at, slices.Index(g.Nodes, n)+1)
	}
	users := v.users[b.end]
	values := map[string]string{b.in: b.end} // of the original -> of the copy
	if b.mid != nil && b.pre == nil {        // the copy's convolution wants the axis that the original's result has lost
		n := b.mid.Clone()
		n.OpType, n.Name = "Unsqueeze", g.NewName(b.name()+"_copy_unsqueeze")
		n.Inputs[0], n.Outputs[0] = b.end, g.NewName(b.name()+"_copy_unsqueezed")
		values[b.in] = n.Outputs[0]
		g.Nodes = slices.Insert(g.Nodes, at, n)
		at++
	}
	for _, n := range b.nodes {
		c := n.Clone()
		c.Name = g.NewName(n.Name + "_copy")
		for i, in := range n.Inputs {
			to, ok := values[in]
			if t := v.inits[in]; !ok && t != nil {
				var err error
				if to, err = v.copyTensor(b, n, in); err != nil {
					return err
				}
				values[in], ok = to, true
			}
			if ok {
				c.Inputs[i] = to
			}
		}
		for i, out := range n.Outputs {
			if out != "" {
				c.Outputs[i] = g.NewName(out + "_copy")
				values[out] = c.Outputs[i]
			}
		}
		if rate, ok := v.Recipe.Dropout[n.Name]; ok && n.Is("Dropout") {
			v.Recipe.Dropout[c.Name] = rate
		}
		if n == b.node && b.conv {
			padSame(c, v.inits[b.kernel].Dims[2:])
		}
		g.Nodes = slices.Insert(g.Nodes, at, c)
		at++
	}
	for _, n := range users {
		for i := range n.Inputs {
			if n.Inputs[i] == b.end {
				n.Inputs[i] = values[b.end]
			}
		}
	}
	return nil
}

// copyTensor copies an initializer for a copied node: the kernel with as many inputs as units, the others as they are. Constants that are not
// trained stay shared.
func (v *view) copyTensor(b block, n *onnx.Node, name string) (string, error) {
	t := v.inits[name]
	trained := n == b.node || n == b.add || n.Is("BatchNormalization") || n.Is("PRelu")
	if t.Type != onnx.Float32 || !trained {
		return name, nil
	}
	k := v.inits[b.kernel]
	wide := b.units // inputs of the copy's kernel
	if b.conv {
		wide /= int(max(1, b.node.Int("group", 1)))
	}
	if name == b.kernel {
		from := make([]int, wide)
		for i := range from {
			from[i] = i % int(t.Dims[b.inAxis])
		}
		var err error
		if t, err = resized(t, b.inAxis, from); err != nil {
			return "", err
		}
	}
	values, err := t.Float32s()
	if err != nil {
		return "", err
	}
	copied := v.g.NewName(name + "_copy")
	v.putTensor(onnx.NewFloat32(copied, t.Dims, values))
	init, ok := v.Recipe.Initializers[name]
	if !ok || init.Name == "model" && name == b.kernel { // what the file holds of a kernel is of another size
		init = startOf(n, name)
	}
	v.setInitializer(copied, init)
	if name == b.bias {
		if size, err := k.NumElements(); err == nil {
			fan := int(size) / b.units
			v.rescaleBias(copied, fan, fan/int(k.Dims[b.inAxis])*wide)
		}
	}
	if r, ok := v.Recipe.Regularizers[name]; ok {
		v.Recipe.Regularizers[copied] = r
	}
	return copied, nil
}

// startOf is what a copied tensor that the recipe says nothing of starts with.
func startOf(n *onnx.Node, name string) train.Initializer {
	i := slices.Index(n.Inputs, name)
	switch {
	case n.Is("BatchNormalization") && (i == 1 || i == 4): // scale, running variance
		return train.Initializer{Name: "ones"}
	case n.Is("PRelu"):
		return train.Initializer{Name: "constant", Value: 0.25} // He et al. 2015, section 2.1
	case i == 1 && !n.Is("BatchNormalization") && !n.Is("Add"):
		return train.Initializer{Name: "glorot_uniform"}
	}
	return train.Initializer{Name: "zeros"}
}

// padSame makes a convolution keep the size of its feature map: for a kernel of size k and dilation d, d·(k-1) zeros, the odd one at the end.
func padSame(n *onnx.Node, k []int64) {
	dilations, _ := n.Ints("dilations")
	pads, strides := make([]int64, 2*len(k)), make([]int64, len(k))
	for i := range k {
		d := int64(1)
		if i < len(dilations) {
			d = dilations[i]
		}
		all := d * (k[i] - 1)
		pads[i], pads[i+len(k)], strides[i] = all/2, all-all/2, 1
	}
	n.DeleteAttr("auto_pad")
	n.SetInts("pads", pads...)
	n.SetInts("strides", strides...)
}
