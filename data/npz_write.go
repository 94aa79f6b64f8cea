package data

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteNpz writes a source as an npz that Open reads back: x and y, or x_train, y_train, x_test, y_test where it comes with its own test part,
// with :NAME behind for arrays that are not called x and y. Floats are written as float32, integers as int32. Class names are not kept.
func WriteNpz(w io.Writer, s Source) error {
	z := zip.NewWriter(w)
	write := func(arrays []Array, kind, part string) error {
		for i := range arrays {
			a := &arrays[i]
			key := kind + part
			if a.Name != kind {
				key += ":" + a.Name
			}
			f, err := z.CreateHeader(&zip.FileHeader{Name: key + ".npy", Method: zip.Deflate})
			if err == nil {
				err = writeNpy(f, a)
			}
			if err != nil {
				return fmt.Errorf("data: npz: array %q: %w", a.Name, err)
			}
		}
		return nil
	}
	part := ""
	if s.HasTest() {
		part = "_train"
	}
	for _, x := range []struct {
		set  *Set
		part string
	}{{&s.Train, part}, {&s.Test, "_test"}} {
		if err := write(x.set.Inputs, "x", x.part); err != nil {
			return err
		}
		if err := write(x.set.Targets, "y", x.part); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("data: npz: %w", err)
	}
	return nil
}

// writeNpy writes an array in numpy.lib.format version 1.0: C order, little endian, the header padded so that the elements begin at a multiple
// of 64 bytes.
func writeNpy(w io.Writer, a *Array) error {
	if err := a.Check(); err != nil {
		return err
	}
	dims := make([]string, len(a.Shape))
	for i, d := range a.Shape {
		dims[i] = strconv.Itoa(d)
	}
	descr := "<f4"
	if a.IsInt() {
		descr = "<i4"
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }", descr, strings.Join(dims, ", "))
	const before = 10 // magic, version, length
	header += strings.Repeat(" ", 63-(before+len(header))%64) + "\n"
	b := bufio.NewWriterSize(w, 1<<16)
	// A bufio.Writer keeps its first error for Flush.
	_, _ = b.WriteString("\x93NUMPY\x01\x00")
	_ = binary.Write(b, binary.LittleEndian, uint16(len(header)))
	_, _ = b.WriteString(header)
	var word [4]byte
	for _, v := range a.Int {
		binary.LittleEndian.PutUint32(word[:], uint32(v))
		_, _ = b.Write(word[:])
	}
	if len(a.Float) > 0 {
		if err := binary.Write(b, binary.LittleEndian, a.Float); err != nil {
			return err
		}
	}
	return b.Flush()
}
