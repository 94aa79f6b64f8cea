package bench

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"netmend/faults"
	"netmend/repair"
	"netmend/repair/technique"
	"netmend/train"
)

// testdata/wilcoxon.json is made by scripts/golden_bench.py with scipy 1.10.1.
func TestScipyWilcoxon(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "wilcoxon.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		X, Y []float64
		P    float64
	}
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) < 100 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for i, c := range cases {
		p, err := ScipyWilcoxon(c.X, c.Y)
		if err != nil || math.Abs(p-c.P) > 1e-9 {
			t.Errorf("case %d, %v and %v: p = %v, scipy has %v (%v)", i, c.X, c.Y, p, c.P, err)
		}
	}
}

// The published IR of every cell of Table III follows from its rounded means.
func TestPublishedRates(t *testing.T) {
	n := 0
	for _, f := range faults.All() {
		for budget, techniques := range f.Published.Results {
			for name, r := range techniques {
				if r.Note != "" {
					continue
				}
				n++
				if ir := RoundedRate(f.Metric, f.Published.Faulty, f.Published.Fixed, r.Mean); math.Abs(ir-r.IR) > 0.0051 {
					t.Errorf("%s %s %s: IR %v, published %v", f.ID, budget, name, ir, r.IR)
				}
			}
		}
	}
	if n < 270 {
		t.Errorf("only %d cells have an IR", n)
	}
}

// The published kinds of the ground truths follow from our patches, but for those that have no key in the published space (R1 and U2, regularizers;
// U6, whose loss was not compared).
func TestPublishedTypes(t *testing.T) {
	outside := map[string][]string{"R1": {"kr"}, "U2": {"kr"}, "U6": {"loss"}}
	for _, f := range faults.All() {
		want := slices.Sorted(slices.Values(f.Published.Types))
		if want == nil {
			want = outside[f.ID]
		}
		if got := Types(f.Fix); !slices.Equal(got, want) {
			t.Errorf("%s: the fix changes %v, published %v", f.ID, got, want)
		}
		if aj := AsymmetricJaccard(f.Fix, f.Fix); aj != 1 {
			t.Errorf("%s: AJ of the fix itself is %v", f.ID, aj)
		}
		if aj := AsymmetricJaccard(f.Fix, nil); aj != 0 {
			t.Errorf("%s: AJ of no patch is %v", f.ID, aj)
		}
	}
}

func TestAsymmetricJaccard(t *testing.T) {
	patch := func(ops ...string) (p repair.Patch) {
		for _, o := range ops {
			p = p.With(repair.Edit{Operator: o, Target: "x", Value: repair.Num(1)})
		}
		return p
	}
	for _, c := range []struct {
		truth, found repair.Patch
		want         float64
	}{
		{patch("loss", "learning_rate"), patch("learning_rate", "units", "bias_initializer"), 0.5},
		{patch("loss", "activation"), patch("output_head"), 1},
		{patch("activation"), patch("add_activation"), 1},
		{patch("units"), patch("units"), math.NaN()},
	} {
		if got := AsymmetricJaccard(c.truth, c.found); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%v found %v: %v, want %v", c.truth, c.found, got, c.want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		m               train.Metric
		faulty, v, want float64
	}{{train.Accuracy, 0.5, 0.4, 0.5}, {train.Accuracy, 0.5, 0.6, 0.6}, {train.Accuracy, 0.5, math.NaN(), 0.5}, {train.MAE, 2, 3, 2}, {train.MAE, 2, 1, 1},
		{train.MAE, 2, math.Inf(1), 2}} {
		if got := Clip(c.m, c.faulty, c.v); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestBestAndDead(t *testing.T) {
	hold := func(v float64) *repair.Number { n := repair.Number(v); return &n }
	trials := []Trial{{Score: 0.99, Valid: true, State: technique.Completed, Holdout: hold(1)}, // the faulty configuration is never chosen
		{Score: 0.7, Valid: true, State: technique.Completed, Holdout: hold(0.1)}, {Score: 0.9, State: technique.Diverged},
		{Score: 0.7, Valid: true, State: technique.Completed, Holdout: hold(0.9)}, {Score: 0.95, Valid: true, State: technique.Cut, Holdout: hold(1)}}
	if got := best(trials, train.Accuracy); got != 1 {
		t.Errorf("best is trial %d, want the first of the two equal ones", got)
	}
	if got := best(trials[:1], train.Accuracy); got != -1 {
		t.Errorf("best is trial %d of none", got)
	}
	x := technique.Trial{State: technique.Completed, Score: technique.Score{Value: 0.75, Valid: true}}
	if !dead(x, 0.75, train.Accuracy) || dead(x, 0.7, train.Accuracy) || dead(x, math.NaN(), train.MAE) {
		t.Error("a constant answer is dead, a better one is not, and an error has no chance level")
	}
	if x.State = technique.Diverged; !dead(x, 0, train.Accuracy) {
		t.Error("a diverged trial is dead")
	}
}

// The level of D6 is the share of its more frequent class among the search rows; D7 is scored by an error, and has none.
func TestChance(t *testing.T) {
	c := mustSmall(t, faults.StrictProtocol)
	for i, e := range c.Entries {
		x, err := e.Load()
		if err != nil {
			t.Fatal(err)
		}
		s := x.Faulty
		s.Data.Holdout = nil
		got, want := chance(s), math.NaN()
		if i == 0 {
			ones := 0.0
			for _, row := range s.Data.Search {
				ones += float64(s.Data.Targets[0].Int[row])
			}
			n := float64(len(s.Data.Search))
			want = max(ones, n-ones) / n
		}
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s: chance is %v, want %v", e.Fault.ID, got, want)
		}
	}
}

func TestPairsAndBudgets(t *testing.T) {
	for tests, want := range map[int]int{1: 5, 2: 6, 12: 8, 30: 10} {
		if got := pairs(tests); got != want {
			t.Errorf("%d faults need %d pairs, got %d", tests, want, got)
		}
	}
	d1, err := faults.Select("D1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBudget("20x-trials")
	if err != nil || b.String() != "20x-trials" {
		t.Fatal(b, err)
	}
	sum := 0
	for i := range 10 {
		x, err := b.of(d1[0], "random", i)
		if err != nil || x.Trials < 16 || x.Trials > 17 {
			t.Errorf("repeat %d: %v %v", i, x, err)
		}
		sum += x.Trials - 1
	}
	if sum != 159 { // 15.9 published, ten repeats
		t.Errorf("%d trials in ten repeats", sum)
	}
	for _, s := range []string{"10m", "30x-trials", "x", "0t"} {
		if _, err := ParseBudget(s); err == nil {
			t.Errorf("budget %q was taken", s)
		}
	}
}

// A faulty training that diverges is left out of the strict protocol's means, which makes the faulty subject look better than it is, and is the
// worst to A12; the published protocol keeps it.
func TestDivergedTrainingsOfAValue(t *testing.T) {
	list, err := faults.Select("U1")
	if err != nil {
		t.Fatal(err)
	}
	f := list[0]
	done := map[string]Line{}
	c := Config{Entries: []Entry{{Fault: f}}, Repeats: 3}
	for k, scores := range map[string][]float64{faultyVariant: {0.3, math.Inf(1), 0.5}, fixedVariant: {0.1, 0.2, 0.3}} {
		for i, v := range scores {
			done[c.name(task{entry: 0, variant: k, repeat: i})] = Line{Value: &Value{Search: repair.Number(v), Holdout: repair.Number(v)}}
		}
	}
	c.Protocol = faults.StrictProtocol
	v := c.valueRow(0, done)
	// d: (0.4 - 0.2) over the pooled deviation sqrt((0.02 + 0.02) / 3).
	if v.Faulty.Mean != 0.4 || v.FaultySearch != 0.4 || math.Abs(v.Distance-0.2/math.Sqrt(0.04/3)) > 1e-12 || math.Abs(v.A12-8.5/9) > 1e-12 {
		t.Errorf("strict: %+v", v)
	}
	c.Protocol = faults.PublishedProtocol
	if v := c.valueRow(0, done); !math.IsInf(v.Faulty.Mean, 1) {
		t.Errorf("published: %+v", v)
	}
}

// Improvement on a faulty subject that diverges in every training counts from a constant answer's score: from infinity every number would be a repair.
func TestImprovementOnADivergedSubject(t *testing.T) {
	list, err := faults.Select("U1")
	if err != nil {
		t.Fatal(err)
	}
	inf := repair.Number(math.Inf(1))
	c := Config{Entries: []Entry{{Fault: list[0]}}, Repeats: 1, Protocol: faults.StrictProtocol}
	faulty, fixed := task{entry: 0, variant: faultyVariant}, task{entry: 0, variant: fixedVariant}
	search := task{entry: 0, technique: "guided", budget: Budget{Published: "20x"}}
	done := map[string]Line{
		c.name(faulty): {Value: &Value{Search: inf, Holdout: inf, Constant: &Constant{Search: 0.4, Holdout: 0.5}}},
		c.name(fixed):  {Value: &Value{Search: 0.1, Holdout: 0.1}},
		c.name(search): {Search: &Search{Score: 0.2, Repaired: []repair.Number{0.2}, Trials: []Trial{{}, {Valid: true, Score: 0.12, Spent: 3}}}},
	}
	v := c.valueRow(0, done)
	r, err := c.row(search, v, done, nil)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.IR-0.75) > 1e-12 || !math.IsInf(v.Faulty.Mean, 1) { // (0.2 - 0.5) / (0.1 - 0.5)
		t.Errorf("IR %v, faulty %v", r.IR, v.Faulty)
	}
	if r.Reached != 1 || r.FirstX != 3 { // (0.12 - 0.4) / (0.1 - 0.4) is 0.93
		t.Errorf("first good trial: %d, %v", r.Reached, r.FirstX)
	}
	c.Protocol = faults.PublishedProtocol
	if v := c.valueRow(0, done); !math.IsInf(v.Base, 1) {
		t.Errorf("published: counts from %v", v.Base)
	}
}
