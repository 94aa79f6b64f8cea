package study

import (
	"encoding/json"
	"errors"
	"fmt"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/technique"
)

// journalVersion changes when lines are written or techniques ask differently, so that an old journal is refused and not misread.
const journalVersion = 4

// header is the first line of a journal: everything that decides what the following lines say.
type header struct {
	Kind      string    `json:"kind"` // "header"
	Version   int       `json:"version"`
	Subject   string    `json:"subject"` // SHA-256 of model, recipe and data
	Technique string    `json:"technique"`
	Budget    string    `json:"budget"`
	Seed      uint64    `json:"seed"`
	Device    string    `json:"device"`
	Cost      CostModel `json:"cost"`
	Seeds     int       `json:"verdict_seeds"`
	MinimizeX float64   `json:"minimize_x"`
	Resamples int       `json:"resamples"`
	// SearchOnly is left out where it is false, so that journals from before it was there can be resumed.
	SearchOnly bool `json:"search_only,omitempty"`
	// Suspicion is the table's ID, where the technique asks it.
	Suspicion string `json:"suspicion,omitempty"`
	// Parallel is left out where it is 1.
	Parallel int `json:"parallel,omitempty"`
}

// trialLine is a trial of the search. Where several are trained at a time, lines are in the order in which trainings ended, and Used is of what had
// ended then.
type trialLine struct {
	Kind string `json:"kind"` // "trial"
	technique.Trial
	Seconds float64        `json:"seconds"`           // by the clock, since the training before it ended
	Holdout *repair.Number `json:"holdout,omitempty"` // with Config.SearchOnly
}

// runLine is a whole training outside the search: for minimisation or for the verdict.
type runLine struct {
	Kind    string          `json:"kind"` // "minimize" or "verdict"
	Patch   repair.Patch    `json:"patch"`
	Seed    uint64          `json:"seed"`
	State   technique.State `json:"state"`
	Cause   string          `json:"cause,omitempty"`
	Search  repair.Number   `json:"search"`
	Holdout *repair.Number  `json:"holdout,omitempty"` // verdict only
	Without []repair.Number `json:"without,omitempty"` // the same without each of rowGroups groups of rows
	Cost    repair.Number   `json:"cost"`
	Seconds float64         `json:"seconds"`
}

// journal is the study's Lines with what they hold.
type journal struct {
	*Lines
	trials map[technique.TrialID]trialLine // read from the file
	runs   []runLine
}

// createJournal starts a new file.
func createJournal(path string, h header) (*journal, error) {
	lines, err := CreateLines(path, h)
	return &journal{Lines: lines, trials: map[technique.TrialID]trialLine{}}, err
}

// openJournal reads a file to go on with it.
func openJournal(path string, h header) (*journal, error) {
	j := &journal{trials: map[technique.TrialID]trialLine{}}
	var err error
	j.Lines, err = OpenLines(path, h, func(line []byte, n int) error { return j.take(line, n, h) })
	return j, err
}

func (j *journal) take(line []byte, n int, want header) error {
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if (n == 1) != (kind.Kind == "header") {
		return fmt.Errorf("kind %q: the first line and no other is a header", kind.Kind)
	}
	switch kind.Kind {
	case "header":
		var h header
		if err := json.Unmarshal(line, &h); err != nil {
			return err
		}
		return h.differs(want)
	case "trial":
		var t trialLine
		if err := json.Unmarshal(line, &t); err != nil {
			return err
		}
		if _, twice := j.trials[t.ID]; twice || t.ID < 0 || want.Parallel <= 1 && int(t.ID) != len(j.trials) || len(j.runs) > 0 {
			return fmt.Errorf("trial %d is out of order", t.ID)
		}
		j.trials[t.ID] = t
	case "minimize", "verdict":
		var r runLine
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if kind.Kind == "verdict" && r.Holdout == nil {
			return errors.New("a training of the verdict lacks its hold-out score")
		}
		j.runs = append(j.runs, r)
	default:
		return fmt.Errorf("kind %q is not known", kind.Kind)
	}
	return nil
}

// differs says in what a study to be resumed differs from the one that is asked for.
func (h header) differs(want header) error {
	for _, f := range []struct {
		name      string
		have, ask any
	}{
		{"version", h.Version, want.Version}, {"technique", h.Technique, want.Technique}, {"budget", h.Budget, want.Budget},
		{"seed", h.Seed, want.Seed}, {"device", engine.DeviceModel(h.Device), engine.DeviceModel(want.Device)}, {"cost model", h.Cost, want.Cost},
		{"number of verdict seeds", h.Seeds, want.Seeds}, {"minimisation budget", h.MinimizeX, want.MinimizeX},
		{"number of bootstrap resamples", h.Resamples, want.Resamples}, {"search only", h.SearchOnly, want.SearchOnly},
		{"table of suspicion", h.Suspicion, want.Suspicion}, {"number of trainings at a time", max(1, h.Parallel), max(1, want.Parallel)},
	} {
		if f.have != f.ask {
			return fmt.Errorf("the journal is of another study: its %s is %v, asked for is %v", f.name, f.have, f.ask)
		}
	}
	if h.Subject != want.Subject {
		return errors.New("the journal is of another study: model, recipe or data have changed since")
	}
	return nil
}
