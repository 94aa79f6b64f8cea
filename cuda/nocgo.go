//go:build !(linux && cgo)

package cuda

import (
	"netmend/cuda/driver"
	"netmend/engine"
)

// New fails: this build has no way to the driver.
func New(Options) (engine.Device, error) {
	_, err := driver.Open()
	return nil, err
}

// MeasureCopies fails likewise.
func MeasureCopies(int) (Rates, error) {
	_, err := driver.Open()
	return Rates{}, err
}

// Libraries finds none in this build.
func Libraries() []Library { return nil }

// NewPool fails likewise.
func NewPool([]int, Options) (engine.Device, error) { return New(Options{}) }
