package technique_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"netmend/repair"
	"netmend/repair/technique"
	"netmend/repair/technique/techniquetest"
)

// The trials of one round of brackets by budget. The recipe of the suite has 4 epochs of 13 updates, so that the least budget is 1/27: first 27
// configurations begin, then 9, 6 and 4, and of each bracket a third goes on, with its seed and from its checkpoint. The last bracket has the budget
// on which the one before ends, with 2. In the published form all trials are whole trainings from scratch.
func TestBOHBBudgets(t *testing.T) {
	for name, want := range map[string][]int{"bohb": {27, 9, 3, 1, 9, 3, 1, 6, 6, 27}, "bohb-published": {66}} {
		x, err := technique.New(name, techniquetest.Setup())
		if err != nil {
			t.Fatal(err)
		}
		var all []technique.Trial
		var stages []int
		last := 0.0
		for i := range 93 {
			p, err := x.Ask(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			total := 4.0
			if v, ok := p.Patch.Get(repair.Key{Operator: "epochs", Target: "recipe"}); ok {
				total = v.Number
			}
			share := math.Round(1e9*p.Epochs/total) / 1e9
			if p.From != technique.None {
				if from := all[p.From]; from.Patch.String() != p.Patch.String() || from.Seed != p.Seed || math.Abs(3*from.Epochs-p.Epochs) > 1e-9 {
					t.Fatalf("trial %d %+v continues %+v", i, p, from)
				}
			}
			if i > 0 && (share != last || i == 1) {
				stages, last = append(stages, 0), share
			}
			if i > 0 {
				stages[len(stages)-1]++
			}
			trial := technique.Trial{ID: technique.TrialID(i), Proposal: p, State: technique.Completed, Steps: 1, Score: technique.Score{Value: repair.Number(math.Sin(float64(i))), Valid: true}}
			all = append(all, trial)
			if err := x.Tell(trial); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(stages[:len(want)-1], want[:len(want)-1]) {
			t.Errorf("%s: trials per stage %v, want %v", name, stages, want)
		}
		if name == "bohb-published" && len(stages) != 1 {
			t.Errorf("%s: shares of a training differ: %v", name, stages)
		}
	}
}

// What a short training shows is no reason to recommend its patch.
func TestBOHBRecommends(t *testing.T) {
	x, err := technique.New("bohb", techniquetest.Setup())
	if err != nil {
		t.Fatal(err)
	}
	best, want := 0.5, ""
	for i := range 100 {
		p, err := x.Ask(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		total := 4.0
		if v, ok := p.Patch.Get(repair.Key{Operator: "epochs", Target: "recipe"}); ok {
			total = v.Number
		}
		score := 0.5 // the faulty subject's
		if i > 0 {
			score = math.Abs(math.Sin(float64(i)))
		}
		if p.Epochs < total {
			score += 2
		} else if score > best {
			best, want = score, p.Patch.String()
		}
		if err := x.Tell(technique.Trial{ID: technique.TrialID(i), Proposal: p, State: technique.Completed, Score: technique.Score{Value: repair.Number(score), Valid: true}}); err != nil {
			t.Fatal(err)
		}
		if i == 30 { // nothing but the faulty subject was trained to the end
			if p, ok := x.(technique.Recommender).Recommend(); ok {
				t.Errorf("%s is recommended", p)
			}
		}
	}
	if p, ok := x.(technique.Recommender).Recommend(); !ok || want == "" || p.String() != want {
		t.Errorf("%s, %v is recommended, want %s", p, ok, want)
	}
}
