package operators

import (
	"netmend/repair"
	"netmend/train"
)

// earlyStopping sets the patience of a recipe that stops early; patience 0 takes the stopping out.
var earlyStopping = operator{
	name: "early_stopping", noun: "early stopping patience",
	doc: "changes the patience of early stopping or removes it (0)",
	slots: func(v *view) []repair.Slot {
		now := v.Recipe.EarlyStopping.Patience
		if now == 0 {
			return nil
		}
		d := repair.Domain{Choices: []repair.Value{repair.Num(0), repair.Num(5), repair.Num(10), repair.Num(20)}}
		return []repair.Slot{{Target: recipeTarget, Domain: with(d, repair.Num(float64(now))), Current: repair.Num(float64(now))}}
	},
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		if v.Recipe.EarlyStopping.Patience = int(value.Number); value.Number == 0 {
			v.Recipe.EarlyStopping = train.EarlyStopping{}
		}
		return nil
	},
}
