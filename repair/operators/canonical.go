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
	now, then := e.objective(e.faulty()), e.objective(e.patched(p))
	if now == then {
		return rest.String()
	}
	return fmt.Sprintf("%s; %d %s %s", rest, then.width, then.fn, then.loss)
}

// Changes counts what a patch changes of the output, half changes: two for each of its width, function and loss, and one more for a loss that is in other words than
// it need be, of labels in another form than they have or of logits where there are none.
func (e Ending) Changes(p repair.Patch) int {
	now, then := e.faulty(), e.patched(p)
	n := 0
	for _, changed := range []bool{then.width != now.width, then.fn != now.fn, then.loss != now.loss} {
		if changed {
			n += 2
		}
	}
	if then.loss != now.loss && (strings.HasPrefix(then.loss, "categorical_crossentropy") && e.sparse || strings.HasSuffix(then.loss, fromLogits) && then.fn != "linear") {
		n++
	}
	return n
}

// faulty is the ending of the subject.
func (e Ending) faulty() ending { return ending{e.now.width, e.now.fn, lossWord(e.now.loss)} }

// patched is the ending that a patch gives the subject.
func (e Ending) patched(p repair.Patch) ending {
	then := e.faulty()
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

// ending is a head in words.
type ending struct {
	width    int
	fn, loss string
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
