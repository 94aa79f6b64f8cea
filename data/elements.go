package data

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// dtype is the type of the elements of a binary file.
type dtype struct {
	kind  byte // f float, i signed, u unsigned, b boolean
	size  int  // bytes
	order binary.ByteOrder
}

func (d dtype) isFloat() bool { return d.kind == 'f' }

// readElements reads n elements from r. Memory grows with what is there, at most doubling, not with the n that a header declares.
// Floats and, with asFloat, integers are appended to the floats, other integers to the ints. float64 rounds to float32 (beyond its
// range to infinity); an integer beyond int32 is an error that names the element.
func readElements(r io.Reader, n int, d dtype, asFloat bool) (floats []float32, ints []int32, err error) {
	if d.isFloat() || asFloat {
		floats = []float32{}
	} else {
		ints = []int32{}
	}
	buf := make([]byte, min(n, 1<<13)*d.size)
	for done := 0; done < n; {
		chunk := buf[:min(len(buf), (n-done)*d.size)]
		if got, err := io.ReadFull(r, chunk); err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil, nil, fmt.Errorf("it ends after %d of %d elements", done+got/d.size, n)
			}
			return nil, nil, err
		}
		if floats != nil {
			floats = appendFloats(grow(floats, len(chunk)/d.size, n), chunk, d)
		} else if ints, err = appendInts(grow(ints, len(chunk)/d.size, n), chunk, d); err != nil {
			return nil, nil, err
		}
		done += len(chunk) / d.size
	}
	return floats, ints, nil
}

// grow makes room for more elements: twice the room there is, but never more than n in all.
func grow[T any](s []T, more, n int) []T {
	if len(s)+more <= cap(s) {
		return s
	}
	t := make([]T, len(s), min(n, max(2*cap(s), len(s)+more)))
	copy(t, s)
	return t
}

func appendFloats(to []float32, raw []byte, d dtype) []float32 {
	switch {
	case d.kind == 'f' && d.size == 2:
		for i := 0; i < len(raw); i += 2 {
			to = append(to, halfToFloat(d.order.Uint16(raw[i:])))
		}
	case d.kind == 'f' && d.size == 4:
		for i := 0; i < len(raw); i += 4 {
			to = append(to, math.Float32frombits(d.order.Uint32(raw[i:])))
		}
	case d.kind == 'f':
		for i := 0; i < len(raw); i += 8 {
			to = append(to, float32(math.Float64frombits(d.order.Uint64(raw[i:]))))
		}
	case d.kind == 'u' && d.size == 1:
		for _, b := range raw {
			to = append(to, float32(b))
		}
	default:
		for i := 0; i < len(raw); i += d.size {
			v, unsigned := d.integer(raw[i:])
			if unsigned {
				to = append(to, float32(uint64(v)))
			} else {
				to = append(to, float32(v))
			}
		}
	}
	return to
}

func appendInts(to []int32, raw []byte, d dtype) ([]int32, error) {
	for i := 0; i < len(raw); i += d.size {
		v, unsigned := d.integer(raw[i:])
		if unsigned && uint64(v) > math.MaxInt32 || v > math.MaxInt32 || v < math.MinInt32 {
			shown := fmt.Sprint(v)
			if unsigned {
				shown = fmt.Sprint(uint64(v))
			}
			return nil, fmt.Errorf("element %d is %s, beyond 32-bit integers", len(to), shown)
		}
		to = append(to, int32(v))
	}
	return to, nil
}

// integer decodes one integer or boolean; unsigned says that the 64 bits are to be read as uint64.
func (d dtype) integer(raw []byte) (v int64, unsigned bool) {
	switch d.size {
	case 1:
		if d.kind == 'i' {
			return int64(int8(raw[0])), false
		}
		if d.kind == 'b' && raw[0] != 0 {
			return 1, false
		}
		return int64(raw[0]), false
	case 2:
		if d.kind == 'i' {
			return int64(int16(d.order.Uint16(raw))), false
		}
		return int64(d.order.Uint16(raw)), false
	case 4:
		if d.kind == 'i' {
			return int64(int32(d.order.Uint32(raw))), false
		}
		return int64(d.order.Uint32(raw)), false
	}
	return int64(d.order.Uint64(raw)), d.kind == 'u'
}

// halfToFloat widens IEEE 754 binary16, subnormals, infinities and NaN included.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, int(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac · 2^-24
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | uint32(exp-15+127)<<23 | frac<<13)
}
