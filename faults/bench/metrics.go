package bench

import (
	"math"
	"slices"

	"netmend/repair"
	"netmend/repair/stats"
	"netmend/repair/technique"
	"netmend/train"
)

// ImprovementRate is (patched - faulty) / (fixed - faulty) of means (HPO analysis.ipynb, cell 15); a metric that is to be small gives the same
// formula. 1: as good as the ground truth, 0: nothing gained. NaN where faulty and fixed are equal.
func ImprovementRate(faulty, fixed, patched float64) float64 {
	if faulty == fixed {
		return math.NaN()
	}
	return (patched - faulty) / (fixed - faulty)
}

// Round is how published values are rounded: two decimals, three for angles.
func Round(m train.Metric, v float64) float64 {
	scale := 100.0
	if m == train.Angle {
		scale = 1000
	}
	return math.Round(v*scale) / scale
}

// RoundedRate is ImprovementRate of rounded means, as the published tables give it.
func RoundedRate(m train.Metric, faulty, fixed, patched float64) float64 {
	return ImprovementRate(Round(m, faulty), Round(m, fixed), Round(m, patched))
}

// Clip is the published rule for a result that is NaN or worse than the mean of the faulty model: that mean is reported ("no repair").
func Clip(m train.Metric, faultyMean, v float64) float64 {
	if math.IsNaN(v) || m.Better(faultyMean, v) {
		return faultyMean
	}
	return v
}

// exactPairs is the largest sample of which scipy takes the exact distribution (scipy 1.10, stats/_morestats.py, wilcoxon).
const exactPairs = 50

// ScipyWilcoxon is the p-value of scipy.stats.wilcoxon(x, y) of scipy 1.10 with its defaults, which the published study used: two-sided,
// differences of zero are left out ("wilcox"), the exact distribution of untied ranks for up to 50 pairs where no difference is zero, otherwise
// the normal distribution without a correction for continuity. Where all differences are zero scipy refuses, and the study took p = 1.
func ScipyWilcoxon(x, y []float64) (float64, error) {
	d, err := stats.Differences(x, y, stats.HigherIsBetter)
	if err != nil {
		return 0, err
	}
	if len(d) > exactPairs || slices.Contains(d, 0) {
		w, err := stats.Wilcoxon(d, stats.TwoSided, stats.DropZeros, stats.Approximate)
		return w.P, err
	}
	w, err := stats.Wilcoxon(d, stats.TwoSided, stats.DropZeros, stats.Exact)
	if err != nil {
		return 0, err
	}
	// With ties scipy truncates the sum of mid-ranks and looks it up in the distribution of untied ones. Differences ±1..±n whose positive
	// ranks have that sum are looked up in the same one.
	rest := int(w.Statistic)
	untied := make([]float64, len(d))
	for rank := len(d); rank >= 1; rank-- {
		if untied[rank-1] = -float64(rank); rank <= rest {
			untied[rank-1] = float64(rank)
			rest -= rank
		}
	}
	w, err = stats.Wilcoxon(untied, stats.TwoSided, stats.DropZeros, stats.Exact)
	return w.P, err
}

// typesOf are the published kinds of hyper-parameters that an operator's edits change (Complexity.ipynb, get_jaccard: act, batch_size, epochs, loss,
// lr, optimizer, ki, kr; for operators that are none of its keys, the kinds that it gives AutoTrainer's: clipping belongs to the optimizer, a
// schedule to the learning rate). Bias initialisers, units, layers and dropout are of no kind.
var typesOf = map[string][]string{
	"activation": {"act"}, "add_activation": {"act"}, "output_head": {"act", "loss"},
	"batch_size": {"batch_size"}, "epochs": {"epochs"}, "loss": {"loss"},
	"learning_rate": {"lr"}, "schedule": {"lr"},
	"optimizer": {"optimizer"}, "gradient_clip": {"optimizer"},
	"kernel_initializer": {"ki"}, "regularizer": {"kr"},
}

// Types are the kinds that a patch changes, in alphabetical order.
func Types(p repair.Patch) []string {
	var out []string
	for _, e := range p {
		out = append(out, typesOf[e.Operator]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// AsymmetricJaccard is |types(truth) ∩ types(patch)| / |types(truth)|; NaN where the truth changes none of the kinds.
func AsymmetricJaccard(truth, patch repair.Patch) float64 {
	have, both := Types(patch), 0
	want := Types(truth)
	for _, t := range want {
		if slices.Contains(have, t) {
			both++
		}
	}
	return float64(both) / float64(len(want))
}

// chance is the accuracy of the best constant answer on the search rows, fitted on these rows themselves: what a network that has collapsed scores
// at most. NaN for errors, which have no such level in the tables, and for a subject that cannot be trained.
func chance(s repair.Subject) float64 {
	if !s.Recipe.Metric.Maximize() {
		return math.NaN()
	}
	ev, err := train.Constant(s.Model, s.Recipe, s.Data, s.Data.Search, s.Data.Search, 0)
	if err != nil {
		return math.NaN()
	}
	return ev.Score
}

// dead says that a trial's training came to nothing: it diverged, could not be made, has outputs that are not finite, or its accuracy is no higher
// than that of a constant answer.
func dead(t technique.Trial, chance float64, m train.Metric) bool {
	if !t.Score.Valid || t.State == technique.Diverged || t.State == technique.Failed || t.State == technique.OutOfMemory {
		return true
	}
	return m.Maximize() && float64(t.Score.Value) <= chance
}
