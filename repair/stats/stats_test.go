package stats

import (
	"encoding/json"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// golden is what scipy, numpy and statsmodels say (scripts/golden_stats.py).
type golden struct {
	Wilcoxon []struct {
		Name, Zeros, Alternative string
		D                        []float64
		WPlus                    float64 `json:"w_plus"`
		Exact, Approximate       *float64
	}
	MannWhitney []struct {
		Name, Alternative     string
		X, Y                  []float64
		U, A12                float64
		D, Exact, Approximate *float64
	} `json:"mann_whitney"`
	Bootstrap []struct {
		Name, Resampled, Method string
		D                       []float64
		Indices                 [][]int
		Level, Low, High        float64
	}
	Holm    []struct{ P, Adjusted []float64 }
	Moments []struct {
		X            []float64
		Mean, Median float64
		SD           *float64
		Quantiles    [][2]float64
	}
	GLM []struct {
		Name                     string
		X, Y                     []float64
		Coefficient, Error, Z, P float64
	}
	Jackknife []struct {
		Name            string
		Estimate, SE, P float64
		Without         []float64
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

var alternatives = map[string]Alternative{"two-sided": TwoSided, "greater": Greater, "less": Less}

func near(a, b, relative float64) bool {
	return math.Abs(a-b) <= relative*math.Max(math.Abs(b), 1e-300)
}

func TestWilcoxonAgreesWithScipy(t *testing.T) {
	exact, approximate := 0, 0
	for _, c := range readGolden(t).Wilcoxon {
		zeros := map[string]ZeroMethod{"wilcox": DropZeros, "pratt": Pratt}[c.Zeros]
		for method, want := range map[Method]*float64{Exact: c.Exact, Approximate: c.Approximate} {
			if want == nil {
				continue
			}
			r, err := Wilcoxon(c.D, alternatives[c.Alternative], zeros, method)
			if err != nil {
				t.Fatal(err)
			}
			// 1e-11: scipy sums counts up to 2^80 in float64.
			if r.Statistic != c.WPlus || !near(r.P, *want, 1e-11) || r.Exact != (method == Exact) {
				t.Errorf("%s, %s, %s: W+ %v, p %v (exact %v), scipy has %v, %v", c.Name, c.Zeros, c.Alternative, r.Statistic, r.P, r.Exact, c.WPlus, *want)
			}
			if method == Exact {
				exact++
			} else {
				approximate++
			}
		}
	}
	if exact < 50 || approximate < 50 {
		t.Errorf("%d exact and %d approximate cases only", exact, approximate)
	}
}

func TestMannWhitneyAgreesWithScipy(t *testing.T) {
	exact := 0
	for _, c := range readGolden(t).MannWhitney {
		for method, want := range map[Method]*float64{Exact: c.Exact, Approximate: c.Approximate} {
			if want == nil {
				continue
			}
			r, err := MannWhitney(c.X, c.Y, HigherIsBetter, alternatives[c.Alternative], method)
			if err != nil {
				t.Fatal(err)
			}
			if r.Statistic != c.U || !near(r.P, *want, 1e-9) {
				t.Errorf("%s, %s: U %v, p %v (exact %v), scipy has %v, %v", c.Name, c.Alternative, r.Statistic, r.P, r.Exact, c.U, *want)
			}
			if method == Exact {
				exact++
			}
		}
		if a, err := A12(c.X, c.Y, HigherIsBetter); err != nil || !near(a, c.A12, 1e-14) {
			t.Errorf("%s: A12 is %v, want %v (%v)", c.Name, a, c.A12, err)
		}
		if a, _ := A12(c.X, c.Y, LowerIsBetter); !near(a, 1-c.A12, 1e-12) {
			t.Errorf("%s: A12 of a loss is %v, want %v", c.Name, a, 1-c.A12)
		}
		if c.D != nil && !near(CohenD(c.X, c.Y), *c.D, 1e-12) {
			t.Errorf("%s: d is %v, want %v", c.Name, CohenD(c.X, c.Y), *c.D)
		}
	}
	if exact < 15 {
		t.Errorf("%d exact cases only", exact)
	}
}

// The distributions against counting every sign change and every subset.
func TestExactDistributionsByEnumeration(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		x := make([]float64, 1+random.IntN(10))
		for i := range x {
			x[i] = float64(random.IntN(6))
		}
		ranks := doubledRanks(x)
		total := 0
		for _, r := range ranks {
			total += r
		}
		signed, sums := make([]float64, total+1), make([][]float64, len(x)+1)
		for k := range sums {
			sums[k] = make([]float64, total+1)
		}
		for mask := range 1 << len(x) {
			s := 0
			for i, r := range ranks {
				s += r * (mask >> i & 1)
			}
			signed[s] += 1 / float64(int(1)<<len(x))
			sums[bits.OnesCount(uint(mask))][s]++
		}
		same := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }
		if !slices.EqualFunc(signedRankDistribution(ranks, total), signed, same) {
			t.Errorf("signed ranks of %v", x)
		}
		for k, want := range sums {
			all := 0.0
			for _, v := range want {
				all += v
			}
			for s := range want {
				want[s] /= all
			}
			if !slices.EqualFunc(rankSumDistribution(ranks, k), want, same) {
				t.Errorf("rank sums of %d of %v", k, x)
			}
		}
	}
}

// Where Auto goes over to the normal distribution, the two agree within 2 % near p = 0.05.
func TestMethodsMeetAtTheLimit(t *testing.T) {
	d := make([]float64, maxExactPairs)
	for i := range d {
		if d[i] = float64(i + 1); i%5 < 2 {
			d[i] = -d[i]
		}
	}
	e, _ := Wilcoxon(d, TwoSided, DropZeros, Exact)
	a, _ := Wilcoxon(d, TwoSided, DropZeros, Approximate)
	if e.P < 0.01 || e.P > 0.2 || !near(a.P, e.P, 0.02) {
		t.Errorf("exact %v, approximate %v", e.P, a.P)
	}
	if auto, _ := Wilcoxon(append(d, 101), TwoSided, DropZeros, Auto); auto.Exact {
		t.Error("101 pairs are still done exactly")
	}
}

func TestWilcoxonSpecialCases(t *testing.T) {
	r, err := Wilcoxon([]float64{0, 0, 0}, TwoSided, DropZeros, Auto)
	if err != nil || r.P != 1 || r.N != 0 {
		t.Errorf("no differences: %+v, %v", r, err)
	}
	if _, err := Wilcoxon([]float64{1, math.NaN()}, TwoSided, DropZeros, Auto); err == nil {
		t.Error("NaN was accepted")
	}
	inf := math.Inf(1)
	r, _ = Wilcoxon([]float64{inf, 0.1, 0.2, inf, 0.3}, Greater, DropZeros, Auto)
	if r.P != 1.0/32 || r.Statistic != 15 {
		t.Errorf("infinite differences: %+v", r)
	}
	r, _ = Wilcoxon([]float64{-inf, 0.1, 0.2, 0.3}, Greater, DropZeros, Auto)
	if r.Statistic != 6 { // the diverged pair has the highest rank, 4
		t.Errorf("one diverged run: %+v", r)
	}
}

func TestNonFiniteIsWorst(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	d, err := Differences([]float64{0.9, nan, nan, 0.8}, []float64{0.5, 0.5, inf, -inf}, HigherIsBetter)
	if err != nil || !slices.EqualFunc(d, []float64{0.4, -inf, 0, inf}, func(a, b float64) bool { return a == b || math.Abs(a-b) < 1e-12 }) {
		t.Errorf("accuracy: %v, %v", d, err)
	}
	d, err = Differences([]float64{0.9, nan}, []float64{inf, 0.5}, LowerIsBetter)
	if err != nil || !slices.Equal(d, []float64{-inf, inf}) {
		t.Errorf("loss: %v, %v", d, err)
	}
	if _, err := Differences([]float64{1}, nil, HigherIsBetter); err == nil {
		t.Error("unpaired runs were accepted")
	}
	if _, err := Differences(nil, nil, 0); err == nil {
		t.Error("a missing direction was accepted")
	}
	for _, better := range []Direction{HigherIsBetter, LowerIsBetter} {
		a, err := A12([]float64{0.5, 0.6}, []float64{nan, inf}, better)
		if err != nil || a != 1 {
			t.Errorf("finite against diverged runs: A12 %v, %v", a, err)
		}
		if a, _ = A12([]float64{nan}, []float64{-inf}, better); a != 0.5 {
			t.Errorf("diverged against diverged runs: A12 %v", a)
		}
	}
	if !math.IsNaN(CohenD([]float64{1, nan}, []float64{1, 2})) {
		t.Error("Cohen's d of a diverged run is a number")
	}
}

func TestMagnitude(t *testing.T) {
	for a, want := range map[float64]string{0.5: "negligible", 0.57: "negligible", 0.574: "small", 0.67: "medium", 0.33: "medium", 0.74: "large", 0: "large"} {
		if got := Magnitude(a); got != want {
			t.Errorf("A12 %v is %s, want %s", a, got, want)
		}
	}
	if Magnitude(math.NaN()) != "undefined" {
		t.Error("NaN has a magnitude")
	}
}

func TestCohenDWithoutSpread(t *testing.T) {
	if d := CohenD([]float64{1, 1}, []float64{1, 1}); d != 0 {
		t.Errorf("equal constants: %v", d)
	}
	if d := CohenD([]float64{2, 2}, []float64{1, 1}); !math.IsInf(d, 1) {
		t.Errorf("different constants: %v", d)
	}
	if d := CohenD([]float64{2}, []float64{1}); !math.IsNaN(d) {
		t.Errorf("single runs: %v", d)
	}
}

// The interval made of scipy's own resamples is scipy's; the one of our resamples is close to that of 400,000 of scipy's.
func TestBootstrapAgreesWithScipy(t *testing.T) {
	methods := map[string]IntervalMethod{"BCa": BCa, "percentile": Percentile}
	resampled := map[string][][]int{}
	for _, c := range readGolden(t).Bootstrap {
		if c.Indices != nil {
			resampled[c.Resampled] = c.Indices
		}
		if c.Resampled != "" {
			means := make([]float64, len(resampled[c.Resampled]))
			for i, indices := range resampled[c.Resampled] {
				for _, at := range indices {
					means[i] += c.D[at]
				}
				means[i] /= float64(len(c.D))
			}
			got := interval(c.D, means, c.Level, methods[c.Method])
			if !near(got.Low, c.Low, 1e-9) || !near(got.High, c.High, 1e-9) {
				t.Errorf("%s, %s %v: [%v, %v], scipy has [%v, %v]", c.Name, c.Method, c.Level, got.Low, got.High, c.Low, c.High)
			}
			continue
		}
		got, err := BootstrapMean(c.D, c.Level, 100_000, 1, methods[c.Method])
		if err != nil {
			t.Fatal(err)
		}
		if w := 0.02 * (c.High - c.Low); math.Abs(got.Low-c.Low) > w || math.Abs(got.High-c.High) > w || got.Method != methods[c.Method] {
			t.Errorf("%s, %s: %+v, scipy has [%v, %v]", c.Name, c.Method, got, c.Low, c.High)
		}
	}
}

// Resampled means that equal the mean count half, however their sums were rounded: a symmetric sample has no bias.
func TestBootstrapTiesOnAGrid(t *testing.T) {
	d := []float64{0.1, 0.2, 0.3, 0.4, 0.5}
	var means []float64
	for i := range 3125 {
		sum := 0.0
		for k := i + 3125; k > 1; k /= 5 {
			sum += d[k%5]
		}
		means = append(means, sum/5)
	}
	b, p := interval(d, means, 0.9, BCa), interval(d, means, 0.9, Percentile)
	if math.Abs(b.Low-p.Low) > 1e-12 || math.Abs(b.High-p.High) > 1e-12 {
		t.Errorf("BCa %+v, percentile %+v", b, p)
	}
}

func TestBootstrapSpecialCases(t *testing.T) {
	inf := math.Inf(1)
	a, err := BootstrapMean([]float64{1, 2, 3, 4}, 0.95, 1000, 7, BCa)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := BootstrapMean([]float64{1, 2, 3, 4}, 0.95, 1000, 7, BCa); a != b {
		t.Error("the same seed gives two intervals")
	}
	for _, c := range []struct {
		d    []float64
		want Interval
	}{
		{[]float64{2, 2, 2}, Interval{2, 2, BCa}},
		{[]float64{inf, -inf, 1}, Interval{-inf, inf, Percentile}},
		{[]float64{inf, inf}, Interval{inf, inf, Percentile}},
	} {
		if got, err := BootstrapMean(c.d, 0.95, 1000, 1, BCa); err != nil || got != c.want {
			t.Errorf("%v: %+v, %v", c.d, got, err)
		}
	}
	// One gain in five is infinite: 0.8^5 = 33 % of the resamples are finite, so the lower end is.
	got, err := BootstrapMean([]float64{1, 2, 3, 4, inf}, 0.95, 10_000, 1, BCa)
	if err != nil || !(got.Low >= 1 && got.Low < 2.5) || got.High != inf || got.Method != Percentile {
		t.Errorf("one infinite gain: %+v, %v", got, err)
	}
	for _, err := range []error{
		second(BootstrapMean(nil, 0.95, 10, 1, BCa)), second(BootstrapMean([]float64{math.NaN()}, 0.95, 10, 1, BCa)),
		second(BootstrapMean([]float64{1}, 1, 10, 1, BCa)), second(BootstrapMean([]float64{1}, 0.9, 0, 1, BCa)),
	} {
		if err == nil {
			t.Error("bad arguments were accepted")
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A 95 % interval of the mean of normal samples covers the true mean about as often as it says (BCa is known to fall short a little with n = 20).
func TestBootstrapCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	covered := 0
	const trials = 400
	for i := range trials {
		d := make([]float64, 20)
		for j := range d {
			d[j] = 1 + random.NormFloat64()
		}
		v, _ := BootstrapMean(d, 0.95, 500, uint64(i), BCa)
		if v.Low <= 1 && 1 <= v.High {
			covered++
		}
	}
	if share := float64(covered) / trials; share < 0.90 || share > 0.98 {
		t.Errorf("%v of the intervals cover the mean", share)
	}
}

func TestHolmAgreesWithStatsmodels(t *testing.T) {
	for _, c := range readGolden(t).Holm {
		if got := Holm(c.P); !slices.EqualFunc(got, c.Adjusted, func(a, b float64) bool { return near(a, b, 1e-14) }) {
			t.Errorf("%v: %v, statsmodels has %v", c.P, got, c.Adjusted)
		}
	}
	got := Holm([]float64{0.03, math.NaN(), 0.01})
	if got[0] != 0.03 || !math.IsNaN(got[1]) || got[2] != 0.02 {
		t.Errorf("with NaN: %v", got)
	}
	if len(Holm(nil)) != 0 {
		t.Error("no tests, yet results")
	}
}

func TestMomentsAgreeWithNumpy(t *testing.T) {
	for _, c := range readGolden(t).Moments {
		if !near(Mean(c.X), c.Mean, 1e-14) || !near(Median(c.X), c.Median, 1e-14) {
			t.Errorf("%v: mean %v, median %v", c.X, Mean(c.X), Median(c.X))
		}
		if c.SD != nil && !near(SD(c.X), *c.SD, 1e-6) || c.SD == nil && !math.IsNaN(SD(c.X)) {
			t.Errorf("%v: sd %v", c.X, SD(c.X))
		}
		for _, q := range c.Quantiles {
			if !near(Quantile(c.X, q[0]), q[1], 1e-14) {
				t.Errorf("%v: quantile %v is %v, numpy has %v", c.X, q[0], Quantile(c.X, q[0]), q[1])
			}
		}
	}
	inf := math.Inf(1)
	if q := Quantile([]float64{1, 2, inf}, 0.5); q != 2 {
		t.Errorf("median beside an infinity: %v", q)
	}
	if !math.IsNaN(Quantile(nil, 0.5)) || !math.IsNaN(Quantile([]float64{1}, 2)) || !math.IsNaN(Mean(nil)) {
		t.Error("an empty sample or a bad quantile has a value")
	}
}

// Without the estimate, half of the pairs of values have a positive sum and half a negative one; that is what makes the signed-rank test find nothing.
func TestHodgesLehmann(t *testing.T) {
	if v := HodgesLehmann(nil); !math.IsNaN(v) {
		t.Errorf("of nothing: %v", v)
	}
	for _, c := range []struct {
		x    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{1, 2}, 1.5}, {[]float64{1, 2, 6}, 2.75}, {[]float64{1, 1.1, 0.9, 1.05, 0.95, -30}, 0.975}} {
		if v := HodgesLehmann(c.x); math.Abs(v-c.want) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.x, v, c.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 12; n++ {
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		v, above, below := HodgesLehmann(x), 0, 0
		for i := range x {
			for j := i; j < n; j++ {
				switch d := x[i] + x[j] - 2*v; {
				case d > 1e-12:
					above++
				case d < -1e-12:
					below++
				}
			}
		}
		if above != below {
			t.Errorf("%v: %v has %d means above and %d below", x, v, above, below)
		}
	}
}
