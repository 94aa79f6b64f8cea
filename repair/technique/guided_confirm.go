package technique

import (
	"fmt"
	"math"
	"slices"

	"netmend/repair"
)

// A patch is better by luck now and then: it is believed when a second seed says so too. What that costs depends on how much the patch gains. Where a
// short training was already better, by far, than what is to be beaten was after as many updates, the second seed is trained as short; where not, it is
// trained to the end, which waits until what evidence asks for more than for the patch has been tried. So it is where nothing but chance has asked for
// the patch: of many draws the one that looks best has been lucky, and a repair by chance hides those that evidence asks for.

// check is a second seed's short training.
type check struct {
	epochs float64 // that it trains
	first  float64 // the first seed's score after so many
	beat   float64 // what is to be beaten scored then
}

// passes says whether the second seed is nearer to the first than to what is to be beaten.
func (c check) passes(score float64, better func(a, b float64) bool) bool {
	return better(score, (c.first+c.beat)/2)
}

// check is the shortest training after which an arm was far better than what is to be beaten, by half of what it is in the end or more, since a small
// lead after a few updates is luck more often; false: there is none, or the patch has nothing but luck.
func (g *guided) check(a *arm) (check, bool) {
	if g.blurred() || a.checked || a.chance || !g.better(a.score, g.bar(), marginal) {
		return check{}, false
	}
	if a.doubled {
		c, ok := check{}, false
		for b := a.half; b != nil && b.over && g.better(b.score, g.bar(), marginal); b = b.half { // the shortest is the last
			c, ok = check{epochsOf(g.setup, b.patch), b.score, g.bar()}, true
		}
		return c, ok
	}
	gain := math.Abs(a.score - g.bar())
	for rung, score := range a.history[:max(0, len(a.history)-1)] {
		if beat := g.beaten(rung); !math.IsNaN(score) && !math.IsNaN(beat) && g.better(score, beat, marginal) && math.Abs(score-beat) >= gain/2 {
			return check{g.epochs(a.patch, rung), score, beat}, true
		}
	}
	return check{}, false
}

// beaten is what is to be beaten scored at the end of a rung: the incumbent, the faulty subject at the end of the epoch, or a constant answer beside a
// faulty subject that has no score; NaN: not known.
func (g *guided) beaten(rung int) float64 {
	switch {
	case g.incumbent != nil && rung < len(g.incumbent.history):
		return g.incumbent.history[rung]
	case g.incumbent != nil:
		return math.NaN()
	case len(g.faulty) == 0:
		return g.floor
	}
	if score := g.early(rung); !math.IsNaN(score) {
		return score
	}
	return g.base()
}

// early is the faulty subject's score, with the search's seed, at the end of the epoch in which a rung ends; NaN where it has none.
func (g *guided) early(rung int) float64 {
	if epoch := int(math.Ceil(g.target(rung)/g.perEpoch(nil) - 1e-9)); epoch >= 1 && epoch <= len(g.curve) {
		return float64(g.curve[epoch-1].Score)
	}
	return math.NaN()
}

// past is what an arm scored at the end of a rung that it has not done itself: a longer training has what it continues behind it; NaN: not known.
func (g *guided) past(a *arm, rung int) float64 {
	switch {
	case !a.doubled:
		return math.NaN()
	case a.half == nil:
		return g.early(rung)
	case rung < len(a.half.history):
		return a.half.history[rung]
	}
	return math.NaN()
}

// waiting are the arms that wait for a second seed, the best first. One that twice its epochs may be better than waits for that, while the budget pays for it.
func (g *guided) waiting() []*arm {
	var out []*arm
	for _, a := range g.arms {
		if a.confirm && !a.pending && (a.next == nil || a.next.over || a.next.rung == 0 && !a.next.pending && !g.affordable(a.next)) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b *arm) int {
		switch m := g.setup.metric(); {
		case m.Better(a.score, b.score):
			return -1
		case m.Better(b.score, a.score):
			return 1
		}
		return 0
	})
	return out
}

// second proposes the second seed of the best arm that waits for one, if it is short or nothing is to come before it.
func (g *guided) second() (Proposal, bool) {
	waiting := g.waiting()
	if len(waiting) == 0 && g.contradicted() && !g.waits() {
		return g.faultyAgain("what evidence is certain of is no better: was the faulty subject lucky?"), true
	}
	if len(waiting) == 0 || waiting[0].agreed && g.waits() {
		return Proposal{}, false
	}
	a := waiting[0]
	if a.agreed {
		return g.faultyAgain("is the faulty subject as bad with a second seed?"), true
	}
	if c, ok := g.check(a); ok {
		return g.send(job{a: a, rung: a.rung, confirm: true, check: &c}, Proposal{Patch: a.patch, Epochs: c.epochs, From: None, Seed: g.setup.Seed + 1,
			Why: "was it as far ahead with a second seed?"}), true
	}
	if later := 2*a.pace*epochsOf(g.setup, a.patch) <= g.budget()-g.spent; later { // the budget still pays for it then
		if first := g.next(); first != nil && first.half != a && g.promise(first) > g.promise(a) || g.overlooked(a.weight) != nil {
			return Proposal{}, false
		}
	}
	p := Proposal{Patch: a.patch, Epochs: epochsOf(g.setup, a.patch), From: None, Seed: g.setup.Seed + uint64(len(a.scores)),
		Why: "is it as good with a second seed?"}
	if len(a.scores) > 1 {
		p.Why = "two seeds are not enough: is it as good with a third?"
	} else if g.has(Continuation) {
		p.From = a.second
	}
	return g.send(job{a: a, rung: a.rung, confirm: true}, p), true
}

// faultyAgain proposes the faulty subject's second seed.
func (g *guided) faultyAgain(why string) Proposal {
	return g.send(job{confirm: true}, Proposal{Epochs: epochsOf(g.setup, nil), From: None, Seed: g.setup.Seed + 1, Why: why})
}

// contradicted says whether evidence contradicts the one score of the faulty subject that is known, while nothing is believed: evidence is wrong then, or the
// faulty subject was lucky with the search's seed, which would hide every repair.
func (g *guided) contradicted() bool {
	return g.incumbent == nil && len(g.faulty) == 1 && !g.again && g.has(Diagnosis) && g.has(Confirmation) && g.contradiction() != nil
}

// contradiction is the best arm that evidence is certain of and that was, trained to the end, no better than the faulty subject; nil: there is none that has
// learned half as much, or the faulty subject has learned nothing.
func (g *guided) contradiction() *arm {
	if !g.clearly(g.faulty[0], g.floor) {
		return nil
	}
	learned := (g.faulty[0] + g.floor) / 2
	var top *arm
	for _, a := range g.arms {
		if a.weight < certain || !a.over || !a.valid || a.batch != nil || slices.Contains(g.rejected, a) || !g.clearly(a.score, learned) {
			continue
		}
		if top == nil || g.setup.metric().Better(a.score, top.score) {
			top = a
		}
	}
	return top
}

// overlooked is the edit that evidence asks for most, where it asks for it more than for what is about to be trained: what is wrong for certain may show
// late, and is trained to the end once, the best of equals; after it, what mends all broken rules. Beside a believed patch that is part of those it is the
// latter alone. nil: it was, or nothing is certain, or it is asked for less than a weight.
func (g *guided) overlooked(than float64) *arm {
	if !g.has(Diagnosis) {
		return nil
	}
	var rules, top *arm
	for _, a := range g.arms {
		switch {
		case a.batch != nil && a.batch != g.incumbent || a.half != nil || a.rung == 0 && !a.over:
		case a.patch.String() == g.rules:
			if g.incumbent == nil || partOf(g.incumbent.patch, a.patch) {
				rules = a
			}
		case g.incumbent != nil:
		case a.weight < certain || top != nil && a.weight < top.weight:
		case top == nil || a.weight > top.weight || a.over || !top.over && g.setup.metric().Better(g.shown(a.score), g.shown(top.score)):
			top = a
		}
	}
	for _, a := range []*arm{top, rules} {
		if a != nil && !a.over && !a.pending && a.valid && g.affordable(a) && than < a.weight {
			return a
		}
	}
	return nil
}

// partOf says whether all edits of a patch are in another.
func partOf(p, whole repair.Patch) bool {
	return !slices.ContainsFunc(p, func(e repair.Edit) bool {
		v, ok := whole.Get(e.Key())
		return !ok || v != e.Value
	})
}

// tellConfirmation takes in the score of another seed. An arm is believed when all are better than the bar. Where the second seed disagrees and the
// mean does not, a third decides, since of an unsteady training nobody knows which was the rule; and where scores are blurred.
func (g *guided) tellConfirmation(j job, t Trial, score float64, valid bool) {
	a := j.a
	if j.doubt {
		g.tellDoubt(a, score, valid)
		return
	}
	if j.check != nil {
		if a.checked = true; valid && j.check.passes(score, g.setup.metric().Better) {
			g.believe(a)
		} else if valid {
			a.second = t.ID
		} else {
			g.reject(a)
		}
		return
	}
	if valid {
		a.scores = append(a.scores, score)
	}
	all := mean(a.scores)
	better := valid && g.clearly(all, g.bar()) && g.worthwhile(a, all)
	if better && len(a.scores) == 2 && (g.agree(a) < 2 || g.blurred()) {
		return
	}
	// A small gain may be the faulty subject's bad luck, unless evidence is certain that something is wrong there.
	if better && g.incumbent == nil && len(g.faulty) == 1 && !g.again && !g.better(a.score, g.base(), marginal) && a.weight < certain {
		a.agreed = true
		return
	}
	g.settle(a, better)
}

// doubt is one more seed of what is believed, to the end, where it is the best of many: that has been lucky twice, rather than not, and what it does not mend
// may have been overlooked for it. false: it was asked, or came early, or leaves less than the seed costs, or is a longer training, which was better than that of
// half its length, or the budget is spent.
func (g *guided) doubt() (Proposal, bool) {
	a := g.incumbent
	if a == nil || a.among < manyScreened || len(a.scores) > 2 || a.doubted || a.doubled || !g.has(Confirmation) {
		return Proposal{}, false
	}
	if price := a.pace * epochsOf(g.setup, a.patch); price > g.budget()-g.spent+1e-9 || price > (1-g.gained())*g.budget() {
		return Proposal{}, false
	}
	return Proposal{Patch: a.patch, Epochs: epochsOf(g.setup, a.patch), From: None, Seed: g.setup.Seed + 2,
		Why: fmt.Sprintf("the best of %d: is it as good with another seed?", a.among)}, true
}

// tellDoubt takes in that seed. What is no better than what was believed before on average is not believed any more; where it has lost by it, the search goes on
// as if it had just come.
func (g *guided) tellDoubt(a *arm, score float64, valid bool) {
	was := mean(a.scores)
	a.doubted = true
	if valid {
		a.scores = append(a.scores, score)
	}
	now := mean(a.scores)
	g.incumbent = a.before
	if !valid || !g.clearly(now, g.bar()) {
		g.reject(a)
		g.came = g.spent
		return
	}
	if g.incumbent = a; g.clearly(was, now) {
		g.came = g.spent
	}
}

// agree counts the scores of an arm that are better than the bar.
func (g *guided) agree(a *arm) int {
	n := 0
	for _, v := range a.scores {
		if g.clearly(v, g.bar()) {
			n++
		}
	}
	return n
}

// settle believes an arm or rejects it. It may be twice its epochs then that is better.
func (g *guided) settle(a *arm, better bool) {
	if better && g.agree(a) >= 2 {
		g.believe(a)
		return
	}
	if g.reject(a); a.next == nil {
		g.lengthen(a)
	}
}

func (g *guided) reject(a *arm) {
	a.confirm, a.agreed = false, false
	g.rejected = append(g.rejected, a)
}

// believe makes an arm the one to beat, and to build on. What waited and is no better than it need not be asked about any more.
func (g *guided) believe(a *arm) {
	a.confirm, a.agreed = false, false
	if a != g.incumbent {
		a.among, a.before = g.screened, g.incumbent
	}
	g.incumbent, g.came = a, g.spent
	for _, b := range g.arms {
		if b.confirm && !g.clearly(b.score, g.bar()) {
			b.confirm = false
		}
	}
	if g.has(Composition) {
		g.extend(a)
	}
}

// rival is the best arm that was trained to the end and is not refuted: what others have to be better than to be trained as long. nil: none is better
// than the faulty subject.
func (g *guided) rival() *arm {
	top := g.incumbent
	for _, a := range g.waiting() {
		if top == nil || g.setup.metric().Better(a.score, mean(top.scores)) {
			top = a
		}
	}
	return top
}
