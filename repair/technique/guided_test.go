package technique

import (
	"math"
	"reflect"
	"testing"

	"netmend/data"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/train"
)

// A search ends when its patch is perfect, or a third of what was spent before it came has been since. A patch is not good for training at all where the faulty
// subject diverged, and a short training that is better than the patch is not in vain.
func TestGuidedEndsEarly(t *testing.T) {
	search := func(base, bar, since float64, ahead bool) *guided {
		in := &arm{scores: []float64{bar}}
		g := &guided{incumbent: in, floor: 0.1, spent: 4 + since, came: 4, used: 0.5}
		if !math.IsNaN(base) {
			g.faulty = []float64{base}
		}
		g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy}, Data: data.Splits{Search: make([]int32, 400)}}
		if ahead {
			g.arms = append(g.arms, &arm{batch: in, rung: 1, score: min(1, bar+0.2), valid: true})
		}
		return g
	}
	diverged := math.NaN()
	for _, c := range []struct {
		name             string
		base, bar, since float64
		ahead            bool
		want             bool
	}{
		{"less than a third", 0.1, 0.5, 1.3, false, false},
		{"more than a third", 0.1, 0.5, 1.4, false, true},
		{"no better than a guess, beside a faulty subject that diverged", diverged, 0.1, 1.4, false, false},
		{"more than a third, beside a faulty subject that diverged", diverged, 0.5, 1.4, false, true},
		{"more than a third, but a short training is better", 0.1, 0.5, 1.4, true, false},
		{"perfect", 0.1, 1, 0, true, true},
	} {
		if got := search(c.base, c.bar, c.since, c.ahead).finished(); got != c.want {
			t.Errorf("%s: finished %v", c.name, got)
		}
	}
}

// An edit is tried as long as the error that it can be expected to take away is worth its first training.
func TestGuidedWorth(t *testing.T) {
	for _, c := range []struct {
		name    string
		bar     float64
		weight  float64 // of the arm, of 100
		near    bool
		want    bool
		believe bool
	}{
		{"nothing is believed", 0.1, 1, false, true, false},
		{"suspected, little gained", 0.2, 20, false, true, true},
		{"hardly suspected, little gained", 0.2, 1, false, false, true},
		{"suspected, nearly all gained", 0.95, 20, false, false, true},
		{"suspected on top, most gained", 0.9, 60, true, true, true},
		{"suspected in place of it, most gained", 0.9, 60, false, false, true},
	} {
		in := &arm{scores: []float64{c.bar}}
		a := &arm{weight: c.weight, from: None}
		g := &guided{faulty: []float64{0.1}, floor: 0.1, spent: 5, used: 0.25, screened: 2, screening: 0.6}
		g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy, Epochs: 1}, Data: data.Splits{Search: make([]int32, 400)}}
		if c.believe {
			g.incumbent = in
		}
		if c.near {
			a.batch = in
		}
		if got := g.worth(a, map[*arm]float64{a.batch: 100}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Of edits that train alike one is tried, as suspected as any, and none that changes nothing.
func TestGuidedDistinct(t *testing.T) {
	edit := func(operator, value string, weight float64) candidate {
		return candidate{patch: repair.NewPatch(repair.Edit{Operator: operator, Target: "recipe", Value: repair.Word(value)}), weight: weight}
	}
	g := &guided{ending: operators.FindEnding(repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy, Loss: train.Loss{Name: "hinge"}}})}
	got := g.distinct([]candidate{edit("loss", "categorical_crossentropy", 1), edit("loss", "hinge", 3), edit("optimizer", "adam", 2),
		edit("loss", "sparse_categorical_crossentropy", 2), edit("loss", "poisson", 1), edit("loss", "categorical_crossentropy", 2)})
	want := []candidate{edit("loss", "categorical_crossentropy", 2), edit("optimizer", "adam", 2), edit("loss", "poisson", 1)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMendSame(t *testing.T) {
	edits := func(operators ...string) repair.Patch {
		var p repair.Patch
		for _, x := range operators {
			p = p.With(repair.Edit{Operator: x, Target: "recipe", Value: repair.Word("x")})
		}
		return p
	}
	for _, c := range []struct {
		a, b repair.Patch
		want bool
	}{
		{edits("learning_rate"), edits("optimizer"), true},
		{edits("dropout", "loss"), edits("output_head", "units"), true},
		{edits("loss"), edits("optimizer"), false},
		{edits("dropout"), edits("dropout", "units"), true},
		{edits("dropout"), edits("units"), false},
	} {
		if got := mendSame(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
}

// Shares of right answers that a constant answer has too are equal, so that suspicion decides; errors are not.
func TestGuidedBestOfConstantAnswers(t *testing.T) {
	suspected, lucky := &arm{valid: true, rung: 1, score: 0.475, weight: 10}, &arm{valid: true, rung: 1, score: 0.525, weight: 1}
	learned := &arm{valid: true, rung: 1, score: 0.6, weight: 1}
	for _, c := range []struct {
		name   string
		metric train.Metric
		floor  float64
		arms   []*arm
		want   *arm
	}{
		{"no better than a constant answer", train.Accuracy, 0.525, []*arm{lucky, suspected}, suspected},
		{"one has learned", train.Accuracy, 0.525, []*arm{suspected, learned, lucky}, learned},
		{"a constant answer is worse", train.Accuracy, 0.3, []*arm{suspected, lucky}, lucky},
		{"no constant answer is known", train.Accuracy, math.NaN(), []*arm{suspected, lucky}, lucky},
		{"an error", train.Angle, 0.1, []*arm{lucky, suspected}, suspected},
	} {
		g := &guided{floor: c.floor, arms: c.arms}
		g.setup.Subject.Recipe.Metric = c.metric
		if got := g.best(func(*arm) bool { return true }); got != c.want {
			t.Errorf("%s: score %v, weight %v", c.name, got.score, got.weight)
		}
	}
}

// Where scores say nothing, the next rung of what is suspected is preferred to what is suspected less, for what both cost.
func TestGuidedDeeper(t *testing.T) {
	fresh := &arm{patch: repair.NewPatch(repair.Edit{Operator: "optimizer", Target: "recipe", Value: repair.Word("sgd")}), weight: 4}
	a := &arm{valid: true, rung: 1, score: 0.5}
	for _, c := range []struct {
		weight, floor float64
		want          bool
	}{
		{13, 0.525, true}, {11, 0.525, false}, {13, 0.4, false}, {13, math.NaN(), false}, // the second rung costs three times the first
		{13, 0.49, true}, {13, 0.48, false}, // half a standard error is 0.0125
	} {
		g := &guided{floor: c.floor, first: 10, arms: []*arm{a, fresh}}
		g.setup.Subject.Recipe = train.Recipe{Metric: train.Accuracy, BatchSize: 10, Epochs: 4}
		g.setup.Subject.Data = data.Splits{Train: make([]int32, 100), Search: make([]int32, 400)}
		if a.weight = c.weight; g.deeper(a, 1) != c.want {
			t.Errorf("weight %v, constant answer %v: %v", c.weight, c.floor, !c.want)
		}
	}
}

// Where scores say nothing, a rung promotes more than its best quarter: those that evidence asks for more than for anything new.
func TestGuidedPromotesByEvidence(t *testing.T) {
	word := func(w string, weight float64) *arm {
		return &arm{patch: repair.NewPatch(repair.Edit{Operator: "optimizer", Target: "recipe", Value: repair.Word(w)}), weight: weight}
	}
	for _, c := range []struct {
		name          string
		weight, score float64
		want          bool
	}{
		{"asked for more than what is new", 13, 0.5, true}, {"asked for less", 11, 0.5, false}, {"scores tell", 13, 0.6, false},
	} {
		g := &guided{floor: 0.5, first: 10, faulty: []float64{0.5}}
		g.setup.Subject.Recipe = train.Recipe{Metric: train.Accuracy, BatchSize: 10, Epochs: 64}
		g.setup.Subject.Data = data.Splits{Train: make([]int32, 100), Search: make([]int32, 400)}
		a := word("adam", c.weight)
		a.valid, a.rung, a.score, a.history = true, 1, c.score, []float64{c.score}
		all := []*arm{a}
		for _, w := range []string{"sgd", "adamax", "nadam"} {
			b := word(w, 20)
			b.valid, b.over, b.rung, b.history = true, true, 3, []float64{c.score, c.score, c.score}
			all = append(all, b)
		}
		g.arms = append(all, word("adagrad", 4))
		if got := g.promote(all, 1); (got == a) != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// A rung's best goes on although as many arms have ended that have no score there: their trainings end before it, or continue others.
func TestGuidedPromotesOfThoseThatCompeted(t *testing.T) {
	g := &guided{floor: 0.1, first: 10, faulty: []float64{0.3}, spent: 5, used: 0.25, known: map[string]bool{}}
	g.setup.Subject.Recipe = train.Recipe{Metric: train.Accuracy, BatchSize: 10, Epochs: 64}
	g.setup.Subject.Data = data.Splits{Train: make([]int32, 100), Search: make([]int32, 400)}
	edit := func(i int) repair.Patch {
		return repair.NewPatch(repair.Edit{Operator: "units", Target: "w1", Value: repair.Num(float64(i))})
	}
	for i := range 4 { // they have done two rungs, and the first of them is the best
		score := 0.15
		if i == 0 {
			score = 0.25
		}
		g.arms = append(g.arms, &arm{patch: edit(i), weight: 1, valid: true, rung: 2, score: score, history: []float64{0.1, score}})
	}
	g.screened = minScreened
	for i := range 4 {
		g.arms = append(g.arms, &arm{patch: edit(10 + i), weight: 1, valid: true, over: true, rung: 1, score: 0.12, history: []float64{0.12}},
			&arm{patch: edit(20 + i), weight: 1, valid: true, over: true, doubled: true, rung: 2, score: 0.12, history: []float64{0.12, 0.12}})
	}
	if a, why := g.promising(); a != g.arms[0] {
		t.Errorf("%+v, %s", a, why)
	}
}

// Values that are alike count less the more of them were tried in vain.
func TestGuidedPromiseOfAlikeValues(t *testing.T) {
	edit := func(operator, value string) repair.Patch {
		return repair.NewPatch(repair.Edit{Operator: operator, Target: "w", Value: repair.Word(value)})
	}
	for _, c := range []struct {
		operator string
		score    float64
		want     float64
	}{
		{"kernel_initializer", 0.5, 2}, {"kernel_initializer", 0.9, 4}, {"loss", 0.5, 4},
	} {
		a := &arm{patch: edit(c.operator, "b"), weight: 4}
		g := &guided{floor: math.NaN(), faulty: []float64{0.5}, arms: []*arm{a, {patch: edit(c.operator, "a"), rung: 1, score: c.score}}}
		g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy}, Data: data.Splits{Search: make([]int32, 400)}}
		if got := g.promise(a); got != c.want {
			t.Errorf("%s, %v tried: %v", c.operator, c.score, got)
		}
	}
}

// A number is known to hurt where the score it gives is worse than one that a constant answer has, not where one class was answered in place of another, nor after
// too few updates for scores to say anything.
func TestGuidedHurt(t *testing.T) {
	for _, c := range []struct {
		faulty, score, floor float64
		batch, want          int
	}{
		{0.5, 0.4, 0.3, 10, 1}, {0.5, 0.4, 0.5, 10, 0}, {0.5, 0.5, 0.3, 10, 0}, {0.34, 0.31, 0.3, 10, 1}, {0.34, 0.31, 0.3, 50, 0},
	} {
		g := &guided{floor: c.floor, faulty: []float64{c.faulty}}
		g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy, BatchSize: c.batch, Epochs: 4},
			Data: data.Splits{Train: make([]int32, 100), Search: make([]int32, 400)}}
		a := &arm{patch: repair.NewPatch(repair.Edit{Operator: "epochs", Target: "recipe", Value: repair.Num(8)})}
		g.arms = []*arm{a}
		g.tellArm(a, 0, Trial{Proposal: Proposal{From: None}, Steps: 5000, Reached: 8}, c.score)
		if got := len(g.hurtful()[a.patch[0].Key()]); got != c.want {
			t.Errorf("%v after %v, constant answer %v: %d", c.score, c.faulty, c.floor, got)
		}
		if g.faulty = append(g.faulty, 0.1); len(g.hurtful()) > 0 {
			t.Errorf("%v after %v: it does not hurt where the faulty subject was lucky", c.score, c.faulty)
		}
	}
}

// While nothing is known to be better, the budget need not pay for a second seed; what waits for twice its epochs does so while it pays for both.
func TestGuidedAffordable(t *testing.T) {
	epochs := func(n float64) repair.Patch {
		return repair.NewPatch(repair.Edit{Operator: "epochs", Target: "recipe", Value: repair.Num(n)})
	}
	for _, c := range []struct {
		spent            float64
		confirm          bool
		affordable, asks bool
	}{
		{7, false, true, false}, {9, false, true, false}, {13, false, true, false}, {17, false, false, false},
		{7, true, true, false}, {9, true, false, true}, {17, true, false, true},
	} {
		next := &arm{patch: epochs(8), doubled: true, epochs: 4, pace: 1}
		a := &arm{patch: epochs(4), doubled: true, over: true, valid: true, confirm: c.confirm, rung: 1, epochs: 4, pace: 1, next: next}
		next.half = a
		g := &guided{floor: math.NaN(), faulty: []float64{0.1}, arms: []*arm{a, next}, spent: c.spent, used: c.spent / 20}
		g.setup.Subject.Recipe = train.Recipe{Metric: train.Accuracy, Epochs: 1}
		if got := g.affordable(next); got != c.affordable {
			t.Errorf("%+v: affordable %t", c, got)
		}
		if got := len(g.waiting()) > 0; got != c.asks {
			t.Errorf("%+v: asks for a second seed %t", c, got)
		}
		if g.incumbent = a; g.affordable(next) != (c.spent <= 8) {
			t.Errorf("%+v: on top of what is believed, affordable %t", c, c.spent > 8)
		}
	}
}

// A patch that is hardly better than a constant answer is recommended, but does not end the search.
func TestGuidedRepaired(t *testing.T) {
	for _, c := range []struct {
		score    float64
		repaired bool
	}{
		{0.13, false}, {0.2, true},
	} {
		a := &arm{patch: repair.NewPatch(repair.Edit{Operator: "optimizer", Target: "recipe", Value: repair.Word("adam")}), scores: []float64{c.score}, valid: true, over: true}
		lucky := &arm{patch: repair.NewPatch(repair.Edit{Operator: "optimizer", Target: "recipe", Value: repair.Word("nadam")}), score: 0.3, valid: true}
		g := &guided{floor: 0.1, faulty: []float64{0.1}, incumbent: a, arms: []*arm{a, lucky}, spent: 10, used: 0.5, came: 1}
		g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy, BatchSize: 10, Epochs: 4},
			Data: data.Splits{Train: make([]int32, 100), Search: make([]int32, 320)}}
		if got := g.repaired(); got != c.repaired {
			t.Errorf("%v: repaired %t", c.score, got)
		}
		lucky.over = true
		if got := g.finished(); got != c.repaired {
			t.Errorf("%v: finished %t", c.score, got)
		}
		if p, ok := g.Recommend(); !ok || p.String() != a.patch.String() {
			t.Errorf("%v: %v is recommended", c.score, p)
		}
	}
}

// A longer training is worth its cost where it takes away a share of the error, or doubles the lead on a constant answer.
func TestGuidedWorthwhile(t *testing.T) {
	for _, c := range []struct {
		than, score, floor float64
		want               bool
	}{
		{0.5, 0.61, 0.1, true}, {0.5, 0.59, 0.1, false}, {0.13, 0.17, 0.1, true}, {0.13, 0.15, 0.1, false}, {0.13, 0.15, math.NaN(), false},
	} {
		g := &guided{floor: c.floor, faulty: []float64{0.1}, incumbent: &arm{scores: []float64{c.than}}}
		g.setup.Subject.Recipe.Metric = train.Accuracy
		g.setup.Subject.Data.Search = make([]int32, 320)
		if got := g.worthwhile(&arm{doubled: true}, c.score); got != c.want {
			t.Errorf("%v for %v, constant answer %v: %t", c.score, c.than, c.floor, got)
		}
		if g.incumbent, g.faulty = nil, []float64{c.than}; g.worthwhile(&arm{doubled: true}, c.score) != c.want {
			t.Errorf("%v for %v of the faulty subject, constant answer %v: %t", c.score, c.than, c.floor, !c.want)
		}
	}
}

// Without learning the rules set by hand are what edits are ranked by, whatever table a search is given.
func TestGuidedWithoutLearning(t *testing.T) {
	byHand := diagnose.NewTable(diagnose.Counts{}, diagnose.DefaultSettings)
	for _, c := range []struct {
		without []Idea
		want    string
	}{
		{nil, diagnose.Shipped().ID()}, {[]Idea{Learning}, byHand.ID()},
	} {
		g := newGuided(Setup{without: c.without, Subject: repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy, BatchSize: 10, Epochs: 4}}})
		if got := g.setup.suspicion().ID(); got != c.want {
			t.Errorf("without %v the table is %s, want %s", c.without, got, c.want)
		}
	}
}

// oneEpoch is a search of a faulty subject that trains for one epoch, in batches of 16 of so many rows, with a quarter of its budget of 20 spent; the weight is the
// suspicion of its epochs.
func oneEpoch(faulty float64, rows int, weight float64) *guided {
	g := &guided{floor: 0.1, faulty: []float64{faulty}, spent: 5, used: 0.25, known: map[string]bool{}, suspects: map[repair.Key]diagnose.Suspect{epochsKey: {Weight: weight}}}
	g.setup.Space = repair.Space{{Operator: "epochs", Target: "recipe", Domain: repair.Domain{Kind: repair.Integer, Min: 1, Max: 64}, Current: repair.Num(1)}}
	g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy, BatchSize: 16, Epochs: 1},
		Data: data.Splits{Train: make([]int32, rows), Search: make([]int32, 320)}}
	return g
}

// Training longer may cost a tenth of the budget while it has shown nothing, and twice that while it cannot have shown anything: there are few updates, and
// no score is better than a constant answer by far. There it is not held against it either that another constant answer scored more. Nor is what learns by its
// loss behind, and it may cost as much; what does not even do that is not trained longer.
func TestGuidedLengthensWhatTellsLittle(t *testing.T) {
	falls, stays := fallenShare, fallenShare-0.01
	for _, c := range []struct {
		rows                        int
		pace, faulty, score, fallen float64
		want                        bool
	}{
		{320, 0.9, 0.1, 0.1, stays, true}, {320, 1.2, 0.1, 0.1, stays, true}, {320, 2.2, 0.1, 0.1, stays, false}, {640, 0.9, 0.1, 0.1, falls, true},
		{640, 0.9, 0.1, 0.1, stays, false}, {640, 0.9, 0.1, 0.1, math.NaN(), true}, {640, 1.2, 0.1, 0.1, falls, true}, {640, 2.2, 0.1, 0.1, falls, false},
		{640, 0.9, 0.1, 0.12, stays, true},
		{320, 1.2, 0.12, 0.1, stays, true}, {640, 0.9, 0.12, 0.1, stays, false}, {320, 0.9, 0.3, 0.3, stays, true}, {320, 1.2, 0.3, 0.3, stays, false},
		{320, 0.9, 0.3, 0.1, falls, true}, {320, 0.9, 0.3, 0.1, stays, false}, {16000, 0.9, 0.3, 0.1, falls, false}, // behind, after 40 or 2000 updates
		{640, 0.9, 0.3, 0.25, stays, true}, {640, 1.2, 0.3, 0.25, stays, false}, {16000, 0.9, 0.3, 0.25, falls, false}, // behind, after 80 or 2000 updates
	} {
		g := oneEpoch(c.faulty, c.rows, 5)
		a := &arm{patch: repair.NewPatch(repair.Edit{Operator: "epochs", Target: "recipe", Value: repair.Num(2)}), growing: true, doubled: true, valid: true, over: true,
			trial: 3, epochs: 2, pace: c.pace, score: c.score, fallen: c.fallen}
		if g.lengthen(a); (a.next != nil) != c.want {
			t.Errorf("%+v: another doubling %t", c, !c.want)
		}
	}
}

// The loss of the last epoch beside that of the middle one.
func TestFallen(t *testing.T) {
	curve := func(losses ...float64) (out []Point) {
		for _, v := range losses {
			out = append(out, Point{Loss: repair.Number(v)})
		}
		return out
	}
	for _, c := range []struct {
		curve []Point
		want  float64
	}{
		{nil, math.NaN()}, {curve(2), math.NaN()}, {curve(2, 1), 0.5}, {curve(9, 2, 1), 8. / 9}, {curve(9, 2, 1.5, 1), 0.5}, {curve(1, 2), -1}, {curve(-0.5, -0.6), 0.2},
	} {
		if got := fallen(c.curve); math.Abs(got-c.want) > 1e-12 || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("%v: %v, want %v", c.curve, got, c.want)
		}
	}
}

// Evidence contradicts a score where what it is certain of has learned, and not more than the faulty subject.
func TestGuidedContradiction(t *testing.T) {
	for _, c := range []struct {
		name          string
		faulty, score float64
		weight        float64
		over, want    bool
	}{
		{"as good", 0.5, 0.48, certain, true, true},
		{"not certain", 0.5, 0.48, certain - 1, true, false},
		{"not trained to the end", 0.5, 0.48, certain, false, false},
		{"has learned less than half as much", 0.5, 0.28, certain, true, false},
		{"the faulty subject has learned nothing", 0.1, 0.1, certain, true, false},
	} {
		g := &guided{floor: 0.1, faulty: []float64{c.faulty}}
		g.setup.Subject = repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy}, Data: data.Splits{Search: make([]int32, 320)}}
		a := &arm{weight: c.weight, valid: true, over: c.over, score: c.score}
		g.arms = []*arm{a}
		if got := g.contradiction(); (got == a) != c.want || g.contradicted() != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		g.again = true
		if g.contradicted() {
			t.Errorf("%s: asked twice", c.name)
		}
	}
}

// What evidence is certain of, and has shown nothing, is suspected for twice its epochs as what mends two rules is, the geometric mean of both, once short trainings have
// cost as much.
func TestGuidedLengthensWhatIsCertain(t *testing.T) {
	for _, c := range []struct{ weight, screening, want float64 }{{certain + 6, 0.9, math.Sqrt((certain + 6) * 9)}, {certain + 6, 0.8, 9}, {certain - 1, 0.9, 9}} {
		g := oneEpoch(0.1, 320, 9)
		g.screening = c.screening
		a := &arm{patch: repair.NewPatch(repair.Edit{Operator: "activation", Target: "a", Value: repair.Word("linear")}), weight: c.weight, growing: true, valid: true,
			over: true, trial: 3, epochs: 1, pace: 0.9, score: 0.1, fallen: math.NaN()}
		g.arms = []*arm{a}
		if g.lengthen(a); a.next == nil || math.Abs(g.promise(a.next)-c.want) > 1e-9 {
			t.Errorf("weight %v after %v: next %+v, want a weight of %v", c.weight, c.screening, a.next, c.want)
		}
	}
}

// Twice the epochs of what was better for its own doubling is suspected more than that was.
func TestGuidedLengthensWhatHelped(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		g := oneEpoch(0.1, 3200, 9)
		a := &arm{patch: repair.NewPatch(repair.Edit{Operator: "epochs", Target: "recipe", Value: repair.Num(2)}), growing: true, doubled: true, valid: true, over: true,
			confirm: confirm, trial: 3, epochs: 2, pace: 0.9, score: 0.3, scores: []float64{0.3}, fallen: math.NaN()}
		g.arms = []*arm{a}
		want := 4.5
		if confirm {
			want *= helpedFactor
		}
		if g.lengthen(a); a.next == nil || a.next.weight != want {
			t.Errorf("helped %t: next %+v, want a weight of %v", confirm, a.next, want)
		}
	}
}

// What a second seed has refuted may be better for twice its epochs, when it was still improving.
func TestGuidedLengthensWhatWasRefuted(t *testing.T) {
	for _, growing := range []bool{true, false} {
		g := oneEpoch(0.1, 320, 5)
		a := &arm{patch: repair.NewPatch(repair.Edit{Operator: "batch_size", Target: "recipe", Value: repair.Num(16)}), weight: 35, growing: growing, valid: true, over: true,
			confirm: true, trial: 3, epochs: 1, pace: 0.9, score: 0.2, scores: []float64{0.2, 0.05}}
		g.arms = []*arm{a}
		if g.settle(a, false); (a.next != nil) != growing || a.confirm || g.incumbent != nil {
			t.Errorf("growing %t: %+v", growing, a)
		}
		if growing && a.next.patch.String() != "batch_size(recipe) = 16; epochs(recipe) = 2" {
			t.Errorf("next %v", a.next.patch)
		}
	}
}

// Beside a faulty subject that diverges, what another edit has to bring is a share of what is better than a constant answer.
func TestGuidedWorthwhileBesideDivergence(t *testing.T) {
	one := repair.NewPatch(repair.Edit{Operator: "kernel_initializer", Target: "w", Value: repair.Word("he_normal")})
	two := one.With(repair.Edit{Operator: "learning_rate", Target: "recipe", Value: repair.Num(0.01)})
	for _, c := range []struct {
		score float64
		want  bool
	}{
		{0.18, true}, {0.1036, false},
	} {
		g := &guided{floor: 0.1, incumbent: &arm{patch: one, scores: []float64{0.1035}}}
		g.setup.Subject.Recipe.Metric = train.Accuracy
		g.setup.Subject.Data.Search = make([]int32, 320)
		if got := g.worthwhile(&arm{patch: two}, c.score); got != c.want {
			t.Errorf("%v: %t", c.score, got)
		}
	}
}
