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
	// unit says in which multiples of elements the first output may be made range by range, for what is done along with the step; 0: only as a
	// whole. An elementwise step makes the elements of any range of such units from those of the inputs in inPlace alone and whatever it reads
	// elsewhere; it may be done along with another.
	unit        int
	elementwise bool
	along       []func()  // emit what is done along with this step
	places      []*buffer // intermediate results of it, which lie where the first output does
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
