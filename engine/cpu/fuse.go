//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import "slices"

// A pass over memory costs more than what most elementwise operations compute. So an elementwise step is done along with the step that makes one
// of its inputs, where nobody else reads that input: on every range of it as soon as the range is there, in its place. The kernels are those that
// make passes of their own, element for element with the same operands: the bits are the same. What is read by the gradient too stays a tensor of
// its own and ends a chain. No tensor lives longer than it would: the result takes the place of the input that vanishes, and the other inputs are
// read earlier, never later.

// fuser joins the steps of a function. By buffer:
type fuser struct {
	steps   []step
	kept    map[*buffer]bool // outputs of the function
	readers map[*buffer]int  // how many steps read it
	writers map[*buffer]int  // and write it
	written map[*buffer]int  // the step that wrote it last, of those seen so far
}

// fuse joins elementwise steps to those before them.
func fuse(steps []step, outputs []*buffer) []step {
	f := &fuser{steps: steps, kept: make(map[*buffer]bool), readers: make(map[*buffer]int), writers: make(map[*buffer]int),
		written: make(map[*buffer]int)}
	for _, b := range outputs {
		f.kept[b] = true
	}
	for i := range steps {
		for k, b := range steps[i].reads {
			if !slices.Contains(steps[i].reads[:k], b) {
				f.readers[b]++
			}
		}
		for _, b := range steps[i].writes {
			f.writers[b]++
		}
	}
	joined := make([]bool, len(steps))
	for j := range steps {
		at := j
		if t := f.vanishing(j); t != nil {
			at = f.written[t]
			f.join(at, j, t)
			joined[j] = true
		}
		for _, b := range steps[j].writes {
			f.written[b] = at
		}
	}
	var left []step
	for i := range steps {
		if !joined[i] {
			left = append(left, steps[i])
		}
	}
	return left
}

// vanishing is an input of a step such that the step may be done along with the one that makes the input; or nil.
func (f *fuser) vanishing(j int) *buffer {
	s := &f.steps[j]
	if !s.elementwise || f.writers[s.writes[0]] != 1 {
		return nil
	}
	for _, t := range s.inPlace {
		if !t.Temporary || f.kept[t] || f.readers[t] != 1 || f.writers[t] != 1 || t.n != s.writes[0].n || count(s.reads, t) != count(s.inPlace, t) {
			continue
		}
		i, ok := f.written[t]
		if !ok || f.steps[i].writes[0] != t || f.steps[i].unit == 0 || !f.steps[i].elementwise && f.steps[i].unit%s.unit != 0 {
			continue
		}
		early := true // all other inputs are there before step i, and stay as they are until step j
		for _, b := range s.reads {
			if w, ok := f.written[b]; ok && b != t && w >= i {
				early = false
			}
		}
		if early {
			return t
		}
	}
	return nil
}

func count(list []*buffer, b *buffer) int {
	n := 0
	for _, x := range list {
		if x == b {
			n++
		}
	}
	return n
}

// join makes step j, which reads t, a part of step i, which writes it.
func (f *fuser) join(i, j int, t *buffer) {
	s, add := &f.steps[i], f.steps[j]
	s.writes = append(list(add.writes[0]), s.writes[1:]...)
	s.places = append(s.places, t)
	for _, b := range add.reads {
		if b != t {
			s.reads = append(slices.Clip(s.reads), b)
		}
	}
	// What is read after the first operation has written must not lie where it writes.
	s.inPlace = slices.DeleteFunc(slices.Clone(s.inPlace), func(b *buffer) bool { return slices.Contains(add.reads, b) })
	s.along = append(s.along, add.emit)
}

// emitAll adds a step to the plan, with all that is done along with it.
func (s *step) emitAll(plan *C.nm_plan) {
	for _, b := range s.places {
		b.at = s.writes[0].at
	}
	for _, emit := range s.along {
		C.nm_along(plan)
		emit()
	}
	s.emit()
}
