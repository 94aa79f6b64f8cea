package technique

import (
	"math"
	"testing"

	"netmend/data"
	"netmend/repair"
	"netmend/train"
)

// A search ends early when its patch is good or much was tried on top of it in vain. A patch is not good for training at all where the faulty
// subject diverged, and a short training that is better than the patch is not in vain.
func TestGuidedEndsEarly(t *testing.T) {
	search := func(base, bar float64, tried int, ahead bool) *guided {
		in := &arm{scores: []float64{bar}}
		g := &guided{incumbent: in, floor: math.NaN(), spent: 10, since: 5, used: 0.5, tried: tried}
		if !math.IsNaN(base) {
			g.faulty = []float64{base}
		}
		g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy}, Data: data.Splits{Search: make([]int32, 400)}}
		for range tried {
			g.arms = append(g.arms, &arm{batch: in, rung: 1, score: bar / 2, valid: true})
		}
		if ahead {
			g.arms = append(g.arms, &arm{batch: in, rung: 1, score: min(1, bar+0.2), valid: true})
		}
		return g
	}
	diverged := math.NaN()
	for _, c := range []struct {
		name      string
		base, bar float64
		tried     int
		ahead     bool
		want      bool
	}{
		{"good, nothing since", 0.1, 0.95, 0, false, true},
		{"fair, little tried", 0.1, 0.5, enough - 1, false, false},
		{"fair, enough tried", 0.1, 0.5, enough, false, true},
		{"no better than a guess, beside a faulty subject that diverged", diverged, 0.1, 0, false, false},
		{"good beside a faulty subject that diverged", diverged, 0.95, 0, false, true},
		{"enough tried, but a short training is better", 0.1, 0.5, enough, true, false},
		{"perfect", 0.1, 1, 0, true, true},
	} {
		if got := search(c.base, c.bar, c.tried, c.ahead).finished(); got != c.want {
			t.Errorf("%s: finished %v", c.name, got)
		}
	}
}
