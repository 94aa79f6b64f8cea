package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/reference"
	"netmend/faults"
	"netmend/repair/diagnose"
	"netmend/repair/study"
	"netmend/repair/technique"
)

const (
	envOut    = "NETMEND_BENCH_TEST_OUT"
	envDevice = "NETMEND_BENCH_TEST_DEVICE"
)

// TestMain is a benchmark of its own where a test asks for one that it can kill.
func TestMain(m *testing.M) {
	if out := os.Getenv(envOut); out != "" {
		c, err := small(out, faults.PublishedProtocol)
		if err == nil {
			c.Worker = worker(os.Getenv(envDevice))
			_, err = Run(context.Background(), c)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// small is a benchmark of two faults with synthetic data.
func small(out string, proto faults.Protocol) (Config, error) {
	list, err := faults.Select("D6,D7")
	if err != nil {
		return Config{}, err
	}
	return Config{Entries: Entries(list, faults.LiteScale, proto, "", 5), Techniques: []string{"guided", "random", "autotrainer"}, Budgets: []Budget{{Budget: study.Budget{Times: 5}}},
		Repeats: 3, Scale: faults.LiteScale, Protocol: proto, Seed: 5, Out: out, Jobs: 1, Worker: worker("reference")}, nil
}

// worker opens the reference or the cpu device.
func worker(device string) func() (Worker, error) {
	return func() (Worker, error) {
		dev := engine.Device(reference.New())
		if device == "cpu" {
			var err error
			if dev, err = cpu.New(cpu.Options{Threads: 1}); err != nil {
				return Worker{}, err
			}
		}
		return Worker{Start: study.OnDevice(dev), Device: dev.Name(), Close: dev.Close}, nil
	}
}

func mustSmall(t *testing.T, proto faults.Protocol) Config {
	t.Helper()
	c, err := small(t.TempDir(), proto)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// files runs a benchmark and gives what it writes.
func files(t *testing.T, c Config) map[string][]byte {
	t.Helper()
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, name := range []string{TableFile, CSVFile, RunsFile, IRPlot, BudgetPlot, EditsPlot} {
		if out[name], err = os.ReadFile(filepath.Join(c.Out, name)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func compare(t *testing.T, what string, want, got map[string][]byte) {
	t.Helper()
	for name, raw := range want {
		if !bytes.Equal(raw, got[name]) {
			t.Errorf("%s: %s differs:\n%s\nand\n%s", what, name, raw, got[name])
		}
	}
}

// One seed, one table: again, with other numbers of jobs, after a kill in the middle, and after an interruption, the bytes are the same.
func TestOneSeedOneTable(t *testing.T) {
	want := files(t, mustSmall(t, faults.PublishedProtocol))
	c := mustSmall(t, faults.PublishedProtocol)
	c.Jobs = 3
	compare(t, "three jobs", want, files(t, c))

	c = mustSmall(t, faults.PublishedProtocol)
	kill(t, c, "reference")
	raw, err := os.ReadFile(filepath.Join(c.Out, IndexFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Out, IndexFile), append(raw, `{"kind":"search","ru`...), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Resume = true
	compare(t, "killed and resumed", want, files(t, c))
	compare(t, "resumed when all was done", want, files(t, c))
	testInterrupted(t, want)
	testPlots(t, want)
}

// The same on the device that benchmarks are made with: a second run, with two jobs, and a killed one give the bytes of the first.
func TestOneSeedOneTableOnCPU(t *testing.T) {
	w, err := worker("cpu")()
	if err != nil {
		t.Skip(err)
	}
	w.Close()
	begin := func() Config {
		c := mustSmall(t, faults.PublishedProtocol)
		c.Worker = worker("cpu")
		return c
	}
	want := files(t, begin())
	if !bytes.Contains(want[TableFile], []byte("device: cpu (")) {
		t.Fatalf("another device:\n%s", want[TableFile])
	}
	c := begin()
	c.Jobs = 2
	compare(t, "two jobs", want, files(t, c))
	c = begin()
	kill(t, c, "cpu")
	c.Resume = true
	compare(t, "killed and resumed", want, files(t, c))
}

// kill runs a small benchmark in a process of its own and kills that in the middle of a search.
func kill(t *testing.T, c Config, device string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envOut+"="+c.Out, envDevice+"="+device)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		if raw, _ := os.ReadFile(filepath.Join(c.Out, runsDir, "D6-random-5x-0.jsonl")); bytes.Count(raw, []byte("\n")) >= 3 || time.Now().After(deadline) {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	raw, err := os.ReadFile(filepath.Join(c.Out, IndexFile))
	if err != nil || bytes.Count(raw, []byte("\n")) < 5 || bytes.Contains(raw, []byte("D7-random-5x-2")) {
		t.Fatalf("the kill came too early or too late: %d lines, %v", bytes.Count(raw, []byte("\n")), err)
	}
}

func testInterrupted(t *testing.T, want map[string][]byte) {
	t.Helper()
	c := mustSmall(t, faults.PublishedProtocol)
	ctx, cancel := context.WithCancel(context.Background())
	c.Progress = func(e Event) {
		if strings.HasPrefix(e.Run, "D6-guided") && e.Study != nil && e.Study.Trials > 2 {
			cancel()
		}
	}
	if _, err := Run(ctx, c); !errors.Is(err, study.ErrInterrupted) {
		t.Fatalf("interrupted: %v", err)
	}
	c.Resume, c.Progress = true, nil
	compare(t, "interrupted and resumed", want, files(t, c))
	c.Seed++
	if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "another benchmark") {
		t.Errorf("another seed went on with the folder: %v", err)
	}
}

func testPlots(t *testing.T, want map[string][]byte) {
	t.Helper()
	for _, name := range []string{IRPlot, BudgetPlot, EditsPlot} {
		d := xml.NewDecoder(bytes.NewReader(want[name]))
		n := 0
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s is not XML: %v", name, err)
			}
			n++
		}
		if n < 50 {
			t.Errorf("%s has %d parts only", name, n)
		}
	}
}

// Under the published protocol AutoTrainer makes its own edits, has the most accurate trial of its finished runs, and nothing for a regression.
func TestAutoTrainer(t *testing.T) {
	c := mustSmall(t, faults.PublishedProtocol)
	c.Techniques, c.Budgets[0].Times, c.Repeats = []string{"autotrainer"}, 20, 2
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Lines {
		s := l.Search
		if s == nil {
			continue
		}
		if strings.HasPrefix(l.Name, "D7") {
			if len(s.Trials) != 1 || s.Chosen >= 0 {
				t.Errorf("%s: %d trials, %d chosen", l.Name, len(s.Trials), s.Chosen)
			}
			continue
		}
		ended := 0 // before the run that the budget cuts off: D6's runs begin with the faulty subject, which nothing else is
		for k, x := range s.Trials {
			if len(x.Patch) == 0 {
				ended = k
			}
		}
		top := s.Trials[1].Score
		for _, x := range s.Trials[1:ended] {
			top = max(top, x.Score)
		}
		if s.Trials[len(s.Trials)-1].State != technique.Cut || s.Chosen < 1 || s.Chosen >= ended || s.Trials[s.Chosen].Score != top || s.Score != *s.Trials[s.Chosen].Holdout {
			t.Errorf("%s: of %d trials, the last run beginning with %d, %d is chosen", l.Name, len(s.Trials), ended, s.Chosen)
		}
	}
}

// Under the strict protocol guided mends D7 on the whole test set, with verdicts that stand after the correction, and the search never sees
// that set.
func TestStrict(t *testing.T) {
	c := mustSmall(t, faults.StrictProtocol)
	c.Techniques, c.Budgets[0].Times = []string{"guided"}, 20
	c.Trainings = c.Repeats + 2
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != 6 {
		t.Errorf("%d pairs for two faults", r.Pairs)
	}
	for _, v := range r.Values {
		if len(v.faulty) != c.Trainings || len(v.fixed) != c.Trainings {
			t.Errorf("%s: %d and %d trainings of the faulty and the fixed subject, not %d", v.Fault.ID, len(v.faulty), len(v.fixed), c.Trainings)
		}
	}
	for _, x := range r.Rows {
		if repaired := 2*x.Repaired > x.Repeats; x.Significant != repaired {
			t.Errorf("%s: %d of %d repeats repair, and the row says %v", x.Fault.ID, x.Repaired, x.Repeats, x.Significant)
		}
		if x.Fault.ID == "D7" && (x.Repaired < 2 || x.IR < 0.9 || x.VerdictX <= 0 || x.ChoiceX <= 0) {
			t.Errorf("%s: repaired in %d of %d repeats, IR %v, choice %v, verdict %v", x.Fault.ID, x.Repaired, x.Repeats, x.IR, x.ChoiceX, x.VerdictX)
		}
	}
	for _, l := range r.Lines {
		if l.Search == nil {
			continue
		}
		if n := len(l.Search.Repaired); n != 0 && n != len(l.Search.Faulty) {
			t.Errorf("%s: %d faulty and %d repaired trainings are no pairs", l.Name, len(l.Search.Faulty), n)
		}
		for _, x := range l.Search.Trials {
			if x.Holdout != nil {
				t.Fatalf("%s: trial %d was scored on the test rows", l.Name, x.ID)
			}
		}
	}
}

// A fault is searched with a table that has not seen its network healthy; the table of a network that was not learned from is the shipped one.
func TestSuspicionLeavesTheFamilyOut(t *testing.T) {
	families := diagnose.Learned().Families()
	for _, f := range faults.All() {
		without := diagnose.NewTable(diagnose.Learned().Without(f.Network), diagnose.DefaultSettings)
		if got := suspicion(f).ID(); got != without.ID() || slices.Contains(families, f.Network) != (got != diagnose.Shipped().ID()) {
			t.Errorf("%s: table %s", f.ID, got)
		}
	}
	if got := suspicion(faults.Fault{Network: "L1"}).ID(); got != diagnose.Shipped().ID() {
		t.Errorf("a network of no family: table %s", got)
	}
}
