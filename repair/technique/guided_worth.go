package technique

import (
	"math"
)

// When to end. The budget says what taking away all of the faulty subject's error is worth: so many trainings. An edit that was not tried takes away
// what is left with a probability; where that is worth less than the first training that would show it, nobody need look. Besides, the search after a
// patch is believed costs no more than a third of that before it: whatever was to be found, never more than a third is added to what was needed.

// secondFault is how likely a second fault is beside one that is mended: of the patches that searches with other seeds than the documentation's found, between
// a fifth and a third had more than one edit after minimisation.
const secondFault = 0.25

// afterwards is the share of what a search had cost when a patch was believed that it may spend on more.
const afterwards = 1. / 3

// patience is the share of the budget that a search has after a believed patch at least, however early that came.
const patience = 0.05

// gained is the share of the error at the start that the incumbent has taken away, 0 without one.
func (g *guided) gained() float64 {
	if g.incumbent == nil {
		return 0
	}
	base, bar := g.origin(), g.bar()
	if g.setup.metric().Maximize() { // the metrics that are maximised end at 1
		base, bar = 1-base, 1-bar
	}
	share := 1 - math.Abs(bar)/math.Abs(base)
	if math.IsNaN(share) {
		return 0
	}
	return max(0, min(1, share))
}

// shares is what the weights of the arms are divided by, by what they are built on: the sum of those that are built on the same.
func (g *guided) shares() map[*arm]float64 {
	out := map[*arm]float64{}
	for _, a := range g.arms {
		out[a.batch] += a.weight
	}
	return out
}

// price is what an arm's first training costs, in faulty trainings. For twice the epochs that is a training of so many from the beginning, though it may
// be continued: the second seed and all trainings after it pay for them.
func (g *guided) price(a *arm) float64 {
	if a.from != None {
		return a.pace * epochsOf(g.setup, a.patch)
	}
	if g.screened > 0 {
		return g.dear(a) * g.screening / float64(g.screened)
	}
	if g.first == 0 {
		return g.dear(a)
	}
	return g.dear(a) * g.first / g.updates(nil)
}

// dear is how many rows more an arm's first rung takes than that of an arm with the faulty subject's batches.
func (g *guided) dear(a *arm) float64 {
	if g.first == 0 {
		return epochsOf(g.setup, a.patch) / epochsOf(g.setup, nil)
	}
	return g.epochs(a.patch, 0) / g.epochs(nil, 0)
}

// budget is that of the search, in faulty trainings; infinite while it is not known.
func (g *guided) budget() float64 {
	if g.used <= 0 {
		return math.Inf(1)
	}
	return g.spent / g.used
}

// worth says whether an arm that was not tried may bring as much as its first training costs. An edit of the faulty subject is right if the
// incumbent is not, which is the less likely the more that has gained (a patch that mends half of the error is right rather than not); one on top
// of it if it has not mended all, or there is a second fault. Where scores are blurred nobody knows what was gained.
func (g *guided) worth(a *arm, shares map[*arm]float64) bool {
	if !g.repaired() || g.blurred() {
		return true
	}
	gained := g.gained()
	left, chance := 1-gained, 1-gained*gained
	switch {
	case a.batch == g.incumbent:
		chance = max(secondFault, chance)
	case gained > 0.5 && mendSame(g.incumbent.patch, a.patch): // another way to do what it has done for the most part
		chance /= helpedFactor
	}
	return g.promise(a)/shares[a.batch]*chance*left*g.budget() >= g.price(a)
}

// repaired says whether the incumbent is more than a step: better than a constant answer, by far.
func (g *guided) repaired() bool { return g.tells(marginal) }

// tells says whether the incumbent is better than a constant answer by more than so many times what chance has it.
func (g *guided) tells(times float64) bool {
	return g.incumbent != nil && (math.IsNaN(g.floor) || g.better(mean(g.incumbent.scores), g.floor, times))
}

// finished says whether there is enough: nothing above the incumbent, or a third of what was spent before it came has been since and nothing is under way. Where
// scores are blurred the budget is what ends a search.
func (g *guided) finished() bool {
	if !g.repaired() {
		return false
	}
	if bar := g.bar(); g.setup.metric().Maximize() && bar >= 1-1/float64(g.setup.rows()) { // the metrics that are maximised end at 1
		return true
	}
	if g.blurred() || g.spent-g.came <= max(afterwards*g.came, patience*g.budget()) || len(g.waiting()) > 0 {
		return false
	}
	for _, a := range g.arms {
		if a.valid && !a.over && g.affordable(a) && (g.clearly(a.score, g.bar()) || g.ahead(a)) { // a short training is better already
			return false
		}
	}
	return true
}
