package operators

import (
	"math"
	"slices"

	"netmend/onnx"
)

// site is an activation function in the graph: one node, or the few that an exporter wrote it as (PyTorch's GELU is five).
type site struct {
	name    string // of the node that gives the result: what the activation is targeted by
	fn      string // the function, as activations name it
	nodes   []*onnx.Node
	in, out string
}

// activationOps are the operators that are an activation by themselves. Exp and Log are ones only where nothing else is computed
// from them.
var activationOps = map[string]string{"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Elu": "elu", "Selu": "selu", "Celu": "celu",
	"LeakyRelu": "leaky_relu", "PRelu": "prelu", "ThresholdedRelu": "thresholded_relu", "HardSigmoid": "hard_sigmoid", "HardSwish": "hard_swish",
	"Softplus": "softplus", "Softsign": "softsign", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Exp": "exponential", "Gelu": "gelu",
	"Mish": "mish"}

// maxSite bounds the nodes of one activation; PyTorch's GELU with tanh has eight.
const maxSite = 10

// activations are the activations of the graph, in the order of their results.
func (v *view) activations() []*site {
	if !v.looked {
		v.looked = true
		v.findSites()
	}
	return v.sites
}

// findSites finds the activations, composed ones first: a region of elementwise nodes between one value and another is recognised by what
// it computes.
func (v *view) findSites() {
	taken := map[*onnx.Node]bool{}
	add := func(x *site) {
		if x == nil || slices.ContainsFunc(x.nodes, func(n *onnx.Node) bool { return taken[n] }) {
			return
		}
		for _, n := range x.nodes {
			taken[n] = true
		}
		last := x.nodes[len(x.nodes)-1]
		x.name, x.out = nodeName(last), last.Output(0)
		v.sites = append(v.sites, x)
	}
	seen := map[string]bool{"": true}
	for _, n := range v.g.Nodes {
		for _, in := range n.Inputs {
			if seen[in] || v.isConstant(in) {
				continue
			}
			seen[in] = true
			add(v.region(in))
		}
	}
	for _, n := range v.g.Nodes {
		fn, ok := activationOps[n.OpType]
		if !ok || !n.Is(n.OpType) || v.isConstant(n.Input(0)) {
			continue
		}
		add(&site{fn: fn, nodes: []*onnx.Node{n}, in: n.Input(0)})
	}
	slices.SortFunc(v.sites, func(a, b *site) int { return v.place[a.nodes[len(a.nodes)-1]] - v.place[b.nodes[len(b.nodes)-1]] })
}

// region finds a composed activation of a value: the shortest run of elementwise nodes that takes all uses of the value to one result and
// computes a known function; one node longer where a logarithm follows.
func (v *view) region(in string) *site {
	if users := v.users[in]; len(users) == 1 {
		if _, plain := activationOps[users[0].OpType]; plain && !v.logFollows(users[0]) {
			return nil
		}
	}
	x := &site{in: in}
	inside := map[string]bool{in: true}
	for len(x.nodes) < maxSite {
		n := v.nextElementwise(x.nodes, inside)
		if n == nil {
			return nil
		}
		x.nodes = append(x.nodes, n)
		inside[n.Output(0)] = true
		if !v.oneExit(x.nodes, in) {
			continue
		}
		fn := v.recognise(x.nodes, in)
		if fn == "" || v.logFollows(n) {
			continue
		}
		if len(x.nodes) == 1 && activationOps[n.OpType] != "" {
			return nil // found again as a node
		}
		x.fn = fn
		return x
	}
	return nil
}

func (v *view) logFollows(n *onnx.Node) bool {
	users := v.users[n.Output(0)]
	return len(users) == 1 && users[0].Is("Log") && n.Is("Sigmoid")
}

// nextElementwise is the first node outside the region that is elementwise and computed from inside and constants alone; nil if there is none.
func (v *view) nextElementwise(nodes []*onnx.Node, inside map[string]bool) *onnx.Node {
	var first *onnx.Node
	for value := range inside {
		for _, n := range v.users[value] {
			if (first == nil || v.place[n] < v.place[first]) && !slices.Contains(nodes, n) && v.elementwiseFrom(n, inside) {
				first = n
			}
		}
	}
	return first
}

// elementwiseFrom says whether a node is elementwise and computed from these values and constants alone. The bias of a layer with one unit is one number
// as well, and part of the layer.
func (v *view) elementwiseFrom(n *onnx.Node, inside map[string]bool) bool {
	if elementwise[n.OpType] == nil && !n.Is("Clip") || !n.Is(n.OpType) || len(n.Outputs) != 1 || v.biasNodes[n] {
		return false
	}
	return !slices.ContainsFunc(n.Inputs, func(in string) bool { return in != "" && !inside[in] && len(v.constant(in)) != 1 })
}

// oneExit says whether nothing outside the nodes uses in or a result of theirs but the last one's.
func (v *view) oneExit(nodes []*onnx.Node, in string) bool {
	values := []string{in}
	for _, n := range nodes[:len(nodes)-1] {
		if values = append(values, n.Output(0)); v.outputs[n.Output(0)] {
			return false
		}
	}
	for _, value := range values {
		if slices.ContainsFunc(v.users[value], func(n *onnx.Node) bool { return !slices.Contains(nodes, n) }) {
			return false
		}
	}
	return true
}

// probes are the points at which a region is compared with the known functions: both sides of every kink of theirs.
var probes = []float64{-7, -4, -2.9, -2, -1.1, -0.6, -0.3, -0.05, 0.02, 0.1, 0.4, 0.9, 1.3, 2.2, 3.4, 5.5, 6.5}

// known are the functions that exporters write with several nodes, or with Clip.
var known = []struct {
	fn string
	f  func(x float64) float64
}{
	{"relu", func(x float64) float64 { return max(0, x) }},
	{"relu6", func(x float64) float64 { return min(6, max(0, x)) }},
	{"hard_tanh", func(x float64) float64 { return min(1, max(-1, x)) }},
	{"hard_sigmoid", func(x float64) float64 { return min(1, max(0, x/6+0.5)) }},
	{"hard_sigmoid", func(x float64) float64 { return min(1, max(0, 0.2*x+0.5)) }},
	{"hard_swish", func(x float64) float64 { return x * min(1, max(0, x/6+0.5)) }},
	{"gelu", func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }},
	{"gelu_tanh", func(x float64) float64 { return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) }},
	{"swish", func(x float64) float64 { return x / (1 + math.Exp(-x)) }},
	{"mish", func(x float64) float64 { return x * math.Tanh(math.Log1p(math.Exp(x))) }},
	{"softsign", func(x float64) float64 { return x / (1 + math.Abs(x)) }},
	{"softplus", func(x float64) float64 { return math.Log1p(math.Exp(x)) }},
	{"log_sigmoid", func(x float64) float64 { return -math.Log1p(math.Exp(-x)) }},
	{"tanh_shrink", func(x float64) float64 { return x - math.Tanh(x) }},
	{"leaky_relu", func(x float64) float64 { return max(0.01*x, x) }},
	{"leaky_relu", func(x float64) float64 { return max(0.2*x, x) }},
	{"leaky_relu", func(x float64) float64 { return max(0.3*x, x) }},
}

// recognise names the function that a region computes, "" for none of the known.
func (v *view) recognise(nodes []*onnx.Node, in string) string {
	results := make([]float64, len(probes))
	for i, x := range probes {
		y, ok := v.evaluate(nodes, in, x)
		if !ok {
			return ""
		}
		results[i] = y
	}
	for _, k := range known {
		same := true
		for i, x := range probes {
			// The constants are float32: the formulas agree to its precision times the size of the terms.
			same = same && math.Abs(results[i]-k.f(x)) <= 1e-5*(1+math.Abs(x))
		}
		if same {
			return k.fn
		}
	}
	return ""
}

// elementwise are the functions that composed activations are made of; the second argument belongs to the operators that have one.
var elementwise = map[string]func(n *onnx.Node, a, b float64) float64{
	"Add":      func(_ *onnx.Node, a, b float64) float64 { return a + b },
	"Sub":      func(_ *onnx.Node, a, b float64) float64 { return a - b },
	"Mul":      func(_ *onnx.Node, a, b float64) float64 { return a * b },
	"Div":      func(_ *onnx.Node, a, b float64) float64 { return a / b },
	"Max":      func(_ *onnx.Node, a, b float64) float64 { return max(a, b) },
	"Min":      func(_ *onnx.Node, a, b float64) float64 { return min(a, b) },
	"Pow":      func(_ *onnx.Node, a, b float64) float64 { return math.Pow(a, b) },
	"Abs":      func(_ *onnx.Node, a, _ float64) float64 { return math.Abs(a) },
	"Neg":      func(_ *onnx.Node, a, _ float64) float64 { return -a },
	"Exp":      func(_ *onnx.Node, a, _ float64) float64 { return math.Exp(a) },
	"Log":      func(_ *onnx.Node, a, _ float64) float64 { return math.Log(a) },
	"Sqrt":     func(_ *onnx.Node, a, _ float64) float64 { return math.Sqrt(a) },
	"Erf":      func(_ *onnx.Node, a, _ float64) float64 { return math.Erf(a) },
	"Relu":     func(_ *onnx.Node, a, _ float64) float64 { return max(0, a) },
	"Sigmoid":  func(_ *onnx.Node, a, _ float64) float64 { return 1 / (1 + math.Exp(-a)) },
	"Tanh":     func(_ *onnx.Node, a, _ float64) float64 { return math.Tanh(a) },
	"Softplus": func(_ *onnx.Node, a, _ float64) float64 { return math.Log1p(math.Exp(a)) },
	"Identity": func(_ *onnx.Node, a, _ float64) float64 { return a },
	"HardSigmoid": func(n *onnx.Node, a, _ float64) float64 {
		return min(1, max(0, float64(n.Float("alpha", 0.2))*a+float64(n.Float("beta", 0.5))))
	},
}

// binary are those of elementwise with two arguments.
var binary = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Max": true, "Min": true, "Pow": true}

// evaluate computes a region for one number.
func (v *view) evaluate(nodes []*onnx.Node, in string, x float64) (float64, bool) {
	values := map[string]float64{in: x}
	at := func(name string) (float64, bool) {
		if y, ok := values[name]; ok {
			return y, true
		}
		if c := v.constant(name); len(c) == 1 {
			return c[0], true
		}
		return 0, false
	}
	y := x
	for _, n := range nodes {
		a, ok := at(n.Input(0))
		if !ok {
			return 0, false
		}
		switch {
		case n.Is("Clip"):
			lo, hi := float64(n.Float("min", -math.MaxFloat32)), float64(n.Float("max", math.MaxFloat32))
			if c, ok := at(n.Input(1)); ok {
				lo = c
			}
			if c, ok := at(n.Input(2)); ok {
				hi = c
			}
			y = min(hi, max(lo, a))
		case binary[n.OpType]:
			b, ok := at(n.Input(1))
			if !ok || len(n.Inputs) != 2 {
				return 0, false
			}
			y = elementwise[n.OpType](n, a, b)
		default:
			y = elementwise[n.OpType](n, a, 0)
		}
		values[n.Output(0)] = y
	}
	return y, true
}
