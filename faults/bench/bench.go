// Package bench runs the fault benchmark: a matrix of searches, one for every fault, technique, budget and repeat, and trainings of the
// faulty and the fixed subjects to compare them with; and it makes tables and plots of what came out. The same matrix over subjects without a
// fault says how often a repair is found where none is due (RunHealthy).
//
// The output folder holds all that a benchmark knows. Every search keeps its own journal there, every finished training and search is a line
// of an index that is on the disk before the next is begun, and what is shown is made of the index alone, in the order of the matrix: killed
// at any moment and resumed, or run with another number of jobs, it gives the same bytes. Wall times are in a file of their own.
package bench

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"netmend/faults"
	"netmend/repair"
	"netmend/repair/study"
)

// Case is a fault of which everything is in memory.
type Case struct {
	Faulty, Fixed repair.Subject // of the same data; Search and Holdout rows as the protocol has them
	Fix           repair.Patch
	Keys          []repair.Key // searched under the published protocol
	MinEpochs     int          // as technique.Setup has it
	// Of HealthyEntries: Faulty is the fixed subject, and Confirm the same with the Unseen rows, which are none of Faulty's, as hold-out rows more.
	Confirm repair.Subject
	Unseen  []int32
}

// Entry is a fault of the matrix. Load may be called again after the case was dropped.
type Entry struct {
	Fault faults.Fault
	Load  func() (Case, error)
}

// Worker is what one job trains on. Trainings must give the same bits on every worker.
type Worker struct {
	Start  study.Start
	Device string
	Close  func() error
}

// Config is a benchmark.
type Config struct {
	Entries    []Entry
	Techniques []string
	Budgets    []Budget
	Repeats    int // searches per fault, technique and budget
	Trainings  int // of each faulty and fixed subject, which improvement ratios are measured by; 0: Repeats
	Scale      faults.Scale
	Protocol   faults.Protocol
	Seed       uint64
	ValuesOnly bool // train the faulty and fixed subjects, search nothing
	Healthy    bool // of RunHealthy: start at the fixed subjects, and confirm what repairs them
	Out        string
	Resume     bool
	Jobs       int
	Worker     func() (Worker, error)
	Progress   func(Event) // called by one job at a time; nil: not
	// Processor is the time that this process has taken of all cores; nil: wall times alone are logged. It is the run's own with one job.
	Processor func() time.Duration
}

// Event is something that happened.
type Event struct {
	Done, Total int    // runs of the matrix that are finished, of all
	Run         string // the run that it happened in
	Finished    bool   // that run has just ended
	Study       *study.Progress
}

// Budget is what a search may spend: as much as the study's budget says, or as many trials as the published runs with so many times the
// faulty training's time executed on average (benchmark replication package, raw results).
type Budget struct {
	study.Budget
	Published string // "10x", "20x" or "50x"; empty: study.Budget
}

const publishedSuffix = "-trials"

// ParseBudget reads "20x", "30t" or "20x-trials". A duration is refused, since a table of searches by the clock cannot be made again.
func ParseBudget(s string) (Budget, error) {
	if x, ok := strings.CutSuffix(s, publishedSuffix); ok {
		switch x {
		case "10x", "20x", "50x":
			return Budget{Published: x}, nil
		}
		return Budget{}, fmt.Errorf("bench: budget %q: there are published numbers of trials for 10x, 20x and 50x", s)
	}
	b, err := study.ParseBudget(s)
	if err == nil && b.Duration != 0 {
		err = fmt.Errorf("bench: budget %q is a duration, and such a table cannot be made again: write 20x, 30t or 20x-trials", s)
	}
	return Budget{Budget: b}, err
}

func (b Budget) String() string {
	if b.Published != "" {
		return b.Published + publishedSuffix
	}
	return b.Budget.String()
}

// times is the key of the published results that a budget is compared with; empty: none.
func (b Budget) times() string {
	if b.Published != "" {
		return b.Published
	}
	if x := strconv.FormatFloat(b.Times, 'g', -1, 64) + "x"; x == "10x" || x == "20x" || x == "50x" {
		return x
	}
	return ""
}

// of is the budget of one repeat. The published number of trials is a mean and has a fraction: repeat r gets round(n·(r+1)) - round(n·r) trials,
// so that over all repeats the mean is the published one to within 1/2 of a trial in all. The published number does not count the first trial.
func (b Budget) of(f faults.Fault, technique string, repeat int) (study.Budget, error) {
	if b.Published == "" {
		return b.Budget, nil
	}
	n, ok := f.Published.Trials[b.Published][technique]
	if !ok {
		n, ok = f.Published.Trials[b.Published]["random"] // a technique that the study did not have
	}
	if !ok {
		return study.Budget{}, fmt.Errorf("bench: fault %s has no published number of trials at %s", f.ID, b.Published)
	}
	trials := int(math.Floor(n*float64(repeat+1)+0.5) - math.Floor(n*float64(repeat)+0.5))
	return study.Budget{Trials: 1 + max(1, trials)}, nil
}

func (c Config) check() error {
	switch {
	case len(c.Entries) == 0:
		return errors.New("bench: no faults")
	case !c.ValuesOnly && (len(c.Techniques) == 0 || len(c.Budgets) == 0):
		return errors.New("bench: no techniques or budgets")
	case c.Repeats < 1 || c.Repeats > 1000:
		return fmt.Errorf("bench: %d repeats: must be from 1 to 1000", c.Repeats)
	case c.Trainings != 0 && (c.Trainings < c.Repeats || c.Trainings > 1000):
		return fmt.Errorf("bench: %d trainings of each faulty and fixed subject: must be from %d, the repeats, each of which is compared with one, to 1000", c.Trainings, c.Repeats)
	case c.Trainings != 0 && (c.Protocol != faults.StrictProtocol || c.Healthy):
		return errors.New("bench: the number of trainings of faulty and fixed subjects is the repeats' under the published protocol, and there are none beside healthy subjects")
	case c.Jobs < 1:
		return fmt.Errorf("bench: %d jobs: at least 1", c.Jobs)
	case c.Protocol != faults.PublishedProtocol && c.Protocol != faults.StrictProtocol:
		return fmt.Errorf("bench: protocol %q is not known: published or strict", c.Protocol)
	case c.Healthy && (c.Protocol != faults.StrictProtocol || c.ValuesOnly):
		return errors.New("bench: healthy subjects are searched and judged: it takes the strict protocol, and not the values alone")
	}
	return nil
}

// trainings is how often the faulty and the fixed subject are trained.
func (c Config) trainings() int { return cmp.Or(c.Trainings, c.Repeats) }

// Significance is the level of all tests.
const Significance = 0.05

// pairs is the number of paired trainings of a strict verdict: the fewest with which the exact one-sided signed-rank test, whose smallest p
// is 2^-n, can stay below the level after Holm's correction over so many faults.
func pairs(tests int) int {
	n := 1
	for p := 0.5; p*float64(tests) >= Significance; p /= 2 {
		n++
	}
	return n
}

// task is one run of the matrix: a search, or a training of a subject.
type task struct {
	entry     int
	variant   string // of the subject that is trained; empty: a search
	technique string
	budget    Budget
	repeat    int
	pair      int // of a start or a patched subject, which are trained in pairs
}

const (
	faultyVariant  = "faulty"
	fixedVariant   = "fixed"
	startVariant   = "start"   // of a healthy benchmark: the subject that searches start from
	patchedVariant = "patched" // likewise: with the patch of the search of technique, budget and repeat
)

// tasks is the matrix in its order: fault by fault, its values first.
func (c Config) tasks() []task {
	var out []task
	for e := range c.Entries {
		if c.Healthy {
			for i := range confirmPairs {
				out = append(out, task{entry: e, variant: startVariant, pair: i})
			}
		} else {
			for i := range c.trainings() {
				out = append(out, task{entry: e, variant: faultyVariant, repeat: i}, task{entry: e, variant: fixedVariant, repeat: i})
			}
		}
		if c.ValuesOnly {
			continue
		}
		for _, t := range c.Techniques {
			for _, b := range c.Budgets {
				for i := range c.Repeats {
					out = append(out, task{entry: e, technique: t, budget: b, repeat: i})
				}
			}
		}
	}
	return out
}

// name is unique in the matrix and a file name.
func (c Config) name(t task) string {
	id := c.Entries[t.entry].Fault.ID
	search := fmt.Sprintf("%s-%s-%s-%d", id, t.technique, t.budget, t.repeat)
	switch t.variant {
	case "":
		return search
	case startVariant:
		return fmt.Sprintf("%s-%s-%d", id, t.variant, t.pair)
	case patchedVariant:
		return fmt.Sprintf("%s-%s-%d", search, t.variant, t.pair)
	}
	return fmt.Sprintf("%s-%s-%d", id, t.variant, t.repeat)
}

// seed of a run: independent between runs, but the subjects of a fault are trained with the same ones, as a paired test wants.
func (c Config) seed(t task) uint64 {
	id := c.Entries[t.entry].Fault.ID
	switch t.variant {
	case "":
		return study.SeedFor(c.Seed, c.name(t), t.repeat)
	case startVariant, patchedVariant:
		return study.SeedFor(c.Seed, id+"-confirm", t.pair)
	}
	return study.SeedFor(c.Seed, id+"-value", t.repeat)
}
