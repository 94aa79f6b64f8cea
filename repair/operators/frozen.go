package operators

import (
	"slices"

	"netmend/repair"
)

// frozen lets a tensor be trained that the recipe holds fixed. The constants of an input scaling are no such tensors.
var frozen = operator{
	name: "frozen", noun: "frozen",
	doc: "trains a tensor that was frozen",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, name := range v.Recipe.Frozen {
			if v.inits[name] != nil && !v.scalesInput(name) {
				slots = append(slots, repair.Slot{Target: name, Domain: choice("true", "false"), Current: repair.Word("true")})
			}
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, _ repair.Value) error {
		v.Recipe.Frozen = slices.DeleteFunc(v.Recipe.Frozen, func(name string) bool { return name == slot.Target })
		return nil
	},
}
