package operators

import (
	"slices"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
	"netmend/train/lower"
)

// Ending says where a network ends, in the targets that slots have: for techniques that treat the output layer in another way than the hidden
// ones.
type Ending struct {
	Units     int        // of the output; 0: there are several outputs or targets, or it is not known which layer they come from
	Function  string     // the activation of the output, "linear" for none
	Output    repair.Key // the slot that sets it; whether the space has it is another question
	head      repair.Key // the slot of output_head
	now       ending     // of the subject, with all activations of the output
	semantics train.Semantics
	metric    train.Metric
	sparse    bool // labels are indices, and the subject's own loss takes them so where it is a cross-entropy of classes
	last      map[string]bool
	apart     map[string]bool
}

// FindEnding looks at a subject's graph; without a graph nothing is known, and every target is hidden.
func FindEnding(s repair.Subject) Ending {
	e := Ending{now: ending{loss: lossWord(s.Recipe.Loss)}, semantics: s.Recipe.Semantics, metric: s.Recipe.Metric, last: map[string]bool{}, apart: map[string]bool{}}
	if s.Model == nil || s.Model.Graph == nil {
		return e
	}
	v := newView(s)
	e.sparse = s.Recipe.Loss.Name != "categorical_crossentropy" && slices.ContainsFunc(v.heads(), func(h head) bool { return h.loss.Sparse() })
	for _, l := range v.layers {
		if l.last {
			e.last[l.name()], e.last[l.kernel], e.last[l.bias] = true, true, true
		}
	}
	delete(e.last, "") // a layer without a bias
	for _, x := range v.activations() {
		e.last[x.name] = !v.deep[x.out]
		if x.fn == "softmax" && v.ofProduct(x.in) || v.gates(x.out) {
			e.apart[x.name] = true
		}
	}
	for _, p := range v.params(lower.Embedding, lower.Kernel, lower.Bias) {
		if p.Role == lower.Embedding || p.Node.Is("LSTM") || p.Node.Is("GRU") || p.Node.Is("RNN") {
			e.apart[p.Name] = true
		}
	}
	if l, sites, ok := v.outputLayer(); ok {
		e.Units, e.Function, e.Output = l.units, "linear", repair.Key{Operator: addActivation.name, Target: l.name()}
		e.head, e.now = repair.Key{Operator: outputHead.name, Target: l.name()}, headOf(l, sites, s.Recipe.Loss).ending()
		if len(sites) > 0 {
			e.Function, e.Output = sites[0].fn, repair.Key{Operator: activation.name, Target: sites[0].name}
		}
	}
	return e
}

// Hidden says whether a target belongs to a layer that another one depends on, or stands behind such a layer.
func (e Ending) Hidden(target string) bool { return !e.last[target] && !e.apart[target] }

// Apart says whether a target is none of a layer's own functions and weights: a table of embeddings, the weights of a recurrent layer, the softmax
// inside an attention, a function whose result is multiplied with another's, as in the cells of recurrent layers.
func (e Ending) Apart(target string) bool { return e.apart[target] }

// ofProduct says whether a value is, up to constants, masks and the order of its elements, the product of two computed values.
func (v *view) ofProduct(value string) bool {
	for range len(v.g.Nodes) {
		n := v.maker[value]
		if n == nil {
			return false
		}
		inputs := n.Inputs
		switch {
		case n.Is("MatMul"), n.Is("Einsum"):
			return !slices.ContainsFunc(inputs, v.isConstant)
		case n.Is("Where"):
			inputs = inputs[1:]
		case n.Is("Add"), n.Is("Mul"), n.Is("Div"), n.Is("Sub"):
		case reshapers[n.OpType], n.Is("Cast"), n.Is("Clip"):
			inputs = inputs[:1]
		default:
			return false
		}
		i := slices.IndexFunc(inputs, func(in string) bool { return v.maker[in] != nil && !v.isConstant(in) })
		if i < 0 {
			return false
		}
		value = inputs[i]
	}
	return false
}

// gates says whether a value is multiplied with another computed one.
func (v *view) gates(value string) bool {
	return slices.ContainsFunc(v.users[value], func(n *onnx.Node) bool {
		return n.Is("Mul") && slices.ContainsFunc(n.Inputs, func(in string) bool { return in != value && !v.isConstant(in) })
	})
}
