package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netmend/faults"
	"netmend/repair"
	"netmend/repair/study"
)

// sick is a benchmark of healthy subjects in which D1 is not healthy: its fix is taken away, so that the subject behind it is the faulty one, which
// guided repairs. D7 is healthy.
func sick(t *testing.T) Config {
	t.Helper()
	list, err := faults.Select("D1,D7")
	if err != nil {
		t.Fatal(err)
	}
	list[0].Fix = nil
	return Config{Entries: HealthyEntries(list, faults.LiteScale, "", 3), Techniques: []string{"guided"}, Budgets: []Budget{{Budget: study.Budget{Times: 6}}},
		Repeats: 2, Scale: faults.LiteScale, Protocol: faults.StrictProtocol, Seed: 3, Out: t.TempDir(), Jobs: 1, Worker: worker("reference")}
}

func healthyFiles(t *testing.T, c Config) (Healthy, map[string][]byte) {
	t.Helper()
	h, err := RunHealthy(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Write(); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, name := range []string{HealthyFile, HealthyCSVFile, RunsFile} {
		if out[name], err = os.ReadFile(filepath.Join(c.Out, name)); err != nil {
			t.Fatal(err)
		}
	}
	return h, out
}

// A subject that is not healthy is repaired, and the repair confirmed on rows that nothing has seen; a healthy one is left alone. However the runs
// are made, at once or after kills and interruptions, the bytes are the same.
func TestHealthy(t *testing.T) {
	c := sick(t)
	if testing.Short() { // for the race detector, which is slow
		c.Jobs = 3
	}
	h, want := healthyFiles(t, c)
	n := h.Total("guided", c.Budgets[0])
	if n.Runs() != 4 || h.Rows[0].Counts[Confirmed] != 2 || h.Rows[1].NoRepair() != 2 || n.NoRepair() != 2 {
		t.Fatalf("counts %v:\n%s", n, want[HealthyFile])
	}
	if x := h.Rows[0].Runs[0]; x.Unseen == nil || math.Abs(x.Unseen.Mean-0.5) > 0.05 || x.Unseen.P != 1.0/256 || x.Holdout.P != 1.0/256 || h.Rows[0].Rows != unseenRows {
		t.Errorf("the repair of D1: %+v, unseen %+v", x, x.Unseen)
	}
	for _, part := range []string{"| guided | 6x | 2 | 2 of 4 (50.0 %) | 2 of 4 (50.0 %) | 0 of 4 (0.0 %) | 0 of 4 (0.0 %) |", "| D1-guided-6x-1 | confirmed | ", "activation of dense3/activation: softmax -> "} {
		if !strings.Contains(string(want[HealthyFile]), part) {
			t.Errorf("%q is not in\n%s", part, want[HealthyFile])
		}
	}
	testFreshSeeds(t, h)
	if testing.Short() {
		return
	}

	three := sick(t)
	three.Jobs = 3
	_, got := healthyFiles(t, three)
	compare(t, "three jobs", want, got)
	testHealthyResumes(t, c.Out, want)
}

// testFreshSeeds: pairs share a seed, which no other run has, and which none of the verdicts had.
func testFreshSeeds(t *testing.T, h Healthy) {
	t.Helper()
	pairs, judged := map[uint64]int{}, map[uint64]bool{}
	for _, l := range h.Lines {
		if l.Value != nil {
			pairs[l.Seed]++
			continue
		}
		for i := range study.DefaultSeeds {
			judged[study.SeedFor(l.Seed, string(study.Judging), i)] = true
		}
	}
	if len(pairs) != 2*confirmPairs {
		t.Errorf("%d seeds of %d pairs for each of two subjects", len(pairs), confirmPairs)
	}
	for seed := range pairs {
		if judged[seed] {
			t.Errorf("seed %d is one of a verdict", seed)
		}
	}
}

// testHealthyResumes cuts the index of a finished benchmark off in its phases, and interrupts new ones.
func testHealthyResumes(t *testing.T, finished string, want map[string][]byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(finished, IndexFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(raw, []byte("\n"))
	for _, k := range []int{3, len(lines) - 10} {
		c := sick(t)
		if err := os.CopyFS(filepath.Join(c.Out, runsDir), os.DirFS(filepath.Join(finished, runsDir))); err != nil {
			t.Fatal(err)
		}
		cut := bytes.Join(lines[:k], nil)
		if err := os.WriteFile(filepath.Join(c.Out, IndexFile), append(cut, `{"kind":"value","run":"D1`...), 0o644); err != nil {
			t.Fatal(err)
		}
		c.Resume = true
		_, got := healthyFiles(t, c)
		compare(t, fmt.Sprintf("killed after line %d", k), want, got)
	}
	c := sick(t)
	ctx, cancel := context.WithCancel(context.Background())
	c.Progress = func(e Event) {
		if e.Finished && strings.HasSuffix(e.Run, "-patched-2") {
			cancel()
		}
	}
	if _, err := RunHealthy(ctx, c); !errors.Is(err, study.ErrInterrupted) {
		t.Fatalf("interrupted: %v", err)
	}
	c.Resume, c.Progress = true, nil
	_, got := healthyFiles(t, c)
	compare(t, "interrupted and resumed", want, got)
	if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "another benchmark") {
		t.Errorf("a benchmark of faults went on with the folder: %v", err)
	}
}

// The whole catalogue leads to thirteen networks.
func TestHealthyEntries(t *testing.T) {
	var ids []string
	for _, e := range HealthyEntries(faults.All(), faults.LiteScale, "", 1) {
		ids = append(ids, e.Fault.ID)
	}
	if got := strings.Join(ids, " "); got != "C1 D1 D2 D3 D4 D5 D6 D7 D8 D9 M1 R1 U1" {
		t.Errorf("entries %s", got)
	}
}

// Confirming trainings train on the same rows as all others, and differ in the rows alone that follow the hold-out rows.
func TestUnseenRowsAreNew(t *testing.T) {
	list, err := faults.Select("D1")
	if err != nil {
		t.Fatal(err)
	}
	x, err := HealthyEntries(list, faults.LiteScale, "", 1)[0].Load()
	if err != nil {
		t.Fatal(err)
	}
	have, more := x.Faulty.Data, x.Confirm.Data
	rows := have.Rows()
	if !slices.Equal(have.Train, more.Train) || !slices.Equal(have.Search, more.Search) || !slices.Equal(have.Holdout, more.Holdout[:len(have.Holdout)]) ||
		!slices.Equal(x.Unseen, more.Holdout[len(have.Holdout):]) || len(x.Unseen) != unseenRows || more.Rows() != rows+unseenRows {
		t.Errorf("%d rows with %d unseen ones become %d", rows, len(x.Unseen), more.Rows())
	}
	if slices.ContainsFunc(x.Unseen, func(r int32) bool { return int(r) < rows }) {
		t.Error("an unseen row is one of the search or the verdict")
	}
	for i, a := range have.Inputs {
		if !slices.Equal(a.Float, more.Inputs[i].Float[:len(a.Float)]) {
			t.Errorf("input %q differs", a.Name)
		}
	}
	fixed, recipe, err := list[0].Fixed(faults.LiteScale)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []repair.Subject{x.Faulty, x.Confirm} {
		a, errA := s.Model.Encode()
		b, errB := fixed.Encode()
		if errA != nil || errB != nil || !bytes.Equal(a, b) || !s.Recipe.Equal(recipe) {
			t.Errorf("the subject is not the fixed one: %v, %v", errA, errB)
		}
	}
}

// Repairs are told apart by the gain on unseen rows, where there are some.
func TestOutcomes(t *testing.T) {
	gain := func(mean, p float64) *Gain { return &Gain{Mean: mean, P: p} }
	for _, c := range []struct {
		holdout, unseen *Gain
		want            Outcome
	}{
		{gain(0.1, 0.01), nil, Confirmed}, {gain(0.1, 0.2), nil, NotConfirmed}, {gain(0, 1), nil, Refuted}, {gain(math.NaN(), 1), nil, Refuted},
		{gain(0.1, 0.01), gain(-0.1, 0.9), Refuted}, {gain(0.1, 0.01), gain(0.1, 0.1), NotConfirmed}, {gain(-0.1, 0.9), gain(0.1, 0.01), Confirmed},
	} {
		if got := (HealthyRun{Holdout: c.holdout, Unseen: c.unseen}).confirmed(); got != c.want {
			t.Errorf("%+v, %+v: %s, want %s", c.holdout, c.unseen, got, c.want)
		}
	}
	patch := repair.NewPatch(repair.Edit{Operator: "epochs", Target: "recipe", Value: repair.Num(2)})
	counts := Counts{}
	for _, c := range []struct {
		s    Search
		want Outcome
	}{
		{Search{Verdict: study.NoRepair}, NothingFound}, {Search{Verdict: study.NoRepair, Patch: patch}, Refused},
		{Search{Verdict: study.NoRepair, Patch: patch, Small: true}, Small}, {Search{Verdict: study.Repaired, Patch: patch}, ""},
	} {
		if got := c.s.refusal(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
		counts[c.s.refusal()]++
	}
	if counts.NoRepair() != 3 {
		t.Errorf("%v: %d without a repair", counts, counts.NoRepair())
	}
	// Of an error, less is a gain.
	list, err := faults.Select("D7")
	if err != nil {
		t.Fatal(err)
	}
	g, err := Config{}.gain(list[0], []float64{3, math.Inf(1), 3, 3, 3}, []float64{1, 2, 2, 2, 2})
	if err != nil || !(g.Mean > 0) || g.P != 1.0/32 {
		t.Errorf("gain %+v, %v", g, err)
	}
	x := HealthyRun{Search: &Search{Interval: &study.Interval{Low: -3, High: -1, Mean: -2}}}
	if g := x.verdictGain(Config{}, list[0]); g.Mean != 2 || g.Interval.Low != 1 || g.Interval.High != 3 {
		t.Errorf("a verdict's gain of -3 … -1 is %+v", g)
	}
}

func TestHealthyNeedsTheVerdict(t *testing.T) {
	for _, change := range []func(*Config){func(c *Config) { c.Protocol = faults.PublishedProtocol }, func(c *Config) { c.ValuesOnly = true }} {
		c := sick(t)
		change(&c)
		if _, err := RunHealthy(context.Background(), c); err == nil || !strings.Contains(err.Error(), "strict protocol") {
			t.Errorf("%v", err)
		}
	}
}
