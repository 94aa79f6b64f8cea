package mutate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"netmend/repair"
	"netmend/repair/operators"
	"netmend/repair/study"
)

// SelfTest says how the killed mutants of a result are repaired.
type SelfTest struct {
	Subject   repair.Subject
	Technique string
	Budget    study.Budget
	Seed      uint64
	Pairs     int // trainings of the verdict, see study.Config.Seeds
	Start     study.Start
	Device    string
	Folder    string // for a journal per mutant
	Resume    bool   // go on with the journals that are there
	Progress  func(Mutant, study.Progress)
}

// Row is what became of one mutant.
type Row struct {
	Operator string       `json:"operator"`
	Site     string       `json:"site"`
	Value    repair.Value `json:"value"`
	Killed   bool         `json:"killed"` // what is not killed is no fault, and nothing is repaired
	Symptoms []string     `json:"symptoms,omitempty"`
	Repaired bool         `json:"repaired"`
	// IR is the improvement rate, (repaired - mutant) / (original - mutant) on the hold-out rows: 1 is as good as before the fault. 0 where
	// nothing is repaired.
	IR        repair.Number `json:"ir"`
	Original  repair.Number `json:"original"` // means on the hold-out rows
	Mutated   repair.Number `json:"mutated"`
	Mended    repair.Number `json:"mended"`
	Edits     int           `json:"edits"`
	Words     []string      `json:"words,omitempty"` // the patch in English
	Cost      repair.Number `json:"cost_x"`          // of the search, in trainings of the mutant
	ProofCost repair.Number `json:"proof_cost_x"`    // of minimisation and verdict
}

// Run repairs the killed mutants of a result, which must have been judged on the hold-out rows, one study each, and gives a row for every
// mutant. The studies know nothing of the mutation.
func (t SelfTest) Run(ctx context.Context, r Result) ([]Row, error) {
	if r.Part != HoldoutPart {
		return nil, fmt.Errorf("mutate: self-test: mutants were judged on the %s rows, repairs are on the %s rows", r.Part, HoldoutPart)
	}
	var rows []Row
	numbers := map[string]int{}
	for _, m := range r.Mutants {
		row := Row{Operator: m.Operator, Site: m.Site, Value: m.Value, Killed: m.Killed, Original: r.Original.Mean, Mutated: m.Scores.Mean, Mended: m.Scores.Mean}
		if m.Killed {
			numbers[m.Operator]++
			journal := filepath.Join(t.Folder, fmt.Sprintf("%s-%d.jsonl", m.Operator, numbers[m.Operator]))
			if err := t.repair(ctx, m, journal, &row); err != nil {
				return nil, fmt.Errorf("mutate: self-test of %s at %q: %w", m.Operator, m.Site, err)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (t SelfTest) repair(ctx context.Context, m Mutant, journal string, row *Row) error {
	x, err := m.Make(t.Subject)
	if err != nil {
		return err
	}
	_, err = os.Stat(journal)
	c := study.Config{Subject: x, Operators: operators.All(), Technique: t.Technique, Budget: t.Budget, Seed: t.Seed, Seeds: t.Pairs,
		MinGain: -1, // a mutant counts however small the difference is, and so does its repair
		Start:   t.Start, Device: t.Device, Journal: journal, Resume: t.Resume && err == nil}
	if t.Progress != nil {
		c.Progress = func(p study.Progress) { t.Progress(m, p) }
	}
	report, err := study.Run(ctx, c)
	if err != nil {
		return err
	}
	for _, s := range report.Symptoms {
		if kind := string(s.Kind); !slices.Contains(row.Symptoms, kind) {
			row.Symptoms = append(row.Symptoms, kind)
		}
	}
	row.Cost, row.ProofCost, row.Mutated, row.Mended = report.CostX, report.ProofX, report.Faulty.Mean, report.Faulty.Mean
	if report.Verdict != study.Repaired {
		return nil
	}
	row.Repaired, row.Mended, row.Edits, row.Words = true, report.Repaired.Mean, report.Edits, report.Words
	row.IR = (row.Mended - row.Mutated) / (row.Original - row.Mutated)
	return nil
}
