package bench

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"

	"netmend/faults"
)

// The files that Healthy.Write makes, with RunsFile.
const (
	HealthyFile    = "healthy.md"
	HealthyCSVFile = "healthy.csv"
)

// Write makes the tables of the results in the output folder. They hold no times: equal results give equal bytes.
func (h Healthy) Write() error {
	runs, err := runsFile(h.Lines)
	if err != nil {
		return err
	}
	table, err := h.csv()
	if err != nil {
		return err
	}
	return h.Config.write([]file{{RunsFile, runs}, {HealthyCSVFile, table}, {HealthyFile, []byte(h.Markdown())}})
}

// verdictGain is what the verdict measured, positive where the patch is better; nil without a patch.
func (x HealthyRun) verdictGain(c Config, f faults.Fault) *Gain {
	iv := x.Search.Interval
	if iv == nil {
		return nil
	}
	g := &Gain{Mean: float64(iv.Mean), P: float64(x.Search.P)}
	g.Interval.Low, g.Interval.High = float64(iv.Low), float64(iv.High)
	if d := float64(c.direction(f)); d < 0 {
		g.Mean *= d
		g.Interval.Low, g.Interval.High = d*g.Interval.High, d*g.Interval.Low
	}
	return g
}

// csv has a line for every search: plain names, full precision, an empty cell where there is no number.
func (h Healthy) csv() ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	head := []string{"network", "fixed_fault", "stand_in", "metric", "technique", "budget", "repeat", "outcome", "verdict", "start_mean", "start_sd", "start_unseen_mean", "start_unseen_sd",
		"unseen_rows"}
	for _, of := range []string{"verdict", "holdout", "unseen"} {
		head = append(head, of+"_gain", of+"_gain_low", of+"_gain_high", of+"_p")
	}
	_ = w.Write(append(head, "edits", "patch", "reason"))
	f := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	for _, r := range h.Rows {
		for _, x := range r.Runs {
			cells := []string{r.Fault.Network, r.Fault.ID, r.Fault.StandIn, string(r.Fault.Metric), r.Technique, r.Budget.String(), strconv.Itoa(x.Repeat), string(x.Outcome),
				string(x.Search.Verdict), f(r.Start.Mean), f(r.Start.SD), f(r.Unseen.Mean), f(r.Unseen.SD), strconv.Itoa(r.Rows)}
			for _, g := range []*Gain{x.verdictGain(h.Config, r.Fault), x.Holdout, x.Unseen} {
				if g == nil {
					cells = append(cells, "", "", "", "")
					continue
				}
				cells = append(cells, f(g.Mean), f(g.Interval.Low), f(g.Interval.High), f(g.P))
			}
			_ = w.Write(append(cells, strconv.Itoa(len(x.Search.Patch)), strings.Join(x.Search.Words, "; "), x.Search.Reason))
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// Markdown is healthy.md.
func (h Healthy) Markdown() string {
	var w strings.Builder
	c := h.Config
	fmt.Fprintf(&w, "# Healthy subjects: %s scale\n\nRepeats: %d; seed: %d; device: %s.\n", c.Scale, c.Repeats, c.Seed, h.Device)
	w.WriteString("\nEvery search starts at a subject without a fault: of each network the fixed subject of one fault. Subjects marked * are trained on data that stands in for the published set.\n")
	h.summaryTable(&w)
	h.subjectTable(&w)
	h.repairTable(&w)
	fmt.Fprintf(&w, `
## What the columns say

- no repair: the verdict of `+"`netmend repair`"+` with its default number of pairs, without correction for the number of subjects and repeats: exit code 3. Nothing found: the search had no patch to judge. Refused: the verdict did not take it. Small: it is better, and not by enough to be called a repair (`+"`--min-gain`"+`).
- repaired, by %d pairs of trainings with seeds that neither search nor verdict had, on rows that neither had looked at, up to %d, or on the hold-out rows where the data set has no other rows. Confirmed: the mean gain is above zero, p < %g (exact one-sided signed-rank test over the pairs). Refuted: it is not above zero. Not confirmed: the rest.
- A confirmed repair is no false one: a subject of few epochs and rows is not as good as it can be, and training it longer, say, improves it. A refuted one is; of those not confirmed some may be, so that false repairs are between refuted, and refuted with not confirmed.
- start: mean ± standard deviation of the %d trainings of the subject without a patch; scores that are not finite are left out.
- gain: mean difference, positive where the patched subject is better, and its 95 %% bootstrap interval. p of the verdict: the largest of its tests; 1 where the gain is too small.
`, confirmPairs, unseenRows, Significance, confirmPairs)
	return w.String()
}

func percent(k, n int) string {
	return fmt.Sprintf("%d of %d (%.1f %%)", k, n, 100*float64(k)/float64(max(1, n)))
}

func (h Healthy) summaryTable(w *strings.Builder) {
	w.WriteString("\n## Summary\n\n| technique | budget | subjects | no repair | repaired and confirmed | refuted | refuted or not confirmed |\n|---|---|---|---|---|---|---|\n")
	for _, t := range h.Config.Techniques {
		for _, b := range h.Config.Budgets {
			n := h.Total(t, b)
			all := n.Runs()
			fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %s | %s |\n", t, b, len(h.Config.Entries), percent(n.NoRepair(), all), percent(n[Confirmed], all),
				percent(n[Refuted], all), percent(n[Refuted]+n[NotConfirmed], all))
		}
	}
}

func (h Healthy) subjectTable(w *strings.Builder) {
	w.WriteString("\n## Subjects\n\n| network | fixed fault | technique | budget | metric | start, hold-out rows | start, unseen rows | unseen rows |")
	for _, o := range outcomes {
		fmt.Fprintf(w, " %s |", o)
	}
	w.WriteString("\n|---|---|---|---|---|---|---|---|" + strings.Repeat("---|", len(outcomes)) + "\n")
	for _, r := range h.Rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %d |", r.Fault.Network, mark(r.Fault), r.Technique, r.Budget, r.Fault.Metric, pm(r.Fault, r.Start),
			pm(r.Fault, r.Unseen), r.Rows)
		for _, o := range outcomes {
			fmt.Fprintf(w, " %d |", r.Counts[o])
		}
		w.WriteString("\n")
	}
}

// repairTable lists the patches that were judged.
func (h Healthy) repairTable(w *strings.Builder) {
	head := "\n## Patches\n\nThose that the verdict had to judge.\n\n| run | outcome | gain in the verdict | p | gain with new seeds | p | on unseen rows | p | patch |\n|---|---|---|---|---|---|---|---|---|\n"
	for _, r := range h.Rows {
		n := digits(r.Fault) + 1
		cells := func(g *Gain) string {
			if g == nil {
				return "– | –"
			}
			return fmt.Sprintf("%s (%s … %s) | %s", fixed(g.Mean, n), fixed(g.Interval.Low, n), fixed(g.Interval.High, n), strconv.FormatFloat(g.P, 'g', 2, 64))
		}
		for _, x := range r.Runs {
			if x.Outcome == NothingFound {
				continue
			}
			fmt.Fprintf(w, "%s| %s | %s | %s | %s | %s | %s |\n", head, x.Name, x.Outcome, cells(x.verdictGain(h.Config, r.Fault)), cells(x.Holdout), cells(x.Unseen),
				strings.Join(x.Search.Words, "; "))
			head = ""
		}
	}
}
