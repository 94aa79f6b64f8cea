package technique

import (
	"slices"
	"testing"

	"netmend/repair"
	"netmend/train"
)

// The published bounds on fewer epochs: more than 1 for the programs of Stack Overflow, more than 5 for three subject programs, none for the fourth.
func TestMinEpochs(t *testing.T) {
	for _, c := range []struct {
		epochs, bound int
		least         float64
	}{{3, 0, 2}, {3, 5, 3}, {12, 5, 6}, {2, -1, 1}, {2, 0, 2}} {
		var all []float64
		for seed := range uint64(200) {
			all = append(all, newRandom(Setup{Subject: repair.Subject{Recipe: train.Recipe{Epochs: c.epochs}}, Seed: seed, MinEpochs: c.bound}).epochs...)
		}
		if got := slices.Min(all); got < c.least || c.bound < 0 && got > c.least {
			t.Errorf("%d epochs, bound %d: the least is %v", c.epochs, c.bound, got)
		}
	}
}
