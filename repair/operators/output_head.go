package operators

import (
	"fmt"
	"slices"
	"strings"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// head is what a network ends in, with the loss that reads it.
type head struct {
	width int
	fn    string // activation
	loss  train.Loss
}

func (h head) String() string { return h.ending().String() }

func (h head) ending() ending { return ending{h.width, h.fn, lossWord(h.loss)} }

// ending is a head in the words that values of output_head have.
type ending struct {
	width    int
	fn, loss string
}

func (x ending) String() string { return fmt.Sprintf("%d %s %s", x.width, x.fn, x.loss) }

// headOf is the head of a layer and the activations behind it, from the output backwards: the first that is applied comes first in its name.
func headOf(l layer, sites []*site, loss train.Loss) head {
	h := head{l.units, "linear", loss}
	for i, x := range sites {
		if i == 0 {
			h.fn = x.fn
		} else {
			h.fn = x.fn + "+" + h.fn
		}
	}
	return h
}

// outputHead fits the end of the network to the labels: the number of units, the activation and the loss together. Classes get one
// unit each with softmax and cross-entropy, or with logits; two classes also a single sigmoid unit; several labels per sample a sigmoid
// each; regression targets a linear unit each. A value names all three: "10 softmax sparse_categorical_crossentropy".
var outputHead = operator{
	name: "output_head", noun: "output head",
	doc: "fits width, activation and loss of the output to the labels",
	slots: func(v *view) []repair.Slot {
		l, sites, ok := v.outputLayer()
		if !ok {
			return nil
		}
		d := repair.Domain{}
		for _, h := range v.heads() {
			if v.fitsHead(l, h) {
				d.Choices = append(d.Choices, repair.Word(h.String()))
			}
		}
		if len(d.Choices) == 0 {
			return nil
		}
		word := repair.Word(headOf(l, sites, v.Recipe.Loss).String())
		return []repair.Slot{{Target: l.name(), Domain: with(d, word), Current: word}}
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		i := slices.IndexFunc(v.heads(), func(h head) bool { return h.String() == value.Text })
		if i < 0 {
			return fmt.Errorf("head %q does not fit the labels", value.Text)
		}
		return v.setHead(v.heads()[i])
	},
}

// outputLayer is the layer that the only graph output comes from, and the activations in between, from the output backwards.
func (v *view) outputLayer() (layer, []*site, bool) {
	if len(v.g.Outputs) != 1 || len(v.Data.Targets) != 1 {
		return layer{}, nil, false
	}
	value := v.g.Outputs[0].Name
	var sites []*site
	for range len(v.g.Nodes) {
		if i := slices.IndexFunc(v.layers, func(l layer) bool { return l.out == value }); i >= 0 {
			return v.layers[i], sites, v.layers[i].last
		}
		if i := slices.IndexFunc(v.activations(), func(x *site) bool { return x.out == value }); i >= 0 {
			sites = append(sites, v.activations()[i])
			value = v.activations()[i].in
			continue
		}
		n := v.maker[value]
		if n == nil || !reshapers[n.OpType] && !pools[n.OpType] && !n.Is("BatchNormalization") && !n.Is("ReduceMean") && !n.Is("Cast") {
			break
		}
		value = n.Input(0)
	}
	return layer{}, nil, false
}

// heads are those that fit the labels.
func (v *view) heads() []head {
	if len(v.Data.Targets) != 1 {
		return nil
	}
	t := &v.Data.Targets[0]
	size := t.RowSize()
	if v.Recipe.Task == train.Regression {
		return []head{{size, "linear", train.Loss{Name: "mean_squared_error"}}, {size, "linear", train.Loss{Name: "mean_absolute_error"}}}
	}
	both := func(width int, fn, name string) []head {
		return []head{{width, fn, train.Loss{Name: name}}, {width, "linear", train.Loss{Name: name, FromLogits: true}}}
	}
	labels, ok := data.Labels(t)
	switch {
	case !ok && size > 1 && zeroOne(t):
		return both(size, "sigmoid", "binary_crossentropy")
	case !ok:
		return nil
	case size > 1:
		return both(size, "softmax", "categorical_crossentropy")
	}
	_, hi := data.LabelRange(labels)
	classes := int(hi) + 1
	if classes < 2 || classes > min(maxUnits, len(labels)) { // identifiers, not classes
		return nil
	}
	heads := both(classes, "softmax", "sparse_categorical_crossentropy")
	if classes == 2 {
		heads = append(heads, both(1, "sigmoid", "binary_crossentropy")...)
	}
	return heads
}

func zeroOne(a *data.Array) bool {
	return !slices.ContainsFunc(a.AsFloat().Float, func(x float32) bool { return x != 0 && x != 1 })
}

// fitsHead says whether the network can end that way: its width can be set, and the units are the output's last axis where softmax works
// over them.
func (v *view) fitsHead(l layer, h head) bool {
	output := v.g.Outputs[0].Name
	plan, err := v.planResize(l, h.width)
	if err != nil {
		return h.width == l.units && h.fn != "softmax" && !strings.HasPrefix(h.loss.Name, "categorical") && !h.loss.Sparse()
	}
	if len(plan.outputs) != 1 || plan.outputs[0] != output || h.width != l.units && v.inits[l.kernel].Type != onnx.Float32 {
		return false
	}
	s, rank := plan.spans[output], len(v.shape(output))
	return s.total(h.width) == h.width && s.axis == rank-1 && v.activationDomain(rank).Contains(repair.Word(h.fn))
}

func (v *view) setHead(h head) error {
	l, sites, _ := v.outputLayer()
	if h.width != l.units {
		plan, err := v.planResize(l, h.width)
		if err != nil {
			return err
		}
		if err := plan.commit(); err != nil {
			return err
		}
	}
	same := len(sites) == 1 && sites[0].fn == h.fn
	for !same && len(sites) > 0 { // one fewer each time; what they are called may change with them
		before := len(sites)
		if err := v.replaceSite(sites[0], "linear"); err != nil {
			return err
		}
		*v = *newView(v.Subject)
		if _, sites, _ = v.outputLayer(); len(sites) >= before {
			return fmt.Errorf("activation %q cannot be taken out", sites[0].name)
		}
	}
	if h.fn != "linear" && !same {
		if err := v.insertActivation(v.g.Outputs[0].Name, l.name()+"_"+h.fn, h.fn); err != nil {
			return err
		}
	}
	v.Recipe.Loss = h.loss
	return nil
}
