package technique

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"

	"netmend/repair"
	"netmend/repair/operators"
	"netmend/repair/technique/autotrainer"
	"netmend/train"
)

// autoTrainerName is the technique whose edits are its own.
const autoTrainerName = "autotrainer"

// autoTrainer is AutoTrainer (ICSE 2021; the rules are package autotrainer's) in the way "Repairing DNN Architecture: Are We There Yet?" (ICST
// 2023) gave it a budget: whole runs of it one after the other, each with seeds of its own, until the budget is used; a run that does not end
// within it does not count, and the result is the most accurate training of all runs that did (HPO analysis.ipynb, cell 7).
//
// A run trains the faulty subject under the monitor, which ends the training when it sees a problem, and then tries the solutions of that problem
// in order, under the monitor likewise, until a training shows no problem. Every training begins with new initial weights, since a patch is what a
// training from scratch makes of it; the original trains on with the weights that it has, and sets them back to the faulty training's initial ones
// for wrong activations, losses and data alone. Accuracy is the metric on the search rows. Without a problem in the first run there is nothing to repair. Tasks without an accuracy have no monitor and so no problem: the study counts regression as not applicable.
//
// Later proposals depend on what is seen of earlier ones: one is out at a time.
type autoTrainer struct {
	ledger
	setup  Setup
	slots  repair.Space
	ending operators.Ending // of the faulty subject
	rng    *rand.Rand
	over   bool
	out    TrialID // None: nothing is out

	runs    int
	seed    uint64              // of the run: of its faulty training, and of the solutions that keep the initial weights
	search  *autotrainer.Search // nil: the faulty training of a run comes next
	attempt autotrainer.Attempt // that comes next, or is out
	patch   repair.Patch        // of the attempt
	tried   []Trial             // of the run: the attempts by their numbers

	faulty Score
	best   Trial // of all runs that have ended
}

func newAutoTrainer(s Setup) *autoTrainer {
	return &autoTrainer{setup: s, slots: s.slots(), ending: operators.FindEnding(s.Subject), out: None, best: Trial{ID: None},
		rng: rand.New(rand.NewPCG(s.Seed, 0x6175746f))} // the word "auto"
}

// Ask gives the next training of the run, or begins another run.
func (a *autoTrainer) Ask(ctx context.Context) (Proposal, error) {
	switch err := ctx.Err(); {
	case err != nil:
		return Proposal{}, err
	case a.out != None:
		return Proposal{}, ErrWait
	case a.over:
		return Proposal{}, io.EOF
	}
	p := Proposal{Epochs: epochsOf(a.setup, nil), From: None}
	if a.search == nil {
		if p.Seed, p.Why = a.setup.Seed, "the faulty subject"; a.runs > 0 {
			p.Seed, p.Why = a.rng.Uint64()>>1, fmt.Sprintf("run %d begins: the faulty subject", a.runs+1)
		}
		a.runs, a.seed, a.tried = a.runs+1, p.Seed, nil
	} else {
		p.Patch, p.Seed, p.Why = a.patch, a.rng.Uint64()>>1, a.why()
		if keepsWeights(a.attempt.Problem) {
			p.Seed = a.seed
		}
	}
	a.out = TrialID(a.asked)
	a.asked++
	return p, nil
}

// keepsWeights says of which problems the solutions begin with the faulty training's initial weights (modules.py, issue_repair).
func keepsWeights(p autotrainer.Problem) bool {
	return p == autotrainer.WrongActivation || p == autotrainer.WrongLoss || p == autotrainer.AbnormalData
}

func (a *autoTrainer) why() string {
	at := a.attempt
	tries := 1
	for _, s := range autotrainer.Solutions(at.Problem) {
		if s.Name == at.Solution {
			tries = s.Tries
		}
	}
	on := ""
	if at.Base >= 0 {
		on = fmt.Sprintf(", on top of trial %d", a.tried[at.Base].ID)
	}
	return fmt.Sprintf("AutoTrainer sees %s and tries %s, %d of %d%s", at.Problem, at.Solution, at.Try+1, tries, on)
}

// Tell takes in what the monitor has found.
func (a *autoTrainer) Tell(t Trial) error {
	news, err := a.accept(t)
	if err != nil || !news {
		return err
	}
	a.out = None
	found := make([]autotrainer.Problem, len(t.Found))
	for i, x := range t.Found {
		found[i] = autotrainer.Problem(x)
	}
	problem := autotrainer.Foremost(found)
	broken := t.State == Failed || t.State == OutOfMemory
	if t.ID == 0 {
		a.faulty = t.Score
		a.over = broken || problem == ""
	}
	switch {
	case a.over:
	case t.State == Cut: // the budget is used up, and this run does not count
		a.over = true
	case a.search == nil && problem == "": // this run has nothing to repair; another may
	case a.search == nil:
		a.search = autotrainer.NewSearch(problem)
		a.prepare()
	default:
		// A training that cannot be made has solved nothing, nor has one that diverged after the last check.
		if problem == "" && (broken || t.State == Diverged) {
			problem = a.attempt.Problem
		}
		accuracy := a.setup.metric().Worst()
		if t.Score.Valid {
			accuracy = float64(t.Score.Value)
		}
		a.tried = append(a.tried, t)
		a.search.Tell(problem, accuracy)
		a.prepare()
	}
	return nil
}

// prepare finds the next attempt that can be made, or ends the run. A run that finds nothing to try would not do so with other seeds either.
func (a *autoTrainer) prepare() {
	for {
		at, ok := a.search.Next()
		if !ok {
			break
		}
		var base repair.Patch
		if at.Base >= 0 {
			base = a.tried[at.Base].Patch
		}
		patch, can := a.solve(at, base)
		switch can {
		case makes:
			a.attempt, a.patch = at, patch
			return
		case passes:
			a.search.Pass()
		default:
			a.search.Skip()
		}
	}
	a.search, a.over = nil, len(a.tried) == 0
	for _, t := range a.tried {
		if t.Score.Valid && t.State != Diverged && (a.best.ID == None || a.setup.metric().Better(float64(t.Score.Value), float64(a.best.Score.Value))) {
			a.best = t
		}
	}
}

// Chosen is the most accurate attempt of the runs that have ended.
func (a *autoTrainer) Chosen() TrialID { return a.best.ID }

// Recommend gives its patch, unless the faulty subject itself was as accurate.
func (a *autoTrainer) Recommend() (repair.Patch, bool) {
	better := a.best.ID != None && len(a.best.Patch) > 0 &&
		(!a.faulty.Valid || a.setup.metric().Better(float64(a.best.Score.Value), float64(a.faulty.Value)))
	return a.best.Patch, better
}

// Watch is the monitor of a training; tasks that have no accuracy are not watched. The trainings that try a solution are to become more accurate
// than the faulty one has to be.
func (a *autoTrainer) Watch(p Proposal) Watch {
	r := a.setup.Subject.Recipe
	if r.Task != train.Classification || !r.Metric.Maximize() {
		return nil
	}
	params := autotrainer.Defaults()
	if a.search != nil {
		params = autotrainer.RetrainDefaults()
	}
	m, logits := a.seenAs(p.Patch)
	return newMonitorWatch(params, int(p.Epochs), m, logits)
}

// seenAs is what the monitor asks of a patched subject. A loss that reads logits is none of Keras' names but a function of the user's.
func (a *autoTrainer) seenAs(p repair.Patch) (m autotrainer.Model, logits bool) {
	s := a.setup.Subject
	logits = s.Recipe.Loss.FromLogits || s.Recipe.Loss.FromLogProbabilities
	if s.Model == nil {
		return m, logits
	}
	s, err := a.setup.Operators.Apply(s, p)
	if err != nil { // it cannot be trained either
		return m, logits
	}
	e := operators.FindEnding(s)
	if l := s.Recipe.Loss; e.Units > 0 && !l.FromLogits && !l.FromLogProbabilities {
		m = autotrainer.Model{Loss: l.Name, Units: e.Units, Activation: e.Function}
	}
	return m, s.Recipe.Loss.FromLogits || s.Recipe.Loss.FromLogProbabilities
}
