package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/faults/bench/svg"
	"netmend/repair"
	"netmend/train"
)

// growthSample is what a process holds after so many steps.
type growthSample struct {
	Steps    int   `json:"steps"`
	Heap     int64 `json:"heap_bytes"`     // live objects of Go
	Resident int64 `json:"resident_bytes"` // of the process, the device's memory included
}

func benchGrowthCommand() *cli.Command {
	return &cli.Command{
		Name: "growth", Usage: "watch the memory of a long training of a reference network", ArgsUsage: "[NETWORK]",
		Description: "Prints the live heap and the resident set after every tenth of the steps and draws them. The heap holds the trace of the losses: 8 bytes a step.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "steps", Value: 10_000, Usage: "train for `N` steps"},
			&cli.StringFlag{Name: "plot", Usage: "draw a chart into `FILE`, an SVG image"},
			deviceFlag, precisionFlag, jsonFlag},
		Action: runBenchGrowth,
	}
}

// growthSamples is how many times the memory is looked at, behind the first epoch.
const growthSamples = 100

func runBenchGrowth(c *cli.Context) error {
	steps := c.Int("steps")
	if steps < growthSamples {
		return usage("--steps %d: at least %d", steps, growthSamples)
	}
	name := "D4"
	if c.NArg() > 0 {
		name = c.Args().First()
	}
	n, err := benchNetworkNamed(name)
	if err != nil {
		return err
	}
	dev, err := trainingDevice(c, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	t, err := n.trainer(dev)
	if err != nil {
		return fmt.Errorf("bench growth: network %q: %w", name, err)
	}
	defer t.Close()
	if err := t.Epoch(c.Context); err != nil { // pages are touched
		return err
	}
	samples := []growthSample{takeGrowth(0)}
	for i := range growthSamples {
		if err := advance(c.Context, t, steps*(i+1)/growthSamples-steps*i/growthSamples); err != nil {
			return fmt.Errorf("bench growth: network %q: %w", name, err)
		}
		samples = append(samples, takeGrowth(steps*(i+1)/growthSamples))
	}
	if file := c.String("plot"); file != "" {
		if err := repair.WriteFile(file, growthPlot(name, samples)); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, samples)
	}
	fmt.Fprintf(c.App.Writer, "device %s, network %s, batch %d\n", dev.Name(), name, n.batch)
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "steps\theap KiB\tresident KiB\t")
	for i := 0; i <= growthSamples; i += growthSamples / 10 {
		fmt.Fprintf(w, "%d\t%d\t%d\t\n", samples[i].Steps, samples[i].Heap>>10, samples[i].Resident>>10)
	}
	return w.Flush()
}

// advance trains for so many steps, over the ends of epochs.
func advance(ctx context.Context, t *train.Trainer, steps int) error {
	for end := len(t.Trace().Losses) + steps; len(t.Trace().Losses) < end; {
		if _, err := t.Advance(ctx, end-len(t.Trace().Losses)); err != nil {
			return err
		}
		if t.Outcome() != "" {
			return fmt.Errorf("the training ended: %s", t.Outcome())
		}
	}
	return nil
}

// takeGrowth collects the garbage and gives its pages back first: what the collector holds back would hide what leaks.
func takeGrowth(steps int) growthSample {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return growthSample{Steps: steps, Heap: int64(m.HeapAlloc), Resident: residentMemory()}
}

// growthPlot draws both sizes from 0 in mebibytes against the steps.
func growthPlot(network string, samples []growthSample) []byte {
	const width, height, lines = 760, 440, 4
	last := samples[len(samples)-1]
	most := 1.0
	for _, s := range samples {
		most = max(most, float64(max(s.Heap, s.Resident))/(1<<20))
	}
	c := svg.NewCanvas(width, height, fmt.Sprintf("Memory of a training of %d steps, network %s", last.Steps, network))
	x := svg.Scale{From: 0, To: float64(last.Steps), Start: svg.Left, End: width - svg.Right}
	y := svg.Scale{From: 0, To: most * 1.1, Start: height - svg.Bottom, End: svg.Top}
	c.Legend([]string{"resident set", "live heap"})
	for i := range lines + 1 {
		v := float64(i) / lines
		c.Line(x.Start, y.At(y.To*v), x.End, y.At(y.To*v), "#dddddd")
		c.Text(svg.Left-8, y.At(y.To*v)+4, "end", fmt.Sprintf("%.0f", y.To*v))
		c.Text(x.At(x.To*v), y.Start+18, "middle", fmt.Sprintf("%.0f", x.To*v))
	}
	c.Text((x.Start+x.End)/2, y.Start+38, "middle", "steps")
	middle := (y.Start + y.End) / 2
	c.Text(16, middle, "middle", "MiB", fmt.Sprintf(`transform="rotate(-90 16 %.1f)"`, middle))
	for i, value := range []func(growthSample) int64{func(s growthSample) int64 { return s.Resident }, func(s growthSample) int64 { return s.Heap }} {
		var points [][2]float64
		for _, s := range samples {
			points = append(points, [2]float64{x.At(float64(s.Steps)), y.At(float64(value(s)) / (1 << 20))})
		}
		c.Path(points, svg.Colour(i))
	}
	return c.Bytes()
}
