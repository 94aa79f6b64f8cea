package diagnose

import (
	"context"
	"fmt"
	"math"

	"netmend/data"
	"netmend/engine"
	"netmend/repair"
	"netmend/train"
)

// The symptoms of tests that take seconds.
const (
	NonFiniteOutput   Kind = "non_finite_output" // before training
	InitialLoss       Kind = "initial_loss"      // far from that of a guess
	CannotOverfit     Kind = "cannot_overfit"    // a few rows cannot be memorised …
	InputIgnored      Kind = "input_ignored"     // … because the output is the same for all inputs
	TrainEvalDisagree Kind = "train_eval_disagree"
	ConstantOutput    Kind = "constant_output" // of the trained model
)

// Limits of the tests.
const (
	lossRows      = 256  // on which the initial loss is measured; TheDeepChecker takes 128
	lossDeviation = 1.0  // TheDeepChecker's dev_ratio: |loss - expected| / expected at the start
	overfitRows   = 16   // TheDeepChecker's single_batch_size
	overfitSteps  = 300  // of its 1,000: enough to see that the loss falls
	overfitShare  = 0.9  // of the loss at the start: healthy networks with small learning rates come down to 0.79 in 300 steps, broken ones to 0.95
	overfitDone   = 0.5  // that share is proof enough
	overfitLoss0  = 1e-3 // a loss that begins below has nothing to learn
	sameOutput    = 1e-6 // spread over rows relative to 1 + |output|: eight roundings of float32
	modeLimit     = 0.5  // TheDeepChecker's relative difference of the losses in training and in inference form
	gapLimit      = 0.1  // AutoTrainer's gap of the accuracies on training and test rows (monitor.py, loss_issue) …
	gapHigh       = 0.07 // … where the training accuracy is above 0.9
)

// Finding is what a test saw: symptoms, or else that all is well.
type Finding struct {
	Symptoms []Symptom
	Detail   string // what was measured, where there is no symptom
}

func (f *Finding) add(k Kind, node, measure string, value, limit float64) {
	f.Symptoms = append(f.Symptoms, Symptom{Kind: k, Node: node, Measure: measure, Value: value, Limit: limit})
}

// Tests look at a subject with its initial weights. One goroutine at a time.
type Tests struct {
	s   repair.Subject
	dev engine.Device
	t   *train.Trainer
}

// NewTests puts the subject on the device. Errors are those of train.New.
func NewTests(s repair.Subject, dev engine.Device) (*Tests, error) {
	t, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: dev, Probe: true})
	if err != nil {
		return nil, err
	}
	return &Tests{s, dev, t}, nil
}

// Close frees the device's memory.
func (q *Tests) Close() error { return q.t.Close() }

// Trainer has the subject with its initial weights.
func (q *Tests) Trainer() *train.Trainer { return q.t }

// All makes all tests, the longest last. Once a value is not finite, the tests after it would say nothing else and are left out.
func (q *Tests) All(ctx context.Context) ([]Symptom, error) {
	var all []Symptom
	for _, test := range []func(context.Context) (Finding, error){q.InitialLoss, q.Gradients, q.Overfit} {
		f, err := test(ctx)
		if err != nil {
			return all, err
		}
		if all = append(all, f.Symptoms...); len(f.Symptoms) > 0 && f.Symptoms[0].Kind == NonFiniteOutput {
			break
		}
	}
	return all, nil
}

// InitialLoss compares the loss before training with that of a guess: log C for the cross-entropies.
func (q *Tests) InitialLoss(ctx context.Context) (Finding, error) {
	var f Finding
	ev, err := q.t.Evaluate(ctx, spaced(q.s.Data.Train, lossRows))
	if err != nil {
		return f, err
	}
	want := q.t.ChanceLoss()
	switch {
	case ev.NonFinite > 0:
		f.add(NonFiniteOutput, "", "output values that are not finite", float64(ev.NonFinite), 0)
	case !finite(ev.Loss):
		f.add(NonFiniteOutput, "", "losses that are not finite", 1, 0)
	case math.IsNaN(want):
		f.Detail = fmt.Sprintf("%.4g, finite", ev.Loss)
	case math.Abs(ev.Loss-want)/want > lossDeviation:
		f.add(InitialLoss, "", fmt.Sprintf("initial loss, where a guess has %.4g", want), ev.Loss, (1+lossDeviation)*want)
	default:
		f.Detail = fmt.Sprintf("%.4g, a guess has %.4g", ev.Loss, want)
	}
	return f, nil
}

// spreadOf is the largest difference of an output element between rows, over 1 + |output|; infinite where one is not finite.
func spreadOf(ctx context.Context, t *train.Trainer, rows []int32) (float64, error) {
	outs, err := t.Predict(ctx, rows)
	if err != nil {
		return 0, err
	}
	worst := 0.0
	for _, out := range outs {
		n := len(out) / max(1, len(rows))
		for i, v := range out {
			if !finite(v) {
				return math.Inf(1), nil
			}
			worst = max(worst, math.Abs(v-out[i%n])/(1+math.Abs(v)))
		}
	}
	return worst, nil
}

// differ says whether the rows of any of the arrays differ.
func differ(arrays []data.Array, rows []int32) bool {
	for i := range arrays {
		a := &arrays[i]
		n := a.RowSize()
		for _, row := range rows {
			for k := range n {
				if element(a, int(row)*n+k) != element(a, int(rows[0])*n+k) {
					return true
				}
			}
		}
	}
	return false
}

// Gradients looks at the first batch: a finite gradient that is not zero for every trained tensor, neither vanishing nor exploding on the way to
// the input, and units that are neither dead nor saturated.
func (q *Tests) Gradients(ctx context.Context) (Finding, error) {
	var f Finding
	layers, err := q.t.Probe(ctx)
	if err != nil {
		return f, err
	}
	d := &dynamic{t: &train.Trace{}, r: q.s.Recipe}
	e := train.Epoch{Layers: layers}
	d.gradients(e)
	d.units(e, false)
	f.Symptoms = d.found
	n, least := 0, math.Inf(1)
	for _, l := range layers {
		if l.Kind == "parameter" {
			n++
			least = min(least, l.Gradient.MeanAbs)
		}
	}
	f.Detail = fmt.Sprintf("%d tensors, smallest mean |gradient| %.2g", n, least)
	return f, nil
}

// Overfit trains on a few rows again and again, without what holds a training back: a model that cannot memorise them cannot learn anything.
func (q *Tests) Overfit(ctx context.Context) (Finding, error) {
	var f Finding
	s := q.s
	rows := s.Data.Train[:min(overfitRows, len(s.Data.Train))]
	s.Recipe = s.Recipe.Clone()
	s.Data = data.Splits{Set: s.Data.Select(rows)}
	for i := range rows {
		s.Data.Train = append(s.Data.Train, int32(i))
	}
	s.Recipe.BatchSize = len(rows)
	s.Recipe.Schedule, s.Recipe.EarlyStopping, s.Recipe.Regularizers = train.Schedule{}, train.EarlyStopping{}, nil
	t, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: q.dev})
	if err != nil {
		return f, err
	}
	defer t.Close()
	for t.EpochsDone() < overfitSteps && t.Outcome() == "" {
		if err := t.Epoch(ctx); err != nil {
			return f, err
		}
		if l := t.Trace().Losses; l[len(l)-1] < overfitDone*l[0] && l[0] > 0 {
			break
		}
	}
	losses := t.Trace().Losses
	first, last := losses[0], math.Inf(1)
	for _, v := range losses[max(0, len(losses)-10):] {
		last = min(last, v)
	}
	switch {
	case t.Outcome() == train.Diverged:
		f.add(CannotOverfit, "", fmt.Sprintf("step at which the loss of %d rows diverged", len(rows)), float64(len(losses)), overfitSteps)
	case !(last < overfitShare*first) && !(first < overfitLoss0):
		f.add(CannotOverfit, "", fmt.Sprintf("loss on %d rows after %d steps over that at the start", len(rows), len(losses)), last/first, overfitShare)
		return f, q.ignores(ctx, t, s.Data, &f)
	default:
		f.Detail = fmt.Sprintf("loss %.4g -> %.4g in %d steps on %d rows", first, last, len(losses), len(rows))
	}
	return f, nil
}

// ignores asks whether a training on a few rows has come to one answer for all of them: TheDeepChecker's input-dependence test, which trains once
// more with inputs of zeros and compares the losses, by what it is about. It too is made only where the rows could not be memorised.
func (q *Tests) ignores(ctx context.Context, t *train.Trainer, d data.Splits, f *Finding) error {
	spread, err := spreadOf(ctx, t, d.Train)
	if err == nil && spread < sameOutput && differ(d.Inputs, d.Train) && differ(d.Targets, d.Train) {
		f.add(InputIgnored, "", "largest difference of the outputs between rows, over 1 + |output|", spread, sameOutput)
	}
	return err
}

// Trained looks at a training that has ended: does the model give different answers to different rows, does it do as well in inference form as
// in training form, and as well on search rows as on training rows? Dynamic reads the rest off its trace.
func Trained(ctx context.Context, t *train.Trainer, s repair.Subject) ([]Symptom, error) {
	epochs := t.Trace().Epochs
	if len(epochs) == 0 || t.Outcome() == train.Diverged {
		return nil, nil
	}
	last := epochs[len(epochs)-1]
	d := &dynamic{t: t.Trace(), r: s.Recipe}
	rows := spaced(s.Data.Train, sampleRows)
	some := spaced(rows, lossRows)
	spread, err := spreadOf(ctx, t, some)
	if err != nil {
		return nil, err
	}
	if spread < sameOutput && differ(s.Data.Inputs, some) && differ(s.Data.Targets, some) {
		d.add(ConstantOutput, "", last.Number, "largest difference of the outputs between rows, over 1 + |output|", spread, sameOutput)
	}
	on, err := t.Evaluate(ctx, rows)
	if err != nil {
		return nil, err
	}
	// The losses of an epoch are from before its end and with dropout: inference form should be the better one. Regularisers are in the one only.
	first := math.Abs(t.Trace().Losses[0])
	if rise := on.Loss - last.Loss; finite(on.Loss) && rise > modeLimit*math.Abs(last.Loss) && rise > noLearning*first {
		d.add(TrainEvalDisagree, "", last.Number, "share by which the loss of the training rows is larger in inference form", rise/math.Abs(last.Loss), modeLimit)
	}
	limit := gapLimit
	if on.Score > 0.9 {
		limit = gapHigh
	}
	if n := len(s.Data.Search); n > 0 && ratio(s.Recipe.Metric) && finite(on.Score) {
		chance := 2 * math.Sqrt(last.Score*(1-last.Score)/float64(n)) // two standard errors of a share of the search rows
		if gap := on.Score - last.Score; gap >= limit+chance {
			d.add(Overfitting, "", last.Number, string(s.Recipe.Metric)+" on the training rows minus that on the search rows", gap, limit+chance)
		}
	}
	return d.found, nil
}

// ratio says whether a metric is a share of rows.
func ratio(m train.Metric) bool { return m.Maximize() && m != train.F1 }
