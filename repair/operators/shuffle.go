package operators

import (
	"strconv"

	"netmend/repair"
)

// shuffle says whether every epoch has an order of its own.
var shuffle = operator{
	name: "shuffle", noun: "shuffling the training rows",
	doc: "shuffles the training rows every epoch, or not",
	slots: func(v *view) []repair.Slot {
		return []repair.Slot{{Target: recipeTarget, Domain: choice("true", "false"), Current: repair.Word(strconv.FormatBool(v.Recipe.Shuffle))}}
	},
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		v.Recipe.Shuffle = value.Text == "true"
		return nil
	},
}
