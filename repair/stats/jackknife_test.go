package stats

import (
	"math"
	"testing"
)

// For means the jackknife is the t-test of scipy.
func TestJackknifeAgainstTheTTest(t *testing.T) {
	g := readGolden(t)
	if len(g.Jackknife) < 4 {
		t.Fatalf("only %d cases are recorded", len(g.Jackknife))
	}
	for _, c := range g.Jackknife {
		r, err := Jackknife(c.Estimate, c.Without)
		if err != nil || !near(r.SE, c.SE, 1e-9) || !near(r.P, c.P, 1e-9) {
			t.Errorf("%s: %+v, %v; scipy has SE %v, p %v", c.Name, r, err, c.SE, c.P)
		}
	}
}

func TestJackknifeWithoutSpread(t *testing.T) {
	same := []float64{0.5, 0.5, 0.5}
	for estimate, p := range map[float64]float64{0.5: 0, 0: 1, -0.5: 1} {
		if r, err := Jackknife(estimate, same); err != nil || r.SE != 0 || r.P != p {
			t.Errorf("estimate %v: %+v, %v; want p %v", estimate, r, err, p)
		}
	}
	for _, bad := range [][]float64{nil, {1}, {1, math.NaN()}, {1, math.Inf(1)}} {
		if _, err := Jackknife(1, bad); err == nil {
			t.Errorf("%v is no sample", bad)
		}
	}
}
