//go:build linux && cgo

package driver_test

import (
	"testing"

	"netmend/cuda/driver"
	"netmend/cuda/emulator"
)

func TestFill(t *testing.T) {
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
	s, err := x.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	m, err := x.Load([]byte("//"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := m.Function("fill")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(dev.Info, f)
	p, err := x.Alloc(4000)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Launch(f, driver.Dim{X: 3}, driver.Dim{X: 256}, 0, p, int64(1000), float32(2.5)); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 1000)
	if err := s.Download(driver.Bytes(got), p); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != 2.5 {
			t.Fatalf("%d: %v", i, v)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}
