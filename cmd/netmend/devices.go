package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/cuda"
	"netmend/cuda/driver"
	"netmend/cuda/kernels"
	"netmend/engine"
	"netmend/engine/cpu"
)

func devicesCommand() *cli.Command {
	return &cli.Command{Name: "devices", Usage: "list the devices that can train here",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "measure", Usage: "measure matrix products of the cpu device and the GPUs, and copies to, from and within GPUs (some seconds)"}},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usage("devices takes no arguments")
			}
			w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
			for _, name := range []string{"cpu", "reference"} {
				dev, err := openDevice(name)
				if err != nil {
					fmt.Fprintf(w, "%s\tnot here: %v\n", name, err)
					continue
				}
				fmt.Fprintf(w, "%s\t%s\n", name, dev.Name())
				dev.Close()
				if c.Bool("measure") && name == "cpu" {
					fmt.Fprintf(w, "\t%s\n", products(c.Context, cpu.Precisions, func(p string) (engine.Device, error) { return cpu.New(cpu.Options{Precision: p}) }))
				}
			}
			listGPUs(c, w)
			return w.Flush()
		}}
}

// listGPUs writes a line for every GPU, or one that says why there is none, and what of NVIDIA's libraries is there.
func listGPUs(c *cli.Context, w io.Writer) {
	var infos []driver.Info
	drv, err := driver.Open()
	if err == nil {
		infos, err = drv.Devices()
	}
	if err != nil {
		fmt.Fprintf(w, "cuda\tnot here: %v\n", err)
		return
	}
	for _, i := range infos {
		state, usable := "", false
		if free, err := drv.FreeMemory(i.Index); err != nil {
			state = fmt.Sprintf("not usable: %v", err)
		} else if _, err := kernels.Target(i.Compute); err != nil {
			state = fmt.Sprintf("not usable: %v", err)
		} else {
			state, usable = fmt.Sprintf("%.1f GiB free", float64(free)/(1<<30)), true
		}
		fmt.Fprintf(w, "cuda:%d\t%v, %s\n", i.Index, i, state)
		if usable && c.Bool("measure") {
			open := func(p string) (engine.Device, error) { return cuda.New(cuda.Options{Index: i.Index, Precision: p}) }
			fmt.Fprintf(w, "\t%s\n\t%s\n", products(c.Context, cuda.Precisions, open), copies(i.Index))
		}
	}
	var found []string
	for _, l := range cuda.Libraries() {
		if l.File == "" {
			found = append(found, l.Name+" is missing")
		} else {
			found = append(found, fmt.Sprintf("%s %d (%s)", l.Name, l.Version, l.File))
		}
	}
	fmt.Fprintf(w, "\tlibraries, which netmend does without: %s\n", strings.Join(found, ", "))
}

// products are the rates of matrix products in all precisions that a device has.
func products(ctx context.Context, precisions []string, open func(precision string) (engine.Device, error)) string {
	var rates []string
	for _, p := range precisions {
		dev, err := open(p)
		if err != nil {
			continue // it has no such kernels
		}
		rate, n, err := productRate(ctx, dev)
		if err := errors.Join(err, dev.Close()); err != nil {
			rates = append(rates, fmt.Sprintf("%s: %v", p, err))
			continue
		}
		rates = append(rates, fmt.Sprintf("%s %.4g TFLOP/s (%d x %d)", p, rate/1e12, n, n))
	}
	return "matrix products: " + strings.Join(rates, ", ")
}

// The sizes of the matrices that are multiplied: doubled from the least until a product takes productSeconds.
const (
	leastProduct   = 256
	mostProduct    = 8192
	productSeconds = 10e-3
)

// productRate is the rate of products of n x n matrices, in operations per second, with n as large as a short measurement allows.
func productRate(ctx context.Context, dev engine.Device) (rate float64, n int, err error) {
	for n = leastProduct; ; n *= 2 {
		if rate, err = matMulRate(ctx, dev, n); err != nil {
			return 0, 0, err
		}
		if size := float64(n); n == mostProduct || 2*size*size*size/rate >= productSeconds {
			return rate, n, nil
		}
	}
}

func copies(index int) string {
	r, err := cuda.MeasureCopies(index)
	if err != nil {
		return fmt.Sprintf("copies: %v", err)
	}
	return fmt.Sprintf("copies: %.4g GB/s to the GPU, %.4g GB/s from it, %.4g GB/s within it", r.ToDevice/1e9, r.FromDevice/1e9, r.Within/1e9)
}
