package operators

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
		return initializerWord(i)
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

// initializerWord names an initialiser; one with the distribution's parameters names those that are not Keras' defaults (mean 0, deviation
// 0.05, from -0.05 to 0.05), as in random_normal(stddev=0.1): it is another one than random_normal.
func initializerWord(i train.Initializer) string {
	var parts []string
	say := func(name string, value, usual float64) {
		if value != usual {
			parts = append(parts, name+"="+strconv.FormatFloat(value, 'g', -1, 64))
		}
	}
	switch i.Name {
	case "random_normal", "truncated_normal":
		say("mean", i.Mean, 0)
		say("stddev", cmp.Or(i.Stddev, usualSpread), usualSpread)
	case "random_uniform":
		if i.Minval != 0 || i.Maxval != 0 {
			say("minval", i.Minval, -usualSpread)
			say("maxval", i.Maxval, usualSpread)
		}
	}
	if len(parts) == 0 {
		return i.Name
	}
	return i.Name + "(" + strings.Join(parts, ",") + ")"
}

// usualSpread is Keras' default of a normal distribution's deviation and of half a uniform one's width.
const usualSpread = 0.05

// parseInitializer reads what initializerWord writes, false for anything else.
func parseInitializer(word string) (train.Initializer, bool) {
	name, rest, with := strings.Cut(word, "(")
	i := train.Initializer{Name: name}
	if !with {
		return i, true
	}
	rest, closed := strings.CutSuffix(rest, ")")
	if name == "random_uniform" {
		i.Minval, i.Maxval = -usualSpread, usualSpread
	}
	fields := map[string]*float64{"mean": &i.Mean, "stddev": &i.Stddev, "minval": &i.Minval, "maxval": &i.Maxval}
	for _, part := range strings.Split(rest, ",") {
		key, text, _ := strings.Cut(part, "=")
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || fields[key] == nil {
			return i, false
		}
		*fields[key] = number
	}
	return i, closed && initializerWord(i) == word
}

// acceptsInitializer accepts distributions of the list with parameters of their own.
func acceptsInitializer(_ *view, slot repair.Slot, value repair.Value) bool {
	i, ok := parseInitializer(value.Text)
	return ok && value.IsText && slot.Domain.Contains(repair.Word(i.Name))
}

func setInitializer(v *view, slot repair.Slot, value repair.Value) error {
	i, ok := parseInitializer(value.Text)
	if !ok {
		return fmt.Errorf("initializer %q cannot be read", value.Text)
	}
	v.setInitializer(slot.Target, i)
	return nil
}

var kernelInitializer = operator{
	name: "kernel_initializer", noun: "kernel initializer",
	doc:     "changes what the kernel of a dense or convolutional layer starts with",
	slots:   func(v *view) []repair.Slot { return initializerSlots(v, false, lower.Kernel, lower.Embedding) },
	accepts: acceptsInitializer,
	apply:   setInitializer,
}

var biasInitializer = operator{
	name: "bias_initializer", noun: "bias initializer",
	doc:     "changes what the bias of a dense or convolutional layer starts with",
	slots:   func(v *view) []repair.Slot { return initializerSlots(v, true, lower.Bias) },
	accepts: acceptsInitializer,
	apply:   setInitializer,
}
