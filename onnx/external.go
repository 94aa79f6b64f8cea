package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"netmend/onnx/internal/pb"
)

// folder is the directory that a model was read from; its tensors' external data must lie inside it.
type folder struct{ path string }

// extent is a piece of an external data file.
type extent struct {
	location       string // slash-separated, relative to the model's folder
	offset, length int64  // length -1: not given
}

// IsExternal reports whether the tensor's contents lie in a file beside the model.
func (t *Tensor) IsExternal() bool {
	return t.proto.GetDataLocation() == pb.TensorProto_EXTERNAL
}

// externalExtent reads location, offset and length of an external tensor.
func (t *Tensor) externalExtent() (extent, error) {
	e := extent{length: -1}
	for _, kv := range t.proto.GetExternalData() {
		var err error
		switch kv.GetKey() {
		case "location":
			e.location = kv.GetValue()
		case "offset":
			e.offset, err = strconv.ParseInt(kv.GetValue(), 10, 64)
		case "length":
			e.length, err = strconv.ParseInt(kv.GetValue(), 10, 64)
		}
		if err != nil || e.offset < 0 || (kv.GetKey() == "length" && e.length < 0) {
			return e, t.errorf("external_data %s %q is no byte count", kv.GetKey(), kv.GetValue())
		}
	}
	if e.location == "" {
		return e, t.errorf("external_data has no location")
	}
	if strings.ContainsRune(e.location, '\\') || !filepath.IsLocal(filepath.FromSlash(e.location)) {
		return e, t.errorf("external_data location %q leaves the model's folder", e.location)
	}
	return e, nil
}

// openExternal opens the file of an external tensor of size bytes, which it is checked to have.
func (t *Tensor) openExternal(size int64) (*os.File, extent, error) {
	e, err := t.externalExtent()
	if err != nil {
		return nil, e, err
	}
	if e.length >= 0 && e.length != size {
		return nil, e, t.errorf("external_data length is %d, shape %v of %s needs %d bytes", e.length, t.Dims, t.Type, size)
	}
	if t.source == nil {
		return nil, e, t.errorf("its data lies in %q, but the model was not read from a file", e.location)
	}
	f, have, err := t.source.open(e.location)
	if err != nil {
		return nil, e, t.errorf("external_data: %w", err)
	}
	if e.offset > have || size > have-e.offset {
		f.Close()
		return nil, e, t.errorf("external_data asks for %d bytes at offset %d of %q, which has %d", size, e.offset, e.location, have)
	}
	return f, e, nil
}

// readExternal reads the size bytes of an external tensor.
func (t *Tensor) readExternal(size int64) ([]byte, error) {
	f, e, err := t.openExternal(size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, e.offset, size), raw); err != nil {
		return nil, t.errorf("external_data: read %q: %w", e.location, err)
	}
	return raw, nil
}

// open opens a regular file inside the folder and returns its size. Symbolic links are refused, as ONNX does: what
// they point to may lie anywhere.
func (d *folder) open(location string) (*os.File, int64, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	name := filepath.FromSlash(location)
	for i := 0; i <= len(name); i++ { // every folder on the way, then the file
		if i < len(name) && !os.IsPathSeparator(name[i]) || i == 0 {
			continue
		}
		info, err := root.Lstat(name[:i])
		switch {
		case err != nil:
			return nil, 0, err
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, 0, fmt.Errorf("%q is a symbolic link, which may leave the model's folder", name[:i])
		case i == len(name) && !info.Mode().IsRegular():
			return nil, 0, fmt.Errorf("%q is no regular file", location)
		}
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("no regular file")
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("%q: %w", location, err)
	}
	return f, info.Size(), nil
}
