package technique

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/train"
)

// guided searches the neighbourhood of the faulty subject, where the fault is evidence and repairs are near: most faults are one edit away, while
// a draw from the whole space is nearly always dead.
//
//  1. The faulty subject is trained to the end. What static rules and its trace show ranks every single edit by suspicion ([diagnose.Suspicion]).
//  2. Edits are tried in that order in short trainings, a share of them uniformly at random, since diagnosis is right in half of the cases only.
//     A training is continued from its checkpoint where it promises something: asynchronous successive halving (Li et al. 2020, "A System for
//     Massively Parallel Hyperparameter Tuning", algorithm 2), and at once where a short training is better than anything that was trained
//     to the end (guided_rungs.go).
//  3. Training longer is one of the edits. It continues a checkpoint, the faulty subject's or that of a patch that was still improving, and is
//     doubled as long as that helps.
//  4. What is better at the end has to be so with a second seed before it is believed, a short training of it where the gain is large
//     (guided_confirm.go); so has the faulty subject's score before evidence that is certain is dropped for it. Then edits are tried on top of
//     it, those first that helped alone, and on the faulty subject still, the more of these the less the patch has gained; where nothing single
//     helps, random pairs and triples of suspects.
//  5. It ends when a believed patch has no room left above it, or no edit is worth what its first training costs (guided_worth.go). The best of many arms is
//     asked for with one more seed before that.
type guided struct {
	ledger
	setup     Setup
	rng       *rand.Rand
	first     float64 // updates of the first rung; 0: all trainings are whole
	arms      []*arm
	ending    operators.Ending
	known     map[string]bool // patches that have an arm, or train alike: canonical names
	out       map[TrialID]job
	suspects  map[repair.Key]diagnose.Suspect
	faulty    []float64                     // scores of the faulty subject, of the search's seed first; none: it has not been trained, or has no score
	floor     float64                       // score of the constant answer that is best on the search rows; NaN: not known
	faultyAt  TrialID                       // its checkpoint; None: there is none
	incumbent *arm                          // believed
	rejected  []*arm                        // better once, not twice
	spent     float64                       // in faulty trainings
	used      float64                       // share of the budget
	came      float64                       // spent when the incumbent came
	hurt      map[repair.Key][]repair.Value // hurtful, as of the last result
	screened  int                           // arms that have left the first rung …
	screening float64                       // … and what that has cost
	drawn     int                           // arms that were new when they were proposed
	curve     []Point                       // of the faulty subject with the search's seed
	again     bool                          // its second seed was told
	rules     string                        // the patch that mends all broken rules
}

// arm is a patch and what is known of it.
type arm struct {
	patch   repair.Patch
	name    string // canonical
	weight  float64
	later   float64 // weight from when the first rungs of all arms have cost as much as it will; 0: none
	why     string
	batch   *arm    // what it is built on: arms of one base compete with each other
	rung    int     // rungs that are done
	score   float64 // at the last of them
	valid   bool
	trial   TrialID // checkpoint of the search's seed
	from    TrialID // checkpoint of another trial that it begins with; None: from scratch
	pending bool
	chance  bool    // it was drawn uniformly
	over    bool    // needs no more trainings
	confirm bool    // waits for its second seed …
	checked bool    // … which was trained short, and did not decide …
	doubted bool    // it was asked for once more, after it was believed
	second  TrialID // … with this checkpoint …
	agreed  bool    // … or agrees, and the faulty subject's second seed has to
	scores  []float64
	among   int                // arms that had left the first rung when it was believed
	before  *arm               // what was believed until then
	epochs  float64            // that are trained
	pace    float64            // what an epoch costs, in faulty trainings; 0: not known
	growing bool               // it was improving when it ended
	fallen  float64            // share of the loss that went in the second half of its epochs; NaN: not known
	doubled bool               // it is another training for twice its epochs …
	half    *arm               // … this one; nil: the faulty subject's
	next    *arm               // the same for twice the epochs; nil: not proposed
	found   []diagnose.Symptom // in its last training with the search's seed
	history []float64          // scores at the rungs, NaN where one was skipped
}

// job is a proposal that is out.
type job struct {
	a       *arm // nil: the faulty subject
	rung    int
	confirm bool
	check   *check // of a confirmation that is short
	doubt   bool   // of an arm that is believed already
}

// Settings of the search.
const (
	reduction    = 4       // of successive halving: the paper's
	minShare     = 1. / 16 // of a training: two reductions below 1
	minUpdates   = 4       // a shorter training does not tell a learning network from a dead one
	uniformEvery = 4       // new arms one is drawn uniformly; PriorBand (NeurIPS 2023) begins with a similar share of uniform samples. Not by chance: luck would cost
	certain      = 30.     // weight of an edit that static evidence asks for: the strongest rules with their preferred values
	twice        = 2       // the weight of other edits is by far more
	minScreened  = 8       // arms to compare before one is trained beyond the second rung
	manyScreened = 16      // arms of which the best is lucky rather than not
	lowerShare   = 0.02    // of an error that must be gained to count, where lower is better
	longerShare  = 0.2     // of the error that is left must go for training twice as long: the one edit that costs what it brings
	probeShare   = 0.1     // of the budget that training longer may cost while it has shown nothing yet
	fallenShare  = 0.05    // of the loss that must go for a training to be learning: less is no decrease to TheDeepChecker
	muteUpdates  = 100     // updates before which most networks show nothing, a tenth of what TheDeepChecker trains a single batch for
	nearShare    = 0.25    // of the new arms that are built on the incumbent at least
	hurtFactor   = 0.1     // of the weight of numbers beyond one that was worse than what it was tried on
	fewRows      = 100     // to search on; with fewer the standard error of a share is above 0.05
	marginal     = 4       // times what counts as better: a gain below that may be the faulty subject's bad luck with one seed
)

func newGuided(s Setup) *guided {
	g := &guided{setup: s, rng: rand.New(rand.NewPCG(s.Seed, 0x677569646564)), // the word "guided"
		ending: operators.FindEnding(s.Subject), known: map[string]bool{"faulty": true}, out: map[TrialID]job{}, floor: math.NaN(), faultyAt: None}
	if !g.has(Learning) {
		g.setup.Suspicion = diagnose.NewTable(diagnose.Counts{}, diagnose.DefaultSettings)
	}
	if g.has(Halving) {
		g.first = max(g.updates(nil), minUpdates)
		for !g.blurred() && g.first/reduction >= max(minUpdates, g.updates(nil)*minShare-1e-9) {
			g.first /= reduction
		}
	}
	if x := s.Subject; x.Model != nil && x.Model.Graph != nil {
		if e, err := train.Constant(x.Model, x.Recipe, x.Data, x.Data.Search, x.Data.Search, 0); err == nil { // else no training of it can begin
			g.floor = e.Score
		}
	}
	g.suspect(nil)
	return g
}

// blurred says that there are too few rows to search on for small differences: those of short trainings, or of one seed.
func (g *guided) blurred() bool { return g.setup.metric().Maximize() && g.setup.rows() < fewRows }

// has says whether an idea is part of this search.
func (g *guided) has(x Idea) bool { return !slices.Contains(g.setup.without, x) }

// suspect ranks all single edits by what symptoms say; arms that are there keep what is known of them.
func (g *guided) suspect(symptoms []diagnose.Symptom) {
	g.suspects = g.suspicion(symptoms)
	if !g.has(Singles) {
		return
	}
	singles := g.singles()
	if c, ok := g.lawful(symptoms, singles); ok && g.has(Together) {
		g.rules = c.patch.String()
		singles = append(singles, c)
	}
	for _, c := range singles {
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

// add makes an arm of a patch, or gives the one that is there, and trains alike, a new weight and, where it was not tried, what it is built on now.
func (g *guided) add(p repair.Patch, weight float64, why string, on *arm) *arm {
	name := g.ending.Canonical(p)
	if g.known[name] {
		for _, a := range g.arms {
			if a.name == name {
				if a.patch.String() == g.rules { // on top of one of its edits it is what it was
					weight = max(a.weight, weight)
				}
				if a.weight, a.why = weight, why; a.rung == 0 && !a.over && !a.pending && a.from == None {
					a.batch = on
				}
			}
		}
		return nil
	}
	g.known[name] = true
	a := &arm{patch: p, name: name, weight: weight, why: why, batch: on, trial: None, from: None, second: None}
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
		return g.end()
	}
	if p, ok := g.second(); ok {
		return p, nil
	}
	if g.waits() {
		return Proposal{}, ErrWait
	}
	if a, why := g.promising(); a != nil {
		return g.train(a, why), nil
	}
	if a, why := g.fresh(); a != nil {
		if top := g.overlooked(twice * g.promise(a)); top != nil && !g.uniform() {
			return g.train(top, "evidence asks for it most, by far: trained to the end, since what is wrong for certain may show late"), nil
		}
		a.chance = g.uniform()
		g.drawn++
		return g.train(a, why), nil
	}
	if g.repaired() {
		return g.end()
	}
	if a := g.best(func(a *arm) bool { return a.rung > 0 }); a != nil {
		return g.train(a, "nothing else is left to try"), nil
	}
	if a := g.combine(); a != nil && (g.has(Composition) || !g.has(Singles)) {
		return g.train(a, a.why), nil
	}
	return Proposal{}, g.nothing()
}

// end proposes what is left to ask before the search ends, if there is anything.
func (g *guided) end() (Proposal, error) {
	if p, ok := g.doubt(); ok && len(g.out) == 0 {
		return g.send(job{a: g.incumbent, rung: g.incumbent.rung, confirm: true, doubt: true}, p), nil
	}
	return Proposal{}, g.nothing()
}

// nothing is what Ask says when there is nothing to propose: for good, unless a result that is out brings something.
func (g *guided) nothing() error {
	if len(g.out) > 0 {
		return ErrWait
	}
	return io.EOF
}

// waits says whether the next proposal depends on a result that is out: on the faulty subject's, whose symptoms rank the edits, or on other seeds,
// which decide what edits are built on. Arms on their rungs do not wait for one another: that is what is asynchronous in this halving.
func (g *guided) waits() bool {
	for _, j := range g.out {
		if j.a == nil || j.confirm {
			return true
		}
	}
	return false
}

// train proposes the next rung of an arm.
func (g *guided) train(a *arm, why string) Proposal {
	from, rung := a.trial, a.rung
	if a.from != None { // it continues a whole training: there is nothing shorter
		from = a.from
		for !g.whole(a.patch, rung) {
			rung++
		}
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
	if j.a != nil {
		j.a.pending = false
	}
	switch {
	case j.a == nil:
		g.tellFaulty(t, score, valid, j.confirm)
	case j.confirm:
		g.tellConfirmation(j, t, score, valid)
	case !valid || t.State == Diverged || t.State == Failed || t.State == OutOfMemory:
		j.a.over, j.a.valid = true, false
	default:
		g.tellArm(j.a, j.rung, t, score)
	}
	g.hurt = g.hurtful()
	return nil
}

// hurtful are the numbers that make things worse alone, as far as is known of the faulty subject by now.
func (g *guided) hurtful() map[repair.Key][]repair.Value {
	out := map[repair.Key][]repair.Value{}
	if g.blurred() {
		return out
	}
	for _, a := range g.arms {
		if len(a.patch) == 1 && !a.patch[0].Value.IsText && a.over && a.valid && g.clearly(g.shown(g.base()), g.shown(a.score)) && !g.soon(a) {
			out[a.patch[0].Key()] = append(out[a.patch[0].Key()], a.patch[0].Value)
		}
	}
	return out
}

// tellArm takes in that an arm has reached a rung.
func (g *guided) tellArm(a *arm, rung int, t Trial, score float64) {
	if a.rung == 0 {
		g.screened, g.screening = g.screened+1, g.screening+float64(t.Cost)
	}
	done := t.Reached
	if t.From != None {
		done -= a.epochs
	}
	if done > 0 {
		a.pace = float64(t.Cost) / done
	}
	a.rung, a.score, a.valid, a.trial, a.from, a.epochs = rung+1, score, true, t.ID, None, t.Reached
	a.found = t.Symptoms
	for len(a.history) < rung {
		a.history = append(a.history, g.past(a, len(a.history)))
	}
	a.history = append(a.history, score)
	a.growing, a.fallen = g.grows(t), fallen(t.Curve)
	if g.incumbent == nil && len(g.faulty) == 0 { // it trains, which the faulty subject does not: something to build on
		a.scores = []float64{score}
		g.believe(a)
	}
	if !g.whole(a.patch, rung) {
		return
	}
	a.over, a.scores = true, []float64{score}
	a.confirm = g.clearly(score, g.bar()) && g.worthwhile(a, score)
	g.supersede(a)
	if !a.confirm || a.doubled && !g.perfect(score) {
		g.lengthen(a)
	}
	if a.confirm && !g.has(Confirmation) {
		a.confirm = false
		g.believe(a)
	}
}

// supersede decides between a training and one of half its epochs that waited for it.
func (g *guided) supersede(a *arm) {
	for _, b := range g.arms {
		if b.next == a && b.confirm {
			if a.confirm = a.confirm && g.clearly(a.score, b.score); a.confirm {
				b.confirm = false
			}
		}
	}
}

// grows says whether a training was still improving when it ended, or has made so few updates that nobody can tell.
func (g *guided) grows(t Trial) bool {
	return t.Steps < diagnose.EnoughUpdates ||
		slices.ContainsFunc(t.Symptoms, func(s diagnose.Symptom) bool { return s.Kind == diagnose.StillImproving })
}

// fallen is the share of the loss that went from the middle of a training to its end; NaN: it has no middle.
func fallen(curve []Point) float64 {
	n := len(curve)
	if n < 2 {
		return math.NaN()
	}
	before, after := float64(curve[n/2-1].Loss), float64(curve[n-1].Loss)
	return (before - after) / math.Abs(before)
}

// worthwhile says whether what an edit brings on top of the incumbent is enough to keep it, and what a longer training brings is worth its cost:
// search, verdict and every training after it pay for it.
func (g *guided) worthwhile(a *arm, score float64) bool {
	than := g.bar()
	if g.incumbent != nil && len(a.patch) > len(g.incumbent.patch) && math.Abs(score-than) < Margin(g.setup.metric(), g.origin(), score) {
		return false
	}
	if !a.doubled || math.IsNaN(than) || math.IsInf(than, 0) {
		return true
	}
	if g.setup.metric().Maximize() { // the metrics that are maximised end at 1; far from it, twice the lead on a constant answer is enough
		return score-than >= longerShare*(1-than) || score-than >= than-g.floor
	}
	return than-score >= longerShare*math.Abs(than)
}

func (g *guided) tellFaulty(t Trial, score float64, valid, again bool) {
	if valid { // else a second seed is worse than what is known of it
		g.faulty = append(g.faulty, score)
	}
	if again {
		g.again = true
		asked := false
		for _, a := range g.arms {
			if a.agreed {
				asked = true
				g.settle(a, g.clearly(mean(a.scores), g.bar()))
			}
		}
		if !asked && g.incumbent == nil { // it was asked for its luck
			if a := g.contradiction(); a != nil && !g.clearly(g.bar(), a.score) {
				a.confirm = true
			}
		}
		return
	}
	g.curve = t.Curve
	if t.State == Completed && t.Steps > 0 {
		g.faultyAt = t.ID
	}
	g.suspect(t.Symptoms)
	if a := g.longer(nil, g.faultyAt, g.suspects[epochsKey].Weight, nil); a != nil {
		a.pace = float64(t.Cost) / max(1, t.Reached)
	}
}

// base is the faulty subject's score; NaN where it has none.
func (g *guided) base() float64 {
	if len(g.faulty) == 0 {
		return math.NaN()
	}
	return mean(g.faulty)
}

// origin is where gains are measured from: the faulty subject's score, or a constant answer's where it has none.
func (g *guided) origin() float64 {
	if base := g.base(); !math.IsNaN(base) && !math.IsInf(base, 0) {
		return base
	}
	return g.floor
}

// bar is the score that a patch has to beat: the incumbent's mean, or the base. Beside a faulty subject that diverged it is a constant answer's at
// least: there, training at all is no gain.
func (g *guided) bar() float64 {
	bar := g.base()
	if g.incumbent != nil {
		bar = mean(g.incumbent.scores)
	}
	if math.IsNaN(g.base()) && g.setup.metric().Better(g.floor, bar) {
		return g.floor
	}
	return bar
}

// paired is the bar with the search's seed alone, which a score with that seed is held to when the question is whether it is worse: seeds differ by more
// than edits do, and one that is lucky or not is so for both.
func (g *guided) paired() float64 {
	switch {
	case g.incumbent != nil && len(g.incumbent.scores) > 0:
		return g.incumbent.scores[0]
	case g.incumbent == nil && len(g.faulty) > 0:
		return g.faulty[0]
	}
	return g.bar()
}

// worse says whether a score with the search's seed is clearly worse than the bar with that seed.
func (g *guided) worse(score float64) bool { return g.clearly(g.shown(g.paired()), g.shown(score)) }

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// clearly says whether a score is better than another by more than chance has it: half the standard error of a share of n rows (both are
// measured on the same rows, so that their difference varies less than either), one row at least; lowerShare of an error.
func (g *guided) clearly(score, than float64) bool { return g.better(score, than, 1) }

// better is clearly for a multiple of that.
func (g *guided) better(score, than, times float64) bool {
	m := g.setup.metric()
	if math.IsNaN(than) || math.IsInf(than, 0) {
		return !math.IsNaN(score) && !math.IsInf(score, 0)
	}
	if !m.Maximize() {
		return score < than-times*lowerShare*math.Abs(than)
	}
	n := float64(g.setup.rows())
	return score > than+times*max(1/n, math.Sqrt(max(0, than*(1-than))/n)/2)-1e-12
}

// perfect says whether a score leaves nothing to be gained: the metrics that are maximised end at 1.
func (g *guided) perfect(score float64) bool {
	return g.setup.metric().Maximize() && score >= 1-1/float64(g.setup.rows())
}

// fresh is an arm that was not tried and is worth it: the most suspected one, or every fourth time one drawn uniformly. It is the same until it is proposed.
func (g *guided) fresh() (*arm, string) {
	rng := g.draw()
	open := g.untried(rng)
	if g.uniform() && len(open) > 0 {
		return open[rng.IntN(len(open))], "drawn uniformly"
	}
	if top := g.suspected(open); top != nil {
		return top, top.why
	}
	return nil, ""
}

// untried are the arms of which the next new one comes: built on the incumbent, or on the faulty subject or an older patch, the more often the less the
// incumbent has gained: a patch that helps a little must not hide the one that is needed.
func (g *guided) untried(rng *rand.Rand) []*arm {
	shares := g.shares()
	var near, far []*arm
	for _, a := range g.arms {
		switch {
		case a.rung > 0 || a.over || a.pending || !g.affordable(a) || a.half != nil && g.behind(a.half) || !g.worth(a, shares):
		case a.batch == g.incumbent:
			near = append(near, a)
		default:
			far = append(far, a)
		}
	}
	if g.incumbent != nil && len(far) > 0 && (len(near) == 0 || rng.Float64() >= g.nearness()) {
		return far
	}
	return near
}

// draw is the chance that decides what is new; the same until that is proposed.
func (g *guided) draw() *rand.Rand { return rand.New(rand.NewPCG(g.setup.Seed, uint64(g.drawn))) }

// next is the most suspected arm that was not tried and is worth it: what else is compared with, also where the next one is drawn uniformly. nil: there is none.
func (g *guided) next() *arm { return g.suspected(g.untried(g.draw())) }

// suspected is the most suspected of some arms; nil: there is none.
func (g *guided) suspected(arms []*arm) *arm {
	var top *arm
	most := math.Inf(-1)
	for _, a := range arms {
		v := g.promise(a)
		if a.from == None { // what costs more has to be suspected more; training longer has its price in its weight
			v /= max(1, g.dear(a))
		}
		if v > most {
			top, most = a, v
		}
	}
	return top
}

// nearness is the share of the new arms that are built on the incumbent: as large as what that has gained of the error. Where the faulty subject has no score,
// because it diverges, what lets it train is needed whatever else is.
func (g *guided) nearness() float64 {
	if len(g.faulty) == 0 {
		return 1 - nearShare
	}
	return max(nearShare, g.gained())
}

// uniform says whether the next arm that was not tried is drawn uniformly.
func (g *guided) uniform() bool { return g.has(Uniform) && g.drawn%uniformEvery == uniformEvery-1 }

// alike are operators whose good values do the same: where three of them changed nothing, a fourth seldom will.
var alike = map[string]bool{"kernel_initializer": true, "bias_initializer": true, "activation": true, "add_activation": true}

// promise is an arm's weight, more when it is its turn, less where a number goes further in a direction that hurt, and where values that are alike were tried in vain.
func (g *guided) promise(a *arm) float64 {
	w := a.weight
	if a.later > w && g.screening >= a.pace*a.epochs { // what it continues was paid for
		w = a.later
	}
	if len(a.patch) == 1 && alike[a.patch[0].Operator] {
		tried := 0
		for _, b := range g.arms {
			if b != a && b.rung > 0 && len(b.patch) == 1 && b.patch[0].Key() == a.patch[0].Key() && !g.clearly(b.score, g.bar()) {
				tried++
			}
		}
		w /= float64(1 + tried)
	}
	for _, e := range a.patch {
		x, ok := g.setup.Space.Slot(e.Key())
		if !ok {
			continue
		}
		now := x.Current.Number
		for _, bad := range g.hurt[e.Key()] {
			if v := e.Value.Number; (bad.Number-now)*(v-now) > 0 && math.Abs(v-now) >= math.Abs(bad.Number-now) {
				w *= hurtFactor
				break
			}
		}
	}
	return w
}

// Recommend is the believed patch; or else the best that a whole training, or at least a part of one, has shown to be better than the faulty
// subject, which the budget left no second training for. What is better than a constant answer comes before what is not, which is given all the
// same: the verdict will say why it is no repair.
func (g *guided) Recommend() (repair.Patch, bool) {
	if g.tells(1) {
		return g.incumbent.patch, true
	}
	if a := g.leading(g.floor); a != nil {
		return a.patch, true
	}
	if g.incumbent != nil {
		return g.incumbent.patch, true
	}
	if a := g.leading(math.NaN()); a != nil {
		return a.patch, true
	}
	return nil, false
}

// leading is the arm with the best score of the whole trainings, or else of all, that are better than the faulty subject and than a bar, without those
// that a second seed has refuted.
func (g *guided) leading(bar float64) *arm {
	var top *arm
	m := g.setup.metric()
	for _, a := range g.arms {
		if !a.valid || slices.Contains(g.rejected, a) || !g.clearly(a.score, g.base()) || !g.clearly(a.score, bar) {
			continue
		}
		if top == nil || a.over && !top.over || a.over == top.over && m.Better(a.score, top.score) {
			top = a
		}
	}
	return top
}
