// Package technique holds the searchers. All of them live behind two methods, see the same subject, space and seeds, and learn of a trial
// what [Trial] says and nothing else. A technique is a deterministic function of its Setup and of the order in which it was asked
// and told, so that a journal of trials is enough to bring one back to where it was.
package technique

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/technique/hebo"
	"netmend/train"
)

// TrialID numbers trials from 0 in the order in which they were asked for.
type TrialID int

// None is no trial: a training that starts from scratch.
const None TrialID = -1

// Proposal is a training to be made.
type Proposal struct {
	Patch repair.Patch `json:"patch"`
	// Epochs is how far to train, in epochs of the patched recipe, counted from the start also when it is continued; parts of an epoch count
	// in steps. It is at most the patched recipe's.
	Epochs float64 `json:"epochs"`
	// From is the trial whose checkpoint is continued: one that was told, of the same seed and of a patch that differs in the number of epochs
	// at most.
	From TrialID `json:"from"`
	Seed uint64  `json:"seed"` // of initial weights, batch order and dropout
	Why  string  `json:"why"`  // for people who read the journal
}

// State is how a trial ended. All of them are results.
type State string

// The states.
const (
	Completed   State = "completed"     // it reached the epochs that were asked for, or early stopping ended it
	Stopped     State = "stopped"       // the technique's watch ended it; the score is that of what was reached
	Cut         State = "cut"           // the budget ended before; the score is that of what was reached
	Diverged    State = "diverged"      // the loss became non-finite
	OutOfMemory State = "out_of_memory" // the device could not hold it
	Failed      State = "failed"        // the patch cannot be applied, or graph, recipe and data do not go together
)

// Score is the metric on the search part.
type Score struct {
	Value repair.Number `json:"value"`
	Valid bool          `json:"valid"` // there is a model whose outputs are finite; otherwise the score is never a good one
}

// Point is one epoch of a training's curve.
type Point struct {
	Loss  repair.Number `json:"loss"`
	Score repair.Number `json:"score"`
}

// Trial is what became of a proposal.
type Trial struct {
	ID TrialID `json:"id"`
	Proposal
	Score    Score              `json:"score"`
	State    State              `json:"state"`
	Cause    string             `json:"cause,omitempty"` // of a state that is not completed
	Symptoms []diagnose.Symptom `json:"symptoms,omitempty"`
	Cost     repair.Number      `json:"cost"`    // of this trial alone, in trainings of the faulty subject
	Used     repair.Number      `json:"used"`    // share of the budget that is used up after it
	Steps    int                `json:"steps"`   // updates since the start of the training, those of the trials that it continues included
	Reached  float64            `json:"reached"` // epochs, likewise
	Curve    []Point            `json:"curve,omitempty"`
	Found    []string           `json:"found,omitempty"` // what the technique's watch found, in its own words
}

// ErrWait is what Ask gives when a technique cannot propose anything before it is told a result that is out. The next call is a Tell.
var ErrWait = errors.New("technique: nothing can be proposed before a result that is out is told")

// Technique is a searcher. It is used by one goroutine at a time; several proposals may be out at once, asked for and not told yet, and are then
// trained side by side. Which those are is for the technique to say: it proposes what it would not change for a result that is out, or what the
// method that it implements starts without it, and else has the asker wait. Whoever asks and tells in a fixed order, and not in that of arrival,
// gets the same search again.
type Technique interface {
	// Ask gives the next proposal; ErrWait, while proposals are out, when it depends on their results; io.EOF when there is nothing left to
	// propose, whatever results that are out will be, and from then on always. The error is ctx's when that is over.
	Ask(ctx context.Context) (Proposal, error)
	// Tell brings the result of a proposal, in any order. A trial that was told before changes nothing; one that was never asked for is
	// an error.
	Tell(Trial) error
}

// Recommender is a technique that knows better which patch is best than "the one with the best score": because it has seen it with several
// seeds, or trained to the end.
type Recommender interface {
	// Recommend gives the best patch; false when nothing seems better than the faulty subject.
	Recommend() (repair.Patch, bool)
}

// Watcher is a technique that looks at trainings while they run, and may end them.
type Watcher interface {
	// Watch gives what looks at the training of a proposal that is out, from its beginning; nil: nothing does. A training that has to begin
	// again has a new one. Trials that are read from a journal are not watched again: what a watch has found is in Trial.Found, and that is all
	// that the technique may learn of it.
	Watch(Proposal) Watch
}

// Watch looks at one training.
type Watch interface {
	// Every is the number of epochs from one look at the first batch to the next (train.Options.Watch), positive.
	Every() int
	// Epoch takes in an epoch that has ended, in order; one with a loss that is not finite is the last of a training that diverged. What it
	// finds ends the training.
	Epoch(train.Epoch) (found []string)
}

// Chooser is a technique whose result is the model of a certain trial.
type Chooser interface {
	// Chosen is that trial; None where there is none.
	Chosen() TrialID
}

// Shares that make a difference between two patches matter.
const (
	// keptGain: of what the better one gains over the faulty subject. Non-inferiority margins are set as a share of the effect that must be
	// kept (FDA guidance "Non-Inferiority Clinical Trials", 2016); a tenth is far stricter than its half.
	keptGain = 0.1
	// keptError: of the error that the better one leaves. Where the faulty subject was no better than a guess, a tenth of the gain is more
	// than a good network's whole error.
	keptError = 0.25
)

// Margin is by how much a patch may score worse than a better one with more edits, and be preferred to it. origin is what gains are
// measured from: the faulty subject's score, or a constant answer's where it has none; NaN: neither is known.
func Margin(m train.Metric, origin, better float64) float64 {
	left := math.Abs(better) // losses end at 0
	if m.Maximize() {        // the metrics that are maximised end at 1
		left = math.Abs(1 - better)
	}
	margin := keptError * left
	if gain := keptGain * math.Abs(better-origin); gain < margin { // not with NaN
		margin = gain
	}
	if math.IsNaN(margin) || math.IsInf(margin, 0) {
		return 0
	}
	return margin
}

// Setup is what a technique may know.
type Setup struct {
	Subject   repair.Subject // without hold-out rows
	Space     repair.Space
	Operators repair.Operators
	Seed      uint64
	// Keys restricts the slots that are searched; nil: all that the technique knows.
	Keys []repair.Key
	// MinEpochs: random search draws fewer epochs than the faulty ones only above this number. Zero: 1; negative: no bound.
	MinEpochs int
	// Suspicion says what symptoms point at; nil: the shipped table. Only guided asks it.
	Suspicion *diagnose.Table
	without   []Idea // by the technique's name
}

// suspicion is the table that is asked.
func (s Setup) suspicion() *diagnose.Table {
	if s.Suspicion == nil {
		return diagnose.Shipped()
	}
	return s.Suspicion
}

// rows is the number of samples that scores are measured on.
func (s Setup) rows() int { return max(1, len(s.Subject.Data.Search)) }

func (s Setup) metric() train.Metric { return s.Subject.Recipe.Metric }

// slots are the slots that may be searched.
func (s Setup) slots() repair.Space {
	if s.Keys == nil {
		return s.Space
	}
	return slices.DeleteFunc(slices.Clone(s.Space), func(x repair.Slot) bool { return !slices.Contains(s.Keys, x.Key()) })
}

var registry = map[string]func(Setup) (Technique, error){
	autoTrainerName:  func(s Setup) (Technique, error) { return newAutoTrainer(s), nil },
	"bohb":           func(s Setup) (Technique, error) { return newBOHB(s, false) },
	"bohb-published": func(s Setup) (Technique, error) { return newBOHB(s, true) },
	guidedName:       func(s Setup) (Technique, error) { return newGuided(s), nil },
	"hebo":           func(s Setup) (Technique, error) { return newHEBO(s, hebo.Warped) },
	"hebo-plain":     func(s Setup) (Technique, error) { return newHEBO(s, hebo.Plain) },
	"random":         func(s Setup) (Technique, error) { return newRandom(s), nil },
}

// OwnEdits says of a technique by its name whether its edits are its own: it searches no space, and published keys are not meant for it.
func OwnEdits(name string) bool { return name == autoTrainerName }

// Names lists the techniques.
func Names() []string {
	var names []string
	for name := range registry {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// New makes a technique by its name, see [Parse].
func New(name string, s Setup) (Technique, error) {
	base, without, err := Parse(name)
	if err != nil {
		return nil, err
	}
	s.without = without
	if err := s.Subject.Recipe.Check(); err != nil {
		return nil, fmt.Errorf("technique: recipe: %w", err)
	}
	return registry[base](s)
}

// Suspects says whether a technique asks the table of suspicion, so that its trials depend on it.
func Suspects(name string) bool {
	base, without, err := Parse(name)
	return err == nil && base == guidedName && !slices.Contains(without, Diagnosis) && !slices.Contains(without, Learning)
}

// epochsKey is the slot of the number of epochs.
var epochsKey = repair.Key{Operator: "epochs", Target: "recipe"}

// epochsOf is how many epochs a patched recipe has.
func epochsOf(s Setup, p repair.Patch) float64 {
	if v, ok := p.Get(epochsKey); ok {
		return v.Number
	}
	return float64(s.Subject.Recipe.Epochs)
}

// ledger checks that what is told was asked for, and once.
type ledger struct {
	asked int
	told  map[TrialID]bool
}

// accept says whether a trial is news.
func (l *ledger) accept(t Trial) (bool, error) {
	if t.ID < 0 || int(t.ID) >= l.asked {
		return false, fmt.Errorf("technique: trial %d was not asked for: there are %d", t.ID, l.asked)
	}
	if l.told[t.ID] {
		return false, nil
	}
	if l.told == nil {
		l.told = map[TrialID]bool{}
	}
	l.told[t.ID] = true
	return true, nil
}
