// Package study runs searches and keeps them: it asks a technique, trains what it proposes on the training rows, scores it on the search
// rows, tells it, and writes every finished trial to an append-only journal before it asks again. What the search finds is minimised and
// then judged once, on hold-out rows that nothing has looked at before.
//
// A journal, and the subject that its header names by digest, hold all that a study knows: a study that was killed goes on with the very
// trials that an unbroken one makes, since techniques are deterministic and trainings repeat to the bit on one device. Checkpoints are kept in
// memory only and made again where they are missing.
package study

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"slices"
	"sync"
	"time"

	"netmend/data"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/technique"
)

// Config is a study. Zero values of the fields below the line mean what they say.
type Config struct {
	Subject   repair.Subject
	Operators repair.Operators
	Technique string
	Budget    Budget
	Seed      uint64
	Start     Start
	Device    string // name, for journal and report
	Journal   string // path
	Resume    bool   // go on with the journal that is there
	// ----
	Keys            []repair.Key    // slots to search; nil: all
	MinEpochs       int             // see technique.Setup
	Suspicion       *diagnose.Table // likewise
	Cost            CostModel       // zero: DefaultCost
	Seeds           int             // pairs of trainings of the verdict; zero: DefaultSeeds
	MinGain         float64         // what a repair gains at least, see Report.MinGain; zero: DefaultMinGain; negative: anything that is proven
	MinimizeTimes   float64         // what minimisation may spend, in faulty trainings; zero: DefaultMinimizeTimes; negative: no minimisation
	CheckpointBytes int             // memory for checkpoints; zero: 1 GiB
	// SearchOnly ends the study with the search: there is no minimisation and no verdict. The model of every trial is scored on the hold-out
	// rows too, for the journal and Progress; the technique does not learn of it. Benchmarks whose protocol has no verdict need that.
	SearchOnly bool
	// Parallel is the number of trainings at a time; zero: 1. Minimisation and verdict do not depend on it; the search does, where its technique
	// proposes without the results that are out (technique.Technique). A study that is resumed has the same.
	Parallel int
	Progress func(Progress)   // called after every trial and training of the verdict; nil: not
	Clock    func() time.Time // nil: time.Now
}

// DefaultSeeds are enough for one pair of six that goes slightly the other way: the exact one-sided Wilcoxon test then still gives p = 2/64.
const DefaultSeeds = 6

// DefaultMinGain is a twentieth of what the faulty subject is better than a constant answer by: a model that is all right can nearly always be improved by a
// little, with a longer training say, and a tool that calls this a repair finds faults everywhere. Repairs of the benchmark's faults gain 0.23 of it or
// more, where the faulty subject is better than a constant answer at all; see docs/benchmark/healthy.md for what is found in subjects without a fault.
const DefaultMinGain = 0.05

// DefaultMinimizeTimes pays for the paired trainings of a patch of two or three edits.
const DefaultMinimizeTimes = 10

const (
	defaultCheckpointBytes = 1 << 30
	bootstrapResamples     = 10000
	// maxBarren ends a search whose proposals all cost nothing because none of them can be trained.
	maxBarren = 1000
)

// Phase is what a study is doing.
type Phase string

// The phases.
const (
	Searching  Phase = "search"
	Minimizing Phase = "minimize"
	Judging    Phase = "verdict"
)

// Progress is how far a study is.
type Progress struct {
	Phase   Phase
	Trials  int              // finished trials of the search
	Trial   *technique.Trial // the one that has just finished; nil in the other phases
	Best    float64          // best valid score on the search rows; NaN: none
	Faulty  float64          // score of the faulty subject; NaN: not known
	Used    float64          // share of the budget, 0..1
	Done    int              // trainings of the phase that are done, of Of; the search counts trials and has no Of
	Of      int
	Elapsed time.Duration // of the search, the time before a resume included
	Left    time.Duration // estimate for the search from what was used so far; 0: not known
	Replay  bool          // read from the journal
	Holdout float64       // score of the trial's model on the hold-out rows with SearchOnly; NaN: none
}

// ErrInterrupted wraps the cause of the context's end, or an error that is NoResult: the journal holds every finished trial, and Resume goes on.
var ErrInterrupted = errors.New("study: interrupted")

// session is a study at work.
type session struct {
	Config
	j       *journal
	search  repair.Subject // without hold-out rows
	static  []diagnose.Symptom
	store   *store
	account *account
	busy    *stopwatch
	trials  []technique.Trial // that were told
	best    int               // number of the trial with the best score; -1: none
	elapsed time.Duration
	runs    map[runKey]runLine
	runCost float64
	// minimized is the part of runCost that minimisation spent.
	minimized float64
	runTime   float64
	chosen    *technique.TrialID // by a technique.Chooser

	crowning sync.Mutex // of champion
	champion *champion
}

// Run makes a study or goes on with one.
func Run(ctx context.Context, c Config) (Report, error) {
	ctx, start, stop := untilLost(ctx, c.Start)
	defer stop()
	c.Start = start
	s, err := open(c)
	if err != nil {
		return Report{}, err
	}
	defer s.j.Close()
	report, err := s.all(ctx)
	if err != nil && ctx.Err() != nil {
		trials, _ := s.account.ended()
		return Report{}, fmt.Errorf("%w: %w: %d finished trials are in %s", ErrInterrupted, context.Cause(ctx), trials, c.Journal)
	}
	return report, err
}

// all is search, minimisation and verdict.
func (s *session) all(ctx context.Context) (Report, error) {
	patch, found, err := s.searchFor(ctx)
	if err != nil {
		return Report{}, err
	}
	if s.SearchOnly {
		r := s.summary(patch)
		r.Verdict, r.Reason = NoRepair, "the search alone was asked for"
		s.totals(&r)
		return r, nil
	}
	if found {
		if patch, err = s.minimize(ctx, patch); err != nil {
			return Report{}, err
		}
	}
	s.minimized = s.runCost
	return s.judge(ctx, patch, found)
}

func open(c Config) (*session, error) {
	if err := c.Budget.check(); err != nil {
		return nil, err
	}
	if c.Cost == (CostModel{}) {
		c.Cost = DefaultCost
	}
	if c.Seeds == 0 {
		c.Seeds = DefaultSeeds
	}
	if c.MinGain == 0 {
		c.MinGain = DefaultMinGain
	}
	_, without, err := technique.Parse(c.Technique)
	if err != nil {
		return nil, err
	}
	if slices.Contains(without, technique.Minimization) {
		c.MinimizeTimes = -1
	}
	if c.MinimizeTimes == 0 {
		c.MinimizeTimes = DefaultMinimizeTimes
	}
	if c.CheckpointBytes == 0 {
		c.CheckpointBytes = defaultCheckpointBytes
	}
	if c.Parallel == 0 {
		c.Parallel = 1
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if err := c.Cost.check(); err != nil {
		return nil, err
	}
	switch d := c.Subject.Data; {
	case c.Subject.Model == nil || c.Subject.Model.Graph == nil:
		return nil, errors.New("study: the subject has no model")
	case c.Parallel < 1:
		return nil, fmt.Errorf("study: %d trainings at a time: must be at least 1", c.Parallel)
	case c.Seeds < 1 || c.Seeds > 1000:
		return nil, fmt.Errorf("study: %d pairs of trainings for the verdict: must be from 1 to 1000", c.Seeds)
	case math.IsNaN(c.MinGain) || math.IsInf(c.MinGain, 0):
		return nil, fmt.Errorf("study: a repair gains %v at least: must be finite", c.MinGain)
	case len(d.Train) == 0 || len(d.Search) == 0 || len(d.Holdout) == 0:
		return nil, fmt.Errorf("study: %d training, %d search and %d hold-out rows: each part needs one at least", len(d.Train), len(d.Search), len(d.Holdout))
	}
	if err := c.Subject.Recipe.Check(); err != nil {
		return nil, fmt.Errorf("study: recipe: %w", err)
	}
	digest, err := Digest(c.Subject)
	if err != nil {
		return nil, err
	}
	h := header{Kind: "header", Version: journalVersion, Subject: digest, Technique: c.Technique, Budget: c.Budget.String(), Seed: c.Seed,
		Device: c.Device, Cost: c.Cost, Seeds: c.Seeds, MinimizeX: c.MinimizeTimes, Resamples: bootstrapResamples,
		SearchOnly: c.SearchOnly}
	if c.Parallel > 1 {
		h.Parallel = c.Parallel
	}
	if technique.Suspects(c.Technique) {
		if c.Suspicion == nil {
			c.Suspicion = diagnose.Shipped()
		}
		h.Suspicion = c.Suspicion.ID()
	}
	s := &session{Config: c, search: c.Subject, store: newStore(c.CheckpointBytes), account: newAccount(),
		busy: &stopwatch{now: c.Clock}, best: -1, runs: map[runKey]runLine{}}
	s.search.Data.Holdout = nil
	s.static = diagnose.Static(s.search, c.Operators.Space(s.search))
	open := createJournal
	if c.Resume {
		open = openJournal
	}
	if s.j, err = open(c.Journal, h); err != nil {
		return nil, err
	}
	for _, r := range s.j.runs {
		s.runs[runKey{r.Kind, r.Patch.String(), r.Seed}] = r
	}
	return s, nil
}

// Digest is the SHA-256 of everything that trainings of a subject depend on: the encoded model, the recipe, the data and its parts.
func Digest(s repair.Subject) (string, error) {
	h := sha256.New()
	model, err := s.Model.Encode()
	if err != nil {
		return "", fmt.Errorf("study: digest: %w", err)
	}
	recipe, err := s.Recipe.Marshal()
	if err != nil {
		return "", fmt.Errorf("study: digest: %w", err)
	}
	hashBytes(h, model)
	hashBytes(h, recipe)
	for _, arrays := range [][]data.Array{s.Data.Inputs, s.Data.Targets} {
		hashInts(h, len(arrays))
		for i := range arrays {
			a := &arrays[i]
			hashBytes(h, []byte(a.Name))
			hashInts(h, a.Shape...)
			hashInts(h, len(a.Float), len(a.Int))
			// Errors: a hash takes every write.
			_ = binary.Write(h, binary.LittleEndian, a.Float)
			_ = binary.Write(h, binary.LittleEndian, a.Int)
		}
	}
	for _, rows := range [][]int32{s.Data.Train, s.Data.Search, s.Data.Holdout} {
		hashInts(h, len(rows))
		_ = binary.Write(h, binary.LittleEndian, rows)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashBytes(h hash.Hash, b []byte) {
	hashInts(h, len(b))
	h.Write(b)
}

func hashInts(h hash.Hash, values ...int) {
	for _, v := range values {
		_ = binary.Write(h, binary.LittleEndian, int64(v))
	}
}

// SeedFor derives the seeds of a run's parts from its own: 31 bits, so that every JSON reader keeps them.
func SeedFor(seed uint64, part string, i int) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", part, seed, i))
	return binary.LittleEndian.Uint64(sum[:]) & (1<<31 - 1)
}

// report fills in what all progress says.
func (s *session) report(p Progress) {
	if s.Progress == nil {
		return
	}
	p.Trials, p.Best, p.Faulty, p.Elapsed = len(s.trials), math.NaN(), math.NaN(), s.elapsed
	if s.best >= 0 {
		p.Best = float64(s.trials[s.best].Score.Value)
	}
	if n := len(s.trials); n > 0 {
		p.Used = float64(s.trials[n-1].Used)
		if s.trials[0].Score.Valid {
			p.Faulty = float64(s.trials[0].Score.Value)
		}
		if p.Phase == Searching && p.Used > 0 {
			p.Left = time.Duration(float64(s.elapsed) * (1 - p.Used) / p.Used)
		}
	}
	s.Progress(p)
}
