package stats

import (
	"math"
	"testing"
)

// The slope, its error, z and p are those of statsmodels' GLM with the Gaussian family.
func TestGLMAgainstStatsmodels(t *testing.T) {
	g := readGolden(t)
	if len(g.GLM) < 6 {
		t.Fatalf("only %d cases are recorded", len(g.GLM))
	}
	for _, c := range g.GLM {
		r, err := GLM(c.X, c.Y)
		if err != nil {
			t.Fatal(err)
		}
		// 1e-9: statsmodels solves by a pseudo-inverse; the logarithm of p carries the error of z times z.
		if !near(r.Coefficient, c.Coefficient, 1e-9) || !near(r.StandardError, c.Error, 1e-9) || !near(r.Z, c.Z, 1e-9) || !near(r.P, c.P, 1e-7) {
			t.Errorf("%s: %+v, statsmodels has %+v", c.Name, r, c)
		}
	}
}

func TestGLMWithoutSpread(t *testing.T) {
	for _, c := range []struct {
		name string
		x, y []float64
		z, p float64
	}{
		{"equal", []float64{1, 1}, []float64{1, 1, 1}, 0, 1},
		{"apart", []float64{1, 1}, []float64{0, 0}, math.Inf(-1), 0},
	} {
		r, err := GLM(c.x, c.y)
		if err != nil || r.Z != c.z || r.P != c.p {
			t.Errorf("%s: %+v, %v: want z %v, p %v", c.name, r, err, c.z, c.p)
		}
	}
	for _, c := range [][2][]float64{{{1}, {1, 2}}, {{1, 2}, {math.NaN(), 1}}, {{math.Inf(1), 1}, {1, 2}}} {
		if r, err := GLM(c[0], c[1]); err == nil {
			t.Errorf("%v: no error but %+v", c, r)
		}
	}
}
