//go:build cgo && amd64

package cpu

var Use = use
