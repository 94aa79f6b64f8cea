package technique

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/train"
)

// candidate is an edit, or a few that belong together, with its weight.
type candidate struct {
	patch  repair.Patch
	weight float64
	why    string
}

// manySuspected is the weight from which a slot counts as pointed at by evidence: above every prior that was set by hand.
const manySuspected = 5

// dataOperators edit what the model is fed with.
var dataOperators = []string{"preprocessing", "input_scaling"}

// slots are the slots that this search edits.
func (g *guided) slots() repair.Space {
	all := g.setup.slots()
	if g.has(Data) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(x repair.Slot) bool { return slices.Contains(dataOperators, x.Operator) })
}

// singles are all single edits of the searched slots on a grid, the same edit in all suspected slots of an operator where there are several, since a
// fault that an author made in one layer, he made in all, and compounds.
func (g *guided) singles() []candidate {
	var out []candidate
	together := map[repair.Edit][]repair.Edit{}
	var order []repair.Edit
	weights := map[repair.Edit]float64{}
	for _, x := range g.slots() {
		if !g.setup.Space.Active(x, nil) {
			continue
		}
		s := g.suspects[x.Key()]
		for _, v := range g.weighed(x, s) {
			e, weight := repair.Edit{Operator: x.Operator, Target: x.Target, Value: v.value}, v.weight
			out = append(out, candidate{repair.NewPatch(e), weight, fmt.Sprintf("suspicion %.3g", weight)})
			if _, ok := s.Prefer[v.value]; ok && s.Weight >= manySuspected && g.has(Together) {
				kind := repair.Edit{Operator: e.Operator, Value: e.Value}
				if together[kind] == nil {
					order = append(order, kind)
				}
				together[kind] = append(together[kind], e)
				weights[kind] = max(weights[kind], weight)
			}
		}
	}
	for _, kind := range order {
		if edits := together[kind]; len(edits) > 1 {
			out = append(out, candidate{repair.NewPatch(edits...), weights[kind], fmt.Sprintf("suspicion %.3g of %d at once", weights[kind], len(edits))})
		}
	}
	return g.distinct(append(out, g.compounds(out)...))
}

// distinct takes of those that train alike the one that changes least, the first of equals, with the weight of the most suspected, and none that train as the
// faulty subject does.
func (g *guided) distinct(all []candidate) []candidate {
	var out []candidate
	at := map[string]int{}
	for _, c := range all {
		name := g.ending.Canonical(c.patch)
		i, ok := at[name]
		switch {
		case name == repair.Patch(nil).String():
		case !ok:
			at[name], out = len(out), append(out, c)
		default:
			if c.weight > out[i].weight {
				out[i].weight, out[i].why = c.weight, c.why
			}
			if g.ending.Changes(c.patch) < g.ending.Changes(out[i].patch) {
				out[i].patch = c.patch
			}
		}
	}
	return out
}

// mostAtOnce bounds the edits of a compound: more are no repair that anybody would read, and minimisation has to take them apart again.
const mostAtOnce = 6

// rivals are operators that mend the same thing, so that one of them is enough: the size of a step, or what the output is compared with.
var rivals = map[string]string{"learning_rate": "pace", "optimizer": "pace", "gradient_clip": "pace", "schedule": "pace", "loss": "head", "output_head": "head"}

// mendSame says whether two patches have edits of one slot, or such that mend the same thing.
func mendSame(a, b repair.Patch) bool {
	return slices.ContainsFunc(a, func(x repair.Edit) bool {
		return slices.ContainsFunc(b, func(y repair.Edit) bool {
			return x.Key() == y.Key() || rivals[x.Operator] != "" && rivals[x.Operator] == rivals[y.Operator]
		})
	})
}

// compounds are the edits that evidence asks for most, two of them at once, three, and so on: where several things are wrong, mending one shows
// nothing. Minimisation takes out what was not needed.
func (g *guided) compounds(singles []candidate) []candidate {
	if !g.has(Together) {
		return nil
	}
	top := map[repair.Key]candidate{}
	var keys []repair.Key
	for _, c := range singles {
		if len(c.patch) != 1 {
			continue
		}
		e := c.patch[0]
		if s := g.suspects[e.Key()]; s.Weight < manySuspected || s.Prefer[e.Value] == 0 {
			continue
		}
		if _, ok := top[e.Key()]; !ok {
			keys = append(keys, e.Key())
		}
		if c.weight > top[e.Key()].weight {
			top[e.Key()] = c
		}
	}
	slices.SortStableFunc(keys, func(a, b repair.Key) int { return cmp.Compare(top[b].weight, top[a].weight) })
	var out []candidate
	var p repair.Patch
	taken := map[string]bool{}
	for _, k := range keys {
		rival := rivals[k.Operator]
		next := p.With(top[k].patch[0])
		if rival != "" && taken[rival] || !g.possible(next) {
			continue
		}
		taken[rival] = true
		if p = next; len(p) > mostAtOnce {
			break
		}
		if len(p) > 1 {
			out = append(out, candidate{p, top[k].weight, fmt.Sprintf("the %d edits that evidence asks for most", len(p))})
		}
	}
	return out
}

// weighted is a value of a slot's grid.
type weighted struct {
	value  repair.Value
	weight float64
}

// weighed are the values of a slot that are tried alone, with the weights that a suspicion of the slot gives them.
func (g *guided) weighed(x repair.Slot, s diagnose.Suspect) []weighted {
	out := g.grid(x)
	for i := range out {
		out[i].weight *= s.Weight
		if p, ok := s.Prefer[out[i].value]; ok {
			out[i].weight *= p
		}
	}
	return out
}

// grid are the values of a slot that are tried alone, without the current one.
func (g *guided) grid(x repair.Slot) []weighted {
	var out []weighted
	add := func(v repair.Value, w float64) {
		if v != x.Current && x.Domain.Contains(v) && !slices.ContainsFunc(out, func(o weighted) bool { return o.value == v }) {
			out = append(out, weighted{v, w})
		}
	}
	switch {
	case x.Operator == "epochs": // longer trainings continue a checkpoint: see longer
		add(repair.Num(math.Ceil(x.Current.Number/2)), 0.1)
		return out
	case x.Operator == "learning_rate":
		g.rates(x, func(v repair.Value, w float64) { add(v, rateShare*w) })
		return out
	case x.Domain.Kind == repair.Choice:
		// The weight of a slot is shared by its values, or slots of many would crowd out those of few; evenly on a root, since many values are
		// many chances too.
		w := 1 / math.Sqrt(float64(max(1, len(x.Domain.Choices)-1)))
		for _, v := range x.Domain.Choices {
			add(v, w)
		}
	case x.Operator == "dropout":
		for _, v := range []float64{0, 0.25, 0.5} {
			add(repair.Num(v), 0.5)
		}
	default:
		for i := range 5 {
			add(at(x.Domain, float64(i)/4), 0.4)
		}
	}
	for v := range g.suspects[x.Key()].Prefer { // values off the grid; add keeps those that are on it
		add(v, 0.4)
	}
	slices.SortStableFunc(out, func(a, b weighted) int { return compareValues(a.value, b.value) })
	return out
}

// compareValues orders values so that a grid does not depend on the order of a map.
func compareValues(a, b repair.Value) int {
	switch {
	case a.IsText != b.IsText && a.IsText:
		return 1
	case a.IsText != b.IsText:
		return -1
	case a.IsText && a.Text < b.Text, !a.IsText && a.Number < b.Number:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// rateShare is what a rate has of the weight of its slot, which it shares with about four others that are as likely (see grid).
const rateShare = 0.5

// rates are decades around the current rate, the optimizer's default, and the values that evidence names.
func (g *guided) rates(x repair.Slot, add func(repair.Value, float64)) {
	r := g.setup.Subject.Recipe
	if o, err := train.DefaultOptimizer(r.Optimizer.Name, r.Semantics); err == nil {
		add(repair.Num(o.LearningRate), 1)
	}
	var named []repair.Value
	for v := range g.suspects[x.Key()].Prefer {
		named = append(named, v)
	}
	slices.SortFunc(named, compareValues)
	for _, v := range named {
		add(v, 1)
	}
	for k := 1; k <= 4; k++ {
		for _, factor := range []float64{math.Pow(10, float64(k)), math.Pow(10, float64(-k))} {
			add(repair.Num(tidy(x.Current.Number*factor)), 0.8/math.Sqrt(float64(k)))
		}
	}
	for _, factor := range []float64{3, 1. / 3} {
		add(repair.Num(tidy(x.Current.Number*factor)), 0.4)
	}
}

// tidy rounds to two digits, so that patches are easy to read.
func tidy(v float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 2, 64), 64)
	if err != nil {
		return v
	}
	return short
}

// at is the value at a share of a domain, on the domain's own scale.
func at(d repair.Domain, u float64) repair.Value {
	switch d.Kind {
	case repair.Log:
		return repair.Num(min(d.Max, max(d.Min, tidy(d.Min*math.Pow(d.Max/d.Min, u)))))
	case repair.Integer:
		return repair.Num(math.Round(d.Min + u*(d.Max-d.Min)))
	}
	return repair.Num(d.Min + u*(d.Max-d.Min))
}

// longer adds the training of a patch for twice its epochs, continuing what it has trained, and gives it back; nil where there is none. The weight is
// that of the first doubling: what costs more has to be suspected more.
func (g *guided) longer(p repair.Patch, from TrialID, weight float64, on *arm) *arm {
	if from == None || weight == 0 || !g.has(Longer) {
		return nil
	}
	x, ok := g.slots().Slot(epochsKey)
	if !ok {
		return nil
	}
	e := epochsOf(g.setup, p)
	v := repair.Num(min(2*e, x.Domain.Max))
	if v.Number <= e || !x.Domain.Contains(v) {
		return nil
	}
	p = p.Without(epochsKey)
	if v != x.Current {
		p = p.With(repair.Edit{Operator: epochsKey.Operator, Target: epochsKey.Target, Value: v})
	}
	a := g.add(p, weight*float64(g.setup.Subject.Recipe.Epochs)/e, "train longer", on)
	if a != nil {
		a.from, a.doubled, a.epochs = from, true, e
	}
	return a
}

// mute says whether a training, and one of twice its epochs, make so few updates that their scores say nothing: less than most networks show anything after,
// beside a bar that has shown nothing either.
func (g *guided) mute(a *arm) bool {
	return 2*a.epochs*g.perEpoch(a.patch) < muteUpdates && !g.better(g.paired(), g.floor, marginal)
}

// learns says whether an arm is a training for twice the epochs with few updates whose loss goes on falling, which scores may show late.
func (g *guided) learns(a *arm) bool {
	return a.doubled && a.epochs*g.perEpoch(a.patch) < diagnose.EnoughUpdates && a.fallen >= fallenShare
}

// begun says whether an arm is the faulty subject's training for twice the epochs, with few updates, and better than a constant answer, of which one
// score tells more than of how much.
func (g *guided) begun(a *arm) bool {
	return a.doubled && a.half == nil && a.epochs*g.perEpoch(a.patch) < diagnose.EnoughUpdates && g.clearly(a.score, g.floor)
}

// soon says whether it is too soon to hold a score against an arm.
func (g *guided) soon(a *arm) bool { return g.mute(a) || g.begun(a) || g.learns(a) }

// behind says whether an arm is worse than the bar, as far as its score says anything.
func (g *guided) behind(a *arm) bool { return g.worse(a.score) && !g.soon(a) }

// stuck says whether an arm has learned nothing, and was not about to: its score says no more than a constant answer, and its loss did not fall.
func (g *guided) stuck(a *arm) bool {
	return a.fallen < fallenShare && !g.clearly(a.score, g.floor) && !g.mute(a)
}

// lengthen proposes to train an arm that has ended for twice its epochs when it was still improving, or better for such a doubling, and is not
// worse than the bar. What has shown nothing yet may cost probeShare of the budget, twice that while it cannot have or goes on learning, and counts
// less the less its edits are suspected; on top of a believed patch it ends there. What has helped is suspected more. With an edit that evidence is
// certain of it is suspected as what mends two broken rules is (see lawful) when short trainings have had their turn.
func (g *guided) lengthen(a *arm) {
	if !a.growing && !(a.doubled && a.confirm) || g.behind(a) || g.stuck(a) || g.incumbent != nil && a.doubled && !a.confirm {
		return
	}
	probe := probeShare
	if g.mute(a) || g.learns(a) {
		probe *= 2
	}
	if !a.confirm && (g.used <= 0 || a.pace*a.epochs > probe*g.budget()+1e-9) {
		return
	}
	weight := g.suspects[epochsKey].Weight
	if !a.confirm && !g.clearly(mean(a.scores), g.bar()) {
		weight *= g.standing(a)
	}
	if a.doubled && a.confirm {
		weight *= helpedFactor
	}
	if a.next = g.longer(a.patch, a.trial, weight, a.batch); a.next != nil {
		if !a.doubled && a.weight >= certain {
			a.next.later = math.Sqrt(a.next.weight * a.weight)
		}
		a.next.pace, a.next.half = a.pace, a
		if !g.affordable(a.next) || !g.worth(a.next, g.shares()) {
			a.next.over = true
		}
	}
}

// standing is how much the edits of an arm are suspected beside those of the most suspected arm of the same base, 1 at most; what is trained longer has the
// standing of what it continues.
func (g *guided) standing(a *arm) float64 {
	for ; a.doubled; a = a.half {
		if a.half == nil { // the faulty subject itself
			return 1
		}
	}
	most := a.weight
	for _, b := range g.arms {
		if b.batch == a.batch && !b.doubled {
			most = max(most, b.weight)
		}
	}
	return a.weight / most
}

// helpedFactor is how much more an edit counts on top of a believed patch when it was better than its peers alone.
const helpedFactor = 4

// rediagnose looks at a patched subject: what was wrong with the faulty one and is gone must not be suspected any longer.
func (g *guided) rediagnose(a *arm) {
	x, err := g.setup.Operators.Apply(g.setup.Subject, a.patch)
	if err != nil { // it was trained, so it can be made
		return
	}
	g.suspects = g.suspicion(append(diagnose.Static(x, g.setup.Space), a.found...))
}

// extend adds what can be done on top of a patch that is believed.
func (g *guided) extend(a *arm) {
	g.rediagnose(a)
	weight := g.suspects[epochsKey].Weight
	if a.growing {
		weight += manySuspected
	}
	if n := g.longer(a.patch, a.trial, weight, a); n != nil {
		n.pace, n.half = a.pace, a
	}
	helped := g.helped()
	for _, c := range g.singles() {
		p := a.patch
		for _, e := range c.patch {
			p = g.ending.With(p, e)
		}
		w := c.weight
		if helped[c.patch.String()] {
			w *= helpedFactor
		}
		// An edit of what the patch has edited is a correction of it, and so is one that mends the same thing: it is not what the symptoms of the
		// faulty subject were about.
		if len(p) == len(a.patch) || mendSame(a.patch, c.patch) {
			w /= helpedFactor
		}
		name := g.ending.Canonical(p)
		if len(p) == len(a.patch) && g.known[name] { // another value alone is an edit of the faulty subject, and keeps its weight
			continue
		}
		if len(p) > 0 && name != a.name && g.possible(p) {
			g.add(p, w, fmt.Sprintf("on top of %s, %s", a.patch, c.why), a)
		}
	}
	g.refine(a)
}

// The slots of learning rate and batch size.
var (
	rateKey  = repair.Key{Operator: "learning_rate", Target: "recipe"}
	batchKey = repair.Key{Operator: "batch_size", Target: "recipe"}
)

// refine adds rates around the one that a believed patch has set.
func (g *guided) refine(a *arm) {
	v, ok := a.patch.Get(rateKey)
	x, found := g.setup.Space.Slot(rateKey)
	if !ok || !found {
		return
	}
	for _, factor := range []float64{10, 3, 1. / 3, 0.1} {
		next := repair.Num(tidy(v.Number * factor))
		if x.Domain.Contains(next) && next != x.Current {
			p := a.patch.With(repair.Edit{Operator: rateKey.Operator, Target: rateKey.Target, Value: next})
			g.add(p, g.suspects[rateKey].Weight, "a rate near that of "+a.patch.String(), a)
		}
	}
}

// helped are the single edits that did better than half of those that were trained as long.
func (g *guided) helped() map[string]bool {
	out := map[string]bool{}
	byRung := map[int][]float64{}
	for _, a := range g.arms {
		if a.valid && a.batch == nil {
			byRung[a.rung] = append(byRung[a.rung], a.score)
		}
	}
	for _, v := range byRung {
		slices.Sort(v)
	}
	for _, a := range g.arms {
		if v := byRung[a.rung]; a.valid && a.batch == nil && len(v) >= 3 && g.clearly(a.score, v[len(v)/2]) {
			out[a.patch.String()] = true
		}
	}
	return out
}

// possible says whether all slots of a patch are active under it.
func (g *guided) possible(p repair.Patch) bool {
	for _, e := range p {
		if x, ok := g.setup.Space.Slot(e.Key()); !ok || !g.setup.Space.Active(x, p) || !x.Domain.Contains(e.Value) || e.Value == x.Current {
			return false
		}
	}
	return true
}

// combineTries bounds the search for a combination that is new.
const combineTries = 200

// combine draws two or three edits of different slots by suspicion, on top of the believed patch where there is one.
func (g *guided) combine() *arm {
	singles := g.singles()
	total := 0.0
	for _, c := range singles {
		total += c.weight
	}
	if len(singles) == 0 || !(total > 0) {
		return nil
	}
	for range combineTries {
		var p repair.Patch
		if g.incumbent != nil {
			p = g.incumbent.patch
		}
		for range 2 + g.rng.IntN(2) {
			u := g.rng.Float64() * total
			i := 0
			for u -= singles[i].weight; u > 0 && i < len(singles)-1; u -= singles[i].weight {
				i++
			}
			for _, e := range singles[i].patch {
				p = g.ending.With(p, e)
			}
		}
		if g.possible(p) && !g.known[g.ending.Canonical(p)] {
			return g.add(p, 1, "a combination of suspects", g.incumbent)
		}
	}
	return nil
}
