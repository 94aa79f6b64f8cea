//go:build linux && cgo

package emulator_test

import (
	"slices"
	"testing"

	"netmend/cuda/driver"
	"netmend/cuda/emulator"
	"netmend/cuda/kernels"
)

// TestKernelsAreTheGPUs: every compiled kernel is here, with parameters of the same sizes and the same greatest block, so that a launch that the emulator
// takes is one that the GPU's kernel was made for.
func TestKernelsAreTheGPUs(t *testing.T) {
	emulator.Use(t, "")
	drv, err := driver.Open()
	if err != nil {
		t.Fatal(err)
	}
	dev, err := drv.Device(0)
	if err != nil {
		t.Fatal(err)
	}
	x, err := dev.Context()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	target, err := kernels.Target(dev.Compute)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range kernels.Compiled().Kernels {
		image, err := kernels.Image(k.Module, target)
		if err != nil {
			t.Fatal(err)
		}
		m, err := x.Load(image)
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.Function(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if !slices.Equal(f.Params, k.Params) || f.MaxThreads != k.Threads {
			t.Errorf("kernel %s: parameters of %v bytes and %d threads here, of %v and %d on the GPU", name, f.Params, f.MaxThreads, k.Params, k.Threads)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSettings(t *testing.T) {
	emulator.Use(t, "memory=12345,devices=2")
	if _, err := driver.Open(); err != nil {
		t.Fatal(err)
	}
	emulator.Set(t, "devices", 1)
	if m, d := emulator.Get(t, "memory"), emulator.Get(t, "devices"); m != 12345 || d != 1 {
		t.Errorf("memory %d, %d devices", m, d)
	}
	t.Setenv("NETMEND_EMULATOR", "colour=3")
	if _, err := driver.Open(); err == nil {
		t.Error("an unknown setting is taken")
	}
}
