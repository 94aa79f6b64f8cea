package technique_test

import (
	"context"
	"io"
	"math"
	"testing"

	"netmend/repair"
	"netmend/repair/technique"
	"netmend/repair/technique/techniquetest"
)

// wide is world.search with several proposals out at a time, which are told in the order of asking.
func (w world) wide(t *testing.T, budget float64, seed uint64, width int) (trials []technique.Trial, patch repair.Patch, spent float64) {
	t.Helper()
	s := techniquetest.Setup()
	s.Seed = seed
	x, err := technique.New("guided", s)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() bool {
		p, err := x.Ask(context.Background())
		if err == io.EOF || err == technique.ErrWait {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		trained := p.Epochs
		if p.From != technique.None {
			trained -= trials[p.From].Epochs
		}
		trial := technique.Trial{ID: technique.TrialID(len(trials)), Proposal: p, State: technique.Completed, Steps: int(400 * p.Epochs), Reached: p.Epochs,
			Cost: repair.Number(trained / 4)}
		if score := w(p.Patch, p.Epochs, p.Seed); math.IsNaN(score) {
			trial.State, trial.Cost = technique.Diverged, trial.Cost/100
		} else {
			trial.Score = technique.Score{Value: repair.Number(score), Valid: true}
		}
		trials = append(trials, trial)
		return true
	}
	for told := 0; spent < budget; told++ {
		for len(trials)-told < width && ask() {
		}
		if told == len(trials) {
			break
		}
		spent += float64(trials[told].Cost)
		trials[told].Used = repair.Number(spent / budget)
		if err := x.Tell(trials[told]); err != nil {
			t.Fatal(err)
		}
	}
	patch, _ = x.(technique.Recommender).Recommend()
	return trials, patch, spent
}

// Guided search with several trainings at a time finds what it finds with one: a single edit, two that need each other, training longer. It waits for
// the faulty subject, whose symptoms say where to begin, and it ends before the budget does once the patch is good.
func TestGuidedSideBySide(t *testing.T) {
	single := world(func(p repair.Patch, epochs float64, seed uint64) float64 {
		if has(p, "kernel_initializer", "w1", "glorot_uniform") {
			return 0.2 + 0.2*min(epochs, 4)
		}
		return 0.1
	})
	half := world(func(p repair.Patch, epochs float64, seed uint64) float64 {
		if has(p, "kernel_initializer", "w1", "glorot_uniform") {
			return 0.1 + 0.1*min(epochs, 4)
		}
		return 0.1
	})
	both := world(func(p repair.Patch, epochs float64, seed uint64) float64 {
		switch {
		case !has(p, "optimizer", "recipe", "nadam"):
			return math.NaN()
		case !has(p, "kernel_initializer", "w1", "glorot_uniform"):
			return 0.1
		}
		return 0.1 + 0.2*epochs
	})
	grows := world(func(p repair.Patch, epochs float64, seed uint64) float64 {
		if len(p.Without(repair.Key{Operator: "epochs", Target: "recipe"})) > 0 {
			return 0.1
		}
		return min(0.8, 0.1*math.Pow(epochs/2, 0.95))
	})
	glorot := func(p repair.Patch) bool { return has(p, "kernel_initializer", "w1", "glorot_uniform") }
	for _, c := range []struct {
		name   string
		w      world
		budget float64
		want   func(repair.Patch) bool
		early  bool // it ends long before the budget
	}{
		{"one edit", single, 20, glorot, true},
		{"half a repair", half, 60, glorot, true},
		{"two edits", both, 30, func(p repair.Patch) bool { return glorot(p) && has(p, "optimizer", "recipe", "nadam") }, false},
		{"longer", grows, 40, func(p repair.Patch) bool {
			v, ok := p.Get(repair.Key{Operator: "epochs", Target: "recipe"})
			return ok && v.Number >= 16
		}, false},
	} {
		for _, width := range []int{2, 4} {
			for seed := range uint64(5) {
				trials, patch, spent := c.w.wide(t, c.budget, seed+1, width)
				if !c.want(patch) {
					t.Errorf("%s, %d at a time, seed %d: recommends %v after %d trials", c.name, width, seed+1, patch, len(trials))
				}
				if c.early && spent > c.budget/2 {
					t.Errorf("%s, %d at a time, seed %d: spent %v of %v", c.name, width, seed+1, spent, c.budget)
				}
			}
		}
	}
}
