package operators

import (
	"fmt"
	"slices"
	"strconv"

	"netmend/onnx"
	"netmend/repair"
)

// dropout changes the rate of a Dropout node, removes it (rate 0), or inserts one behind a hidden layer's activation. The rates of nodes that
// are there are set in the recipe, which overrides the graph.
var dropout = operator{
	name: "dropout", noun: "dropout rate",
	doc: "inserts dropout after a layer, changes its rate or removes it (0)",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		d := repair.Domain{Kind: repair.Linear, Min: 0, Max: 0.9}
		for _, n := range v.g.Nodes {
			if n.Is("Dropout") {
				slots = append(slots, repair.Slot{Target: nodeName(n), Domain: d, Current: repair.Num(v.dropoutRate(n))})
			}
		}
		for _, l := range v.layers {
			if !v.wants(l.name()) {
				continue
			}
			b := v.block(l)
			next := v.users[b.end]
			covered := len(next) == 1 && next[0].Is("Dropout")
			if l.last || b.drop != nil || covered || v.outputs[b.end] || v.joined(b.end) || v.Model.Opset("") < 7 {
				continue
			}
			slots = append(slots, repair.Slot{Target: l.name(), Domain: d, Current: repair.Num(0)})
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		if n := v.node(slot.Target); n.Is("Dropout") {
			return v.setDropout(n, value.Number)
		}
		l, _ := v.layerNamed(slot.Target)
		return v.insertDropout(v.block(l), value.Number)
	},
	words: func(v *view, slot repair.Slot, value repair.Value) string {
		n := v.node(slot.Target)
		switch {
		case n.Is("Dropout") && value.Number == 0:
			return fmt.Sprintf("dropout %s (rate %s) removed", slot.Target, slot.Current)
		case n.Is("Dropout"):
			return fmt.Sprintf("rate of dropout %s: %s -> %s", slot.Target, slot.Current, value)
		}
		return fmt.Sprintf("dropout with rate %s after %s", value, slot.Target)
	},
}

// dropoutRate is what the recipe says, or else the graph: the attribute before operator set 12, the second input since; 0.5 by default.
func (v *view) dropoutRate(n *onnx.Node) float64 {
	for _, name := range []string{n.Label(), nodeName(n)} {
		if rate, ok := v.Recipe.Dropout[name]; ok {
			return rate
		}
	}
	ratio := n.Float("ratio", 0.5)
	if c := v.constant(n.Input(1)); len(c) == 1 {
		ratio = float32(c[0])
	}
	rate, _ := strconv.ParseFloat(strconv.FormatFloat(float64(ratio), 'g', -1, 32), 64) // 0.1, not 0.10000000149
	return rate
}

func (v *view) setDropout(n *onnx.Node, rate float64) error {
	if rate == 0 && v.g.Remove(n) == nil { // a node whose mask is used cannot go: it gets the rate
		return nil
	}
	if v.Recipe.Dropout == nil {
		v.Recipe.Dropout = map[string]float64{}
	}
	v.Recipe.Dropout[n.Name] = rate
	return nil
}

func (v *view) insertDropout(b block, rate float64) error {
	base := b.name() + "_dropout"
	n := onnx.NewNode("Dropout", v.g.NewName(base), []string{b.end}, nil)
	if v.Model.Opset("") < 12 {
		n.SetFloat("ratio", float32(rate))
	} else {
		at := slices.Index(v.g.Nodes, v.maker[b.end])
		ratio := v.scalarNode(at, base+"_ratio", onnx.NewFloat32("", nil, []float32{float32(rate)}))
		mode := v.scalarNode(at, base+"_training", onnx.NewBool("", nil, []bool{true}))
		n.Inputs = []string{b.end, ratio, mode}
	}
	return v.g.InsertAfter(b.end, n)
}
