package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// Write writes the model to a file that appears whole or not at all. Tensors whose data lies in another folder's
// external files keep their data external: the files are copied beside the new model, under another name where one
// of that name with other contents is there already. Nothing but path itself is overwritten.
func (m *Model) Write(path string) (err error) {
	dir := filepath.Dir(path)
	copied, err := m.placeExternal(dir, path)
	defer func() {
		if err != nil {
			for _, f := range copied.created {
				os.Remove(f)
			}
		}
	}()
	if err != nil {
		return err
	}
	out := m
	if len(copied.moved) > 0 {
		out = m.Clone()
		out.eachTensor(func(t *Tensor) error { return t.relocate(copied.moved) })
	}
	b, err := out.Encode()
	if err != nil {
		return err
	}
	if err := writeAtomic(path, bytes.NewReader(b)); err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	return nil
}

// writeAtomic writes a temporary file beside path, syncs it and renames it over path.
func writeAtomic(path string, r io.Reader) (err error) {
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = io.Copy(f, r); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if d, derr := os.Open(filepath.Dir(path)); derr == nil {
		d.Sync() // makes the rename durable where the file system supports it; the file itself is whole either way
		d.Close()
	}
	return nil
}

// createTemp is os.CreateTemp with the permissions of an ordinary new file.
func createTemp(path string) (*os.File, error) {
	for i := 0; ; i++ {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d-%d.tmp", filepath.Base(path), os.Getpid(), i))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil || !errors.Is(err, fs.ErrExist) || i == 1000 {
			return f, err
		}
	}
}

// place is an external data file: where it was read from.
type place struct {
	source   *folder
	location string
}

// placement says where external files were put beside a new model.
type placement struct {
	moved   map[place]string // new location, relative to the model's folder
	created []string         // files made, to be removed where writing the model fails
}

// placeExternal copies the external files that the model needs to dir, unless they are there already.
func (m *Model) placeExternal(dir, modelPath string) (placement, error) {
	p := placement{moved: map[place]string{}}
	seen := map[place]bool{}
	err := m.eachTensor(func(t *Tensor) error {
		if !t.IsExternal() {
			return nil
		}
		e, err := t.externalExtent()
		if err != nil {
			return err
		}
		at := place{t.source, e.location}
		if seen[at] {
			return nil
		}
		seen[at] = true
		if t.source == nil {
			return t.errorf("its data lies in %q, but the model was not read from a file", e.location)
		}
		src, _, err := t.source.open(e.location)
		if err != nil {
			return t.errorf("external_data: %w", err)
		}
		defer src.Close()
		if sameFile(filepath.Join(t.source.path, filepath.FromSlash(e.location)), modelPath) {
			return t.errorf("its data lies in %q, which writing the model there would destroy", e.location)
		}
		if sameFile(t.source.path, dir) {
			return nil
		}
		location, created, err := copyBeside(src, dir, e.location, filepath.Base(modelPath))
		if err != nil {
			return t.errorf("copy external data: %w", err)
		}
		if created {
			p.created = append(p.created, filepath.Join(dir, filepath.FromSlash(location)))
		}
		p.moved[at] = location
		return nil
	})
	return p, err
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// copyBeside copies src to location inside dir, or to a name derived from it where that is taken, and returns the
// location used and whether a file was made. A file with the same contents is used as it is.
func copyBeside(src *os.File, dir, location, model string) (string, bool, error) {
	ext := path.Ext(location)
	stem := strings.TrimSuffix(location, ext)
	for i := 1; i <= 1000; i++ {
		try := location
		if i > 1 {
			try = fmt.Sprintf("%s-%d%s", stem, i, ext)
		}
		if try == model {
			continue
		}
		target := filepath.Join(dir, filepath.FromSlash(try))
		_, err := os.Lstat(target)
		if err == nil {
			old, _, err := (&folder{path: dir}).open(try)
			if err != nil {
				continue // a link or no regular file: take another name
			}
			same, err := sameContents(src, old)
			old.Close()
			if err != nil {
				return "", false, err
			}
			if same {
				return try, false, nil
			}
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", false, err
		}
		if err := makeParents(dir, try); err != nil {
			return "", false, err
		}
		if _, err := src.Seek(0, io.SeekStart); err != nil {
			return "", false, err
		}
		return try, true, writeAtomic(target, src)
	}
	return "", false, fmt.Errorf("no free name like %q in %q", location, dir)
}

// makeParents makes the folders of location inside dir; a symbolic link that leaves dir is refused.
func makeParents(dir, location string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if parent := path.Dir(location); parent != "." {
		return root.MkdirAll(filepath.FromSlash(parent), 0o777)
	}
	return nil
}

func sameContents(a, b *os.File) (bool, error) {
	x, err := a.Stat()
	if err != nil {
		return false, err
	}
	y, err := b.Stat()
	if err != nil || x.Size() != y.Size() {
		return false, err
	}
	ra, rb := io.NewSectionReader(a, 0, x.Size()), io.NewSectionReader(b, 0, y.Size())
	bufA, bufB := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, errA := io.ReadFull(ra, bufA)
		k, errB := io.ReadFull(rb, bufB)
		if !bytes.Equal(bufA[:n], bufB[:k]) {
			return false, nil
		}
		if errA == io.EOF || errA == io.ErrUnexpectedEOF {
			return true, nil
		}
		if errA != nil || errB != nil {
			return false, errors.Join(errA, errB)
		}
	}
}

// relocate points an external tensor at the place its file was copied to. t must belong to the caller.
func (t *Tensor) relocate(moved map[place]string) error {
	if !t.IsExternal() {
		return nil
	}
	e, err := t.externalExtent()
	if err != nil {
		return err
	}
	location, ok := moved[place{t.source, e.location}]
	if !ok || location == e.location {
		return nil
	}
	t.proto = proto.Clone(t.proto).(*pb.TensorProto) // external: it holds no contents
	for _, kv := range t.proto.ExternalData {
		if kv.GetKey() == "location" {
			kv.Value = &location
		}
	}
	return nil
}

// eachTensor calls visit for every dense tensor of the model, those of subgraphs, functions and sparse tensors
// included, and stops at the first error.
func (m *Model) eachTensor(visit func(*Tensor) error) error {
	if err := eachTensorOfGraph(m.Graph, visit); err != nil {
		return err
	}
	for _, f := range m.Functions {
		if err := eachTensorOfAttrs(f.AttrDefaults, visit); err != nil {
			return err
		}
		for _, n := range f.Nodes {
			if err := eachTensorOfAttrs(n.Attrs, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func eachTensorOfGraph(g *Graph, visit func(*Tensor) error) error {
	if g == nil {
		return nil
	}
	for _, t := range g.Initializers {
		if err := visit(t); err != nil {
			return err
		}
	}
	if err := eachTensorOfSparse(g.SparseInitializers, visit); err != nil {
		return err
	}
	for _, n := range g.Nodes {
		if err := eachTensorOfAttrs(n.Attrs, visit); err != nil {
			return err
		}
	}
	return nil
}

func eachTensorOfSparse(ts []*SparseTensor, visit func(*Tensor) error) error {
	for _, s := range ts {
		for _, t := range []*Tensor{s.Values, s.Indices} {
			if t == nil {
				continue
			}
			if err := visit(t); err != nil {
				return err
			}
		}
	}
	return nil
}

func eachTensorOfAttrs(attrs []*Attribute, visit func(*Tensor) error) error {
	for _, a := range attrs {
		ts := a.Tensors
		if a.Tensor != nil {
			ts = append([]*Tensor{a.Tensor}, ts...)
		}
		for _, t := range ts {
			if err := visit(t); err != nil {
				return err
			}
		}
		ss := a.SparseTensors
		if a.Sparse != nil {
			ss = append([]*SparseTensor{a.Sparse}, ss...)
		}
		if err := eachTensorOfSparse(ss, visit); err != nil {
			return err
		}
		gs := a.Graphs
		if a.Graph != nil {
			gs = append([]*Graph{a.Graph}, gs...)
		}
		for _, g := range gs {
			if err := eachTensorOfGraph(g, visit); err != nil {
				return err
			}
		}
	}
	return nil
}
