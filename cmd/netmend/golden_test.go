package main

import (
	"testing"

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
