package operators

import (
	"netmend/repair"
	"netmend/train"
)

// optimizer changes the update rule. All hyper-parameters become the framework's defaults of the new optimizer, the learning rate too: rates
// of different optimizers do not compare (Adadelta's 1 is Adam's 0.001), so that neither the old number nor its ratio to the old default
// means anything; an edit of learning_rate in the same patch is applied afterwards and wins. Naming an optimizer without more is also what
// the published search space and DeepCrime's OCH do.
var optimizer = operator{
	name: "optimizer", noun: "optimizer",
	doc: "changes the optimizer; its hyper-parameters become the framework's defaults",
	slots: func(v *view) []repair.Slot {
		// The published space in its order, then AdamW.
		d := choice("sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam", "adamw")
		return []repair.Slot{{Target: recipeTarget, Domain: d, Current: repair.Word(v.Recipe.Optimizer.Name)}}
	},
	apply: func(v *view, _ repair.Slot, value repair.Value) (err error) {
		v.Recipe.Optimizer, err = train.DefaultOptimizer(value.Text, v.Recipe.Semantics)
		return err
	},
}
