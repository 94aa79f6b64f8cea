package data

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// arrayKey is the name of an array of an npz, taken apart: x or y, _train or _test, :NAME.
type arrayKey struct {
	text   string
	target bool
	part   string // "train", "test" or ""
	name   string
}

var keyPattern = regexp.MustCompile(`^(x|y)(?:_(train|test))?(?::(.+))?$`)

func parseKey(text string) (arrayKey, error) {
	m := keyPattern.FindStringSubmatch(text)
	if m == nil {
		return arrayKey{}, fmt.Errorf("array %q: the name must be x or y, then _train or _test where the set comes divided, then :NAME where there are several inputs or outputs (x, y_test, x_train:image)", text)
	}
	k := arrayKey{text: text, target: m[1] == "y", part: m[2], name: m[3]}
	if k.name == "" {
		k.name = m[1]
	}
	return k, nil
}

// limit is the number of rows to read: the test part is always read whole.
func (k arrayKey) limit(o Options) int {
	if k.part == "test" {
		return 0
	}
	return o.Limit
}

// namedArrays collects the arrays of an npz by part.
type namedArrays struct {
	whole, train, test Set
	seen               map[string]bool
}

func (n *namedArrays) add(k arrayKey, a Array) error {
	if n.seen[k.text] {
		return fmt.Errorf("there are two arrays %q", k.text)
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[k.text] = true
	a.Name = k.name
	set := map[string]*Set{"": &n.whole, "train": &n.train, "test": &n.test}[k.part]
	if k.target {
		set.Targets = append(set.Targets, a)
	} else {
		set.Inputs = append(set.Inputs, a)
	}
	return nil
}

func (n *namedArrays) source(format string) (Source, error) {
	divided := len(n.train.Inputs)+len(n.train.Targets)+len(n.test.Inputs)+len(n.test.Targets) > 0
	switch {
	case divided && len(n.whole.Inputs)+len(n.whole.Targets) > 0:
		return Source{}, fmt.Errorf("there are arrays with and without _train or _test: either the whole set is divided or none of it")
	case !divided:
		n.train = n.whole
	}
	if len(n.train.Inputs) == 0 {
		return Source{}, fmt.Errorf("there is no input array: x or x_train")
	}
	if n.test.Rows() > 0 && (len(n.test.Inputs) != len(n.train.Inputs) || len(n.test.Targets) != len(n.train.Targets)) {
		return Source{}, fmt.Errorf("the training part has %d inputs and %d targets, the test part %d and %d",
			len(n.train.Inputs), len(n.train.Targets), len(n.test.Inputs), len(n.test.Targets))
	}
	sortLike(n.test.Inputs, n.train.Inputs)
	sortLike(n.test.Targets, n.train.Targets)
	return Source{Format: format, Train: n.train, Test: n.test}, nil
}

// sortLike orders arrays by the order in which their names occur in like; names that do not occur are left for Concat to report.
func sortLike(arrays, like []Array) {
	for i := range like {
		for j := i; j < len(arrays); j++ {
			if arrays[j].Name == like[i].Name {
				arrays[i], arrays[j] = arrays[j], arrays[i]
			}
		}
	}
}

func openNpz(path string, o Options, l *limits) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return Source{}, fmt.Errorf("cannot open it: %w", unwrapPath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Source{}, err
	}
	parts := &namedArrays{}
	if err := readNpz(f, info.Size(), "", parts, o, l); err != nil {
		return Source{}, err
	}
	return parts.source("npz")
}

// openNpzFolder opens a folder with a single npz, or with train.npz and test.npz that hold x and y each.
func openNpzFolder(files []file, o Options, l *limits) (Source, error) {
	parts := &namedArrays{}
	for _, f := range files {
		part := ""
		if len(files) > 1 {
			part = strings.TrimSuffix(strings.ToLower(f.base()), ".npz")
			if part != "train" && part != "test" || len(files) > 2 {
				return Source{}, fmt.Errorf("the folder holds %d npz files (%s, …): name one of them, or call them train.npz and test.npz", len(files), f.path)
			}
		}
		r, err := f.open()
		if err == nil {
			err = readNpz(r, f.size, part, parts, o, l)
			r.Close()
		}
		if err != nil {
			return Source{}, fmt.Errorf("%q: %w", f.path, unwrapPath(err))
		}
	}
	return parts.source("npz")
}

// readNpz reads the arrays of an npz of the given size; part, where not empty, is what a key without part belongs to.
func readNpz(at io.ReaderAt, size int64, part string, parts *namedArrays, o Options, l *limits) error {
	z, err := zip.NewReader(at, size)
	if err != nil {
		return fmt.Errorf("it is not an npz (zip) file: %w", err)
	}
	for _, m := range z.File {
		text, ok := strings.CutSuffix(m.Name, ".npy")
		if !ok {
			return fmt.Errorf("%q is no array: an npz holds .npy files only", m.Name)
		}
		key, err := parseKey(text)
		if err != nil {
			return err
		}
		if part != "" {
			if key.part != "" {
				return fmt.Errorf("array %q: the names of the files say already what is training and test", text)
			}
			key.part, key.text = part, part+"/"+text
		}
		a, err := readMember(m, size, key.limit(o), l)
		if err != nil {
			return fmt.Errorf("array %q: %w", text, err)
		}
		if err := parts.add(key, a); err != nil {
			return err
		}
	}
	return nil
}

// ReadNpz reads all arrays of an npz file, whatever they are called, in the order of the file. maxBytes bounds them as in Options.
func ReadNpz(path string, maxBytes int64) ([]Array, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBytes
	}
	l := &limits{samples: maxBytes, unpacked: maxBytes, max: maxBytes}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %q: cannot open it: %w", path, unwrapPath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("data: %q: %w", path, err)
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("data: %q: it is not an npz (zip) file: %w", path, err)
	}
	var arrays []Array
	for _, m := range z.File {
		a, err := readMember(m, info.Size(), 0, l)
		if err != nil {
			return nil, fmt.Errorf("data: %q: array %q: %w", path, m.Name, err)
		}
		a.Name = strings.TrimSuffix(m.Name, ".npy")
		arrays = append(arrays, a)
	}
	return arrays, nil
}

// readMember reads one array of an npz of the given size.
func readMember(m *zip.File, size int64, limit int, l *limits) (Array, error) {
	r, err := m.Open()
	if err != nil {
		return Array{}, err
	}
	defer r.Close()
	// Deflate makes at most 1032 bytes of one (zlib's technical details): what is declared beyond that is not there.
	have := int64(min(m.UncompressedSize64, 1<<62))
	if m.Method != zip.Store {
		have = min(have, int64(min(m.CompressedSize64, 1<<50))*1032+1032)
	} else {
		have = min(have, size)
	}
	return readNpy(l.reader(r), have, limit, l)
}
