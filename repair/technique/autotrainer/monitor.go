// Package autotrainer holds the rules of AutoTrainer (Zhang et al., "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System",
// ICSE 2021, and its extension in TDSC 2023): what it takes for a training problem ([Monitor]) and in which order it tries solutions
// ([Search]). They are those of the code, github.com/shiningrain/AUTOTRAINER at 03a463e, with the values of its reproduce.py.
//
// Success is that no problem is seen any more, not that the model is better: the study that netmend repeats (ICST 2023) found a repair of 0.31
// accuracy called solved where 0.54 had been reached.
package autotrainer

import (
	"math"
	"slices"
	"strings"
)

// Problem is what may be wrong with a training.
type Problem string

// The problems, by the names of the original. It can repair "overfit" too, but never reports it.
const (
	AbnormalData    Problem = "abnormal_data"
	WrongActivation Problem = "activation_issue" // of the output layer
	WrongLoss       Problem = "loss_issue"
	DyingReLU       Problem = "relu"
	Exploding       Problem = "explode"
	Vanishing       Problem = "vanish"
	NotConverging   Problem = "not_converge"
	Unstable        Problem = "unstable"
)

// priority decides which of several problems is repaired first: the highest (modules.py, problem_evaluation).
var priority = map[Problem]int{AbnormalData: 4, WrongActivation: 3, WrongLoss: 3, DyingReLU: 2, Exploding: 2, Vanishing: 2, NotConverging: 1, Unstable: 1}

// Params are the thresholds (reproduce.py).
type Params struct {
	Beta1 float64 // vanishing: the first kernel's gradient norm over the last one's lies below it,
	Beta2 float64 // and the first norm below this
	Beta3 float64 // exploding: the ratio lies above it
	Gamma float64 // dying ReLU: share of gradient entries that are 0
	Zeta  float64 // unstable: from a maximum of the accuracy to the minimum of the same number
	Eta   float64 // share of epochs that have such a fall
	Delta float64 // slow: the largest gain of accuracy of an epoch
	Theta float64 // not converging: the best accuracy
	// Omega1 is the mean magnitude of a layer's output that is abnormal.
	Omega1 float64
	// Omega2 and a tenth is what the magnitudes of an output row may sum to.
	Omega2 float64
}

// Defaults are the thresholds of the training that is to be repaired.
func Defaults() Params {
	return Params{Beta1: 1e-3, Beta2: 1e-4, Beta3: 70, Gamma: 0.7, Zeta: 0.03, Eta: 0.2, Delta: 0.01, Theta: 0.6, Omega1: 10, Omega2: 1}
}

// RetrainDefaults are those of the trainings that try a solution: they do not get the parameters, and utils.py's own want 0.7 accuracy.
func RetrainDefaults() Params {
	p := Defaults()
	p.Theta = 0.7
	return p
}

const (
	// CheckGap is the number of epochs from one check to the next: it checks at the end of epochs 0, 3, 6, …
	CheckGap = 3
	// judgementPoint is the share of the epochs from which on accuracies are judged, less a gap (monitor.py, loss_issue).
	judgementPoint = 0.3
	largeLoss      = 1e3 // monitor.py, check_large_loss
	outputMargin   = 0.1 // monitor.py, layer_issue
)

// Gradient is what is seen of a tensor's gradient on the first batch.
type Gradient struct {
	Kernel    bool    // it has more than one dimension
	Norm      float64 // Euclidean
	Zeros     int     // entries that are exactly 0
	Size      int
	NonFinite bool
}

// Outputs are the layers' on the first batch.
type Outputs struct {
	LargestRow float64   // of the last layer: the largest sum of magnitudes of a row
	MeanAbs    []float64 // of the other layers
}

// Check is what a check looks at: the curves up to now, one value per epoch.
type Check struct {
	Loss, Accuracy, ValLoss, ValAccuracy []float64
	Gradients                            []Gradient // of the trained tensors, in the order of the layers
	NonFiniteWeights                     bool
	Outputs                              *Outputs // where [Monitor.NeedsOutputs] says so; else nil
}

// Model is what the monitor asks of a model before it looks at a training.
type Model struct {
	Loss       string // Keras' name; empty: a function of the user's, which is not judged
	Units      int    // of the output
	Activation string // of the output layer
}

// Monitor watches one training. What a check has seen stays seen.
type Monitor struct {
	params Params
	epochs int
	model  Model

	began, middle                  bool // the first check and that of half time are over
	notConverged, unstable, slow   bool
	nanLoss, negativeLoss          bool
	dying, vanishing, exploding    bool
	nanGradient, nanWeight         bool
	abnormal, activation, improper bool
}

// NewMonitor watches a training of some epochs.
func NewMonitor(p Params, epochs int, m Model) *Monitor {
	return &Monitor{params: p, epochs: epochs, model: m}
}

// NeedsOutputs says whether the check at the end of an epoch, counted from 0, looks at the layers' outputs: once from half time on, and
// whenever an earlier check saw a loss that is not finite, large or negative, or a slow accuracy. Only such checks report problems
// (utils.py, on_epoch_end).
func (m *Monitor) NeedsOutputs(epoch int) bool {
	return m.negativeLoss || m.nanLoss || m.slow || !m.middle && float64(epoch) >= 0.5*float64(m.epochs)
}

// Check is the check at the end of an epoch; the problems are in the order in which the rules find them, without repetitions. The training ends
// with the first check that finds any.
func (m *Monitor) Check(epoch int, c Check) []Problem {
	if float64(epoch) >= 0.5*float64(m.epochs) {
		m.middle = true
	}
	if !m.began {
		m.began = true
		m.judgeModel()
	}
	if c.Outputs != nil {
		m.judgeOutputs(*c.Outputs)
	}
	m.judgeGradients(c.Gradients)
	m.nanWeight = m.nanWeight || c.NonFiniteWeights
	m.judgeCurves(c)
	if c.Outputs == nil {
		return nil
	}
	return m.problems()
}

// Foremost is the problem to repair first; of equals, the one that was found first (the original takes any). Empty: there is none.
func Foremost(found []Problem) Problem {
	var first Problem
	for _, p := range found {
		if first == "" || priority[p] > priority[first] {
			first = p
		}
	}
	return first
}

// judgeModel compares loss, output and activation (monitor.py, loss_function_issue).
func (m *Monitor) judgeModel() {
	x := m.model
	binary, categorical := strings.Contains(x.Loss, "binary"), strings.Contains(x.Loss, "categorical")
	if x.Loss == "" {
		return
	}
	if m.improper = !(x.Units <= 2 && binary || x.Units > 2 && categorical); m.improper {
		return
	}
	switch {
	case x.Activation != "sigmoid" && binary && x.Units != 2, x.Activation != "softmax" && categorical:
		m.activation = true
	case x.Activation != "linear" && strings.Contains(x.Loss, "mean"):
		m.activation = true
	}
}

// judgeOutputs is monitor.py, layer_issue.
func (m *Monitor) judgeOutputs(o Outputs) {
	if !(o.LargestRow <= m.params.Omega2+outputMargin) {
		m.activation = true
	}
	for _, v := range o.MeanAbs {
		if v >= m.params.Omega1 && !m.activation {
			m.abnormal = true
		}
	}
}

// judgeGradients is monitor.py, gradient_issue.
func (m *Monitor) judgeGradients(g []Gradient) {
	var kernels []float64
	zeros, size := 0, 0
	for _, x := range g {
		if x.NonFinite {
			m.nanGradient = true
			return
		}
		if zeros, size = zeros+x.Zeros, size+x.Size; x.Kernel {
			kernels = append(kernels, x.Norm)
		}
	}
	if len(kernels) == 0 || size == 0 {
		return
	}
	ratio := kernels[0] / kernels[len(kernels)-1]
	m.vanishing = m.vanishing || ratio < m.params.Beta1 && kernels[0] < m.params.Beta2
	m.exploding = m.exploding || ratio > m.params.Beta3
	m.dying = m.dying || float64(zeros)/float64(size) >= m.params.Gamma
}

// judgeCurves is monitor.py, loss_issue.
func (m *Monitor) judgeCurves(c Check) {
	if len(c.Loss) == 0 {
		return
	}
	for _, v := range slices.Concat(c.Loss, c.ValLoss) {
		if math.IsNaN(v) || math.IsInf(v, 0) || v >= largeLoss {
			m.nanLoss = true
			return
		}
	}
	if slices.Min(c.Loss) < 0 || slices.Min(c.ValLoss) < 0 {
		m.negativeLoss = true
	}
	if float64(len(c.Loss)) < judgementPoint*float64(m.epochs)-CheckGap {
		return
	}
	m.unstable = m.unstable || m.swings(c.Accuracy)
	if slices.Max(c.ValAccuracy) < m.params.Theta && slices.Max(c.Accuracy) < m.params.Theta {
		m.notConverged = true
	}
	if largestGain(c.ValAccuracy) < m.params.Delta && largestGain(c.Accuracy) < m.params.Delta {
		m.slow = true
	}
}

// swings pairs the local maxima of a curve with its local minima, by number, and counts the falls (monitor.py, ol_judge).
func (m *Monitor) swings(v []float64) bool {
	var maxima, minima []float64
	for i := 1; i+1 < len(v); i++ {
		if v[i]-v[i-1] >= 0 && v[i]-v[i+1] >= 0 {
			maxima = append(maxima, v[i])
		}
		if v[i]-v[i-1] <= 0 && v[i]-v[i+1] <= 0 {
			minima = append(minima, v[i])
		}
	}
	count := 0
	for i := range min(len(maxima), len(minima)) {
		if maxima[i]-minima[i] >= m.params.Zeta {
			count++
		}
	}
	return float64(count) >= m.params.Eta*float64(len(v))
}

func largestGain(v []float64) float64 {
	gain := 0.0
	for i := 1; i < len(v); i++ {
		gain = max(gain, v[i]-v[i-1])
	}
	return gain
}

// problems is monitor.py, judge_issue.
func (m *Monitor) problems() []Problem {
	var found []Problem
	add := func(p Problem) {
		if !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	if m.abnormal {
		add(AbnormalData)
	}
	switch {
	case m.negativeLoss:
		add(WrongLoss)
	case m.nanLoss && m.activation:
		add(WrongActivation)
	case m.nanLoss && (m.nanWeight || m.nanGradient):
		add(Exploding)
	}
	if m.notConverged || m.slow {
		switch {
		case m.activation:
			add(WrongActivation)
		case m.dying:
			add(DyingReLU)
		case m.exploding:
			add(Exploding)
		case m.vanishing:
			add(Vanishing)
		case m.notConverged && m.slow && !m.abnormal:
			add(NotConverging)
		}
	}
	switch {
	case m.unstable && m.activation:
		add(WrongActivation)
	case m.unstable:
		add(Unstable)
	}
	if !m.activation && m.improper {
		add(WrongLoss)
	}
	return found
}
