// Package mutate injects faults: the 24 mutation operators of DeepCrime (Humbatova, Jahangirova and Tonella 2021, "DeepCrime: mutation testing
// of deep learning systems based on real faults") on any subject, with its search for the least aggressive mutant that is still worse and its
// killing criterion.
//
// DeepCrime states parameters and ranges per program; table.go generalises those of its MNIST program to any recipe and says how. A mutant is
// one operator at one site with one value; what is random in it comes from a seed, so that a mutant is one fixed subject: all its trainings
// see the same data, and what is written is what was killed. (DeepCrime draws the mutated rows anew for every training.) Data operators change
// training rows alone; the rows that a mutant is judged on are the original's.
package mutate

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"netmend/repair"
	"netmend/repair/study"
)

// Search is how the values of a site are tried.
type Search uint8

const (
	None       Search = iota // there is one value
	Exhaustive               // every value is a mutant of its own
	Bisection                // the extreme value first; where it is killed, the least aggressive killed value is looked for
)

func (s Search) String() string { return [...]string{"none", "exhaustive", "binary"}[s] }

// Operator is a mutation operator. Operators are values of one table, All.
type Operator struct {
	ID   string // DeepCrime's three letters
	Name string // DeepCrime's name
	Doc  string // one sentence: what it changes
	Search
	Data  bool // it changes the data
	sites func(s repair.Subject) []Site
	apply func(s repair.Subject, site Site, value repair.Value, r *rand.Rand) (repair.Subject, error)
}

// Site is a place where an operator can be applied.
type Site struct {
	Target string // a node, an initializer, an array of the data, "recipe" or "data"
	Values []repair.Value
	// Bisection: From is the original, which changes nothing, To the extreme. The search ends when the bounds are at most Precision apart.
	From, To, Precision float64
	Whole               bool // values are whole numbers
}

// contains says whether a value may be applied at the site.
func (x Site) contains(v repair.Value) bool {
	if x.Values != nil {
		return slices.Contains(x.Values, v)
	}
	lo, hi := min(x.From, x.To), max(x.From, x.To)
	return !v.IsText && v.Number >= lo && v.Number <= hi && v.Number != x.From && (!x.Whole || v.Number == math.Trunc(v.Number))
}

func (x Site) words() string {
	if x.Values == nil {
		return fmt.Sprintf("a number from %v to %v", x.From, x.To)
	}
	var words []string
	for _, v := range x.Values {
		words = append(words, v.String())
	}
	return "one of " + strings.Join(words, ", ")
}

// Sites lists where the operator can be applied to the subject; none where it cannot.
func (o Operator) Sites(s repair.Subject) []Site {
	if s.Model == nil || s.Model.Graph == nil {
		return nil
	}
	return o.sites(s)
}

// Apply makes a mutant; the subject it was given is untouched. An unknown target or a value that the site does not have is an error that
// names both. The seed decides what is random in a data operator.
func (o Operator) Apply(s repair.Subject, target string, value repair.Value, seed uint64) (repair.Subject, error) {
	sites := o.Sites(s)
	i := slices.IndexFunc(sites, func(x Site) bool { return x.Target == target })
	if i < 0 {
		return repair.Subject{}, fmt.Errorf("mutate: %s: there is no site %q in this subject", o.ID, target)
	}
	if !sites[i].contains(value) {
		return repair.Subject{}, fmt.Errorf("mutate: %s of %q: value %s is not %s", o.ID, target, value, sites[i].words())
	}
	r := rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%s %s %d", o.ID, target, seed))))
	m, err := o.apply(s, sites[i], value, r)
	if err == nil {
		err = m.Recipe.Check()
	}
	if err != nil {
		return repair.Subject{}, fmt.Errorf("mutate: %s of %q = %s: %w", o.ID, target, value, err)
	}
	return m, nil
}

// Select finds operators by their ids, separated by commas; "all" or "" are all of them. The order is that of All.
func Select(list string) ([]Operator, error) {
	all := All()
	if list == "" || list == "all" {
		return all, nil
	}
	var out []Operator
	want := strings.Split(strings.ToUpper(list), ",")
	for _, o := range all {
		if slices.Contains(want, o.ID) {
			out = append(out, o)
		}
	}
	for _, id := range want {
		if !slices.ContainsFunc(all, func(o Operator) bool { return o.ID == id }) {
			return nil, fmt.Errorf("mutate: there is no operator %q: they are %s", id, ids(all))
		}
	}
	return out, nil
}

func ids(operators []Operator) string {
	var words []string
	for _, o := range operators {
		words = append(words, o.ID)
	}
	return strings.Join(words, ", ")
}

// trainSeed is the seed of training number i of the original and of every mutant: the trainings are paired.
func trainSeed(seed uint64, i int) uint64 { return study.SeedFor(seed, "mutate", i) }
