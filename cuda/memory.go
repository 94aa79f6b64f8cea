//go:build linux && cgo

package cuda

import (
	"netmend/cuda/driver"
	"netmend/engine"
)

// buffer is a stretch of device memory that launches read and write: 32-bit words. Every buffer begins at a multiple of alignment and ends at one, so
// that kernels may read and write four words at once up to the end.
type buffer struct {
	engine.Span                // in the arena, or in the permanent memory
	n           int            // words
	at          driver.Pointer // known once the executable's memory is allocated
}

const alignment = 256 // bytes; what cuMemAlloc aligns to

func roundUp(bytes int) int { return (bytes + alignment - 1) / alignment * alignment }

func bytesOf(b *buffer) int { return roundUp(max(b.n, 1) * 4) }

// place lays out the temporaries of a function, see engine.Place.
func place(steps []*step) int {
	return engine.Place(len(steps), func(i int) engine.Use[*buffer] {
		s := steps[i]
		return engine.Use[*buffer]{Reads: s.reads, Writes: s.writes, Takes: s.takes, InPlace: s.inPlace}
	}, bytesOf)
}
