package technique

import (
	"context"
	"io"
	"math"
	"math/rand/v2"

	"netmend/repair"
	"netmend/repair/technique/hebo"
)

// heboBatch is how many points Ray Tune's HEBOSearch asks HEBO for at a time: its max_concurrent. They are trained one after the other, and the
// next batch comes when none is left (ray/tune/search/hebo/hebo_search.py, suggest).
const heboBatch = 8

// heboSearch is HEBO on the [published] space, as "Repairing DNN Architecture: Are We There Yet?" (ICST 2023) has it through Ray Tune's
// HEBOSearch: the faulty configuration first; the learning rate a number on a linear scale, everything else categorical; the metric's sign so
// that it is minimised; trials without a finite metric are not told, so that crashes teach it nothing.
//
// The points of a batch, and those of the initial design, are out side by side; the next batch of the model waits for all results, so that
// the search is the same however many are out.
type heboSearch struct {
	ledger
	setup Setup
	space published
	rng   *rand.Rand
	opt   *hebo.Optimizer // nil: the space has one point or none
	batch []hebo.Point
	why   string // of the batch
	out   map[TrialID]hebo.Point
}

func newHEBO(s Setup, surrogate hebo.Surrogate) (*heboSearch, error) {
	h := &heboSearch{setup: s, rng: rand.New(rand.NewPCG(s.Seed, 0x6865626f)), out: map[TrialID]hebo.Point{}} // the word "hebo"
	h.space = newPublished(s, h.rng)
	var params []hebo.Parameter
	points := 1.0
	for _, d := range h.space.dims {
		p := hebo.Parameter{Name: d.slot.Operator + " " + d.slot.Target, Min: d.domain.Min, Max: d.domain.Max}
		switch d.domain.Kind {
		case repair.Choice:
			p.Kind, p.Choices = hebo.Categorical, len(d.domain.Choices)
			points *= float64(p.Choices)
		case repair.Log:
			p.Kind = hebo.Log
		case repair.Integer:
			p.Kind = hebo.Integer
		default:
			p.Kind = hebo.Real
		}
		if d.domain.Kind != repair.Choice && p.Min < p.Max {
			points = math.Inf(1)
		}
		params = append(params, p)
	}
	if points <= 1 {
		return h, nil
	}
	var err error
	h.opt, err = hebo.New(params, hebo.Options{Surrogate: surrogate, Seed: s.Seed})
	return h, err
}

// Ask gives the next point of the batch.
func (h *heboSearch) Ask(ctx context.Context) (Proposal, error) {
	if err := ctx.Err(); err != nil {
		return Proposal{}, err
	}
	if h.asked == 0 {
		h.out[0] = h.space.current()
		h.asked++
		return Proposal{Epochs: epochsOf(h.setup, nil), From: None, Seed: h.setup.Seed, Why: "the faulty subject"}, nil
	}
	if h.opt == nil {
		return Proposal{}, io.EOF
	}
	if len(h.batch) == 0 {
		if n := len(h.out); n > 0 && !h.opt.Designing(n) {
			return Proposal{}, ErrWait
		}
		modelled := false
		h.batch, modelled = h.opt.Ask(heboBatch)
		if h.why = "of a Sobol sequence, the initial design"; modelled {
			h.why = "on the Pareto front of the acquisition functions"
		}
	}
	x := h.batch[0]
	h.batch = h.batch[1:]
	h.out[TrialID(h.asked)] = x
	h.asked++
	p := h.space.patch(h.space.values(x))
	return Proposal{Patch: p, Epochs: epochsOf(h.setup, p), From: None, Seed: h.rng.Uint64() >> 1, Why: h.why}, nil
}

// Tell takes a score in. A training that diverged has one, the metric's worst, unless that is infinite; one that could not be made has none.
func (h *heboSearch) Tell(t Trial) error {
	news, err := h.accept(t)
	if err != nil || !news {
		return err
	}
	x := h.out[t.ID]
	delete(h.out, t.ID)
	if x == nil || h.opt == nil || t.State == Failed || t.State == OutOfMemory {
		return nil
	}
	y := float64(t.Score.Value)
	if h.setup.metric().Maximize() {
		y = -y
	}
	return h.opt.Tell(x, y)
}
