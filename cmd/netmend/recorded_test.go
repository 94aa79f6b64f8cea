package main

import (
	"testing"

	"netmend/train/goldentest"
)

// The device that people train on gives every export's outputs, gradients and losses as recorded. It is skipped only where a build
// without cgo has no such device.
func TestTheCPUDeviceGivesTheExportsAsRecorded(t *testing.T) {
	dev, err := openDevice("cpu")
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	goldentest.Recorded(t, dev, "../..")
}
