package diagnose

import (
	"math"
	"slices"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
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
	MetricBlind          Kind = "metric_blind" // the metric cannot see whether the task is done
	LabelsNotWhole       Kind = "labels_not_whole"
	ConstantKernel       Kind = "constant_kernel" // all units of a layer compute the same and stay so
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
	InputScale           Kind = "input_scale"
	ConstantFeatures     Kind = "constant_features"
	NonFiniteData        Kind = "non_finite_data"
	UnevenPreprocessing  Kind = "uneven_preprocessing" // a step for some rows only, or for the labels of classes
	Frozen               Kind = "frozen"
	NotShuffled          Kind = "not_shuffled"
	ShortPatience        Kind = "short_patience"
)

// usualRates are the learning rates from which trainings are commonly started, by optimizer: the defaults of both frameworks and what papers
// and tutorials use. Adadelta's is 1 (Zeiler 2012); Keras' default of 0.001 is known to be far too small.
var usualRates = map[string][2]float64{"sgd": {1e-3, 0.1}, "rmsprop": {1e-4, 1e-2}, "adagrad": {1e-3, 0.1}, "adadelta": {0.1, 1}, "adam": {1e-4, 1e-2},
	"adamw": {1e-4, 1e-2}, "adamax": {2e-4, 1e-2}, "nadam": {1e-4, 1e-2}}

// Limits of the static rules.
const (
	smallBatch    = 8    // below, gradients are noise and steps are all overhead: the published space begins at 16
	largeBatch    = 512  // the largest of the published space
	batchShare    = 0.1  // of the training rows: fewer than ten updates in an epoch
	fewUpdates    = 1000 // TheDeepChecker overfits one batch in 1000 updates; a data set needs no fewer
	strongL1      = 1e-3 // Keras' string 'l1' stands for 0.01, which removes most weights of a dense layer
	strongL2      = 1e-2 // Keras' string 'l2'
	highDropout   = 0.5  // UMLAUT's limit
	inputLimit    = 10.0 // AutoTrainer's omega_1, for the mean of a layer's output; UMLAUT warns from 1
	scaleRatio    = 5.0  // of an initial standard deviation to He's sqrt(2/n), either way: 25 times the variance of a layer
	shortPatience = 3    // AutoTrainer's least
	zeroShare     = 0.0  // any
)

// checker collects symptoms of a subject.
type checker struct {
	repair.Subject
	space repair.Space
	g     *onnx.Graph
	out   ending
	found []Symptom
}

// ending is how the network ends: the slot of its activation, present or to be added, and its width.
type ending struct {
	fn    string // the function's name in slots; "linear" without one
	key   repair.Key
	width int // 0: not known
	layer string
}

// Static applies the rules that need no training. Only training rows are looked at.
func Static(s repair.Subject, space repair.Space) []Symptom {
	if s.Model == nil || s.Model.Graph == nil {
		return nil
	}
	c := &checker{Subject: s, space: space, g: s.Model.Graph}
	c.out = c.findOutput()
	c.data()
	c.head()
	c.recipe()
	c.slots()
	return c.found
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
	if types, err := onnx.InferShapes(c.Model); err == nil {
		if dims, ok := types[c.g.Outputs[0].Name].Dims(); ok && len(dims) >= 2 && dims[len(dims)-1] > 0 {
			o.width = int(dims[len(dims)-1])
		}
	}
	value := c.g.Outputs[0].Name
	for range len(c.g.Nodes) {
		i := slices.IndexFunc(c.g.Nodes, func(n *onnx.Node) bool { return slices.Contains(n.Outputs, value) })
		if i < 0 {
			return o
		}
		n := c.g.Nodes[i]
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
			if in != "" && c.g.Initializer(in) == nil && next == "" {
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

// data looks at the training rows.
func (c *checker) data() {
	for i := range c.Data.Inputs {
		a := &c.Data.Inputs[i]
		st := c.columns(a)
		if st.bad > 0 {
			c.add(NonFiniteData, a.Name, "values that are not finite", st.bad, 0)
		}
		if !a.IsInt() && st.largest > inputLimit && !c.preprocessed(a.Name) {
			c.add(InputScale, c.inputName(i), "largest absolute value", st.largest, inputLimit)
		}
		if st.constant > 0 && len(a.Shape) == 2 {
			c.add(ConstantFeatures, a.Name, "features with one value", st.constant, zeroShare)
		}
	}
	if c.Recipe.Task != train.Classification {
		return
	}
	for i := range c.Data.Targets {
		if a := &c.Data.Targets[i]; a.RowSize() == 1 && !a.IsInt() && c.fractional(a) > 0 {
			c.add(LabelsNotWhole, a.Name, "labels that are no whole numbers", c.fractional(a), 0)
		}
	}
	for _, p := range c.Recipe.Preprocessing {
		onTarget := slices.ContainsFunc(c.Data.Targets, func(a data.Array) bool { return a.Name == p.Array })
		if p.Part != "" || onTarget {
			c.add(UnevenPreprocessing, stepName(p), "steps for some rows or for labels", 1, 0)
		}
	}
}

// stepName is what the operator preprocessing targets a step by.
func stepName(p train.Preprocess) string {
	array, part := p.Array, ""
	if array == "" {
		array = "inputs"
	}
	if p.Part != "" {
		part = ":" + p.Part
	}
	return array + ":" + p.Kind + part
}

// inputName is the graph's name of a data array, which edits target.
func (c *checker) inputName(i int) string {
	ins := c.g.DataInputs()
	for _, in := range ins {
		if in.Name == c.Data.Inputs[i].Name {
			return in.Name
		}
	}
	if i < len(ins) {
		return ins[i].Name
	}
	return c.Data.Inputs[i].Name
}

func (c *checker) preprocessed(name string) bool {
	return slices.ContainsFunc(c.Recipe.Preprocessing, func(p train.Preprocess) bool { return p.Array == "" || p.Array == name })
}

type columnStats struct{ bad, largest, constant float64 }

// sampleRows bounds how many rows are looked at: more would not change what is typical of them.
const sampleRows = 4096

func (c *checker) rows() []int32 { return c.Data.Train[:min(len(c.Data.Train), sampleRows)] }

func (c *checker) columns(a *data.Array) columnStats {
	var st columnStats
	n := a.RowSize()
	varies := make([]bool, n)
	rows := c.rows()
	for _, row := range rows {
		for k := range n {
			v, first := element(a, int(row)*n+k), element(a, int(rows[0])*n+k)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				st.bad++
				continue
			}
			st.largest = max(st.largest, math.Abs(v))
			varies[k] = varies[k] || v != first
		}
	}
	if len(rows) > 1 {
		for _, v := range varies {
			if !v {
				st.constant++
			}
		}
	}
	return st
}

func element(a *data.Array, i int) float64 {
	if a.IsInt() {
		return float64(a.Int[i])
	}
	return float64(a.Float[i])
}

func (c *checker) fractional(a *data.Array) float64 {
	n := 0.0
	for _, row := range c.rows() {
		if v := element(a, int(row)); v != math.Trunc(v) {
			n++
		}
	}
	return n
}

// classes is the number of classes that the labels of the training rows have, 0 where they are none.
func (c *checker) classes() int {
	if len(c.Data.Targets) == 0 || c.Recipe.Task != train.Classification {
		return 0
	}
	t := &c.Data.Targets[0]
	labels, ok := data.Labels(t)
	if !ok {
		return 0
	}
	if t.RowSize() > 1 {
		return t.RowSize()
	}
	most := int32(0)
	for _, row := range c.Data.Train {
		most = max(most, labels[row])
	}
	return int(most) + 1
}
