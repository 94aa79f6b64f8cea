package main

import (
	"testing"

	"netmend/cuda"
	"netmend/cuda/emulator"
	"netmend/train/goldentest"
)

// The device that people train on follows PyTorch's and Keras's recorded trainings within the tolerance. It is skipped only where a build
// without cgo has no such device.
func TestTheCPUDeviceFollowsTheFrameworks(t *testing.T) {
	dev, err := openDevice("cpu")
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	for _, framework := range []string{"pytorch", "keras"} {
		goldentest.Run(t, dev, "../..", framework, 1)
	}
}

// So do the kernels for GPUs, run by the emulator, which has time for one recording of 18.
func TestTheCUDAKernelsFollowTheFrameworks(t *testing.T) {
	emulator.Use(t, "")
	dev, err := cuda.New(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, framework := range []string{"pytorch", "keras"} {
		goldentest.Run(t, dev, "../..", framework, 18)
	}
}
