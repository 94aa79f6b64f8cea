package data

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"
)

// file is one file of a folder or archive; path is relative to its root, with slashes.
type file struct {
	path string
	size int64
	open func() (content, error)
}

type content interface {
	io.ReadCloser
	io.ReaderAt
}

// inMemory is the content of a file of an archive.
type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

func (f file) base() string { return path.Base(f.path) }

func diskFile(at, name string, size int64) file {
	return file{path: name, size: size, open: func() (content, error) { return os.Open(at) }}
}

// maxFiles bounds a listing, so that a folder given by mistake (/) ends in an error; ImageNet has 1.3 million files.
const maxFiles = 3_000_000

// limits are what is left of the memory that a data set may take. The zero of either is an error to go below.
type limits struct{ samples, unpacked, max int64 }

// take books the memory of n elements of 4 bytes each.
func (l *limits) take(n int) error {
	if int64(n) > l.samples/4 {
		return fmt.Errorf("the samples need more than the limit of %d bytes: read fewer rows or raise the limit", l.max)
	}
	l.samples -= 4 * int64(n)
	return nil
}

// reader lets at most the rest of the unpacking limit through.
func (l *limits) reader(r io.Reader) io.Reader { return &limitedReader{r, l} }

type limitedReader struct {
	r io.Reader
	l *limits
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.l.unpacked -= int64(n); r.l.unpacked < 0 {
		return 0, fmt.Errorf("it unpacks to more than the limit of %d bytes: read fewer rows or raise the limit", r.l.max)
	}
	return n, err
}

// unwrapPath takes the operation and the path off an error of package os: the message names the path already.
func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// listFolder lists the regular files below a folder, sorted by path; hidden files and folders are left out. Links to files are followed,
// links to folders are not, so that a listing ends.
func listFolder(root string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case rel == ".":
			return nil
		case hidden(rel) && d.IsDir():
			return fs.SkipDir
		case hidden(rel) || d.IsDir():
			return nil
		}
		info, err := os.Stat(at)
		if err != nil || !info.Mode().IsRegular() {
			return nil // a dangling link, a socket: nothing to read there
		}
		if files = append(files, diskFile(at, rel, info.Size())); len(files) > maxFiles {
			return fmt.Errorf("the folder holds more than %d files", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the folder: %w", err)
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

func hidden(rel string) bool {
	return strings.HasPrefix(path.Base(rel), ".") || strings.HasPrefix(rel, "__MACOSX")
}

var archiveName = regexp.MustCompile(`\.(tar|tgz|txz|tbz2|tar\.(gz|xz|bz2))$`)

// unpackTar reads the regular files of an archive into memory, within the unpacking limit. Links and devices are passed over.
func unpackTar(at string, l *limits) ([]file, error) {
	f, err := os.Open(at)
	if err != nil {
		return nil, fmt.Errorf("cannot open it: %w", unwrapPath(err))
	}
	defer f.Close()
	r, err := decompress(f, at, l)
	if err != nil {
		return nil, err
	}
	var files []file
	var stored int64
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged after %d files: %w", len(files), err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/") // nothing is written to disk, the names only tell formats and classes
		if h.Typeflag != tar.TypeReg || hidden(name) {
			continue
		}
		// What a sparse file leaves out is not in the archive but would be in memory: the declared sizes are counted as well.
		if stored += h.Size; h.Size > l.max || stored > l.max {
			return nil, fmt.Errorf("the archive holds more than the limit of %d bytes up to %q: raise the limit", l.max, name)
		}
		var all bytes.Buffer // grows with what is there, not with what the header declares
		if _, err := io.Copy(&all, t); err != nil {
			return nil, fmt.Errorf("the archive is damaged in %q: %w", name, err)
		}
		b := all.Bytes()
		files = append(files, file{path: name, size: int64(len(b)), open: func() (content, error) { return inMemory{bytes.NewReader(b)}, nil }})
		if len(files) > maxFiles {
			return nil, fmt.Errorf("the archive holds more than %d files", maxFiles)
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // to the checksum at the end
		return nil, fmt.Errorf("the archive is damaged at its end: %w", err)
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

// decompress unpacks r by the extension of name, within the unpacking limit; a name of no compression is read as it is.
func decompress(r io.Reader, name string, l *limits) (io.Reader, error) {
	r = bufio.NewReaderSize(r, 1<<16)
	var err error
	switch low := strings.ToLower(name); {
	case strings.HasSuffix(low, ".gz"), strings.HasSuffix(low, ".tgz"):
		if r, err = gzip.NewReader(r); err != nil {
			return nil, fmt.Errorf("cannot unpack gzip: %w", err)
		}
	case strings.HasSuffix(low, ".xz"), strings.HasSuffix(low, ".txz"):
		// The dictionary that the file asks for (at most 4 GiB) is allocated but only touched as far as data is unpacked into it.
		if r, err = xz.NewReader(r); err != nil {
			return nil, fmt.Errorf("cannot unpack xz: %w", err)
		}
	case strings.HasSuffix(low, ".bz2"), strings.HasSuffix(low, ".tbz2"):
		r = bzip2.NewReader(r)
	}
	return l.reader(r), nil
}

// read opens a file, unpacks it by its name and hands it to use; errors name the file.
func (f file) read(l *limits, use func(io.Reader) error) error {
	rc, err := f.open()
	if err != nil {
		return fmt.Errorf("cannot open %q: %w", f.path, unwrapPath(err))
	}
	defer rc.Close()
	r, err := decompress(rc, f.path, l)
	if err == nil {
		err = use(r)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", f.path, err)
	}
	return nil
}
