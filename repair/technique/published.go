package technique

import (
	"math"
	"math/rand/v2"
	"slices"

	"netmend/repair"
)

// published is the space that the searchers of "Repairing DNN Architecture: Are We There Yet?" (ICST 2023) share: the faulty configuration is
// one of its points, and searched keys are independent of each other.
//
// The space (replication package, raytune_predefined_params.pkl): losses, batch sizes, optimizers, activations, initialisers, units
// and repeated layers by name, each from its list and its faulty value; the learning rate uniform, on a linear scale, from 1e-6 to 10;
// epochs from the set {e, e·m^x, e/m^x; x = 1..4}, rounded down, m ~ U(1.1, 1.3) drawn once. Optimizers are built with a rate and nothing else,
// so the rate is set in every trial. A value that is the faulty one is no edit.
type published struct {
	space repair.Space // conditions are looked up here
	dims  []dimension
}

// dimension is a searched slot with the published values: a Choice, which holds the current one, or an interval.
type dimension struct {
	slot   repair.Slot
	domain repair.Domain
}

// publishedOperators are the operators that have keys in the published space. An activation that is not there is the same key as one that is.
var publishedOperators = []string{"loss", "batch_size", "optimizer", "learning_rate", "epochs", "activation", "add_activation", "kernel_initializer",
	"bias_initializer", "units", "layer"}

// publishedWords are the published lists of those operators that offer more than these.
var publishedWords = map[string][]string{
	"loss": {"mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error", "squared_hinge", "hinge",
		"categorical_hinge", "logcosh", "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy",
		"kullback_leibler_divergence", "poisson"},
	"optimizer":          {"sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"},
	"activation":         publishedActivations,
	"add_activation":     publishedActivations,
	"kernel_initializer": publishedInitializers,
	"bias_initializer":   publishedInitializers,
}

var publishedActivations = []string{"elu", "softmax", "selu", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid", "exponential", "linear"}

var publishedInitializers = []string{"zeros", "ones", "constant", "random_normal", "random_uniform", "truncated_normal", "orthogonal", "lecun_uniform",
	"glorot_normal", "glorot_uniform", "he_normal", "lecun_normal", "he_uniform"}

const (
	publishedMinRate, publishedMaxRate = 1e-6, 10
	// defaultMinEpochs is the bound of Setup.MinEpochs: the package has 0, 1 or 5 by subject, 1 for the real faults.
	defaultMinEpochs = 1
)

// newPublished makes the space of a setup. The generator gives the multiplier of the epochs.
func newPublished(s Setup, rng *rand.Rand) published {
	p := published{space: s.Space}
	epochs := publishedEpochs(s, 1.1+0.2*rng.Float64())
	for _, x := range s.slots() {
		if !slices.Contains(publishedOperators, x.Operator) {
			continue
		}
		d := x.Domain
		switch words, listed := publishedWords[x.Operator]; {
		case x.Operator == "epochs":
			d = repair.Domain{Choices: epochs}
		case x.Operator == "learning_rate":
			d = repair.Domain{Kind: repair.Linear, Min: publishedMinRate, Max: publishedMaxRate}
		case d.Kind == repair.Choice && listed:
			d.Choices = slices.DeleteFunc(slices.Clone(d.Choices), func(v repair.Value) bool { return !slices.Contains(words, v.Text) && v != x.Current })
		}
		if d.Kind != repair.Choice || len(d.Choices) > 0 {
			p.dims = append(p.dims, dimension{x, d})
		}
	}
	return p
}

// publishedEpochs is the set of epochs for a multiplier, the faulty recipe's first.
func publishedEpochs(s Setup, m float64) []repair.Value {
	var out []repair.Value
	e := float64(s.Subject.Recipe.Epochs)
	add := func(v float64) {
		if !slices.Contains(out, repair.Num(v)) {
			out = append(out, repair.Num(v))
		}
	}
	add(e)
	bound := float64(s.MinEpochs)
	if s.MinEpochs == 0 {
		bound = defaultMinEpochs
	}
	for x := 1.0; x <= 4; x++ {
		add(math.Floor(e * math.Pow(m, x)))
		if low := math.Floor(e / math.Pow(m, x)); low > max(0, bound) {
			add(low)
		}
	}
	return out
}

// current is the faulty configuration in numbers, one per dimension: the index of a choice, or the value; nil where a dimension does not
// have its value.
func (s published) current() []float64 {
	var x []float64
	for _, d := range s.dims {
		v := d.slot.Current.Number
		if d.domain.Kind == repair.Choice {
			i := slices.Index(d.domain.Choices, d.slot.Current)
			if i < 0 {
				return nil
			}
			v = float64(i)
		}
		x = append(x, v)
	}
	return x
}

// values are the values that such numbers stand for.
func (s published) values(x []float64) []repair.Value {
	point := make([]repair.Value, len(x))
	for i, d := range s.dims {
		if point[i] = repair.Num(x[i]); d.domain.Kind == repair.Choice {
			point[i] = d.domain.Choices[int(x[i])]
		}
	}
	return point
}

// patch is the patch of a point: one value per dimension, in their order. Slots that are not active under it, values that a slot does not
// take, and values that the faulty subject has, are left out.
func (s published) patch(point []repair.Value) repair.Patch {
	var p repair.Patch
	for i, d := range s.dims {
		if v := point[i]; v != d.slot.Current && s.space.Active(d.slot, p) && d.slot.Domain.Contains(v) {
			p = p.With(repair.Edit{Operator: d.slot.Operator, Target: d.slot.Target, Value: v})
		}
	}
	// The condition of a slot may have been decided after it.
	for _, e := range slices.Clone(p) {
		if x, ok := s.space.Slot(e.Key()); ok && !s.space.Active(x, p) {
			p = p.Without(e.Key())
		}
	}
	return p
}
