package mutate

import (
	"math"
	"math/rand/v2"
	"slices"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/train"
)

const (
	recipeTarget = "recipe"
	dataTarget   = "data"
)

// All lists DeepCrime's 24 operators in its order. Constants are those of its MNIST program, or a rule that gives them for it:
//
//	TCL TUD TAN TCO  0 to 100 %, TRD 0 to 99 %, precision 5
//	HBS  32, 64, 128, 256, 512 without the current one and those beyond the training rows
//	HLR  from the current rate down to a thousandth of it (MNIST: 1 to 0.001), precision a hundredth of it (0.01); not below 1e-6, the end of
//	     the repair operator's domain
//	HNE  from the current number down to 1, precision a tenth of it, at least 1 (12 epochs: 1, 50 epochs: 5)
//	RCP  from the current patience down to 1, precision 1
//	RCD  0.125, 0.25, 0.75 and 1 without the current rate
//
// Where the change is one that a repair makes too, the repair's operator makes it.
func All() []Operator {
	return slices.Concat(dataOperators(), recipeOperators(), layerOperators())
}

func dataOperators() []Operator {
	return []Operator{
		{ID: "TCL", Name: "change_label", Search: Bisection, Data: true,
			Doc:   "gives a share of the most frequent class's training rows a random other label; adds noise to the targets of a regression",
			sites: labelSites, apply: changeLabels},
		{ID: "TRD", Name: "delete_training_data", Search: Bisection, Data: true,
			Doc:   "deletes a share of the training rows of every class",
			sites: func(s repair.Subject) []Site { return percent(dataTarget, 99) }, apply: deleteRows},
		{ID: "TUD", Name: "unbalance_train_data", Search: Bisection, Data: true,
			Doc:   "deletes a share of the training rows of the classes that have fewer than the average",
			sites: unbalanceSites, apply: unbalance},
		{ID: "TAN", Name: "add_noise", Search: Bisection, Data: true,
			Doc:   "adds normal noise to a share of the training rows of an input",
			sites: noiseSites, apply: addNoise},
		{ID: "TCO", Name: "make_output_classes_overlap", Search: Bisection, Data: true,
			Doc:   "repeats a share of the most frequent class's training rows with the label of the second most frequent",
			sites: overlapSites, apply: overlap},
	}
}

func recipeOperators() []Operator {
	return []Operator{
		{ID: "HBS", Name: "change_batch_size", Search: Exhaustive, Doc: "changes the batch size",
			sites: fromSlots("batch_size", func(x repair.Slot) []repair.Value {
				return others(x, repair.Num(32), repair.Num(64), repair.Num(128), repair.Num(256), repair.Num(512))
			}), apply: repairEdit("batch_size")},
		{ID: "HLR", Name: "change_learning_rate", Search: Bisection, Doc: "lowers the learning rate",
			sites: learningRateSites, apply: repairEdit("learning_rate")},
		{ID: "HNE", Name: "change_epochs", Search: Bisection, Doc: "trains for fewer epochs",
			sites: func(s repair.Subject) []Site { return countdown(s.Recipe.Epochs) }, apply: repairEdit("epochs")},
		{ID: "HDB", Name: "disable_batching", Doc: "makes all training rows one batch",
			sites: func(s repair.Subject) []Site {
				if n := len(s.Data.Train); n > s.Recipe.BatchSize {
					return one(repair.Num(float64(n)))
				}
				return nil
			},
			apply: recipeChange(func(r *train.Recipe, v repair.Value) { r.BatchSize = int(v.Number) })},
	}
}

func layerOperators() []Operator {
	return []Operator{
		{ID: "ACH", Name: "change_activation_function", Search: Exhaustive, Doc: "changes the activation function of a layer",
			sites: fromSlots("activation", func(x repair.Slot) []repair.Value { return others(x, words(activations...)...) }), apply: repairEdit("activation")},
		{ID: "ARM", Name: "remove_activation_function", Doc: "makes the activation of a layer linear",
			sites: fromSlots("activation", func(x repair.Slot) []repair.Value { return others(x, repair.Word("linear")) }), apply: repairEdit("activation")},
		{ID: "AAL", Name: "add_activation_function", Search: Exhaustive, Doc: "adds an activation function to a linear layer",
			sites: fromSlots("add_activation", func(x repair.Slot) []repair.Value { return others(x, words(activations...)...) }), apply: repairEdit("add_activation")},
		{ID: "RAW", Name: "add_weights_regularisation", Search: Exhaustive, Doc: "adds a weight regularisation to a layer that has none",
			sites: regularizers(false, "l1", "l2", "l1_l2"), apply: repairEdit("regularizer")},
		{ID: "RCW", Name: "change_weights_regularisation", Search: Exhaustive, Doc: "changes the weight regularisation of a layer",
			sites: regularizers(true, "l1", "l2", "l1_l2"), apply: repairEdit("regularizer")},
		{ID: "RRW", Name: "remove_weights_regularisation", Doc: "removes the weight regularisation of a layer",
			sites: regularizers(true, "none"), apply: repairEdit("regularizer")},
		{ID: "RCD", Name: "change_dropout_rate", Search: Exhaustive, Doc: "changes the rate of a Dropout layer", sites: dropoutSites, apply: changeDropout},
		{ID: "RCP", Name: "change_patience", Search: Bisection, Doc: "lowers the patience of early stopping",
			sites: func(s repair.Subject) []Site {
				sites := countdown(s.Recipe.EarlyStopping.Patience)
				for i := range sites {
					sites[i].Precision = 1
				}
				return sites
			},
			apply: recipeChange(func(r *train.Recipe, v repair.Value) { r.EarlyStopping.Patience = int(v.Number) })},
		{ID: "WCI", Name: "change_weights_initialisation", Search: Exhaustive, Doc: "changes the kernel initializer of a layer",
			sites: fromSlots("kernel_initializer", func(x repair.Slot) []repair.Value { return others(x, words(initializers...)...) }),
			apply: repairEdit("kernel_initializer")},
		{ID: "WAB", Name: "add_bias", Doc: "adds a bias to a layer that has none", sites: addBiasSites, apply: addBias},
		{ID: "WRB", Name: "remove_bias", Doc: "removes the bias of a layer", sites: removeBiasSites, apply: removeBias},
		{ID: "LCH", Name: "change_loss_function", Search: Exhaustive, Doc: "changes the loss function",
			sites: fromSlots("loss", lossValues), apply: repairEdit("loss")},
		{ID: "OCH", Name: "change_optimisation_function", Search: Exhaustive, Doc: "changes the optimizer by name, which sets its default learning rate",
			sites: fromSlots("optimizer", func(x repair.Slot) []repair.Value { return others(x, words(optimizers...)...) }), apply: repairEdit("optimizer")},
		{ID: "OCG", Name: "change_gradient_clip", Doc: "clips every element of the gradients to 0.5",
			sites: fromSlots("gradient_clip", func(x repair.Slot) []repair.Value { return others(x, repair.Word("value=0.5")) }), apply: repairEdit("gradient_clip")},
		{ID: "VRM", Name: "remove_validation_set", Doc: "makes early stopping watch the training loss in place of the validation metric",
			sites: validationSites,
			apply: recipeChange(func(r *train.Recipe, _ repair.Value) { r.EarlyStopping.Monitor = "loss" })},
	}
}

// DeepCrime's values, in its order; linear is not among the activations that AAL adds, since there it is the current one.
var (
	activations  = []string{"elu", "softmax", "selu", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid", "exponential", "linear"}
	initializers = []string{"zeros", "ones", "constant", "random_normal", "random_uniform", "truncated_normal", "orthogonal", "lecun_uniform",
		"glorot_normal", "glorot_uniform", "he_normal", "lecun_normal", "he_uniform"}
	optimizers = []string{"sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"}
	losses     = []string{"mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
		"squared_hinge", "hinge", "categorical_hinge", "logcosh", "huber", "categorical_crossentropy", "binary_crossentropy",
		"kullback_leibler_divergence", "poisson"}
)

func words(names ...string) []repair.Value {
	out := make([]repair.Value, len(names))
	for i, n := range names {
		out[i] = repair.Word(n)
	}
	return out
}

// others are the values that a slot can take and does not have.
func others(x repair.Slot, values ...repair.Value) []repair.Value {
	return slices.DeleteFunc(values, func(v repair.Value) bool { return v == x.Current || !x.Domain.Contains(v) })
}

// one is the site of an operator that changes the recipe in one way.
func one(v repair.Value) []Site { return []Site{{Target: recipeTarget, Values: []repair.Value{v}}} }

// percent is a site of the data operators.
func percent(target string, most float64) []Site {
	return []Site{{Target: target, From: 0, To: most, Precision: 5}}
}

// countdown is the site of a whole number of the recipe that goes down to 1.
func countdown(now int) []Site {
	if now <= 1 {
		return nil
	}
	return []Site{{Target: recipeTarget, From: float64(now), To: 1, Precision: max(1, math.Floor(float64(now)/10)), Whole: true}}
}

// fixer is the repair operator of a name; all that are asked for are in the list.
func fixer(name string) repair.Operator {
	o, _ := operators.All().Find(name)
	return o
}

// fromSlots makes a site of every slot of a repair operator that some values are left for.
func fromSlots(name string, values func(repair.Slot) []repair.Value) func(repair.Subject) []Site {
	return func(s repair.Subject) []Site {
		var sites []Site
		for _, x := range fixer(name).Slots(s) {
			if v := values(x); len(v) > 0 {
				sites = append(sites, Site{Target: x.Target, Values: v})
			}
		}
		return sites
	}
}

type applyFunc func(repair.Subject, Site, repair.Value, *rand.Rand) (repair.Subject, error)

// repairEdit makes the change that a repair operator of that name makes.
func repairEdit(name string) applyFunc {
	return func(s repair.Subject, x Site, v repair.Value, _ *rand.Rand) (repair.Subject, error) {
		return fixer(name).Apply(s, repair.Edit{Operator: name, Target: x.Target, Value: v})
	}
}

// recipeChange changes a copy of the recipe.
func recipeChange(change func(*train.Recipe, repair.Value)) applyFunc {
	return func(s repair.Subject, _ Site, v repair.Value, _ *rand.Rand) (repair.Subject, error) {
		s.Recipe = s.Recipe.Clone()
		change(&s.Recipe, v)
		return s, nil
	}
}

func learningRateSites(s repair.Subject) []Site {
	var sites []Site
	for _, x := range fixer("learning_rate").Slots(s) {
		from := min(x.Current.Number, x.Domain.Max)
		if to := max(from/1000, x.Domain.Min); to < from {
			sites = append(sites, Site{Target: x.Target, From: from, To: to, Precision: from / 100})
		}
	}
	return sites
}

// regularizers are the kernels that have a regularisation (or have none), with the values they can get.
func regularizers(has bool, values ...string) func(repair.Subject) []Site {
	return fromSlots("regularizer", func(x repair.Slot) []repair.Value {
		if (x.Current.Text != "none") != has {
			return nil
		}
		return others(x, words(values...)...)
	})
}

// lossValues leaves out the current loss in whatever form, and the dense form of a sparse one: labels become one-hot for it here, so that it
// computes the same.
func lossValues(x repair.Slot) []repair.Value {
	return slices.DeleteFunc(others(x, words(losses...)...), func(v repair.Value) bool {
		now := x.Current.Text
		return len(now) > len(v.Text) && now[:len(v.Text)] == v.Text || now == "sparse_"+v.Text || now == "sparse_"+v.Text+"_from_logits"
	})
}

// dropoutSites are the Dropout nodes; the repair operator's other slots are places to insert one.
func dropoutSites(s repair.Subject) []Site {
	return slices.DeleteFunc(fromSlots("dropout", func(x repair.Slot) []repair.Value {
		rates := []repair.Value{repair.Num(0.125), repair.Num(0.25), repair.Num(0.75), repair.Num(1)}
		return slices.DeleteFunc(rates, func(v repair.Value) bool { return v == x.Current })
	})(s), func(x Site) bool { return dropoutNode(s.Model.Graph, x.Target) == nil })
}

// dropoutNode finds the Dropout node that a repair operator targets by its name, or by its output where it has none.
func dropoutNode(g *onnx.Graph, target string) *onnx.Node {
	for _, n := range g.Nodes {
		if n.Is("Dropout") && (n.Name == target || n.Name == "" && n.Output(0) == target) {
			return n
		}
	}
	return nil
}

// changeDropout sets the rate in the recipe, which overrides the graph. A rate of 1 is beyond what a repair may set.
func changeDropout(s repair.Subject, x Site, v repair.Value, _ *rand.Rand) (repair.Subject, error) {
	s.Recipe = s.Recipe.Clone()
	if s.Recipe.Dropout == nil {
		s.Recipe.Dropout = map[string]float64{}
	}
	s.Recipe.Dropout[dropoutNode(s.Model.Graph, x.Target).Label()] = v.Number
	return s, nil
}

// validationSites: the validation set of a training is the search part, and the one thing in a training that depends on it is early stopping
// on the metric. Without a validation set it can watch the training loss only, as Keras' EarlyStopping can.
func validationSites(s repair.Subject) []Site {
	if s.Recipe.EarlyStopping.Patience > 0 && s.Recipe.EarlyStopping.Monitor == "metric" {
		return one(repair.Word("loss"))
	}
	return nil
}

// classes are the class of every row of a target and the training rows of each class; ok is false where the target holds no classes.
func classes(s repair.Subject, target int) (labels []int32, rows map[int32][]int32, ok bool) {
	if s.Recipe.Task != train.Classification || target >= len(s.Data.Targets) {
		return nil, nil, false
	}
	if labels, ok = data.Labels(&s.Data.Targets[target]); !ok {
		return nil, nil, false
	}
	rows = map[int32][]int32{}
	for _, r := range s.Data.Train {
		rows[labels[r]] = append(rows[labels[r]], r)
	}
	return labels, rows, true
}
