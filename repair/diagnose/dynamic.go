package diagnose

import (
	"math"

	"netmend/train"
)

// The symptoms of a training.
const (
	NonFiniteLoss     Kind = "non_finite_loss"
	LossRising        Kind = "loss_rising"
	NoLearning        Kind = "no_learning"      // the loss does not move
	SlowConvergence   Kind = "slow_convergence" // it moves little
	StillImproving    Kind = "still_improving"  // it was falling when the training ended
	Plateau           Kind = "plateau"
	Oscillation       Kind = "oscillation"
	Overfitting       Kind = "overfitting"
	ExplodingGradient Kind = "exploding_gradient"
	VanishingGradient Kind = "vanishing_gradient"
	NoGradient        Kind = "no_gradient" // exactly zero
	DeadUnits         Kind = "dead_units"
	LargeActivation   Kind = "large_activation"
	WeightsUnchanged  Kind = "weights_unchanged"
	NonFiniteWeights  Kind = "non_finite_weights"
)

// Limits of the dynamic rules.
const (
	risingFactor   = 2.0  // of the least loss: TheDeepChecker's diverging loss
	noLearning     = 0.01 // of the first loss: AutoTrainer's delta, for accuracies
	slowLearning   = 0.05 // TheDeepChecker: less than 5 % over its window is no decrease
	improving      = 0.02 // per epoch at the end; twice noLearning
	plateauShare   = 1e-3 // of the loss, over the second half
	oscillateSize  = 0.03 // AutoTrainer's zeta
	oscillateShare = 0.2  // AutoTrainer's eta
	overfitDrop    = 0.05 // UMLAUT: validation worse by 0.05
	explodeMean    = 1e4  // BTTackler's median of mean |g|
	vanishRatio    = 1e-3 // AutoTrainer's beta_1, first kernel against last
	vanishMean     = 1e-5 // BTTackler's mean |g|
	deadShare      = 0.5  // BTTackler's zero-gradient rate, TheDeepChecker's dead neurons
	largeMean      = 10.0 // AutoTrainer's omega_1
	unchanged      = 1e-6 // relative change of the mean square of a tensor between two epochs
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
	first, last, least := l[0], l[len(l)-1], l[0]
	for _, v := range l {
		least = min(least, v)
	}
	scale := max(math.Abs(first), 1e-12)
	drop := (first - last) / scale
	switch {
	case last > least+(risingFactor-1)*max(math.Abs(least), 1e-12):
		d.add(LossRising, "", epoch, "last loss over the least", last/least, risingFactor)
	case drop < noLearning:
		d.add(NoLearning, "", epoch, "share of the loss that was lost", drop, noLearning)
	case drop < slowLearning:
		d.add(SlowConvergence, "", epoch, "share of the loss that was lost", drop, slowLearning)
	}
	before := l[len(l)-2]
	if gain := (before - last) / max(math.Abs(before), 1e-12); gain > improving || drop < slowLearning && gain > 0 {
		d.add(StillImproving, "", epoch, "loss lost in the last part", gain, improving)
	}
	if half := l[len(l)/2]; len(l) >= 6 && math.Abs(half-last) < plateauShare*max(math.Abs(half), 1e-12) {
		d.add(Plateau, "", epoch, "change over the second half", math.Abs(half-last), plateauShare*math.Abs(half))
	}
	d.swings(l, scale)
	d.overfits()
}

// swings counts the falls that are undone by a rise of more than oscillateSize of the first loss.
func (d *dynamic) swings(l []float64, scale float64) {
	n := 0.0
	for i := 1; i+1 < len(l); i++ {
		if l[i] < l[i-1] && l[i+1]-l[i] > oscillateSize*scale {
			n++
		}
	}
	if share := n / float64(len(l)); share >= oscillateShare {
		d.add(Oscillation, "", len(d.t.Epochs), "share of epochs that rise again", share, oscillateShare)
	}
}

// overfits compares the last score with the best one while the training loss fell.
func (d *dynamic) overfits() {
	m := d.r.Metric
	best, at := math.NaN(), 0
	for i, e := range d.t.Epochs {
		if finite(e.Score) && m.Better(e.Score, best) {
			best, at = e.Score, i
		}
	}
	n := len(d.t.Epochs)
	if n < 3 || at == n-1 || math.IsNaN(best) || !(d.t.Epochs[n-1].Loss < d.t.Epochs[at].Loss) {
		return
	}
	drop := math.Abs(best - d.t.Epochs[n-1].Score)
	if !m.Maximize() {
		drop /= max(math.Abs(best), 1e-12)
	}
	if drop > overfitDrop {
		d.add(Overfitting, "", n, "score lost since the best epoch", drop, overfitDrop)
	}
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
	d.gradients(first)
	for i, l := range d.t.Epochs[last].Layers {
		epoch := d.t.Epochs[last].Number
		switch {
		case l.Kind == "parameter" && l.Weight.NonFinite > 0:
			d.add(NonFiniteWeights, l.Name, epoch, "elements", l.Weight.NonFinite, 0)
		case l.Kind == "parameter" && last > first && d.same(first, last, i):
			d.add(WeightsUnchanged, l.Name, epoch, "relative change", 0, unchanged)
		case l.Kind != "parameter" && l.Dead > deadShare:
			d.add(DeadUnits, l.Name, epoch, "share of units", l.Dead, deadShare)
		case l.Kind != "parameter" && l.Output.MeanAbs >= largeMean:
			d.add(LargeActivation, l.Name, epoch, "mean absolute output", l.Output.MeanAbs, largeMean)
		}
	}
}

func (d *dynamic) same(first, last, i int) bool {
	before := d.t.Epochs[first].Layers
	if i >= len(before) || before[i].Name != d.t.Epochs[last].Layers[i].Name {
		return false
	}
	a, b := before[i].Weight.MeanSquare, d.t.Epochs[last].Layers[i].Weight.MeanSquare
	return a > 0 && math.Abs(a-b) <= unchanged*a
}

// gradients compares the tensors of an epoch: absolute sizes, and the first kernel's with the last's.
func (d *dynamic) gradients(at int) {
	e := d.t.Epochs[at]
	var norms []float64
	var names []string
	for _, l := range e.Layers {
		if l.Kind != "parameter" {
			continue
		}
		g := l.Gradient
		switch {
		case g.NonFinite > 0 || g.MeanAbs > explodeMean:
			d.add(ExplodingGradient, l.Name, e.Number, "mean absolute gradient", g.MeanAbs, explodeMean)
		case g.MaxAbs == 0:
			d.add(NoGradient, l.Name, e.Number, "largest gradient", 0, 0)
		case g.MeanAbs < vanishMean:
			d.add(VanishingGradient, l.Name, e.Number, "mean absolute gradient", g.MeanAbs, vanishMean)
		}
		norms, names = append(norms, math.Sqrt(g.MeanSquare)), append(names, l.Name)
	}
	if n := len(norms); n >= 4 && norms[n-1] > 0 && norms[0] > 0 && norms[0]/norms[n-1] < vanishRatio {
		d.add(VanishingGradient, names[0], e.Number, "gradient over the last tensor's", norms[0]/norms[n-1], vanishRatio)
	}
}
