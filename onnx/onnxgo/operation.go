package onnxgo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	onnxgo "github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gorgonia.org/tensor"

	"netmend/onnx"
)

// ApplyOperation makes an operator of the edges that came since the last one: outputs are its outputs in order.
func (b *Backend) ApplyOperation(op onnxgo.Operation, outputs ...graph.Node) error {
	b.filled = true
	if len(outputs) == 0 {
		return &onnxgo.ErrNotImplemented{Operator: op.Name, Message: "it has no outputs"}
	}
	n := onnx.NewNode(op.Name, "", nil, nil)
	for _, o := range outputs {
		own, ok := o.(*Node)
		if !ok || own.backend != b {
			return fmt.Errorf("onnxgo: op %s: an output is not a node of this backend", op.Name)
		}
		n.Outputs = append(n.Outputs, own.value.name)
	}
	n.Name = firstName(n.Outputs)
	// onnx-go sends the edges once for every output. A second output of the same name (both left out) finds them doubled.
	id := outputs[0].ID()
	for i, e := range b.edges[id][b.fresh[id]:] {
		if e.Weight() != float64(i) {
			break
		}
		n.Inputs = append(n.Inputs, e.To().(*Node).value.name)
	}
	for _, o := range outputs {
		b.fresh[o.ID()] = len(b.edges[o.ID()])
	}
	if len(n.Inputs) == 1 && b.invented(n.Inputs[0]) {
		n.Inputs = nil
	}
	for _, name := range slices.Sorted(maps.Keys(op.Attributes)) {
		a, err := attribute(name, op.Attributes[name])
		if err != nil {
			return &onnxgo.ErrNotImplemented{Operator: op.Name, AttributeName: name, AttributeValue: op.Attributes[name], Message: err.Error()}
		}
		n.Attrs = append(n.Attrs, a)
	}
	for _, o := range outputs {
		o.(*Node).value.made = true
	}
	b.ops = append(b.ops, n)
	return nil
}

// invented says whether a value is the input that onnx-go gives an operator without any, such as Constant: named NODE/input, computed by
// nothing and without a tensor.
func (b *Backend) invented(name string) bool {
	v := b.byName[name]
	return strings.HasSuffix(name, "/input") && !v.made && v.tensor == nil
}

func firstName(names []string) string {
	i := slices.IndexFunc(names, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return names[i]
}

// attribute is an attribute as onnx-go decodes it.
func attribute(name string, v any) (*onnx.Attribute, error) {
	switch v := v.(type) {
	case float32:
		return onnx.Float(name, v), nil
	case int64:
		return onnx.Int(name, v), nil
	case string:
		return onnx.String(name, v), nil
	case []float32:
		return onnx.Floats(name, v...), nil
	case []int64:
		return onnx.Ints(name, v...), nil
	case []string:
		return onnx.Strings(name, v...), nil
	case tensor.Tensor:
		t, err := fromTensor(name, v)
		if err != nil {
			return nil, err
		}
		return onnx.TensorAttr(name, t), nil
	}
	return nil, fmt.Errorf("a %T is not supported", v)
}

// inputs are the values that no node computes and that are no initializers, in the order of the file.
//
// onnx-go makes nodes in the order: inputs, value_info, outputs, initializers that are not listed among the inputs; and sets two tensors on
// an initializer that is. So an initializer is a value with two tensors, or one that no node computes and that came behind an output.
func (b *Backend) inputs() (inputs, initializers []*value) {
	last := int64(-1) // the last node that is an output or value_info
	for _, n := range b.order {
		if v := n.value; v.elem != onnx.Undefined && (v.made || v.aliased && n.id != v.first) {
			last = n.id
		}
	}
	for _, n := range b.order {
		v := n.value
		switch {
		case v.made || v.name == "" || n.id != v.first || v.elem == onnx.Undefined:
		case v.init || n.id > last:
			initializers = append(initializers, v)
		default:
			inputs = append(inputs, v)
		}
	}
	return inputs, initializers
}

// Model is what onnx-go decoded, as a model whose outputs are the nodes of these IDs (the Output field of onnx-go's Model); without any, all
// declared values that a node computes. Inputs have the shapes of the tensors set last, initializers their contents.
func (b *Backend) Model(outputs ...int64) (*onnx.Model, error) {
	m := &onnx.Model{IRVersion: 8, ProducerName: "onnx-go", Graph: &onnx.Graph{Name: "graph"}}
	m.SetOpset("", b.opset)
	for _, n := range b.ops {
		m.Graph.Nodes = append(m.Graph.Nodes, n.Clone())
	}
	inputs, initializers := b.inputs()
	for _, v := range inputs {
		var dims []onnx.Dim
		for _, d := range v.tensor.Shape() {
			dims = append(dims, onnx.NewDim(int64(d)))
		}
		m.Graph.Inputs = append(m.Graph.Inputs, onnx.Value{Name: v.name, Type: onnx.TensorType(elemOf(v.tensor.Dtype()), dims...)})
	}
	for _, v := range initializers {
		t, err := fromTensor(v.name, v.tensor)
		if err != nil {
			return nil, fmt.Errorf("onnxgo: initializer %q: %w", v.name, err)
		}
		m.Graph.Initializers = append(m.Graph.Initializers, t)
	}
	if len(outputs) == 0 {
		for _, n := range b.order {
			if n.value.made && n.value.elem != onnx.Undefined && n.id == n.value.first {
				outputs = append(outputs, n.id)
			}
		}
	}
	for _, id := range outputs {
		n, ok := b.nodes[id]
		if !ok {
			return nil, fmt.Errorf("onnxgo: output: there is no node %d", id)
		}
		m.Graph.Outputs = append(m.Graph.Outputs, onnx.Value{Name: n.value.name, Type: onnx.Type{Kind: onnx.KindTensor, Elem: n.value.elem}})
	}
	if len(m.Graph.Outputs) == 0 {
		return nil, fmt.Errorf("onnxgo: the graph computes no output: decode a model into the backend first")
	}
	return m, nil
}
