//go:build !(linux && cgo)

package driver

import "fmt"

// Driver is never made in this build.
type Driver struct{}

// Open fails: without cgo, or outside Linux, there is no way to the driver.
func Open() (*Driver, error) {
	return nil, fmt.Errorf("cuda: %w: it needs Linux and a build with cgo", ErrNotBuilt)
}

// Devices lists nothing.
func (d *Driver) Devices() ([]Info, error) { return nil, ErrNotBuilt }

// FreeMemory knows of none.
func (d *Driver) FreeMemory(int) (int64, error) { return 0, ErrNotBuilt }
