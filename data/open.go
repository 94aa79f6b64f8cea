package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultMaxBytes bounds a data set when Options.MaxBytes is 0: CIFAR-10 takes 0.7 GiB as float32.
const DefaultMaxBytes = 4 << 30

// Options say how a data set is read. The zero value reads everything with the defaults.
type Options struct {
	// Limit reads at most that many rows of the training part, the first ones in the order of the source (image folders: the first
	// of every class in turn); 0 reads all. A test part is always read whole.
	Limit int
	// Targets are the target columns of a CSV file: names of its header or numbers counted from 1. Empty: the last column.
	Targets []string
	// Categorical are the CSV columns, named likewise, whose values are categories: each becomes one 0/1 feature per distinct value, in
	// sorted order. "*" stands for every input column that holds text. Without it text in an input column is an error.
	Categorical []string
	// MaxBytes bounds the memory for the samples and, apart from that, what compressed files and archives unpack to; 0 is DefaultMaxBytes.
	MaxBytes int64
}

// Source is what a path holds: one Set, or a training and a test part where the source comes divided.
type Source struct {
	Format      string // npz, npy, csv, idx, cifar or images
	Train, Test Set    // Test is empty where the source has none
}

// HasTest says whether the source comes with its own test part.
func (s Source) HasTest() bool { return len(s.Test.Inputs) > 0 }

// Split divides a source: with Join where it has its own test part, which is the hold-out then, otherwise with Split.
func (s Source) Split(r Ratios, seed uint64, stratify bool) (Splits, error) {
	if s.HasTest() {
		return Join(s.Train, s.Test, r, seed, stratify)
	}
	return Split(s.Train, r, seed, stratify)
}

// Open reads a data set. A path is a file, or a folder (or a .tar, .tar.gz, .tar.xz, .tar.bz2 of one) that holds one data set:
//
//	npz     x, y; or x_train, y_train, x_test, y_test; several inputs or outputs as x:NAME, x_train:NAME, y_test:NAME, …
//	npy     a folder of files that are named like the arrays of an npz, x.npy and so on, or the path of one of them
//	csv     .csv or .tsv, also .gz or .xz; the header is optional; a folder with train.csv and test.csv comes divided
//	idx     a folder with the MNIST names: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…, also .gz
//	cifar   a folder with the binary CIFAR-10 (data_batch_1.bin …, test_batch.bin) or CIFAR-100 (train.bin, test.bin)
//	images  a folder of PNG or JPEG files, one folder per class, the classes under train/ and test/ where the set comes divided
//
// Elements stay as they are stored: floats become float32, integers and booleans int32, pixels are 0..255 in float32. Images are
// [N,height,width] in idx, [N,3,32,32] in CIFAR and [N,height,width,channels] from image files; Fit brings them into the
// layout of a model. Unnamed inputs are called "x", unnamed targets "y".
func Open(path string, o Options) (Source, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	s, err := open(path, o)
	if err != nil {
		return Source{}, fmt.Errorf("data: %q: %w", path, err)
	}
	for _, part := range []*Set{&s.Train, &s.Test} {
		if part == &s.Test && !s.HasTest() {
			continue
		}
		if err := part.Check(); err != nil {
			return Source{}, fmt.Errorf("data: %q: %s", path, strings.TrimPrefix(err.Error(), "data: "))
		}
		if part.Rows() == 0 {
			return Source{}, fmt.Errorf("data: %q: there are no rows", path)
		}
	}
	return s, nil
}

func open(path string, o Options) (Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Source{}, fmt.Errorf("cannot open it: %w", unwrapPath(err))
	}
	l := &limits{samples: o.MaxBytes, unpacked: o.MaxBytes, max: o.MaxBytes}
	name := strings.ToLower(filepath.Base(path))
	switch {
	case info.IsDir():
		files, err := listFolder(path)
		if err != nil {
			return Source{}, err
		}
		return openFiles(files, o, l)
	case archiveName.MatchString(name):
		files, err := unpackTar(path, l)
		if err != nil {
			return Source{}, err
		}
		return openFiles(files, o, l)
	case strings.HasSuffix(name, ".npz"):
		return openNpz(path, o, l)
	case csvName.MatchString(name):
		return openCSV([]file{diskFile(path, filepath.Base(path), info.Size())}, o, l)
	case strings.HasSuffix(name, ".npy") || idxName.MatchString(name):
		files, err := listFolder(filepath.Dir(path))
		if err != nil {
			return Source{}, err
		}
		f := formatOf[0]
		if strings.HasSuffix(name, ".npy") {
			f = formatOf[1]
		}
		return f.open(slices.DeleteFunc(files, func(x file) bool {
			return strings.Contains(x.path, "/") || !f.isMember(strings.ToLower(x.path))
		}), o, l)
	}
	return Source{}, fmt.Errorf("unknown data format: there are .npz, .npy, .csv, .tsv, idx (MNIST names) and folders or .tar archives of these, of CIFAR binaries and of images")
}

// formatOf are the formats that a folder may hold, told by the names of its files; isMember gets the lower-case base name.
var formatOf []format

type format struct {
	name     string
	isMember func(base string) bool
	open     func([]file, Options, *limits) (Source, error)
}

func init() { // not in the declaration: open refers to the list
	formatOf = []format{
		{"idx", idxName.MatchString, openIdx},
		{"npy", func(b string) bool { return strings.HasSuffix(b, ".npy") }, openNpy},
		{"cifar", cifarName.MatchString, openCIFAR},
		{"csv", csvName.MatchString, openCSVFolder},
		{"images", imageName.MatchString, openImages},
		{"npz", func(b string) bool { return strings.HasSuffix(b, ".npz") }, openNpzFolder},
	}
}

// openFiles opens the one data set that a folder or archive holds. Files of no data format (README, .names) are passed over.
func openFiles(files []file, o Options, l *limits) (Source, error) {
	var found format
	var members []file
	for _, f := range formatOf {
		var m []file
		for _, x := range files {
			if f.isMember(strings.ToLower(x.base())) {
				m = append(m, x)
			}
		}
		if len(m) == 0 {
			continue
		}
		if found.open != nil {
			return Source{}, fmt.Errorf("the folder holds two kinds of data, %s (%s) and %s (%s): keep one data set in a folder",
				found.name, members[0].path, f.name, m[0].path)
		}
		found, members = f, m
	}
	if found.open == nil {
		return Source{}, fmt.Errorf("the folder holds no data: none of its %d files is an npz, npy, csv, idx, CIFAR or image file", len(files))
	}
	if found.name == "cifar" {
		members = files // with the files that name the classes
	}
	return found.open(members, o, l)
}
