package mutate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netmend/data"
	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
)

// fakeTraining scores by the recipe alone: an accuracy that falls with the learning rate below 0.5, and a little noise of the seed.
type fakeTraining struct {
	r       train.Recipe
	outcome train.Outcome
	rows    *[]int32
}

type fakeWorld struct {
	starts int
	rows   []int32 // that were evaluated last
	kill   func(starts int)
}

func (w *fakeWorld) start(s repair.Subject, _ train.Options) (study.Training, error) {
	if w.starts++; w.kill != nil {
		w.kill(w.starts)
	}
	if s.Recipe.BatchSize == 64 {
		return nil, fmt.Errorf("fake: %w", engine.ErrMemory)
	}
	return &fakeTraining{r: s.Recipe, rows: &w.rows}, nil
}

func (t *fakeTraining) StepsPerEpoch() int                         { return 1 }
func (t *fakeTraining) StepFlops() float64                         { return 1 }
func (t *fakeTraining) EvalSteps(int) int                          { return 1 }
func (t *fakeTraining) EvalFlops(int) float64                      { return 1 }
func (t *fakeTraining) Advance(context.Context, int) (bool, error) { return false, nil }
func (t *fakeTraining) Trace() *train.Trace                        { return &train.Trace{} }
func (t *fakeTraining) Outcome() train.Outcome                     { return t.outcome }
func (t *fakeTraining) EpochsDone() int                            { return 1 }
func (t *fakeTraining) Checkpoint() (study.Checkpoint, error)      { return nil, errors.New("fake") }
func (t *fakeTraining) Restore(study.Checkpoint) error             { return errors.New("fake") }
func (t *fakeTraining) Model() (*onnx.Model, error)                { return nil, errors.New("fake") }
func (t *fakeTraining) Close() error                               { return nil }

func (t *fakeTraining) Fit(ctx context.Context, _ int) (train.Outcome, error) {
	if t.r.Loss.Name == "poisson" {
		t.outcome = train.Diverged
		return train.Diverged, nil
	}
	return train.Completed, ctx.Err()
}

func (t *fakeTraining) Evaluate(_ context.Context, rows []int32) (train.Evaluation, error) {
	*t.rows = rows
	noise := rand.New(rand.NewPCG(t.r.Seed, 0)).NormFloat64()
	score := 0.9 + 0.01*noise
	if lr := t.r.Optimizer.LearningRate; lr < 0.5 {
		score -= 0.4 * (0.5 - lr)
	}
	return train.Evaluation{Score: score}, nil
}

func (t *fakeTraining) EvaluateGroups(ctx context.Context, rows []int32, _ int) (train.Evaluation, error) {
	return t.Evaluate(ctx, rows)
}

func fakeConfig(t *testing.T, w *fakeWorld, ids string) Config {
	t.Helper()
	s := subject(t, "keras_mlp")
	s.Recipe.Optimizer.LearningRate = 1
	ops, err := Select(ids)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Subject: s, Operators: ops, Criterion: DeepCrime, Part: HoldoutPart, Seed: 5, Start: w.start, Device: "fake",
		Journal: filepath.Join(t.TempDir(), "journal.jsonl")}
}

// The bisection: the extreme first, then middles; a killed middle is the new upper end. With noise of 0.01 and 20 + 20 trainings the rates that
// lose more than about 0.006 are killed, those below 0.48.
func TestBisectionFindsTheLeastAggressive(t *testing.T) {
	w := &fakeWorld{}
	c := fakeConfig(t, w, "HLR")
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Mutants) != 1 || !r.Mutants[0].Killed {
		t.Fatalf("%+v", r.Mutants)
	}
	m := r.Mutants[0]
	lower, upper := 1.0, 0.001
	best := upper
	for i, step := range m.Steps {
		want := upper
		if i > 0 {
			want = (lower + upper) / 2
		}
		if step.Value.Number != want {
			t.Fatalf("step %d tried %v, want %v", i, step.Value, want)
		}
		switch {
		case step.Killed:
			upper, best = want, want
		default:
			lower = want
		}
	}
	if m.Value.Number != best || math.Abs(upper-lower) > 0.01 || len(m.Steps) != 8 {
		t.Errorf("%d steps to %v, between %v and %v", len(m.Steps), m.Value, upper, lower)
	}
	if best < 0.45 || best > 0.5 {
		t.Errorf("the least aggressive killed rate is %v", best)
	}
	if r.Trainings != 20*(1+8) || w.starts != r.Trainings {
		t.Errorf("%d trainings of %d starts", r.Trainings, w.starts)
	}
	c.Resume, c.Extreme = true, true
	starts := w.starts
	if r, err := Run(t.Context(), c); err != nil || w.starts != starts || r.Mutants[0].Value.Number != 0.001 || !r.Mutants[0].Killed {
		t.Errorf("the extreme value alone: %+v, %v", r.Mutants, err)
	}
	if !slices.Equal(w.rows, c.Subject.Data.Holdout) {
		t.Error("mutants were judged on other rows than the hold-out ones")
	}
}

// What cannot be trained or diverges is a result: the one is never killed and tried once, the other scores the worst value.
func TestBadRunsAreResults(t *testing.T) {
	w := &fakeWorld{}
	r, err := Run(t.Context(), fakeConfig(t, w, "HBS,LCH"))
	if err != nil {
		t.Fatal(err)
	}
	find := func(v string) Mutant {
		i := slices.IndexFunc(r.Mutants, func(m Mutant) bool { return m.Value.String() == v })
		return r.Mutants[i]
	}
	if m := find("64"); m.Killed || !strings.Contains(m.Cause, "memory") || len(m.Scores.Values) != 0 {
		t.Errorf("a mutant that does not fit: %+v", m)
	}
	if m := find("poisson"); !m.Killed || m.Scores.Mean != 0 {
		t.Errorf("a mutant that diverges: %+v", m)
	}
	if m := find("hinge"); m.Killed || m.P != 1 || m.Effect != 0 {
		t.Errorf("a mutant that changes nothing here: %+v", m)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// A run that is ended goes on to the result of an unbroken one, whatever line the kill has torn.
func TestResumeGivesTheSame(t *testing.T) {
	run := func(t *testing.T, ctx context.Context, w *fakeWorld, c Config) (Result, error) {
		c.Start = w.start
		r, err := Run(ctx, c)
		r.Seconds = 0
		return r, err
	}
	c := fakeConfig(t, &fakeWorld{}, "HLR,HNE,OCH")
	whole, err := run(t, t.Context(), &fakeWorld{}, c)
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.ReadFile(c.Journal)
	if err != nil {
		t.Fatal(err)
	}
	c.Resume = true
	for _, at := range []int{10, 400, 401, len(full) / 2, len(full) - 1, len(full)} {
		if err := os.WriteFile(c.Journal, full[:at], 0o644); err != nil {
			t.Fatal(err)
		}
		w := &fakeWorld{}
		r, err := run(t, t.Context(), w, c)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := mustJSON(t, r), mustJSON(t, whole); a != b {
			t.Fatalf("resumed at byte %d: %s\nwant %s", at, a, b)
		}
		if done := bytes.Count(full[:at], []byte("\n")) - 1; w.starts != whole.Trainings-max(0, done) {
			t.Errorf("resumed at byte %d: %d trainings of %d, %d were in the journal", at, w.starts, whole.Trainings, done)
		}
	}
	// An interrupt in the middle says so, and what is done stays.
	os.Remove(c.Journal)
	ctx, cancel := context.WithCancel(t.Context())
	c.Resume = false
	if _, err := run(t, ctx, &fakeWorld{kill: func(n int) {
		if n == 30 {
			cancel()
		}
	}}, c); !errors.Is(err, study.ErrInterrupted) {
		t.Fatalf("interrupted: %v", err)
	}
	c.Resume = true
	w := &fakeWorld{}
	if r, err := run(t, t.Context(), w, c); err != nil || mustJSON(t, r) != mustJSON(t, whole) || w.starts != whole.Trainings-29 {
		t.Errorf("resumed after an interrupt: %v, %d trainings", err, w.starts)
	}
	// The journal is of that subject, seed and device; more operators may be asked for.
	more := c
	more.Operators = All()[:8]
	if _, err := run(t, t.Context(), &fakeWorld{}, more); err != nil {
		t.Errorf("resumed with other operators: %v", err)
	}
	other := c
	other.Seed = 6
	if _, err := run(t, t.Context(), &fakeWorld{}, other); err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("another seed: %v", err)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestJudge(t *testing.T) {
	inf := math.Inf(1)
	c := Criterion{Runs: 5, P: 0.05, Effect: 0.5}
	good := []float64{0.9, 0.91, 0.92, 0.9, 0.91}
	for _, x := range []struct {
		name             string
		original, mutant []float64
		metric           train.Metric
		test             string
		killed           bool
	}{
		{"worse", good, []float64{0.5, 0.6, 0.4, 0.5, 0.5}, train.Accuracy, TestGLM, true},
		{"better", good, []float64{0.99, 0.99, 0.98, 0.99, 0.99}, train.Accuracy, TestGLM, false},
		{"the same", good, good, train.Accuracy, TestGLM, false},
		{"a larger error", good, []float64{1.5, 1.6, 1.4, 1.5, 1.5}, train.MAE, TestGLM, true},
		{"a smaller error", good, []float64{0.5, 0.6, 0.4, 0.5, 0.5}, train.MAE, TestGLM, false},
		{"no spread, worse", []float64{1, 1, 1, 1, 1}, []float64{0.9, 0.9, 0.9, 0.9, 0.9}, train.Accuracy, TestGLM, true},
		{"no spread, equal", []float64{1, 1, 1, 1, 1}, []float64{1, 1, 1, 1, 1}, train.Accuracy, TestGLM, false},
		{"all diverge", good, []float64{inf, inf, inf, inf, inf}, train.MAE, TestRank, true},
		{"one diverges", good, []float64{0.9, 0.91, 0.92, 0.9, inf}, train.MAE, TestRank, false},
		{"the original diverges", []float64{inf, inf, inf, inf, inf}, good, train.MAE, TestRank, false},
	} {
		j, err := c.Judge(x.original, x.mutant, x.metric)
		if err != nil || j.Killed != x.killed || j.Test != x.test {
			t.Errorf("%s: %+v, %v: want killed %v by %s", x.name, j, err, x.killed, x.test)
		}
	}
	// Both conditions count: a tiny difference without spread in many runs is significant, and an effect alone is not.
	wide := Criterion{Runs: 5, P: 0.05, Effect: 5}
	if j, err := wide.Judge(good, []float64{0.88, 0.89, 0.9, 0.88, 0.89}, train.Accuracy); err != nil || j.Killed || float64(j.P) > 0.05 {
		t.Errorf("an effect below the limit: %+v, %v", j, err)
	}
	strict := Criterion{Runs: 5, P: 1e-9, Effect: 0.5}
	if j, err := strict.Judge(good, []float64{0.89, 0.9, 0.91, 0.89, 0.9}, train.Accuracy); err != nil || j.Killed || float64(j.Effect) < 0.5 {
		t.Errorf("an effect that is not significant: %+v, %v", j, err)
	}
}

// Real trainings: the perceptron on optical digits, with mutants that must and that cannot be killed; folders that load; a repair of one.
func TestRealMutants(t *testing.T) {
	s := digits(t)
	ops, err := Select("TCL,HLR,HNE,OCG,HDB")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Config{Subject: s, Operators: ops, Criterion: Criterion{Runs: 4, P: 0.05, Effect: 0.5}, Part: HoldoutPart, Seed: 1,
		Start: study.OnDevice(reference.New()), Device: "reference", Journal: filepath.Join(dir, "journal.jsonl")}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	killed := map[string]bool{}
	for _, m := range r.Mutants {
		killed[m.Operator] = m.Killed
	}
	// A rate a thousandth as large, one epoch, one batch of all rows and a class with wrong labels are worse; elements of the gradients are
	// below 0.5 anyway.
	for id, want := range map[string]bool{"HLR": true, "HNE": true, "HDB": true, "TCL": true, "OCG": false} {
		if killed[id] != want {
			t.Errorf("%s killed: %v, want %v (%+v)", id, killed[id], want, r.Mutants)
		}
	}
	folders, err := Write(dir, s, r, false)
	if err != nil || !slices.Equal(folders, []string{"TCL-1", "HLR-1", "HNE-1", "HDB-1", ""}) {
		t.Fatalf("folders %v, %v", folders, err)
	}
	back, err := Read(dir)
	if err != nil || mustJSON(t, back) != mustJSON(t, r.Mutants) {
		t.Errorf("read back %v: %v", back, err)
	}
	var table bytes.Buffer
	if err := Table(&table, []string{"digits", "none"}, [][]Mutant{back, nil}); err != nil ||
		!strings.Contains(table.String(), "4 of 24 operators have a killed mutant") || strings.Count(table.String(), "1 of 1") != 4 {
		t.Errorf("%v\n%s", err, &table)
	}
	// The folder of a data mutant trains to the mutant's level.
	m, err := onnx.Read(filepath.Join(dir, "TCL-1", FileModel))
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := train.ReadRecipe(filepath.Join(dir, "TCL-1", FileRecipe))
	if err != nil {
		t.Fatal(err)
	}
	src, err := data.Open(filepath.Join(dir, "TCL-1", FileData), data.Options{})
	if err != nil || !src.HasTest() || src.Test.Rows() != len(s.Data.Holdout) {
		t.Fatalf("%v: %d test rows", err, src.Test.Rows())
	}
	d, err := src.Split(data.DefaultRatios, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := train.New(m, recipe, d, train.Options{Device: reference.New()})
	if err != nil {
		t.Fatal(err)
	}
	tr.Close()
	rows, err := SelfTest{Subject: s, Technique: "guided", Budget: study.Budget{Times: 20}, Seed: 1, Pairs: 5, Start: c.Start, Device: c.Device,
		Folder: dir}.Run(t.Context(), Result{Metric: r.Metric, Part: HoldoutPart, Original: r.Original, Mutants: slices.DeleteFunc(r.Mutants,
		func(m Mutant) bool { return m.Operator != "HLR" && m.Operator != "OCG" })})
	if err != nil || len(rows) != 2 || rows[0].Operator != "HLR" || !rows[0].Repaired || rows[0].IR < 0.5 || rows[1].Killed || rows[1].Repaired {
		t.Errorf("self-test: %+v, %v", rows, err)
	}
	if _, err := (SelfTest{}).Run(t.Context(), Result{Part: SearchPart}); err == nil {
		t.Error("a self-test on the search rows is no error")
	}
}

// digits is the exported perceptron on 800 of the optical digits.
func digits(t *testing.T) repair.Subject {
	t.Helper()
	s := subject(t, "pytorch_mlp")
	src, err := data.Open(filepath.Join("..", "..", "testdata", "optdigits", "train.csv.gz"), data.Options{Limit: 800})
	if err != nil {
		t.Fatal(err)
	}
	set := src.Train
	set.Inputs[0].Name, set.Targets[0].Name = s.Model.Graph.DataInputs()[0].Name, "label"
	if s.Data, err = data.Split(set, data.DefaultRatios, 1, true); err != nil {
		t.Fatal(err)
	}
	s.Recipe.Epochs, s.Recipe.Optimizer.LearningRate = 8, 1e-3
	return s
}
