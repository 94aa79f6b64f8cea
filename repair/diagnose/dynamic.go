package diagnose

import (
	"math"
	"slices"
	"strings"

	"netmend/train"
)

// The symptoms of a training.
const (
	NonFiniteLoss      Kind = "non_finite_loss"
	LossRising         Kind = "loss_rising"
	NoLearning         Kind = "no_learning"      // the loss does not move
	SlowConvergence    Kind = "slow_convergence" // it moves little
	StillImproving     Kind = "still_improving"  // it was falling when the training ended
	Plateau            Kind = "plateau"
	Oscillation        Kind = "oscillation"
	Overfitting        Kind = "overfitting"
	LossMetricDisagree Kind = "loss_metric_disagree" // the loss falls and the metric does not follow
	ExplodingGradient  Kind = "exploding_gradient"
	VanishingGradient  Kind = "vanishing_gradient"
	NoGradient         Kind = "no_gradient" // exactly zero
	DeadUnits          Kind = "dead_units"
	Saturation         Kind = "saturation"
	LargeActivation    Kind = "large_activation"
	WeightsUnchanged   Kind = "weights_unchanged"
	NonFiniteWeights   Kind = "non_finite_weights"
)

// Limits of the dynamic rules. AutoTrainer's are the defaults of reproduce.py and monitor.py, BTTackler's (KDD 2024) those of
// default_config.yaml, TheDeepChecker's (TOSEM 2022) those of settings.yaml. What has no source is the author's.
const (
	risingFactor   = 2.0  // of the least loss: TheDeepChecker's diverging loss
	noLearning     = 0.01 // of the first loss: AutoTrainer's delta, for accuracies
	slowLearning   = 0.05 // TheDeepChecker: less than 5 % over its window is no decrease
	improving      = 0.02 // per epoch at the end; twice noLearning
	plateauShare   = 1e-3 // of the loss, over the second half
	solvedShare    = 0.1  // of the first loss: what is below has learned, and neither rests nor vanishes for want of learning
	solvedScore    = 0.9  // of the search rows, likewise
	oscillateSize  = 0.03 // AutoTrainer's zeta, for accuracies; here of the first loss
	oscillateShare = 0.2  // AutoTrainer's eta
	oscillateLeast = 2    // rises: one is no oscillation
	overfitDrop    = 0.05 // UMLAUT: validation worse by 0.05
	overfitLoss    = 0.01 // by which the search loss must have risen again, of its least: AutoTrainer's epsilon (monitor.py, loss_issue)
	agreement      = 0.5  // TheDeepChecker's correlation of loss and metric
	agreeEpochs    = 6    // to correlate; BTTackler's window
	agreeDrop      = 0.5  // of the first loss that is gone, before the metric has to follow
	satisfied      = 0.6  // AutoTrainer's Theta: an accuracy above it has followed
	explodeMean    = 1e6  // TheDeepChecker's largest mean |g| of a tensor
	explodeMedian  = 1e4  // BTTackler's p_eg1, of the median over tensors
	explodeRatio   = 70.0 // AutoTrainer's beta_3, first kernel over last, where the loss does not fall
	vanishRatio    = 1e-3 // AutoTrainer's beta_1, first kernel over last …
	vanishFirst    = 1e-4 // … and its beta_2, of the first kernel alone
	vanishMean     = 1e-6 // TheDeepChecker's least mean |g| of a tensor
	vanishMedian   = 1e-5 // BTTackler's p_vg1, of the median over tensors
	deadShare      = 0.7  // AutoTrainer's gamma; BTTackler's and TheDeepChecker's 0.5 is what chance gives behind a layer of positive values
	saturated      = 0.85 // TheDeepChecker's rho, the measure of Rakitianskaia and Engelbrecht (SSCI 2015)
	largeMean      = 10.0 // AutoTrainer's omega_1
	unchanged      = 1e-6 // relative change of the moments of a tensor between two epochs
)

// Dynamic reads a trace: losses and scores of epochs, and the layers' statistics where they were taken.
func Dynamic(t *train.Trace, r train.Recipe) []Symptom {
	d := &dynamic{t: t, r: r}
	d.losses()
	d.layers()
	return d.found
}

type dynamic struct {
	t     *train.Trace
	r     train.Recipe
	found []Symptom
}

func (d *dynamic) add(k Kind, node string, epoch int, measure string, value, limit float64) {
	d.found = append(d.found, Symptom{k, node, epoch, measure, value, limit})
}

func (d *dynamic) has(kinds ...Kind) bool {
	return slices.ContainsFunc(d.found, func(s Symptom) bool { return slices.Contains(kinds, s.Kind) })
}

// stuck says whether the loss hardly fell; what layers show of a training that works is no fault of theirs.
func (d *dynamic) stuck() bool { return d.has(NonFiniteLoss, LossRising, NoLearning, SlowConvergence) }

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// smoothed are the losses that progress is judged by: the epochs' means, or tenths of the only epoch's steps.
func (d *dynamic) smoothed() []float64 {
	var out []float64
	if len(d.t.Epochs) >= 3 {
		for _, e := range d.t.Epochs {
			out = append(out, e.Loss)
		}
		return out
	}
	n := len(d.t.Losses)
	if n < 20 {
		return nil
	}
	for i := range 10 {
		sum, part := 0.0, d.t.Losses[i*n/10:(i+1)*n/10]
		for _, v := range part {
			sum += v
		}
		out = append(out, sum/float64(len(part)))
	}
	return out
}

func (d *dynamic) losses() {
	epoch := max(1, len(d.t.Epochs))
	for i, v := range d.t.Losses {
		if !finite(v) {
			d.add(NonFiniteLoss, "", epoch, "step of the first loss that is not finite", float64(i+1), float64(len(d.t.Losses)))
			return
		}
	}
	l := d.smoothed()
	if len(l) < 3 {
		return
	}
	first, last, least := l[0], l[len(l)-1], slices.Min(l)
	scale := max(math.Abs(first), 1e-12)
	drop := (first - last) / scale
	switch {
	case last > least+(risingFactor-1)*max(math.Abs(least), 1e-12) && last-least > noLearning*scale: // noise about 0 is no rise
		d.add(LossRising, "", epoch, "last loss over the least", last/least, risingFactor)
	case drop < noLearning:
		d.add(NoLearning, "", epoch, "share of the loss that was lost", drop, noLearning)
	case drop < slowLearning:
		d.add(SlowConvergence, "", epoch, "share of the loss that was lost", drop, slowLearning)
	}
	before := l[len(l)-2]
	switch gain := (before - last) / max(math.Abs(before), 1e-12); {
	case gain > improving && last > noLearning*scale:
		d.add(StillImproving, "", epoch, "share of the loss lost in the last part", gain, improving)
	case drop < slowLearning && gain > 0: // slow, and any gain is to go on
		d.add(StillImproving, "", epoch, "share of the loss lost in the last part", gain, 0)
	}
	half := l[len(l)/2]
	if change := math.Abs(half-last) / max(math.Abs(half), 1e-12); len(l) >= 6 && change < plateauShare && last > solvedShare*scale {
		d.add(Plateau, "", epoch, "share of the loss that changed over the second half", change, plateauShare)
	}
	d.swings(l, scale)
	d.overfits()
	d.agrees()
}

// swings counts the falls that are undone by a rise of more than oscillateSize of the first loss.
func (d *dynamic) swings(l []float64, scale float64) {
	n := 0.0
	for i := 1; i+1 < len(l); i++ {
		if l[i] < l[i-1] && l[i+1]-l[i] > oscillateSize*scale {
			n++
		}
	}
	if share := n / float64(len(l)); n >= oscillateLeast && share >= oscillateShare {
		d.add(Oscillation, "", len(d.t.Epochs), "share of epochs that rise again", share, oscillateShare)
	}
}

// overfits compares the last score with the best one while the training loss fell and the search loss, where it is known, rose.
func (d *dynamic) overfits() {
	m := d.r.Metric
	best, at, lowest := math.NaN(), 0, math.Inf(1)
	for i, e := range d.t.Epochs {
		if finite(e.Score) && m.Better(e.Score, best) {
			best, at = e.Score, i
		}
		if finite(e.SearchLoss) {
			lowest = min(lowest, e.SearchLoss)
		}
	}
	n := len(d.t.Epochs)
	if n < 3 || at == n-1 || math.IsNaN(best) || !(d.t.Epochs[n-1].Loss < d.t.Epochs[at].Loss) {
		return
	}
	if last := d.t.Epochs[n-1].SearchLoss; finite(last) && last < lowest+overfitLoss*math.Abs(lowest) {
		return // the score fell by chance
	}
	drop := math.Abs(best - d.t.Epochs[n-1].Score)
	if !m.Maximize() {
		drop /= max(math.Abs(best), 1e-12)
	}
	if drop > overfitDrop {
		d.add(Overfitting, "", n, "score lost since the best epoch", drop, overfitDrop)
	}
}

// agrees correlates the epochs' losses with their scores. A score that is good from the first epoch on, or gained on the way, has followed.
func (d *dynamic) agrees() {
	var losses, scores []float64
	sign := 1.0
	if d.r.Metric.Maximize() {
		sign = -1
	}
	for _, e := range d.t.Epochs {
		if finite(e.Score) && finite(e.Loss) {
			losses, scores = append(losses, e.Loss), append(scores, sign*e.Score)
		}
	}
	n := len(losses)
	if n < agreeEpochs || d.has(Overfitting) || losses[0]-losses[n-1] < agreeDrop*math.Abs(losses[0]) {
		return
	}
	gain, best := scores[0]-slices.Min(scores), slices.Min(scores)
	if sign < 0 && (gain >= noLearning || -best > satisfied) || sign > 0 && gain >= slowLearning*math.Abs(scores[0]) {
		return
	}
	if r := correlation(losses, scores); r < agreement {
		d.add(LossMetricDisagree, "", len(d.t.Epochs), "correlation of the loss with the error", r, agreement)
	}
}

// correlation is Pearson's; 0 where one of the two does not vary.
func correlation(x, y []float64) float64 {
	n := float64(len(x))
	mx, my := 0.0, 0.0
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	xy, xx, yy := 0.0, 0.0, 0.0
	for i := range x {
		xy, xx, yy = xy+(x[i]-mx)*(y[i]-my), xx+(x[i]-mx)*(x[i]-mx), yy+(y[i]-my)*(y[i]-my)
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

// layers judges the statistics of the first epoch that has any, where a fault of the start shows, and of the last.
func (d *dynamic) layers() {
	first, last := -1, -1
	for i, e := range d.t.Epochs {
		if len(e.Layers) > 0 {
			if last = i; first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return
	}
	// A network that has learned within its first epoch has small gradients because there is little left to learn.
	if !d.solved(first) {
		d.gradients(d.t.Epochs[first])
	}
	d.units(d.t.Epochs[last], d.solved(last))
	for i, l := range d.t.Epochs[last].Layers {
		epoch := d.t.Epochs[last].Number
		switch {
		case l.Kind != "parameter":
		case l.Weight.NonFinite > 0:
			d.add(NonFiniteWeights, l.Name, epoch, "elements", l.Weight.NonFinite, 0)
		case last > first && d.same(first, last, i):
			d.add(WeightsUnchanged, l.Name, epoch, "relative change", 0, unchanged)
		}
	}
}

// solved says whether the loss at the end of an epoch, over its last tenth, is a small share of the first one, or nearly all search rows are right:
// AutoTrainer and BTTackler leave trainings alone that do well.
func (d *dynamic) solved(at int) bool {
	if ratio(d.r.Metric) && d.t.Epochs[at].Score > solvedScore {
		return true
	}
	end := (at + 1) * len(d.t.Losses) / len(d.t.Epochs)
	tail := d.t.Losses[max(0, end-max(1, len(d.t.Losses)/len(d.t.Epochs)/10)):end]
	sum := 0.0
	for _, v := range tail {
		sum += v / float64(len(tail))
	}
	return len(tail) > 0 && sum <= solvedShare*math.Abs(d.t.Losses[0])
}

// same says whether a tensor's moments are those of an earlier epoch. The mean square alone says little of a large tensor, whose updates cancel out
// in it.
func (d *dynamic) same(first, last, i int) bool {
	before := d.t.Epochs[first].Layers
	if i >= len(before) || before[i].Name != d.t.Epochs[last].Layers[i].Name {
		return false
	}
	a, b := before[i].Weight, d.t.Epochs[last].Layers[i].Weight
	near := func(x, y, scale float64) bool { return math.Abs(x-y) <= unchanged*scale }
	return a.MeanSquare > 0 && near(a.MeanSquare, b.MeanSquare, a.MeanSquare) && near(a.MeanAbs, b.MeanAbs, a.MeanAbs) &&
		near(a.Mean, b.Mean, a.MeanAbs) && near(a.MaxAbs, b.MaxAbs, a.MaxAbs)
}

// gradients compares the tensors of an epoch: absolute sizes, and the first kernel's with the last's. Biases are left out where the role is
// known: one in front of a normalisation has none.
func (d *dynamic) gradients(e train.Epoch) {
	var kernels []train.Layer
	for _, l := range e.Layers {
		if l.Kind != "parameter" || l.Op == "bias" {
			continue
		}
		if l.Op == "" || l.Op == "kernel" || l.Op == "embedding" {
			kernels = append(kernels, l)
		}
		switch g := l.Gradient; {
		case g.NonFinite > 0 || g.MeanAbs > explodeMean:
			d.add(ExplodingGradient, l.Name, e.Number, "mean absolute gradient", g.MeanAbs, explodeMean)
		case g.MaxAbs == 0:
			d.add(NoGradient, l.Name, e.Number, "largest gradient", 0, 0)
		case g.MeanAbs < vanishMean:
			d.add(VanishingGradient, l.Name, e.Number, "mean absolute gradient", g.MeanAbs, vanishMean)
		}
	}
	if len(kernels) == 0 || d.has(ExplodingGradient, NoGradient, VanishingGradient) {
		return
	}
	var means []float64
	for _, l := range kernels {
		means = append(means, l.Gradient.MeanAbs)
	}
	slices.Sort(means)
	switch median := means[len(means)/2]; {
	case median > explodeMedian:
		d.add(ExplodingGradient, "", e.Number, "median over the kernels of the mean absolute gradient", median, explodeMedian)
	case median < vanishMedian:
		d.add(VanishingGradient, "", e.Number, "median over the kernels of the mean absolute gradient", median, vanishMedian)
	}
	d.flow(e.Number, kernels[0], kernels[len(kernels)-1], len(kernels))
}

// flow compares the first kernel's gradient with the last one's. AutoTrainer divides norms; root mean squares leave the tensors' sizes out.
func (d *dynamic) flow(epoch int, first, last train.Layer, kernels int) {
	a, b := math.Sqrt(first.Gradient.MeanSquare), math.Sqrt(last.Gradient.MeanSquare)
	if kernels < 2 || !(a > 0 && b > 0) {
		return
	}
	switch {
	case a/b < vanishRatio && a < vanishFirst:
		d.add(VanishingGradient, first.Name, epoch, "size over the last kernel's", a/b, vanishRatio)
	case a/b > explodeRatio && (epoch == 0 || d.stuck()):
		d.add(ExplodingGradient, first.Name, epoch, "size over the last kernel's", a/b, explodeRatio)
	}
}

// units judges what nodes give, but for the last layer and what follows it: an output may well be saturated or large. In a training that works,
// saturated and large units are no fault, nor are dead ones in a network that has learned.
func (d *dynamic) units(e train.Epoch, solved bool) {
	output := -1
	for i, l := range e.Layers {
		if multiplies[l.Op] && l.Kind != "parameter" {
			output = i
		}
	}
	judged := e.Number == 0 || d.stuck()
	for i, l := range e.Layers {
		if l.Kind == "parameter" {
			continue
		}
		name := nodeOf(l)
		rho, bounded := saturation(l)
		hidden := output < 0 || i < output
		switch {
		case l.Dead > deadShare && !solved && !multiplies[l.Op]: // a layer's show behind its function
			d.add(DeadUnits, name, e.Number, "share of units", l.Dead, deadShare)
		case bounded && rho > saturated && hidden && judged:
			d.add(Saturation, name, e.Number, "rho, 1 where every output is at an end of its range", rho, saturated)
		case l.Output.MeanAbs >= largeMean && hidden && judged && !d.has(LargeActivation): // those behind it follow, as in AutoTrainer
			d.add(LargeActivation, name, e.Number, "mean absolute output", l.Output.MeanAbs, largeMean)
		}
	}
}

// multiplies are the operators of layers.
var multiplies = map[string]bool{"Gemm": true, "MatMul": true, "Conv": true, "ConvTranspose": true}

// saturation is rho of a bounded function: the mean of |y|, the outputs being brought to -1..1. Of the functions from 0 to 1 the moments give
// the mean of (2y - 1)^2, which is no larger.
func saturation(l train.Layer) (rho float64, bounded bool) {
	switch l.Op {
	case "Tanh", "Softsign":
		return l.Output.MeanAbs, true
	case "Sigmoid", "HardSigmoid":
		return 4*l.Output.MeanSquare - 4*l.Output.Mean + 1, true
	}
	return 0, false
}

// nodeOf is the name that edits target a node by; a trace knows a node without one as its operator with its output.
func nodeOf(l train.Layer) string {
	if name, ok := strings.CutPrefix(l.Name, l.Op+"("); ok && l.Op != "" {
		return strings.TrimSuffix(name, ")")
	}
	return l.Name
}
