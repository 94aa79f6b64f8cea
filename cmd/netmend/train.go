package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"netmend/repair"
	"netmend/train"
)

// trainReport is what `netmend train --json` prints.
type trainReport struct {
	Metric           train.Metric    `json:"metric"`
	Test             repair.Number   `json:"test"` // on the hold-out rows
	Search           repair.Number   `json:"search"`
	Outcome          train.Outcome   `json:"outcome"`
	Epochs           int             `json:"epochs"`
	Losses           []repair.Number `json:"losses"` // mean training loss of every epoch
	SamplesPerSecond repair.Number   `json:"samples_per_second"`
	Seconds          repair.Number   `json:"seconds"`
	Device           string          `json:"device"`
}

func trainCommand() *cli.Command {
	return &cli.Command{
		Name: "train", Usage: "train a model by its recipe and measure it on the hold-out rows", ArgsUsage: "MODEL.onnx",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "write the trained model to `FILE.onnx`"},
			&cli.Uint64Flag{Name: "seed", Usage: "seed of weights, order and dropout, in place of the recipe's"},
			deviceFlag, precisionFlag, jsonFlag}, subjectFlags...),
		Action: runTrain,
	}
}

func runTrain(c *cli.Context) error {
	s, err := readSubject(c)
	if err != nil {
		return err
	}
	if c.IsSet("seed") {
		s.Recipe.Seed = c.Uint64("seed")
	}
	dev, err := trainingDevice(c, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	t, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: dev})
	if err != nil {
		return err
	}
	defer t.Close()
	start := time.Now()
	quiet := c.Bool("json")
	if !quiet {
		fmt.Fprintf(c.App.Writer, "device %s\n", dev.Name())
	}
	var training time.Duration
	for t.EpochsDone() < s.Recipe.Epochs && t.Outcome() == "" {
		from := time.Now()
		if _, err := t.Fit(c.Context, t.EpochsDone()+1); err != nil {
			return err
		}
		training += time.Since(from)
		if e := t.Trace().Epochs; !quiet && len(e) > 0 {
			last := e[len(e)-1]
			fmt.Fprintf(c.App.Writer, "epoch %d/%d  loss %.4g  search %s %.4g\n", last.Number, s.Recipe.Epochs, last.Loss, s.Recipe.Metric, last.Score)
		}
	}
	return reportTraining(c, s, t, dev.Name(), training, time.Since(start))
}

func reportTraining(c *cli.Context, s repair.Subject, t *train.Trainer, device string, training, total time.Duration) error {
	test, err := t.Evaluate(c.Context, s.Data.Holdout)
	if err != nil {
		return err
	}
	search, err := t.Evaluate(c.Context, s.Data.Search)
	if err != nil {
		return err
	}
	r := trainReport{Metric: s.Recipe.Metric, Test: repair.Number(test.Score), Search: repair.Number(search.Score), Outcome: t.Outcome(), Epochs: t.EpochsDone(),
		Seconds: repair.Number(total.Seconds()), Device: device, SamplesPerSecond: repair.Number(float64(t.EpochsDone()*len(s.Data.Train)) / training.Seconds())}
	if r.Outcome == "" {
		r.Outcome = train.Completed
	}
	for _, e := range t.Trace().Epochs {
		r.Losses = append(r.Losses, repair.Number(e.Loss))
	}
	if path := c.String("out"); path != "" {
		m, err := t.Model()
		if err != nil {
			return err
		}
		if err := m.Write(path); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, r)
	}
	fmt.Fprintf(c.App.Writer, "%s after %d epochs: %s %.4g on the hold-out rows, %.0f samples/s\n", r.Outcome, r.Epochs, r.Metric, test.Score, r.SamplesPerSecond)
	if path := c.String("out"); path != "" {
		fmt.Fprintf(os.Stderr, "wrote %s\n", path)
	}
	return nil
}
