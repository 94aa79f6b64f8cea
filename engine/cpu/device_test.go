//go:build cgo

package cpu_test

import (
	"fmt"
	"testing"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/devicetest"
)

func open(t testing.TB, o cpu.Options) engine.Device {
	t.Helper()
	dev, err := cpu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func TestDevice(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("%d threads", threads), func(t *testing.T) { devicetest.Run(t, open(t, cpu.Options{Threads: threads})) })
	}
}
