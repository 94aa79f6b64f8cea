package operators

import (
	"netmend/repair"
	"netmend/train"
)

// schedule removes the learning-rate schedule or sets a reduction on plateaus: factor 0.2 and patience 5 as AutoTrainer's ReduceLR; in
// trainings of under 20 epochs, where that would never act, a quarter of the epochs.
var schedule = operator{
	name: "schedule", noun: "learning rate schedule",
	doc: "removes the learning rate's schedule or reduces the rate when the loss stays on a plateau",
	slots: func(v *view) []repair.Slot {
		now := v.Recipe.Schedule.Name
		if now == "" {
			now = "none"
		}
		d := with(choice("none", "plateau"), repair.Word(now))
		return []repair.Slot{{Target: recipeTarget, Domain: d, Current: repair.Word(now)}}
	},
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		v.Recipe.Schedule = train.Schedule{}
		if value.Text == "plateau" {
			v.Recipe.Schedule = train.Schedule{Name: "plateau", Factor: 0.2, Patience: min(5, max(1, v.Recipe.Epochs/4)), Threshold: 1e-4}
		}
		return nil
	},
}
