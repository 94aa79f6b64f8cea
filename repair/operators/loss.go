package operators

import (
	"strings"

	"netmend/data"
	"netmend/repair"
	"netmend/train"
)

const (
	fromLogits   = "_from_logits"
	fromLogProbs = "_from_log_probabilities"
)

// lossWord names a loss with the form of output that it reads.
func lossWord(l train.Loss) string {
	switch {
	case l.FromLogits:
		return l.Name + fromLogits
	case l.FromLogProbabilities:
		return l.Name + fromLogProbs
	}
	return l.Name
}

// publishedLosses are the thirteen of the published search space, in its order.
var publishedLosses = []string{"mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
	"squared_hinge", "hinge", "categorical_hinge", "logcosh", "categorical_crossentropy", "sparse_categorical_crossentropy",
	"binary_crossentropy", "kullback_leibler_divergence", "poisson"}

// loss changes the loss function. The cross-entropies come in two forms: of probabilities (the plain names), and of logits. The graph stays
// as it is; output_head changes both together.
var loss = operator{
	name: "loss", noun: "loss",
	doc: "changes the loss function",
	slots: func(v *view) []repair.Slot {
		labels := false // sparse losses want class indices
		if len(v.Data.Targets) > 0 {
			_, labels = data.Labels(&v.Data.Targets[0])
		}
		var words []string
		for _, name := range append(publishedLosses[:len(publishedLosses):len(publishedLosses)], "huber", "categorical_crossentropy"+fromLogits,
			"sparse_categorical_crossentropy"+fromLogits, "binary_crossentropy"+fromLogits) {
			if labels || !strings.HasPrefix(name, "sparse") {
				words = append(words, name)
			}
		}
		if v.Recipe.Metric == train.Angle {
			words = append(words, "angle") // what is measured can be trained
		}
		now := repair.Word(lossWord(v.Recipe.Loss))
		return []repair.Slot{{Target: recipeTarget, Domain: with(choice(words...), now), Current: now}}
	},
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		name, logits := strings.CutSuffix(value.Text, fromLogits)
		v.Recipe.Loss = train.Loss{Name: name, FromLogits: logits}
		if name == "huber" {
			v.Recipe.Loss.Delta = 1 // both frameworks' default
		}
		return nil
	},
}
