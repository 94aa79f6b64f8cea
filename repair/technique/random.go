package technique

import (
	"context"
	"io"
	"math"
	"math/rand/v2"

	"netmend/repair"
)

// random is the random search of "Repairing DNN Architecture: Are We There Yet?" (ICST 2023): the faulty configuration first, then every
// searched key of the [published] space drawn anew in every trial, each training as long as its patch says, with a seed of its own.
type random struct {
	ledger
	setup Setup
	space published
	rng   *rand.Rand
}

func newRandom(s Setup) *random {
	r := &random{setup: s, rng: rand.New(rand.NewPCG(s.Seed, 0x72616e646f6d))} // the word "random": a stream of its own
	r.space = newPublished(s, r.rng)
	return r
}

// Ask draws a point of the space.
func (r *random) Ask(ctx context.Context) (Proposal, error) {
	if err := ctx.Err(); err != nil {
		return Proposal{}, err
	}
	if r.asked > 0 && len(r.space.dims) == 0 {
		return Proposal{}, io.EOF
	}
	r.asked++
	if r.asked == 1 {
		return Proposal{Epochs: epochsOf(r.setup, nil), From: None, Seed: r.setup.Seed, Why: "the faulty subject"}, nil
	}
	point := make([]repair.Value, len(r.space.dims))
	for i, d := range r.space.dims {
		point[i] = sample(d.domain, r.rng)
	}
	p := r.space.patch(point)
	return Proposal{Patch: p, Epochs: epochsOf(r.setup, p), From: None, Seed: r.rng.Uint64() >> 1, Why: "drawn at random"}, nil
}

// sample draws a value of a domain, numbers uniformly on the domain's own scale.
func sample(d repair.Domain, rng *rand.Rand) repair.Value {
	if d.Kind == repair.Choice {
		return d.Choices[rng.IntN(len(d.Choices))]
	}
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
