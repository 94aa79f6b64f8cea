package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
)

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
	Devices  []string       `json:"devices,omitempty"` // that its trainings were on, in the order in which it came to them
	Notes    []string       `json:"notes,omitempty"`   // what became of them: one that was lost, and where the job went on
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
	fmt.Fprintln(t, "job\toutcome\tmetric\tfaulty\tpatched\tp\ttrials\tcost\tdevice\tpatch")
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
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.Name, r.Outcome, r.Metric, cell(r.Faulty), cell(r.Repaired), cell(r.P), r.Trials, cost, shortNames(r.Devices), words)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	s := b.summary()
	_, err := fmt.Fprintf(w, "%d repaired, %d without repair, %d failed, %d waiting; wrote %s\n", s.Repaired, s.NoRepair, s.Failed, s.Waiting, filepath.Join(b.out, fileSummary))
	return err
}

// shortNames are the devices of a job in short: "cuda:0,cuda:2".
func shortNames(devices []string) string {
	var short []string
	for _, d := range devices {
		head, _, _ := strings.Cut(d, " (")
		short = append(short, head)
	}
	if len(short) == 0 {
		return "-"
	}
	return strings.Join(short, ",")
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
