package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"netmend/faults"
	"netmend/faults/bench"
	"netmend/repair/study"
	"netmend/repair/technique"
	"netmend/train"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "repair the faults of the benchmark many times, and compare with the published results",
		Description: "Writes table.md, table.csv, runs.jsonl and plots into the output folder. A search is a run of its own, and a benchmark that was\n" +
			"interrupted goes on with --resume. With --healthy, searches start at subjects without a fault, and healthy.md and healthy.csv say which of\n" +
			"them are repaired all the same.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "faults", Value: "all", Usage: "`IDS` of faults, separated by commas; all: those published; large: those of larger networks, of which nothing is published"},
			&cli.StringFlag{Name: "technique", Value: "random", Usage: "`NAMES` of searchers, separated by commas: " + strings.Join(technique.Names(), ", ") + "; guided-IDEA is guided without one of " + ideaNames()},
			&cli.StringFlag{Name: "budget", Value: "20x", Usage: "what a search may spend, several separated by commas: `20x` the faulty training's cost, 30t trials, " +
				"or 20x-trials, as many as the published runs at 20x had"},
			&cli.IntFlag{Name: "repeats", Value: 10, Usage: "searches per fault, technique and budget"},
			&cli.IntFlag{Name: "trainings", Usage: "trainings of each faulty and fixed subject, which improvement ratios are measured by (0: as many as repeats)"},
			&cli.StringFlag{Name: "scale", Value: string(faults.LiteScale), Usage: "`SCALE`: paper or lite"},
			&cli.StringFlag{Name: "protocol", Value: string(faults.StrictProtocol), Usage: "`PROTOCOL`: published or strict"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "seed of everything"},
			&cli.BoolFlag{Name: "values", Usage: "train the faulty and fixed subjects alone, and compare them with the published values"},
			&cli.BoolFlag{Name: "healthy", Usage: "start at the fixed subjects, one for each network of the faults, and confirm what is repaired with new seeds, on rows that nothing has seen"},
			&cli.IntFlag{Name: "jobs", Usage: "runs at a time (0: one per core and thread); results do not depend on it"},
			&cli.IntFlag{Name: "threads", Value: 1, Usage: "threads of the cpu device per run; results depend on it to the last bits"},
			&cli.StringFlag{Name: "out", Value: "bench", Usage: "`FOLDER` for tables, plots and journals"},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the benchmark in the output folder"},
			rootFlag, deviceFlag, precisionFlag},
		Subcommands: []*cli.Command{benchTrainCommand(), benchGrowthCommand()},
		Action:      runBench,
	}
}

func runBench(c *cli.Context) error {
	cfg, err := benchConfig(c)
	if err != nil {
		return err
	}
	index := filepath.Join(cfg.Out, bench.IndexFile)
	_, err = os.Stat(index)
	switch {
	case cfg.Resume && err != nil:
		return hinted(fmt.Errorf("--resume: there is no %s", index), "leave --resume out to begin")
	case !cfg.Resume && err == nil:
		return hinted(fmt.Errorf("%s is there already: this folder holds another benchmark", index), "--resume goes on with it; another --out begins a new one")
	}
	show := newProgress(c, "")
	cfg.Progress = func(e bench.Event) {
		if line := benchLine(e, show.terminal); line != "" {
			show.show(line)
		}
	}
	if cfg.Healthy {
		return runHealthy(c, cfg, show)
	}
	results, err := bench.Run(c.Context, cfg)
	show.end()
	if err != nil {
		return resumable(err)
	}
	if err := results.Write(); err != nil {
		return err
	}
	for _, s := range results.Summaries() {
		fmt.Fprintf(c.App.Writer, "%s %s: %d of %d faults significant, mean IR %.2f\n", s.Technique, s.Budget, s.Significant, s.Faults, s.MeanIR)
	}
	fmt.Fprintf(c.App.Writer, "wrote %s\n", filepath.Join(cfg.Out, bench.TableFile))
	return nil
}

// runHealthy is the benchmark of subjects without a fault.
func runHealthy(c *cli.Context, cfg bench.Config, show *progress) error {
	results, err := bench.RunHealthy(c.Context, cfg)
	show.end()
	if err != nil {
		return resumable(err)
	}
	if err := results.Write(); err != nil {
		return err
	}
	for _, t := range cfg.Techniques {
		for _, b := range cfg.Budgets {
			n := results.Total(t, b)
			fmt.Fprintf(c.App.Writer, "%s %s: no repair in %d of %d runs; repairs: %d confirmed, %d not confirmed, %d refuted\n", t, b, n.NoRepair(), n.Runs(),
				n[bench.Confirmed], n[bench.NotConfirmed], n[bench.Refuted])
		}
	}
	fmt.Fprintf(c.App.Writer, "wrote %s\n", filepath.Join(cfg.Out, bench.HealthyFile))
	return nil
}

// benchConfig reads the flags.
func benchConfig(c *cli.Context) (bench.Config, error) {
	cfg := bench.Config{Repeats: c.Int("repeats"), Trainings: c.Int("trainings"), Scale: faults.Scale(c.String("scale")), Protocol: faults.Protocol(c.String("protocol")),
		Seed: c.Uint64("seed"), ValuesOnly: c.Bool("values"), Healthy: c.Bool("healthy"), Out: c.String("out"), Resume: c.Bool("resume"), Jobs: c.Int("jobs"),
		Processor: processTime}
	if c.NArg() > 0 {
		return cfg, usage("bench has no part %q", c.Args().First())
	}
	list, err := faults.Select(c.String("faults"))
	if err != nil {
		return cfg, usage("--faults: %v", err)
	}
	if cfg.Scale != faults.PaperScale && cfg.Scale != faults.LiteScale {
		return cfg, usage("--scale %q is not known: %s or %s", cfg.Scale, faults.PaperScale, faults.LiteScale)
	}
	if cfg.Protocol != faults.PublishedProtocol && cfg.Protocol != faults.StrictProtocol {
		return cfg, usage("--protocol %q is not known: %s or %s", cfg.Protocol, faults.PublishedProtocol, faults.StrictProtocol)
	}
	for _, name := range strings.Split(c.String("technique"), ",") {
		if _, _, err := technique.Parse(name); err != nil {
			return cfg, usage("--technique: %v", err)
		}
		if !slices.Contains(cfg.Techniques, name) {
			cfg.Techniques = append(cfg.Techniques, name)
		}
	}
	for _, s := range strings.Split(c.String("budget"), ",") {
		b, err := bench.ParseBudget(s)
		if err != nil {
			return cfg, usage("--budget: %v", err)
		}
		if !slices.Contains(cfg.Budgets, b) {
			cfg.Budgets = append(cfg.Budgets, b)
		}
	}
	threads := c.Int("threads")
	if cfg.Repeats < 1 || cfg.Jobs < 0 || threads < 1 {
		return cfg, usage("--repeats and --threads must be at least 1, and --jobs not negative")
	}
	switch {
	case cfg.Trainings == 0:
	case cfg.Trainings < cfg.Repeats:
		return cfg, usage("--trainings %d: at least as many as --repeats %d, each of which is compared with one", cfg.Trainings, cfg.Repeats)
	case cfg.Protocol == faults.PublishedProtocol || cfg.Healthy:
		return cfg, usage("--trainings needs --protocol strict, and does not go with --healthy")
	}
	if cfg.Jobs == 0 {
		cfg.Jobs = max(1, runtime.NumCPU()/threads)
	}
	cfg.Entries = bench.Entries(list, cfg.Scale, cfg.Protocol, c.String("root"), cfg.Seed)
	if cfg.Healthy {
		if cfg.Protocol != faults.StrictProtocol || cfg.ValuesOnly {
			return cfg, usage("--healthy needs --protocol %s, and does not go with --values", faults.StrictProtocol)
		}
		cfg.Entries = bench.HealthyEntries(list, cfg.Scale, c.String("root"), cfg.Seed)
	}
	jobs := newQueue(time.Second)
	cfg.Worker = func() (bench.Worker, error) {
		dev, err := trainingDevice(c, threads)
		if err != nil {
			return bench.Worker{}, err
		}
		return bench.Worker{Start: jobs.start(c.Context, study.OnDevice(dev), func(error) {}), Device: dev.Name(), Close: dev.Close}, nil
	}
	return cfg, nil
}

// benchLine says how far a benchmark is; elsewhere than on a terminal, finished runs alone have a line.
func benchLine(e bench.Event, terminal bool) string {
	head := fmt.Sprintf("run %d of %d  %s", min(e.Done+1, e.Total), e.Total, e.Run)
	switch {
	case e.Finished:
		return fmt.Sprintf("run %d of %d  %s done", e.Done, e.Total, e.Run)
	case !terminal || e.Study == nil:
		return ""
	}
	return head + "  " + (&progress{terminal: terminal, metric: train.Metric("score")}).line(*e.Study)
}
