package data

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// cifarName are the files of the binary CIFAR-10 and CIFAR-100 (A. Krizhevsky's CIFAR page).
var cifarName = regexp.MustCompile(`^(data_batch_\d+|test_batch|train|test)\.bin$`)

// cifarPixels is one image: three channels (red, green, blue) of 32x32.
const cifarPixels = 3 * 32 * 32

// openCIFAR opens a folder of CIFAR-10 (records of a label and an image) or CIFAR-100 (a coarse label, a fine one, and an image; the
// fine one is the target). Images are [N,3,32,32] floats of 0..255. Classes are read from batches.meta.txt or fine_label_names.txt.
func openCIFAR(files []file, o Options, l *limits) (Source, error) {
	var train, test []file
	fine := 0
	var names []string
	for _, f := range files {
		base := strings.ToLower(f.base())
		switch {
		case base == "batches.meta.txt" || base == "fine_label_names.txt":
			err := f.read(l, func(r io.Reader) error {
				b, err := io.ReadAll(io.LimitReader(r, 1<<16))
				names = strings.Fields(string(b))
				return err
			})
			if err != nil {
				return Source{}, err
			}
		case !cifarName.MatchString(base):
			continue
		case strings.HasPrefix(base, "test"):
			test = append(test, f)
		default:
			train = append(train, f)
		}
		if base == "train.bin" || base == "test.bin" {
			fine = 1
		}
	}
	if fine == 1 && (len(train) > 1 || len(test) > 1) {
		return Source{}, fmt.Errorf("the folder holds both CIFAR-10 and CIFAR-100: keep one data set in a folder")
	}
	if len(train) == 0 {
		return Source{}, fmt.Errorf("the training images (data_batch_1.bin … or train.bin) are missing")
	}
	classes := 10
	if fine == 1 {
		classes = 100
	}
	if len(names) != classes {
		names = nil
	}
	s := Source{Format: "cifar"}
	var err error
	if s.Train, err = readCIFAR(train, fine, classes, o.Limit, l); err != nil {
		return Source{}, err
	}
	if len(test) > 0 {
		if s.Test, err = readCIFAR(test, fine, classes, 0, l); err != nil {
			return Source{}, err
		}
		s.Test.Classes = names
	}
	s.Train.Classes = names
	return s, nil
}

// readCIFAR reads records of fine+1 label bytes, the last of which counts, and an image.
func readCIFAR(files []file, fine, classes, limit int, l *limits) (Set, error) {
	record := make([]byte, fine+1+cifarPixels)
	x := Array{Name: "x", Float: []float32{}}
	y := Array{Name: "y", Int: []int32{}}
	left := int64(0)
	for _, f := range files {
		if f.size%int64(len(record)) != 0 {
			return Set{}, fmt.Errorf("%q: %d bytes are not a number of records of %d", f.path, f.size, len(record))
		}
		left += f.size / int64(len(record))
	}
	if limit > 0 {
		left = min(left, int64(limit))
	}
	if left > int64(l.max)/cifarPixels {
		return Set{}, l.take(int(l.max))
	}
	n := int(left)
	if err := l.take(n * (cifarPixels + 1)); err != nil {
		return Set{}, err
	}
	x.Float, y.Int = slices.Grow(x.Float, n*cifarPixels), slices.Grow(y.Int, n)
	for _, f := range files {
		err := f.read(l, func(r io.Reader) error {
			for i := 0; i < int(f.size/int64(len(record))) && len(y.Int) < n; i++ {
				if _, err := io.ReadFull(r, record); err != nil {
					return fmt.Errorf("record %d: %w", i, err)
				}
				label := record[fine]
				if int(label) >= classes {
					return fmt.Errorf("record %d: label %d, there are %d classes (0..%d)", i, label, classes, classes-1)
				}
				y.Int = append(y.Int, int32(label))
				for _, p := range record[fine+1:] {
					x.Float = append(x.Float, float32(p))
				}
			}
			return nil
		})
		if err != nil {
			return Set{}, err
		}
	}
	x.Shape, y.Shape = []int{n, 3, 32, 32}, []int{n}
	return Set{Inputs: []Array{x}, Targets: []Array{y}}, nil
}
