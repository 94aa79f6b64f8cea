//go:build cgo && amd64

package cpu

import "testing"

// A Concat is written by one step per part: from the first of them on it must not lie where a part is that is still to be read.
func TestPlaceOfWhatSeveralStepsWrite(t *testing.T) {
	part, other, whole := &buffer{n: 54, temporary: true}, &buffer{n: 4, temporary: true}, &buffer{n: 58, temporary: true}
	top := place([]step{{writes: list(part)}, {reads: list(part), writes: list(whole)}, {writes: list(other)}, {reads: list(other), writes: list(whole)}, {reads: list(whole)}})
	if whole.first != 1 || whole.last != 4 {
		t.Errorf("the whole lives from step %d to %d, wants 1 to 4", whole.first, whole.last)
	}
	for _, b := range []*buffer{part, other} {
		if b.offset < whole.offset+bytesOf(whole) && whole.offset < b.offset+bytesOf(b) {
			t.Errorf("a part at %d overlaps the whole at %d", b.offset, whole.offset)
		}
	}
	if want := bytesOf(part) + bytesOf(whole); top != want {
		t.Errorf("%d bytes are needed, wants %d", top, want)
	}
}
