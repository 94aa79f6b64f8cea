package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
)

// The files of a batch: one in its folder, two in those of its jobs beside what repair writes.
const (
	fileSummary = "summary.json"
	fileJob     = "job.json"  // the options that the folder's journal was made with
	fileError   = "error.txt" // why the job failed the last time
)

func batchCommand() *cli.Command {
	return &cli.Command{
		Name: "batch", Usage: "repair many models, several at a time", ArgsUsage: "JOBS.yaml",
		Description: "JOBS.yaml lists what `netmend repair` would be told, one entry per model; defaults hold for all. Paths start at the file's folder:\n\n" +
			"   defaults: {budget: 20x, split: 60:20:20}\n" +
			"   jobs:\n" +
			"     - {name: digits, model: digits/model.onnx, recipe: digits/recipe.yaml, data: digits.npz}\n" +
			"     - {model: eyes/model.onnx, recipe: eyes/recipe.yaml, data: eyes.npz, seed: 2, technique: random}\n\n" +
			"Keys are repair's flags; there are also limit, target, categorical, without and pairs. Each job has the folder of its name in the output folder. A job that fails\n" +
			"does not stop the others; --resume tries it again. Exit codes: 0 all repaired, 3 some not, 1 some failed.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Value: "batch", Usage: "`FOLDER` for " + fileSummary + " and the jobs' folders"},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the batch in the output folder"},
			&cli.IntFlag{Name: "jobs", Usage: "jobs at a time (0: one per core); each has its data and training in memory"},
			&cli.IntFlag{Name: "threads", Usage: "threads of the cpu device per job (0: the cores divided by the jobs at a time); results depend on it to the last bits"},
			deviceFlag, precisionFlag, jsonFlag},
		Action: runBatch,
	}
}

// job is an entry of the jobs file.
type job struct {
	Name          string `json:"name"`
	repairOptions `yaml:",inline"`
}

// outcome is what became of a job.
type outcome string

// The outcomes; the first two are the study's verdicts.
const (
	jobRepaired = outcome(study.Repaired)
	jobNoRepair = outcome(study.NoRepair)
	jobFailed   = outcome("error")
	jobWaiting  = outcome("waiting") // not begun, or interrupted
)

// jobResult is a job's line of the summary.
type jobResult struct {
	Name     string         `json:"name"`
	Outcome  outcome        `json:"outcome"`
	Metric   train.Metric   `json:"metric,omitempty"`
	Faulty   *repair.Number `json:"faulty,omitempty"`   // mean on the hold-out rows
	Repaired *repair.Number `json:"repaired,omitempty"` // of the best patch, proven or not; absent without one
	P        *repair.Number `json:"p,omitempty"`        // study.Report.Claim
	Words    []string       `json:"words,omitempty"`    // the patch in English
	Trials   int            `json:"trials,omitempty"`
	CostX    *repair.Number `json:"cost_x,omitempty"` // of the search, in trainings of the faulty subject
	Seconds  float64        `json:"seconds,omitempty"`
	Reason   string         `json:"reason,omitempty"` // of the verdict, or of the failure
	Hint     string         `json:"hint,omitempty"`
}

// batch is a list of jobs at work.
type batch struct {
	out     string
	jobs    []job
	open    func() (engine.Device, error)
	results []jobResult // by job
	mu      sync.Mutex  // of results and show
	show    *progress
}

func runBatch(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("batch takes one file of jobs, got %d arguments", c.NArg())
	}
	jobs, err := readJobs(c.Args().First())
	if err != nil {
		return err
	}
	at, threads := c.Int("jobs"), c.Int("threads")
	if at < 0 || threads < 0 {
		return usage("--jobs and --threads must not be negative")
	}
	if at == 0 {
		at = runtime.NumCPU()
	}
	if at = min(at, len(jobs)); threads == 0 {
		threads = max(1, runtime.NumCPU()/at)
	}
	b := &batch{out: c.String("out"), jobs: jobs, show: newProgress(c, ""), open: func() (engine.Device, error) { return trainingDevice(c, threads) }}
	first, err := b.open() // a device that is not there is nobody's job
	if err != nil {
		return err
	}
	b.show.start(first.Name())
	first.Close()
	if err := b.prepare(c.Bool("resume")); err != nil {
		return err
	}
	err = b.run(c.Context, at)
	b.show.end()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, b.summary())
	} else {
		err = b.table(c.App.Writer)
	}
	if err != nil {
		return err
	}
	return b.verdict(c.Context)
}

// readJobs reads and checks a file of jobs. What a job's own files hold is not looked at yet.
func readJobs(path string) ([]job, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var strict struct {
		Defaults job
		Jobs     []job
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&strict); err != nil && !errors.Is(err, io.EOF) {
		return nil, &failure{err: fmt.Errorf("%s: %w", path, err), hint: "`netmend batch --help` shows such a file", code: exitUsage}
	}
	if len(strict.Jobs) == 0 {
		return nil, &failure{err: fmt.Errorf("%s: there are no jobs", path), hint: "`netmend batch --help` shows such a file", code: exitUsage}
	}
	var file struct { // the same once more: a job is read over the defaults
		Defaults yaml.Node
		Jobs     []yaml.Node
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	taken := map[string]bool{}
	jobs := make([]job, len(file.Jobs))
	for i := range jobs {
		j := job{repairOptions: defaultRepair()}
		for _, n := range []*yaml.Node{&file.Defaults, &file.Jobs[i]} {
			if n.IsZero() {
				continue
			}
			if err := n.Decode(&j); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		if err := j.complete(filepath.Dir(path)); err != nil {
			var f *failure
			if errors.As(err, &f) {
				f.err = fmt.Errorf("%s: job %d: %w", path, i+1, f.err)
			}
			return nil, err
		}
		if taken[j.Name] {
			return nil, usage("%s: there are two jobs %q: give them names", path, j.Name)
		}
		taken[j.Name] = true
		jobs[i] = j
	}
	return jobs, nil
}

// complete checks a job, names it after its model where it has no name, and leads its paths from the folder of the jobs file.
func (j *job) complete(folder string) error {
	if j.Model == "" {
		return usage("it has no model")
	}
	if err := j.subjectFiles.check(); err != nil {
		return err
	}
	if _, err := j.config(); err != nil {
		return err
	}
	for _, p := range []*string{&j.Model, &j.Recipe, &j.Data} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	if j.Name == "" {
		j.Name = strings.TrimSuffix(filepath.Base(j.Model), filepath.Ext(j.Model))
		if j.Name == "model" { // as the export scripts call every one
			j.Name = filepath.Base(filepath.Dir(j.Model))
		}
	}
	if j.Name != filepath.Base(j.Name) || !filepath.IsLocal(j.Name) || j.Name == "." || j.Name == fileSummary {
		return usage("its name %q cannot name a folder", j.Name)
	}
	return nil
}

// prepare makes the output folder, or finds there what is done already.
func (b *batch) prepare(resume bool) error {
	path := filepath.Join(b.out, fileSummary)
	_, err := os.Stat(path)
	switch {
	case resume && err != nil:
		return hinted(fmt.Errorf("--resume: there is no %s", path), "leave --resume out to begin")
	case !resume && err == nil:
		return hinted(fmt.Errorf("%s is there already: this folder holds another batch", path), "--resume goes on with it; another --out begins a new one")
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	b.results = make([]jobResult, len(b.jobs))
	for i, j := range b.jobs {
		b.results[i] = jobResult{Name: j.Name, Outcome: jobWaiting}
	}
	return b.write()
}

// run makes the jobs, so many at a time, in the order of the file. Its error is one of the output folder alone.
func (b *batch) run(ctx context.Context, at int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan int)
	var wait sync.WaitGroup
	for range at {
		wait.Go(func() {
			for i := range queue {
				if err := b.finish(i, b.try(ctx, i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range b.jobs {
		select {
		case queue <- i:
		case <-ctx.Done():
		}
	}
	close(queue)
	wait.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// try makes a job. A failure, even one of netmend itself, is a result.
func (b *batch) try(ctx context.Context, i int) (r jobResult) {
	j := b.jobs[i]
	folder := filepath.Join(b.out, j.Name)
	r = jobResult{Name: j.Name, Outcome: jobFailed}
	defer func() {
		var trace []byte
		if x := recover(); x != nil {
			r.Reason, trace = fmt.Sprintf("internal error: %v", x), debug.Stack()
		}
		why := filepath.Join(folder, fileError)
		if r.Outcome != jobFailed {
			os.Remove(why) // of an earlier try
		} else if os.MkdirAll(folder, 0o755) == nil {
			if err := repair.WriteFile(why, fmt.Appendf(nil, "%s\n%s\n%s", r.Reason, r.Hint, trace)); err != nil {
				r.Reason += "; " + err.Error()
			}
		}
	}()
	report, err := b.repair(ctx, j, folder)
	switch {
	case err == nil:
		r = reported(j.Name, report)
	case ctx.Err() != nil:
		r.Outcome = jobWaiting
	default:
		r.Reason = err.Error()
		var f *failure
		if errors.As(err, &f) {
			r.Hint = f.hint
		}
	}
	return r
}

// repair is what `netmend repair` does, into the job's folder, or what it has done there before.
func (b *batch) repair(ctx context.Context, j job, folder string) (report study.Report, err error) {
	resume, err := j.claim(folder)
	if err != nil {
		return report, err
	}
	if raw, err := os.ReadFile(filepath.Join(folder, fileReport)); err == nil {
		return report, json.Unmarshal(raw, &report)
	}
	cfg, err := j.config()
	if err != nil {
		return report, err
	}
	dev, err := b.open()
	if err != nil {
		return report, err
	}
	defer dev.Close()
	if cfg.Subject, err = j.read(); err != nil {
		return report, err
	}
	cfg.Progress = func(p study.Progress) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.show.terminal {
			b.show.show(fmt.Sprintf("%s: %s", j.Name, (&progress{terminal: true, metric: cfg.Subject.Recipe.Metric}).line(p)))
		}
	}
	return repairOn(ctx, dev, cfg, folder, resume, func() {})
}

// claim says whether the job's folder holds a journal to go on with. One of other options is refused.
func (j job) claim(folder string) (resume bool, err error) {
	raw, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return false, err
	}
	path := filepath.Join(folder, fileJob)
	if old, err := os.ReadFile(path); err == nil {
		var was job
		if err := json.Unmarshal(old, &was); err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
		if !reflect.DeepEqual(was, j) {
			return false, hinted(fmt.Errorf("%s: the job has been changed since it was begun", path), "give it another name, or remove its folder to begin anew")
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return false, err
	} else if err := os.MkdirAll(folder, 0o755); err != nil {
		return false, err
	} else if err := repair.WriteFile(path, append(raw, '\n')); err != nil {
		return false, err
	}
	_, err = os.Stat(filepath.Join(folder, fileJournal))
	return err == nil, nil
}

func reported(name string, r study.Report) jobResult {
	x := jobResult{Name: name, Outcome: outcome(r.Verdict), Metric: r.Metric, Faulty: &r.Faulty.Mean, Words: r.Words, Trials: r.Trials,
		CostX: &r.CostX, Seconds: r.Seconds, Reason: r.Reason}
	if len(r.Patch) > 0 {
		p := repair.Number(r.Claim())
		x.Repaired, x.P = &r.Repaired.Mean, &p
	}
	return x
}

// finish keeps a job's result, in the summary's file too.
func (b *batch) finish(i int, r jobResult) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.results[i] = r
	done := 0
	for _, x := range b.results {
		if x.Outcome != jobWaiting {
			done++
		}
	}
	if r.Outcome != jobWaiting {
		line := fmt.Sprintf("%d of %d  %s: %s", done, len(b.results), r.Name, r.Outcome)
		if r.Outcome == jobFailed {
			line += ": " + r.Reason
		}
		b.show.show(line)
		b.show.end()
	}
	return b.write()
}

// batchSummary is the summary's file and what --json prints.
type batchSummary struct {
	Repaired int         `json:"repaired"`
	NoRepair int         `json:"no_repair"`
	Failed   int         `json:"error"`
	Waiting  int         `json:"waiting"`
	Jobs     []jobResult `json:"jobs"`
}

func (b *batch) summary() batchSummary {
	s := batchSummary{Jobs: b.results}
	for _, r := range b.results {
		switch r.Outcome {
		case jobRepaired:
			s.Repaired++
		case jobNoRepair:
			s.NoRepair++
		case jobFailed:
			s.Failed++
		case jobWaiting:
			s.Waiting++
		}
	}
	return s
}

func (b *batch) write() error {
	var sb strings.Builder
	if err := writeJSON(&sb, b.summary()); err != nil {
		return err
	}
	return repair.WriteFile(filepath.Join(b.out, fileSummary), []byte(sb.String()))
}

func (b *batch) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "job\toutcome\tmetric\tfaulty\tpatched\tp\ttrials\tcost\tpatch")
	cell := func(n *repair.Number) string {
		if n == nil {
			return "-"
		}
		return number(float64(*n))
	}
	for _, r := range b.results {
		cost, words := cell(r.CostX), strings.Join(r.Words, "; ")
		if r.CostX != nil {
			cost += "x"
		}
		if r.Outcome == jobFailed {
			words = r.Reason
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.Name, r.Outcome, r.Metric, cell(r.Faulty), cell(r.Repaired), cell(r.P), r.Trials, cost, words)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	s := b.summary()
	_, err := fmt.Fprintf(w, "%d repaired, %d without repair, %d failed, %d waiting; wrote %s\n", s.Repaired, s.NoRepair, s.Failed, s.Waiting, filepath.Join(b.out, fileSummary))
	return err
}

// verdict is the command's outcome.
func (b *batch) verdict(ctx context.Context) error {
	s := b.summary()
	switch {
	case s.Waiting > 0:
		return resumable(fmt.Errorf("batch: %w: %w: %d of %d jobs are finished", study.ErrInterrupted, context.Cause(ctx), len(s.Jobs)-s.Waiting, len(s.Jobs)))
	case s.Failed > 0:
		return hinted(fmt.Errorf("batch: %d of %d jobs failed", s.Failed, len(s.Jobs)), "their folders hold "+fileError+"; --resume tries them again")
	case s.NoRepair > 0:
		return &failure{code: exitNoRepair}
	}
	return nil
}
