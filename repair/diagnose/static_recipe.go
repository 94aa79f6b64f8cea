package diagnose

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"netmend/data"
	"netmend/repair"
	"netmend/train"
	"netmend/train/lower"
)

var (
	probabilityFunctions = []string{"softmax", "sigmoid", "hard_sigmoid"}
	// probabilityLosses are not defined, or meaningless, for outputs outside 0..1.
	probabilityLosses = []string{"categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy", "kullback_leibler_divergence"}
	regressionLosses  = []string{"mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error", "logcosh",
		"huber", "poisson", "angle"}
	// countLosses are made for targets that are never negative: one takes the logarithm of target and output plus 1, and all that is negative for 0, the
	// other is the likelihood of counts (docs of Keras: "target values should be nonnegative").
	countLosses           = []string{"mean_squared_logarithmic_error", "poisson"}
	classificationMetrics = []train.Metric{train.Accuracy, train.BinaryAccuracy, train.CategoricalAccuracy, train.SparseAccuracy, train.TopKAccuracy, train.F1}
)

// head checks output function, loss, labels and metric against each other.
func (c *checker) head() {
	l, fn := c.Recipe.Loss, c.out.fn
	node := c.out.key.Target
	classifies := c.Recipe.Task == train.Classification
	reads := slices.Contains(probabilityLosses, l.Name)
	switch {
	case reads && (l.FromLogits || l.FromLogProbabilities && fn != "log_softmax" && fn != "log_sigmoid") && slices.Contains(probabilityFunctions, fn):
		c.add(DoubleSoftmax, node, "normalisations of the output", 2, 1)
	case l.FromLogits && (fn == "log_softmax" || fn == "relu"):
		c.add(DoubleSoftmax, node, "functions before the loss's own", 1, 0)
	case reads && !l.FromLogits && !l.FromLogProbabilities && !slices.Contains(probabilityFunctions, fn):
		c.add(OutputNotProbability, node, "outputs outside 0..1 are possible", 1, 0)
	case classifies && !slices.Contains(append(probabilityFunctions, "linear", "log_softmax"), fn):
		c.add(OutputUnusual, node, "output functions", 1, 0)
	}
	if fn == "softmax" && c.out.width == 1 {
		c.add(SoftmaxOneUnit, node, "units under softmax", 1, 2)
	}
	if classifies && slices.Contains(regressionLosses, l.Name) || strings.Contains(l.Name, "hinge") && classifies {
		c.add(LossNotForTask, "", "classification with "+l.Name, 1, 0)
	}
	if !classifies && (reads || strings.Contains(l.Name, "hinge")) {
		c.add(LossNotForTask, "", regressionWith+l.Name, 1, 0)
	}
	if slices.Contains(countLosses, l.Name) && !classifies {
		if n := c.negativeTargets(); n > 0 {
			c.add(LossNotForTargets, "", l.Name, n, 0)
		}
	}
	if judged := slices.Contains(classificationMetrics, c.Recipe.Metric); judged != classifies {
		c.add(MetricBlind, "", string(c.Recipe.Task)+" judged by "+string(c.Recipe.Metric), 1, 0)
	}
	categorical := strings.Contains(l.Name, "categorical") && !l.FromLogProbabilities
	if c.out.width == 1 && categorical && fn != "softmax" { // AutoTrainer's improper loss: up to two units want a binary one
		c.add(LossNotForTask, "", l.Name+" of one unit", 1, 0)
	}
	if n := c.classes(); n > 2 && l.Name == "binary_crossentropy" { // AutoTrainer's, the other way round
		c.add(LossNotForTask, "", fmt.Sprintf("%s for one of %d classes", l.Name, n), 1, 0)
	}
	if n := c.classes(); n > 0 && c.out.width > 0 {
		fits := c.out.width == n || n == 2 && c.out.width == 1 || c.Data.Targets[0].RowSize() == 1 && c.out.width > n && n > 2
		if !fits {
			c.add(OutputWidth, c.out.layer, "units for the labels", float64(c.out.width), float64(n))
		}
	}
	if !classifies {
		c.bounded()
	}
}

// bounds are what output functions can give.
var bounds = map[string][2]float64{"sigmoid": {0, 1}, "hard_sigmoid": {0, 1}, "softmax": {0, 1}, "tanh": {-1, 1}, "softsign": {-1, 1},
	"relu": {0, math.Inf(1)}, "softplus": {0, math.Inf(1)}, "exponential": {0, math.Inf(1)}}

// bounded looks for regression targets that the output cannot reach.
func (c *checker) bounded() {
	b, ok := bounds[c.out.fn]
	if !ok {
		return
	}
	outside, least, most := 0.0, math.Inf(1), math.Inf(-1)
	for v := range c.targetValues() {
		if least, most = min(least, v), max(most, v); v < b[0] || v > b[1] {
			outside++
		}
	}
	switch {
	case outside > 0:
		c.add(OutputBounded, c.out.key.Target, "targets that the output cannot reach", outside, 0)
	case c.out.fn == "softmax" || !(most-least >= filledRange*(b[1]-b[0])): // an autoencoder of images ends in a sigmoid on purpose
		c.add(OutputUnusual, c.out.key.Target, "output functions of a regression", 1, 0)
	}
}

// targetValues are the numbers of spaced training rows.
func (c *checker) targetValues() iter.Seq[float64] {
	return func(yield func(float64) bool) {
		for i := range c.Data.Targets {
			a := &c.Data.Targets[i]
			for _, row := range spaced(c.Data.Train, sampleRows) {
				for k := range a.RowSize() {
					if !yield(element(a, int(row)*a.RowSize()+k)) {
						return
					}
				}
			}
		}
	}
}

// negativeTargets is how many of them are negative.
func (c *checker) negativeTargets() float64 {
	n := 0.0
	for v := range c.targetValues() {
		if v < 0 {
			n++
		}
	}
	return n
}

// filledRange is the share of a function's range that targets must take up to have been the reason for it.
const filledRange = 0.5

// recipe checks what concerns the whole training.
func (c *checker) recipe() {
	r := c.Recipe
	if u, ok := usualRates[r.Optimizer.Name]; ok {
		switch lr := r.Optimizer.LearningRate; {
		case lr > u[1]:
			c.add(LearningRateHigh, "", "learning rate", lr, u[1])
		case lr < u[0]:
			c.add(LearningRateLow, "", "learning rate", lr, u[0])
		}
	}
	c.steps()
	rows := len(c.Data.Train)
	if r.BatchSize < smallBatch {
		c.add(BatchSmall, "", "batch size", float64(r.BatchSize), smallBatch)
	}
	if limit := min(largeBatch, max(32, batchShare*float64(rows))); float64(r.BatchSize) > limit {
		c.add(BatchLarge, "", "batch size", float64(r.BatchSize), limit)
	}
	if updates := float64(r.Epochs) * math.Ceil(float64(rows)/float64(max(1, r.BatchSize))); updates < EnoughUpdates {
		c.add(FewUpdates, "", "updates", updates, EnoughUpdates)
	}
	for _, x := range []struct {
		by        string
		at, tight float64
	}{{"value", r.GradientClip.Value, tightValue}, {"norm", r.GradientClip.Norm, tightNorm}, {"global norm", r.GradientClip.GlobalNorm, tightNorm}} {
		if x.at > 0 && x.at < x.tight {
			c.add(TightClip, "", x.by, x.at, x.tight)
		}
	}
	rate := r.Optimizer.LearningRate
	if share := r.Schedule.Rate(rate, r.Epochs/2) / rate; share < fastDecay {
		c.add(FastDecay, "", "rate in the middle of the training over that of its beginning", share, fastDecay)
	}
	if !r.Shuffle {
		c.order()
	}
	if p := r.EarlyStopping.Patience; p > 0 && p < shortPatience {
		c.add(ShortPatience, "", "patience", float64(p), shortPatience)
	}
}

// steps looks for preprocessing of some rows only, and of class labels.
func (c *checker) steps() {
	for _, p := range c.Recipe.Preprocessing {
		onLabels := c.Recipe.Task == train.Classification && slices.ContainsFunc(c.Data.Targets, func(a data.Array) bool { return a.Name == p.Array })
		if p.Part != "" || onLabels {
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

// slots checks what single nodes and tensors have.
func (c *checker) slots() {
	for _, x := range c.space {
		now := x.Current.Text
		switch x.Operator {
		case "kernel_initializer":
			c.kernel(x)
		case "bias_initializer":
			if now == "ones" || now == "constant" && c.Recipe.Initializers[x.Target].Value != 0 || c.spread(x.Target) >= 1 {
				c.add(ConstantBias, x.Target, "initial biases far from 0", 1, 0)
			}
		case "activation":
			if x.Key() != c.out.key {
				c.hidden(x)
			}
		case "add_activation":
			if x.Key() != c.out.key && x.Target != c.out.layer && c.staysLinear(x.Target) {
				c.add(HiddenLinear, x.Target, "functions behind the layer", 0, 1)
			}
		case "regularizer":
			switch g := c.Recipe.Regularizers[x.Target]; {
			case g.L1 >= strongL1:
				c.add(StrongRegularizer, x.Target, "l1", g.L1, strongL1)
			case g.L2 >= strongL2:
				c.add(StrongRegularizer, x.Target, "l2", g.L2, strongL2)
			}
		case "dropout":
			if x.Current.Number > highDropout {
				c.add(HighDropout, x.Target, "rate", x.Current.Number, highDropout)
			}
		case "frozen":
			c.add(Frozen, x.Target, "trained", 0, 1)
		}
	}
}

// spread is the standard deviation that a random initialiser is given by name and number; 0 for others.
func (c *checker) spread(tensor string) float64 {
	i := c.Recipe.Initializers[tensor]
	switch i.Name {
	case "random_normal", "truncated_normal":
		if i.Stddev == 0 {
			return 0.05 // Keras' default
		}
		return i.Stddev
	case "random_uniform", "uniform":
		return (i.Maxval - i.Minval) / math.Sqrt(12)
	}
	return 0
}

// kernel looks for initial values that make all units of a layer the same, and for distributions far from the usual width.
func (c *checker) kernel(x repair.Slot) {
	switch now := x.Current.Text; {
	case now == "zeros" || now == "ones" || now == "constant" || now == "model" && c.allEqual(x.Target):
		c.add(ConstantKernel, x.Target, "different initial values", 1, 2)
		return
	}
	i := slices.IndexFunc(c.params, func(p lower.Param) bool { return p.Name == x.Target })
	std := c.spread(x.Target)
	if i < 0 || std == 0 || c.params[i].Role != lower.Kernel || c.params[i].FanIn < 1 {
		return
	}
	usual, name := c.usualSpread(c.params[i])
	if ratio := std / usual; ratio > scaleRatio || ratio < 1/scaleRatio {
		c.add(InitialScale, x.Target, "standard deviation over "+name, ratio, scaleRatio)
	}
}

// usualSpread is the standard deviation that fits the function behind a layer, as TheDeepChecker chooses (checkers.py, _pre_check_weights): He et
// al. 2015, equation 10, for the rectifiers, LeCun et al. 1998 for SELU and sigmoid, Glorot and Bengio 2010, equation 12, for all others.
func (c *checker) usualSpread(p lower.Param) (float64, string) {
	in, out := float64(p.FanIn), float64(max(1, p.FanOut))
	switch fn := c.functionBehind(p.Node); fn {
	case "relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "swish", "thresholded_relu", "hard_swish", "mish":
		return math.Sqrt(2 / in), "He's"
	case "selu", "sigmoid", "hard_sigmoid":
		return math.Sqrt(1 / in), "LeCun's"
	}
	return math.Sqrt(2 / (in + out)), "Glorot's"
}

func (c *checker) allEqual(tensor string) bool {
	t := c.g.Initializer(tensor)
	if t == nil {
		return false
	}
	v, err := t.Float64s()
	if err != nil || len(v) < 2 {
		return false
	}
	return !slices.ContainsFunc(v, func(x float64) bool { return x != v[0] })
}

func (c *checker) hidden(x repair.Slot) {
	switch x.Current.Text {
	case "sigmoid", "hard_sigmoid", "tanh", "softsign":
		c.add(HiddenSaturating, x.Target, "functions with a bounded range", 1, 0)
	case "exponential", "softplus":
		c.add(HiddenExponential, x.Target, "functions without small gradients", 1, 0)
	case "softmax", "log_softmax":
		if c.weighs(x.Target) {
			return
		}
		c.add(HiddenSoftmax, x.Target, "hidden units that sum to 1", 1, 0)
	}
}
