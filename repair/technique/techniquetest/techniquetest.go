// Package techniquetest holds every technique to the contract of technique.Technique, on made-up spaces and a made-up landscape of scores.
package techniquetest

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"netmend/data"
	"netmend/repair"
	"netmend/repair/technique"
	"netmend/train"
)

// Make makes a technique under test.
type Make func(technique.Setup) (technique.Technique, error)

// Setup is a setup with a space that has every kind of domain, a condition and a slot with a single value.
func Setup() technique.Setup {
	r := train.Recipe{Semantics: train.Keras, Task: train.Classification, Loss: train.Loss{Name: "categorical_crossentropy"}, BatchSize: 32, Epochs: 4,
		Metric: train.Accuracy, Shuffle: true, Seed: 1}
	r.Optimizer, _ = train.DefaultOptimizer("adam", train.Keras)
	r.Optimizer.LearningRate = 1e-6
	words := func(w ...string) repair.Domain {
		d := repair.Domain{}
		for _, x := range w {
			d.Choices = append(d.Choices, repair.Word(x))
		}
		return d
	}
	key := repair.Key{Operator: "activation", Target: "a1"}
	space := repair.Space{
		{Operator: "optimizer", Target: "recipe", Domain: words("sgd", "adam", "nadam"), Current: repair.Word("adam")},
		{Operator: "learning_rate", Target: "recipe", Domain: repair.Domain{Kind: repair.Log, Min: 1e-6, Max: 10}, Current: repair.Num(1e-6)},
		{Operator: "epochs", Target: "recipe", Domain: repair.Domain{Kind: repair.Integer, Min: 1, Max: 40}, Current: repair.Num(4)},
		{Operator: "activation", Target: "a1", Domain: words("relu", "linear", "tanh"), Current: repair.Word("linear")},
		{Operator: "kernel_initializer", Target: "w1", Domain: words("zeros", "glorot_uniform"), Current: repair.Word("zeros"),
			When: &repair.Condition{Key: key, Values: []repair.Value{repair.Word("relu"), repair.Word("linear")}}},
		{Operator: "dropout", Target: "d1", Domain: repair.Domain{Kind: repair.Linear, Min: 0, Max: 0.9}, Current: repair.Num(0.5)},
		{Operator: "loss", Target: "recipe", Domain: words("categorical_crossentropy"), Current: repair.Word("categorical_crossentropy")},
	}
	rows := make([]int32, 500)
	for i := range rows {
		rows[i] = int32(i)
	}
	return technique.Setup{Subject: repair.Subject{Recipe: r, Data: data.Splits{Train: rows[:400], Search: rows[400:]}}, Space: space, Seed: 1}
}

// reached is the score after so many epochs of a training that ends at q.
func reached(q, epochs float64) float64 { return 0.1 + (q-0.1)*(1-math.Exp(-epochs)) }

// quality is what the landscape gives: most of a patch's worth is its learning rate and its initialiser.
func quality(p technique.Proposal) (lr, q float64) {
	lr, q = 1e-6, 0.9
	if v, ok := p.Patch.Get(repair.Key{Operator: "learning_rate", Target: "recipe"}); ok {
		lr = v.Number
	}
	if v, ok := p.Patch.Get(repair.Key{Operator: "kernel_initializer", Target: "w1"}); !ok || v.Text == "zeros" {
		q -= 0.5
	}
	return lr, max(0.1, q-0.1*math.Abs(math.Log10(lr/1e-3)))
}

// look shows the epochs of a made-up training to what watches it; every third training has gradients that vanish.
func look(w technique.Watch, p technique.Proposal, id technique.TrialID) []string {
	lr, q := quality(p)
	for at := 1; float64(at) <= p.Epochs; at++ {
		score := reached(q, float64(at))
		e := train.Epoch{Number: at, Loss: 2.3 - score, SearchLoss: 2.3 - score, Score: score, TrainScore: score}
		if (at-1)%w.Every() == 0 || float64(at) == p.Epochs {
			e.First = &train.FirstBatch{LargestRow: 1, Layers: []train.Layer{
				{Name: "w1", Kind: "parameter", Op: "kernel", Shape: []int{8, 4}, Gradient: train.Moments{MeanSquare: 1, MaxAbs: 1}},
				{Name: "w2", Kind: "parameter", Op: "kernel", Shape: []int{4, 4}, Gradient: train.Moments{MeanSquare: 1, MaxAbs: 1}}}}
			if id%3 == 2 {
				e.First.Layers[0].Gradient = train.Moments{MeanSquare: 1e-16, MaxAbs: 1e-8}
			}
		}
		if lr > 1 {
			e = train.Epoch{Number: at, Loss: math.NaN(), SearchLoss: math.NaN(), Score: math.NaN(), TrainScore: math.NaN()}
		}
		if found := w.Epoch(e); len(found) > 0 || lr > 1 {
			return found
		}
	}
	return nil
}

// answer is the landscape's trial: a large rate diverges.
func answer(p technique.Proposal, id technique.TrialID, used float64) technique.Trial {
	lr, q := quality(p)
	t := technique.Trial{ID: id, Proposal: p, State: technique.Completed, Cost: repair.Number(p.Epochs / 4), Used: repair.Number(used), Steps: int(13 * p.Epochs), Reached: p.Epochs}
	noise := rand.New(rand.NewPCG(p.Seed, 2)).Float64() * 0.01
	t.Score = technique.Score{Value: repair.Number(reached(q, p.Epochs) + noise), Valid: true}
	switch {
	case lr > 1:
		t.State, t.Cause, t.Score = technique.Diverged, "made up", technique.Score{}
	case id%7 == 6:
		t.Score = technique.Score{Value: repair.Number(math.NaN())}
	case id%11 == 10:
		t.State, t.Score, t.Cost, t.Steps = technique.Failed, technique.Score{}, 0, 0
	}
	return t
}

// Options say what the suite is to expect of a technique.
type Options struct {
	// Steps bounds how long it is watched; zero: 150. Techniques that fit a model in every step need fewer, 20 at least.
	Steps int
	// LinearRate says that learning rates are drawn uniformly on a linear scale, as in the published space, and not on a logarithmic one.
	LinearRate bool
	// Seedless: the search may draw nothing in these few trials, so that two seeds propose the same patches.
	Seedless bool
	// AnyWidth says that the search is the same however many proposals are out, as long as results are told in the order of asking.
	AnyWidth bool
	// OneAtATime says that no proposal is made while another is out.
	OneAtATime bool
}

// defaultSteps is Options.Steps where it is zero.
const defaultSteps = 150

// order says which of n results that are out is told next; they are in the order of asking.
type order func(n int) int

// oldest tells in the order of asking, as a study does.
func oldest(int) int { return 0 }

// anyOrder draws the order.
func anyOrder(seed uint64) order { return rand.New(rand.NewPCG(seed, 3)).IntN }

// drive asks and tells up to n times; at most width proposals are out, fewer where the technique waits for a result. What was ever the number that is
// out is the second result.
func drive(t *testing.T, x technique.Technique, n, width int, next order) (all []technique.Trial, most int) {
	t.Helper()
	var out []technique.Trial
	told := map[technique.TrialID]bool{technique.None: true}
	tell := func() {
		i := next(len(out))
		for range 2 { // the second time changes nothing
			if err := x.Tell(out[i]); err != nil {
				t.Fatal(err)
			}
		}
		told[out[i].ID] = true
		out = append(out[:i], out[i+1:]...)
	}
	for len(all) < n {
		p, err := x.Ask(context.Background())
		if err == technique.ErrWait && len(out) > 0 {
			tell()
			continue
		}
		if err == io.EOF {
			for len(out) > 0 {
				tell()
			}
			if p, err := x.Ask(context.Background()); err != io.EOF {
				t.Errorf("a search that had nothing left to propose asks for %+v, %v, after it was told what was out", p, err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !told[p.From] {
			t.Fatalf("trial %d continues trial %d, which is not told", len(all), p.From)
		}
		trial := answer(p, technique.TrialID(len(all)), float64(len(all)+1)/float64(n))
		if w, ok := x.(technique.Watcher); ok && trial.State != technique.Failed {
			if watch := w.Watch(p); watch != nil {
				trial.Found = look(watch, p, trial.ID)
			}
		}
		all, out = append(all, trial), append(out, trial)
		most = max(most, len(out))
		for len(out) >= width {
			tell()
		}
	}
	return all, most
}

// search is drive with one proposal out at a time.
func search(t *testing.T, x technique.Technique, n int) []technique.Trial {
	t.Helper()
	all, _ := drive(t, x, n, 1, oldest)
	return all
}

// Run is the conformance suite.
func Run(t *testing.T, name string, o Options, make Make) {
	steps := o.Steps
	if steps == 0 {
		steps = defaultSteps
	}
	fresh := func(t *testing.T, s technique.Setup) technique.Technique {
		t.Helper()
		x, err := make(s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	t.Run(name+"/faulty first", func(t *testing.T) {
		p, err := fresh(t, Setup()).Ask(context.Background())
		if err != nil || len(p.Patch) != 0 || p.Epochs != 4 || p.From != technique.None {
			t.Errorf("first proposal %+v, %v", p, err)
		}
	})
	t.Run(name+"/inside the space", func(t *testing.T) {
		for _, width := range []int{1, 4} {
			s := Setup()
			all, _ := drive(t, fresh(t, s), steps, width, anyOrder(1))
			inside(t, s, all)
		}
	})
	t.Run(name+"/log scale", func(t *testing.T) { logScale(t, o, search(t, fresh(t, Setup()), steps)) })
	t.Run(name+"/single points", func(t *testing.T) {
		s := Setup()
		s.Space = s.Space[6:]
		if all := search(t, fresh(t, s), 20); len(all) == 0 || len(all[0].Patch) > 0 {
			t.Errorf("trials in a space of one point: %+v", all)
		}
	})
	t.Run(name+"/repeats", func(t *testing.T) {
		a, _ := drive(t, fresh(t, Setup()), steps, 3, anyOrder(5))
		b, _ := drive(t, fresh(t, Setup()), steps, 3, anyOrder(5))
		same(t, a, b)
	})
	t.Run(name+"/side by side", func(t *testing.T) { sideBySide(t, o, steps, func() technique.Technique { return fresh(t, Setup()) }) })
	t.Run(name+"/seed matters", func(t *testing.T) {
		s := Setup()
		a := search(t, fresh(t, s), steps)
		s.Seed = 2
		if same := reflect.DeepEqual(patches(a), patches(search(t, fresh(t, s), steps))); same && !o.Seedless {
			t.Error("two seeds give the same search")
		}
	})
	t.Run(name+"/replay", func(t *testing.T) { replay(t, steps, fresh(t, Setup()), fresh(t, Setup())) })
	t.Run(name+"/keys", func(t *testing.T) {
		s := Setup()
		s.Keys = []repair.Key{{Operator: "learning_rate", Target: "recipe"}}
		for _, x := range search(t, fresh(t, s), min(40, steps)) {
			for _, e := range x.Patch {
				if e.Key() != s.Keys[0] {
					t.Fatalf("edit %s of a slot that is not searched", e)
				}
			}
		}
	})
	t.Run(name+"/strangers", func(t *testing.T) {
		x := fresh(t, Setup())
		if err := x.Tell(technique.Trial{ID: 3}); err == nil {
			t.Error("a trial that nobody asked for was taken")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := x.Ask(ctx); err != context.Canceled {
			t.Errorf("asked under a context that is over: %v", err)
		}
	})
}

func patches(all []technique.Trial) []string {
	var out []string
	for _, t := range all {
		out = append(out, t.Patch.String())
	}
	return out
}

// leastTrials is what a search makes of the landscape before it can know that it is done.
const leastTrials = 10

func inside(t *testing.T, s technique.Setup, all []technique.Trial) {
	t.Helper()
	if len(all) < leastTrials {
		t.Errorf("only %d trials", len(all))
	}
	for _, x := range all {
		if err := x.Patch.Check(); err != nil {
			t.Fatal(err)
		}
		for _, e := range x.Patch {
			slot, ok := s.Space.Slot(e.Key())
			if !ok || !slot.Domain.Contains(e.Value) || e.Value == slot.Current || !s.Space.Active(slot, x.Patch) {
				t.Fatalf("trial %d: edit %s: slot found %v, patch %s", x.ID, e, ok, x.Patch)
			}
		}
		total := 4.0
		if v, ok := x.Patch.Get(repair.Key{Operator: "epochs", Target: "recipe"}); ok {
			total = v.Number
		}
		if !(x.Epochs > 0 && x.Epochs <= total) {
			t.Fatalf("trial %d: %v epochs of %v", x.ID, x.Epochs, total)
		}
		if x.From == technique.None {
			continue
		}
		epochs := repair.Key{Operator: "epochs", Target: "recipe"}
		from := all[x.From]
		if x.From >= x.ID || from.Seed != x.Seed || from.Patch.Without(epochs).String() != x.Patch.Without(epochs).String() || from.Epochs >= x.Epochs ||
			from.State == technique.Failed || from.State == technique.Diverged {
			t.Fatalf("trial %d continues %+v as %+v", x.ID, from, x)
		}
	}
}

// firstRates is how many learning rates are looked at: later ones are where a technique has seen good ones.
const firstRates = 15

// logScale wants rates below 0.01 among the first to be tried: seven in ten of them by logarithm, one in a thousand on the linear scale, where
// none is expected.
func logScale(t *testing.T, o Options, all []technique.Trial) {
	t.Helper()
	low, n := 0, 0
	for _, x := range all {
		if v, ok := x.Patch.Get(repair.Key{Operator: "learning_rate", Target: "recipe"}); ok && n < firstRates {
			if n++; v.Number < 0.01 {
				low++
			}
		}
	}
	if n == 0 || o.LinearRate != (low == 0) {
		t.Errorf("%d of the first %d rates lie below 0.01", low, n)
	}
}

// sideBySide asks for several proposals before results are told, oldest first. That repeats, and a technique whose
// proposals do not depend on how many are out, or that allows but one, keeps to that.
func sideBySide(t *testing.T, o Options, steps int, make func() technique.Technique) {
	one := search(t, make(), steps)
	for _, width := range []int{2, 4} {
		a, most := drive(t, make(), steps, width, oldest)
		b, _ := drive(t, make(), steps, width, oldest)
		same(t, a, b)
		if len(a[0].Patch) != 0 || a[0].From != technique.None {
			t.Errorf("with %d at a time the first proposal is %+v", width, a[0].Proposal)
		}
		if o.OneAtATime && most != 1 || !o.OneAtATime && most != width {
			t.Errorf("%d proposals were out where %d may be", most, width)
		}
		if o.AnyWidth {
			same(t, a, one)
		}
	}
}

func same(t *testing.T, a, b []technique.Trial) {
	t.Helper()
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if string(x) != string(y) {
		t.Error("the same seed and answers give another search")
	}
}

// replay tells a second instance, through JSON, what the first was told, and wants the same questions; it watches no training.
func replay(t *testing.T, steps int, a, b technique.Technique) {
	for _, x := range search(t, a, steps) {
		p, err := b.Ask(context.Background())
		if err != nil || !reflect.DeepEqual(p, x.Proposal) {
			t.Fatalf("trial %d: replay asks %+v, %v; it was %+v", x.ID, p, err, x.Proposal)
		}
		raw, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		var back technique.Trial
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		if err := b.Tell(back); err != nil {
			t.Fatal(err)
		}
	}
}
