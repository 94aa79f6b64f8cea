package diagnose

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"netmend/repair"
)

// Counts are what mutants of healthy networks have shown: how often evidence was there, by the operator whose edit undoes the mutation, and by family
// of networks, so that a family can be taken out again ([Counts.Without]). Nobody changes counts that are in use.
type Counts struct{ of map[countKey]Count }

type countKey struct {
	evidence, operator, family string
}

// Count is a number of mutants, or of slots of healthy networks.
type Count struct {
	// Here: of evidence at a node, the mutants that an edit at this node undoes; of a value, the mutants in which it was wrong.
	Here int
	// Elsewhere: the other mutants with the evidence; of a value, the slots of healthy networks that have it.
	Elsewhere int
}

// What is counted besides kinds of symptoms and edit operators.
const (
	AllMutants   = "all"     // evidence that all mutants have: their number is Here
	NoOperator   = "none"    // in the place of an operator: mutants that no edit undoes, those whose data was changed
	HealthyModel = "healthy" // in the place of an operator: networks that nothing is wrong with
	valueMark    = "="       // evidence that a slot has this value: "=adadelta"
)

// sameOfAll are operators whose slots' current value says nothing: it is the same in all slots, or names the subject's own things.
var sameOfAll = []string{"add_activation", "output_head", "preprocessing"}

// ValueEvidence is a slot's current value as evidence, without parameters: "=random_normal"; "" where it is none. What a number means depends on
// the rest of the recipe, a word on little else.
func ValueEvidence(operator string, v repair.Value) string {
	if !v.IsText || slices.Contains(sameOfAll, operator) {
		return ""
	}
	word, _, _ := strings.Cut(v.Text, "(")
	word, _, _ = strings.Cut(word, "=")
	return valueMark + word
}

// Add counts.
func (c *Counts) Add(evidence, operator, family string, n Count) {
	if c.of == nil {
		c.of = map[countKey]Count{}
	}
	k := countKey{evidence, operator, family}
	c.of[k] = Count{c.of[k].Here + n.Here, c.of[k].Elsewhere + n.Elsewhere}
}

// Without are the counts of the other families.
func (c Counts) Without(family string) Counts {
	of := maps.Clone(c.of)
	maps.DeleteFunc(of, func(k countKey, _ Count) bool { return k.family == family })
	return Counts{of}
}

// Families lists the families that were counted, sorted.
func (c Counts) Families() []string {
	seen := map[string]bool{}
	for k := range c.of {
		seen[k.family] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func compareKeys(a, b countKey) int {
	for _, x := range [][2]string{{a.evidence, b.evidence}, {a.operator, b.operator}} {
		if x[0] != x[1] {
			return strings.Compare(x[0], x[1])
		}
	}
	return strings.Compare(a.family, b.family)
}

func (c Counts) sorted() []countKey { return slices.SortedFunc(maps.Keys(c.of), compareKeys) }

var countsHead = []string{"evidence", "operator", "here/elsewhere by family"}

// Write writes the counts as CSV: a line per evidence and operator, with family:here/elsewhere of every family that has any.
func (c Counts) Write(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{countsHead}
	for _, k := range c.sorted() {
		n := c.of[k]
		cell := fmt.Sprintf("%s:%d/%d", k.family, n.Here, n.Elsewhere)
		if last := rows[len(rows)-1]; last[0] == k.evidence && last[1] == k.operator {
			last[2] += " " + cell
			continue
		}
		rows = append(rows, []string{k.evidence, k.operator, cell})
	}
	return errors.Join(out.WriteAll(rows), out.Error())
}

// ReadCounts reads what Write has written. A kind or an operator that is not known is an error: it would never count.
func ReadCounts(r io.Reader) (Counts, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return Counts{}, fmt.Errorf("diagnose: counts: %w", err)
	}
	if len(rows) == 0 || !slices.Equal(rows[0], countsHead) {
		return Counts{}, errors.New("diagnose: counts: the first line is not that of a table of counts")
	}
	var c Counts
	for i, row := range rows[1:] {
		if err := c.read(row); err != nil {
			return Counts{}, fmt.Errorf("diagnose: counts, line %d: %w", i+2, err)
		}
	}
	return c, nil
}

func (c *Counts) read(row []string) error {
	evidence, operator := row[0], row[1]
	if _, known := facts[Kind(evidence)]; !known && evidence != AllMutants && !strings.HasPrefix(evidence, valueMark) {
		return fmt.Errorf("there is no symptom %q", evidence)
	}
	if _, known := priors[operator]; !known && operator != NoOperator && operator != HealthyModel {
		return fmt.Errorf("there is no operator %q", operator)
	}
	for _, cell := range strings.Fields(row[2]) {
		family, numbers, _ := strings.Cut(cell, ":")
		a, b, _ := strings.Cut(numbers, "/")
		here, err := strconv.ParseUint(a, 10, 31)
		elsewhere, err2 := strconv.ParseUint(b, 10, 31)
		if err := errors.Join(err, err2); err != nil || family == "" {
			return fmt.Errorf("%q is not family:here/elsewhere", cell)
		}
		k := countKey{evidence, operator, family}
		if _, twice := c.of[k]; twice {
			return fmt.Errorf("%s, %s is there twice for %s", evidence, operator, family)
		}
		c.Add(evidence, operator, family, Count{int(here), int(elsewhere)})
	}
	return nil
}

// digest is the SHA-256 of the counts and what is made of them, shortened.
func (c Counts) digest(s Settings) string {
	h := sha256.New()
	// Errors: a hash takes every write.
	_ = c.Write(h)
	_, _ = fmt.Fprintf(h, "%+v", s)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

//go:embed suspicion.csv
var learned []byte

// Learned are the counts that are shipped; scripts/suspicion.sh makes them. They are part of the program: a file that cannot be read is a bug of
// ours.
func Learned() Counts {
	c, err := ReadCounts(bytes.NewReader(learned))
	if err != nil {
		panic(err)
	}
	return c
}
