package diagnose

import (
	"slices"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// The symptoms of how layers follow each other. They are rules of NeuraLint (Nikanjam et al., "Automatic Fault Detection for Deep Learning Programs
// Using Graph Transformations", TOSEM 2021), in the words of its reports. Its rules about taste are left out because healthy networks break
// them: kernels that grow with depth (ResNet begins with its largest), filters that grow and dense layers that shrink with depth, symmetric
// blocks, how much pooling there is.
const (
	UselessBias          Kind = "useless_bias"                 // "a learning layer should no longer include a bias when it is followed by batchnorm"
	DropoutBeforeNorm    Kind = "dropout_before_normalization" // "batchnorm layer should be before the dropout"; why: Li et al., CVPR 2019
	DropoutBeforePooling Kind = "dropout_before_pooling"       // "dropout layer must be placed after the pooling layer to be more effective"
	FeatureMapSmall      Kind = "feature_map_small"            // "a processing layer should receive sufficient-sized feature space"
	StackedActivations   Kind = "stacked_activations"          // one function directly behind another: checkDoubleActivation
	MissingFlatten       Kind = "missing_flatten"              // "should receive … exactly N-dimensional shape (missing flatten)"
)

const (
	flatRank = 2 // of what a dense layer takes: batch and features
	// leastOfKernel is the share of a kernel's extent that the feature map must have. VGG's last block has 3x3 kernels on 2x2 for images of 32x32.
	leastOfKernel = 0.5
)

// reshapers only move elements.
var reshapers = map[string]bool{"Reshape": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true, "Flatten": true, "Identity": true}

var pools = map[string]bool{"MaxPool": true, "AveragePool": true, "GlobalMaxPool": true, "GlobalAveragePool": true, "LpPool": true}

// plainActivations are functions of one node each.
var plainActivations = map[string]bool{"Relu": true, "Sigmoid": true, "Tanh": true, "Elu": true, "Selu": true, "Celu": true, "LeakyRelu": true,
	"PRelu": true, "ThresholdedRelu": true, "HardSigmoid": true, "HardSwish": true, "Softplus": true, "Softsign": true, "Softmax": true, "LogSoftmax": true,
	"Gelu": true, "Mish": true, "Swish": true}

// constant says whether a value is an initializer, a Constant, or one of these moved or converted.
func (c *checker) constant(value string) bool {
	for range len(c.g.Nodes) + 1 {
		if c.inits[value] != nil {
			return true
		}
		n := c.maker[value]
		switch {
		case n == nil:
			return false
		case n.Is("Constant"):
			return true
		case reshapers[n.OpType] || n.Is("Cast"):
			value = n.Input(0)
		default:
			return false
		}
	}
	return false
}

// isLayer says whether a node multiplies what it gets with a kernel.
func (c *checker) isLayer(n *onnx.Node) bool {
	return (n.Is("Conv") || n.Is("ConvTranspose") || n.Is("Gemm") || n.Is("MatMul")) && c.constant(n.Input(1)) && !c.constant(n.Input(0))
}

// only is the one node that uses a value, nil where it has several users or leaves the graph.
func (c *checker) only(value string) *onnx.Node {
	if u := c.users[value]; len(u) == 1 && !c.outputs[value] {
		return u[0]
	}
	return nil
}

// addsConstant says whether a node adds a constant to a value, as a bias of its own does.
func (c *checker) addsConstant(n *onnx.Node) bool {
	return n.Is("Add") && (c.constant(n.Input(0)) || c.constant(n.Input(1)))
}

func (c *checker) dims(value string) []int64 {
	d, ok := c.types[value].Dims()
	if !ok {
		return nil
	}
	return d
}

// graph applies NeuraLint's rules.
func (c *checker) graph() {
	for _, n := range c.g.Nodes {
		switch {
		case n.Is("Dropout"):
			c.dropout(n)
		case n.Is("Conv"), pools[n.OpType] && n.Is(n.OpType):
			c.featureMap(n)
		}
		if c.isLayer(n) {
			c.bias(n)
		}
	}
	c.stacked()
	c.flatten()
}

// bias looks for a bias that batch normalisation takes out again: it subtracts the batch's mean, and the bias with it (Ioffe and Szegedy 2015, §3.2).
func (c *checker) bias(n *onnx.Node) {
	value, has := n.Output(0), n.Input(2) != "" && !n.Is("MatMul")
	for range len(c.g.Nodes) {
		next := c.only(value)
		switch {
		case next == nil:
			return
		case !has && c.addsConstant(next):
			has, value = true, next.Output(0)
		case reshapers[next.OpType]:
			value = next.Output(0)
		default:
			if has && next.Is("BatchNormalization") {
				c.add(UselessBias, nodeName(n), "biases in front of a batch normalization", 1, 0)
			}
			return
		}
	}
}

// dropout looks at what follows a Dropout node: its noise changes the variance that a normalisation behind it measures in training, and is not
// there in inference; a maximum behind it is rarely of the units that were dropped.
func (c *checker) dropout(n *onnx.Node) {
	if c.dropoutRate(n) == 0 {
		return
	}
	value := n.Output(0)
	for range len(c.g.Nodes) {
		next := c.only(value)
		switch {
		case next == nil:
			return
		case next.Is("BatchNormalization"):
			c.add(DropoutBeforeNorm, nodeName(n), "dropouts in front of a batch normalization", 1, 0)
			return
		case pools[next.OpType]:
			c.add(DropoutBeforePooling, nodeName(n), "dropouts in front of a pooling", 1, 0)
			return
		case !reshapers[next.OpType] && !plainActivations[next.OpType]:
			return
		}
		value = next.Output(0)
	}
}

// dropoutRate is the rate that the space of edits shows; 1 where it shows none.
func (c *checker) dropoutRate(n *onnx.Node) float64 {
	if x, ok := c.space.Slot(repair.Key{Operator: "dropout", Target: nodeName(n)}); ok {
		return x.Current.Number
	}
	return 1
}

// featureMap compares a kernel with what it is moved over: where most of it lies outside, it sees padding.
func (c *checker) featureMap(n *onnx.Node) {
	kernel, ok := n.Ints("kernel_shape")
	if t := c.inits[n.Input(1)]; !ok && n.Is("Conv") && t != nil && len(t.Dims) > 2 {
		kernel = t.Dims[2:]
	}
	dims := c.dims(n.Input(0))
	if len(dims) != len(kernel)+2 {
		return
	}
	dilations, _ := n.Ints("dilations")
	for i, k := range kernel {
		extent := float64(k)
		if i < len(dilations) {
			extent = float64((k-1)*dilations[i] + 1)
		}
		if have := float64(dims[i+2]); have > 0 && k > 1 && have < leastOfKernel*extent {
			c.add(FeatureMapSmall, nodeName(n), "extent of the feature map under a kernel of "+repair.Num(extent).String(), have, leastOfKernel*extent)
			return
		}
	}
}

// stacked looks for two functions with nothing but reshaping between them. The one that is not the output's is named.
func (c *checker) stacked() {
	slot := func(n *onnx.Node) bool {
		if n == nil || !plainActivations[n.OpType] || !n.Is(n.OpType) {
			return false
		}
		_, ok := c.space.Slot(repair.Key{Operator: "activation", Target: nodeName(n)})
		return ok
	}
	for _, n := range c.g.Nodes {
		if !slot(n) {
			continue
		}
		before := c.maker[n.Input(0)]
		for range len(c.g.Nodes) {
			if before == nil || !reshapers[before.OpType] {
				break
			}
			before = c.maker[before.Input(0)]
		}
		if !slot(before) {
			continue
		}
		name := nodeName(n)
		if c.out.key == (repair.Key{Operator: "activation", Target: name}) {
			name = nodeName(before)
		}
		c.add(StackedActivations, name, "functions in a row", 2, 1)
	}
}

// flatten looks for an output with more axes than the targets have values for, because the last dense layer was given feature maps or a sequence.
func (c *checker) flatten() {
	if len(c.g.Outputs) != 1 || len(c.Data.Targets) != 1 || c.out.layer == "" {
		return
	}
	dims, size := c.dims(c.g.Outputs[0].Name), int64(1)
	if len(dims) <= flatRank {
		return
	}
	for _, d := range dims[1:] {
		if d < 1 {
			return
		}
		size *= d
	}
	axis := len(dims) - 1
	if c.Recipe.Semantics == train.PyTorch {
		axis = 1
	}
	i := slices.IndexFunc(c.g.Nodes, func(n *onnx.Node) bool { return nodeName(n) == c.out.layer })
	if i < 0 || !c.g.Nodes[i].Is("MatMul") && !c.g.Nodes[i].Is("Gemm") {
		return
	}
	rank := len(c.dims(c.g.Nodes[i].Input(0)))
	if have := int64(c.Data.Targets[0].RowSize()); rank > flatRank && have != size && have != size/dims[axis] {
		c.add(MissingFlatten, c.out.layer, "axes of what the last dense layer takes", float64(rank), flatRank)
	}
}

// staysLinear says whether what a layer gives reaches other layers through linear steps and pooling alone. Two kinds of layers are meant to be
// linear: those of a depthwise separable convolution (Chollet 2017) and bottlenecks of 1x1 kernels (Sandler et al. 2018, "MobileNetV2", §3.2).
func (c *checker) staysLinear(target string) bool {
	i := slices.IndexFunc(c.g.Nodes, func(n *onnx.Node) bool { return nodeName(n) == target })
	if i < 0 || c.bottleneck(c.g.Nodes[i]) {
		return false
	}
	seen := map[string]bool{}
	values := []string{c.g.Nodes[i].Output(0)}
	for len(values) > 0 {
		value := values[0]
		values = values[1:]
		if seen[value] {
			continue
		}
		seen[value] = true
		if c.outputs[value] || len(c.users[value]) == 0 {
			return false
		}
		for _, n := range c.users[value] {
			affine := (n.Is("Mul") || n.Is("Div") || n.Is("Sub")) && (c.constant(n.Input(0)) || c.constant(n.Input(1)))
			switch {
			case c.isLayer(n):
			case reshapers[n.OpType], pools[n.OpType], n.Is("Dropout"), n.Is("BatchNormalization"), c.addsConstant(n), affine:
				values = append(values, n.Output(0))
			default:
				return false
			}
		}
	}
	return true
}

func (c *checker) bottleneck(n *onnx.Node) bool {
	t := c.inits[n.Input(1)]
	if !n.Is("Conv") || t == nil || len(t.Dims) < 3 {
		return false
	}
	return n.Int("group", 1) > 1 || t.Dims[0] < t.Dims[1] && !slices.ContainsFunc(t.Dims[2:], func(d int64) bool { return d != 1 })
}

// weighs says whether a softmax gives the weights of an attention: what follows multiplies it with something else that is computed.
func (c *checker) weighs(target string) bool {
	i := slices.IndexFunc(c.g.Nodes, func(n *onnx.Node) bool { return nodeName(n) == target })
	if i < 0 {
		return false
	}
	value := c.g.Nodes[i].Output(0)
	for range len(c.g.Nodes) {
		next := c.only(value)
		switch {
		case next == nil:
			return false
		case next.Is("MatMul"), next.Is("Mul"), next.Is("Einsum"):
			return !slices.ContainsFunc(next.Inputs, c.constant)
		case !reshapers[next.OpType] && !next.Is("Dropout") && !next.Is("Cast"):
			return false
		}
		value = next.Output(0)
	}
	return false
}

// functionBehind names the function that a layer's result goes through first; "" where there is none.
func (c *checker) functionBehind(n *onnx.Node) string {
	if n == nil {
		return ""
	}
	value := n.Output(0)
	for range len(c.g.Nodes) {
		users := c.users[value]
		if len(users) == 0 {
			return ""
		}
		next := users[0]
		if x, ok := c.space.Slot(repair.Key{Operator: "activation", Target: nodeName(next)}); ok {
			return x.Current.Text
		}
		if !reshapers[next.OpType] && !pools[next.OpType] && !next.Is("BatchNormalization") && !next.Is("Dropout") && !c.addsConstant(next) {
			return ""
		}
		value = next.Output(0)
	}
	return ""
}
