package hebo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// mixed is a space with every kind of parameter, categories between numbers.
var mixed = []Parameter{{Name: "c", Kind: Categorical, Choices: 3}, {Name: "x", Min: -2, Max: 3}, {Name: "r", Kind: Log, Min: 1e-4, Max: 10},
	{Name: "k", Kind: Integer, Min: 1, Max: 9}, {Name: "one", Kind: Categorical, Choices: 1}}

// bowl has its minimum of zero at c = 1, x = 1, r = 0.01, k = 7.
func bowl(p Point) float64 {
	v := (p[1]-1)*(p[1]-1) + math.Pow(math.Log10(p[2])+2, 2) + math.Pow((p[3]-7)/4, 2)
	if p[0] != 1 {
		v++
	}
	return v
}

// search asks and tells n points in batches, and gives them with the first that a model has chosen.
func search(t *testing.T, o *Optimizer, n, batch int, f func(Point) float64) (all []Point, first int) {
	t.Helper()
	first = -1
	for len(all) < n {
		points, modelled := o.Ask(batch)
		if modelled && first < 0 {
			first = len(all)
		}
		for _, p := range points {
			if err := o.Tell(p, f(p)); err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
	}
	return all, first
}

func make2(t *testing.T, params []Parameter, o Options) *Optimizer {
	t.Helper()
	x, err := New(params, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestSearch(t *testing.T) {
	for _, kind := range []Surrogate{Warped, Plain} {
		all, first := search(t, make2(t, mixed, Options{Surrogate: kind, Seed: 3}), 30, 4, bowl)
		if first != 8 { // six points of the initial design are there after two batches
			t.Errorf("surrogate %d: the first modelled point is number %d", kind, first)
		}
		best, random := math.Inf(1), math.Inf(1)
		rng := rand.New(rand.NewPCG(1, 1))
		s, _ := newSpace(mixed)
		for i, p := range all {
			inSpace(t, mixed, p)
			if slices.ContainsFunc(all[:i], func(q Point) bool { return slices.Equal(p, q) }) {
				t.Errorf("surrogate %d: %v is asked twice", kind, p)
			}
			best, random = min(best, bowl(p)), min(random, bowl(s.point(s.uniform(rng))))
		}
		if best > 0.15 || best > random/2 {
			t.Errorf("surrogate %d: the best of 30 is %v; of random points %v", kind, best, random)
		}
		again, _ := search(t, make2(t, mixed, Options{Surrogate: kind, Seed: 3}), 30, 4, bowl)
		if !reflect.DeepEqual(all, again) {
			t.Errorf("surrogate %d: the same seed gives other points", kind)
		}
	}
}

func inSpace(t *testing.T, params []Parameter, p Point) {
	t.Helper()
	for i, d := range params {
		low, high := d.Min, d.Max
		if d.Kind == Categorical {
			low, high = 0, float64(d.Choices-1)
		}
		if !(p[i] >= low && p[i] <= high) || d.discrete() && p[i] != math.Trunc(p[i]) {
			t.Fatalf("parameter %q is %v", d.Name, p[i])
		}
	}
}

// The space has six points: all of them are asked, and then some again.
func TestSmallSpace(t *testing.T) {
	params := []Parameter{{Name: "a", Kind: Categorical, Choices: 2}, {Name: "b", Kind: Integer, Min: 1, Max: 3}}
	for _, kind := range []Surrogate{Warped, Plain} {
		all, _ := search(t, make2(t, params, Options{Surrogate: kind, Seed: 1}), 14, 1, func(p Point) float64 { return p[0] + p[1] })
		seen := map[string]bool{}
		for _, p := range all {
			seen[fmt.Sprint(p)] = true
		}
		if len(seen) != 6 {
			t.Errorf("surrogate %d: %d of 6 points", kind, len(seen))
		}
	}
}

// Values without spread, with outliers, infinite and not numbers: the search goes on.
func TestStrangeValues(t *testing.T) {
	for _, f := range map[string]func(i int) float64{
		"constant": func(int) float64 { return 0.1 },
		"outlier":  func(i int) float64 { return []float64{0, 1e-9, 1e12}[i%3] },
		"huge":     func(i int) float64 { return float64(i) * 1e300 },
		"half":     func(i int) float64 { return []float64{float64(i), math.NaN(), math.Inf(1), math.Inf(-1)}[i%4] },
		"none":     func(int) float64 { return math.NaN() },
	} {
		for _, kind := range []Surrogate{Warped, Plain} {
			i := 0
			all, _ := search(t, make2(t, mixed, Options{Surrogate: kind, Seed: 1}), 14, 7, func(Point) float64 { i++; return f(i) })
			for _, p := range all {
				inSpace(t, mixed, p)
			}
		}
	}
}

func TestDropped(t *testing.T) {
	o := make2(t, mixed, Options{})
	for _, v := range []float64{2, math.NaN(), 5, math.Inf(1)} {
		if err := o.Tell(Point{0, 1, 1, 1, 0}, v); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(o.y, []float64{2, 5}) {
		t.Errorf("%v", o.y)
	}
}

func TestErrors(t *testing.T) {
	for want, params := range map[string][]Parameter{
		"empty":    {},
		"choices":  {{Name: "c", Kind: Categorical}},
		"in order": {{Name: "x", Min: 2, Max: 1}},
		"finite":   {{Name: "x", Min: 2, Max: math.Inf(1)}},
		"positive": {{Name: "r", Kind: Log, Min: 0, Max: 1}},
		"whole":    {{Name: "k", Kind: Integer, Min: 0.5, Max: 3}},
		"kind":     {{Name: "z", Kind: 9, Max: 1}},
	} {
		if _, err := New(params, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", params, err)
		}
	}
	o := make2(t, mixed, Options{})
	for _, p := range []Point{{0, 1, 1, 1}, {3, 1, 1, 1, 0}, {0.5, 1, 1, 1, 0}, {0, math.NaN(), 1, 1, 0}, {0, 1, -1, 1, 0}} {
		if err := o.Tell(p, 1); err == nil {
			t.Errorf("%v is taken", p)
		}
	}
}

// line is a model whose mean falls and whose variance rises with the first coordinate.
type line struct{ fixed }

func (line) predict(x []float64) (float64, float64) { return -math.Abs(x[0] - 3), x[0] }

// A batch of three has the candidate of the lowest mean and that of the largest variance; one of two need not.
func TestBatch(t *testing.T) {
	o := make2(t, []Parameter{{Name: "x", Min: 0, Max: 10}}, Options{})
	candidates := []Point{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {10}, {9}}
	without := 0
	for range 200 {
		chosen := o.choose(line{}, candidates, 3)
		if !contains(chosen, Point{10}) {
			t.Fatalf("batch %v", chosen)
		}
		if !contains(o.choose(line{}, candidates, 2), Point{10}) {
			without++
		}
	}
	if without < 100 {
		t.Errorf("%d of 200 batches of two are without the extreme candidate; 7 in 9 are expected", without)
	}
}

// Children of a mating are distributed as pymoo's are.
func TestMating(t *testing.T) {
	g := readGolden(t).Mating
	s := goldenSpace(t)
	pop := []individual{{x: s.transform(g.Parents[0])}, {x: s.transform(g.Parents[1])}}
	rng := rand.New(rand.NewPCG(1, 1))
	children := mate(s, pop, g.N, rng)
	for k := range s.params {
		var v []float64
		for _, c := range children {
			v = append(v, c.x[k])
		}
		slices.Sort(v)
		for i, cut := range g.Cuts[k] {
			below, _ := slices.BinarySearch(v, cut)
			if share := float64(below) / float64(len(v)); math.Abs(share-g.Below[k][i]) > 0.015 {
				t.Errorf("parameter %s: %.3f of the children lie below %v, %.3f of pymoo's", s.params[k].Name, share, cut, g.Below[k][i])
			}
		}
	}
}
