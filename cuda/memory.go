//go:build linux && cgo

package cuda

import (
	"slices"

	"netmend/cuda/driver"
)

// buffer is a stretch of device memory that launches read and write: 32-bit words. Every buffer begins at a multiple of alignment and ends at one, so
// that kernels may read and write four words at once up to the end.
type buffer struct {
	n         int            // words
	at        driver.Pointer // known once the executable's memory is allocated
	temporary bool
	first     int // of temporaries: the first launch that writes it
	last      int // the last launch that reads it
	offset    int // in bytes, in the arena or in the permanent memory
}

const alignment = 256 // bytes; what cuMemAlloc aligns to

func roundUp(bytes int) int { return (bytes + alignment - 1) / alignment * alignment }

func bytesOf(b *buffer) int { return roundUp(max(b.n, 1) * 4) }

// place lays out the temporaries of a function so that those which live at the same time do not overlap, and returns the bytes needed.
// First fit: at every launch the lowest gap that is large enough, which keeps the working set, and so the second-level cache's load, small.
func place(steps []*step) int {
	for i := len(steps) - 1; i >= 0; i-- {
		for _, b := range steps[i].writes {
			b.first, b.last = i, max(b.last, i)
		}
		for _, b := range steps[i].reads {
			b.last = max(b.last, i)
		}
	}
	var live []*buffer // by offset
	top := 0
	for i, s := range steps {
		for _, b := range s.writes {
			if !b.temporary || b.first != i || slices.Contains(live, b) {
				continue
			}
			if b == s.takes && takeOver(s, i, live, b) {
				continue
			}
			at, where := 0, 0
			for where = 0; where < len(live); where++ {
				if live[where].offset-at >= bytesOf(b) {
					break
				}
				at = max(at, live[where].offset+bytesOf(live[where]))
			}
			b.offset = at
			live = slices.Insert(live, where, b)
			top = max(top, at+bytesOf(b))
		}
		live = slices.DeleteFunc(live, func(b *buffer) bool { return b.last <= i })
	}
	return top
}

// takeOver gives b the memory of an input of step i that is not needed any more.
func takeOver(s *step, i int, live []*buffer, b *buffer) bool {
	for _, old := range s.inPlace {
		if !old.temporary || old.last != i || bytesOf(old) != bytesOf(b) {
			continue
		}
		if k := slices.Index(live, old); k >= 0 {
			b.offset = old.offset
			live[k] = b
			return true
		}
	}
	return false
}
