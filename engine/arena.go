package engine

import "slices"

// Span is where temporary memory of a function lies in an arena, and how long it is needed. Devices embed it in their buffers.
type Span struct {
	Temporary   bool // else it has a place of its own, and Place leaves it alone
	First, Last int  // the first step that writes it, the last that reads it
	Offset      int  // in bytes
}

func (s *Span) span() *Span { return s }

// Use is what a step of a function does with memory.
type Use[B any] struct {
	Reads, Writes []B
	// Takes, one of Writes, may take over the memory of one of InPlace whose last use this is: the step reads an element before it writes it. The
	// zero value takes nothing over.
	Takes   B
	InPlace []B
}

// Place lays out the temporaries of a function of n steps so that those which live at the same time do not overlap, and returns the bytes needed. First
// fit: at every step the lowest gap that is large enough, which keeps the working set small. bytes is a buffer's size, a multiple of the device's
// alignment.
func Place[B interface {
	comparable
	span() *Span
}](n int, use func(step int) Use[B], bytes func(B) int) int {
	for i := n - 1; i >= 0; i-- { // backwards: a Concat or Pad is written by several steps, and lives from the first one
		u := use(i)
		for _, b := range u.Writes {
			s := b.span()
			s.First, s.Last = i, max(s.Last, i)
		}
		for _, b := range u.Reads {
			s := b.span()
			s.Last = max(s.Last, i)
		}
	}
	var live []B // by offset
	top := 0
	for i := range n {
		u := use(i)
		for _, b := range u.Writes {
			s := b.span()
			if !s.Temporary || s.First != i || slices.Contains(live, b) || b == u.Takes && takeOver(u, i, live, bytes) {
				continue
			}
			at, where := 0, 0
			for where = 0; where < len(live); where++ {
				o := live[where].span().Offset
				if o-at >= bytes(b) {
					break
				}
				at = max(at, o+bytes(live[where]))
			}
			s.Offset = at
			live = slices.Insert(live, where, b)
			top = max(top, at+bytes(b))
		}
		live = slices.DeleteFunc(live, func(b B) bool { return b.span().Last <= i })
	}
	return top
}

// takeOver gives what a step takes the memory of an input of it that is not needed any more.
func takeOver[B interface {
	comparable
	span() *Span
}](u Use[B], step int, live []B, bytes func(B) int) bool {
	for _, old := range u.InPlace {
		s := old.span()
		if !s.Temporary || s.Last != step || bytes(old) != bytes(u.Takes) {
			continue
		}
		if k := slices.Index(live, old); k >= 0 {
			u.Takes.span().Offset = s.Offset
			live[k] = u.Takes
			return true
		}
	}
	return false
}
