package operators

import "netmend/repair"

// learningRate sets the learning rate. Its domain is the published one (1e-6 to 10), on a logarithmic scale: the defaults of all
// optimizers of both frameworks lie from 1e-3 to 1, so it holds three decades below and at least one above each, and it stays the same when
// a patch changes the optimizer too.
var learningRate = operator{
	name: "learning_rate", noun: "learning rate",
	doc: "sets the learning rate",
	slots: func(v *view) []repair.Slot {
		return []repair.Slot{{Target: recipeTarget, Domain: repair.Domain{Kind: repair.Log, Min: 1e-6, Max: 10},
			Current: repair.Num(v.Recipe.Optimizer.LearningRate)}}
	},
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		v.Recipe.Optimizer.LearningRate = value.Number
		return nil
	},
}
