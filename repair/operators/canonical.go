package operators

import (
	"fmt"
	"slices"
	"strings"

	"netmend/repair"
	"netmend/train"
)

// lossKey is the slot of the loss.
var lossKey = repair.Key{Operator: "loss", Target: recipeTarget}

// Canonical names a patch so that those have one name that make the same of the output: a function of it and a loss of that, and one loss of logits that is both,
// labels as indices or as one of many. Their trainings and their predictions are the same up to rounding. What makes of the output what the subject does goes by the
// name of the other edits.
func (e Ending) Canonical(p repair.Patch) string {
	rest := slices.DeleteFunc(slices.Clone(p), func(x repair.Edit) bool { return x.Key() == e.head || e.overridden(x) })
	if len(rest) == len(p) {
		return p.String()
	}
	then := e.objective(e.patched(p))
	if then == e.objective(e.now) {
		return rest.String()
	}
	return rest.String() + "; " + then.String()
}

// Changes says how much a patch changes of the output, to choose among those that train alike: 2 for each of width, function and loss, and 1 more for a new loss that
// has its labels in another form than the data, or is of logits where the output is none.
func (e Ending) Changes(p repair.Patch) int {
	then := e.patched(p)
	n := 0
	for _, changed := range []bool{then.width != e.now.width, then.fn != e.now.fn, then.loss != e.now.loss} {
		if changed {
			n += 2
		}
	}
	if then.loss != e.now.loss && (strings.HasPrefix(then.loss, "categorical_crossentropy") && e.sparse || strings.HasSuffix(then.loss, fromLogits) && then.fn != "linear") {
		n++
	}
	return n
}

// patched is the ending that a patch gives the subject.
func (e Ending) patched(p repair.Patch) ending {
	then := e.now
	if v, ok := p.Get(e.Output); ok { // the last of the functions, where there are several
		then.fn = then.fn[:strings.LastIndex(then.fn, "+")+1] + v.Text
	}
	if v, ok := p.Get(lossKey); ok {
		then.loss = v.Text
	}
	if v, ok := p.Get(e.head); ok { // applied after both
		fmt.Sscanf(v.Text, "%d %s %s", &then.width, &then.fn, &then.loss)
	}
	return then
}

// objective is what stands for all that train and predict alike. Cross-entropies that fit their function are computed from its input, see logitsBehind of package
// train; so is Keras's of softmax that is said to be of logits. Errors of the output differ with its function all the same.
func (e Ending) objective(x ending) ending {
	x.loss = strings.TrimPrefix(x.loss, "sparse_")
	if !e.metric.Maximize() {
		return x
	}
	fitting := map[string]string{"categorical_crossentropy": "softmax", "binary_crossentropy": "sigmoid"}
	switch name, logits := strings.CutSuffix(x.loss, fromLogits); {
	case !logits && x.fn == fitting[name]:
		x.fn, x.loss = "linear", name+fromLogits
	case logits && x.fn == "softmax" && fitting[name] == x.fn && e.semantics == train.Keras:
		x.fn = "linear"
	}
	return x
}

// With puts an edit into a patch, and takes those out that it overrides.
func (e Ending) With(p repair.Patch, x repair.Edit) repair.Patch {
	if x.Key() == e.head {
		p = slices.DeleteFunc(slices.Clone(p), e.overridden)
	}
	return p.With(x)
}

// overridden says whether output_head, which is applied later, sets what an edit has set.
func (e Ending) overridden(x repair.Edit) bool { return x.Key() == lossKey || x.Key() == e.Output }
