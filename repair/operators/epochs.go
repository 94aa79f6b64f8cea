package operators

import "netmend/repair"

// epochs sets how long the training takes: from one epoch to ten times the recipe's, and to 20 at least, since the usual budget of twenty
// faulty trainings pays for no more where the recipe has one epoch. A patch may set any other number.
var epochs = operator{
	name: "epochs", noun: "epochs",
	doc: "sets the number of epochs",
	slots: func(v *view) []repair.Slot {
		e := v.Recipe.Epochs
		d := repair.Domain{Kind: repair.Integer, Min: 1, Max: float64(min(max(10*e, 20), 1<<24))}
		return []repair.Slot{{Target: recipeTarget, Domain: d, Current: repair.Num(float64(e))}}
	},
	accepts: wholeFrom1,
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		v.Recipe.Epochs = int(value.Number)
		return nil
	},
}
