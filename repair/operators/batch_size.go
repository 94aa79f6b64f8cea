package operators

import "netmend/repair"

// batchSize sets the batch size to one of the published space; sizes beyond the training rows would all be the same. A patch may set any other number.
var batchSize = operator{
	name: "batch_size", noun: "batch size",
	doc: "sets the batch size",
	slots: func(v *view) []repair.Slot {
		d := repair.Domain{}
		for _, n := range []int{16, 32, 64, 128, 256, 512} {
			if rows := len(v.Data.Train); rows == 0 || n <= rows {
				d.Choices = append(d.Choices, repair.Num(float64(n)))
			}
		}
		now := repair.Num(float64(v.Recipe.BatchSize))
		return []repair.Slot{{Target: recipeTarget, Domain: with(d, now), Current: now}}
	},
	accepts: wholeFrom1,
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		v.Recipe.BatchSize = int(value.Number)
		return nil
	},
}
