package study

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netmend/data"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/technique"
	"netmend/train"
)

var secondsField = regexp.MustCompile(`"seconds":[0-9.e+-]+`)

// lines are a journal's lines without their times.
func lines(t *testing.T, path string) [][]byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw = secondsField.ReplaceAll(raw, []byte(`"seconds":0`))
	return bytes.SplitAfter(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
}

func mustRun(t *testing.T, c Config) Report {
	t.Helper()
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRepairs(t *testing.T) {
	for _, name := range technique.Names() {
		t.Run(name, func(t *testing.T) {
			w := &fakeWorld{}
			c := config(t, w)
			c.Technique, c.Budget = name, Budget{Times: 30}
			c.Keys = []repair.Key{{Operator: "learning_rate", Target: "recipe"}, {Operator: "optimizer", Target: "recipe"}, {Operator: "loss", Target: "recipe"}, {Operator: "epochs", Target: "recipe"}}
			beforeVerdict := 0
			c.Progress = func(p Progress) {
				if p.Phase != Judging {
					beforeVerdict += w.holdouts
				}
			}
			r := mustRun(t, c)
			if beforeVerdict != 0 {
				t.Error("the search looked at the hold-out rows")
			}
			if w.holdouts != 10 {
				t.Errorf("%d looks at the hold-out rows, want one per training of the verdict", w.holdouts)
			}
			if r.Verdict != Repaired || r.P >= 0.05 || r.A12 != 1 || !(r.Repaired.Mean > r.Faulty.Mean) || r.Edits != len(r.Patch) || r.Model == nil {
				t.Errorf("report %+v", r)
			}
			if r.CostX > 30+1e-6 {
				t.Errorf("the search cost %vx of a budget of 30x", r.CostX)
			}
			if seed, _ := r.Model.Meta("seed"); seed == "" || w.models > 5 {
				t.Errorf("model of seed %q, %d models made", seed, w.models)
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// A study that was killed after any line of its journal, with part of the next one written, goes on to the same journal.
func TestResumeAfterKill(t *testing.T) {
	for _, name := range technique.Names() {
		t.Run(name, func(t *testing.T) {
			c := config(t, &fakeWorld{})
			c.Technique = name
			whole := mustRun(t, c)
			want := lines(t, c.Journal)
			raw, err := os.ReadFile(c.Journal)
			if err != nil {
				t.Fatal(err)
			}
			all := bytes.SplitAfter(raw, []byte("\n"))
			step := max(1, len(want)/12)
			for k := 0; k <= len(want); k += step {
				kept := bytes.Join(all[:min(k, len(all)-1)], nil)
				if k < len(want) {
					kept = append(kept, all[k][:len(all[k])/2]...)
				}
				c := c
				c.Journal, c.Resume = filepath.Join(t.TempDir(), "j"), true
				c.CheckpointBytes = 1 // every checkpoint has to be made again
				if err := os.WriteFile(c.Journal, kept, 0o644); err != nil {
					t.Fatal(err)
				}
				r := mustRun(t, c)
				got := lines(t, c.Journal)
				for i := range max(len(got), len(want)) {
					if i >= len(got) || i >= len(want) || !bytes.Equal(got[i], want[i]) {
						t.Fatalf("killed after line %d: line %d differs:\n%s\n%s", k, i, line(got, i), line(want, i))
					}
				}
				if r.Verdict != whole.Verdict || r.P != whole.P || r.CostX != whole.CostX || r.Patch.String() != whole.Patch.String() {
					t.Fatalf("killed after line %d: report %+v, want %+v", k, r, whole)
				}
				if r.Model != nil {
					a, _ := r.Model.Meta("seed")
					if b, _ := whole.Model.Meta("seed"); a != b {
						t.Errorf("killed after line %d: the model is of seed %s, want %s", k, a, b)
					}
				}
			}
		})
	}
}

func line(l [][]byte, i int) string {
	if i < len(l) {
		return string(l[i])
	}
	return "(no line)"
}

// Ctrl-C keeps every finished trial and loses the one in flight; going on gives the same journal.
func TestInterrupt(t *testing.T) {
	c := config(t, &fakeWorld{})
	mustRun(t, c)
	want := lines(t, c.Journal)
	for _, at := range []int{1, 30, 70, 110} {
		ctx, cancel := context.WithCancel(context.Background())
		w := &fakeWorld{}
		n := 0
		w.kill = func() {
			if n++; n == at {
				cancel()
			}
		}
		c := c
		c.Journal, c.Start = filepath.Join(t.TempDir(), "j"), w.start
		if _, err := Run(ctx, c); !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted at step %d: %v", at, err)
		}
		if got := lines(t, c.Journal); len(got) >= len(want) {
			t.Fatalf("interrupted at step %d: %d lines", at, len(got))
		}
		c.Resume, c.Start = true, (&fakeWorld{}).start
		mustRun(t, c)
		if got := lines(t, c.Journal); !bytes.Equal(bytes.Join(got, nil), bytes.Join(want, nil)) {
			t.Errorf("interrupted at step %d: the journals differ", at)
		}
	}
}

func TestJournalOfAnotherStudy(t *testing.T) {
	c := config(t, &fakeWorld{})
	c.Budget = Budget{Trials: 2}
	mustRun(t, c)
	if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a journal was overwritten: %v", err)
	}
	c.Resume = true
	for want, change := range map[string]func(*Config){
		"its seed is 7, asked for is 8":        func(c *Config) { c.Seed = 8 },
		"its budget is 2t, asked for is 3t":    func(c *Config) { c.Budget.Trials = 3 },
		"its device is fake":                   func(c *Config) { c.Device = "other" },
		"verdict seeds is 5":                   func(c *Config) { c.Seeds = 6 },
		"its cost model":                       func(c *Config) { c.Cost = CostModel{1, 1} },
		"model, recipe or data have changed":   func(c *Config) { c.Subject.Recipe.BatchSize = 64 },
		"recipe or data have changed since":    func(c *Config) { c.Subject.Data.Train = c.Subject.Data.Train[1:] },
		"study: 0 training":                    func(c *Config) { c.Subject.Data.Train = nil },
		"must have one of times, duration and": func(c *Config) { c.Budget = Budget{} },
	} {
		c := c
		change(&c)
		if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestBrokenJournals(t *testing.T) {
	c := config(t, &fakeWorld{})
	c.Budget = Budget{Trials: 3}
	mustRun(t, c)
	raw, err := os.ReadFile(c.Journal)
	if err != nil {
		t.Fatal(err)
	}
	all := bytes.SplitAfter(raw, []byte("\n"))
	for want, content := range map[string][]byte{
		"line 2: not JSON":                append(append([]byte{}, all[0]...), "{\"kind\":\"tri\n"...),
		"line 1: kind \"trial\"":          all[1],
		"line 2: kind \"header\"":         append(append([]byte{}, all[0]...), all[0]...),
		"line 2: trial 1 is out of order": append(append([]byte{}, all[0]...), all[2]...),
		"line 2: kind \"other\" is not":   append(append([]byte{}, all[0]...), "{\"kind\":\"other\"}\n"...),
		"lacks its hold-out score":        append(append([]byte{}, all[0]...), "{\"kind\":\"verdict\",\"seed\":1,\"search\":1,\"cost\":1}\n"...),
		"asks for \"faulty\"":             append(append([]byte{}, all[0]...), bytes.Replace(all[2], []byte(`"id":1`), []byte(`"id":0`), 1)...),
	} {
		c := c
		c.Journal, c.Resume = filepath.Join(t.TempDir(), "j"), true
		if err := os.WriteFile(c.Journal, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	c.Resume, c.Journal = true, filepath.Join(t.TempDir(), "none")
	if _, err := Run(context.Background(), c); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("resuming nothing: %v", err)
	}
}

// Bad trials are results: all states appear, none of them ends the study, and none of them wins.
func TestBadTrialsAreData(t *testing.T) {
	c := config(t, &fakeWorld{})
	c.Budget = Budget{Trials: 60}
	r := mustRun(t, c)
	for _, s := range []technique.State{technique.Diverged, technique.OutOfMemory, technique.Completed} {
		if r.States[string(s)] == 0 {
			t.Errorf("no trial is %s: %v", s, r.States)
		}
	}
	if r.Trials != 60 {
		t.Errorf("%d trials, want 60", r.Trials)
	}
	for _, e := range r.Patch {
		if e.Value == repair.Word("poisson") {
			t.Errorf("a loss whose outputs are not finite won: %s", r.Patch)
		}
	}
}

// Without a real difference there is no repair, however the search was fooled.
func TestNoRepair(t *testing.T) {
	s := &session{Config: Config{Seeds: 5, Subject: repair.Subject{Recipe: train.Recipe{Metric: train.Accuracy}}}}
	same := []float64{0.9, 0.91, 0.9, 0.92, 0.9}
	worse := []float64{0.91, 0.92, 0.91, 0.91, 0.91}
	better := []float64{0.92, 0.93, 0.91, 0.93, 0.92}
	for _, c := range []struct {
		repaired []float64
		want     Verdict
		p        float64
	}{{same, NoRepair, 1}, {worse, NoRepair, 0.1875}, {better, Repaired, 1.0 / 32}} {
		var r Report
		if err := s.compare(&r, same, c.repaired); err != nil {
			t.Fatal(err)
		}
		if r.Verdict != c.want || c.want == Repaired && float64(r.P) != c.p {
			t.Errorf("%v: %+v", c.repaired, r)
		}
	}
	// Lower is better: the same numbers the other way round.
	s.Subject.Recipe.Metric = train.MAE
	var r Report
	if err := s.compare(&r, better, same); err != nil || r.Verdict != Repaired || r.A12 < 0.5 {
		t.Errorf("mean absolute error: %+v, %v", r, err)
	}
	if err := s.compare(&r, []float64{math.Inf(1), 5, 5, 5, 5}, []float64{1, 1, 1, 1, 1}); err != nil || r.Verdict != Repaired {
		t.Errorf("a diverged faulty training: %+v, %v", r, err)
	}
}

// A gain that comes from a few hold-out rows comes with every seed, and is not a repair.
func TestGainOfAFewRows(t *testing.T) {
	w := &fakeWorld{}
	c := config(t, w)
	if r := mustRun(t, c); r.Verdict != Repaired || r.Rows == nil || r.Rows.P > 1e-9 || r.Rows.Groups != 20 {
		t.Fatalf("an even gain: %+v, rows %+v", r, r.Rows)
	}
	w.uneven = 20
	c.Journal = filepath.Join(t.TempDir(), "j")
	r := mustRun(t, c)
	if r.Verdict != NoRepair || r.P >= 0.05 || r.Rows == nil || !(r.Rows.P > 0.05) || r.Claim() != float64(r.Rows.P) || r.Model != nil ||
		!strings.Contains(r.Reason, "too little for the number of rows") {
		t.Errorf("an uneven gain: %+v, rows %+v", r, r.Rows)
	}
	want, _ := json.Marshal(r)
	c.Resume = true
	if got, _ := json.Marshal(mustRun(t, c)); !bytes.Equal(got, want) {
		t.Errorf("resumed %s, want %s", got, want)
	}
}

func TestRowTest(t *testing.T) {
	num := func(v ...float64) (out []repair.Number) {
		for _, x := range v {
			out = append(out, repair.Number(x))
		}
		return out
	}
	run := func(holdout float64, without ...float64) runLine {
		h := repair.Number(holdout)
		return runLine{Holdout: &h, Without: num(without...)}
	}
	s := &session{Config: Config{Subject: repair.Subject{Recipe: train.Recipe{Metric: train.MAE}, Data: data.Splits{Holdout: []int32{1, 2, 3}}}}}
	inf := math.Inf(1)
	for _, c := range []struct {
		name  string
		pairs [][2]runLine
		p     float64
	}{
		{"a pair: gains 1, 2 and 3 without a group", [][2]runLine{{run(5, 4, 5, 6), run(3, 3, 3, 3)}}, 0.11270166537925833}, // t = sqrt(3), 2 degrees
		{"two pairs with that mean", [][2]runLine{{run(5, 4, 4, 4), run(3, 3, 3, 3)}, {run(5, 4, 6, 8), run(3, 3, 3, 3)}}, 0.11270166537925833},
		{"a faulty training that diverged beside them", [][2]runLine{{run(5, 4, 5, 6), run(3, 3, 3, 3)}, {run(inf), run(3, 3, 3, 3)}}, 0.11270166537925833},
		{"one repaired training of three that failed", [][2]runLine{{run(5, 4, 5, 6), run(3, 3, 3, 3)}, {run(5, 4, 5, 6), run(3, 3, 3, 3)}, {run(5, 4, 5, 6), run(99, 99, 99, 99)}}, 0.998628255302787},
		{"of six", [][2]runLine{{run(5, 4, 5, 6), run(3, 3, 3, 3)}, {run(5, 4, 5, 6), run(3, 3, 3, 3)}, {run(5, 4, 5, 6), run(3, 3, 3, 3)},
			{run(5, 4, 5, 6), run(3, 3, 3, 3)}, {run(5, 4, 5, 6), run(3, 3, 3, 3)}, {run(5, 4, 5, 6), run(99, 99, 99, 99)}}, 0.11270166537925833},
		{"faulty trainings diverge always", [][2]runLine{{run(inf), run(3, 3, 3, 3)}, {run(inf), run(3, 3, 3, 3)}}, 0},
		{"both do", [][2]runLine{{run(inf), run(inf)}}, 1},
	} {
		got, err := s.rowTest(c.pairs)
		if err != nil || math.Abs(float64(got.P)-c.p) > 1e-9 {
			t.Errorf("%s: %+v, %v; want p %v", c.name, got, err, c.p)
		}
	}
	s.Subject.Data.Holdout = []int32{1}
	if got, err := s.rowTest([][2]runLine{{run(5), run(3)}}); err != nil || got.P != 1 {
		t.Errorf("one hold-out row proves nothing: %+v, %v", got, err)
	}
}

func TestVerdictEndsEarly(t *testing.T) {
	// One reversal of five makes p 2/32 at best; of six 2/64.
	for _, c := range []struct {
		faulty, repaired []float64
		n                int
		want             float64
	}{
		{[]float64{0.5}, []float64{0.4}, 5, 2.0 / 32}, {[]float64{0.5}, []float64{0.4}, 6, 2.0 / 64}, {[]float64{0.5}, []float64{0.6}, 5, 1.0 / 32},
		{[]float64{0.5, 0.5}, []float64{0.5, 0.5}, 5, 1.0 / 8}, {nil, nil, 4, 1.0 / 16},
	} {
		got, err := bestP(c.faulty, c.repaired, c.n, 1)
		if err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v against %v of %d pairs: p %v, %v, want %v", c.repaired, c.faulty, c.n, got, err, c.want)
		}
	}
}

func TestParseBudget(t *testing.T) {
	for s, want := range map[string]Budget{"20x": {Times: 20}, "1.5x": {Times: 1.5}, "10m": {Duration: 10 * time.Minute}, "1h30m": {Duration: 90 * time.Minute}, "30t": {Trials: 30}} {
		got, err := ParseBudget(s)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
		if again, err := ParseBudget(got.String()); err != nil || again != got {
			t.Errorf("%q: written as %q and read back as %+v, %v", s, got, again, err)
		}
	}
	for _, s := range []string{"", "x", "20", "-5x", "0x", "NaNx", "1e300x", "0t", "-1t", "3.5t", "0s", "-10m", "ten", "20 x"} {
		if b, err := ParseBudget(s); err == nil {
			t.Errorf("%q is read as %+v", s, b)
		} else if !strings.HasPrefix(err.Error(), "study: budget ") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// ddmin finds the edits that matter among many, alone and together, and asks little.
func TestDdmin(t *testing.T) {
	var patch repair.Patch
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		patch = patch.With(repair.Edit{Operator: name, Target: "recipe", Value: repair.Num(1)})
	}
	asTheyAre := func([]repair.Patch) {}
	for _, need := range []string{"c", "cm", "apk", "abcdefghijklmnop"} {
		asked := 0
		got, err := ddmin(patch, asTheyAre, func(p repair.Patch, _ []repair.Patch) (bool, error) {
			asked++
			for _, op := range strings.Split(need, "") {
				if _, ok := p.Get(repair.Key{Operator: op, Target: "recipe"}); !ok {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil || len(got) != len(need) {
			t.Errorf("needed %q, got %s, %v", need, got, err)
		}
		if asked > 100 {
			t.Errorf("needed %q: %d tests", need, asked)
		}
	}
}

// Parts of a patch that the search has found to be better than the faulty subject are asked for first, the best of them before the others.
func TestMinimizeOrder(t *testing.T) {
	s := &session{Config: config(t, &fakeWorld{})}
	s.search = s.Subject
	part := func(operator string, v float64) repair.Patch {
		return repair.NewPatch(repair.Edit{Operator: operator, Target: "recipe", Value: repair.Num(v)})
	}
	told := func(p repair.Patch, epochs float64, score float64) {
		s.trials = append(s.trials, technique.Trial{ID: technique.TrialID(len(s.trials)), Proposal: technique.Proposal{Patch: p, Epochs: epochs}, State: technique.Completed,
			Score: technique.Score{Value: repair.Number(score), Valid: true}})
	}
	whole := float64(s.search.Recipe.Epochs)
	untried, worse, better, best, begun := part("a", 1), part("b", 1), part("c", 1), part("d", 1), part("e", 1)
	told(nil, whole, 0.5)
	told(worse, whole, 0.4)
	told(better, whole, 0.6)
	told(best, whole, 0.8)
	told(begun, whole/2, 0.9)
	parts := []repair.Patch{untried, worse, begun, better, best}
	(&minimizer{session: s, direction: s.direction()}).order(parts)
	if got, want := fmt.Sprint(parts), fmt.Sprint([]repair.Patch{best, better, untried, worse, begun}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Minimisation does not begin where the trainings of the whole patch would spend all that it may: there is nothing to be compared with them then.
func TestMinimizeTooDear(t *testing.T) {
	run := func(times float64) Report {
		c := config(t, &fakeWorld{})
		c.MinimizeTimes = times
		return mustRun(t, c)
	}
	without := run(-1)
	if len(without.Patch) < 2 {
		t.Fatalf("%s: nothing to minimise", without.Patch)
	}
	if r := run(1); r.MinimizeX != 0 || r.Patch.String() != without.Patch.String() || r.Verdict != without.Verdict {
		t.Errorf("1x: %s at %v, want %s at nothing", r.Patch, r.MinimizeX, without.Patch)
	}
	if r := run(100); r.MinimizeX == 0 || len(r.Patch) >= len(without.Patch) {
		t.Errorf("100x: %s at %v, want less than %s", r.Patch, r.MinimizeX, without.Patch)
	}
}

// What minimisation pays for the whole patch is known before: trainings of the patched recipe with the seeds that the search has not trained to the end.
func TestWholeCost(t *testing.T) {
	w := &fakeWorld{}
	c := config(t, w)
	c.Cost = DefaultCost
	recipe := func(operator string, v float64) repair.Edit {
		return repair.Edit{Operator: operator, Target: "recipe", Value: repair.Num(v)}
	}
	p := repair.NewPatch(recipe("learning_rate", 0.01))
	completed := func(p repair.Patch, epochs float64) technique.Trial {
		return technique.Trial{Proposal: technique.Proposal{Patch: p, From: technique.None, Epochs: epochs, Seed: 1}, State: technique.Completed}
	}
	const stopped = "early stopping may end it"
	for _, x := range []struct {
		name  string
		of    repair.Patch
		trial technique.Trial
		want  float64
	}{
		{"another patch was trained", p, completed(p.With(recipe("epochs", 4)), 4), 3},
		{"trained to the end with one seed", p, completed(p, 2), 2},
		{"in part", p, completed(p, 1), 3},
		{"for more epochs", p.With(recipe("epochs", 6)), completed(p, 2), 9},
		{stopped, p, completed(p, 1), 0},
		{"more than the device has room for", p.With(recipe("batch_size", 16)), completed(p, 2), 0}, // see fakeWorld.start
	} {
		s := &session{Config: c, search: c.Subject, account: newAccount(), trials: []technique.Trial{x.trial}}
		if x.name == stopped {
			s.search.Recipe.EarlyStopping = train.EarlyStopping{Monitor: "loss", Patience: 1}
		}
		m := &minimizer{session: s, seeds: []uint64{1, 2, 3}}
		if _, err := s.patched(s.search, x.of, 1); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if got, err := m.wholeCost(t.Context(), x.of); err != nil || math.Abs(got-x.want) > 1e-9 {
			t.Errorf("%s: %v, %v; want %v", x.name, got, err, x.want)
		}
	}
	if w.live != 0 {
		t.Errorf("%d trainings are open", w.live)
	}
}

func TestStoreKeepsTheLatest(t *testing.T) {
	s := newStore(3000)
	for i := range 3 {
		s.put(technique.TrialID(i), fakeCheckpoint{steps: i})
	}
	s.get(0)
	s.put(3, fakeCheckpoint{})
	for id, want := range map[technique.TrialID]bool{0: true, 1: false, 2: true, 3: true} {
		if _, ok := s.get(id); ok != want {
			t.Errorf("checkpoint %d kept: %v", id, ok)
		}
	}
	if s.bytes != 3000 {
		t.Errorf("%d bytes", s.bytes)
	}
}

// Without minimisation and verdict the study ends with the search; the hold-out score of every trial is in the journal, and a resumed study
// reports the same.
func TestSearchOnly(t *testing.T) {
	w := &fakeWorld{}
	c := config(t, w)
	c.SearchOnly, c.Budget = true, Budget{Trials: 6}
	scores := func() (out []string) {
		c.Progress = func(p Progress) {
			if p.Phase != Searching {
				t.Errorf("phase %s after a search that is all", p.Phase)
			}
			out = append(out, fmt.Sprint(p.Trial.State, p.Holdout))
			if done := p.Trial.State == technique.Completed || p.Trial.State == technique.Cut; done != !math.IsNaN(p.Holdout) {
				t.Errorf("trial %d is %s and has the hold-out score %v", p.Trial.ID, p.Trial.State, p.Holdout)
			}
		}
		r := mustRun(t, c)
		if r.Verdict != NoRepair || r.Trials != 6 || r.ProofX != 0 {
			t.Errorf("report %+v", r)
		}
		return out
	}
	first := scores()
	if !w.scored[c.Subject.Data.Holdout[0]] {
		t.Error("no trial was scored on the hold-out rows")
	}
	c.Resume = true
	if again := scores(); !slices.Equal(first, again) {
		t.Errorf("resumed: %v, before %v", again, first)
	}
	c.SearchOnly = false
	if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "search only") {
		t.Errorf("another kind of study went on with the journal: %v", err)
	}
}

// A search by another table of suspicion asks differently, so that it is another study; of techniques that do not ask the table it is the same.
func TestTableOfSuspicionIsPartOfTheStudy(t *testing.T) {
	rules := diagnose.NewTable(diagnose.Counts{}, diagnose.DefaultSettings)
	for _, c := range []struct {
		technique string
		refused   bool
	}{{"guided", true}, {"guided-diagnosis", false}, {"random", false}} {
		cfg := config(t, &fakeWorld{})
		cfg.Technique, cfg.Budget = c.technique, Budget{Trials: 3}
		mustRun(t, cfg)
		cfg.Resume, cfg.Suspicion = true, rules
		_, err := Run(context.Background(), cfg)
		if refused := err != nil && strings.Contains(err.Error(), "table of suspicion"); refused != c.refused || err != nil && !refused {
			t.Errorf("%s: %v", c.technique, err)
		}
	}
}
