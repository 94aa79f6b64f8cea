// Package operators holds the fault-fix operators: the edits of graph and recipe that a repair may consist of, one file each.
//
// Every operator is a value of type operator: it lists its slots on a view of the subject and changes a copy. What is common to all is
// here: copying the subject, comparing a value with the slot's domain, doing nothing where the value is there already, clearing away
// constants and recipe entries that an edit leaves without use.
//
// Nodes are targeted by name. A node without one goes by the name of its first output, and keeps that as its name from the first edit on,
// so that later edits of the same patch still find it.
package operators

import (
	"fmt"
	"slices"
	"strings"

	"netmend/onnx"
	"netmend/repair"
)

// recipeTarget is the target of edits that concern the whole recipe.
const recipeTarget = "recipe"

// operator implements repair.Operator.
type operator struct {
	name, doc string
	noun      string // what the value is the value of, for Words
	slots     func(v *view) []repair.Slot
	// apply changes v, a copy of the subject. The value is of the slot's domain and not the current one.
	apply func(v *view, slot repair.Slot, value repair.Value) error
	// accepts says which values outside the slot's domain may be set all the same: a domain is what a search draws from, and a patch that
	// somebody wrote may well say 500 rows per batch. nil: none.
	accepts func(v *view, slot repair.Slot, value repair.Value) bool
	// words is the sentence for an edit; nil: "noun of target current -> value".
	words func(v *view, slot repair.Slot, value repair.Value) string
}

// All lists the operators in the order in which the edits of a patch are applied: the recipe first (the optimizer before its learning
// rate, which it resets), then single tensors, then the graph. Within the graph, layers get their parts (activation, normalisation, dropout)
// before they are resized, and are resized before they are repeated or removed with all their parts; the head is fitted to the labels
// last but for the input, which no other edit touches.
func All() repair.Operators {
	all := []operator{optimizer, learningRate, schedule, loss, batchSize, epochs, shuffle, earlyStopping, gradientClip, preprocessing, frozen,
		kernelInitializer, biasInitializer, regularizer,
		activation, addActivation, batchNormalization, dropout, units, layerRepeat, outputHead, inputScaling}
	out := make(repair.Operators, len(all))
	for i := range all {
		out[i] = &all[i]
	}
	return out
}

// Description is an operator's name and what it does.
type Description struct{ Name, Doc string }

// Describe lists all operators in the order of application.
func Describe() []Description {
	var out []Description
	for _, o := range All() {
		out = append(out, Description{o.Name(), o.Doc()})
	}
	return out
}

func (o *operator) Name() string { return o.name }
func (o *operator) Doc() string  { return o.doc }

// Slots lists where the operator can be applied; a subject without a graph has none.
func (o *operator) Slots(s repair.Subject) []repair.Slot {
	if s.Model == nil || s.Model.Graph == nil {
		return nil
	}
	return o.slotsOf(newView(s))
}

func (o *operator) slotsOf(v *view) []repair.Slot {
	slots := o.slots(v)
	for i := range slots {
		slots[i].Operator = o.name
	}
	return slots
}

// slot finds the slot of a target.
func (o *operator) slot(s repair.Subject, target string) (repair.Slot, bool) {
	if s.Model == nil || s.Model.Graph == nil || target == "" {
		return repair.Slot{}, false
	}
	v := newView(s)
	v.only = target
	slots := o.slotsOf(v)
	i := slices.IndexFunc(slots, func(x repair.Slot) bool { return x.Target == target })
	if i < 0 {
		return repair.Slot{}, false
	}
	return slots[i], true
}

// Apply makes the change on a copy; an edit that sets what is there already gives the subject back as it is.
func (o *operator) Apply(s repair.Subject, e repair.Edit) (repair.Subject, error) {
	slot, ok := o.slot(s, e.Target)
	if !ok {
		return repair.Subject{}, fmt.Errorf("operators: %s: there is no target %q here%s", o.name, e.Target, targets(o.Slots(s)))
	}
	if e.Value == slot.Current {
		return s, nil
	}
	if !slot.Domain.Contains(e.Value) && (o.accepts == nil || !o.accepts(newView(s), slot, e.Value)) {
		return repair.Subject{}, fmt.Errorf("operators: %s of %q: value %s is not %s", o.name, e.Target, e.Value, domainWords(slot.Domain))
	}
	s.Model = s.Model.Clone()
	s.Recipe = s.Recipe.Clone()
	nameNodes(s)
	unused := unusedConstants(s.Model.Graph)
	v := newView(s)
	if err := o.apply(v, slot, e.Value); err != nil {
		return repair.Subject{}, fmt.Errorf("operators: %s of %q: %w", o.name, e.Target, err)
	}
	tidy(&v.Subject, unused)
	if err := v.Recipe.Check(); err != nil {
		return repair.Subject{}, fmt.Errorf("operators: %s of %q: %w", o.name, e.Target, err)
	}
	return v.Subject, nil
}

// Words says what an edit does to the subject.
func (o *operator) Words(s repair.Subject, e repair.Edit) string {
	slot, ok := o.slot(s, e.Target)
	if !ok {
		return e.String()
	}
	if o.words != nil {
		return o.words(newView(s), slot, e.Value)
	}
	of := ""
	if e.Target != recipeTarget {
		of = " of " + e.Target
	}
	return fmt.Sprintf("%s%s: %s -> %s", o.noun, of, slot.Current, e.Value)
}

func targets(slots []repair.Slot) string {
	if len(slots) == 0 {
		return "; the operator does not apply to this subject"
	}
	var names []string
	for i, s := range slots {
		if i == 8 {
			names = append(names, "…")
			break
		}
		names = append(names, s.Target)
	}
	return ": there are " + strings.Join(names, ", ")
}

func domainWords(d repair.Domain) string {
	switch d.Kind {
	case repair.Choice:
		words := make([]string, len(d.Choices))
		for i, c := range d.Choices {
			words[i] = c.String()
		}
		return "one of " + strings.Join(words, ", ")
	case repair.Integer:
		return fmt.Sprintf("a whole number from %v to %v", d.Min, d.Max)
	}
	return fmt.Sprintf("a number from %v to %v", d.Min, d.Max)
}

// nodeName is what a node is targeted by.
func nodeName(n *onnx.Node) string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != "" {
			return o
		}
	}
	return ""
}

// nameNodes gives every node the name that it is targeted by, and the recipe's dropout rates the new names.
func nameNodes(s repair.Subject) {
	taken := map[string]bool{}
	for _, n := range s.Model.Graph.Nodes {
		taken[n.Name] = true
	}
	for _, n := range s.Model.Graph.Nodes {
		name := nodeName(n)
		if n.Name != "" || taken[name] {
			continue
		}
		if rate, ok := s.Recipe.Dropout[n.Label()]; ok {
			delete(s.Recipe.Dropout, n.Label())
			s.Recipe.Dropout[name] = rate
		}
		n.Name, taken[name] = name, true
	}
}

// unusedConstants are the initializers and Constant nodes' outputs that nothing uses.
func unusedConstants(g *onnx.Graph) map[string]bool {
	used := map[string]bool{}
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			used[in] = true
		}
		if len(n.Subgraphs()) > 0 { // what a body takes from outside is not looked up: keep everything
			return nil
		}
	}
	for i := range g.Outputs {
		used[g.Outputs[i].Name] = true
	}
	unused := map[string]bool{}
	for _, t := range g.Initializers {
		if !used[t.Name] {
			unused[t.Name] = true
		}
	}
	for _, n := range g.Nodes {
		if n.Is("Constant") && !used[n.Output(0)] {
			unused[n.Output(0)] = true
		}
	}
	return unused
}

// tidy removes constants that lost their use by an edit, what the recipe said of them and of nodes that are gone, and types of values that
// are gone.
func tidy(s *repair.Subject, before map[string]bool) {
	g := s.Model.Graph
	gone := unusedConstants(g)
	for name := range before {
		delete(gone, name)
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *onnx.Node) bool { return n.Is("Constant") && gone[n.Output(0)] })
	g.Initializers = slices.DeleteFunc(g.Initializers, func(t *onnx.Tensor) bool { return gone[t.Name] })
	g.Inputs = slices.DeleteFunc(g.Inputs, func(x onnx.Value) bool { return gone[x.Name] }) // IR version 3 lists initializers there too
	for name := range gone {
		delete(s.Recipe.Initializers, name)
		delete(s.Recipe.Regularizers, name)
	}
	s.Recipe.Frozen = slices.DeleteFunc(s.Recipe.Frozen, func(name string) bool { return gone[name] })
	outputs, nodes := map[string]bool{}, map[string]bool{}
	for _, n := range g.Nodes {
		nodes[n.Name], nodes[n.Label()] = true, true
		for _, o := range n.Outputs {
			outputs[o] = true
		}
	}
	g.ValueInfo = slices.DeleteFunc(g.ValueInfo, func(x onnx.Value) bool {
		return !outputs[x.Name] && g.Input(x.Name) == nil && g.Initializer(x.Name) == nil
	})
	for name := range s.Recipe.Dropout {
		if !nodes[name] {
			delete(s.Recipe.Dropout, name)
		}
	}
}

// wholeFrom1 accepts the whole numbers that a recipe takes for its epochs and its batch size.
func wholeFrom1(_ *view, _ repair.Slot, value repair.Value) bool {
	return repair.Domain{Kind: repair.Integer, Min: 1, Max: 1 << 24}.Contains(value)
}

// choice makes a domain of words.
func choice(words ...string) repair.Domain {
	d := repair.Domain{}
	for _, w := range words {
		d.Choices = append(d.Choices, repair.Word(w))
	}
	return d
}

// with adds a value to a Choice domain that lacks it.
func with(d repair.Domain, v repair.Value) repair.Domain {
	if !slices.Contains(d.Choices, v) {
		d.Choices = append(slices.Clone(d.Choices), v)
	}
	return d
}
