package technique

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"netmend/repair"
	"netmend/repair/diagnose"
)

// guided searches the neighbourhood of the faulty subject, where the fault is evidence and repairs are near: most faults are one edit away, while
// a draw from the whole space is nearly always dead.
//
//  1. The faulty subject is trained to the end. What static rules and its trace show ranks every single edit by suspicion ([diagnose.Suspicion]).
//  2. Edits are tried in that order in short trainings, a share of them uniformly at random, since diagnosis is right in half of the cases only.
//     A training is continued from its checkpoint where it promises something: asynchronous successive halving (Li et al. 2020, "A System for
//     Massively Parallel Hyperparameter Tuning", algorithm 2), and at once where a short training is better than anything that was trained
//     to the end. Training the faulty subject longer is one of the edits and continues its own checkpoint.
//  3. What is better at the end has to be so with a second seed before it is believed. Then edits are tried on top of it, those first that helped
//     alone; where nothing single helps, random pairs and triples of suspects.
//  4. It ends when a believed patch has no room left above it, or enough edits were tried on top of it and brought nothing.
type guided struct {
	ledger
	setup     Setup
	rng       *rand.Rand
	rungs     []float64 // shares of a training, rising to 1
	arms      []*arm
	known     map[string]bool // patches that have an arm
	out       map[TrialID]job
	suspects  map[repair.Key]diagnose.Suspect
	base      float64 // score of the faulty subject; NaN: it has none
	faultyAt  TrialID // its checkpoint; None: there is none
	incumbent *arm    // believed
	rejected  []*arm  // better once, not twice
	spent     float64 // in faulty trainings
	used      float64 // share of the budget
	since     float64 // spent when the incumbent came
	screened  int     // arms that have left the first rung
}

// arm is a patch and what is known of it.
type arm struct {
	patch   repair.Patch
	weight  float64
	why     string
	batch   *arm    // what it is built on: arms of one base compete with each other
	rung    int     // rungs that are done
	score   float64 // at the last of them
	valid   bool
	trial   TrialID // checkpoint of the search's seed
	from    TrialID // checkpoint of another trial that it begins with; None: from scratch
	pending bool
	over    bool // needs no more trainings
	confirm bool // waits for its second seed
	scores  []float64
	growing bool               // it was improving when it ended
	longer  bool               // trains its base for twice the epochs
	found   []diagnose.Symptom // in its last training with the search's seed
	history []float64          // scores at the rungs, NaN where one was skipped
}

// job is a proposal that is out.
type job struct {
	a       *arm // nil: the faulty subject
	rung    int
	confirm bool
}

// Settings of the search.
const (
	reduction    = 4       // of successive halving: the paper's
	minShare     = 1. / 16 // of a training: two reductions below 1
	minUpdates   = 8       // a shorter training does not tell a learning network from a dead one
	uniformShare = 0.25    // of the new arms; PriorBand (NeurIPS 2023) begins with a similar share of uniform samples
	certain      = 30.     // weight of an edit that static evidence asks for: the strongest rules with their preferred values
	minScreened  = 8       // arms to compare before one is trained beyond the second rung
	enough       = 16      // edits on top of a patch that were tried and brought nothing, after which no more are
	enoughGood   = 8       // likewise, once the patch is good
	minPatience  = 1.0     // faulty trainings that they are given at least
	goodPatience = 0.1     // of the budget, once the patch is good, however few edits were tried
	goodShare    = 0.9     // of the faulty error that a good patch has taken away, or of the best score
	lowerShare   = 0.02    // of an error that must be gained to count, where lower is better
	longerShare  = 0.2     // of the error that is left must go for training twice as long: the one edit that costs what it brings
)

func newGuided(s Setup) *guided {
	g := &guided{setup: s, rng: rand.New(rand.NewPCG(s.Seed, 0x677569646564)), // the word "guided"
		known: map[string]bool{"faulty": true}, out: map[TrialID]job{}, base: math.NaN(), faultyAt: None}
	r := s.Subject.Recipe
	updates := float64(r.Epochs) * math.Ceil(float64(len(s.Subject.Data.Train))/float64(max(1, r.BatchSize)))
	for f := 1.0; ; f /= reduction {
		g.rungs = append([]float64{f}, g.rungs...)
		if next := f / reduction; !g.has(Halving) || next < minShare-1e-9 || next*updates < minUpdates {
			break
		}
	}
	g.suspect(nil)
	return g
}

// has says whether an idea is part of this search.
func (g *guided) has(x Idea) bool { return !slices.Contains(g.setup.without, x) }

// suspect ranks all single edits by what symptoms say; arms that are there keep what is known of them.
func (g *guided) suspect(symptoms []diagnose.Symptom) {
	g.suspects = g.suspicion(symptoms)
	if !g.has(Singles) {
		return
	}
	for _, c := range g.singles() {
		g.add(c.patch, c.weight, c.why, nil)
	}
}

// suspicion of the searched slots.
func (g *guided) suspicion(symptoms []diagnose.Symptom) map[repair.Key]diagnose.Suspect {
	out := g.setup.suspicion().Suspicion(symptoms, g.slots())
	if !g.has(Diagnosis) {
		for k := range out {
			out[k] = diagnose.Suspect{Weight: 1}
		}
	}
	return out
}

// add makes an arm of a patch, or gives the one that is there a new weight.
func (g *guided) add(p repair.Patch, weight float64, why string, on *arm) *arm {
	name := p.String()
	if g.known[name] {
		for _, a := range g.arms {
			if a.patch.String() == name {
				a.weight, a.why = weight, why
			}
		}
		return nil
	}
	g.known[name] = true
	a := &arm{patch: p, weight: weight, why: why, batch: on, trial: None, from: None}
	g.arms = append(g.arms, a)
	return a
}

// Ask gives the next training.
func (g *guided) Ask(ctx context.Context) (Proposal, error) {
	if err := ctx.Err(); err != nil {
		return Proposal{}, err
	}
	if g.asked == 0 {
		return g.send(job{}, Proposal{Epochs: epochsOf(g.setup, nil), From: None, Seed: g.setup.Seed, Why: "the faulty subject"}), nil
	}
	if g.finished() {
		return Proposal{}, io.EOF
	}
	for _, a := range g.arms {
		if a.confirm && !a.pending {
			return g.send(job{a, a.rung, true}, Proposal{Patch: a.patch, Epochs: epochsOf(g.setup, a.patch), From: None, Seed: g.setup.Seed + 1,
				Why: "is it as good with a second seed?"}), nil
		}
	}
	if a, why := g.promising(); a != nil {
		return g.train(a, why), nil
	}
	if a, why := g.fresh(); a != nil {
		return g.train(a, why), nil
	}
	if a := g.best(func(a *arm) bool { return a.rung > 0 }); a != nil {
		return g.train(a, "nothing else is left to try"), nil
	}
	if a := g.combine(); a != nil && (g.has(Composition) || !g.has(Singles)) {
		return g.train(a, a.why), nil
	}
	return Proposal{}, io.EOF
}

// train proposes the next rung of an arm.
func (g *guided) train(a *arm, why string) Proposal {
	from, rung := a.trial, a.rung
	if a.from != None { // it continues a whole training: there is nothing shorter
		from, rung = a.from, len(g.rungs)-1
	}
	if !g.has(Continuation) {
		from = None
	}
	return g.send(job{a: a, rung: rung}, Proposal{Patch: a.patch, Epochs: g.epochs(a.patch, rung), From: from, Seed: g.setup.Seed, Why: why})
}

func (g *guided) send(j job, p Proposal) Proposal {
	if j.a != nil {
		j.a.pending = true
	}
	g.out[TrialID(g.asked)] = j
	g.asked++
	return p
}

// epochs is how long a patch trains for a rung. Below the last, a smaller batch does not buy more updates.
func (g *guided) epochs(p repair.Patch, rung int) float64 {
	e := epochsOf(g.setup, p)
	if rung == len(g.rungs)-1 {
		return e
	}
	share := g.rungs[rung]
	if v, ok := p.Get(repair.Key{Operator: "batch_size", Target: "recipe"}); ok {
		share *= min(1, v.Number/float64(g.setup.Subject.Recipe.BatchSize))
	}
	return e * share
}

// Tell takes a result in.
func (g *guided) Tell(t Trial) error {
	news, err := g.accept(t)
	if err != nil || !news {
		return err
	}
	g.spent, g.used = g.spent+float64(t.Cost), max(g.used, float64(t.Used))
	j := g.out[t.ID]
	delete(g.out, t.ID)
	score, valid := float64(t.Score.Value), t.Score.Valid && !math.IsNaN(float64(t.Score.Value))
	if j.a == nil {
		g.tellFaulty(t, score, valid)
		return nil
	}
	a := j.a
	a.pending = false
	if j.confirm {
		g.tellConfirmation(a, score, valid)
		return nil
	}
	if !valid || t.State == Diverged || t.State == Failed || t.State == OutOfMemory {
		a.over, a.valid = true, false
		return nil
	}
	if a.rung == 0 {
		g.screened++
	}
	a.rung, a.score, a.valid, a.trial, a.from = j.rung+1, score, true, t.ID, None
	a.found = t.Symptoms
	for len(a.history) < j.rung {
		a.history = append(a.history, math.NaN())
	}
	a.history = append(a.history, score)
	a.growing = slices.ContainsFunc(t.Symptoms, func(s diagnose.Symptom) bool { return s.Kind == diagnose.StillImproving })
	if a.rung == len(g.rungs) {
		a.over, a.scores = true, []float64{score}
		a.confirm = g.clearly(score, g.bar()) && g.worthwhile(a, score)
		if a.confirm && !g.has(Confirmation) {
			a.confirm = false
			g.believe(a)
		}
	}
	return nil
}

// worthwhile says whether what an edit brings on top of the incumbent is enough to keep it, and what a longer training brings is worth its cost:
// search, verdict and every training after it pay for it.
func (g *guided) worthwhile(a *arm, score float64) bool {
	than := g.bar()
	if g.incumbent != nil && len(a.patch) > len(g.incumbent.patch) && math.Abs(score-than) < Margin(g.setup.metric(), g.base, score) {
		return false
	}
	if !a.longer || g.incumbent == nil || math.IsNaN(than) || math.IsInf(than, 0) {
		return true
	}
	if g.setup.metric().Maximize() { // the metrics that are maximised end at 1
		return score-than >= longerShare*(1-than)
	}
	return than-score >= longerShare*math.Abs(than)
}

func (g *guided) tellFaulty(t Trial, score float64, valid bool) {
	if valid {
		g.base = score
	}
	if t.State == Completed && t.Steps > 0 {
		g.faultyAt = t.ID
	}
	g.suspect(t.Symptoms)
	g.longer(nil, g.faultyAt, g.suspects[epochsKey].Weight, nil)
}

// tellConfirmation believes an arm whose second seed is better than the bar as well.
func (g *guided) tellConfirmation(a *arm, score float64, valid bool) {
	a.confirm = false
	if !valid || !g.clearly(score, g.bar()) || !g.worthwhile(a, score) {
		g.rejected = append(g.rejected, a)
		return
	}
	a.scores = append(a.scores, score)
	g.believe(a)
}

// believe makes an arm the one to beat, and to build on.
func (g *guided) believe(a *arm) {
	g.incumbent, g.since = a, g.spent
	if g.has(Composition) {
		g.extend(a)
	}
}

// bar is the score that a patch has to beat: the faulty subject's, or the incumbent's mean.
func (g *guided) bar() float64 {
	if g.incumbent != nil {
		return mean(g.incumbent.scores)
	}
	return g.base
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// clearly says whether a score is better than another by more than chance has it: half the standard error of a share of n rows (both are
// measured on the same rows, so that their difference varies less than either), one row at least; lowerShare of an error.
func (g *guided) clearly(score, than float64) bool {
	m := g.setup.metric()
	if math.IsNaN(than) || math.IsInf(than, 0) {
		return !math.IsNaN(score) && !math.IsInf(score, 0)
	}
	if !m.Maximize() {
		return score < than-lowerShare*math.Abs(than)
	}
	n := float64(g.setup.rows())
	return score > than+max(1/n, math.Sqrt(max(0, than*(1-than))/n)/2)-1e-12
}

// finished says whether there is enough: nothing above the incumbent, or no progress for long.
func (g *guided) finished() bool {
	if g.incumbent == nil || len(g.out) > 0 {
		return false
	}
	bar, good := g.bar(), false
	if g.setup.metric().Maximize() { // the metrics that are maximised end at 1
		good = bar >= goodShare || 1-bar <= (1-goodShare)*(1-g.base)
		if bar >= 1-1/float64(g.setup.rows()) {
			return true
		}
	} else {
		good = math.Abs(bar) <= (1-goodShare)*math.Abs(g.base)
	}
	tried, want := 0, enough
	for _, a := range g.arms {
		if a.valid && !a.over && g.clearly(a.score, bar) { // a short training is better already
			return false
		}
		if a.batch == g.incumbent && (a.rung > 0 || a.over) {
			tried++
		}
	}
	since := g.spent - g.since
	if good { // never by comparison with a faulty subject that diverged: anything that trains is better
		if want = enoughGood; g.used > 0 && since > goodPatience*g.spent/g.used {
			return true
		}
	}
	return tried >= want && since >= minPatience
}

// promising is the arm to be trained on, if there is one: better than the bar already, or among the best of its rung.
func (g *guided) promising() (*arm, string) {
	ready := func(a *arm) bool { return a.rung > 0 && (a.rung == 1 || g.screened >= minScreened) }
	if a := g.best(func(a *arm) bool { return ready(a) && g.clearly(a.score, g.bar()) }); a != nil {
		return a, "better than all that was trained to the end"
	}
	if a := g.best(func(a *arm) bool { return g.incumbent != nil && a.rung > 0 && !g.clearly(g.bar(), a.score) }); a != nil {
		return a, "as good as all that was trained to the end, in a shorter training"
	}
	if a := g.best(g.evident); a != nil {
		return a, "evidence points at it, and it keeps up with what it is to be better than"
	}
	for rung := len(g.rungs) - 1; rung >= 1; rung-- {
		groups := map[*arm][]*arm{}
		var bases []*arm
		for _, a := range g.arms {
			if a.rung >= rung && a.valid || a.rung == rung {
				if groups[a.batch] == nil {
					bases = append(bases, a.batch)
				}
				groups[a.batch] = append(groups[a.batch], a)
			}
		}
		for _, b := range bases {
			if a := g.promote(groups[b], rung); a != nil {
				return a, fmt.Sprintf("among the best of %d after %.3g of a training", len(groups[b]), g.rungs[rung-1])
			}
		}
	}
	return nil, ""
}

// evident says of an arm on top of the incumbent whether static evidence is strong enough to train it on as long as it keeps up with the
// incumbent: what is wrong for certain may show late.
func (g *guided) evident(a *arm) bool {
	in := g.incumbent
	if in == nil || a.batch != in || a.rung == 0 || a.weight < certain || !g.has(Diagnosis) {
		return false
	}
	if a.rung > len(in.history) || math.IsNaN(in.history[a.rung-1]) { // a continued training has no score there
		return false
	}
	return !g.clearly(in.history[a.rung-1], a.score)
}

// promote finds an arm among the best 1/reduction of those that have reached a rung, that has not gone further.
func (g *guided) promote(all []*arm, rung int) *arm {
	passed := 0
	for _, a := range all {
		if a.rung > rung || a.pending {
			passed++
		}
	}
	if passed >= len(all)/reduction {
		return nil
	}
	return g.best(func(a *arm) bool { return a.rung == rung && slices.Contains(all, a) })
}

// best is the arm with the best score of those that can go on and that ok accepts; the more suspected of two equals.
func (g *guided) best(ok func(*arm) bool) *arm {
	var top *arm
	m := g.setup.metric()
	for _, a := range g.arms {
		if a.over || a.pending || !ok(a) {
			continue
		}
		if top == nil || m.Better(a.score, top.score) || a.score == top.score && a.weight > top.weight {
			top = a
		}
	}
	return top
}

// fresh is an arm that was not tried: the most suspected one, or one drawn uniformly.
func (g *guided) fresh() (*arm, string) {
	var open []*arm
	for _, a := range g.arms {
		if a.rung == 0 && !a.over && !a.pending && g.affordable(a) {
			open = append(open, a)
		}
	}
	// What was to be tried on the faulty subject, or on an older patch, is tried on top of the incumbent instead.
	if near := slices.DeleteFunc(slices.Clone(open), func(a *arm) bool { return a.batch != g.incumbent }); len(near) > 0 {
		open = near
	}
	if len(open) == 0 {
		return nil, ""
	}
	if g.has(Uniform) && g.rng.Float64() < uniformShare {
		return open[g.rng.IntN(len(open))], "drawn uniformly"
	}
	top := open[0]
	for _, a := range open {
		if a.weight > top.weight {
			top = a
		}
	}
	return top, top.why
}

// affordable keeps continuations, which are as long as whole trainings, from taking more than half of what is left.
func (g *guided) affordable(a *arm) bool {
	if a.from == None || g.used <= 0 {
		return true
	}
	left := g.spent/g.used - g.spent
	e := float64(g.setup.Subject.Recipe.Epochs)
	return epochsOf(g.setup, a.patch)/e/2 <= left/2+1 // it doubles: half of its epochs are new
}

// Recommend is the believed patch; or else the best that a whole training, or at least a part of one, has shown to be better than the faulty
// subject, which the budget left no second training for.
func (g *guided) Recommend() (repair.Patch, bool) {
	if g.incumbent != nil {
		return g.incumbent.patch, true
	}
	var top *arm
	m := g.setup.metric()
	for _, a := range g.arms {
		if !a.valid || slices.Contains(g.rejected, a) || !g.clearly(a.score, g.base) {
			continue
		}
		if top == nil || a.over && !top.over || a.over == top.over && m.Better(a.score, top.score) {
			top = a
		}
	}
	if top == nil {
		return nil, false
	}
	return top.patch, true
}
