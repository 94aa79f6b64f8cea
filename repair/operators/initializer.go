package operators

import (
	"slices"

	"netmend/repair"
	"netmend/train"
)

// publishedInitializers are the thirteen of the published search space, in its order.
var publishedInitializers = []string{"zeros", "ones", "constant", "random_normal", "random_uniform", "truncated_normal", "orthogonal", "lecun_uniform",
	"glorot_normal", "glorot_uniform", "he_normal", "lecun_normal", "he_uniform"}

// initializerOf is what a tensor starts with: what the recipe says, or else the framework's default (Keras: Glorot's uniform and zeros;
// PyTorch: Kaiming's uniform and uniform).
func (v *view) initializerOf(name string, bias bool) string {
	if i, ok := v.Recipe.Initializers[name]; ok {
		return i.Name
	}
	switch keras := v.Recipe.Semantics == train.Keras; {
	case keras && bias:
		return "zeros"
	case keras:
		return "glorot_uniform"
	case bias:
		return "uniform"
	}
	return "kaiming_uniform"
}

func initializerSlots(v *view, bias bool) []repair.Slot {
	var slots []repair.Slot
	for _, l := range v.layers {
		name, words := l.kernel, publishedInitializers
		if bias {
			name = l.bias
			// A tensor of one dimension has no orthogonal rows; Keras refuses it as well.
			words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "orthogonal" })
		}
		if name == "" || slices.ContainsFunc(slots, func(s repair.Slot) bool { return s.Target == name }) {
			continue
		}
		now := repair.Word(v.initializerOf(name, bias))
		slots = append(slots, repair.Slot{Target: name, Domain: with(choice(words...), now), Current: now})
	}
	return slots
}

func setInitializer(v *view, slot repair.Slot, value repair.Value) error {
	v.setInitializer(slot.Target, train.Initializer{Name: value.Text})
	return nil
}

var kernelInitializer = operator{
	name: "kernel_initializer", noun: "kernel initializer",
	doc:   "changes what the kernel of a dense or convolutional layer starts with",
	slots: func(v *view) []repair.Slot { return initializerSlots(v, false) },
	apply: setInitializer,
}

var biasInitializer = operator{
	name: "bias_initializer", noun: "bias initializer",
	doc:   "changes what the bias of a dense or convolutional layer starts with",
	slots: func(v *view) []repair.Slot { return initializerSlots(v, true) },
	apply: setInitializer,
}
