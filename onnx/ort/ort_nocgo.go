//go:build !cgo

package ort

import (
	"errors"

	"netmend/onnx"
)

// errNoCgo is what every function of a build without cgo returns.
var errNoCgo = errors.New("ort: ONNX Runtime needs a build with cgo; build with CGO_ENABLED=1 and a C compiler")

// Session is a model loaded into ONNX Runtime; a build without cgo has none.
type Session struct {
	Inputs, Outputs []onnx.Value
}

// Open returns an error in a build without cgo.
func Open(string) error { return errNoCgo }

// Version returns "" in a build without cgo.
func Version() string { return "" }

// NewSession returns an error in a build without cgo.
func NewSession(*onnx.Model) (*Session, error) { return nil, errNoCgo }

// NewSessionFile returns an error in a build without cgo.
func NewSessionFile(string) (*Session, error) { return nil, errNoCgo }

// Run returns an error in a build without cgo.
func (*Session) Run(map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) { return nil, errNoCgo }

// Close does nothing in a build without cgo.
func (*Session) Close() error { return nil }
