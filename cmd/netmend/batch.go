package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/urfave/cli/v2"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/study"
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
