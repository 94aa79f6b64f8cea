package data

import (
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// idxName is how MNIST and its relatives name their files: train-images-idx3-ubyte, t10k-labels.idx1-ubyte.gz, emnist-letters-test-images-….
var idxName = regexp.MustCompile(`^(?:(.*)[-_.])?(train|t10k|test)[-_.](images|labels)[-_.]idx\d-ubyte(\.gz|\.xz)?$`)

// idxTypes are the type codes of the idx format (Y. LeCun's MNIST page): big-endian throughout.
var idxTypes = map[byte]dtype{
	0x08: {'u', 1, binary.BigEndian},
	0x09: {'i', 1, binary.BigEndian},
	0x0b: {'i', 2, binary.BigEndian},
	0x0c: {'i', 4, binary.BigEndian},
	0x0d: {'f', 4, binary.BigEndian},
	0x0e: {'f', 8, binary.BigEndian},
}

// readIdx reads an idx stream; asFloat is for images, whose pixels become floats. size is the number of bytes where it is known, or -1.
func readIdx(r io.Reader, size int64, asFloat bool, limit int, l *limits) (Array, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || head[0] != 0 || head[1] != 0 {
		return Array{}, fmt.Errorf("it is not an idx file")
	}
	d, ok := idxTypes[head[2]]
	if !ok {
		return Array{}, fmt.Errorf("idx type 0x%02x is unknown", head[2])
	}
	if head[3] == 0 {
		return Array{}, fmt.Errorf("the idx array has no axes")
	}
	raw := make([]byte, 4*int(head[3]))
	if _, err := io.ReadFull(r, raw); err != nil {
		return Array{}, fmt.Errorf("the idx header is cut off")
	}
	shape := make([]int, head[3])
	for i := range shape {
		shape[i] = int(binary.BigEndian.Uint32(raw[4*i:]))
	}
	n, err := elements(shape)
	if err != nil {
		return Array{}, err
	}
	if have := size - int64(4+len(raw)); size >= 0 && int64(n) > have/int64(d.size) {
		return Array{}, fmt.Errorf("shape %v of %d-byte elements does not fit the %d bytes that are there", shape, d.size, max(0, have))
	}
	if limit > 0 && limit < shape[0] {
		shape = slices.Clone(shape)
		shape[0] = limit
		if n, err = elements(shape); err != nil {
			return Array{}, err
		}
	}
	if err := l.take(n); err != nil {
		return Array{}, err
	}
	a := Array{Shape: shape}
	a.Float, a.Int, err = readElements(r, n, d, asFloat)
	return a, err
}

// openIdx opens the up to four files of a set with MNIST's names.
func openIdx(files []file, o Options, l *limits) (Source, error) {
	parts := &namedArrays{}
	prefix := ""
	for i, f := range files {
		m := idxName.FindStringSubmatch(strings.ToLower(f.base()))
		if i > 0 && m[1] != prefix {
			return Source{}, fmt.Errorf("the folder holds two sets, %q and %q: keep one data set in a folder", prefix, m[1])
		}
		prefix = m[1]
		key := arrayKey{target: m[3] == "labels", part: "train", name: "x"}
		if key.target {
			key.name = "y"
		}
		if m[2] != "train" {
			key.part = "test"
		}
		key.text = key.part + " " + m[3]
		size := f.size
		if m[4] != "" {
			size = -1
		}
		err := f.read(l, func(r io.Reader) error {
			a, err := readIdx(r, size, !key.target, key.limit(o), l)
			if err != nil {
				return err
			}
			return parts.add(key, a)
		})
		if err != nil {
			return Source{}, err
		}
	}
	if len(parts.train.Inputs) == 0 {
		return Source{}, fmt.Errorf("the training images (train-images-idx3-ubyte) are missing")
	}
	if len(parts.train.Targets) == 0 {
		return Source{}, fmt.Errorf("the training labels (train-labels-idx1-ubyte) are missing")
	}
	return parts.source("idx")
}
