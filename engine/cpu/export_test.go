//go:build cgo

package cpu

var Use = use
