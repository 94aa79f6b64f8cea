package lower

import (
	"fmt"
	"slices"

	"netmend/onnx"
)

// Role is what an initializer does in the network.
type Role uint8

const (
	Fixed  Role = iota // the graph alone does not tell it from a constant: shapes, indices, normalisation constants
	Kernel             // weights of a dense, convolutional or matrix-product layer
	Bias
	Scale // of a normalisation
	Shift
	RunningMean
	RunningVar
	Slope     // of PRelu
	Embedding // the table of a Gather
	// Parameter is what the graph makes Fixed and the recipe a weight: position tables, class tokens, scales of layers, peepholes. [Params]
	// never gives it, train.Params does.
	Parameter
)

var roleNames = [...]string{"fixed", "kernel", "bias", "scale", "shift", "running mean", "running variance", "slope", "embedding", "parameter"}

func (r Role) String() string { return roleNames[r] }

// Param is an initializer and its role.
type Param struct {
	Name  string
	Role  Role
	Shape []int
	Node  *onnx.Node // the first node that uses it as what it is; nil for Fixed and Parameter
	// FanIn and FanOut are the numbers of inputs and outputs of one unit as Keras and PyTorch count them: kernel area times channels. A
	// tensor of one dimension that is no kernel counts its length for both, as Keras does.
	FanIn, FanOut int
}

// Params lists the float initializers of a graph in file order. Initializers that are reached through Identity, Cast, Transpose, Reshape,
// Squeeze or Unsqueeze have the role of what comes out.
func Params(m *onnx.Model) ([]Param, error) {
	g := m.Graph
	p := &roles{graph: g, users: make(map[string][]use), maker: make(map[string]*onnx.Node)}
	for _, n := range g.Nodes {
		for i, in := range n.Inputs {
			p.users[in] = append(p.users[in], use{n, i})
		}
		for _, out := range n.Outputs {
			p.maker[out] = n
		}
	}
	var params []Param
	for _, t := range g.Initializers {
		if t.Type != onnx.Float32 && t.Type != onnx.Float64 {
			continue
		}
		q := Param{Name: t.Name, Shape: make([]int, len(t.Dims))}
		n, err := t.NumElements()
		if err != nil || n > 1<<31 {
			return nil, fmt.Errorf("train: weight %q: too many elements", t.Name)
		}
		for i, d := range t.Dims {
			q.Shape[i] = int(d)
		}
		p.role(&q, t.Name, seq(len(q.Shape)), 0)
		params = append(params, q)
	}
	return params, nil
}

type use struct {
	node  *onnx.Node
	index int
}

type roles struct {
	graph *onnx.Graph
	users map[string][]use
	maker map[string]*onnx.Node
}

// role finds q's role from the uses of a value that carries it. perm says which axis of q each axis of the value is; nil when a reshape
// has lost that.
func (p *roles) role(q *Param, value string, perm []int, depth int) {
	for _, u := range p.users[value] {
		if q.Role != Fixed || depth > 8 {
			return
		}
		switch u.node.OpType {
		case "Identity", "Cast":
			p.role(q, u.node.Output(0), perm, depth+1)
		case "Transpose":
			p.role(q, u.node.Output(0), transposed(perm, u.node), depth+1)
		case "Slice": // PyTorch cuts the weights of its gates apart and joins them in ONNX's order
			if u.index == 0 {
				p.role(q, u.node.Output(0), perm, depth+1)
			}
		case "Concat":
			p.role(q, u.node.Output(0), perm, depth+1)
		case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
			if u.index == 0 {
				p.role(q, u.node.Output(0), nil, depth+1)
			}
		default:
			if r := p.roleAt(u, len(q.Shape), q.Shape); r != Fixed {
				q.Role, q.Node = r, u.node
				q.fans(u, perm)
			}
		}
	}
}

func transposed(perm []int, n *onnx.Node) []int {
	if perm == nil {
		return nil
	}
	order := ints(n, "perm")
	out := make([]int, len(perm))
	for i := range perm {
		k := len(perm) - 1 - i
		if len(order) == len(perm) {
			k = order[i]
		}
		if k < 0 || k >= len(perm) {
			return nil
		}
		out[i] = perm[k]
	}
	return out
}

// roleAt is the role of an input of a node.
func (p *roles) roleAt(u use, rank int, shape []int) Role {
	pick := func(r ...Role) Role {
		if u.index < len(r) {
			return r[u.index]
		}
		return Fixed
	}
	switch u.node.OpType {
	case "Conv", "ConvTranspose", "Gemm":
		return pick(Fixed, Kernel, Bias)
	case "RNN", "GRU", "LSTM":
		return pick(Fixed, Kernel, Kernel, Bias)
	case "MatMul":
		if rank >= 2 {
			return Kernel
		}
	case "BatchNormalization":
		return pick(Fixed, Scale, Shift, RunningMean, RunningVar)
	case "InstanceNormalization", "LayerNormalization", "GroupNormalization":
		return pick(Fixed, Scale, Shift)
	case "PRelu":
		return pick(Fixed, Slope)
	case "Gather":
		if u.index == 0 && rank == 2 {
			return Embedding
		}
	case "Add":
		// A vector added to what a linear layer gives is its bias; any other sum with a constant is arithmetic.
		wide := 0
		for _, d := range shape {
			if d != 1 {
				wide++
			}
		}
		if wide <= 1 && len(u.node.Inputs) == 2 && p.linear(u.node.Inputs[1-u.index], 0) {
			return Bias
		}
	}
	return Fixed
}

// linear says whether a value is a linear layer's output, possibly moved around since.
func (p *roles) linear(value string, depth int) bool {
	n := p.maker[value]
	if n == nil || depth > 4 {
		return false
	}
	switch n.OpType {
	case "MatMul", "Gemm", "Conv", "ConvTranspose":
		return true
	case "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity":
		return p.linear(n.Input(0), depth+1)
	}
	return false
}

// fans counts q's inputs and outputs per unit where it is used.
func (q *Param) fans(u use, perm []int) {
	n := 1
	for _, d := range q.Shape {
		n *= d
	}
	q.FanIn, q.FanOut = n, n
	if len(q.Shape) < 2 || q.Role != Kernel && q.Role != Embedding {
		return
	}
	dim := func(i int) int { // size of the value's axis i
		if perm != nil {
			i = perm[i]
		}
		return q.Shape[i]
	}
	rank := len(q.Shape)
	switch u.node.OpType {
	case "Conv", "ConvTranspose":
		// O, I/group, kernel… or transposed I, O/group, kernel…: there, too, both frameworks count axis 1 (Keras' last but one) as the inputs
		// (torch.nn.init._calculate_fan_in_and_fan_out, keras.initializers.compute_fans).
		area := n / max(1, dim(0)*dim(1))
		q.FanIn, q.FanOut = dim(1)*area, dim(0)*area
	case "RNN", "GRU", "LSTM": // directions, gates·hidden, inputs: Keras and PyTorch count the gates as outputs of one matrix
		q.FanIn, q.FanOut = dim(rank-1), dim(rank-2)
	default: // a matrix
		in, out := rank-2, rank-1
		if u.node.OpType == "Gemm" && u.node.Int("transB", 0) != 0 || u.node.OpType == "MatMul" && u.index == 0 {
			in, out = out, in
		}
		q.FanIn, q.FanOut = dim(in), dim(out)
	}
}

// Problem is an operator or a type that cannot be trained.
type Problem struct{ Node, Op, Why string }

func (p Problem) Error() string { return fmt.Sprintf("train: node %q: op %s: %s", p.Node, p.Op, p.Why) }

// Problems lists what of a graph has no lowering, in graph order: its nodes, those of their subgraphs and of the functions they call.
func Problems(m *onnx.Model) []Problem { return problems(m, m.Graph.Nodes, 0) }

func problems(m *onnx.Model, nodes []*onnx.Node, depth int) []Problem {
	var out []Problem
	for _, n := range nodes {
		_, ok := lowerings[n.OpType]
		own := m.Function(n.Domain, n.OpType, n.Overload)
		switch {
		case own != nil && depth < maxDepth:
			out = append(out, problems(m, own.Nodes, depth+1)...)
		case own != nil:
			out = append(out, Problem{n.Label(), opName(n), fmt.Sprintf("functions and subgraphs are nested more than %d deep", maxDepth)})
		case !defaultDomain(n):
			out = append(out, Problem{n.Label(), opName(n), "is not supported: only the default operator set is"})
		case !ok:
			out = append(out, Problem{n.Label(), n.OpType, "is not supported"})
		}
		for _, g := range n.Subgraphs() {
			if depth < maxDepth {
				out = append(out, problems(m, g.Nodes, depth+1)...)
			}
		}
	}
	return out
}

// Check refuses a model with an operator or element type that cannot be trained; the error names op and node, and how many more there are.
func Check(m *onnx.Model) error {
	if m.Graph == nil {
		return fmt.Errorf("train: the model has no graph")
	}
	if p := Problems(m); len(p) > 0 {
		if len(p) > 1 {
			return fmt.Errorf("%w (and %d more nodes)", p[0], len(p)-1)
		}
		return p[0]
	}
	for _, t := range m.Graph.Initializers {
		if !slices.Contains(readable, t.Type) {
			return fmt.Errorf("train: initializer %q has element type %s, which is not supported: export in float32", t.Name, t.Type)
		}
	}
	return nil
}
