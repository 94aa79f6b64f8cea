package technique

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"netmend/repair"
	"netmend/repair/diagnose"
)

// Rules that graph, recipe or data break are known before any training. Where several are broken, mending one may show nothing as long as the others are, so that
// no score of a single edit leads to the repair; what mends all of them does. One is the rule, though, and minimisation has to take apart what mends more: it
// comes after the edits that are suspected most and, once, is trained to its end.

// mending is the edit that a symptom alone asks for most; false: it makes none more likely, by far, than it was before.
func (g *guided) mending(s diagnose.Symptom, before map[repair.Key]diagnose.Suspect) (repair.Edit, bool) {
	var top repair.Edit
	most := 0.0
	suspects := g.suspicion([]diagnose.Symptom{s})
	for _, x := range g.slots() {
		suspect := suspects[x.Key()]
		if suspect.Weight <= twice*before[x.Key()].Weight || !g.setup.Space.Active(x, nil) {
			continue
		}
		for _, v := range g.weighed(x, suspect) {
			if v.weight > most {
				top, most = repair.Edit{Operator: x.Operator, Target: x.Target, Value: v.value}, v.weight
			}
		}
	}
	return top, most > 0
}

// mostRules bounds the edits of what mends broken rules: minimisation has to take them apart again, and pays for it with every edit.
const mostRules = 4

// lawful is what mends the broken rules, those whose edits are the most suspected where there are many, with the geometric mean of the weights that the
// edits have alone; false: fewer than two are broken.
func (g *guided) lawful(symptoms []diagnose.Symptom, singles []candidate) (candidate, bool) {
	var edits []candidate
	before := g.suspicion(nil)
	for _, s := range symptoms {
		if s.Kind.Part() == diagnose.OfTraining || s.Kind.Level() == diagnose.Note {
			continue
		}
		if e, ok := g.mending(s, before); ok {
			name := g.ending.Canonical(repair.NewPatch(e))
			if i := slices.IndexFunc(singles, func(c candidate) bool { return g.ending.Canonical(c.patch) == name }); i >= 0 {
				edits = append(edits, singles[i])
			}
		}
	}
	slices.SortStableFunc(edits, func(a, b candidate) int { return cmp.Compare(b.weight, a.weight) })
	var out candidate
	logs := 0.0
	for _, c := range edits {
		if mendSame(out.patch, c.patch) || len(out.patch) == mostRules {
			continue
		}
		if p := out.patch.With(c.patch[0]); g.possible(p) {
			out.patch, logs = p, logs+math.Log(c.weight)
		}
	}
	out.weight = math.Exp(logs / float64(len(out.patch)))
	out.why = fmt.Sprintf("what mends the %d rules that are broken", len(out.patch))
	return out, len(out.patch) > 1
}
