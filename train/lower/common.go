package lower

import (
	"fmt"
	"slices"
	"strings"

	"netmend/onnx"
)

// Exporters repeat themselves: one Shape, Cast or mask for every use of it. A node that does what one before it did – the same operator with
// the same attributes on the same values – is not lowered again but has that one's outputs.

// repeated gives the current node the outputs of an equal one before it, if there is one. Dropout draws its own numbers, and batch
// normalisation updates its own statistics: neither repeats another.
func (e *env) repeated(n *onnx.Node) bool {
	key, ok := e.signature(n)
	if !ok {
		return false
	}
	first := e.seen[key]
	if first == nil {
		e.seen[key] = n
		return false
	}
	for i, out := range n.Outputs {
		if _, have := e.values[first.Output(i)]; out != "" && e.used[out] && !have {
			return false
		}
	}
	for i, out := range n.Outputs {
		if v, have := e.values[first.Output(i)]; out != "" && have {
			e.values[out] = v
		}
	}
	if end, have := e.ends[first.Output(0)]; have {
		e.ends[n.Output(0)] = end
	}
	return true
}

// signature says what a node computes: its operator, its attributes and the values that it reads. There is none for nodes inside bodies and
// for those whose attributes are tensors or graphs.
func (e *env) signature(n *onnx.Node) (string, bool) {
	if e.depth > 0 || len(n.Inputs) == 0 || !defaultDomain(n) || n.Is("Dropout") || n.Is("BatchNormalization") ||
		e.model.Function(n.Domain, n.OpType, n.Overload) != nil {
		return "", false
	}
	parts := []string{n.OpType}
	for i := range n.Inputs {
		switch v, err := e.get(n.Input(i)); {
		case n.Input(i) == "":
			parts = append(parts, "-")
		case err != nil:
			return "", false
		case v.host != nil:
			parts = append(parts, fmt.Sprintf("%p", v.host))
		default:
			parts = append(parts, fmt.Sprint(v.id, v.elem))
		}
	}
	var attrs []string
	for _, a := range n.Attrs {
		switch a.Type {
		case onnx.AttrInt, onnx.AttrInts, onnx.AttrFloat, onnx.AttrFloats, onnx.AttrString, onnx.AttrStrings:
			attrs = append(attrs, fmt.Sprintf("%s=%d %v %q %v %v %q", a.Name, a.Int, a.Float, a.Str, a.Ints, a.Floats, a.Strings))
		default:
			return "", false
		}
	}
	slices.Sort(attrs)
	return strings.Join(append(parts, attrs...), "\x00"), true
}
