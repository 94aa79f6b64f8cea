package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"netmend/faults"
	"netmend/repair"
)

// The files that Write makes.
const (
	TableFile  = "table.md"
	CSVFile    = "table.csv"
	RunsFile   = "runs.jsonl"
	IRPlot     = "ir.svg"
	BudgetPlot = "budget.svg"
	EditsPlot  = "edits.svg"
)

// Write makes the tables and plots of the results in the output folder. They hold no times: equal results give equal bytes.
func (r Results) Write() error {
	runs, err := runsFile(r.Lines)
	if err != nil {
		return err
	}
	table, err := r.csv()
	if err != nil {
		return err
	}
	files := []file{{RunsFile, runs}, {CSVFile, table}, {TableFile, []byte(r.Markdown())}}
	if !r.Config.ValuesOnly {
		files = append(files, file{IRPlot, r.plotIR()}, file{BudgetPlot, r.plotBudget()}, file{EditsPlot, r.plotEdits()})
	}
	return r.Config.write(files)
}

// file is a file of the output folder.
type file struct {
	name string
	raw  []byte
}

func (c Config) write(files []file) error {
	for _, f := range files {
		if err := repair.WriteFile(filepath.Join(c.Out, f.name), f.raw); err != nil {
			return err
		}
	}
	return nil
}

// runsFile is runs.jsonl: a line for every run, each search followed by its trials.
func runsFile(lines []Line) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		var trials []Trial
		if l.Search != nil {
			s := *l.Search
			trials, s.Trials = s.Trials, nil
			l.Search = &s
		}
		if err := enc.Encode(l); err != nil {
			return nil, fmt.Errorf("bench: run %s: %w", l.Name, err)
		}
		for _, t := range trials {
			if err := enc.Encode(trialLine{"trial", l.Name, t}); err != nil {
				return nil, fmt.Errorf("bench: run %s: %w", l.Name, err)
			}
		}
	}
	return out.Bytes(), nil
}

// csv is the table for other programs: plain names, full precision, an empty cell where there is no number.
func (r Results) csv() ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	f := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if r.Config.ValuesOnly {
		_ = w.Write([]string{"fault", "stand_in", "metric", "repeats", "faulty_mean", "faulty_sd", "fixed_mean", "fixed_sd", "cohen_d", "published_faulty",
			"published_fixed", "faulty_difference_sd", "fixed_difference_sd"})
		for _, v := range r.Values {
			faulty, healthy := published(v.Fault)
			_ = w.Write([]string{v.Fault.ID, v.Fault.StandIn, string(v.Fault.Metric), strconv.Itoa(r.Config.trainings()), f(v.Faulty.Mean), f(v.Faulty.SD),
				f(v.Fixed.Mean), f(v.Fixed.SD), f(v.Distance), f(faulty), f(healthy), f(v.FaultyOff), f(v.FixedOff)})
		}
		w.Flush()
		return out.Bytes(), w.Error()
	}
	_ = w.Write([]string{"fault", "stand_in", "metric", "technique", "budget", "repeats", "faulty_mean", "faulty_sd", "fixed_mean", "fixed_sd", "patched_mean",
		"patched_sd", "ir", "ir_rounded", "p", "significant", "repaired_repeats", "a12", "gain_low", "gain_high", "aj", "edits", "truth_edits",
		"complexity", "choice_x", "first_x", "first_reached", "verdict_x", "executed_trials", "dead_share", "published_faulty", "published_fixed",
		"published_mean", "published_sd", "published_ir", "published_significant", "published_note", "published_aj", "published_complexity",
		"published_trials"})
	for _, x := range r.Rows {
		pub := x.Fault.Published
		faulty, healthy := published(x.Fault)
		cells := []string{x.Fault.ID, x.Fault.StandIn, string(x.Fault.Metric), x.Technique, x.Budget.String(), strconv.Itoa(x.Repeats), f(x.Faulty.Mean),
			f(x.Faulty.SD), f(x.Fixed.Mean), f(x.Fixed.SD), f(x.Patched.Mean), f(x.Patched.SD), f(x.IR), f(x.RoundedIR), f(x.P),
			strconv.FormatBool(x.Significant), "", f(x.A12), f(x.Interval.Low), f(x.Interval.High), f(x.AJ), f(x.Edits), strconv.Itoa(x.Truth),
			f(x.Complexity), f(x.ChoiceX), f(x.FirstX), strconv.Itoa(x.Reached), f(x.VerdictX), f(x.Executed), f(x.Dead), f(faulty), f(healthy)}
		if r.Config.Protocol == faults.StrictProtocol {
			cells[16] = strconv.Itoa(x.Repaired)
		}
		switch p := x.Published; {
		case p == nil:
			cells = append(cells, "", "", "", "", "")
		case p.Note != "":
			cells = append(cells, "", "", "", "", p.Note)
		default:
			cells = append(cells, f(p.Mean), f(p.SD), f(p.IR), strconv.FormatBool(p.Significant), "")
		}
		optional := func(v float64, ok bool) string {
			if !ok {
				return ""
			}
			return f(v)
		}
		aj, hasAJ := x.publishedAt20(pub.AJ)
		co, hasCo := x.publishedAt20(pub.Complexity)
		tr, hasTr := pub.Trials[x.Budget.times()][x.Technique]
		_ = w.Write(append(cells, optional(aj, hasAJ), optional(co, hasCo), optional(tr, hasTr)))
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// publishedAt20 looks up numbers that there are for 20x alone.
func (x Row) publishedAt20(of map[string]float64) (float64, bool) {
	if x.Budget.times() != "20x" {
		return 0, false
	}
	v, ok := of[x.Technique]
	return v, ok
}

// cell writers of the Markdown tables.
func fixed(v float64, digits int) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-")
	}
	return s
}

func digits(f faults.Fault) int {
	if f.Metric.Maximize() {
		return 2
	}
	return 3
}

func pm(f faults.Fault, s Sample) string {
	if math.IsNaN(s.SD) {
		return fixed(s.Mean, digits(f))
	}
	return fixed(s.Mean, digits(f)) + " ± " + fixed(s.SD, digits(f))
}

// Markdown is table.md.
func (r Results) Markdown() string {
	var w strings.Builder
	c := r.Config
	fmt.Fprintf(&w, "# Fault benchmark: %s protocol, %s scale\n\nRepeats: %d; seed: %d; device: %s.\n", c.Protocol, c.Scale, c.Repeats, c.Seed, r.Device)
	if c.Trainings > 0 {
		fmt.Fprintf(&w, "%d trainings of each faulty and fixed subject.\n", c.Trainings)
	}
	w.WriteString("\nFaults marked * are trained on data that stands in for the published set; see the list at the end. `published` columns are Table III of \"Repairing DNN Architecture: Are We There Yet?\".\n")
	if c.Scale == faults.LiteScale {
		r.liteTable(&w)
	} else {
		r.valueTable(&w)
	}
	if !c.ValuesOnly {
		r.summaryTable(&w)
		for _, b := range c.Budgets {
			fmt.Fprintf(&w, "\n## Budget %s\n", b)
			r.overviewTable(&w, b)
			r.patchTable(&w, b)
			r.resultTable(&w, b)
			r.effortTable(&w, b)
		}
		r.legend(&w)
	}
	r.standIns(&w)
	return w.String()
}

func mark(f faults.Fault) string {
	if f.StandIn != "" {
		return f.ID + "*"
	}
	return f.ID
}

func (r Results) valueTable(w *strings.Builder) {
	w.WriteString("\n## Faulty and fixed\n\nMean ± standard deviation on the hold-out rows; the difference to the published mean in our standard deviations; d is Cohen's d between fixed and faulty.\n\n")
	w.WriteString("| fault | metric | faulty | published | difference | fixed | published | difference | d |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, v := range r.Values {
		n := digits(v.Fault)
		diff := func(off, ours, theirs float64) string {
			if math.IsNaN(off) {
				return fixed(ours-theirs, n)
			}
			return fmt.Sprintf("%s (%s sd)", fixed(ours-theirs, n), fixed(off, 1))
		}
		faulty, healthy := published(v.Fault)
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", mark(v.Fault), v.Fault.Metric, pm(v.Fault, v.Faulty), fixed(faulty, n),
			diff(v.FaultyOff, v.Faulty.Mean, faulty), pm(v.Fault, v.Fixed), fixed(healthy, n), diff(v.FixedOff, v.Fixed.Mean, healthy),
			fixed(v.Distance, 1))
	}
}

// liteTable has the subsets in place of the published values, which are of other trainings.
func (r Results) liteTable(w *strings.Builder) {
	w.WriteString("\n## Faulty and fixed\n\nRows of the two parts of the data set; epochs and batch size, faulty → fixed where the fix changes them. Mean ± standard deviation on the hold-out rows; d is Cohen's d between fixed and faulty, A12 the share of pairs of which the fixed is better. Scores that are not finite are left out of means and d; A12 has them as the worst.\n\n")
	w.WriteString("| fault | metric | training rows | test rows | epochs | batch | faulty | fixed | d | A12 |\n|---|---|---|---|---|---|---|---|---|---|\n")
	change := func(faulty, fixed int) string {
		if faulty == fixed {
			return strconv.Itoa(faulty)
		}
		return fmt.Sprintf("%d → %d", faulty, fixed)
	}
	for _, v := range r.Values {
		l := v.Fault.Lite
		fmt.Fprintf(w, "| %s | %s | %d | %d | %s | %s | %s | %s | %s | %s |\n", mark(v.Fault), v.Fault.Metric, l.Train, l.Test, change(l.Epochs, l.FixedEpochs),
			change(l.Batch, l.FixedBatch), finite(v.Fault, v.faulty), finite(v.Fault, v.fixed), fixed(v.Distance, 1), fixed(v.A12, 2))
	}
}

// finite is the mean of the scores that are finite, and how many are not.
func finite(f faults.Fault, v []float64) string {
	n := len(v) - len(finiteOf(v))
	if n == 0 {
		return pm(f, sampleOf(v))
	}
	return fmt.Sprintf("%s, %d of %d not finite", pm(f, sampleOf(finiteOf(v))), n, len(v))
}

func (r Results) summaryTable(w *strings.Builder) {
	w.WriteString("\n## Summary\n\n| technique | budget | faults | significant | published | mean IR | median IR | published mean | IR >= 0.9 | within 0.25 of the published IR | AJ | edits | dead trials |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range r.Summaries() {
		sig, near := "–", "–"
		if s.Compared > 0 {
			sig, near = strconv.Itoa(s.PublishedSignificant), fmt.Sprintf("%d of %d", s.Near, s.Compared)
		}
		fmt.Fprintf(w, "| %s | %s | %d | %d | %s | %s | %s | %s | %d | %s | %s | %s | %s %% |\n", s.Technique, s.Budget, s.Faults, s.Significant, sig,
			fixed(s.MeanIR, 2), fixed(s.MedianIR, 2), fixed(s.PublishedMeanIR, 2), s.Good, near, fixed(s.MeanAJ, 2), fixed(s.Edits, 1), fixed(100*s.Dead, 0))
	}
}

func (r Results) resultTable(w *strings.Builder, b Budget) {
	strict := r.Config.Protocol == faults.StrictProtocol
	head := "| fault | technique | faulty | patched | fixed | IR | IR rounded | p | significant | A12 | gain (95 %) |"
	if strict {
		head = "| fault | technique | faulty | patched | fixed | IR | IR rounded | p | repaired | A12 | gain (95 %) |"
	}
	w.WriteString("\n" + head + " published | IR | significant |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.Rows {
		if x.Budget != b {
			continue
		}
		n := digits(x.Fault)
		sig := yes(x.Significant)
		if strict {
			sig = fmt.Sprintf("%s (%d of %d)", sig, x.Repaired, x.Repeats)
		}
		published := "– | – | –"
		if p := x.Published; p != nil && p.Note != "" {
			published = p.Note + " | – | –"
		} else if p != nil {
			published = fmt.Sprintf("%s | %s | %s", pm(x.Fault, Sample{p.Mean, p.SD}), fixed(p.IR, 2), yes(p.Significant))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s … %s | %s |\n", mark(x.Fault), x.Technique, pm(x.Fault, x.Faulty),
			pm(x.Fault, x.Patched), pm(x.Fault, x.Fixed), fixed(x.IR, 2), fixed(x.RoundedIR, 2), strconv.FormatFloat(x.P, 'g', 3, 64), sig,
			fixed(x.A12, 2), fixed(x.Interval.Low, n), fixed(x.Interval.High, n), published)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (r Results) effortTable(w *strings.Builder, b Budget) {
	w.WriteString("\n| fault | technique | AJ | published | edits | truth | complexity | published | trainings to the choice | to IR >= 0.9 | verdict | trials | published | dead |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.Rows {
		if x.Budget != b {
			continue
		}
		pub := x.Fault.Published
		look := func(v float64, ok bool, n int) string {
			if !ok {
				return "–"
			}
			return fixed(v, n)
		}
		aj, hasAJ := x.publishedAt20(pub.AJ)
		co, hasCo := x.publishedAt20(pub.Complexity)
		tr, hasTr := pub.Trials[b.times()][x.Technique]
		first := "–"
		if x.Reached > 0 {
			first = fmt.Sprintf("%s (%d of %d)", fixed(x.FirstX, 1), x.Reached, x.Repeats)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %d | %s | %s | %s | %s | %s | %s | %s | %s %% |\n", mark(x.Fault), x.Technique, fixed(x.AJ, 2),
			look(aj, hasAJ, 2), fixed(x.Edits, 1), x.Truth, fixed(x.Complexity, 2), look(co, hasCo, 2), fixed(x.ChoiceX, 1), first,
			fixed(x.VerdictX, 1), fixed(x.Executed, 1), look(tr, hasTr, 1), fixed(100*x.Dead, 0))
	}
}

func (r Results) legend(w *strings.Builder) {
	w.WriteString("\n## What the columns say\n\n")
	if r.Config.Protocol == faults.PublishedProtocol {
		w.WriteString("The search is scored on 80 % of the test rows. Its first trial, the faulty configuration, is dropped; the best of the others by that score gives its model's metric on the other 20 %. Where that is NaN or worse than the faulty mean, the faulty mean counts. p: scipy's two-sided signed-rank test of the trainings of the faulty subject against the results of the repeats; significant: p < 0.05 and IR > 0.\n")
	} else {
		fmt.Fprintf(w, "The search is scored on a part of the training rows. The verdict alone looks at the test rows: %d paired trainings of the faulty and the patched subject with new seeds, from scratch; an output that is not finite has the worst score there. Patched is the mean of the repeats' means, in which a training without a finite score counts as the best constant answer; nothing is clipped. p: median over the repeats of the verdict's p-value after Holm's correction over the %d faults, the largest of its one-sided tests: over seeds (exact signed-rank) and over rows (jackknife), against the faulty subject and, where that is no better, against one answer for all rows; a repeat repairs where its own p is below 0.05, a row where most of its repeats do. A repeat without a patch leaves the faulty mean.\n", r.Pairs, len(r.Config.Entries))
	}
	w.WriteString(`
- IR = (patched - faulty) / (fixed - faulty) of the means; rounded: of means rounded as published.`)
	if r.Config.Protocol == faults.StrictProtocol {
		w.WriteString(" Where no training of the faulty subject has a finite score, the score of the best constant answer stands for its mean.")
	}
	w.WriteString(`
- A12: Vargha and Delaney's, patched against faulty; gain: bootstrap interval of the mean difference, positive is better.
- AJ: share of the ground truth's kinds of hyper-parameters (act, batch_size, epochs, loss, lr, optimizer, ki, kr) that the patch changes too.
- complexity: edits as a share of the keys that could be searched. Both, and AJ, over the repeats with a patch, clipped or not.
- trainings to the choice: cost of search and minimisation in trainings of the faulty subject, by the cost model; to IR >= 0.9: cost up to the first trial that reaches it on the search rows, over the repeats that do; verdict: its own trainings, apart.
- trials: those after the first that were trained to their end or diverged. dead: share of all trials after the first that diverged, failed, have outputs that are not finite, or an accuracy no higher than a constant answer's.
- published AJ and complexity are known for 20x.
`)
}

func (r Results) standIns(w *strings.Builder) {
	faults := map[string][]string{} // by what they are trained on
	var order []string
	for _, v := range r.Values {
		text := v.Fault.StandIn
		if text == "" {
			continue
		}
		if faults[text] == nil {
			order = append(order, text)
		}
		faults[text] = append(faults[text], v.Fault.ID)
	}
	if len(order) > 0 {
		w.WriteString("\n## Stand-ins\n\n")
	}
	for _, text := range order {
		fmt.Fprintf(w, "- %s: %s\n", strings.Join(faults[text], ", "), text)
	}
}
