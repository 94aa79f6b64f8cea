package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"netmend/data"
	"netmend/engine"
	"netmend/models"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// benchNetwork is one member of the reference set: a network with the recipe that it is trained by. scripts/bench_pytorch.py has the same.
type benchNetwork struct {
	name      string
	build     func(string) (*onnx.Model, error)
	optimizer string
	loss      string
	logits    bool // the graph ends without an activation
	batch     int
	rows      int // of the data set in memory: an epoch
}

// Losses of the set.
const (
	lossClasses = "sparse_categorical_crossentropy"
	lossBinary  = "binary_crossentropy"
	lossAngle   = "angle"
)

var benchNetworks = []benchNetwork{
	{"tiny", models.Reference, "adam", lossBinary, true, 32, 4096},
	{"mlp", models.Reference, "adam", lossClasses, true, 128, 8192},
	{"R", models.Build, "adam", lossClasses, false, 32, 1024},
	{"D4", models.Build, "sgd", lossClasses, false, 10, 10000},
	{"M", models.Build, "adadelta", lossClasses, false, 128, 2048},
	{"C", models.Build, "adam", lossClasses, false, 64, 2048},
	{"U", models.Build, "sgd", lossAngle, false, 128, 1024},
	{"resnet20", models.Reference, "sgd", lossClasses, true, 128, 1024},
	{"vgg11bn", models.Reference, "sgd", lossClasses, true, 128, 512},
	{"lstm", models.Reference, "adam", lossBinary, true, 64, 1024},
	{"transformer", models.Reference, "adam", lossClasses, true, 32, 1024},
}

// trainSpeed is the measured speed of one network's training steps.
type trainSpeed struct {
	Network          string        `json:"network"`
	Batch            int           `json:"batch"`
	Parameters       int64         `json:"parameters"`
	SamplesPerSecond repair.Number `json:"samples_per_second"`
	StepSeconds      repair.Number `json:"step_seconds"`     // by the clock
	StepCPUSeconds   repair.Number `json:"step_cpu_seconds"` // of the process on all cores, user and system
	GFLOPS           repair.Number `json:"gflops"`           // of matrix products and convolutions, per second
	CancelSeconds    repair.Number `json:"cancel_seconds"`   // longest of a few waits from a cancel to the return of a training
	PeakBytes        int64         `json:"peak_bytes"`       // largest resident set of the process so far: its own where it trains one network
	StartBytes       int64         `json:"start_bytes"`      // resident set of the process when the command began
}

// benchTrainReport is what `netmend bench train --json` prints.
type benchTrainReport struct {
	Device       string        `json:"device"`
	MatMulGFLOPS repair.Number `json:"matmul_gflops"` // of a product of two 1024 x 1024 matrices on this device
	Networks     []trainSpeed  `json:"networks"`
}

func benchTrainCommand() *cli.Command {
	return &cli.Command{
		Name: "train", Usage: "measure training steps of the reference networks on data in memory", ArgsUsage: "[NETWORK...]",
		Description: "Networks: " + strings.Join(benchNames(), ", ") + "; none means all.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "time", Value: 3 * time.Second, Usage: "train every network for so `LONG`, after a first epoch that does not count"},
			deviceFlag, precisionFlag, jsonFlag},
		Action: runBenchTrain,
	}
}

func benchNames() []string {
	var names []string
	for _, n := range benchNetworks {
		names = append(names, n.name)
	}
	return names
}

// benchNetworkNamed is a member of the reference set; the error is about the command's use.
func benchNetworkNamed(name string) (benchNetwork, error) {
	for _, n := range benchNetworks {
		if n.name == name {
			return n, nil
		}
	}
	return benchNetwork{}, usage("network %q is not in the reference set: one of %s", name, strings.Join(benchNames(), ", "))
}

func runBenchTrain(c *cli.Context) error {
	start := residentMemory()
	var chosen []benchNetwork
	for _, n := range benchNetworks {
		if c.NArg() == 0 || slices.Contains(c.Args().Slice(), n.name) {
			chosen = append(chosen, n)
		}
	}
	for _, name := range c.Args().Slice() {
		if _, err := benchNetworkNamed(name); err != nil {
			return err
		}
	}
	if c.Duration("time") <= 0 {
		return usage("--time %v is not positive", c.Duration("time"))
	}
	dev, err := trainingDevice(c, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	r := benchTrainReport{Device: dev.Name()}
	rate, err := matMulRate(c.Context, dev, 1024)
	if err != nil {
		return err
	}
	r.MatMulGFLOPS = repair.Number(rate / 1e9)
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', tabwriter.AlignRight)
	if !c.Bool("json") {
		fmt.Fprintf(c.App.Writer, "device %s, matrix products at %.1f GFLOP/s\n", r.Device, rate/1e9)
		fmt.Fprintln(w, "network\tbatch\tweights\tsamples/s\tms/step\tCPU ms/step\tGFLOP/s\tof the rate\tpeak MiB\tcancel ms\t")
	}
	for _, n := range chosen {
		s, err := n.measure(c.Context, dev, c.Duration("time"))
		if err != nil {
			return fmt.Errorf("bench train: network %q: %w", n.name, err)
		}
		s.StartBytes = start
		r.Networks = append(r.Networks, s)
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%.4g\t%.4g\t%.1f\t%.0f %%\t%d\t%.1f\t\n", s.Network, s.Batch, s.Parameters, s.SamplesPerSecond, 1e3*s.StepSeconds,
			1e3*s.StepCPUSeconds, s.GFLOPS, 100*s.GFLOPS/r.MatMulGFLOPS, s.PeakBytes>>20, 1e3*s.CancelSeconds)
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, r)
	}
	return w.Flush()
}

// trainer is the network with its recipe, ready to train on data of its own.
func (n benchNetwork) trainer(dev engine.Device) (*train.Trainer, error) {
	m, err := n.build(n.name)
	if err != nil {
		return nil, err
	}
	o, err := train.DefaultOptimizer(n.optimizer, train.PyTorch)
	if err != nil {
		return nil, err
	}
	o.LearningRate = 1e-3 // random labels: what counts is that nothing diverges
	r := train.Recipe{Semantics: train.PyTorch, Task: train.Classification, Optimizer: o, BatchSize: n.batch, Epochs: 1, Metric: train.Accuracy,
		Shuffle: true, Seed: 1, Loss: train.Loss{Name: n.loss, FromLogits: n.logits}}
	if n.loss == lossAngle {
		r.Task, r.Metric = train.Regression, train.Angle
	}
	d, err := n.data(m)
	if err != nil {
		return nil, err
	}
	return train.New(m, r, d, train.Options{Device: dev})
}

// measure trains whole epochs until the time is over. The steps are those of any training: batches gathered in a new order every epoch,
// forward, loss, backward, optimizer.
func (n benchNetwork) measure(ctx context.Context, dev engine.Device, long time.Duration) (trainSpeed, error) {
	t, err := n.trainer(dev)
	if err != nil {
		return trainSpeed{}, err
	}
	defer t.Close()
	if err := t.Epoch(ctx); err != nil { // pages are touched, caches filled
		return trainSpeed{}, err
	}
	steps, cpu, start := 0, processTime(), time.Now()
	for time.Since(start) < long {
		if err := t.Epoch(ctx); err != nil {
			return trainSpeed{}, err
		}
		if t.Outcome() != "" {
			return trainSpeed{}, fmt.Errorf("the training ended: %s", t.Outcome())
		}
		steps += t.StepsPerEpoch()
	}
	step := time.Since(start).Seconds() / float64(steps)
	s := trainSpeed{Network: n.name, Batch: n.batch, SamplesPerSecond: repair.Number(float64(n.batch) / step), StepSeconds: repair.Number(step),
		StepCPUSeconds: repair.Number((processTime() - cpu).Seconds() / float64(steps)), GFLOPS: repair.Number(t.StepMatrixFlops() / step / 1e9), PeakBytes: peakMemory()}
	wait, err := cancelWait(ctx, t, time.Duration(step*float64(time.Second)))
	if err != nil {
		return trainSpeed{}, err
	}
	s.CancelSeconds = repair.Number(wait.Seconds())
	m, err := n.build(n.name)
	if err != nil {
		return trainSpeed{}, err
	}
	params, err := train.Params(m, train.Recipe{}) // the recipe names no weights
	if err != nil {
		return trainSpeed{}, err
	}
	for _, w := range params {
		if w.Trained {
			s.Parameters += int64(engine.Len(w.Shape))
		}
	}
	return s, nil
}

// cancelWait is the longest of a few waits for a training to return that was cancelled at different places of a step.
func cancelWait(ctx context.Context, t *train.Trainer, step time.Duration) (time.Duration, error) {
	const times = 4
	longest := time.Duration(0)
	for i := range times {
		stopped, cancel := context.WithCancel(ctx)
		var at time.Time
		timer := time.AfterFunc(step*time.Duration(times+1+2*i)/(2*times), func() { at = time.Now(); cancel() })
		var err error
		for err == nil { // epochs may be shorter than that
			err = t.Epoch(stopped)
		}
		timer.Stop()
		if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			cancel()
			return 0, err
		}
		longest = max(longest, time.Since(at))
	}
	return longest, nil
}

// data makes rows of random inputs for a model, uniform in [0, 1) or random words, and random classes.
func (n benchNetwork) data(m *onnx.Model) (data.Splits, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	var d data.Splits
	for _, in := range m.Graph.DataInputs() {
		dims, ok := in.Type.Dims()
		if !ok {
			return d, fmt.Errorf("input %q has no shape", in.Name)
		}
		x := data.Array{Name: in.Name, Shape: []int{n.rows}}
		for _, k := range dims[1:] {
			x.Shape = append(x.Shape, int(k))
		}
		if size := n.rows * x.RowSize(); in.Type.Elem == onnx.Int64 { // words
			x.Int = make([]int32, size)
			for i := range x.Int {
				x.Int[i] = rng.Int32N(models.Vocabulary)
			}
		} else {
			x.Float = make([]float32, size)
			for i := range x.Float {
				x.Float[i] = rng.Float32()
			}
		}
		d.Set.Inputs = append(d.Set.Inputs, x)
	}
	out := m.Graph.Outputs[0]
	for i := range n.rows {
		d.Train = append(d.Train, int32(i))
	}
	dims, _ := out.Type.Dims()
	if n.loss == lossAngle {
		y := data.Array{Name: out.Name, Shape: []int{n.rows, int(dims[len(dims)-1])}}
		for range n.rows * y.RowSize() {
			y.Float = append(y.Float, rng.Float32())
		}
		d.Set.Targets = []data.Array{y}
		return d, nil
	}
	classes := int32(max(2, dims[len(dims)-1]))
	y := data.Array{Name: out.Name, Shape: []int{n.rows}, Int: make([]int32, n.rows)}
	for i := range n.rows {
		y.Int[i] = rng.Int32N(classes)
	}
	d.Set.Targets = []data.Array{y}
	return d, nil
}

// matMulRate is the best rate of a product of two n x n matrices on a device, in operations per second.
func matMulRate(ctx context.Context, dev engine.Device, n int) (float64, error) {
	const steps, tries = 4, 5
	p := engine.NewProgram(0)
	x, y := p.NewState("x", []int{n, n}), p.NewState("y", []int{n, n})
	b := p.NewFunc("product", 0)
	b.Output(b.Slice(b.MatMul(x, y, engine.None, false, false), []int{0, 0}, []int{1, 1}, []int{1, 1}))
	if b.Err() != nil {
		return 0, b.Err()
	}
	e, err := dev.Compile(p)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	v := make([]float32, n*n)
	for i := range v {
		v[i] = float32(i%31) / 31
	}
	for _, id := range []engine.TensorID{x, y} {
		if err := e.Load(id, v); err != nil {
			return 0, err
		}
	}
	best := 0.0
	for range tries {
		start := time.Now()
		if _, err := e.Run(ctx, engine.Schedule{Steps: steps}); err != nil {
			return 0, err
		}
		best = max(best, steps*p.MatrixFlops(b.Func())/time.Since(start).Seconds())
	}
	return best, nil
}
