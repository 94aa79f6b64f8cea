package mutate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// The files of a mutant's folder, and of the folder that they are in.
const (
	FileModel   = "model.onnx"
	FileRecipe  = "recipe.yaml"
	FileData    = "data.npz"
	FileMutant  = "mutant.json"
	FileMutants = "mutants.jsonl"
)

// description is a mutant's mutant.json.
type description struct {
	Mutant
	Name      string       `json:"name"` // of the operator
	Metric    train.Metric `json:"metric"`
	Part      string       `json:"part"`
	Criterion Criterion    `json:"criterion"`
}

// Write writes a result into a folder: mutants.jsonl with a line for every mutant, killed or not, and for every killed one a folder that is named by
// operator and number, HLR-1: the model, the recipe, the data where the mutant changes them, and mutant.json. With all, those that are not killed
// but can be made get a folder too. It gives the folders' names, one for each mutant, "" where there is none.
//
// The data of a mutant come divided: the training part is the mutated training rows and behind them the untouched search rows, the test part
// is the hold-out rows. Who reads them divides the training part again and gets mutated rows into the search part, as who is given faulty
// data does.
func Write(dir string, s repair.Subject, r Result, all bool) ([]string, error) {
	folders := make([]string, len(r.Mutants))
	numbers := map[string]int{}
	var lines bytes.Buffer
	for i, m := range r.Mutants {
		raw, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("mutate: %w", err)
		}
		lines.Write(append(raw, '\n'))
		if !m.Killed && (!all || m.Cause != "") {
			continue
		}
		numbers[m.Operator]++
		name := fmt.Sprintf("%s-%d", m.Operator, numbers[m.Operator])
		if err := writeMutant(filepath.Join(dir, name), s, m, r); err != nil {
			return nil, fmt.Errorf("mutate: %s: %w", name, err)
		}
		folders[i] = name
	}
	return folders, repair.WriteFile(filepath.Join(dir, FileMutants), lines.Bytes())
}

// Make is the subject of a mutant.
func (m Mutant) Make(s repair.Subject) (repair.Subject, error) {
	o, err := Select(m.Operator)
	if err != nil {
		return repair.Subject{}, err
	}
	return o[0].Apply(s, m.Site, m.Value, m.Seed)
}

func writeMutant(dir string, s repair.Subject, m Mutant, r Result) error {
	x, err := m.Make(s)
	if err != nil {
		return err
	}
	if err := onnx.Check(x.Model); err != nil {
		return err
	}
	recipe, err := x.Recipe.Marshal()
	if err != nil {
		return err
	}
	o, _ := Select(m.Operator)
	about, err := json.MarshalIndent(description{m, o[0].Name, r.Metric, r.Part, r.Criterion}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := x.Model.Write(filepath.Join(dir, FileModel)); err != nil {
		return err
	}
	if err := repair.WriteFile(filepath.Join(dir, FileRecipe), recipe); err != nil {
		return err
	}
	if o[0].Data {
		if err := writeData(filepath.Join(dir, FileData), x.Data); err != nil {
			return err
		}
	}
	return repair.WriteFile(filepath.Join(dir, FileMutant), append(about, '\n'))
}

func writeData(path string, d data.Splits) (err error) {
	rows := append(append([]int32(nil), d.Train...), d.Search...)
	source := data.Source{Train: d.Select(rows)}
	if len(d.Holdout) > 0 {
		source.Test = d.Select(d.Holdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return data.WriteNpz(f, source)
}

// Read reads the mutants.jsonl of a folder that Write has written.
func Read(dir string) ([]Mutant, error) {
	path := filepath.Join(dir, FileMutants)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("mutate: %w", err)
	}
	defer f.Close()
	var out []Mutant
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var m Mutant
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("mutate: %s, line %d: %w", path, len(out)+1, err)
		}
		out = append(out, m)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("mutate: %s: %w", path, err)
	}
	return out, nil
}

// Count is what became of an operator's mutants.
type Count struct {
	Killed int `json:"killed"`
	Tested int `json:"tested"` // those that cannot be trained included
}

// Counts are the mutants by operator.
func Counts(mutants []Mutant) map[string]Count {
	counts := map[string]Count{}
	for _, m := range mutants {
		c := counts[m.Operator]
		if c.Tested++; m.Killed {
			c.Killed++
		}
		counts[m.Operator] = c
	}
	return counts
}

// Table writes the mutants killed per operator for a set of subjects, as "killed of tested"; "-" where an operator has made none. All 24 operators
// are listed.
func Table(w io.Writer, subjects []string, mutants [][]Mutant) error {
	counts := make([]map[string]Count, len(subjects))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "operator\t")
	for i, name := range subjects {
		counts[i] = Counts(mutants[i])
		fmt.Fprintf(t, "\t%s", name)
	}
	fmt.Fprint(t, "\tkilled\n")
	killing := 0
	for _, o := range All() {
		fmt.Fprintf(t, "%s\t%s", o.ID, o.Name)
		total := 0
		for i := range subjects {
			c, ok := counts[i][o.ID]
			if total += c.Killed; ok {
				fmt.Fprintf(t, "\t%d of %d", c.Killed, c.Tested)
			} else {
				fmt.Fprint(t, "\t-")
			}
		}
		if total > 0 {
			killing++
		}
		fmt.Fprintf(t, "\t%d\n", total)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d operators have a killed mutant\n", killing, len(All()))
	return err
}
