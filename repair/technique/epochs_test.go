package technique

import (
	"math"
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
		got := math.Inf(1)
		for i := range 200 {
			s := Setup{Subject: repair.Subject{Recipe: train.Recipe{Epochs: c.epochs}}, MinEpochs: c.bound}
			for _, v := range publishedEpochs(s, 1.1+0.2*float64(i)/200) {
				got = min(got, v.Number)
			}
		}
		if got < c.least || c.bound < 0 && got > c.least {
			t.Errorf("%d epochs, bound %d: the least is %v", c.epochs, c.bound, got)
		}
	}
}
