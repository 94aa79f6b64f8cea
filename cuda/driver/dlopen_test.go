//go:build linux && cgo && !gorgonia

package driver

// ViaCu says that the driver is reached by gorgonia.org/cu.
const ViaCu = false
