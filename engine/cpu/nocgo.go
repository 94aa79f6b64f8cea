//go:build !cgo || !amd64

package cpu

import (
	"errors"

	"netmend/engine"
)

// New fails: this build has no cgo, or is not for x86-64.
func New(Options) (engine.Device, error) {
	return nil, errors.New("cpu: the oneDNN device needs a build with cgo for x86-64; use the reference device")
}
