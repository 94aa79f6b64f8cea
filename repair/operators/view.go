package operators

import (
	"slices"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// view is a subject with what its graph is made of. On the copy that apply gets, everything may be changed; layers and sites are those from
// before the change.
type view struct {
	repair.Subject
	g         *onnx.Graph
	place     map[*onnx.Node]int // in the order of the graph's nodes
	users     map[string][]*onnx.Node
	maker     map[string]*onnx.Node
	inits     map[string]*onnx.Tensor
	outputs   map[string]bool
	layers    []layer
	biasNodes map[*onnx.Node]bool // that add a layer's bias
	deep      map[string]bool     // values that a layer depends on
	sites     []*site             // see activations
	looked    bool
	types     onnx.Types // see shape
	only      string     // the target that slots are wanted for; "": all
	inferred  bool
}

func newView(s repair.Subject) *view {
	v := &view{Subject: s, g: s.Model.Graph, place: map[*onnx.Node]int{}, users: map[string][]*onnx.Node{}, maker: map[string]*onnx.Node{},
		inits: map[string]*onnx.Tensor{}, outputs: map[string]bool{}, biasNodes: map[*onnx.Node]bool{}}
	for _, t := range v.g.Initializers {
		v.inits[t.Name] = t
	}
	for i := range v.g.Outputs {
		v.outputs[v.g.Outputs[i].Name] = true
	}
	for i, n := range v.g.Nodes {
		v.place[n] = i
		seen := map[string]bool{"": true}
		for _, in := range n.Inputs {
			if !seen[in] {
				v.users[in] = append(v.users[in], n)
				seen[in] = true
			}
		}
		for _, out := range n.Outputs {
			v.maker[out] = n
		}
	}
	v.findLayers()
	return v
}

// wants says whether the slot of a target is asked for: those that are not need not be worked out.
func (v *view) wants(target string) bool { return v.only == "" || v.only == target }

// shape is the inferred shape of a value, -1 for open dimensions; nil where not even the rank is known.
func (v *view) shape(value string) []int64 {
	if !v.inferred {
		v.inferred = true
		v.types, _ = onnx.InferShapes(v.Model) // without types, what needs them is not offered
	}
	dims, ok := v.types[value].Dims()
	if !ok {
		return nil
	}
	return dims
}

// layer is a dense or convolutional layer: the products with a kernel, and the addition of a bias where that is a node of its own.
type layer struct {
	node, add    *onnx.Node // add: the node that adds the bias where the product does not; nil otherwise
	pre, mid     *onnx.Node // Unsqueeze and Squeeze around the convolution that Keras' Conv1D is exported as; nil otherwise
	kernel, bias string     // initializers; bias may be ""
	in, out      string     // values
	outAxis      int        // of the kernel: units
	inAxis       int        // of the kernel: inputs (per group)
	units        int
	conv         bool
	last         bool // no other layer depends on it
}

func (l layer) name() string { return nodeName(l.node) }

// findLayers finds Conv, Gemm and MatMul nodes whose kernel is an initializer.
func (v *view) findLayers() {
	for _, n := range v.g.Nodes {
		l := layer{node: n, kernel: n.Input(1), in: n.Input(0), out: n.Output(0)}
		k := v.inits[l.kernel]
		if k == nil || !k.Type.IsFloat() || v.inits[l.in] != nil {
			continue
		}
		switch {
		case n.Is("Conv") && len(k.Dims) >= 3:
			l.conv, l.outAxis, l.inAxis = true, 0, 1
		case n.Is("Gemm") && len(k.Dims) == 2 && n.Int("transA", 0) == 0:
			l.outAxis, l.inAxis = 1, 0
			if n.Int("transB", 0) != 0 {
				l.outAxis, l.inAxis = 0, 1
			}
		case n.Is("MatMul") && len(k.Dims) == 2:
			l.outAxis, l.inAxis = 1, 0
		default:
			continue
		}
		if l.units = int(k.Dims[l.outAxis]); l.units < 1 {
			continue
		}
		if b := n.Input(2); b != "" && v.inits[b] != nil && !n.Is("MatMul") {
			l.bias = b
		}
		v.findSqueezes(&l)
		if l.bias == "" {
			v.findBias(&l)
		}
		v.layers = append(v.layers, l)
		if l.add != nil {
			v.biasNodes[l.add] = true
		}
	}
	v.deep = map[string]bool{}
	for i := len(v.g.Nodes) - 1; i >= 0; i-- {
		n := v.g.Nodes[i]
		j := slices.IndexFunc(v.layers, func(l layer) bool { return l.node == n })
		feeds := slices.ContainsFunc(n.Outputs, func(o string) bool { return v.deep[o] })
		if j >= 0 {
			v.layers[j].last = !feeds
		}
		if j >= 0 || feeds {
			for _, in := range n.Inputs {
				v.deep[in] = true
			}
		}
	}
}

// findBias looks for the node that adds one number per unit to a product.
func (v *view) findBias(l *layer) {
	users := v.users[l.out]
	if len(users) != 1 || v.outputs[l.out] || !users[0].Is("Add") {
		return
	}
	add := users[0]
	other := add.Input(0)
	if other == l.out {
		other = add.Input(1)
	}
	t := v.inits[other]
	if t == nil || !t.Type.IsFloat() {
		return
	}
	// A bias of a product has shape [units], that of a convolution [units, 1, …] with a 1 for each axis of the feature map; leading ones
	// do not matter.
	lead := 0
	for lead < len(t.Dims)-1 && t.Dims[lead] == 1 {
		lead++
	}
	want := 1
	if l.conv {
		want = len(v.inits[l.kernel].Dims) - 1
	}
	if l.mid != nil {
		want--
	}
	dims := t.Dims[lead:]
	if len(dims) == 0 || dims[0] != int64(l.units) || l.units > 1 && len(dims) != want ||
		slices.ContainsFunc(dims[1:], func(d int64) bool { return d != 1 }) {
		return
	}
	l.add, l.bias, l.out = add, other, add.Output(0)
}

// findSqueezes takes the Squeeze of one axis behind a convolution into the layer, and the Unsqueeze in front of it.
func (v *view) findSqueezes(l *layer) {
	users := v.users[l.out]
	if !l.conv || len(users) != 1 || v.outputs[l.out] || !users[0].Is("Squeeze") || len(v.inits[l.kernel].Dims) != 4 {
		return
	}
	axes, ok := users[0].Ints("axes")
	if !ok {
		axes, ok = v.integers(users[0].Input(1))
	}
	if !ok || len(axes) != 1 || axes[0] < 2 {
		return
	}
	l.mid, l.out = users[0], users[0].Output(0)
	if pre := v.maker[l.in]; pre != nil && pre.Is("Unsqueeze") && len(v.users[l.in]) == 1 && !v.outputs[l.in] {
		l.pre, l.in = pre, pre.Input(0)
	}
}

func (v *view) layerNamed(target string) (layer, bool) {
	i := slices.IndexFunc(v.layers, func(l layer) bool { return l.name() == target })
	if i < 0 {
		return layer{}, false
	}
	return v.layers[i], true
}

// block is a layer with its parts, in whatever order: normalisation, activation, dropout.
type block struct {
	layer
	norm, drop *onnx.Node
	site       *site
	nodes      []*onnx.Node
	end        string // value
}

func (v *view) block(l layer) block {
	b := block{layer: l, end: l.out}
	for _, n := range []*onnx.Node{l.pre, l.node, l.mid, l.add} {
		if n != nil {
			b.nodes = append(b.nodes, n)
		}
	}
	for !v.outputs[b.end] {
		if i := slices.IndexFunc(v.activations(), func(x *site) bool { return x.in == b.end }); i >= 0 && b.site == nil && v.closed(v.activations()[i]) {
			b.site = v.activations()[i]
			b.nodes = append(b.nodes, b.site.nodes...)
			b.end = b.site.out
			continue
		}
		users := v.users[b.end]
		if len(users) != 1 || users[0].Input(0) != b.end {
			break
		}
		switch n := users[0]; {
		case n.Is("BatchNormalization") && b.norm == nil:
			b.norm = n
		case n.Is("Dropout") && b.drop == nil:
			b.drop = n
		default:
			return b
		}
		b.nodes = append(b.nodes, users[0])
		b.end = users[0].Output(0)
	}
	return b
}

// closed says whether nothing but the activation itself uses its input.
func (v *view) closed(x *site) bool {
	return !slices.ContainsFunc(v.users[x.in], func(n *onnx.Node) bool { return !slices.Contains(x.nodes, n) })
}

// node finds a node by the name that it is targeted by.
func (v *view) node(target string) *onnx.Node {
	i := slices.IndexFunc(v.g.Nodes, func(n *onnx.Node) bool { return nodeName(n) == target })
	if i < 0 {
		return nil
	}
	return v.g.Nodes[i]
}

// constant gives the elements of an initializer or a Constant node's value; nil when the value is neither or not float.
func (v *view) constant(value string) []float64 {
	t := v.inits[value]
	if n := v.maker[value]; t == nil && n != nil && n.Is("Constant") {
		if t = n.Tensor("value"); t == nil {
			if a := n.Attr("value_float"); a != nil {
				return []float64{float64(a.Float)}
			}
		}
	}
	if t == nil || !t.Type.IsFloat() {
		return nil
	}
	f, err := t.Float64s()
	if err != nil {
		return nil
	}
	return f
}

// isConstant says whether a value is an initializer or a Constant node's.
func (v *view) isConstant(value string) bool {
	n := v.maker[value]
	return v.inits[value] != nil || n != nil && n.Is("Constant")
}

// integers gives the elements of a constant of integers.
func (v *view) integers(value string) ([]int64, bool) {
	t := v.inits[value]
	if n := v.maker[value]; t == nil && n != nil && n.Is("Constant") {
		if t = n.Tensor("value"); t == nil {
			return n.Ints("value_ints")
		}
	}
	if t == nil || !t.Type.IsInteger() {
		return nil, false
	}
	x, err := t.Int64s()
	return x, err == nil
}

// scalarNode appends a Constant node in front of a place and returns its output.
func (v *view) scalarNode(at int, name string, t *onnx.Tensor) string {
	out := v.g.NewName(name)
	n := onnx.NewNode("Constant", v.g.NewName(name+"_constant"), nil, []string{out}, onnx.TensorAttr("value", t))
	v.g.Nodes = slices.Insert(v.g.Nodes, at, n)
	v.maker[out] = n
	return out
}

// addTensor puts a new initializer into the graph and what it starts with into the recipe.
func (v *view) addTensor(name string, dims []int64, values []float32, init train.Initializer) string {
	name = v.g.NewName(name)
	t := onnx.NewFloat32(name, dims, values)
	v.putTensor(t)
	v.setInitializer(name, init)
	return name
}

// putTensor puts a new initializer into the graph; before IR version 4 it is among the inputs as well.
func (v *view) putTensor(t *onnx.Tensor) {
	v.g.SetInitializer(t)
	v.inits[t.Name] = t
	if v.Model.IRVersion < 4 {
		shape := make([]onnx.Dim, len(t.Dims))
		for i, d := range t.Dims {
			shape[i] = onnx.NewDim(d)
		}
		v.g.Inputs = append(v.g.Inputs, onnx.Value{Name: t.Name, Type: onnx.TensorType(t.Type, shape...)})
	}
}

func (v *view) setInitializer(name string, init train.Initializer) {
	if v.Recipe.Initializers == nil {
		v.Recipe.Initializers = map[string]train.Initializer{}
	}
	v.Recipe.Initializers[name] = init
}

func filled(n int, x float32) []float32 {
	f := make([]float32, n)
	for i := range f {
		f[i] = x
	}
	return f
}
