package operators

import (
	"fmt"
	"slices"

	"netmend/repair"
	"netmend/train"
)

// stepName is what a preprocessing step is targeted by: array (empty: all inputs), kind and part, which stay true when another step goes.
func stepName(p train.Preprocess) string {
	array, part := p.Array, ""
	if array == "" {
		array = "inputs"
	}
	if p.Part != "" {
		part = ":" + p.Part
	}
	return fmt.Sprintf("%s:%s%s", array, p.Kind, part)
}

// preprocessing takes a step out of the recipe's preprocessing, or extends one that concerns the training rows or the others alone to all
// rows. Of steps that are the same, the last is meant. It adds none: scaling belongs into the graph (input_scaling), so that the repaired
// model takes the same inputs as the faulty one, and scaling targets would change what the metric measures.
var preprocessing = operator{
	name: "preprocessing", noun: "preprocessing step",
	doc: "removes a preprocessing step or applies it to all rows",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, p := range v.Recipe.Preprocessing {
			name := stepName(p)
			if slices.ContainsFunc(slots, func(s repair.Slot) bool { return s.Target == name }) {
				continue
			}
			d := choice("keep", "remove")
			if p.Part != "" {
				d = choice("keep", "remove", "all_rows")
			}
			slots = append(slots, repair.Slot{Target: name, Domain: d, Current: repair.Word("keep")})
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		steps := v.Recipe.Preprocessing
		for i := len(steps) - 1; i >= 0; i-- {
			if stepName(steps[i]) != slot.Target {
				continue
			}
			if value.Text == "all_rows" {
				steps[i].Part = ""
			} else {
				v.Recipe.Preprocessing = slices.Delete(steps, i, i+1)
			}
			break
		}
		return nil
	},
}
