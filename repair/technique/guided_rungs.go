package technique

import (
	"fmt"
	"math"
	"slices"

	"netmend/repair"
)

// Rungs are numbers of updates: first, first·reduction, first·reduction², …, so that an arm with a smaller batch is compared with the others after as
// many updates as they have made, not after as many epochs. An arm leaves the ladder where its own training ends.

// updates is how many a patch's whole training makes.
func (g *guided) updates(p repair.Patch) float64 { return epochsOf(g.setup, p) * g.perEpoch(p) }

// perEpoch is the number of updates of an epoch.
func (g *guided) perEpoch(p repair.Patch) float64 {
	batch := float64(g.setup.Subject.Recipe.BatchSize)
	if v, ok := p.Get(batchKey); ok {
		batch = v.Number
	}
	return math.Ceil(float64(len(g.setup.Subject.Data.Train)) / max(1, batch))
}

// target is the number of updates at the end of a rung.
func (g *guided) target(rung int) float64 { return g.first * math.Pow(reduction, float64(rung)) }

// nearlyWhole is the share of a training from which it is made whole at once.
const nearlyWhole = 0.75

// whole says whether a rung is the end of a patch's training.
func (g *guided) whole(p repair.Patch, rung int) bool {
	return g.first == 0 || g.target(rung) >= nearlyWhole*g.updates(p)
}

// epochs is how long a patch trains for a rung.
func (g *guided) epochs(p repair.Patch, rung int) float64 {
	if g.whole(p, rung) {
		return epochsOf(g.setup, p)
	}
	return g.target(rung) / g.perEpoch(p)
}

// highest is the largest number of rungs that an arm has done.
func (g *guided) highest() int {
	n := 0
	for _, a := range g.arms {
		n = max(n, a.rung)
	}
	return n
}

// affordable says whether the budget that is left pays for the rest of an arm's training and, where something is believed or waits for a second seed, for
// its own: a patch with one seed is better than none.
func (g *guided) affordable(a *arm) bool {
	e := epochsOf(g.setup, a.patch)
	rest, left := a.pace*(e-a.epochs), g.budget()-g.spent+1e-9
	switch {
	case a.pace == 0 || rest+a.pace*e <= left:
		return true
	case rest > left || g.incumbent != nil:
		return false
	}
	return !slices.ContainsFunc(g.arms, func(b *arm) bool { return b.confirm })
}

// promising is the arm to be trained on, if there is one: better than all that was trained to the end already, or ahead of what is to be beaten, or
// among the best of its rung while nothing is better than the faulty subject.
func (g *guided) promising() (*arm, string) {
	rival := g.rival()
	beat := g.bar()
	if rival != nil {
		beat = mean(rival.scores)
	}
	doubling := g.doubling()
	about := append(g.waiting(), doubling)[0] // what else is about to be trained to the end
	if about != nil {
		if a := g.overlooked(about.weight); a != nil {
			return a, "evidence asks for it most: trained to the end before as much is spent on what it asks for less"
		}
	}
	if doubling != nil {
		if first := g.next(); first == nil || g.promise(first) <= g.promise(doubling) {
			return doubling, "twice the epochs helped: twice as many again"
		}
	}
	ready := func(a *arm) bool {
		return a.rung > 0 && (a.rung == 1 || g.screened >= minScreened || g.better(a.score, beat, marginal))
	}
	if a := g.best(func(a *arm) bool { return ready(a) && g.clearly(a.score, beat) }); a != nil {
		return a, "better than all that was trained to the end"
	}
	if a := g.best(func(a *arm) bool {
		then := g.then(rival, a)
		return rival != nil && a.rung > 0 && !g.clearly(beat, a.score) && (math.IsNaN(then) || g.clearly(a.score, then))
	}); a != nil {
		return a, "as good as all that was trained to the end, in a shorter training"
	}
	if a := g.best(g.ahead); a != nil {
		return a, "better than what is to be beaten was after as many updates"
	}
	if a := g.best(g.evident); a != nil {
		return a, "evidence points at it, and it keeps up with what it is to be better than"
	}
	if rival != nil && g.repaired() {
		return nil, ""
	}
	for rung := g.highest(); rung >= 1; rung-- {
		groups := map[*arm][]*arm{}
		var bases []*arm
		for _, a := range g.arms {
			if a.competed(rung) {
				if groups[a.batch] == nil {
					bases = append(bases, a.batch)
				}
				groups[a.batch] = append(groups[a.batch], a)
			}
		}
		for _, b := range bases {
			if a := g.promote(groups[b], rung); a != nil {
				return a, fmt.Sprintf("among the best of %d after %.3g updates", len(groups[b]), g.target(rung-1))
			}
		}
	}
	return nil, ""
}

// competed says whether an arm has a score of its own at the end of a rung: one whose training ends before it has none, nor has what continues another.
func (a *arm) competed(rung int) bool {
	return !a.doubled && a.valid && rung <= len(a.history) && !math.IsNaN(a.history[rung-1])
}

// doubling is the next training for twice the epochs of one that was better for its double.
func (g *guided) doubling() *arm {
	return g.best(func(a *arm) bool { return a.rung == 0 && a.half != nil && a.half.doubled && a.half.confirm })
}

// then is another arm's score when it had done as many rungs as an arm; NaN where it has none: a continued training has no score there.
func (g *guided) then(other, a *arm) float64 {
	if other == nil || a.rung == 0 || a.rung > len(other.history) {
		return math.NaN()
	}
	return other.history[a.rung-1]
}

// ahead says whether an arm is better than what is to be beaten was after as many updates; where that is the faulty subject, which is known at the ends of
// epochs only, by far, and not after the first rung, which tells little.
func (g *guided) ahead(a *arm) bool {
	if !a.valid || a.rung == 0 {
		return false
	}
	if rival := g.rival(); rival != nil || len(g.faulty) == 0 {
		then := g.then(rival, a)
		return !math.IsNaN(then) && g.clearly(a.score, then)
	}
	return a.rung > 1 && g.better(a.score, g.beaten(a.rung-1), marginal)
}

// evident says of an arm on top of the incumbent whether static evidence is strong enough to train it on as long as it does not fall behind the incumbent by
// half of what that was better than a constant answer: what is wrong for certain may show late. One that scores the same to the last row has changed nothing.
func (g *guided) evident(a *arm) bool {
	then := g.then(g.incumbent, a)
	if a.batch != g.incumbent || a.weight < certain || !g.has(Diagnosis) || math.IsNaN(then) || a.score == then {
		return false
	}
	return !g.clearly(g.shown(then), g.shown(a.score)) || g.clearly(then, g.floor) && g.clearly(a.score, (then+g.floor)/2)
}

// promote finds an arm among the best 1/reduction of those that have reached a rung, that has not gone further. Where none of them stands out the rung
// says nothing, and so fewer go on, those that are suspected most; more, where evidence asks for that.
func (g *guided) promote(all []*arm, rung int) *arm {
	passed := 0
	var scores []float64
	for _, a := range all {
		if a.rung > rung || a.pending || a.over {
			passed++
		}
		scores = append(scores, a.history[rung-1])
	}
	top := g.best(func(a *arm) bool { return a.rung == rung && slices.Contains(all, a) })
	if top == nil || len(all) < reduction {
		return nil
	}
	slices.Sort(scores)
	most := len(all) / reduction
	if !g.clearly(top.score, scores[len(scores)/2]) {
		most /= reduction
	}
	if passed >= most && !g.deeper(top, rung) {
		return nil
	}
	return top
}

// deeper says whether evidence asks for the next rung of an arm rather than for anything new, each for what it costs, where scores say nothing: the arms
// have not learned more than a constant answer yet.
func (g *guided) deeper(a *arm, rung int) bool {
	if !g.setup.metric().Maximize() || math.IsNaN(g.floor) || g.clearly(a.score, g.floor) {
		return false
	}
	first := g.next()
	return first == nil || a.weight*g.first > g.promise(first)*(g.target(rung)-g.target(rung-1))
}

// shown is what a score shows. Shares of right answers that a constant answer has too are equal: which class it is that a network has collapsed to is luck.
func (g *guided) shown(score float64) float64 {
	if m := g.setup.metric(); m.Maximize() && m.Better(g.floor, score) {
		return g.floor
	}
	return score
}

// best is the arm that has shown most of those that can go on and that ok accepts; the more suspected of two equals.
func (g *guided) best(ok func(*arm) bool) *arm {
	var top *arm
	m := g.setup.metric()
	for _, a := range g.arms {
		if a.over || a.pending || !ok(a) || !g.affordable(a) {
			continue
		}
		if v := g.shown(a.score); top == nil || m.Better(v, g.shown(top.score)) || v == g.shown(top.score) && a.weight > top.weight {
			top = a
		}
	}
	return top
}
