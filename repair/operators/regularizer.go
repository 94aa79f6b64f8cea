package operators

import (
	"fmt"

	"netmend/repair"
	"netmend/train"
	"netmend/train/lower"
)

// regularizers are those on offer by name: Keras' strings with their 0.01, and weaker ones.
var regularizers = []struct {
	word string
	r    train.Regularizer
}{{"none", train.Regularizer{}}, {"l1", train.Regularizer{L1: 0.01}}, {"l2", train.Regularizer{L2: 0.01}},
	{"l1_l2", train.Regularizer{L1: 0.01, L2: 0.01}}, {"l1=0.0001", train.Regularizer{L1: 1e-4}}, {"l2=0.001", train.Regularizer{L2: 1e-3}},
	{"l2=0.0001", train.Regularizer{L2: 1e-4}}}

func regularizerWord(r train.Regularizer) string {
	for _, x := range regularizers {
		if x.r == r {
			return x.word
		}
	}
	return fmt.Sprintf("l1=%v,l2=%v", r.L1, r.L2)
}

// regularizer adds, changes or removes the penalty on a kernel.
var regularizer = operator{
	name: "regularizer", noun: "regularizer",
	doc: "adds, changes or removes the weight regularisation of a kernel",
	slots: func(v *view) []repair.Slot {
		var words []string
		for _, x := range regularizers {
			words = append(words, x.word)
		}
		var slots []repair.Slot
		for _, p := range v.params(lower.Kernel, lower.Embedding) {
			now := repair.Word(regularizerWord(v.Recipe.Regularizers[p.Name]))
			slots = append(slots, repair.Slot{Target: p.Name, Domain: with(choice(words...), now), Current: now})
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		for _, x := range regularizers {
			if x.word == value.Text && v.Recipe.Regularizers == nil {
				v.Recipe.Regularizers = map[string]train.Regularizer{}
			}
			if x.word == value.Text {
				v.Recipe.Regularizers[slot.Target] = x.r
			}
		}
		if value.Text == "none" {
			delete(v.Recipe.Regularizers, slot.Target)
		}
		return nil
	},
}
