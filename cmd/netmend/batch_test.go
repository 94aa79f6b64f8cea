package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
)

// cancelAfter cancels a context when a line is written to it.
type cancelAfter struct {
	bytes.Buffer
	line   string
	cancel context.CancelFunc
}

func (w *cancelAfter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.line) {
		w.cancel()
	}
	return w.Buffer.Write(p)
}

// TestBatchGoesOn interrupts a batch when its first job is finished, and resumes it: the results are those of an unbroken batch but for the clock.
func TestBatchGoesOn(t *testing.T) {
	demo, err := filepath.Abs(filepath.Join("..", "..", "testdata", "demo"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	jobs := filepath.Join(dir, "jobs.yaml")
	text := "defaults: {model: MODEL/model.onnx, recipe: MODEL/recipe.yaml, data: MODEL/../optdigits, technique: random, budget: 2t}\n" +
		"jobs: [{name: first}, {name: second, seed: 2}, {name: third, seed: 3}]\n"
	if err := os.WriteFile(jobs, []byte(strings.ReplaceAll(text, "MODEL", demo)), 0o644); err != nil {
		t.Fatal(err)
	}
	unbroken, broken := filepath.Join(dir, "unbroken"), filepath.Join(dir, "broken")
	call := func(ctx context.Context, stderr interface{ Write([]byte) (int, error) }, args ...string) int {
		return run(ctx, append([]string{"netmend", "batch", jobs, "--device", "reference", "--jobs", "1", "--json"}, args...), &bytes.Buffer{}, stderr)
	}
	var log bytes.Buffer
	want := call(context.Background(), &log, "--out", unbroken)
	if want != exitNoRepair && want != exitRepaired {
		t.Fatalf("exit code %d: %s", want, log.String())
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &cancelAfter{line: "1 of 3  first", cancel: cancel}
	if code := call(ctx, w, "--out", broken); code != exitError || !strings.Contains(w.String(), "with --resume goes on from there") {
		t.Fatalf("interrupted: exit code %d: %s", code, w.String())
	}
	if s := readSummary(t, broken); s.Waiting == 0 || s.Jobs[0].Outcome == jobWaiting {
		t.Fatalf("interrupted after the first job: %+v", s)
	}
	log.Reset()
	if code := call(context.Background(), &log, "--out", broken, "--resume"); code != want {
		t.Fatalf("resumed: exit code %d, unbroken %d: %s", code, want, log.String())
	}
	a, b := readSummary(t, unbroken), readSummary(t, broken)
	for i := range a.Jobs {
		a.Jobs[i].Seconds, b.Jobs[i].Seconds = 0, 0
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if !bytes.Equal(x, y) {
		t.Errorf("resumed\n%s\nunbroken\n%s", y, x)
	}
}

func readSummary(t *testing.T, folder string) (s batchSummary) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, fileSummary))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// lossy is a device whose executables are all lost at their first step.
type lossy struct {
	engine.Device
	compiled *atomic.Int32
}

func (d lossy) Compile(p *engine.Program) (engine.Executable, error) {
	d.compiled.Add(1)
	e, err := d.Device.Compile(p)
	return lossyExecutable{e}, err
}

type lossyExecutable struct{ engine.Executable }

func (lossyExecutable) Run(context.Context, engine.Schedule) (*engine.Result, error) {
	return nil, fmt.Errorf("lossy: %w", engine.ErrDeviceLost)
}

// TestAJobLosesTwoDevicesAtTheMost: one that may itself be the cause of the losses does not go on until nothing is left, and its journal holds nothing of
// them.
func TestAJobLosesTwoDevicesAtTheMost(t *testing.T) {
	demo, err := filepath.Abs(filepath.Join("..", "..", "testdata", "demo"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "jobs.yaml")
	text := "jobs: [{name: only, model: MODEL/model.onnx, recipe: MODEL/recipe.yaml, data: MODEL/../optdigits, technique: random, budget: 2t}]\n"
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "MODEL", demo)), 0o644); err != nil {
		t.Fatal(err)
	}
	jobs, err := readJobs(path)
	if err != nil {
		t.Fatal(err)
	}
	var compiled atomic.Int32
	var log bytes.Buffer
	b := &batch{out: dir, jobs: jobs, dev: lossy{reference.New(), &compiled}, queue: newQueue(0), show: &progress{w: &log}}
	if err := b.prepare(false); err != nil {
		t.Fatal(err)
	}
	if err := b.run(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r := b.results[0]
	if r.Outcome != jobFailed || !strings.Contains(r.Reason, "device lost") || !strings.Contains(r.Hint, "--resume") || len(r.Notes) != 1 ||
		!strings.Contains(log.String(), "tried again on what is left of reference") {
		t.Errorf("%+v\n%s", r, log.String())
	}
	if n := compiled.Load(); n != 4 { // each time for a look and for the first trial
		t.Errorf("%d programs were compiled", n)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "only", fileJournal))
	if err != nil || bytes.Count(raw, []byte("\n")) != 1 {
		t.Errorf("the journal (%v) holds more than its header:\n%s", err, raw)
	}
}
