package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/study"
	"netmend/repair/technique"
)

// The files of an output folder, besides those of Write.
const (
	IndexFile = "index.jsonl" // a line for every finished run, in the order in which they finished
	timesFile = "times.log"   // of every run: its name, seconds by the clock, seconds of the processor (Config.Processor)
	runsDir   = "runs"        // journals of the searches
)

// header is the first line of the index: everything that the results depend on.
type header struct {
	Kind       string   `json:"kind"` // "header"
	Version    int      `json:"version"`
	Faults     []string `json:"faults"`
	Techniques []string `json:"techniques,omitempty"`
	Budgets    []string `json:"budgets,omitempty"`
	Repeats    int      `json:"repeats"`
	Trainings  int      `json:"trainings,omitempty"`
	Scale      string   `json:"scale"`
	Protocol   string   `json:"protocol"`
	Seed       uint64   `json:"seed"`
	Pairs      int      `json:"pairs,omitempty"`
	Confirm    int      `json:"confirm_pairs,omitempty"` // of a healthy benchmark
	Device     string   `json:"device"`
}

// indexVersion changes when runs are written or judged differently.
const indexVersion = 2

// Value is a training of a subject without a search.
type Value struct {
	Search  repair.Number  `json:"search"`
	Holdout repair.Number  `json:"holdout"`
	Unseen  *repair.Number `json:"unseen,omitempty"` // on Case.Unseen; nil: there are none
	Rows    int            `json:"unseen_rows,omitempty"`
	State   string         `json:"state"`
	Cause   string         `json:"cause,omitempty"`
	// Constant are the scores of the best constant answer, fitted on the training rows, where the hold-out score is not finite.
	Constant *Constant `json:"constant,omitempty"`
}

// Constant is what one answer for all rows scores on search and hold-out rows.
type Constant struct {
	Search  repair.Number `json:"search"`
	Holdout repair.Number `json:"holdout"`
}

// Trial is a trial of a search as tables and runs.jsonl have it.
type Trial struct {
	ID      technique.TrialID `json:"trial"`
	Patch   repair.Patch      `json:"patch"`
	State   technique.State   `json:"state"`
	Cause   string            `json:"cause,omitempty"`
	Score   repair.Number     `json:"score"` // on the search rows
	Valid   bool              `json:"valid"`
	Dead    bool              `json:"dead"`
	Holdout *repair.Number    `json:"holdout,omitempty"` // published protocol
	Epochs  float64           `json:"epochs"`            // asked for
	Cost    repair.Number     `json:"cost"`              // in faulty trainings
	Spent   repair.Number     `json:"spent"`             // by the search so far
}

// Search is what came of one search.
type Search struct {
	Trials []Trial       `json:"trials"`
	Chosen int           `json:"chosen"` // published: number of the best trial, -1 without one
	Patch  repair.Patch  `json:"patch"`  // that it ends with: the best trial's, or the minimised one
	Words  []string      `json:"words"`
	Score  repair.Number `json:"holdout"` // of the patch on the hold-out rows: of that very model, or the verdict's mean; NaN without a patch
	// Costs in faulty trainings.
	CostX     repair.Number `json:"cost_x"`     // of the search
	MinimizeX repair.Number `json:"minimize_x"` // of minimisation
	VerdictX  repair.Number `json:"verdict_x"`
	// Of the strict verdict.
	Verdict  study.Verdict       `json:"verdict,omitempty"` // before any correction
	Constant *study.ConstantTest `json:"constant,omitempty"`
	Faulty   []repair.Number     `json:"verdict_faulty,omitempty"`
	Repaired []repair.Number     `json:"verdict_repaired,omitempty"`
	P        repair.Number       `json:"p"` // study.Report.Claim, before the correction; 1 without a verdict
	A12      repair.Number       `json:"a12"`
	Interval *study.Interval     `json:"interval,omitempty"`
	Small    bool                `json:"small,omitempty"` // study.Report.Small
	Reason   string              `json:"reason,omitempty"`
	Space    int                 `json:"space"` // keys that could be searched
}

// Line is a finished run.
type Line struct {
	Kind   string  `json:"kind"` // "value" or "search"
	Name   string  `json:"run"`
	Seed   uint64  `json:"seed"`
	Value  *Value  `json:"value,omitempty"`
	Search *Search `json:"search,omitempty"`
}

// index is the file of finished runs, and the log of wall times.
type index struct {
	mu    sync.Mutex
	lines *study.Lines
	done  map[string]Line
	times *os.File
}

func openIndex(c Config, h header) (*index, error) {
	x := &index{done: map[string]Line{}}
	path := filepath.Join(c.Out, IndexFile)
	if err := os.MkdirAll(filepath.Join(c.Out, runsDir), 0o755); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	var err error
	if c.Resume {
		x.lines, err = study.OpenLines(path, h, func(line []byte, n int) error { return x.take(line, n, h) })
	} else {
		x.lines, err = study.CreateLines(path, h)
	}
	if err != nil {
		return nil, err
	}
	if x.times, err = os.OpenFile(filepath.Join(c.Out, timesFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		x.lines.Close()
		return nil, fmt.Errorf("bench: %w", err)
	}
	return x, nil
}

func (x *index) take(raw []byte, n int, want header) error {
	if n == 1 {
		var h header
		if err := json.Unmarshal(raw, &h); err != nil {
			return err
		}
		h.Device, want.Device = engine.DeviceModel(h.Device), engine.DeviceModel(want.Device)
		have, err := json.Marshal(h)
		if err != nil {
			return err
		}
		if asked, err := json.Marshal(want); err != nil || string(have) != string(asked) {
			return fmt.Errorf("the folder is of another benchmark: it began with %s, asked for is %s", have, asked)
		}
		return nil
	}
	var l Line
	if err := json.Unmarshal(raw, &l); err != nil {
		return err
	}
	if l.Name == "" || (l.Value == nil) == (l.Search == nil) {
		return fmt.Errorf("a run needs a name, and a value or a search")
	}
	x.done[l.Name] = l
	return nil
}

// line is a finished run.
func (x *index) line(name string) Line {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done[name]
}

// add writes a finished run down and waits until it is on the disk.
func (x *index) add(l Line, took, processor time.Duration) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.lines.Append(l); err != nil {
		return err
	}
	x.done[l.Name] = l
	_, err := fmt.Fprintf(x.times, "%s %.3f %.3f\n", l.Name, took.Seconds(), processor.Seconds())
	return err
}

func (x *index) close() error {
	x.times.Close()
	return x.lines.Close()
}
