//go:build cgo && amd64

package cpu

import (
	"unsafe"

	"netmend/engine"
)

// buffer is a stretch of memory that steps read and write: 32-bit words.
type buffer struct {
	engine.Span
	n    int            // words
	at   unsafe.Pointer // where it lies; of temporaries known once the plan is laid out
	half bool           // the elements are bfloat16, two in a word
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

// place lays out the temporaries of a function, see engine.Place.
func place(steps []step) int {
	return engine.Place(len(steps), func(i int) engine.Use[*buffer] {
		s := &steps[i]
		u := engine.Use[*buffer]{Reads: s.reads, Writes: s.writes, InPlace: s.inPlace}
		if len(s.writes) > 0 {
			u.Takes = s.writes[0]
		}
		return u
	}, bytesOf)
}
