package operators

import (
	"netmend/repair"
)

// units halves or doubles the width of a hidden layer, as the published space does: its kernel and bias, the normalisation behind it, and
// the input side of the layers that follow, through pooling, flattening and joining. Layers whose width something else fixes, such as a
// residual sum, have no slot.
var units = operator{
	name: "units", noun: "units",
	doc: "halves or doubles the width of a layer and fits the following layers",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, l := range v.layers {
			if l.last || !v.wants(l.name()) {
				continue
			}
			d := repair.Domain{}
			for _, n := range []int{l.units / 2, l.units, 2 * l.units} {
				if n != l.units && !v.resizable(l, n) {
					continue
				}
				d.Choices = append(d.Choices, repair.Num(float64(n)))
			}
			if len(d.Choices) > 1 {
				slots = append(slots, repair.Slot{Target: l.name(), Domain: d, Current: repair.Num(float64(l.units))})
			}
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		l, _ := v.layerNamed(slot.Target)
		plan, err := v.planResize(l, int(value.Number))
		if err != nil {
			return err
		}
		return plan.commit()
	},
}

// maxUnits bounds the width of a layer: kernels of two such layers have 2^30 elements.
const maxUnits = 1 << 15

// resizable says whether a layer can have a width without the graph's outputs changing.
func (v *view) resizable(l layer, width int) bool {
	if width < 1 || width > maxUnits {
		return false
	}
	plan, err := v.planResize(l, width)
	return err == nil && len(plan.outputs) == 0
}
