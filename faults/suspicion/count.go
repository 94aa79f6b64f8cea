package suspicion

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"netmend/repair"
	"netmend/repair/diagnose"
)

// learnedFrom says whether a record is counted: a healthy network, or a mutant that is worse.
func (r Record) learnedFrom() bool { return r.Fault == "" && (r.Operator == "" || r.Worse) }

// operators are those whose edit undoes a mutation, or what stands in their place.
func (r Record) operators() []string {
	switch {
	case r.Operator == "":
		return []string{diagnose.HealthyModel}
	case len(r.Undo) == 0:
		return []string{diagnose.NoOperator}
	}
	var out []string
	for _, k := range r.Undo {
		if !slices.Contains(out, k.Operator) {
			out = append(out, k.Operator)
		}
	}
	return out
}

// undoneAt says whether an edit of the operator at a target takes the mutation back.
func (r Record) undoneAt(operator, target string) bool {
	return slices.Contains(r.Undo, repair.Key{Operator: operator, Target: target})
}

// Count makes the counts of records. A mutation that several operators undo counts for each of them.
func Count(records []Record) diagnose.Counts {
	var c diagnose.Counts
	for _, r := range records {
		if !r.learnedFrom() {
			continue
		}
		for _, o := range r.operators() {
			c.Add(diagnose.AllMutants, o, r.Family, diagnose.Count{Here: 1})
			r.countSymptoms(&c, o)
			r.countWrong(&c, o)
		}
		if r.Operator == "" {
			for _, x := range r.Slots {
				if v := diagnose.ValueEvidence(x.Operator, x.Current); v != "" {
					c.Add(v, x.Operator, r.Family, diagnose.Count{Elsewhere: 1})
				}
			}
		}
	}
	return c
}

// countSymptoms counts each kind of symptom once, but not few updates: the lite scale shortens all trainings, the healthy ones too, which says nothing of
// others. Its rule stays as it is.
func (r Record) countSymptoms(c *diagnose.Counts, operator string) {
	here := map[diagnose.Kind]bool{}
	var kinds []diagnose.Kind
	for _, s := range r.Symptoms {
		if !slices.Contains(kinds, s.Kind) && s.Kind != diagnose.FewUpdates {
			kinds = append(kinds, s.Kind)
		}
		here[s.Kind] = here[s.Kind] || r.undoneAt(operator, s.Node)
	}
	for _, k := range kinds {
		n := diagnose.Count{Elsewhere: 1}
		if here[k] {
			n = diagnose.Count{Here: 1}
		}
		c.Add(string(k), operator, r.Family, n)
	}
}

// countWrong counts each value that is wrong once.
func (r Record) countWrong(c *diagnose.Counts, operator string) {
	var values []string
	for _, x := range r.Slots {
		v := diagnose.ValueEvidence(x.Operator, x.Current)
		if v == "" || x.Operator != operator || !r.undoneAt(operator, x.Target) || slices.Contains(values, v) {
			continue
		}
		values = append(values, v)
		c.Add(v, operator, r.Family, diagnose.Count{Here: 1})
	}
}

// Rank is the place of the first slot that takes a mutation back, or that the ground truth of a fault edits, in the order of a table's suspicion. Of slots
// that are suspected alike, those that do not come first by half: two equals are at 1.5. false: the record has none.
func Rank(r Record, t *diagnose.Table) (float64, bool) {
	var space repair.Space
	for _, x := range r.Slots {
		space = append(space, repair.Slot{Operator: x.Operator, Target: x.Target, Current: x.Current})
	}
	var symptoms []diagnose.Symptom
	for _, s := range r.Symptoms {
		symptoms = append(symptoms, diagnose.Symptom{Kind: s.Kind, Node: s.Node, Epoch: s.Epoch})
	}
	suspects := t.Suspicion(symptoms, space)
	best, found := 0.0, false
	for _, k := range r.Undo {
		s, ok := suspects[k]
		if !ok {
			continue
		}
		rank := 1.0
		for other, o := range suspects {
			switch {
			case o.Weight > s.Weight:
				rank++
			case o.Weight == s.Weight && !slices.Contains(r.Undo, other):
				rank += 0.5
			}
		}
		if !found || rank < best {
			best, found = rank, true
		}
	}
	return best, found
}

// Ranks are the figures of a table over records.
type Ranks struct {
	N, First, Three, Five int // records, and those whose rank is below 2, at most 3, at most 5
	Median, MRR           float64
}

// Summarize makes the figures of ranks. The mean reciprocal rank is weighted; no weights: all alike.
func Summarize(ranks, weights []float64) Ranks {
	out := Ranks{N: len(ranks)}
	if out.N == 0 {
		return out
	}
	total := 0.0
	for i, r := range ranks {
		w := 1.0
		if weights != nil {
			w = weights[i]
		}
		out.MRR, total = out.MRR+w/r, total+w
		for _, x := range []struct {
			to   *int
			good bool
		}{{&out.First, r < 2}, {&out.Three, r <= 3}, {&out.Five, r <= 5}} {
			if x.good {
				*x.to++
			}
		}
	}
	out.MRR /= total
	s := slices.Sorted(slices.Values(ranks))
	out.Median = (s[(len(s)-1)/2] + s[len(s)/2]) / 2
	return out
}

// tables makes and keeps tables that leave a family out.
type tables struct {
	counts   diagnose.Counts
	settings diagnose.Settings
	without  map[string]*diagnose.Table
}

func (t *tables) of(family string) *diagnose.Table {
	if t.without == nil {
		t.without = map[string]*diagnose.Table{}
	}
	if t.without[family] == nil {
		t.without[family] = diagnose.NewTable(t.counts.Without(family), t.settings)
	}
	return t.without[family]
}

// OnMutants are the figures over the mutants that an edit undoes, each ranked by a table that table gives for its family. Mutants of one operator on one
// family weigh 1 together.
func OnMutants(records []Record, table func(family string) *diagnose.Table) Ranks {
	var ranks []float64
	var cells []string
	n := map[string]float64{}
	for _, r := range records {
		if !r.learnedFrom() || r.Operator == "" {
			continue
		}
		if rank, ok := Rank(r, table(r.Family)); ok {
			ranks, cells = append(ranks, rank), append(cells, r.Family+" "+r.Operator)
			n[cells[len(cells)-1]]++
		}
	}
	weights := make([]float64, len(ranks))
	for i, c := range cells {
		weights[i] = 1 / n[c]
	}
	return Summarize(ranks, weights)
}

// Report is the figures of the shipped settings and of others, in Markdown: over mutants and faults, by the rules alone, with the counts of all
// families, with those of all but the record's own, and with what these say of symptoms alone.
func Report(records []Record) string {
	counts := Count(records)
	hand := diagnose.NewTable(diagnose.Counts{}, diagnose.DefaultSettings)
	all := diagnose.NewTable(counts, diagnose.DefaultSettings)
	others := &tables{counts: counts, settings: diagnose.DefaultSettings}
	symptoms := &tables{counts: counts, settings: diagnose.DefaultSettings}
	symptoms.settings.Value = 1e9 // families: no number of ours moves it
	ways := []way{{"rules set by hand", func(string) *diagnose.Table { return hand }}, {"learned, all families", func(string) *diagnose.Table { return all }},
		{"learned, its own family left out", others.of},
		{"likewise, without current values", symptoms.of}}
	var b strings.Builder
	figures(&b, records, ways)
	byFault(&b, records, ways[:3])
	grid(&b, records, counts)
	return b.String()
}

// way is a table that stands for each family.
type way struct {
	name  string
	table func(family string) *diagnose.Table
}

// figures are three tables, one for each set of records.
func figures(b *strings.Builder, records []Record, ways []way) {
	for _, on := range []struct {
		name  string
		seen  func(Record) Record
		ranks func(func(string) *diagnose.Table, func(Record) Record) Ranks
	}{
		{"Faults, all symptoms", everything, func(t func(string) *diagnose.Table, f func(Record) Record) Ranks { return onFaults(records, t, f) }},
		{"Faults, symptoms that a search sees", searched, func(t func(string) *diagnose.Table, f func(Record) Record) Ranks { return onFaults(records, t, f) }},
		{"Mutants, all symptoms", everything, func(t func(string) *diagnose.Table, _ func(Record) Record) Ranks { return OnMutants(records, t) }},
	} {
		fmt.Fprintf(b, "| %s | n | first | in the first 3 | in the first 5 | median rank | mean reciprocal rank |\n|---|---|---|---|---|---|---|\n", on.name)
		for _, w := range ways {
			x := on.ranks(w.table, on.seen)
			fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %.4g | %.3f |\n", w.name, x.N, x.First, x.Three, x.Five, x.Median, x.MRR)
		}
		b.WriteString("\n")
	}
}

// byFault is the rank of each fault.
func byFault(b *strings.Builder, records []Record, ways []way) {
	b.WriteString("| fault | what repairs it | by hand | all families | its own left out |\n|---|---|---|---|---|\n")
	for _, r := range faultsOf(records) {
		var words []string
		for _, k := range r.Undo {
			words = append(words, strings.TrimSuffix(k.Operator+" of "+k.Target, " of recipe"))
		}
		fmt.Fprintf(b, "| %s | %s |", r.Fault, strings.Join(words, ", "))
		for _, w := range ways {
			rank, _ := Rank(r, w.table(r.Family))
			fmt.Fprintf(b, " %.4g |", rank)
		}
		b.WriteString("\n")
	}
}

// grid is the mean reciprocal rank of mutants, their own family left out, by the settings of the table.
func grid(b *strings.Builder, records []Record, counts diagnose.Counts) {
	b.WriteString("\n| mutants, its own family left out: k \\ v |")
	values := []float64{0.03, 0.1, 0.3, 1, 3}
	for _, v := range values {
		fmt.Fprintf(b, " %g |", v)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(values)) + "\n")
	for _, k := range values {
		fmt.Fprintf(b, "| %g |", k)
		for _, v := range values {
			t := &tables{counts: counts, settings: diagnose.Settings{Rule: k, Value: v, Uniform: diagnose.DefaultSettings.Uniform}}
			fmt.Fprintf(b, " %.3f |", OnMutants(records, t.of).MRR)
		}
		b.WriteString("\n")
	}
}

func everything(r Record) Record { return r }

// searched leaves out what a search does not look at: the tests before training and of the trained model.
func searched(r Record) Record {
	r.Symptoms = slices.DeleteFunc(slices.Clone(r.Symptoms), func(s Seen) bool {
		return s.Kind.Part() == diagnose.OfTraining && s.Epoch == 0 || s.Kind == diagnose.ConstantOutput || s.Kind == diagnose.TrainEvalDisagree
	})
	return r
}

func faultsOf(records []Record) []Record {
	out := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Fault == "" })
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.Fault, b.Fault) })
	return out
}

// onFaults are the figures over the benchmark's faults.
func onFaults(records []Record, table func(family string) *diagnose.Table, see func(Record) Record) Ranks {
	var ranks []float64
	for _, r := range faultsOf(records) {
		if rank, ok := Rank(see(r), table(r.Family)); ok {
			ranks = append(ranks, rank)
		}
	}
	return Summarize(ranks, nil)
}
