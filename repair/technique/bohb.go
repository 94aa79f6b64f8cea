package technique

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"netmend/repair"
	"netmend/repair/technique/bohb"
)

// bohbSearch is BOHB on the [published] space. It comes in two forms. As its authors meant it, budgets are shares of the epochs of the
// patched recipe, from HpBandSter's least of 0.01 (floored to 1/81) to the whole training, and a promotion continues its configuration's
// checkpoint. As "Repairing DNN Architecture: Are We There Yet?" (ICST 2023) ran it, Ray Tune's HyperBandForBOHB with max_t = 1, there is one
// budget, and every trial is a whole training: no bandit is left, only the densities.
//
// Several runs may be out: those of a stage, and where a stage waits for its last, those of another bracket that begins meanwhile, as the
// original has it with several workers. What the model draws depends on how many are out, since it learns of a run when that is told.
//
// The faulty configuration comes first, trained to the end; it is no member of a bracket, but the model learns of it. The metric's sign is such
// that it is minimised, and what has no finite score has failed.
type bohbSearch struct {
	ledger
	setup  Setup
	space  published
	rng    *rand.Rand
	opt    *bohb.Optimizer  // nil: the space has no dimensions
	faulty []float64        // the point of the faulty configuration; nil: the space does not have it
	seeds  []uint64         // of configurations
	trials []TrialID        // of runs
	runs   map[TrialID]int  // that are out
	whole  map[TrialID]bool // that are out and train to the end
	best   Trial            // of the whole ones; the faulty subject at first
}

func newBOHB(s Setup, oneBudget bool) (*bohbSearch, error) {
	b := &bohbSearch{setup: s, rng: rand.New(rand.NewPCG(s.Seed, 0x626f6862)), runs: map[TrialID]int{}, whole: map[TrialID]bool{0: true}} // the word "bohb"
	b.space = newPublished(s, b.rng)
	dims := bohbDimensions(b.space)
	if len(dims) == 0 {
		return b, nil
	}
	o := bohb.Defaults()
	if oneBudget {
		o.MinBudget = o.MaxBudget
	} else { // a run has one update at least
		r := s.Subject.Recipe
		updates := float64(r.Epochs) * math.Ceil(float64(len(s.Subject.Data.Train))/float64(max(1, r.BatchSize)))
		o.MinBudget = max(o.MinBudget, 1/max(1, updates))
	}
	b.faulty = b.space.current()
	for i, d := range dims {
		// A faulty rate may lie outside the published interval.
		if b.faulty != nil && d.Kind != bohb.Choice {
			b.faulty[i] = min(d.Max, max(d.Min, b.faulty[i]))
		}
		if b.faulty != nil && d.When != nil && !slices.Contains(d.When.Choices, int(b.faulty[d.When.Dimension])) {
			b.faulty[i] = math.NaN()
		}
	}
	var err error
	b.opt, err = bohb.New(dims, o, b.rng)
	return b, err
}

// bohbDimensions are a space's dimensions with their conditions; one on a slot that is not searched is left to [published.patch].
func bohbDimensions(p published) []bohb.Dimension {
	kinds := map[repair.DomainKind]bohb.Kind{repair.Choice: bohb.Choice, repair.Linear: bohb.Linear, repair.Log: bohb.Log, repair.Integer: bohb.Integer}
	var dims []bohb.Dimension
	for _, d := range p.dims {
		x := bohb.Dimension{Kind: kinds[d.domain.Kind], Choices: len(d.domain.Choices), Min: d.domain.Min, Max: d.domain.Max}
		if when := d.slot.When; when != nil {
			parent := slices.IndexFunc(p.dims, func(y dimension) bool { return y.slot.Key() == when.Key })
			if parent >= 0 && p.dims[parent].domain.Kind == repair.Choice {
				x.When = &bohb.Condition{Dimension: parent}
				for i, v := range p.dims[parent].domain.Choices {
					if slices.Contains(when.Values, v) {
						x.When.Choices = append(x.When.Choices, i)
					}
				}
			}
		}
		dims = append(dims, x)
	}
	return dims
}

// Ask gives the next run of the brackets.
func (b *bohbSearch) Ask(ctx context.Context) (Proposal, error) {
	if err := ctx.Err(); err != nil {
		return Proposal{}, err
	}
	if b.asked == 0 {
		b.asked++
		return Proposal{Epochs: epochsOf(b.setup, nil), From: None, Seed: b.setup.Seed, Why: "the faulty subject"}, nil
	}
	if b.opt == nil {
		return Proposal{}, io.EOF
	}
	r := b.opt.Ask()
	id := TrialID(b.asked)
	b.asked++
	b.runs[id] = r.ID
	b.trials = append(b.trials, id)
	if r.Config == len(b.seeds) {
		b.seeds = append(b.seeds, b.rng.Uint64()>>1)
	}
	p := Proposal{Patch: b.space.patch(b.values(r.Point)), From: None, Seed: b.seeds[r.Config]}
	p.Epochs = r.Budget * epochsOf(b.setup, p.Patch)
	b.whole[id] = r.Budget == bohb.Defaults().MaxBudget
	switch where := fmt.Sprintf("bracket %d, %.3g of a training", r.Bracket, r.Budget); {
	case r.Previous >= 0:
		p.From = b.trials[r.Previous]
		p.Why = "promoted, being among the best: " + where
	case r.ModelBased:
		p.Why = "likelier among good than among bad configurations: " + where
	default:
		p.Why = "drawn at random: " + where
	}
	return p, nil
}

// values are those of a point; an inactive slot has its current one, which is no edit.
func (b *bohbSearch) values(x []float64) []repair.Value {
	x = slices.Clone(x)
	inactive := map[int]bool{}
	for i, v := range x {
		if math.IsNaN(v) {
			inactive[i], x[i] = true, 0
		}
	}
	values := b.space.values(x)
	for i := range inactive {
		values[i] = b.space.dims[i].slot.Current
	}
	return values
}

// Tell takes a score in.
func (b *bohbSearch) Tell(t Trial) error {
	news, err := b.accept(t)
	if err != nil || !news || b.opt == nil {
		return err
	}
	loss := math.NaN()
	if t.Score.Valid {
		if b.whole[t.ID] && t.State == Completed && (!b.best.Score.Valid || b.setup.metric().Better(float64(t.Score.Value), float64(b.best.Score.Value))) {
			b.best = t
		}
		if loss = float64(t.Score.Value); b.setup.metric().Maximize() {
			loss = -loss
		}
	}
	delete(b.whole, t.ID)
	if t.ID == 0 {
		if b.faulty == nil {
			return nil
		}
		return b.opt.Observe(b.faulty, bohb.Defaults().MaxBudget, loss)
	}
	run := b.runs[t.ID]
	delete(b.runs, t.ID)
	return b.opt.Tell(run, loss)
}

// Recommend gives the best configuration among those that were trained to the end: HpBandSter's incumbent is the best on the largest budget,
// whatever the smaller ones showed (core/result.py, get_incumbent_id).
func (b *bohbSearch) Recommend() (repair.Patch, bool) { return b.best.Patch, len(b.best.Patch) > 0 }
