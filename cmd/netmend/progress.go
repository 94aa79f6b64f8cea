package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"netmend/repair/study"
	"netmend/train"
)

// progress shows how far a study is, on standard error: one line that is written over on a terminal, a line per event elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	metric   train.Metric
	width    int // of what stands on the line now
}

func newProgress(c *cli.Context, m train.Metric) *progress {
	p := &progress{w: c.App.ErrWriter, metric: m}
	if f, ok := p.w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			p.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return p
}

func (p *progress) start(device string) { fmt.Fprintf(p.w, "device %s\n", device) }

// end leaves the terminal's line.
func (p *progress) end() {
	if p.terminal && p.width > 0 {
		fmt.Fprintln(p.w)
		p.width = 0
	}
}

func (p *progress) step(s study.Progress) { p.show(p.line(s)) }

func (p *progress) show(line string) {
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	pad := max(0, p.width-len(line))
	fmt.Fprintf(p.w, "\r%s%*s", line, pad, "")
	p.width = len(line)
}

func (p *progress) line(s study.Progress) string {
	switch s.Phase {
	case study.Minimizing:
		return fmt.Sprintf("minimising the patch: training %d", s.Done)
	case study.Judging:
		return fmt.Sprintf("verdict: training %d of %d", s.Done, s.Of)
	}
	line := fmt.Sprintf("trial %d  best %s %s (faulty %s)  budget %.0f %%", s.Trials, p.metric, number(s.Best), number(s.Faulty), 100*s.Used)
	if s.Left > 0 {
		line += fmt.Sprintf("  %s left", s.Left.Round(time.Second))
	}
	if s.Replay {
		line += "  (from the journal)"
	}
	if s.Trial != nil && !p.terminal {
		line += fmt.Sprintf("  %s: %s -> %s", s.Trial.Why, s.Trial.Patch, s.Trial.State)
	}
	return line
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.4g", v)
}
