// Package kernels holds the GPU kernels of netmend: their sources, and what scripts/kernels.py made of them.
package kernels

import "embed"

// Sources are the kernels and their headers, for the emulator and for the check that what is embedded was made from them.
//
//go:embed *.cu *.cuh *.h
var Sources embed.FS
