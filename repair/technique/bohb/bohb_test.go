package bohb

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
)

// number reads what JSON has no numbers for.
type number float64

func (n *number) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case `"NaN"`:
		*n = number(math.NaN())
	case `"+Inf"`:
		*n = number(math.Inf(1))
	case `"-Inf"`:
		*n = number(math.Inf(-1))
	default:
		return json.Unmarshal(raw, (*float64)(n))
	}
	return nil
}

// golden is what scripts/golden_bohb.py recorded of HpBandSter.
type golden struct {
	Schedules []struct {
		Min, Max, Eta float64
		Stages        int
		Budgets       []float64
		Brackets      []struct {
			Configs []int
			Budgets []float64
		}
	}
	Splits    [][4]int
	Densities []struct {
		Types       string
		Good, Bad   [][]float64
		BwGood      []float64 `json:"bw_good"`
		BwBad       []float64 `json:"bw_bad"`
		Points      [][]float64
		L, G, Ratio []number
	}
	Truncated [][4]float64
	Spaces    map[string][][]any
	Searches  []goldenSearch
}

type goldenSearch struct {
	Space    string
	Seed     uint64
	Width    int
	Settings struct {
		Min float64 `json:"min_budget"`
		Max float64 `json:"max_budget"`
	}
	Events []struct {
		Config         *int
		Previous       int
		Bracket, Stage int
		Budget         float64
		Vector         []number
		Model          bool
		Tell           int
		Loss           number
	}
	Models []struct {
		Budget      float64
		Good, Bad   []float64
		Goods, Bads int
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

// stream is the generator of scripts/golden_bohb.py.
type stream uint64

func (s *stream) Float64() float64 {
	*s = *s*6364136223846793005 + 1442695040888963407
	return float64(*s>>11) * 0x1p-53
}

// close compares with a relative tolerance; NaN and infinities are equal to themselves.
func near(a, b, tolerance float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= tolerance*max(1, math.Abs(b))
}

func nearAll(a, b []float64, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return near(x, y, tolerance) })
}

func TestSchedules(t *testing.T) {
	for _, c := range read(t).Schedules {
		s := Defaults()
		s.MinBudget, s.MaxBudget, s.Eta = c.Min, c.Max, c.Eta
		if s.stages() != c.Stages || !nearAll(s.Budgets(), c.Budgets, 1e-14) {
			t.Errorf("budgets from %v to %v by %v: %v, want %v", c.Min, c.Max, c.Eta, s.Budgets(), c.Budgets)
			continue
		}
		for i, want := range c.Brackets {
			if configs, budgets := s.Bracket(i); !slices.Equal(configs, want.Configs) || !nearAll(budgets, want.Budgets, 1e-14) {
				t.Errorf("budgets from %v to %v by %v, bracket %d: %v on %v, want %v", c.Min, c.Max, c.Eta, i, configs, budgets, want)
			}
		}
	}
}

func TestSplits(t *testing.T) {
	for _, c := range read(t).Splits {
		s := Defaults()
		s.MinPoints = c[0]
		src := stream(c[1])
		x := newSampler(space(slices.Repeat([]Dimension{{Kind: Linear, Max: 1}}, 3)), s, &src)
		for range c[1] {
			v := []float64{src.Float64(), src.Float64(), src.Float64()}
			x.observe(v, 1, src.Float64())
		}
		goods, bads := 0, 0
		if m, ok := x.models[1]; ok {
			goods, bads = len(m.good.data), len(m.bad.data)
		}
		if goods != c[2] || bads != c[3] {
			t.Errorf("%d observations, at least %d: %d good and %d bad, want %d and %d", c[1], c[0], goods, bads, c[2], c[3])
		}
	}
}

func TestDensities(t *testing.T) {
	infinite := 0
	for _, c := range read(t).Densities {
		discrete := make([]bool, len(c.Types))
		for i := range discrete {
			discrete[i] = c.Types[i] == 'u'
		}
		m := model{newKDE(c.Good, discrete, 1e-3), newKDE(c.Bad, discrete, 1e-3)}
		if !nearAll(m.good.bw, c.BwGood, 1e-14) || !nearAll(m.bad.bw, c.BwBad, 1e-14) {
			t.Errorf("%s: bandwidths %v and %v, want %v and %v", c.Types, m.good.bw, m.bad.bw, c.BwGood, c.BwBad)
		}
		for i, x := range c.Points {
			ratio, l := m.ratio(x)
			if g := m.bad.pdf(x); !near(l, float64(c.L[i]), 1e-12) || !near(g, float64(c.G[i]), 1e-12) || !near(ratio, float64(c.Ratio[i]), 1e-12) {
				t.Errorf("%s at %v: l = %v, g = %v, g/l = %v, want %v, %v, %v", c.Types, x, l, g, ratio, c.L[i], c.G[i], c.Ratio[i])
			}
			if math.IsInf(ratio, 0) {
				infinite++
			}
		}
	}
	if infinite == 0 {
		t.Error("no ratio is infinite: the golden file should have a choice that the bad data lack")
	}
}

func TestTruncatedNormal(t *testing.T) {
	for _, c := range read(t).Truncated {
		if got := truncatedNormal(c[2], c[0], c[1]); !near(got, c[3], 1e-11) {
			t.Errorf("quantile %v of a normal distribution around %v ± %v: %v, want %v", c[2], c[0], c[1], got, c[3])
		}
	}
}

func spaceOf(dims [][]any) []Dimension {
	var out []Dimension
	for _, d := range dims {
		x, rest := Dimension{Kind: map[string]Kind{"choice": Choice, "linear": Linear, "log": Log, "integer": Integer}[d[0].(string)]}, d[1:]
		if x.Kind == Choice {
			x.Choices, rest = int(rest[0].(float64)), rest[1:]
		} else {
			x.Min, x.Max, rest = rest[0].(float64), rest[1].(float64), rest[2:]
		}
		if len(rest) > 0 {
			when := rest[0].([]any)
			x.When = &Condition{Dimension: int(when[0].(float64))}
			for _, c := range when[1].([]any) {
				x.When.Choices = append(x.When.Choices, int(c.(float64)))
			}
		}
		out = append(out, x)
	}
	return out
}

// The original's searches, run by run: brackets, promotions, failures, several runs at once, imputation, proposals.
func TestSearches(t *testing.T) {
	g := read(t)
	for _, c := range g.Searches {
		t.Run(fmt.Sprintf("%s %d", c.Space, c.Seed), func(t *testing.T) { follow(t, spaceOf(g.Spaces[c.Space]), c) })
	}
}

func follow(t *testing.T, dims []Dimension, c goldenSearch) {
	src := stream(c.Seed)
	s := Defaults()
	s.MinBudget, s.MaxBudget = c.Settings.Min, c.Settings.Max
	o, err := New(dims, s, &src)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, e := range c.Events {
		if e.Config == nil {
			if err := o.Tell(e.Tell, float64(e.Loss)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got := o.Ask()
		want := Run{ID: asked, Config: *e.Config, Budget: e.Budget, Previous: e.Previous, Bracket: e.Bracket, Stage: e.Stage, ModelBased: e.Model}
		vector, err := o.sampler.space.vector(got.Point)
		if err != nil {
			t.Fatal(err)
		}
		wantVector := make([]float64, len(e.Vector))
		for i, v := range e.Vector {
			wantVector[i] = float64(v)
		}
		point := got.Point
		got.Point = nil
		if got.Budget = math.Round(got.Budget*1e12) / 1e12; !near(got.Budget, want.Budget, 1e-11) {
			t.Fatalf("run %d on %v, want %v", asked, got.Budget, want.Budget)
		}
		if want.Budget = got.Budget; !reflect.DeepEqual(got, want) || !nearAll(vector, wantVector, 1e-9) {
			t.Fatalf("run %d: %+v at %v (vector %v), want %+v at %v", asked, got, point, vector, want, wantVector)
		}
		asked++
	}
	for _, m := range c.Models {
		got, ok := nearest(o.sampler.models, m.Budget)
		if !ok || !nearAll(got.good.bw, m.Good, 1e-9) || !nearAll(got.bad.bw, m.Bad, 1e-9) || len(got.good.data) != m.Goods || len(got.bad.data) != m.Bads {
			t.Errorf("model on %v: %+v, want %+v", m.Budget, got, m)
		}
	}
	if len(c.Models) == 0 || len(o.sampler.models) != len(c.Models) {
		t.Errorf("%d models, want %d", len(o.sampler.models), len(c.Models))
	}
}

func nearest(models map[float64]model, budget float64) (model, bool) {
	for b, m := range models {
		if near(b, budget, 1e-12) {
			return m, true
		}
	}
	return model{}, false
}

// What fails is not promoted, however few remain; stages are filled with new configurations then.
func TestFailures(t *testing.T) {
	s := Defaults()
	s.MinBudget = 1. / 9
	o, err := New([]Dimension{{Kind: Linear, Max: 1}}, s, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	failed := map[int]bool{}
	fresh := 0
	for range 100 {
		r := o.Ask()
		if failed[r.Config] {
			t.Fatalf("run %+v of a configuration that failed", r)
		}
		if r.Stage > 0 && r.Previous < 0 {
			fresh++
		}
		loss := r.Point[0]
		if r.ID%4 != 0 {
			loss, failed[r.Config] = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[r.ID%4-1], true
		}
		if err := o.Tell(r.ID, loss); err != nil {
			t.Fatal(err)
		}
	}
	if fresh == 0 {
		t.Error("no stage was filled up")
	}
	if err := o.Tell(0, 1); err == nil {
		t.Error("a run was told twice")
	}
}

// A point that was told and not asked for is learnt from, and its values survive the way to a vector and back.
func TestObserve(t *testing.T) {
	dims := []Dimension{{Kind: Choice, Choices: 3}, {Kind: Log, Min: 1e-6, Max: 10}, {Kind: Integer, Min: 2, Max: 40},
		{Kind: Linear, Min: -1, Max: 1, When: &Condition{0, []int{2}}}}
	o, err := New(dims, Defaults(), rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	p := []float64{1, 3e-4, 17, math.NaN()}
	if err := o.Observe(p, 1, 0.5); err != nil {
		t.Fatal(err)
	}
	if got := o.sampler.space.point(o.sampler.seen[1].vectors[0]); !nearAll(got, p, 1e-12) {
		t.Errorf("%v became %v", p, got)
	}
	for _, bad := range [][]float64{{1, 3e-4, 17, 0.5}, {2, 3e-4, 17, math.NaN()}, {3, 3e-4, 17, math.NaN()}, {1, 11, 17, math.NaN()}, {1, 1, 17.5, math.NaN()}, {1}} {
		if o.Observe(bad, 1, 0) == nil {
			t.Errorf("point %v was taken", bad)
		}
	}
	if o.Observe(p, 0, 1) == nil {
		t.Error("a budget of 0 was taken")
	}
}

func TestRefusals(t *testing.T) {
	one := []Dimension{{Kind: Linear, Max: 1}}
	for name, x := range map[string][]Dimension{
		"no dimensions": nil, "no choices": {{}}, "disorder": {{Kind: Linear, Min: 1}}, "NaN": {{Kind: Linear, Max: math.NaN()}}, "log of 0": {{Kind: Log, Max: 1}},
		"kind": {{Kind: 9}}, "parent": {{Choices: 2, When: &Condition{3, nil}}}, "numeric parent": {one[0], {Choices: 2, When: &Condition{0, nil}}},
		"circle": {{Choices: 2, When: &Condition{1, nil}}, {Choices: 2, When: &Condition{0, nil}}},
	} {
		if _, err := New(x, Defaults(), nil); err == nil {
			t.Errorf("space with %s was taken", name)
		}
	}
	for name, change := range map[string]func(*Settings){
		"budget 0": func(s *Settings) { s.MinBudget = 0 }, "disorder": func(s *Settings) { s.MinBudget = 2 }, "infinite": func(s *Settings) { s.MaxBudget = math.Inf(1) },
		"eta 1": func(s *Settings) { s.Eta = 1 }, "thousands of stages": func(s *Settings) { s.MinBudget = 1e-300 }, "percent": func(s *Settings) { s.TopPercent = 0 },
		"no draws": func(s *Settings) { s.Samples = 0 }, "no bandwidth": func(s *Settings) { s.MinBandwidth = 0 },
	} {
		s := Defaults()
		if change(&s); s.check() == nil {
			t.Errorf("settings with %s were taken", name)
		}
	}
}
