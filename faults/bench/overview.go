package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"netmend/faults"
	"netmend/repair/stats"
)

// overviewTable has the techniques side by side, fault by fault, and what they come to: medians of the repeats, which one search that has failed does not
// decide, as it does the means of the summary.
func (r Results) overviewTable(w *strings.Builder, b Budget) {
	techniques := r.Config.Techniques
	strict := r.Config.Protocol == faults.StrictProtocol
	at := map[string]Row{} // fault, blank, technique
	for _, x := range r.Rows {
		if x.Budget == b {
			at[x.Fault.ID+" "+x.Technique] = x
		}
	}
	proven := ""
	if strict {
		proven = "repeats of which the repair is proven, "
	}
	fmt.Fprintf(w, "\n### Side by side\n\nMedian IR of the repeats, %smedian trainings of search and minimisation.\n\n| fault |", proven)
	for _, t := range techniques {
		fmt.Fprintf(w, " %s |", t)
	}
	w.WriteString("\n|---|" + strings.Repeat("---|", len(techniques)) + "\n")
	for _, v := range r.Values {
		fmt.Fprintf(w, "| %s |", mark(v.Fault))
		for _, t := range techniques {
			x := at[v.Fault.ID+" "+t]
			cell := fixed(stats.Median(x.rates), 2)
			if strict {
				cell += fmt.Sprintf(", %d of %d", x.Repaired, x.Repeats)
			}
			fmt.Fprintf(w, " %s, %s |", cell, fixed(stats.Median(x.costs), 1))
		}
		w.WriteString("\n")
	}
	type line struct {
		name string
		cell func([]Row) string
	}
	median := func(digits int, of func(Row) []float64) func([]Row) string {
		return func(rows []Row) string { return fixed(stats.Median(gather(rows, of)), digits) }
	}
	lines := []line{
		{"median IR of all searches", median(2, func(x Row) []float64 { return x.rates })},
		{"faults with a median IR of at least 0.9", good},
	}
	if strict {
		lines = append(lines, line{"proven repairs", func(rows []Row) string {
			n, all := 0, 0
			for _, x := range rows {
				n, all = n+x.Repaired, all+x.Repeats
			}
			return fmt.Sprintf("%d of %d", n, all)
		}})
	}
	lines = append(lines, line{"median trainings", median(1, func(x Row) []float64 { return x.costs })}, line{"median edits", median(1, func(x Row) []float64 { return x.sizes })})
	for _, l := range lines {
		fmt.Fprintf(w, "| **%s** |", l.name)
		for _, t := range techniques {
			var rows []Row
			for _, v := range r.Values {
				rows = append(rows, at[v.Fault.ID+" "+t])
			}
			fmt.Fprintf(w, " %s |", l.cell(rows))
		}
		w.WriteString("\n")
	}
}

// gather is what the repeats of all rows have.
func gather(rows []Row, of func(Row) []float64) (out []float64) {
	for _, x := range rows {
		out = append(out, of(x)...)
	}
	return out
}

// good counts the rows whose repeats have a good rate in the median.
func good(rows []Row) string {
	n := 0
	for _, x := range rows {
		if stats.Median(x.rates) >= goodRate {
			n++
		}
	}
	return strconv.Itoa(n)
}

// longestPatch is the number of edits up to which a table has a patch in words; all of them are in runs.jsonl.
const longestPatch = 4

// patchTable has what the searches found.
func (r Results) patchTable(w *strings.Builder, b Budget) {
	fmt.Fprintf(w, "\n### Patches\n\nIR of the means over the repeats and median of theirs, median trainings. A patch that stands alone is that of all repeats; of several, each is of as many as the number in brackets says, or of one; –: none. Of more than %d edits their number.\n\n", longestPatch)
	proven, line := "", ""
	if r.Config.Protocol == faults.StrictProtocol {
		proven, line = " proven |", "---|"
	}
	fmt.Fprintf(w, "| fault | technique | IR of means | median IR |%s trainings | patches |\n|---|---|---|---|%s---|---|\n", proven, line)
	for _, x := range r.Rows {
		if x.Budget != b {
			continue
		}
		if proven != "" {
			proven = fmt.Sprintf(" %d of %d |", x.Repaired, x.Repeats)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |%s %s | %s |\n", mark(x.Fault), x.Technique, fixed(x.IR, 2), fixed(stats.Median(x.rates), 2), proven,
			fixed(stats.Median(x.costs), 1), patchCell(x.patches))
	}
}

// patchCell has each patch once, the most frequent first.
func patchCell(patches [][]string) string {
	count := map[string]int{}
	var texts []string
	for _, words := range patches {
		text := strings.ReplaceAll(strings.Join(words, "; "), "->", "→")
		switch n := len(words); {
		case n == 0:
			text = "–"
		case n > longestPatch:
			text = fmt.Sprintf("%d edits", n)
		}
		if count[text]++; count[text] == 1 {
			texts = append(texts, text)
		}
	}
	slices.SortStableFunc(texts, func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	for i, text := range texts {
		if len(texts) > 1 && count[text] > 1 {
			texts[i] = fmt.Sprintf("%s (%d)", text, count[text])
		}
	}
	return strings.Join(texts, " / ")
}
