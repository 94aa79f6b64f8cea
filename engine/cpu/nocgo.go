//go:build !cgo

package cpu

import (
	"errors"

	"netmend/engine"
)

// New fails: this build has no cgo.
func New(Options) (engine.Device, error) {
	return nil, errors.New("cpu: this program was built without cgo, which the oneDNN device needs; use the reference device (engine/reference)")
}
