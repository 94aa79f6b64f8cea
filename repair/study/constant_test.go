package study

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/repair/stats"
	"netmend/repair/technique"
	"netmend/train"
)

// majority gives a share of the rows class 3 and the others the other classes, in every part alike.
func majority(s *repair.Subject, share float64) {
	for _, rows := range [][]int32{s.Data.Train, s.Data.Search, s.Data.Holdout} {
		for i, row := range rows {
			if s.Data.Targets[0].Int[row] = 3; float64(i) >= share*float64(len(rows)) {
				s.Data.Targets[0].Int[row] = int32(4 + i%6)
			}
		}
	}
}

// A patch that is better than the fault repairs where it is better than the most frequent class too, which has 0.6 of the rows, and not where that has
// 0.95, when the user learns that accuracy is the wrong metric.
func TestConstantAnswerIsNoRepair(t *testing.T) {
	for _, c := range []struct {
		share     float64
		technique string
		want      Verdict
	}{{0.6, "guided", Repaired}, {0.95, "random", NoRepair}} { // guided would not recommend such a patch
		cfg := config(t, &fakeWorld{})
		majority(&cfg.Subject, c.share)
		cfg.Technique, cfg.Budget = c.technique, Budget{Times: 30}
		r := mustRun(t, cfg)
		if r.Verdict != c.want || r.P >= 0.05 || r.Rows.P >= 0.05 {
			t.Errorf("%v: %+v", c.share, r)
		}
		k := r.Constant
		if k == nil || float64(k.Score) != c.share || k.P == nil || k.Rows == nil || (r.Claim() < 0.05) != (c.want == Repaired) || r.Claim() < k.claim() {
			t.Fatalf("%v: claim %v, constant answer %+v", c.share, r.Claim(), k)
		}
		if refused := strings.Contains(r.Reason, "its accuracy is 0.95, which leaves 0.05 for what can be learned; nearly all rows are of one class, and this metric hardly sees the others: f1 may"); refused != (c.want == NoRepair) || refused != (r.Model == nil) {
			t.Errorf("%v: %s", c.share, r.Reason)
		}
		want, _ := json.Marshal(r)
		cfg.Resume = true
		if got, _ := json.Marshal(mustRun(t, cfg)); !bytes.Equal(got, want) {
			t.Errorf("resumed %s, want %s", got, want)
		}
	}
}

// Beside a faulty subject that is better than the constant answer there is no test, and a search that finds nothing reports the answer's score.
func TestConstantAnswerBelowTheFault(t *testing.T) {
	c := config(t, &fakeWorld{})
	if r := mustRun(t, c); r.Verdict != Repaired || r.Constant == nil || r.Constant.P != nil || r.Constant.Rows != nil || !(r.Constant.Score < r.Faulty.Mean) {
		t.Errorf("%+v, constant answer %+v", r, r.Constant)
	}
	c.Journal, c.Budget = filepath.Join(t.TempDir(), "j"), Budget{Trials: 1}
	majority(&c.Subject, 0.8)
	if r := mustRun(t, c); r.Verdict != NoRepair || r.Constant == nil || r.Constant.Score != 0.8 || r.Constant.P != nil || r.Claim() != 1 {
		t.Errorf("%+v, constant answer %+v", r, r.Constant)
	}
}

// A gain that is proven is no repair where it is small beside what the faulty subject is better than a constant answer by, unless less is asked for; what
// was trained serves either verdict.
func TestSmallGainIsNoRepair(t *testing.T) {
	cfg := config(t, &fakeWorld{damage: 0.04})
	cfg.Subject.Recipe.Loss.Name = "hinge" // costs that, of 0.8
	cfg.Subject.Recipe.Optimizer = train.Optimizer{Name: "adam", LearningRate: 1e-3}
	cfg.Budget = Budget{Times: 30}
	cfg.Keys = []repair.Key{{Operator: "loss", Target: "recipe"}}
	r := mustRun(t, cfg)
	lead := float64(r.Faulty.Mean - r.Constant.Score)
	if r.Verdict != NoRepair || !r.Small || r.P >= 0.05 || r.Rows.P >= 0.05 || r.Claim() != 1 || r.Model != nil || math.Abs(float64(r.MinGain)-0.05*lead) > 1e-12 || !(lead > 0.5) ||
		!(r.Interval.Mean > 0) || !strings.HasPrefix(r.Reason, "the gain is proven and small") {
		t.Fatalf("%+v, constant answer %+v", r, r.Constant)
	}
	runs := len(r.Seeds)
	cfg.Resume = true
	for least, want := range map[float64]bool{-1: true, 0.01: true, 0.03: true, 0.06: false, 1: false} {
		cfg.MinGain = least
		r := mustRun(t, cfg)
		if (r.Verdict == Repaired) != want || r.Small == want || (r.Claim() < 0.05) != want || (r.Model != nil) != want || len(r.Seeds) != runs {
			t.Errorf("at least %v: %+v", least, r)
		}
	}
	cfg.MinGain = math.NaN()
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "must be finite") {
		t.Errorf("NaN: %v", err)
	}
}

// The gain of an error is one downwards, and beside a faulty subject that is worse than the constant answer any gain counts.
func TestMinGain(t *testing.T) {
	const diverged = 7 // a gain of three quarters in nine of ten pairs, and one training that diverged
	for _, c := range []struct {
		metric                   train.Metric
		faulty, constant, change float64
		least                    float64
		small                    bool
	}{
		{train.Accuracy, 0.8, 0.3, 0.04, 0.05, true},
		{train.Accuracy, 0.8, 0.3, 0.06, 0.05, false},
		{train.Accuracy, 0.2, 0.3, 0.001, 0, false},
		{train.MAE, 0.2, 1.2, -0.09, 0.1, true},
		{train.MAE, 0.2, 1.2, -0.11, 0.1, false},
		{train.MAE, 1.3, 1.2, -0.11, 0, false},
		{train.MAE, math.Inf(1), 1.2, math.Inf(-1), 0, false},
		{train.MAE, 0.2, 1.2, diverged, 0.1, false},
	} {
		s := &session{Config: Config{MinGain: 0.1, Subject: repair.Subject{Recipe: train.Recipe{Metric: c.metric}}}}
		faulty, repaired := []float64{c.faulty}, []float64{c.faulty + c.change}
		if c.change == diverged {
			faulty = []float64{0.2, 0.21, 0.22, 0.19, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2}
			repaired = []float64{0.05, 0.04, 0.06, 0.05, 0.05, math.Inf(1), 0.05, 0.05, 0.05, 0.05}
		}
		differences, err := stats.Differences(repaired, faulty, s.direction())
		if err != nil {
			t.Fatal(err)
		}
		gain := gainOf(differences, s.direction())
		least := s.minGain(&Report{Faulty: Sample{Mean: repair.Number(c.faulty)}, Constant: &ConstantTest{Score: repair.Number(c.constant)}})
		if math.Abs(float64(least)-c.least) > 1e-12 || (gain < float64(least)) != c.small {
			t.Errorf("%+v: gains %v, %v at least", c, gain, least)
		}
	}
}

func TestConstantTest(t *testing.T) {
	rows := make([]int32, 20)
	run := func(v float64) runLine {
		n := repair.Number(v)
		r := runLine{Holdout: &n}
		for range rows {
			r.Without = append(r.Without, n)
		}
		return r
	}
	for _, c := range []struct {
		name                       string
		metric                     train.Metric
		faulty, repaired, constant float64
		p                          float64 // negative: no test
	}{
		{"up to the most frequent class", train.Accuracy, 0.30, 0.64, 0.65, 1},
		{"above the most frequent class", train.Accuracy, 0.30, 0.66, 0.65, 1.0 / 64},
		{"below a class that nearly all rows have", train.Accuracy, 0.95, 0.97, 0.98, 1},
		{"the most frequent class itself", train.Accuracy, 0, 0.65, 0.65, 1},
		{"a fault above it", train.Accuracy, 0.7, 0.71, 0.65, -1},
		{"up to the median", train.MAE, 9, 3, 3, 1},
		{"below the median's error", train.MAE, 9, 2.5, 3, 1.0 / 64},
		{"a fault below it", train.MAE, 2.9, 2.5, 3, -1},
	} {
		s := &session{Config: Config{Seeds: 6, Subject: repair.Subject{Recipe: train.Recipe{Metric: c.metric}, Data: data.Splits{Holdout: rows}}}}
		var pairs [][2]runLine
		for range 6 {
			pairs = append(pairs, [2]runLine{run(c.faulty), run(c.repaired)})
		}
		got, err := s.testConstant(run(c.constant), pairs)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if (got.P == nil) != (c.p < 0) || got.P != nil && float64(*got.P) != c.p || float64(got.Score) != c.constant {
			t.Errorf("%s: %+v, want p %v", c.name, got, c.p)
		}
	}
}

// Inputs that tell nothing of their classes: the faulty training diverges, the best that any patch can do is to answer the class of four fifths of
// the rows, and that is no repair though it is better with every seed and on all rows.
func TestNothingToLearn(t *testing.T) {
	s := subject(t)
	random := rand.New(rand.NewPCG(3, 3))
	x, y := make([]float32, 500*64), make([]int32, 500)
	for i := range x {
		x[i] = random.Float32()
	}
	for i := range y {
		if y[i] = 1; i%5 == 0 {
			y[i] = random.Int32N(10)
		}
	}
	set := data.Set{Inputs: []data.Array{{Name: s.Data.Inputs[0].Name, Shape: []int{500, 64}, Float: x}}, Targets: []data.Array{{Name: "y", Shape: []int{500}, Int: y}}}
	var err error
	if s.Data, err = data.Split(set, data.DefaultRatios, 1, true); err != nil {
		t.Fatal(err)
	}
	s.Recipe.Epochs = 3
	s.Recipe.Optimizer = train.Optimizer{Name: "sgd", LearningRate: 1e30}
	keys := []repair.Key{{Operator: "learning_rate", Target: "recipe"}}
	r := mustRun(t, Config{Subject: s, Operators: operators.All(), Technique: "random", Budget: Budget{Trials: 15}, Seed: 1, Keys: keys,
		Start: OnDevice(reference.New()), Device: "reference", Journal: filepath.Join(t.TempDir(), "j")})
	if r.Verdict != NoRepair || r.Faulty.Mean != 0 || r.P >= 0.05 || r.Rows.P >= 0.05 || r.Constant == nil || !(r.Claim() > 0.05) ||
		!(r.Repaired.Mean <= r.Constant.Score+1e-9) || !strings.Contains(r.Reason, "one answer for all rows") || strings.Contains(r.Reason, "f1") {
		t.Errorf("%+v, constant answer %+v", r, r.Constant)
	}
}

// What a smaller patch may lose beside a faulty subject that diverged is measured from a constant answer: not the better part of what was repaired.
func TestMarginOfDiverged(t *testing.T) {
	x := subject(t)
	majority(&x, 0.8)
	for _, c := range []struct {
		faulty technique.Score
		origin float64
	}{
		{technique.Score{}, 0.8}, {technique.Score{Value: repair.Number(math.NaN()), Valid: true}, 0.8}, {technique.Score{Value: 0.7, Valid: true}, 0.7},
	} {
		m := &minimizer{session: &session{Config: Config{Subject: x}, search: x, trials: []technique.Trial{{Score: c.faulty}}}}
		if got := m.origin(); math.Abs(got-c.origin) > 0.01 {
			t.Errorf("faulty %v: from %v, want %v", c.faulty, got, c.origin)
		}
		const whole = 0.9
		if got, most := m.marginOf(whole), max(0.1*(whole-c.origin), math.Sqrt(whole*(1-whole)/float64(len(x.Data.Search)))); got > most+1e-3 {
			t.Errorf("faulty %v: margin %v, want %v at most", c.faulty, got, most)
		}
	}
}
