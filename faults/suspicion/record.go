package suspicion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"netmend/engine"
	"netmend/faults"
	"netmend/faults/mutate"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/repair/study"
	"netmend/train"
)

// Record is a healthy subject, which has no operator, or a mutant that was tried.
type Record struct {
	Subject  string          `json:"subject"`
	Family   string          `json:"family"`          // the network's name
	Fault    string          `json:"fault,omitempty"` // of the benchmark; it is not learned from, and Undo is its ground truth
	Operator string          `json:"operator,omitempty"`
	Target   string          `json:"target,omitempty"`
	Value    *repair.Value   `json:"value,omitempty"`
	Scores   []repair.Number `json:"scores"`          // on the test rows
	Cause    string          `json:"cause,omitempty"` // why it cannot be trained
	Worse    bool            `json:"worse,omitempty"`
	// Of a healthy subject and of a mutant that is worse:
	Undo     []repair.Key `json:"undo,omitempty"`
	Symptoms []Seen       `json:"symptoms,omitempty"`
	Slots    []Slot       `json:"slots,omitempty"` // of its space
}

// Slot is a slot with its current value.
type Slot struct {
	repair.Key
	Current repair.Value `json:"current"`
}

// Seen is a symptom without its numbers. Epoch 0: before training.
type Seen struct {
	Kind  diagnose.Kind `json:"kind"`
	Node  string        `json:"node,omitempty"`
	Epoch int           `json:"epoch,omitempty"`
}

func (r Record) name() string {
	v := ""
	if r.Value != nil {
		v = r.Value.String()
	}
	return fmt.Sprintf("%s %s %s %q %s", r.Subject, r.Fault, r.Operator, r.Target, v)
}

const (
	healthySeeds = 5
	mutantSeeds  = 3
)

// worse is DeepCrime's criterion on fewer trainings.
var worse = mutate.Criterion{Runs: mutantSeeds, P: 0.05, Effect: 0.5}

// Config is a making of records.
type Config struct {
	Device   engine.Device
	Root     string // folder of the data sets
	Journal  string // every record is a line of it before the next is made; one that is there is gone on with
	Seed     uint64
	Progress func(Record)
}

// header is the first line of the journal.
type header struct {
	Kind    string `json:"kind"`
	Version int    `json:"version"`
	Device  string `json:"device"`
	Seed    uint64 `json:"seed"`
}

type maker struct {
	Config
	start study.Start
	lines *study.Lines
	known map[string]Record
	made  []Record
}

// Make gives the records of the subjects' mutants and of the faults, in a fixed order.
func Make(ctx context.Context, c Config, subjects []Subject, list []faults.Fault) ([]Record, error) {
	m := &maker{Config: c, start: study.OnDevice(c.Device), known: map[string]Record{}}
	if err := m.open(); err != nil {
		return nil, err
	}
	defer m.lines.Close()
	for _, x := range subjects {
		if err := m.subject(ctx, x); err != nil {
			return nil, fmt.Errorf("suspicion: subject %s: %w", x.Name, err)
		}
	}
	for _, f := range list {
		if err := m.fault(ctx, f); err != nil {
			return nil, fmt.Errorf("suspicion: fault %s: %w", f.ID, err)
		}
	}
	return m.made, nil
}

func (m *maker) open() error {
	want := header{"suspicion", 1, m.Device.Name(), m.Seed}
	if _, err := os.Stat(m.Journal); errors.Is(err, os.ErrNotExist) {
		var err error
		m.lines, err = study.CreateLines(m.Journal, want)
		return err
	}
	var err error
	m.lines, err = study.OpenLines(m.Journal, want, func(line []byte, n int) error {
		if n == 1 {
			var h header
			if err := json.Unmarshal(line, &h); err != nil || h != want {
				return fmt.Errorf("the journal is of another making: %s", line)
			}
			return nil
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		m.known[r.name()] = r
		return nil
	})
	return err
}

// keep writes a record down.
func (m *maker) keep(r Record) error {
	if _, there := m.known[r.name()]; !there {
		if err := m.lines.Append(r); err != nil {
			return err
		}
		m.known[r.name()] = r
	}
	m.made = append(m.made, r)
	if m.Progress != nil {
		m.Progress(r)
	}
	return nil
}

func (m *maker) subject(ctx context.Context, x Subject) error {
	healthy, err := x.Load(m.Root)
	if err != nil {
		return err
	}
	original := Record{Subject: x.Name, Family: x.Network}
	if r, ok := m.known[original.name()]; ok {
		original = r
	} else {
		for seed := range uint64(healthySeeds) {
			v, err := m.score(ctx, healthy, seed+1)
			if err != nil {
				return err
			}
			original.Scores = append(original.Scores, v)
		}
		if err := m.diagnose(ctx, healthy, &original); err != nil {
			return err
		}
	}
	if err := m.keep(original); err != nil {
		return err
	}
	for _, list := range candidates(healthy, x.Name, m.Seed) {
		found := 0
		for i, c := range list {
			if i == x.Tries || found == x.Worse {
				break
			}
			r, err := m.try(ctx, x, healthy, original.Scores, c)
			if err == nil {
				err = m.keep(r)
			}
			if err != nil {
				return err
			}
			if r.Worse {
				found++
			}
		}
	}
	return nil
}

// fault looks at a faulty subject of the benchmark, at lite scale under the strict protocol.
func (m *maker) fault(ctx context.Context, f faults.Fault) error {
	r := Record{Subject: f.Network, Family: f.Network, Fault: f.ID}
	if known, ok := m.known[r.name()]; ok {
		return m.keep(known)
	}
	p, err := f.Problem(faults.LiteScale)
	if err != nil {
		return err
	}
	s, err := load(p, m.Root)
	if err != nil {
		return err
	}
	if err := m.diagnose(ctx, s, &r); err != nil {
		return err
	}
	for _, e := range f.FixAt(faults.LiteScale) {
		r.Undo = append(r.Undo, e.Key())
	}
	return m.keep(r)
}

// try makes a mutant, judges it and, where it is worse, looks at it.
func (m *maker) try(ctx context.Context, x Subject, healthy repair.Subject, original []repair.Number, c candidate) (Record, error) {
	r := Record{Subject: x.Name, Family: x.Network, Operator: c.operator, Target: c.target, Value: &c.value}
	if known, ok := m.known[r.name()]; ok {
		return known, nil
	}
	mutant, err := c.apply(healthy, c.value, m.Seed)
	if err != nil {
		r.Cause = err.Error()
		return r, nil
	}
	for seed := range uint64(mutantSeeds) {
		v, err := m.score(ctx, mutant, seed+1)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			r.Cause = err.Error()
			return r, nil
		}
		r.Scores = append(r.Scores, v)
		// A mutant that is as good as a healthy training is not worse by far; two more trainings would rarely say otherwise.
		if slices.ContainsFunc(original, func(o repair.Number) bool { return !mutant.Recipe.Metric.Better(float64(o), float64(v)) }) {
			return r, nil
		}
	}
	j, err := worse.Judge(numbers(original), numbers(r.Scores), healthy.Recipe.Metric)
	if err != nil {
		return r, err
	}
	if r.Worse = j.Killed; !r.Worse {
		return r, nil
	}
	if err := m.diagnose(ctx, mutant, &r); err != nil {
		return r, err
	}
	r.Undo = undo(healthy, mutant, operators.All().Space(mutant), c.mutation)
	return r, nil
}

func numbers(v []repair.Number) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// score trains a subject and gives its score on the test rows. The error says that it cannot be trained.
func (m *maker) score(ctx context.Context, s repair.Subject, seed uint64) (repair.Number, error) {
	s.Recipe = s.Recipe.Clone()
	s.Recipe.Seed = seed
	rows := s.Data.Holdout
	if e := s.Recipe.EarlyStopping; e.Patience == 0 || e.Monitor != "metric" { // spare the evaluation after every epoch
		s.Data.Holdout = slices.Concat(s.Data.Search, s.Data.Holdout)
		s.Data.Search = nil
	}
	t, err := m.start(s, train.Options{})
	if err != nil {
		return 0, err
	}
	defer t.Close()
	outcome, err := t.Fit(ctx, s.Recipe.Epochs)
	if err != nil {
		return 0, err
	}
	if outcome == train.Diverged {
		return repair.Number(s.Recipe.Metric.Worst()), nil
	}
	return study.Score(ctx, t, s.Recipe.Metric, rows)
}

// diagnose notes the symptoms that a search would see, and the slots that it would edit.
func (m *maker) diagnose(ctx context.Context, s repair.Subject, r *Record) error {
	s.Data.Holdout = nil
	s.Recipe = s.Recipe.Clone()
	s.Recipe.Seed = 1
	space := operators.All().Space(s)
	report, err := diagnose.Run(ctx, s, space, diagnose.Options{Device: m.Device})
	if err != nil {
		return err
	}
	r.Symptoms = seen(report.Symptoms)
	for _, x := range space {
		r.Slots = append(r.Slots, Slot{x.Key(), x.Current})
	}
	return nil
}

// seen lists symptoms once per kind and node.
func seen(symptoms []diagnose.Symptom) []Seen {
	var out []Seen
	for _, s := range symptoms {
		if !slices.ContainsFunc(out, func(o Seen) bool { return o.Kind == s.Kind && o.Node == s.Node }) {
			out = append(out, Seen{s.Kind, s.Node, s.Epoch})
		}
	}
	return out
}
