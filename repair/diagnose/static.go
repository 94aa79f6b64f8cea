package diagnose

import (
	"netmend/onnx"
	"netmend/repair"
	"netmend/train/lower"
)

// The symptoms that graph, recipe and training rows show before any training. What each is measured against, and why, stands at its rule.
const (
	OutputNotProbability Kind = "output_not_probability" // the loss reads probabilities, the output is none
	DoubleSoftmax        Kind = "double_softmax"         // the loss normalises logits, the output is normalised already
	OutputBounded        Kind = "output_bounded"         // the labels lie outside what the output function can give
	OutputUnusual        Kind = "output_unusual"         // a function that no classifier ends in
	SoftmaxOneUnit       Kind = "softmax_on_one_unit"    // it is 1 whatever the input
	OutputWidth          Kind = "output_width"           // fewer or more units than the labels have classes
	LossNotForTask       Kind = "loss_not_for_task"
	LossNotForTargets    Kind = "loss_not_for_targets" // it is made for targets that are never negative
	MetricBlind          Kind = "metric_blind"         // the metric cannot see whether the task is done
	ConstantKernel       Kind = "constant_kernel"      // all units of a layer compute the same and stay so
	ConstantBias         Kind = "constant_bias"
	InitialScale         Kind = "initial_scale"
	LearningRateHigh     Kind = "learning_rate_high"
	LearningRateLow      Kind = "learning_rate_low"
	BatchSmall           Kind = "batch_small"
	BatchLarge           Kind = "batch_large"
	FewUpdates           Kind = "few_updates"
	HiddenLinear         Kind = "hidden_linear"     // nothing nonlinear behind a hidden layer
	HiddenSaturating     Kind = "hidden_saturating" // a hidden function whose gradient vanishes
	HiddenExponential    Kind = "hidden_exponential"
	HiddenSoftmax        Kind = "hidden_softmax"
	StrongRegularizer    Kind = "strong_regularizer"
	HighDropout          Kind = "high_dropout"
	TightClip            Kind = "tight_clip"           // of gradients
	FastDecay            Kind = "fast_decay"           // of the learning rate
	UnevenPreprocessing  Kind = "uneven_preprocessing" // a step for some rows only, or for the labels of classes
	Frozen               Kind = "frozen"
	NotShuffled          Kind = "not_shuffled"
	ClassAfterClass      Kind = "class_after_class" // rows that are not shuffled come in order of their classes
	ShortPatience        Kind = "short_patience"
)

// usualRates are the learning rates from which trainings are commonly started, by optimizer: the defaults of both frameworks and what papers
// and tutorials use. Adadelta's is 1 (Zeiler 2012); Keras' default of 0.001 is known to be far too small.
var usualRates = map[string][2]float64{"sgd": {1e-3, 0.1}, "rmsprop": {1e-4, 1e-2}, "adagrad": {1e-3, 0.1}, "adadelta": {0.1, 1}, "adam": {1e-4, 1e-2},
	"adamw": {1e-4, 1e-2}, "adamax": {2e-4, 1e-2}, "nadam": {1e-4, 1e-2}}

// EnoughUpdates is the number of updates below which a training is short, whatever it trains: TheDeepChecker overfits a single batch in 1000.
const EnoughUpdates = 1000

// regressionWith begins the measure of a loss that is not for regression; others are not for classification.
const regressionWith = "regression with "

// Limits of the static rules.
const (
	smallBatch    = 8    // below, gradients are noise and steps are all overhead: the published space begins at 16
	largeBatch    = 512  // the largest of the published space
	batchShare    = 0.1  // of the training rows: fewer than ten updates in an epoch
	strongL1      = 1e-3 // Keras' string 'l1' stands for 0.01, which removes most weights of a dense layer
	strongL2      = 1e-2 // Keras' string 'l2'
	highDropout   = 0.5  // UMLAUT's limit
	tightValue    = 5e-3 // of an element: a hundredth of DeepCrime's 0.5, the least that the operator offers
	tightNorm     = 1e-2 // of a tensor or all of them: a hundredth of the usual 1 (Pascanu et al. 2013)
	fastDecay     = 1e-2 // of the rate in the middle of the training: it moves nothing after that
	scaleRatio    = 5.0  // of a standard deviation to the usual one, either way: 25 times the variance of a layer
	shortPatience = 3    // AutoTrainer's least
)

// checker collects symptoms of a subject.
type checker struct {
	repair.Subject
	space   repair.Space
	g       *onnx.Graph
	users   map[string][]*onnx.Node // of a value
	maker   map[string]*onnx.Node   // of a value
	inits   map[string]*onnx.Tensor
	outputs map[string]bool
	types   onnx.Types // nil where the graph's shapes do not fit
	params  []lower.Param
	out     ending
	found   []Symptom
}

// ending is how the network ends: the slot of its activation, present or to be added, and its width.
type ending struct {
	fn    string // the function's name in slots; "linear" without one
	key   repair.Key
	width int // 0: not known
	layer string
}

// Static applies the rules that need no training. Training rows are looked at, search rows are compared with them, and of hold-out rows, where
// the subject has any, it is only asked whether they are training rows too.
func Static(s repair.Subject, space repair.Space) []Symptom {
	if s.Model == nil || s.Model.Graph == nil {
		return nil
	}
	c := newChecker(s, space)
	c.data()
	c.labels()
	c.leaks()
	c.head()
	c.recipe()
	c.slots()
	c.graph()
	return c.found
}

func newChecker(s repair.Subject, space repair.Space) *checker {
	c := &checker{Subject: s, space: space, g: s.Model.Graph, users: map[string][]*onnx.Node{}, maker: map[string]*onnx.Node{},
		inits: map[string]*onnx.Tensor{}, outputs: map[string]bool{}}
	for _, t := range c.g.Initializers {
		c.inits[t.Name] = t
	}
	for i := range c.g.Outputs {
		c.outputs[c.g.Outputs[i].Name] = true
	}
	for _, n := range c.g.Nodes {
		seen := map[string]bool{"": true}
		for _, in := range n.Inputs {
			if !seen[in] {
				c.users[in], seen[in] = append(c.users[in], n), true
			}
		}
		for _, out := range n.Outputs {
			c.maker[out] = n
		}
	}
	c.types, _ = onnx.InferShapes(c.Model) // without types, the rules about shapes are silent; training says what is wrong
	c.params, _ = lower.Params(c.Model)    // likewise
	c.out = c.findOutput()
	return c
}

func (c *checker) add(k Kind, node, measure string, value, limit float64) {
	c.found = append(c.found, Symptom{Kind: k, Node: node, Measure: measure, Value: value, Limit: limit})
}

// nodeName is what edits target a node by.
func nodeName(n *onnx.Node) string {
	if n.Name != "" {
		return n.Name
	}
	return n.Output(0)
}

// findOutput walks back from the graph's first output to the first node that an activation slot is about, or to the layer.
func (c *checker) findOutput() ending {
	o := ending{fn: "linear"}
	if len(c.g.Outputs) == 0 {
		return o
	}
	if dims, ok := c.types[c.g.Outputs[0].Name].Dims(); ok && len(dims) >= 2 && dims[len(dims)-1] > 0 {
		o.width = int(dims[len(dims)-1])
	}
	value := c.g.Outputs[0].Name
	for range len(c.g.Nodes) {
		n := c.maker[value]
		if n == nil {
			return o
		}
		if x, ok := c.space.Slot(repair.Key{Operator: "activation", Target: nodeName(n)}); ok && o.key == (repair.Key{}) {
			o.fn, o.key = x.Current.Text, x.Key()
		}
		if n.Is("Gemm") || n.Is("MatMul") || n.Is("Conv") {
			o.layer = nodeName(n)
			if o.key == (repair.Key{}) {
				o.key = repair.Key{Operator: "add_activation", Target: o.layer}
			}
			return o
		}
		next := ""
		for _, in := range n.Inputs { // the computed input, where the other is a bias or a shape
			if in != "" && !c.constant(in) && next == "" {
				next = in
			}
		}
		if next == "" {
			return o
		}
		value = next
	}
	return o
}
