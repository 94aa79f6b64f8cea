// Package suspicion learns from mutants of healthy networks which edits symptoms point at: the table that package diagnose ships.
//
// The healthy networks are the thirteen fixed subjects of the fault benchmark. A subject is mutated with DeepCrime's operators and with edits of
// our own that DeepCrime has no operator for ([mutations]); of every mutant that is really worse, all of diagnose's symptoms and the slots whose
// edit undoes the mutation make a [Record] ([Make]). Counts of records are the table ([Count]), and how early a ranking by it names what
// repairs a fault of the benchmark is its figure of merit ([Rank]).
package suspicion

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"netmend/faults/mutate"
	"netmend/repair"
	"netmend/repair/operators"
)

// mutation is a way to spoil a subject at a place.
type mutation struct {
	operator string // DeepCrime's three letters, or the name of a repair operator whose edit it is
	target   string
	values   []repair.Value
	undo     string // the repair operator whose slot at the target takes it back; "": none does
}

// undoneBy says which repair operator takes back what an operator of DeepCrime does. Data and layers without a bias are taken back by none.
var undoneBy = map[string]string{"HBS": "batch_size", "HDB": "batch_size", "HLR": "learning_rate", "HNE": "epochs", "ACH": "activation", "ARM": "activation",
	"AAL": "activation", "RAW": "regularizer", "RCW": "regularizer", "RRW": "regularizer", "RCD": "dropout", "RCP": "early_stopping", "VRM": "early_stopping",
	"WCI": "kernel_initializer", "LCH": "loss", "OCH": "optimizer", "OCG": "gradient_clip"}

// further are repair operators whose edits spoil a subject in a way that no operator of DeepCrime does.
var further = []string{"learning_rate", "bias_initializer", "preprocessing", "input_scaling", "shuffle", "output_head", "units", "layer", "batch_normalization",
	"dropout", "gradient_clip", "schedule"}

// mutations are all mutations of a subject, in a fixed order.
func mutations(s repair.Subject) []mutation {
	var out []mutation
	for _, o := range mutate.All() {
		for _, x := range o.Sites(s) {
			values := slices.Clone(x.Values)
			if x.Values == nil { // a range: its end and its middle
				middle := (x.From + x.To) / 2
				if o.ID == "HLR" { // rates are measured on a logarithmic scale
					middle = x.From / 30
				}
				values = []repair.Value{repair.Num(x.To), repair.Num(middle)}
				if x.Whole {
					values[1].Number = float64(int(middle))
				}
				if values[1].Number == x.To || values[1].Number == x.From {
					values = values[:1]
				}
			}
			out = append(out, mutation{o.ID, x.Target, values, undoneBy[o.ID]})
		}
	}
	for _, name := range further {
		o, _ := operators.All().Find(name)
		for _, x := range o.Slots(s) {
			if v := spoils(x); len(v) > 0 {
				out = append(out, mutation{name, x.Target, v, name})
			}
		}
	}
	return out
}

// spoils are values of a slot that DeepCrime has no operator for. Learning rates go up; it lowers them.
func spoils(x repair.Slot) []repair.Value {
	var out []repair.Value
	switch {
	case x.Operator == "learning_rate":
		for _, factor := range []float64{10, 100, 1000} {
			if v := repair.Num(x.Current.Number * factor); x.Domain.Contains(v) {
				out = append(out, v)
			}
		}
	case x.Operator == "dropout":
		for _, v := range []repair.Value{repair.Num(0.5), repair.Num(0.9)} {
			if v != x.Current {
				out = append(out, v)
			}
		}
	case x.Domain.Kind == repair.Choice:
		for _, v := range x.Domain.Choices {
			if v != x.Current {
				out = append(out, v)
			}
		}
	}
	return out
}

// apply makes the mutant.
func (m mutation) apply(s repair.Subject, v repair.Value, seed uint64) (repair.Subject, error) {
	if m.operator == strings.ToUpper(m.operator) {
		o, err := mutate.Select(m.operator)
		if err != nil {
			return s, err
		}
		return o[0].Apply(s, m.target, v, seed)
	}
	return operators.All().Apply(s, repair.NewPatch(repair.Edit{Operator: m.operator, Target: m.target, Value: v}))
}

// candidate is a mutation with one of its values.
type candidate struct {
	mutation
	value repair.Value
}

// candidates are the mutants of each operator in an order that the seed draws, so that the first few are a sample of all.
func candidates(s repair.Subject, subject string, seed uint64) [][]candidate {
	byOperator := map[string][]candidate{}
	var order []string
	for _, m := range mutations(s) {
		if byOperator[m.operator] == nil {
			order = append(order, m.operator)
		}
		for _, v := range m.values {
			byOperator[m.operator] = append(byOperator[m.operator], candidate{m, v})
		}
	}
	var out [][]candidate
	for _, name := range order {
		list := byOperator[name]
		r := rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%s %s %d", subject, name, seed))))
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		out = append(out, list)
	}
	return out
}

// restoring are operators whose edit may take back what another operator has done: an output without its activation gets it from add_activation or
// from output_head.
var restoring = []string{"activation", "add_activation", "output_head", "loss", "optimizer", "learning_rate"}

// undo lists the slots of the mutant's space whose edit takes the mutation back: the one that the mutation is of, and all that one edit of gives
// the healthy subject.
func undo(healthy, mutant repair.Subject, space repair.Space, m mutation) []repair.Key {
	if m.undo == "" {
		return nil
	}
	var out []repair.Key
	for _, x := range space {
		own := x.Operator == m.undo && x.Target == m.target
		// A step that scaled the inputs is gone from the recipe; in the graph it can be put back.
		rescales := m.operator == "preprocessing" && x.Operator == "input_scaling"
		if own || rescales || slices.Contains(restoring, x.Operator) && restores(healthy, mutant, x) {
			out = append(out, x.Key())
		}
	}
	return out
}

// restores says whether one value of a slot makes the healthy subject of the mutant.
func restores(healthy, mutant repair.Subject, x repair.Slot) bool {
	values := x.Domain.Choices
	if x.Operator == "learning_rate" {
		values = []repair.Value{repair.Num(healthy.Recipe.Optimizer.LearningRate)}
	}
	for _, v := range values {
		if v == x.Current || !x.Domain.Contains(v) {
			continue
		}
		y, err := operators.All().Apply(mutant, repair.NewPatch(repair.Edit{Operator: x.Operator, Target: x.Target, Value: v}))
		if err == nil && alike(healthy, y) {
			return true
		}
	}
	return false
}

// alike says whether two subjects have the same recipe and graphs that differ in names at most.
func alike(a, b repair.Subject) bool {
	return a.Recipe.Equal(b.Recipe) && slices.Equal(shape(a), shape(b))
}

// shape lists what a graph is made of, without names.
func shape(s repair.Subject) []string {
	var out []string
	for _, n := range s.Model.Graph.Nodes {
		out = append(out, n.OpType)
	}
	for _, t := range s.Model.Graph.Initializers {
		out = append(out, fmt.Sprint(t.Dims))
	}
	slices.Sort(out)
	return out
}
