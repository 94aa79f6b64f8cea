//go:build cgo && amd64

package cpu

import (
	"slices"
	"unsafe"
)

// buffer is a stretch of memory that steps read and write: 32-bit words.
type buffer struct {
	n         int            // words
	at        unsafe.Pointer // where it lies; of temporaries known once the plan is laid out
	temporary bool
	half      bool // the elements are bfloat16, two in a word
	first     int  // the first step that writes it
	last      int  // the last step that reads it
	offset    int  // of temporaries, in bytes
}

// step is one step that is going to be added to the plan. emit runs once all buffers have their places.
type step struct {
	reads, writes []*buffer
	// inPlace lists inputs whose memory the first output may take over when this is their last use: the step reads an element before it
	// writes it.
	inPlace []*buffer
	emit    func()
	what    string
}

const alignment = 64 // a cache line, and the widest vector

func bytesOf(b *buffer) int { return (max(b.n, 1)*4 + alignment - 1) / alignment * alignment }

// place lays out the temporaries of a function so that those which live at the same time do not overlap, and returns the bytes needed.
// First fit: at every step the lowest gap that is large enough, which keeps the working set small.
func place(steps []step) int {
	for i := len(steps) - 1; i >= 0; i-- { // backwards: a Concat or Pad is written by several steps, and lives from the first one
		for _, b := range steps[i].writes {
			b.first, b.last = i, max(b.last, i)
		}
		for _, b := range steps[i].reads {
			b.last = max(b.last, i)
		}
	}
	var live []*buffer // by offset
	top := 0
	for i := range steps {
		s := &steps[i]
		for k, b := range s.writes {
			if !b.temporary || b.first != i || slices.Contains(live, b) {
				continue
			}
			if k == 0 && takeOver(s, i, live, b) {
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
