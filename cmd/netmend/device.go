package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"netmend/cuda"
	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/reference"
)

var deviceFlag = &cli.StringFlag{Name: "device", Value: "auto",
	Usage: "`NAME`: auto, cpu, reference or cuda (cuda:1 is the second GPU; cuda:0,2 or cuda:all spread trainings over GPUs that are alike)"}

var precisionFlag = &cli.StringFlag{Name: "precision", Value: "float32",
	Usage: "`NAME`: float32, or bf16 (cpu, cuda) and tf32 (cuda), which round the factors of matrix products and convolutions"}

// trainingDevice opens the device that --device and --precision name, with so many threads per training (0: one per core). A precision that
// it does not have is refused.
func trainingDevice(c *cli.Context, threads int) (engine.Device, error) {
	name, precision := c.String("device"), c.String("precision")
	gpus, gpu := gpuIndices(name)
	has := slices.Contains(cpu.Precisions, precision)
	switch {
	case !has && !slices.Contains(cuda.Precisions, precision):
		return nil, usage("--precision %q is not known: one of %v", precision, slices.Compact(slices.Sorted(slices.Values(slices.Concat(cpu.Precisions, cuda.Precisions)))))
	case gpu:
		return openGPUs(gpus, cuda.Options{Precision: precision})
	case precision == "float32":
		return openDeviceWith(name, cpu.Options{Threads: threads})
	case !has:
		return nil, usage("--precision %s needs --device cuda", precision)
	case name != "auto" && name != "cpu":
		return nil, usage("--precision %s needs --device cpu or cuda", precision)
	}
	return cpu.New(cpu.Options{Threads: threads, Precision: precision})
}

// openDevice opens a device by name. auto is the processor: cuda has to be asked for as long as it was not seen to work on a GPU (docs/gpu.md).
// Whoever uses a device shows its own name.
func openDevice(name string) (engine.Device, error) { return openDeviceWith(name, cpu.Options{}) }

// openDeviceWith is openDevice with options for the cpu device.
func openDeviceWith(name string, o cpu.Options) (engine.Device, error) {
	if gpus, ok := gpuIndices(name); ok {
		return openGPUs(gpus, cuda.Options{})
	}
	switch name {
	case "reference":
		return reference.New(), nil
	case "cpu":
		dev, err := cpu.New(o)
		if err != nil {
			return nil, hinted(err, "--device reference works everywhere, slowly")
		}
		return dev, nil
	case "auto":
		if dev, err := cpu.New(o); err == nil {
			return dev, nil
		}
		return reference.New(), nil
	}
	return nil, usage("--device %q is not known: auto, cpu, reference, cuda, cuda:N, cuda:N,M or cuda:all", name)
}

func openGPUs(indices []int, o cuda.Options) (dev engine.Device, err error) {
	if len(indices) == 1 {
		o.Index = indices[0]
		dev, err = cuda.New(o)
	} else {
		dev, err = cuda.NewPool(indices, o)
	}
	if err != nil {
		return nil, hinted(err, "netmend devices lists what can train here; --device cpu needs no GPU")
	}
	return dev, nil
}

// gpuIndices reads "cuda", the first GPU, "cuda:N", "cuda:N,M" and "cuda:all", which has no indices.
func gpuIndices(name string) (indices []int, ok bool) {
	list, ok := strings.CutPrefix(name, "cuda:")
	switch {
	case !ok:
		return []int{0}, name == "cuda"
	case list == "all":
		return nil, true
	}
	for number := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return nil, false
		}
		indices = append(indices, int(n))
	}
	return indices, true
}
