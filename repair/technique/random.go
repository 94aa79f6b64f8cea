package technique

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"netmend/repair"
)

// random is the random search of "Repairing DNN Architecture: Are We There Yet?" (ICST 2023): the faulty configuration first, then every
// searched key drawn anew in every trial, each training as long as its patch says, with a seed of its own.
//
// The published space (replication package, raytune_predefined_params.pkl): losses, batch sizes, optimizers, activations, initialisers, units
// and repeated layers by name, each from its list and its faulty value; the learning rate uniform, on a linear scale, from 1e-6 to 10;
// epochs from the set {e, e·m^x, e/m^x; x = 1..4}, rounded down, m ~ U(1.1, 1.3) drawn once. Optimizers are built with a rate and nothing else,
// so the rate is drawn in every trial. A value that is the faulty one is no edit.
type random struct {
	ledger
	setup  Setup
	slots  repair.Space
	rng    *rand.Rand
	epochs []float64
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

func newRandom(s Setup) *random {
	r := &random{setup: s, rng: rand.New(rand.NewPCG(s.Seed, 0x72616e646f6d))} // the word "random": a stream of its own
	for _, x := range s.slots() {
		if slices.Contains(publishedOperators, x.Operator) {
			r.slots = append(r.slots, x)
		}
	}
	m := 1.1 + 0.2*r.rng.Float64()
	e := float64(s.Subject.Recipe.Epochs)
	add := func(v float64) {
		if !slices.Contains(r.epochs, v) {
			r.epochs = append(r.epochs, v)
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
	return r
}

// Ask draws a point of the space.
func (r *random) Ask(ctx context.Context) (Proposal, error) {
	if err := ctx.Err(); err != nil {
		return Proposal{}, err
	}
	if r.asked > 0 && len(r.slots) == 0 {
		return Proposal{}, io.EOF
	}
	r.asked++
	if r.asked == 1 {
		return Proposal{Epochs: epochsOf(r.setup, nil), From: None, Seed: r.setup.Seed, Why: "the faulty subject"}, nil
	}
	var p repair.Patch
	for _, x := range r.slots {
		v := r.draw(x)
		if v != x.Current && r.setup.Space.Active(x, p) && x.Domain.Contains(v) {
			p = p.With(repair.Edit{Operator: x.Operator, Target: x.Target, Value: v})
		}
	}
	// The condition of a slot may have been decided after it.
	for _, e := range slices.Clone(p) {
		if x, ok := r.setup.Space.Slot(e.Key()); ok && !r.setup.Space.Active(x, p) {
			p = p.Without(e.Key())
		}
	}
	return Proposal{Patch: p, Epochs: epochsOf(r.setup, p), From: None, Seed: r.rng.Uint64() >> 1, Why: "drawn at random"}, nil
}

// draw gives a value of a slot, the current one included.
func (r *random) draw(x repair.Slot) repair.Value {
	switch {
	case x.Operator == "epochs":
		return repair.Num(r.epochs[r.rng.IntN(len(r.epochs))])
	case x.Operator == "learning_rate":
		return repair.Num(publishedMinRate + (publishedMaxRate-publishedMinRate)*r.rng.Float64())
	}
	if x.Domain.Kind == repair.Choice {
		values := slices.Clone(x.Domain.Choices)
		if words, ok := publishedWords[x.Operator]; ok {
			values = slices.DeleteFunc(values, func(v repair.Value) bool { return !slices.Contains(words, v.Text) && v != x.Current })
		}
		if len(values) == 0 {
			return x.Current
		}
		return values[r.rng.IntN(len(values))]
	}
	return sample(x.Domain, r.rng)
}

// sample draws a number of a domain, uniformly on the domain's own scale.
func sample(d repair.Domain, rng *rand.Rand) repair.Value {
	switch u := rng.Float64(); d.Kind {
	case repair.Log:
		return repair.Num(min(d.Max, max(d.Min, d.Min*math.Pow(d.Max/d.Min, u))))
	case repair.Integer:
		return repair.Num(min(d.Max, d.Min+math.Floor(u*(d.Max-d.Min+1))))
	default:
		return repair.Num(min(d.Max, d.Min+u*(d.Max-d.Min)))
	}
}

// Tell takes note; random search learns nothing.
func (r *random) Tell(t Trial) error {
	_, err := r.accept(t)
	return err
}
