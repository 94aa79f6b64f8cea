package autotrainer

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"netmend/repair"
)

// golden is what scripts/golden_autotrainer.py recorded of AutoTrainer.
type golden struct {
	Solutions map[Problem][]string
	Histories []history
	Searches  []struct {
		First    Problem
		Attempts []struct {
			Problem  Problem
			Solution string
			Try      int
			Base     int
			Skip     bool
			Found    Problem
			Accuracy float64
		}
		Outcome Outcome
		Best    int
	}
}

type history struct {
	Epochs     int
	Loss       string
	Units      int
	Activation string
	NaNWeight  bool            `json:"nan_weight"`
	Acc        []repair.Number `json:"acc"`
	ValAcc     []repair.Number `json:"val_acc"`
	Losses     []repair.Number `json:"losses"`
	ValLosses  []repair.Number `json:"val_losses"`
	Foremost   Problem
	Checks     []struct {
		Gradients []struct {
			Kernel      bool
			Norm        repair.Number
			Zeros, Size int
			NonFinite   bool
		}
		Outputs *struct {
			LargestRow repair.Number
			MeanAbs    []repair.Number
		}
		Found []Problem
	}
}

func read(t *testing.T) golden {
	t.Helper()
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func floats(v []repair.Number) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// The monitor finds in every recorded history, at every check, what the original finds.
func TestMonitor(t *testing.T) {
	seen := map[Problem]int{}
	for i, h := range read(t).Histories {
		m := NewMonitor(Defaults(), h.Epochs, Model{h.Loss, h.Units, h.Activation})
		for k, c := range h.Checks {
			epoch := k * CheckGap
			if needs := m.NeedsOutputs(epoch); needs != (c.Outputs != nil) {
				t.Fatalf("history %d, epoch %d: needs outputs %v", i, epoch, needs)
			}
			in := Check{Loss: floats(h.Losses)[:epoch+1], Accuracy: floats(h.Acc)[:epoch+1], ValLoss: floats(h.ValLosses)[:epoch+1],
				ValAccuracy: floats(h.ValAcc)[:epoch+1], NonFiniteWeights: h.NaNWeight}
			for _, g := range c.Gradients {
				in.Gradients = append(in.Gradients, Gradient{g.Kernel, float64(g.Norm), g.Zeros, g.Size, g.NonFinite})
			}
			if c.Outputs != nil {
				in.Outputs = &Outputs{float64(c.Outputs.LargestRow), floats(c.Outputs.MeanAbs)}
			}
			found := m.Check(epoch, in)
			if h.Foremost != "" && len(found) > 0 && Foremost(found) != h.Foremost {
				t.Errorf("history %d: foremost %q, want %q", i, Foremost(found), h.Foremost)
			}
			slices.Sort(found)
			if !slices.Equal(found, c.Found) {
				t.Errorf("history %d, epoch %d: %v, want %v", i, epoch, found, c.Found)
			}
			for _, p := range found {
				seen[p]++
			}
		}
	}
	for p := range priority {
		if seen[p] == 0 {
			t.Errorf("no recorded history has the problem %q", p)
		}
	}
}

func TestSolutions(t *testing.T) {
	g := read(t)
	for p := range priority {
		var got []string
		for _, s := range Solutions(p) {
			got = append(got, fmt.Sprintf("%s_%d", s.Name, s.Tries))
		}
		if !slices.Equal(got, g.Solutions[p]) {
			t.Errorf("%s: %v, want %v", p, got, g.Solutions[p])
		}
	}
}

// The search asks, skips and ends as the original does with the same answers.
func TestSearch(t *testing.T) {
	ends := map[Outcome]int{}
	for i, c := range read(t).Searches {
		s := NewSearch(c.First)
		for k, a := range c.Attempts {
			got, ok := s.Next()
			if want := (Attempt{a.Problem, a.Solution, a.Try, a.Base}); !ok || got != want {
				t.Fatalf("search %d, attempt %d: %+v, %v, want %+v", i, k, got, ok, want)
			}
			if a.Skip {
				s.Skip()
			} else {
				s.Tell(a.Found, a.Accuracy)
			}
		}
		if a, ok := s.Next(); ok {
			t.Errorf("search %d goes on with %+v", i, a)
		}
		if best, outcome := s.Best(); best != c.Best || outcome != c.Outcome {
			t.Errorf("search %d: attempt %d, %s, want %d, %s", i, best, outcome, c.Best, c.Outcome)
		}
		ends[c.Outcome]++
	}
	if ends[Solved] == 0 || ends[Potential] == 0 || ends[Unsolved] == 0 {
		t.Errorf("searches end as %v: every outcome should be recorded", ends)
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		problem Problem
		sgd     bool
		try     int
		want    float64
	}{{NotConverging, true, 2, 1}, {NotConverging, false, 1, 0.01}, {Unstable, true, 0, 0.01}, {Unstable, false, 2, 1e-5}} {
		if got := Rate(c.problem, c.sgd, c.try); math.Abs(got-c.want) > 1e-15*max(1, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// A search whose solutions are all in the model already ends without an attempt.
func TestNothingToTry(t *testing.T) {
	s := NewSearch(Exploding)
	for range 100 {
		if _, ok := s.Next(); !ok {
			break
		}
		s.Skip()
	}
	if _, ok := s.Next(); ok {
		t.Fatal("the search does not end")
	}
	if best, outcome := s.Best(); best != -1 || outcome != Unsolved {
		t.Errorf("attempt %d, %s", best, outcome)
	}
}
