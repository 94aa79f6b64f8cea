//go:build linux && cgo

package cuda_test

import (
	"flag"
	"testing"

	"netmend/cuda"
	"netmend/cuda/emulator"
	"netmend/engine"
	"netmend/engine/devicetest"
)

var gpu = flag.Bool("cuda.gpu", false, "run the tests on the machine's GPU instead of the emulator")

// open makes the device: on the emulator with its settings, or on the machine's GPU.
func open(t testing.TB, o cuda.Options, settings string) engine.Device {
	t.Helper()
	if !*gpu {
		emulator.Use(t, settings)
	}
	dev, err := cuda.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

func TestDevice(t *testing.T) { devicetest.Run(t, open(t, cuda.Options{}, "")) }
