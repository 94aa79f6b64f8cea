package data

import (
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxNpyHeader bounds the header of an npy file; numpy itself refuses more than 10,000 bytes.
const maxNpyHeader = 1 << 16

// npyHeader is the head of an npy file (numpy.lib.format, versions 1.0 to 3.0).
type npyHeader struct {
	dtype   dtype
	fortran bool
	shape   []int
}

// The header is a Python dict literal with these three keys, which numpy writes sorted and other writers do not.
var (
	npyDescr   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([^'"]*)['"]`)
	npyFortran = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([0-9L,\s]*)\)`)
)

func readNpyHeader(r io.Reader) (npyHeader, error) {
	var h npyHeader
	var pre [8]byte
	if _, err := io.ReadFull(r, pre[:]); err != nil || string(pre[:6]) != "\x93NUMPY" {
		return h, fmt.Errorf("it is not an npy file")
	}
	lenBytes := 2
	if pre[6] >= 2 {
		lenBytes = 4
	}
	if pre[6] < 1 || pre[6] > 3 {
		return h, fmt.Errorf("npy version %d.%d is unknown", pre[6], pre[7])
	}
	var size [4]byte
	if _, err := io.ReadFull(r, size[:lenBytes]); err != nil {
		return h, fmt.Errorf("the npy header is cut off")
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > maxNpyHeader {
		return h, fmt.Errorf("the npy header has %d bytes, more than %d", n, maxNpyHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, fmt.Errorf("the npy header is cut off")
	}
	descr, fortran, shape := npyDescr.FindSubmatch(text), npyFortran.FindSubmatch(text), npyShape.FindSubmatch(text)
	if descr == nil || fortran == nil || shape == nil {
		return h, fmt.Errorf("the npy header %.200q is not that of a plain array (structured types are not read)", text)
	}
	var err error
	if h.dtype, err = parseDescr(string(descr[1])); err != nil {
		return h, err
	}
	h.fortran = string(fortran[1]) == "True"
	for _, d := range strings.Split(string(shape[1]), ",") {
		if d = strings.TrimRight(strings.TrimSpace(d), "L"); d == "" {
			continue // after the last comma, or the shape () of a scalar
		}
		v, err := strconv.Atoi(d)
		if err != nil {
			return h, fmt.Errorf("the npy header declares the shape (%s)", shape[1])
		}
		h.shape = append(h.shape, v)
	}
	if len(h.shape) == 0 {
		return h, fmt.Errorf("the array is a scalar: it has no rows")
	}
	if len(h.shape) > 32 { // numpy's own NPY_MAXDIMS up to version 1
		return h, fmt.Errorf("the array has %d axes, more than 32", len(h.shape))
	}
	_, err = elements(h.shape)
	return h, err
}

func parseDescr(descr string) (dtype, error) {
	var d dtype
	if len(descr) == 3 {
		d.kind, d.size = descr[1], int(descr[2]-'0')
		switch descr[0] {
		case '<', '|', '=':
			d.order = binary.LittleEndian
		case '>':
			d.order = binary.BigEndian
		}
		ok := false
		switch d.kind {
		case 'f':
			ok = d.size == 2 || d.size == 4 || d.size == 8
		case 'i', 'u':
			ok = d.size == 1 || d.size == 2 || d.size == 4 || d.size == 8
		case 'b':
			ok = d.size == 1
		}
		if ok && d.order != nil {
			return d, nil
		}
	}
	return d, fmt.Errorf("numpy type %q is not read: save float16, 32 or 64, an integer type or bool", descr)
}

// readNpy reads an npy stream: floats to Float, integers and booleans to Int. size is the number of bytes of the stream where it is known, or -1;
// a declared shape beyond it is refused before anything is allocated. limit > 0 keeps the first rows only.
func readNpy(r io.Reader, size int64, limit int, l *limits) (Array, error) {
	counted := &countingReader{r: r}
	h, err := readNpyHeader(counted)
	if err != nil {
		return Array{}, err
	}
	n, err := elements(h.shape)
	if err != nil {
		return Array{}, err
	}
	if have := size - counted.n; size >= 0 && int64(n) > have/int64(h.dtype.size) {
		return Array{}, fmt.Errorf("shape %v of %d-byte elements does not fit the %d bytes that are there", h.shape, h.dtype.size, max(0, have))
	}
	shape := slices.Clone(h.shape)
	if limit > 0 && limit < shape[0] {
		shape[0] = limit
	}
	kept, err := elements(shape)
	if err != nil {
		return Array{}, err
	}
	read := kept
	if h.fortran && len(shape) > 1 {
		read = n // rows are interleaved: all of it is needed to have the first ones
	}
	if err := l.take(read); err != nil {
		return Array{}, err
	}
	a := Array{Shape: shape}
	if a.Float, a.Int, err = readElements(r, read, h.dtype, false); err != nil {
		return Array{}, err
	}
	if h.fortran && len(shape) > 1 {
		a.Float, a.Int = fromFortran(a.Float, h.shape, kept), fromFortran(a.Int, h.shape, kept)
	}
	return a, nil
}

// fromFortran reorders elements from column-major (first axis fastest) to row-major and keeps the first ones.
func fromFortran[T any](from []T, shape []int, keep int) []T {
	if from == nil {
		return nil
	}
	stride := make([]int, len(shape))
	at := 1
	for i, d := range shape {
		stride[i] = at
		at *= d
	}
	to := make([]T, keep)
	index := make([]int, len(shape)) // of element i in row-major order
	at = 0
	for i := range to {
		to[i] = from[at]
		for axis := len(shape) - 1; axis >= 0; axis-- {
			index[axis]++
			at += stride[axis]
			if index[axis] < shape[axis] {
				break
			}
			at -= stride[axis] * shape[axis]
			index[axis] = 0
		}
	}
	return to
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// openNpy opens a folder of npy files that are named like the arrays of an npz.
func openNpy(files []file, o Options, l *limits) (Source, error) {
	var parts namedArrays
	for _, f := range files {
		key, err := parseKey(strings.TrimSuffix(f.base(), f.base()[len(f.base())-len(".npy"):]))
		if err != nil {
			return Source{}, err
		}
		err = f.read(l, func(r io.Reader) error {
			a, err := readNpy(r, f.size, key.limit(o), l)
			if err != nil {
				return err
			}
			return parts.add(key, a)
		})
		if err != nil {
			return Source{}, err
		}
	}
	return parts.source("npy")
}
