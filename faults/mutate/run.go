package mutate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/stats"
	"netmend/repair/study"
	"netmend/repair/technique"
	"netmend/train"
)

// The parts of the data that mutants may be judged on.
const (
	HoldoutPart = "holdout" // DeepCrime's test set
	SearchPart  = "search"
)

// Config is a run of operators over a subject.
type Config struct {
	Subject     repair.Subject
	Operators   []Operator
	Criterion   Criterion
	Part        string // HoldoutPart or SearchPart: the rows that trainings are scored on
	Seed        uint64 // of the trainings and of what is random in data operators
	PerOperator int    // an operator ends with so many killed mutants; zero: it tries all
	Extreme     bool   // a bisection ends with the extreme value: whether it is killed, and not what the least aggressive killed value is
	Start       study.Start
	Device      string // name, for the journal
	Journal     string // path
	Resume      bool   // go on with the journal that is there; it may have other operators than before
	Progress    func(Progress)
	Clock       func() time.Time // nil: time.Now
}

// Progress is a training that is done.
type Progress struct {
	Operator, Site string // empty for the original
	Value          repair.Value
	Done, Of       int
	Score          float64
	Replay         bool // read from the journal
}

// Step is one value that a bisection has tried.
type Step struct {
	Value repair.Value `json:"value"`
	Judgement
}

// Mutant is an operator at a site with a value: for a bisection the least aggressive killed one, or the extreme one where none is killed.
type Mutant struct {
	Operator string       `json:"operator"`
	Site     string       `json:"site"`
	Value    repair.Value `json:"value"`
	Seed     uint64       `json:"seed"`
	Judgement
	Original study.Sample `json:"original"`
	Scores   study.Sample `json:"scores"`
	Cause    string       `json:"cause,omitempty"` // why it cannot be trained; such a mutant is not killed
	Steps    []Step       `json:"steps,omitempty"` // of the bisection, in order
}

// Result is what a run has found.
type Result struct {
	Metric    train.Metric `json:"metric"`
	Part      string       `json:"part"`
	Criterion Criterion    `json:"criterion"`
	Original  study.Sample `json:"original"`
	Mutants   []Mutant     `json:"mutants"`
	Trainings int          `json:"trainings"`
	Seconds   float64      `json:"seconds"` // by the clock, the time before a resume included
}

// header is the first line of the journal: what all trainings have in common.
type header struct {
	Kind    string `json:"kind"` // "header"
	Version int    `json:"version"`
	Subject string `json:"subject"` // study.Digest
	Seed    uint64 `json:"seed"`
	Part    string `json:"part"`
	Device  string `json:"device"`
}

const journalVersion = 1

// runLine is one training. Operator is empty for the original.
type runLine struct {
	Kind     string          `json:"kind"` // "run"
	Operator string          `json:"operator,omitempty"`
	Site     string          `json:"site,omitempty"`
	Value    *repair.Value   `json:"value,omitempty"`
	Run      int             `json:"run"`
	Seed     uint64          `json:"seed"`
	Score    repair.Number   `json:"score"`
	State    technique.State `json:"state"`
	Cause    string          `json:"cause,omitempty"`
	Seconds  float64         `json:"seconds"`
}

func (r runLine) key() string {
	if r.Value == nil {
		return fmt.Sprintf("original %d", r.Run)
	}
	return fmt.Sprintf("%s %q %q %d", r.Operator, r.Site, r.Value.String(), r.Run)
}

// session is a run at work.
type session struct {
	Config
	lines    *study.Lines
	known    map[string]runLine
	rows     []int32 // that trainings are scored on
	original []float64
	result   Result
}

// Run trains the original and the operators' mutants and judges them. Every training is in the journal before the next one begins; a run
// that was ended goes on with Resume and gives the result of an unbroken one. An interrupted run is study.ErrInterrupted.
func Run(ctx context.Context, c Config) (Result, error) {
	s, err := open(c)
	if err != nil {
		return Result{}, err
	}
	defer s.lines.Close()
	err = s.run(ctx)
	if err != nil && ctx.Err() != nil {
		return Result{}, fmt.Errorf("%w: %w: finished trainings are in %s", study.ErrInterrupted, ctx.Err(), c.Journal)
	}
	return s.result, err
}

func open(c Config) (*session, error) {
	if err := c.Criterion.check(); err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	s := &session{Config: c, known: map[string]runLine{}}
	switch c.Part {
	case HoldoutPart:
		s.rows = c.Subject.Data.Holdout
	case SearchPart:
		s.rows = c.Subject.Data.Search
	default:
		return nil, fmt.Errorf("mutate: part %q is not known: %s or %s", c.Part, HoldoutPart, SearchPart)
	}
	if len(s.rows) == 0 {
		return nil, fmt.Errorf("mutate: the data has no %s rows to judge mutants on", c.Part)
	}
	digest, err := study.Digest(c.Subject)
	if err != nil {
		return nil, err
	}
	s.result = Result{Metric: c.Subject.Recipe.Metric, Part: c.Part, Criterion: c.Criterion}
	h := header{"header", journalVersion, digest, c.Seed, c.Part, c.Device}
	if !c.Resume {
		s.lines, err = study.CreateLines(c.Journal, h)
		return s, err
	}
	s.lines, err = study.OpenLines(c.Journal, h, func(line []byte, n int) error { return s.take(line, n, h) })
	return s, err
}

// take reads a line of the journal.
func (s *session) take(line []byte, n int, want header) error {
	if n == 1 {
		var h header
		if err := json.Unmarshal(line, &h); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		if h.Subject != want.Subject {
			return errors.New("the journal is of another run: model, recipe or data have changed since")
		}
		h.Device, want.Device = engine.DeviceModel(h.Device), engine.DeviceModel(want.Device)
		if h != want {
			return fmt.Errorf("the journal is of another run: %+v, asked for is %+v", h, want)
		}
		return nil
	}
	var r runLine
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if r.Kind != "run" {
		return fmt.Errorf("kind %q is not known", r.Kind)
	}
	s.known[r.key()] = r
	return nil
}

func (s *session) run(ctx context.Context) error {
	var cause string
	var err error
	if s.original, cause, err = s.scores(ctx, s.Subject, runLine{}); err != nil {
		return err
	}
	if cause != "" {
		return fmt.Errorf("mutate: the original cannot be trained: %s", cause)
	}
	s.result.Original = sampleOf(s.original)
	for _, o := range s.Operators {
		killed := 0
		for _, x := range o.Sites(s.Subject) {
			mutants, err := s.search(ctx, o, x, s.PerOperator-killed)
			if err != nil {
				return err
			}
			for _, m := range mutants {
				if m.Killed {
					killed++
				}
			}
			s.result.Mutants = append(s.result.Mutants, mutants...)
			if s.PerOperator > 0 && killed >= s.PerOperator {
				break
			}
		}
	}
	return nil
}

// search tries the values of a site, of an exhaustive search no more than it takes for so many killed mutants where enough is positive.
func (s *session) search(ctx context.Context, o Operator, x Site, enough int) ([]Mutant, error) {
	if o.Search == Bisection {
		m, err := s.bisect(ctx, o, x)
		return []Mutant{m}, err
	}
	var out []Mutant
	for _, v := range x.Values {
		m, err := s.try(ctx, o, x, v)
		if err != nil {
			return nil, err
		}
		if out = append(out, m); m.Killed {
			if enough--; enough == 0 {
				break
			}
		}
	}
	return out, nil
}

// bisect tries the extreme value and, where it is killed, halves the range until it is no wider than the site's precision: a killed middle is the
// new extreme, one that is not the new harmless end (DeepCrime's execute_mutants.py). A middle that cannot be trained counts as not killed.
func (s *session) bisect(ctx context.Context, o Operator, x Site) (Mutant, error) {
	best, err := s.try(ctx, o, x, repair.Num(x.To))
	if err != nil || !best.Killed || s.Extreme {
		return best, err
	}
	steps := []Step{{best.Value, best.Judgement}}
	lower, upper := x.From, x.To
	for math.Abs(upper-lower) > x.Precision {
		middle := (lower + upper) / 2
		if x.Whole {
			middle = math.Floor(middle)
		}
		m, err := s.try(ctx, o, x, repair.Num(middle))
		if err != nil {
			return Mutant{}, err
		}
		steps = append(steps, Step{m.Value, m.Judgement})
		if m.Killed {
			best, upper = m, middle
		} else {
			lower = middle
		}
	}
	best.Steps = steps
	return best, nil
}

// try trains one mutant and judges it.
func (s *session) try(ctx context.Context, o Operator, x Site, v repair.Value) (Mutant, error) {
	m := Mutant{Operator: o.ID, Site: x.Target, Value: v, Seed: s.Seed, Original: s.result.Original}
	subject, err := o.Apply(s.Subject, x.Target, v, s.Seed)
	if err != nil {
		m.Cause = err.Error()
		m.P, m.Effect = repair.Number(math.NaN()), repair.Number(math.NaN())
		return m, nil
	}
	scores, cause, err := s.scores(ctx, subject, runLine{Operator: o.ID, Site: x.Target, Value: &v})
	if err != nil {
		return m, err
	}
	m.Scores, m.Cause = sampleOf(scores), cause
	if cause != "" {
		m.P, m.Effect = repair.Number(math.NaN()), repair.Number(math.NaN())
		return m, nil
	}
	m.Judgement, err = s.Criterion.Judge(s.original, scores, s.result.Metric)
	return m, err
}

// scores trains a subject once for every run of the criterion. A subject that does not fit together or into the device's memory cannot be trained
// with any seed: it is tried once, and the cause is given.
func (s *session) scores(ctx context.Context, x repair.Subject, line runLine) (scores []float64, cause string, err error) {
	x = s.lean(x)
	for i := range s.Criterion.Runs {
		line.Kind, line.Run, line.Seed = "run", i, trainSeed(s.Seed, i)
		r, replay := s.known[line.key()]
		if !replay {
			if r, err = s.train(ctx, x, line); err != nil {
				return nil, "", err
			}
			if err := s.lines.Append(r); err != nil {
				return nil, "", err
			}
			s.known[r.key()] = r
		}
		s.result.Trainings++
		s.result.Seconds += r.Seconds
		if s.Progress != nil {
			p := Progress{Operator: r.Operator, Site: r.Site, Done: i + 1, Of: s.Criterion.Runs, Score: float64(r.Score), Replay: replay}
			if r.Value != nil {
				p.Value = *r.Value
			}
			s.Progress(p)
		}
		if r.State == technique.Failed || r.State == technique.OutOfMemory {
			return nil, r.Cause, nil
		}
		scores = append(scores, float64(r.Score))
	}
	return scores, "", nil
}

// lean spares the evaluation after every epoch that the training does not look at: the rows of the search part stay what they are for
// preprocessing, but no longer as a validation set.
func (s *session) lean(x repair.Subject) repair.Subject {
	if e := x.Recipe.EarlyStopping; e.Patience > 0 && e.Monitor == "metric" {
		return x
	}
	x.Data.Holdout = append(append([]int32(nil), x.Data.Search...), x.Data.Holdout...)
	x.Data.Search = nil
	return x
}

// train makes one training. What goes wrong with it is its result; the error is the context's, or one that is study.NoResult.
func (s *session) train(ctx context.Context, x repair.Subject, line runLine) (runLine, error) {
	began := s.Clock()
	x.Recipe = x.Recipe.Clone()
	x.Recipe.Seed = line.Seed
	line.Score = repair.Number(x.Recipe.Metric.Worst())
	err := s.fit(ctx, x, &line)
	if ctx.Err() != nil {
		return line, ctx.Err()
	}
	if study.NoResult(err) {
		return line, fmt.Errorf("%w: %w: finished trainings are in %s", study.ErrInterrupted, err, s.Journal)
	}
	if err != nil {
		line.State, line.Cause = study.FailedState(err), err.Error()
	}
	line.Seconds = math.Round(s.Clock().Sub(began).Seconds()*1000) / 1000
	return line, nil
}

func (s *session) fit(ctx context.Context, x repair.Subject, line *runLine) error {
	t, err := s.Start(x, train.Options{})
	if err != nil {
		return err
	}
	defer t.Close()
	outcome, err := t.Fit(ctx, x.Recipe.Epochs)
	if err != nil {
		return err
	}
	if outcome == train.Diverged {
		line.State, line.Cause = technique.Diverged, "the loss became non-finite"
		return nil
	}
	score, err := study.Score(ctx, t, x.Recipe.Metric, s.rows)
	if err != nil {
		return err
	}
	line.State, line.Score = technique.Completed, score
	return nil
}

func sampleOf(v []float64) study.Sample {
	out := study.Sample{Mean: repair.Number(stats.Mean(v))}
	for _, x := range v {
		out.Values = append(out.Values, repair.Number(x))
	}
	return out
}
