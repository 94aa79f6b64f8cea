package operators

import (
	"slices"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
	"netmend/train/lower"
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

// params are the trained tensors of a role, in the order of the nodes that use them.
func (v *view) params(roles ...lower.Role) []lower.Param {
	all, err := lower.Params(v.Model)
	if err != nil {
		return nil // training says why
	}
	all = slices.DeleteFunc(all, func(p lower.Param) bool { return !slices.Contains(roles, p.Role) })
	at := map[*onnx.Node]int{}
	for i, n := range v.g.Nodes {
		at[n] = i
	}
	slices.SortStableFunc(all, func(a, b lower.Param) int { return at[a.Node] - at[b.Node] })
	return all
}

func initializerSlots(v *view, bias bool, roles ...lower.Role) []repair.Slot {
	var slots []repair.Slot
	for _, p := range v.params(roles...) {
		words := publishedInitializers
		if bias || len(p.Shape) < 2 {
			// A tensor of one dimension has no orthogonal rows; Keras refuses it as well.
			words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "orthogonal" })
		}
		now := repair.Word(v.initializerOf(p.Name, bias))
		slots = append(slots, repair.Slot{Target: p.Name, Domain: with(choice(words...), now), Current: now})
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
	slots: func(v *view) []repair.Slot { return initializerSlots(v, false, lower.Kernel, lower.Embedding) },
	apply: setInitializer,
}

var biasInitializer = operator{
	name: "bias_initializer", noun: "bias initializer",
	doc:   "changes what the bias of a dense or convolutional layer starts with",
	slots: func(v *view) []repair.Slot { return initializerSlots(v, true, lower.Bias) },
	apply: setInitializer,
}
