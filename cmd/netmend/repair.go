package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/repair/study"
	"netmend/repair/technique"
	"netmend/train"
)

// The files of an output folder.
const (
	fileModel   = "repaired.onnx"
	fileRecipe  = "recipe.yaml"
	filePatch   = "patch.json"
	fileReport  = "report.json"
	fileJournal = "journal.jsonl"
)

func repairCommand() *cli.Command {
	o := defaultRepair()
	return &cli.Command{
		Name: "repair", Usage: "find a patch that makes a faulty model better, and prove it on hold-out rows", ArgsUsage: "MODEL.onnx",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "technique", Value: o.Technique, Usage: "`NAME` of the searcher: " + strings.Join(technique.Names(), ", ")},
			&cli.StringSliceFlag{Name: "without", Usage: "`IDEAS` of guided that are left out, to see what they bring: " + ideaNames()},
			&cli.StringFlag{Name: "budget", Value: o.Budget, Usage: "what the search may spend: `20x` the faulty training's cost, 10m of time, or 30t trials"},
			&cli.Uint64Flag{Name: "seed", Value: o.Seed, Usage: "seed of the search and of the verdict's trainings"},
			&cli.IntFlag{Name: "pairs", Value: o.Pairs, Usage: "paired trainings, faulty and repaired, that the verdict may make"},
			&cli.Float64Flag{Name: "min-gain", Value: o.MinGain,
				Usage: "what a repair gains at least, as a `SHARE` of what the faulty model is better than one answer for all rows by; 0: anything that is proven"},
			&cli.IntFlag{Name: "parallel", Value: 1, Usage: "trainings at a time; the searches of guided and bohb depend on it, and a run goes on with the same"},
			&cli.IntFlag{Name: "threads", Usage: "threads of the cpu device per training (0: the cores divided by the trainings at a time); results depend on it to the last bits"},
			&cli.StringFlag{Name: "out", Value: "repair", Usage: "`FOLDER` for " + strings.Join([]string{fileModel, fileRecipe, filePatch, fileReport, fileJournal}, ", ")},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the journal in the output folder"},
			deviceFlag, precisionFlag, jsonFlag}, subjectFlags...),
		Action: runRepair,
	}
}

// repairOptions are a repair but for device and output folder.
type repairOptions struct {
	subjectFiles `yaml:",inline"`
	Technique    string
	Without      []string
	Budget       string
	Seed         uint64
	Pairs        int
	MinGain      float64 `yaml:"min-gain"`
	Parallel     int     `json:",omitempty"` // trainings at a time; zero: 1
}

// defaultRepair is what the flags say when they are left out.
func defaultRepair() repairOptions {
	return repairOptions{subjectFiles: subjectFiles{Split: defaultSplit}, Technique: "guided", Budget: "20x", Seed: 1, Pairs: study.DefaultSeeds,
		MinGain: study.DefaultMinGain}
}

func runRepair(c *cli.Context) error {
	o := repairOptions{Technique: c.String("technique"), Without: c.StringSlice("without"), Budget: c.String("budget"), Seed: c.Uint64("seed"), Pairs: c.Int("pairs"),
		MinGain: c.Float64("min-gain"), Parallel: c.Int("parallel")}
	cfg, err := o.config()
	if err != nil {
		return err
	}
	threads := c.Int("threads")
	switch {
	case o.Parallel < 1:
		return usage("--parallel %d must be at least 1", o.Parallel)
	case threads < 0:
		return usage("--threads must not be negative")
	case threads == 0:
		threads = o.threads()
	}
	dev, err := trainingDevice(c, threads)
	if err != nil {
		return err
	}
	defer dev.Close()
	if cfg.Subject, err = readSubject(c); err != nil {
		return err
	}
	show := newProgress(c, cfg.Subject.Recipe.Metric)
	cfg.Progress = show.step
	cfg.Start, cfg.Device = study.OnDevice(dev), dev.Name()
	report, err := repairOn(c.Context, cfg, c.String("out"), c.Bool("resume"), func() { show.start(dev.Name()) })
	show.end()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if err := writeJSON(c.App.Writer, report); err != nil {
			return err
		}
	} else {
		printReport(c, c.String("out"), report)
	}
	if report.Verdict != study.Repaired {
		return &failure{code: exitNoRepair}
	}
	return nil
}

// config is the study that the options ask for, without subject, device and journal.
func (o repairOptions) config() (study.Config, error) {
	budget, err := study.ParseBudget(o.Budget)
	if err != nil {
		return study.Config{}, usage("--budget: %v", err)
	}
	searcher, err := technique.Without(o.Technique, o.Without)
	if err != nil {
		return study.Config{}, usage("--technique: %v", err)
	}
	if o.Pairs < 1 {
		return study.Config{}, usage("--pairs %d must be at least 1", o.Pairs)
	}
	if o.Parallel < 0 {
		return study.Config{}, usage("--parallel %d must be at least 1", o.Parallel)
	}
	least := o.MinGain
	if !(least >= 0) || math.IsInf(least, 0) {
		return study.Config{}, usage("--min-gain %v must be a number from 0", o.MinGain)
	}
	if least == 0 {
		least = -1 // of a study: anything that is proven
	}
	return study.Config{Operators: operators.All(), Technique: searcher, Budget: budget, Seed: o.Seed, Seeds: o.Pairs, MinGain: least, Parallel: o.Parallel}, nil
}

// threads is how many a training on the cpu device has unless told otherwise: its share of the cores, or 0, one per core, where it is alone.
func (o repairOptions) threads() int {
	if o.Parallel <= 1 {
		return 0
	}
	return max(1, runtime.NumCPU()/o.Parallel)
}

// repairOn makes a study, with its journal and its results in the folder out. begun is called when it can begin.
func repairOn(ctx context.Context, cfg study.Config, out string, resume bool, begun func()) (study.Report, error) {
	if err := trainable(cfg.Subject, cfg.Start); err != nil {
		return study.Report{}, err
	}
	if err := prepareOut(out, resume); err != nil {
		return study.Report{}, err
	}
	begun()
	cfg.Journal, cfg.Resume = filepath.Join(out, fileJournal), resume
	report, err := study.Run(ctx, cfg)
	if err != nil {
		return report, resumable(err)
	}
	return report, writeRepair(out, report)
}

// ideaNames lists what --without takes.
func ideaNames() string {
	var names []string
	for _, x := range technique.Ideas() {
		names = append(names, string(x))
	}
	return strings.Join(names, ", ")
}

// trainable says what does not go together in a subject, before anything is written.
func trainable(s repair.Subject, start study.Start) error {
	t, err := start(s, train.Options{})
	if err != nil {
		return err
	}
	return t.Close()
}

// resumable adds to an interruption how to go on.
func resumable(err error) error {
	if errors.Is(err, study.ErrInterrupted) {
		return hinted(err, "the same command with --resume goes on from there")
	}
	return err
}

// prepareOut makes the output folder. A journal that is there belongs to another run, unless that is to be resumed.
func prepareOut(out string, resume bool) error {
	journal := filepath.Join(out, fileJournal)
	_, err := os.Stat(journal)
	switch {
	case resume && err != nil:
		return hinted(fmt.Errorf("--resume: there is no journal %s", journal), "leave --resume out to begin")
	case !resume && err == nil:
		return hinted(fmt.Errorf("%s is there already: this folder holds another run", journal), "--resume goes on with it; another --out begins a new one")
	}
	return os.MkdirAll(out, 0o755)
}

// writeRepair writes what a study found. The report comes behind the files that it vouches for, and before what a run that was asked for less has left, and
// it does not vouch for, is removed.
func writeRepair(out string, r study.Report) error {
	if r.Verdict == study.Repaired {
		if err := writeRepaired(out, r); err != nil {
			return err
		}
	}
	var sb strings.Builder
	if err := writeJSON(&sb, r); err != nil {
		return err
	}
	if err := repair.WriteFile(filepath.Join(out, fileReport), []byte(sb.String())); err != nil || r.Verdict == study.Repaired {
		return err
	}
	for _, name := range []string{fileModel, fileRecipe, filePatch} {
		if err := os.Remove(filepath.Join(out, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// writeRepaired writes the model, the recipe and the patch of a repair.
func writeRepaired(out string, r study.Report) error {
	recipe, err := r.Recipe.Marshal()
	if err != nil {
		return err
	}
	patch, err := r.Patch.Marshal()
	if err != nil {
		return err
	}
	m := r.Model.Clone()
	m.SetMeta(repair.MetaRecipe, string(recipe))
	m.SetMeta(repair.MetaPatch, string(patch))
	if err := onnx.Check(m); err != nil {
		return err
	}
	if err := m.Write(filepath.Join(out, fileModel)); err != nil {
		return err
	}
	if err := repair.WriteFile(filepath.Join(out, fileRecipe), recipe); err != nil {
		return err
	}
	return repair.WriteFile(filepath.Join(out, filePatch), patch)
}

func printReport(c *cli.Context, out string, r study.Report) {
	w := c.App.Writer
	if r.Verdict == study.Repaired {
		fmt.Fprintf(w, "repaired: %s on hold-out rows %.4g -> %.4g (p = %.3g over %d pairs of seeds, %.2g over rows, A12 = %.2f)\n", r.Metric,
			float64(r.Faulty.Mean), float64(r.Repaired.Mean), float64(r.P), len(r.Seeds), float64(r.Rows.P), float64(r.A12))
	} else {
		fmt.Fprintf(w, "no repair: %s (%s on hold-out rows: faulty %.4g, best patch %.4g)\n", r.Reason, r.Metric, float64(r.Faulty.Mean), float64(r.Repaired.Mean))
	}
	for _, line := range r.Words {
		fmt.Fprintf(w, "  %s\n", line)
	}
	for _, line := range fineprint(r) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "%d trials for %.1f faulty trainings, %.0f s in all, on %s\n", r.Trials, float64(r.CostX), r.Seconds, r.Device)
	if r.Verdict == study.Repaired {
		fmt.Fprintf(w, "wrote %s\n", filepath.Join(out, fileModel))
	}
}

// fineprint says what the p-values of a report are worth.
func fineprint(r study.Report) (lines []string) {
	if k := r.Constant; k != nil {
		line := fmt.Sprintf("one answer for all rows has %s %.4g", r.Metric, float64(k.Score))
		switch {
		case k.P != nil:
			line += fmt.Sprintf("; that the patch is better: p = %.3g over seeds, %.2g over rows", float64(*k.P), float64(k.Rows.P))
		case r.Metric.Better(float64(r.Faulty.Mean), float64(k.Score)):
			line += "; the faulty model is better than that"
		}
		lines = append(lines, line)
	}
	if r.Small {
		lines = append(lines, "the same command with --resume --min-gain 0 takes the patch all the same")
	}
	if len(r.Patch) > 0 {
		lines = append(lines, fmt.Sprintf("one patch was tested on the hold-out rows, once: no correction for the %d trials, which never saw them; "+
			"another run on the same rows is another test", r.Trials))
	}
	return lines
}
