package technique

import (
	"slices"
	"strings"

	"netmend/repair"
	"netmend/repair/technique/autotrainer"
	"netmend/train"
)

// possibility says whether an attempt can be made.
type possibility uint8

const (
	makes  possibility = iota
	passes             // this try cannot be made, another may
	skips              // the model has the solution already, or the operators do not have it
)

// solve turns an attempt into a patch on top of another (repair.py, op_*). Solutions that change nothing are left out; the original leaves out those
// of the recipe that are there already, and trains the others again. Those that draw or set a rate may come to what is there and are trained all
// the same, as there.
//
// What the operators cannot say: noise on the input (GN) is left out; the momentum of SGD (momentum) is none, and the rate its default; gradients
// are clipped at 10 and not at a draw from 9 to 10 (gradient); batch normalisation stands before the activation and not behind it (bn);
// ReduceLR watches the training loss, its patience fits short trainings, and its rate has no lower bound; the data are scaled inside the graph (data).
func (a *autoTrainer) solve(at autotrainer.Attempt, base repair.Patch) (repair.Patch, possibility) {
	p := base
	switch at.Solution {
	case "selu":
		p = a.initialize(a.activate(p, "selu"), "lecun_uniform", "lecun_uniform")
	case "relu":
		p = a.initialize(a.activate(p, "relu"), "he_uniform", "zeros")
	case "tanh":
		p = a.initialize(a.activate(p, "tanh"), "he_uniform", "zeros")
	case "leaky":
		p = a.activate(p, []string{"leaky_relu", "elu", "thresholded_relu"}[at.Try])
		if p.String() == base.String() {
			return nil, passes
		}
	case "bn":
		p = a.everywhere(p, "batch_normalization", repair.Word("before_activation"), nil)
	case "gradient":
		if k := recipeKey("gradient_clip"); a.now(p, k) == "none" { // any clipping is the solution already
			p = a.set(p, k, repair.Word("value=10"))
		}
	case "initial":
		return a.draw(p)
	case "adam":
		if a.now(p, recipeKey("optimizer")) != "adam" { // with whatever rate
			p = a.optimizer(p, "adam")
		}
	case "momentum":
		p = a.optimizer(p, "sgd")
	case "optimizer":
		return a.drawOptimizer(p)
	case "lr":
		sgd := a.setup.Subject.Recipe.Optimizer.Name == "sgd"
		if v, ok := p.Get(recipeKey("optimizer")); ok {
			sgd = v.Text == "sgd"
		}
		return a.count(p, rateKey, repair.Num(autotrainer.Rate(at.Problem, sgd, at.Try)))
	case "batch":
		p, can := a.count(p, recipeKey("batch_size"), repair.Num(float64(int(32)<<at.Try)))
		if can == makes && p.String() == base.String() {
			can = skips
		}
		return p, can
	case "ReduceLR":
		p = a.set(p, recipeKey("schedule"), repair.Word("plateau"))
	case "activation":
		p = a.activateOutput(p)
	case "loss":
		p = a.fitLoss(p)
	case "data":
		p = a.everywhere(p, "input_scaling", repair.Word("minmax"), nil)
	}
	if p = a.active(p); p.String() == base.String() {
		return nil, skips
	}
	return p, makes
}

// recipeKey is the slot of an operator on the recipe.
func recipeKey(operator string) repair.Key { return repair.Key{Operator: operator, Target: "recipe"} }

// set makes an edit, if the slot is there and takes the value; one to what the faulty subject has takes the edit of the slot out.
func (a *autoTrainer) set(p repair.Patch, k repair.Key, v repair.Value) repair.Patch {
	switch x, ok := a.slots.Slot(k); {
	case !ok || !x.Domain.Contains(v) && v != x.Current:
		return p
	case v == x.Current:
		return p.Without(k)
	}
	return p.With(repair.Edit{Operator: k.Operator, Target: k.Target, Value: v})
}

// everywhere sets all slots of an operator whose targets are accepted; nil: all.
func (a *autoTrainer) everywhere(p repair.Patch, operator string, v repair.Value, accepts func(target string) bool) repair.Patch {
	for _, x := range a.slots {
		if x.Operator == operator && (accepts == nil || accepts(x.Target)) {
			p = a.set(p, x.Key(), v)
		}
	}
	return p
}

// activate sets the function of all hidden layers, those without one included: to Keras a layer without one has the function linear.
func (a *autoTrainer) activate(p repair.Patch, fn string) repair.Patch {
	p = a.everywhere(p, "activation", repair.Word(fn), a.ending.Hidden)
	return a.everywhere(p, "add_activation", repair.Word(fn), a.ending.Hidden)
}

// initialize sets what kernels and biases of hidden layers start with.
func (a *autoTrainer) initialize(p repair.Patch, kernel, bias string) repair.Patch {
	p = a.everywhere(p, "kernel_initializer", repair.Word(kernel), a.ending.Hidden)
	return a.everywhere(p, "bias_initializer", repair.Word(bias), a.ending.Hidden)
}

// initializers are those that the solution initial draws from.
var initializers = []string{"he_uniform", "lecun_uniform", "glorot_normal", "glorot_uniform", "he_normal", "lecun_normal"}

// draw draws the initialiser of the hidden layers' kernels and that of their biases.
func (a *autoTrainer) draw(p repair.Patch) (repair.Patch, possibility) {
	if !slices.ContainsFunc(a.slots, func(x repair.Slot) bool {
		return (x.Operator == "kernel_initializer" || x.Operator == "bias_initializer") && a.ending.Hidden(x.Target)
	}) {
		return nil, skips
	}
	kernel, bias := initializers[a.rng.IntN(len(initializers))], initializers[a.rng.IntN(len(initializers))]
	return a.active(a.initialize(p, kernel, bias)), makes
}

// now is the word that a slot has under a patch, "" where there is no slot.
func (a *autoTrainer) now(p repair.Patch, k repair.Key) string {
	if v, ok := p.Get(k); ok {
		return v.Text
	}
	x, _ := a.slots.Slot(k)
	return x.Current.Text
}

// optimizer sets an optimizer with its framework's default rate.
func (a *autoTrainer) optimizer(p repair.Patch, name string) repair.Patch {
	k, r := recipeKey("optimizer"), a.setup.Subject.Recipe
	if x, ok := a.slots.Slot(k); !ok || !x.Domain.Contains(repair.Word(name)) {
		return p
	}
	p = a.set(p.Without(rateKey), k, repair.Word(name))
	if _, edited := p.Get(k); edited {
		return p
	}
	usual, err := train.DefaultOptimizer(name, r.Semantics)
	if err != nil { // the faulty recipe has it
		return p
	}
	return a.set(p, rateKey, repair.Num(usual.LearningRate))
}

// optimizers are those that the solution optimizer draws from.
var optimizers = []string{"sgd", "adam", "nadam", "adamax", "rmsprop"}

// drawOptimizer draws an optimizer that the patched recipe does not have; another try may draw the same again.
func (a *autoTrainer) drawOptimizer(p repair.Patch) (repair.Patch, possibility) {
	x, ok := a.slots.Slot(recipeKey("optimizer"))
	if !ok {
		return nil, skips
	}
	others := slices.DeleteFunc(slices.Clone(optimizers), func(name string) bool {
		return name == a.now(p, x.Key()) || !x.Domain.Contains(repair.Word(name))
	})
	if len(others) == 0 {
		return nil, skips
	}
	return a.active(a.optimizer(p, others[a.rng.IntN(len(others))])), makes
}

// count sets a number that goes up or down with the tries.
func (a *autoTrainer) count(p repair.Patch, k repair.Key, v repair.Value) (repair.Patch, possibility) {
	switch x, ok := a.slots.Slot(k); {
	case !ok:
		return nil, skips
	case !x.Domain.Contains(v):
		return nil, passes
	}
	return a.active(a.set(p, k, v)), makes
}

// activateOutput gives the output softmax; one unit gets sigmoid under a cross-entropy and is linear otherwise. A loss that reads logits holds its
// activation.
func (a *autoTrainer) activateOutput(p repair.Patch) repair.Patch {
	m, logits := a.seenAs(p)
	if logits || m.Units == 0 {
		return p
	}
	fn := "softmax"
	if m.Units == 1 {
		if fn = "linear"; strings.Contains(m.Loss, "entropy") {
			fn = "sigmoid"
		}
	}
	return a.set(p, a.ending.Output, repair.Word(fn))
}

// fitLoss sets the cross-entropy that fits the number of output units; where it is there already, the mean of squares or of absolute values by
// chance.
func (a *autoTrainer) fitLoss(p repair.Patch) repair.Patch {
	m, logits := a.seenAs(p)
	if logits || m.Units == 0 {
		return p
	}
	fit := "categorical_crossentropy"
	if m.Units <= 2 {
		fit = "binary_crossentropy"
	}
	if m.Loss == fit {
		fit = []string{"mean_squared_error", "mean_absolute_error"}[a.rng.IntN(2)]
	}
	return a.set(p, recipeKey("loss"), repair.Word(fit))
}

// active leaves out edits of slots that the rest of a patch makes meaningless.
func (a *autoTrainer) active(p repair.Patch) repair.Patch {
	for _, e := range slices.Clone(p) {
		if x, ok := a.setup.Space.Slot(e.Key()); ok && !a.setup.Space.Active(x, p) {
			p = p.Without(e.Key())
		}
	}
	return p
}
