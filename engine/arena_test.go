package engine

import (
	"math/rand/v2"
	"testing"
)

// stretch is a buffer of a device.
type stretch struct {
	Span
	bytes int
}

func sized(bytes int) *stretch { return &stretch{Span{Temporary: true}, bytes} }

func (s *stretch) overlaps(o *stretch) bool {
	return s.Offset < o.Offset+o.bytes && o.Offset < s.Offset+s.bytes
}

func placed(steps []Use[*stretch]) int {
	return Place(len(steps), func(i int) Use[*stretch] { return steps[i] }, func(s *stretch) int { return s.bytes })
}

// Temporaries that live at the same time do not overlap, but for one that takes over another's memory at the step that reads that last.
func TestPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	taken := 0
	for range 200 {
		var steps []Use[*stretch]
		var made []*stretch
		for range 30 {
			var u Use[*stretch]
			for range r.IntN(3) {
				if len(made) > 0 {
					u.Reads = append(u.Reads, made[r.IntN(len(made))])
				}
			}
			b := sized(64 * (1 + r.IntN(8)))
			u.Writes, u.Takes = []*stretch{b}, b
			if len(u.Reads) > 0 && r.IntN(2) == 0 {
				u.InPlace = u.Reads[:1]
			}
			made, steps = append(made, b), append(steps, u)
		}
		top := placed(steps)
		for i, a := range made {
			if a.Offset+a.bytes > top {
				t.Fatalf("a buffer ends at %d of %d", a.Offset+a.bytes, top)
			}
			for _, b := range made[:i] {
				into := steps[a.First].InPlace
				took := b.Last == a.First && len(into) > 0 && into[0] == b && a.Offset == b.Offset
				if took {
					taken++
				}
				if alive := b.Last > a.First || b.Last == a.First && !took; alive && a.overlaps(b) {
					t.Fatalf("buffers of steps %d and %d overlap", a.First, b.First)
				}
			}
		}
	}
	if taken == 0 {
		t.Error("no buffer took over another's memory")
	}
}

// A Concat is written by one step per part: from the first of them on it must not lie where a part is that is still to be read.
func TestPlaceOfWhatSeveralStepsWrite(t *testing.T) {
	part, other, whole := sized(256), sized(64), sized(320)
	list := func(b ...*stretch) []*stretch { return b }
	top := placed([]Use[*stretch]{{Writes: list(part), Takes: part}, {Reads: list(part), Writes: list(whole), Takes: whole}, {Writes: list(other), Takes: other},
		{Reads: list(other), Writes: list(whole), Takes: whole}, {Reads: list(whole)}})
	if whole.First != 1 || whole.Last != 4 {
		t.Errorf("the whole lives from step %d to %d, wants 1 to 4", whole.First, whole.Last)
	}
	for _, b := range list(part, other) {
		if b.overlaps(whole) {
			t.Errorf("a part at %d overlaps the whole at %d", b.Offset, whole.Offset)
		}
	}
	if want := part.bytes + whole.bytes; top != want {
		t.Errorf("%d bytes are needed, wants %d", top, want)
	}
}
