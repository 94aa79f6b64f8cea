package operators

import (
	"fmt"
	"math"
	"slices"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// publishedActivations are the eleven of the published search space, in its order; further ones follow.
var publishedActivations = []string{"elu", "softmax", "selu", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid", "exponential", "linear"}
var furtherActivations = []string{"leaky_relu", "thresholded_relu", "gelu", "swish"}

// activationSince is the first operator set that has what a function is built of; one that is absent is in all from 7 on.
var activationSince = map[string]int64{"thresholded_relu": 10, "gelu": 9}

// activationDomain lists the functions that the model's operator set can express behind a value of the given rank (0: not known).
func (v *view) activationDomain(rank int) repair.Domain {
	opset := v.Model.Opset("")
	var words []string
	for _, fn := range slices.Concat(publishedActivations, furtherActivations) {
		if opset < activationSince[fn] || opset < 7 {
			continue
		}
		if fn == "softmax" && opset < 13 && rank != 2 { // it flattened everything behind its axis then
			continue
		}
		words = append(words, fn)
	}
	return choice(words...)
}

// activation changes the function of an activation that is there, the output's too; linear takes it out. A function that is named as
// the current one keeps its parameters (a LeakyReLU its slope); a new one gets its framework's.
var activation = operator{
	name: "activation", noun: "activation",
	doc: "changes an activation function or removes it (linear)",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, x := range v.activations() {
			if !v.wants(x.name) {
				continue
			}
			now := repair.Word(x.fn)
			slots = append(slots, repair.Slot{Target: x.name, Domain: with(v.activationDomain(len(v.shape(x.in))), now), Current: now})
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		i := slices.IndexFunc(v.activations(), func(x *site) bool { return x.name == slot.Target })
		return v.replaceSite(v.activations()[i], value.Text)
	},
}

// addActivation puts an activation behind a dense or convolutional layer that has none, behind its normalisation where it has one. Layers
// whose result is summed or joined with another are left out: their activation follows the sum.
var addActivation = operator{
	name: "add_activation", noun: "activation",
	doc: "adds an activation function after a layer that has none",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, l := range v.layers {
			if !v.wants(l.name()) {
				continue
			}
			b := v.block(l)
			if b.site != nil || v.joined(b.end) || v.activated(b.end) {
				continue
			}
			slots = append(slots, repair.Slot{Target: l.name(), Domain: v.activationDomain(len(v.shape(b.end))), Current: repair.Word("linear")})
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		l, _ := v.layerNamed(slot.Target)
		b := v.block(l)
		at := b.out
		if b.norm != nil {
			at = b.norm.Output(0)
		}
		return v.insertActivation(at, slot.Target+"_"+value.Text, value.Text)
	},
}

// joined says whether a value goes into an operator together with another computed value.
func (v *view) joined(value string) bool {
	return slices.ContainsFunc(v.users[value], func(n *onnx.Node) bool {
		if !n.Is("Add") && !n.Is("Concat") && !n.Is("Sum") && !n.Is("Mul") && !n.Is("Sub") {
			return false
		}
		return slices.ContainsFunc(n.Inputs, func(in string) bool { return in != value && !v.isConstant(in) })
	})
}

// reshapers only move elements; an activation behind them is the activation of the layer before them.
var reshapers = map[string]bool{"Reshape": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true, "Flatten": true, "Identity": true}

// activated says whether the first thing behind a value, but for reshapers, is an activation.
func (v *view) activated(value string) bool {
	for range len(v.g.Nodes) {
		if slices.ContainsFunc(v.activations(), func(x *site) bool { return x.in == value }) {
			return true
		}
		users := v.users[value]
		if len(users) != 1 || !reshapers[users[0].OpType] || v.outputs[value] {
			return false
		}
		value = users[0].Output(0)
	}
	return false
}

// insertActivation puts a function behind a value.
func (v *view) insertActivation(value, name, fn string) error {
	id := onnx.NewNode("Identity", v.g.NewName(name), nil, nil)
	if err := v.g.InsertAfter(value, id); err != nil {
		return err
	}
	x := &site{name: id.Name, nodes: []*onnx.Node{id}, in: id.Input(0), out: id.Output(0)}
	return v.replaceSite(x, fn)
}

// replaceSite puts the nodes of a function in the place of those of an activation. The node that gives the result keeps the
// activation's name.
func (v *view) replaceSite(x *site, fn string) error {
	g := v.g
	at := slices.Index(g.Nodes, x.nodes[len(x.nodes)-1])
	if at < 0 {
		return fmt.Errorf("activation %q is not in the graph", x.name)
	}
	g.Nodes[at] = onnx.NewNode("Identity", x.name, []string{x.in}, []string{x.out})
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *onnx.Node) bool { return slices.Contains(x.nodes, n) })
	i := slices.IndexFunc(g.Nodes, func(n *onnx.Node) bool { return n.Output(0) == x.out })
	if fn == "linear" {
		// An identity stays where nothing can take the result's name: between the graph's input and its output.
		_ = g.Remove(g.Nodes[i])
		return nil
	}
	return v.build(i, fn)
}

// build turns an Identity node, number i of the graph, into a function. Softmax works over the units: axis 1 of feature maps, else the last.
func (v *view) build(i int, fn string) error {
	g, id := v.g, v.g.Nodes[i]
	opset := v.Model.Opset("")
	n := onnx.NewNode("", id.Name, []string{id.Input(0)}, []string{id.Output(0)})
	keras := v.Recipe.Semantics == train.Keras
	switch fn {
	case "elu":
		n.OpType = "Elu"
	case "softmax":
		n.OpType = "Softmax"
		axis := int64(-1)
		if v.featureMap(id.Input(0)) || opset < 13 && opset >= 7 {
			axis = 1
		}
		n.SetInt("axis", axis)
	case "selu":
		n.OpType = "Selu"
	case "softplus":
		n.OpType = "Softplus"
	case "softsign":
		n.OpType = "Softsign"
	case "relu":
		n.OpType = "Relu"
	case "tanh":
		n.OpType = "Tanh"
	case "sigmoid":
		n.OpType = "Sigmoid"
	case "hard_sigmoid": // relu6(x+3)/6 in torch and in Keras 3
		n.OpType = "HardSigmoid"
		n.SetFloat("alpha", 1.0/6)
		n.SetFloat("beta", 0.5)
	case "exponential":
		n.OpType = "Exp"
	case "leaky_relu": // the slopes of torch.nn.LeakyReLU and keras.layers.LeakyReLU
		n.OpType = "LeakyRelu"
		if n.SetFloat("alpha", 0.01); keras {
			n.SetFloat("alpha", 0.3)
		}
	case "thresholded_relu":
		n.OpType = "ThresholdedRelu"
	case "gelu":
		return v.buildGelu(i, n)
	case "swish":
		gate := onnx.NewNode("Sigmoid", g.NewName(id.Name+"_gate"), []string{n.Inputs[0]}, []string{g.NewName(id.Name + "_gate_output")})
		n.OpType, n.Inputs = "Mul", []string{n.Inputs[0], gate.Outputs[0]}
		g.Nodes = slices.Insert(g.Nodes, i, gate)
		i++
	default:
		return fmt.Errorf("activation %q cannot be made", fn)
	}
	g.Nodes[i] = n
	return nil
}

// buildGelu writes x/2·(1 + erf(x/√2)) (Hendrycks and Gimpel 2016) as one node where the operator set has it, else as PyTorch does.
func (v *view) buildGelu(i int, n *onnx.Node) error {
	g, x := v.g, n.Inputs[0]
	if v.Model.Opset("") >= 20 {
		n.OpType = "Gelu"
		g.Nodes[i] = n
		return nil
	}
	step := func(op, part string, inputs ...string) string {
		out := g.NewName(n.Name + "_" + part)
		g.Nodes = slices.Insert(g.Nodes, i, onnx.NewNode(op, g.NewName(out+"_node"), inputs, []string{out}))
		i++
		return out
	}
	scalar := func(part string, value float32) string {
		out := v.scalarNode(i, n.Name+"_"+part, onnx.NewFloat32("", nil, []float32{value}))
		i++
		return out
	}
	e := step("Erf", "erf", step("Div", "scaled", x, scalar("root_two", math.Sqrt2)))
	p := step("Mul", "gated", x, step("Add", "gate", e, scalar("one", 1)))
	n.OpType, n.Inputs = "Mul", []string{p, scalar("half", 0.5)}
	g.Nodes[i] = n
	return nil
}

// featureMap says whether a value comes from a convolution with nothing that moves axes in between.
func (v *view) featureMap(value string) bool {
	for range len(v.g.Nodes) {
		n := v.maker[value]
		switch {
		case n == nil || n.Is("Gemm") || n.Is("MatMul") || n.Is("Reshape") || n.Is("Flatten") || n.Is("Transpose"):
			return false
		case n.Is("Conv"):
			return true
		}
		value = n.Input(0)
	}
	return false
}
