package diagnose

import (
	"context"
	"math"
	"slices"

	"netmend/engine"
	"netmend/repair"
	"netmend/train"
)

// Untrainable is a subject whose graph, recipe and data do not go together, or that the device cannot hold; the measure says why.
const Untrainable Kind = "untrainable"

// Options say how far Run goes.
type Options struct {
	Device   engine.Device       // nil: no test and no training, the rules of Static alone
	Epochs   int                 // of the training; zero: the recipe's
	Progress func(e train.Epoch) // is told of every epoch; nil: nobody
}

// Report is what Run found.
type Report struct {
	Symptoms []Symptom // static ones first, then in the order of the training
	Training *Training // nil: none was made
}

// Training is how the training went that symptoms were read off.
type Training struct {
	Outcome train.Outcome
	Epochs  int     // that were finished
	First   float64 // loss of the first step
	Last    float64 // mean loss of the last epoch
	Score   float64 // the recipe's metric on the search rows after it; NaN where there is none
}

// Run makes all checks of a subject: the static rules, the tests of its initial weights, and a training by its recipe with a look at every
// layer after each epoch. What does not go together is a symptom; the error is the context's.
func Run(ctx context.Context, s repair.Subject, space repair.Space, o Options) (Report, error) {
	r := Report{Symptoms: Static(s, space)}
	if o.Device == nil {
		return r, nil
	}
	if err := r.test(ctx, s, o.Device); err != nil {
		return r, r.failed(ctx, err)
	}
	if err := r.train(ctx, s, o); err != nil {
		return r, r.failed(ctx, err)
	}
	return r, nil
}

// failed makes a symptom of an error, unless it is the context's.
func (r *Report) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.add(Symptom{Kind: Untrainable, Measure: err.Error()})
	return nil
}

// add takes symptoms in that were not seen before: what shows before training need not be said of every epoch.
func (r *Report) add(symptoms ...Symptom) {
	for _, s := range symptoms {
		if !slices.ContainsFunc(r.Symptoms, func(old Symptom) bool { return old.Kind == s.Kind && old.Node == s.Node && s.Node != "" }) {
			r.Symptoms = append(r.Symptoms, s)
		}
	}
}

func (r *Report) test(ctx context.Context, s repair.Subject, dev engine.Device) error {
	q, err := NewTests(s, dev)
	if err != nil {
		return err
	}
	defer q.Close()
	found, err := q.All(ctx)
	r.add(found...)
	return err
}

func (r *Report) train(ctx context.Context, s repair.Subject, o Options) error {
	t, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: o.Device, Probe: true})
	if err != nil {
		return err
	}
	defer t.Close()
	epochs := o.Epochs
	if epochs == 0 {
		epochs = s.Recipe.Epochs
	}
	for t.EpochsDone() < epochs && t.Outcome() == "" {
		if _, err := t.Fit(ctx, t.EpochsDone()+1); err != nil {
			return err
		}
		if e := t.Trace().Epochs; o.Progress != nil && len(e) > 0 {
			o.Progress(e[len(e)-1])
		}
	}
	r.Training = &Training{Outcome: t.Outcome(), Epochs: t.EpochsDone(), First: math.NaN(), Last: math.NaN(), Score: math.NaN()}
	if r.Training.Outcome == "" {
		r.Training.Outcome = train.Completed
	}
	if l := t.Trace().Losses; len(l) > 0 {
		r.Training.First = l[0]
	}
	if e := t.Trace().Epochs; len(e) > 0 {
		r.Training.Last, r.Training.Score = e[len(e)-1].Loss, e[len(e)-1].Score
	}
	r.add(Dynamic(t.Trace(), s.Recipe)...)
	found, err := Trained(ctx, t, s)
	r.add(found...)
	return err
}

// Worst is the level of the worst symptom; "" where there is none.
func (r Report) Worst() Level {
	worst := Level("")
	for _, s := range r.Symptoms {
		if rank := []Level{"", Note, Warning, Error}; slices.Index(rank, s.Kind.Level()) > slices.Index(rank, worst) {
			worst = s.Kind.Level()
		}
	}
	return worst
}
