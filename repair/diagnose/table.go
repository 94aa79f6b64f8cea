package diagnose

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"netmend/repair"
)

// Table says how suspicious evidence makes the slots of a space: the rules and priors that were set by hand, moved by counts of mutants.
//
// A rule's weight w and the prior p of its operator say that the evidence makes a slot 1 + w/p times as suspicious as it was. Counted mutants have
// such a factor too, the number n of those with the evidence that the slot would have undone over the number e that there would be if evidence and
// operator had nothing to do with each other. Both are put together as the mean of a gamma posterior,
//
//	lift = (k·(1 + w/p) + n) / (k + e)
//
// (DuMouchel 1999, "Bayesian data mining in large frequency tables", The American Statistician 53:177, eq. 6, with a single gamma prior, whose
// mean is the rule's factor and whose weight is that of k expected mutants). The slot's weight rises by p·(lift - 1), where that is positive: what was
// never counted raises it by the rule's w. Where an operator has n slots, more than the usual 4, each
// has √(4/n) of its prior, and of the weight of a rule that points at all of them.
//
// Each family counts once for every operator however many mutants of it there are: numbers are shares of a family's mutants, summed over families.
// Networks that no edit repairs, and healthy ones, are two operators more: evidence that they show too expects more than is found.
//
// A slot's current value multiplies its prior: A, the share of wrong slots that had it, over the share of all slots that have it,
//
//	(v + A) / (v + r·A + (1-r)·B)
//
// with B the share of healthy slots and r that of mutants which the operator undoes.
//
// Last, a share of the weight is spread over all slots alike, so that nothing is ruled out.
type Table struct {
	mutants  map[string]float64  // by operator: the families that have mutants of it
	all      float64             // their sum
	here     map[pairKey]float64 // by evidence and operator
	others   map[pairKey]float64 // likewise, elsewhere
	fired    map[string]float64  // by kind, over all operators
	wrong    map[pairKey]float64 // A
	right    map[pairKey]float64 // B
	settings Settings
	id       string
}

type pairKey struct{ evidence, operator string }

// Settings say how far counts move what was set by hand.
type Settings struct {
	Rule    float64 // k, in expected mutants
	Value   float64 // v, in families
	Uniform float64 // share of the weight that all slots get alike
}

// DefaultSettings: with smaller k and v mutants rank still better by the counts of other families (docs/suspicion.md), but then a single mutant
// outweighs a rule. The benchmark's faults had no part in the choice. The share is the author's.
var DefaultSettings = Settings{Rule: 1, Value: 0.1, Uniform: 0.1}

// NewTable makes a table of counts; without any, it is that of the rules alone.
func NewTable(c Counts, s Settings) *Table {
	t := &Table{mutants: map[string]float64{}, here: map[pairKey]float64{}, others: map[pairKey]float64{}, fired: map[string]float64{},
		wrong: map[pairKey]float64{}, right: map[pairKey]float64{}, settings: s, id: c.digest(s)}
	mutants, healthy := map[pairKey]float64{}, map[pairKey]float64{} // by family and operator: mutants, and slots of healthy networks
	keys := c.sorted()                                               // sums of floats depend on their order
	for _, k := range keys {
		switch family := (pairKey{k.family, k.operator}); {
		case k.evidence == AllMutants:
			mutants[family] = float64(c.of[k].Here)
			t.mutants[k.operator]++
			t.all++
		case strings.HasPrefix(k.evidence, valueMark):
			healthy[family] += float64(c.of[k].Elsewhere)
		}
	}
	for _, k := range keys {
		n, of := c.of[k], mutants[pairKey{k.family, k.operator}]
		pair := pairKey{k.evidence, k.operator}
		if strings.HasPrefix(k.evidence, valueMark) {
			if of > 0 {
				t.wrong[pair] += float64(n.Here) / of
			}
			if slots := healthy[pairKey{k.family, k.operator}]; slots > 0 {
				t.right[pair] += float64(n.Elsewhere) / slots
			}
		} else if k.evidence != AllMutants && of > 0 {
			t.here[pair] += float64(n.Here) / of
			t.others[pair] += float64(n.Elsewhere) / of
			t.fired[k.evidence] += float64(n.Here+n.Elsewhere) / of
		}
	}
	return t
}

// Shipped is the table of all counts that are shipped.
var Shipped = sync.OnceValue(func() *Table { return NewTable(Learned(), DefaultSettings) })

// ID stands for counts and settings: tables of one ID say the same.
func (t *Table) ID() string { return t.id }

// prior is the weight of one of an operator's slots, of all that there are, before anything is known.
func prior(operator string, all int) float64 {
	p, ok := priors[operator]
	if !ok {
		p = 0.5
	}
	return p * shared(all)
}

// usualSlots is how many slots of an operator a network has that the priors and the weights of rules are for: the benchmark's have four at most, but for C, which has six.
const usualSlots = 4

// shared is what each of many slots has of what points at them all. One of them is wrong rather than each, so that a deep network is not suspected of its
// initialisers above all; on a root, since an author does the same in many layers.
func shared(slots int) float64 { return math.Sqrt(usualSlots / float64(max(usualSlots, slots))) }

// habit is the factor of a slot's current value.
func (t *Table) habit(x repair.Slot) float64 {
	evidence := ValueEvidence(x.Operator, x.Current)
	if evidence == "" || t.mutants[x.Operator] == 0 {
		return 1
	}
	k, r := pairKey{evidence, x.Operator}, t.mutants[x.Operator]/t.all
	v := t.settings.Value
	return (v + t.wrong[k]) / (v + r*t.wrong[k] + (1-r)*t.right[k])
}

// raise is by how much evidence of a kind raises a slot's weight. Rules that point at it have the weight w. near of the operator's slots, of all of
// them, are at the nodes of the evidence; here says whether this one is.
func (t *Table) raise(kind Kind, operator string, w float64, here bool, near, all int) float64 {
	p := prior(operator, all)
	n, e := 0.0, 0.0
	if t.mutants[operator] > 0 {
		k := pairKey{string(kind), operator}
		e = t.mutants[operator] / t.all * t.fired[string(kind)] / float64(all)
		if here {
			n, e = t.here[k], e*float64(near)
		} else {
			n, e = t.others[k], e*float64(all-near)
		}
	}
	r := t.settings.Rule
	return p * math.Max(0, (r*(1+w/p)+n)/(r+e)-1)
}

// pointer is how the evidence of one kind points at a slot.
type pointer struct {
	kind  Kind
	rules []rule
	raise float64
}

// pointers are all kinds of evidence, sorted, with what each says of a slot.
func (t *Table) pointers(x repair.Slot, rules map[Kind][]rule, nodes map[Kind]map[string]bool, targets []string) []pointer {
	var out []pointer
	for _, kind := range slices.Sorted(maps.Keys(nodes)) { // sums of floats depend on their order
		w, near := 0.0, 0
		for _, r := range rules[kind] {
			share := 1.0
			if r.at == every {
				share = shared(len(targets))
			}
			w += r.weight * share
		}
		for _, target := range targets {
			if nodes[kind][target] {
				near++
			}
		}
		out = append(out, pointer{kind, rules[kind], t.raise(kind, x.Operator, w, nodes[kind][x.Target], near, len(targets))})
	}
	return out
}

// places are the nodes of each kind's symptoms.
func places(symptoms []Symptom) map[Kind]map[string]bool {
	out := map[Kind]map[string]bool{}
	for _, s := range symptoms {
		if out[s.Kind] == nil {
			out[s.Kind] = map[string]bool{}
		}
		out[s.Kind][s.Node] = true
	}
	return out
}

// targets are the slots' targets by operator.
func targets(space repair.Space) map[string][]string {
	out := map[string][]string{}
	for _, x := range space {
		out[x.Operator] = append(out[x.Operator], x.Target)
	}
	return out
}
