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
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/repair"
	"netmend/repair/study"
)

// The files of a batch: one in its folder, two in those of its jobs beside what repair writes.
const (
	fileSummary = "summary.json"
	fileJob     = "job.json"  // the options that the folder's journal was made with
	fileError   = "error.txt" // why the job failed the last time

	folderFallback = "cpu" // in a job's folder: what --fallback made of it
)

// jobsPerGPU are enough for a GPU to have work while the searchers think and metrics are computed. How many a GPU is fastest with, make gpu-check shows;
// it has not been seen on one.
const jobsPerGPU = 8

func batchCommand() *cli.Command {
	return &cli.Command{
		Name: "batch", Usage: "repair many models, several at a time", ArgsUsage: "JOBS.yaml",
		Description: "JOBS.yaml lists what `netmend repair` would be told, one entry per model; defaults hold for all. Paths start at the file's folder:\n\n" +
			"   defaults: {budget: 20x, split: 60:20:20}\n" +
			"   jobs:\n" +
			"     - {name: digits, model: digits/model.onnx, recipe: digits/recipe.yaml, data: digits.npz}\n" +
			"     - {model: eyes/model.onnx, recipe: eyes/recipe.yaml, data: eyes.npz, seed: 2, technique: random}\n\n" +
			"Keys are repair's flags; there are also limit, target, categorical, without, pairs and min-gain. Each job has the folder of its name in the output folder. A job that fails\n" +
			"does not stop the others; --resume tries it again. Trainings that do not fit into a GPU's memory beside others wait. A job whose GPU is lost goes on on another,\n" +
			"once. Exit codes: 0 all repaired, 3 some not, 1 some failed.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Value: "batch", Usage: "`FOLDER` for " + fileSummary + " and the jobs' folders"},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the batch in the output folder"},
			&cli.IntFlag{Name: "jobs", Usage: fmt.Sprintf("jobs at a time (0: one per core, or %d per GPU); each has its data in memory", jobsPerGPU)},
			&cli.IntFlag{Name: "threads", Usage: "threads of the cpu device per job (0: the cores divided by the jobs at a time); results depend on it to the last bits"},
			&cli.StringFlag{Name: "fallback", Usage: "`DEVICE`, cpu: a job whose GPU is lost, and that has no other, begins anew there, in the folder " + folderFallback + " of its own"},
			deviceFlag, precisionFlag, jsonFlag},
		Action: runBatch,
	}
}

// batch is a list of jobs at work.
type batch struct {
	out      string
	jobs     []job
	dev      engine.Device
	fallback engine.Device // nil: none
	queue    *queue
	results  []jobResult // by job
	mu       sync.Mutex  // of results and show
	show     *progress
}

func runBatch(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("batch takes one file of jobs, got %d arguments", c.NArg())
	}
	jobs, err := readJobs(c.Args().First())
	if err != nil {
		return err
	}
	b := &batch{out: c.String("out"), jobs: jobs, queue: newQueue(time.Second), show: newProgress(c, "")}
	at, err := b.open(c)
	if err != nil {
		return err
	}
	defer b.close()
	b.show.start(b.dev.Name())
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

// open opens the devices, which all jobs share, and says how many jobs to make at a time. A device that is not there is nobody's job.
func (b *batch) open(c *cli.Context) (at int, err error) {
	at, threads := c.Int("jobs"), c.Int("threads")
	if at < 0 || threads < 0 {
		return 0, usage("--jobs and --threads must not be negative")
	}
	_, gpu := gpuIndices(c.String("device"))
	switch fallback := c.String("fallback"); {
	case fallback != "" && fallback != "cpu":
		return 0, usage("--fallback %q is not known: cpu", fallback)
	case fallback != "" && !gpu:
		return 0, usage("--fallback goes with --device cuda: another device is not lost")
	}
	cores := at
	if cores == 0 {
		cores = runtime.NumCPU()
	}
	if cores = min(cores, len(b.jobs)); threads == 0 {
		threads = max(1, runtime.NumCPU()/cores)
	}
	if b.dev, err = trainingDevice(c, threads); err != nil {
		return 0, err
	}
	if c.String("fallback") != "" {
		if b.fallback, err = openDeviceWith("cpu", cpu.Options{Threads: threads}); err != nil {
			return 0, errors.Join(err, b.dev.Close())
		}
	}
	if n := gpusOf(b.dev.Name()); n > 0 && at == 0 {
		return min(n*jobsPerGPU, len(b.jobs)), nil
	}
	return cores, nil
}

func (b *batch) close() {
	b.dev.Close()
	if b.fallback != nil {
		b.fallback.Close()
	}
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
	before := make(map[string]jobResult)
	if resume {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var s batchSummary
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, r := range s.Jobs {
			before[r.Name] = r
		}
	}
	b.results = make([]jobResult, len(b.jobs))
	for i, j := range b.jobs {
		b.results[i] = jobResult{Name: j.Name, Outcome: jobWaiting, Devices: before[j.Name].Devices, Notes: before[j.Name].Notes}
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
	report, err := b.repair(ctx, i, folder)
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

// repair is what `netmend repair` does, into the job's folder, or what it has done there before. When its device is lost and another is left, the job goes
// on there with its journal. A second loss ends it, as the job itself may be the cause, which no driver tells: it would take one GPU after the other from
// the others.
func (b *batch) repair(ctx context.Context, i int, folder string) (report study.Report, err error) {
	j := b.jobs[i]
	if err := j.claim(folder); err != nil {
		return report, err
	}
	anew := filepath.Join(folder, folderFallback)
	for _, dir := range []string{folder, anew} {
		if raw, err := os.ReadFile(filepath.Join(dir, fileReport)); err == nil {
			return report, json.Unmarshal(raw, &report)
		}
	}
	cfg, err := j.config()
	if err != nil {
		return report, err
	}
	if cfg.Subject, err = j.read(); err != nil {
		return report, err
	}
	line := &progress{terminal: true, metric: cfg.Subject.Recipe.Metric}
	cfg.Progress = func(p study.Progress) { b.say(i, line.line(p), true) }
	if b.fallback == nil || !hasJournal(anew) {
		report, err = b.study(ctx, b.dev, i, cfg, folder)
		if lost(ctx, err) {
			b.note(i, fmt.Sprintf("%v; tried again on what is left of %s", err, b.dev.Name()))
			report, err = b.study(ctx, b.dev, i, cfg, folder)
		}
		if !lost(ctx, err) || b.fallback == nil {
			return report, err
		}
		b.note(i, fmt.Sprintf("%v; begun anew on %s: devices differ in the last bits, so that no journal has trainings of both", err, b.fallback.Name()))
	}
	return b.study(ctx, b.fallback, i, cfg, anew)
}

func lost(ctx context.Context, err error) bool {
	return errors.Is(err, engine.ErrDeviceLost) && ctx.Err() == nil
}

// study makes a job's study on a device, or goes on with the journal that is in the folder.
func (b *batch) study(ctx context.Context, dev engine.Device, i int, cfg study.Config, folder string) (study.Report, error) {
	on := placing{dev, func(name string) { b.place(i, name) }}
	cfg.Device = dev.Name()
	cfg.Start = b.queue.start(ctx, study.OnDevice(on), func(why error) { b.say(i, fmt.Sprintf("waits for memory: %v", why), false) })
	return repairOn(ctx, cfg, folder, hasJournal(folder), func() {})
}

func hasJournal(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, fileJournal))
	return err == nil
}

// place takes down that a job has been on a device.
func (b *batch) place(i int, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := &b.results[i]; !slices.Contains(r.Devices, name) {
		r.Devices = append(r.Devices, name)
	}
}

// note takes down, and says, what became of a job's device.
func (b *batch) note(i int, text string) {
	b.mu.Lock()
	b.results[i].Notes = append(b.results[i].Notes, text)
	b.mu.Unlock()
	b.say(i, text, false)
}

// say writes a line about a job; one that is passing is for terminals alone.
func (b *batch) say(i int, text string, passing bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !passing || b.show.terminal {
		b.show.show(fmt.Sprintf("%s: %s", b.jobs[i].Name, text))
	}
	if !passing {
		b.show.end()
	}
}

// finish keeps a job's result, in the summary's file too.
func (b *batch) finish(i int, r jobResult) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Devices, r.Notes = b.results[i].Devices, b.results[i].Notes
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
