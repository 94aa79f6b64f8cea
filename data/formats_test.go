package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func idxBytes(code byte, shape []uint32, raw []byte) []byte {
	b := []byte{0, 0, code, byte(len(shape))}
	for _, d := range shape {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, raw...)
}

func writeFiles(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestIdx(t *testing.T) {
	pixels := []byte{0, 1, 2, 3, 255, 5, 6, 7}
	files := map[string][]byte{
		"train-images-idx3-ubyte": idxBytes(8, []uint32{2, 2, 2}, pixels),
		"train-labels-idx1-ubyte": idxBytes(8, []uint32{2}, []byte{7, 3}),
		"t10k-images.idx3-ubyte":  idxBytes(8, []uint32{1, 2, 2}, pixels[4:]),
		"t10k-labels.idx1-ubyte":  idxBytes(8, []uint32{1}, []byte{9}),
		"README.md":               []byte("passed over"),
	}
	dir := writeFiles(t, files)
	for _, path := range []string{dir, filepath.Join(dir, "train-images-idx3-ubyte")} {
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		x, y := s.Train.Inputs[0], s.Train.Targets[0]
		if !slices.Equal(x.Float, []float32{0, 1, 2, 3, 255, 5, 6, 7}) || !slices.Equal(x.Shape, []int{2, 2, 2}) || !slices.Equal(y.Int, []int32{7, 3}) {
			t.Errorf("got %+v, %+v", x, y)
		}
		if s.Test.Targets[0].Int[0] != 9 || s.Test.Inputs[0].Float[0] != 255 {
			t.Errorf("got %+v", s.Test)
		}
	}
	var f64 []byte
	f64 = binary.BigEndian.AppendUint64(f64, math.Float64bits(-2.5))
	a, err := readIdx(bytes.NewReader(idxBytes(0x0e, []uint32{1}, f64)), -1, true, 0, roomy())
	if err != nil || a.Float[0] != -2.5 {
		t.Errorf("float64: %+v, %v", a, err)
	}
	a, err = readIdx(bytes.NewReader(idxBytes(0x0b, []uint32{1}, []byte{0xff, 0xfe})), -1, false, 0, roomy())
	if err != nil || a.Int[0] != -2 {
		t.Errorf("int16: %+v, %v", a, err)
	}
}

func TestIdxRefuses(t *testing.T) {
	images := idxBytes(8, []uint32{2, 2, 2}, make([]byte, 8))
	for _, c := range []struct {
		files map[string][]byte
		text  string
	}{
		{map[string][]byte{"train-images-idx3-ubyte": images}, "training labels (train-labels-idx1-ubyte) are missing"},
		{map[string][]byte{"t10k-images-idx3-ubyte": images}, "training images (train-images-idx3-ubyte) are missing"},
		{map[string][]byte{"train-images-idx3-ubyte": images[:20]}, "does not fit the 4 bytes"},
		{map[string][]byte{"train-images-idx3-ubyte": idxBytes(8, []uint32{1 << 31, 1 << 31, 1 << 31}, nil)}, "too many elements"},
		{map[string][]byte{"train-images-idx3-ubyte": idxBytes(7, []uint32{1}, nil)}, "idx type 0x07 is unknown"},
		{map[string][]byte{"train-images-idx3-ubyte": []byte("no idx")}, "not an idx file"},
		{map[string][]byte{"train-images-idx3-ubyte.gz": []byte("no gzip")}, "cannot unpack gzip"},
		{map[string][]byte{"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": idxBytes(8, []uint32{3}, make([]byte, 3))}, `"y" has 3 rows, "x" has 2`},
		{map[string][]byte{"train-images-idx3-ubyte": images, "x.npy": nil}, "two kinds of data"},
		{map[string][]byte{"a.txt": nil}, "none of its 1 files"},
		{map[string][]byte{"a-train-images-idx3-ubyte": images, "b-train-labels-idx1-ubyte": images}, "two sets"},
	} {
		_, err := Open(writeFiles(t, c.files), Options{})
		wantError(t, err, c.text)
	}
}

// cifarBytes is n records; pixel p of record i is (i+p)%251, labels count up.
func cifarBytes(n, labelBytes, first int) []byte {
	var b []byte
	for i := range n {
		if labelBytes == 2 {
			b = append(b, 19)
		}
		b = append(b, byte(first+i))
		for p := range cifarPixels {
			b = append(b, byte((i+p)%251))
		}
	}
	return b
}

func TestCIFAR(t *testing.T) {
	dir := writeFiles(t, map[string][]byte{
		"cifar-10-batches-bin/data_batch_1.bin": cifarBytes(3, 1, 0),
		"cifar-10-batches-bin/data_batch_2.bin": cifarBytes(2, 1, 3),
		"cifar-10-batches-bin/test_batch.bin":   cifarBytes(2, 1, 8),
		"cifar-10-batches-bin/batches.meta.txt": []byte("airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"),
		"cifar-10-batches-bin/readme.html":      nil,
	})
	for limit, rows := range map[int]int{0: 5, 4: 4, 99: 5} {
		s, err := Open(dir, Options{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		x, y := s.Train.Inputs[0], s.Train.Targets[0]
		if !slices.Equal(x.Shape, []int{rows, 3, 32, 32}) || !slices.Equal(y.Int, []int32{0, 1, 2, 3, 4}[:rows]) || s.Train.Classes[9] != "truck" {
			t.Errorf("got %v, %v, %q", x.Shape, y.Int, s.Train.Classes)
		}
		if got, want := x.Float[3*cifarPixels+700], float32(700%251); got != want { // the first record of the second file
			t.Errorf("pixel is %v, want %v", got, want)
		}
		if !slices.Equal(s.Test.Targets[0].Int, []int32{8, 9}) {
			t.Errorf("got %v", s.Test.Targets[0])
		}
	}
	s, err := Open(writeFiles(t, map[string][]byte{"train.bin": cifarBytes(2, 2, 98), "test.bin": cifarBytes(1, 2, 5)}), Options{})
	if err != nil || !slices.Equal(s.Train.Targets[0].Int, []int32{98, 99}) || s.Train.Classes != nil {
		t.Errorf("CIFAR-100: %v, %v", s.Train.Targets, err)
	}
	for text, files := range map[string]map[string][]byte{
		"not a number of records of 3073":               {"data_batch_1.bin": make([]byte, 3000)},
		"record 1: label 10, there are 10 classes":      {"data_batch_1.bin": cifarBytes(2, 1, 9)},
		"(data_batch_1.bin … or train.bin) are missing": {"test_batch.bin": cifarBytes(1, 1, 0)},
		"both CIFAR-10 and CIFAR-100":                   {"train.bin": nil, "data_batch_1.bin": nil},
		"there are no rows":                             {"data_batch_1.bin": nil},
	} {
		_, err := Open(writeFiles(t, files), Options{})
		wantError(t, err, text)
	}
}

// expected is what PIL read from an image (testdata/make.py), as [height,width,3].
func expected(t *testing.T, name string) []float32 {
	t.Helper()
	a, err := readNpyFile(t, "expect/"+name+".npy")
	if err != nil {
		t.Fatal(err)
	}
	return a.AsFloat().Float
}

func checkImages(t *testing.T, s Source) {
	t.Helper()
	classes := []string{"cat", "dog", "newt"}
	if s.Format != "images" || !slices.Equal(s.Train.Classes, classes) {
		t.Fatalf("got %s, %q", s.Format, s.Train.Classes)
	}
	for part, set := range map[string]Set{"train": s.Train, "test": s.Test} {
		x, y := set.Inputs[0], set.Targets[0]
		if !slices.Equal(x.Shape, []int{6, 6, 9, 3}) {
			t.Fatalf("%s: shape %v", part, x.Shape)
		}
		for r := range 6 {
			if int(y.Int[r]) != r%3 {
				t.Errorf("%s: label of row %d is %d", part, r, y.Int[r])
			}
			want := expected(t, fmt.Sprintf("%s_%s_%d", part, classes[r%3], r/3))
			if !slices.Equal(x.Select([]int32{int32(r)}).Float, want) {
				t.Errorf("%s: row %d differs from PIL", part, r)
			}
		}
	}
}

func TestImageFolder(t *testing.T) {
	s, err := Open("testdata/images", Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkImages(t, s)
	s, err = Open("testdata/images", Options{Limit: 2})
	if err != nil || !slices.Equal(s.Train.Targets[0].Int, []int32{0, 1}) || len(s.Train.Classes) != 3 || s.Test.Rows() != 6 {
		t.Errorf("limit: %+v, %v", s.Train.Targets, err)
	}
	s, err = Open("testdata/images/train", Options{})
	if err != nil || s.HasTest() || s.Train.Rows() != 6 {
		t.Errorf("classes only: %+v, %v", s.Train.Targets, err)
	}
	s, err = Open("testdata/gray", Options{})
	if err != nil || !slices.Equal(s.Train.Inputs[0].Shape, []int{2, 5, 5, 1}) {
		t.Errorf("gray: %+v, %v", s.Train.Inputs, err)
	}
}

// tarBytes packs testdata/images below a folder, as one would.
func tarBytes(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "set/", Typeflag: tar.TypeDir, Mode: 0o777})
	w.WriteHeader(&tar.Header{Name: "set/link.png", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	names, _ := filepath.Glob("testdata/images/*/*/*.png")
	for _, name := range names {
		content, _ := os.ReadFile(name)
		w.WriteHeader(&tar.Header{Name: strings.Replace(filepath.ToSlash(name), "testdata/images", "set", 1), Mode: 0o666, Size: int64(len(content))})
		w.Write(content)
	}
	w.Close()
	return b.Bytes()
}

func TestImageArchives(t *testing.T) {
	raw := tarBytes(t)
	var gz, xzb bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write(raw)
	g.Close()
	x, _ := xz.NewWriter(&xzb)
	x.Write(raw)
	x.Close()
	dir := writeFiles(t, map[string][]byte{"a.tar": raw, "a.tar.gz": gz.Bytes(), "a.tgz": gz.Bytes(), "a.tar.xz": xzb.Bytes(),
		"cut.tar": raw[:len(raw)/2+100], "cut.tar.xz": xzb.Bytes()[:xzb.Len()/2], "no.tar.xz": []byte("nothing")})
	for _, name := range []string{"a.tar", "a.tar.gz", "a.tgz", "a.tar.xz"} {
		s, err := Open(filepath.Join(dir, name), Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkImages(t, s)
	}
	for name, text := range map[string]string{"cut.tar": "damaged", "cut.tar.xz": "damaged", "no.tar.xz": "cannot unpack xz"} {
		_, err := Open(filepath.Join(dir, name), Options{})
		wantError(t, err, text)
	}
	_, err := Open(filepath.Join(dir, "a.tar"), Options{MaxBytes: 4000})
	wantError(t, err, "unpacks to more than the limit of 4000 bytes")
}

func TestImageKinds(t *testing.T) {
	for folder, names := range map[string][]string{
		"kinds": {"alpha.png", "bilevel.png", "full.jpg", "gray.png", "half.jpg", "palette.png"},
		"odd":   {"420.jpg", "422.jpg"},
	} {
		s, err := Open("testdata/"+folder, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for r, name := range names {
			want := expected(t, folder+"_"+name)
			worst, limit := 0.0, 0.0
			for i, v := range s.Train.Inputs[0].Select([]int32{int32(r)}).Float {
				worst = max(worst, math.Abs(float64(v-want[i])))
			}
			if strings.HasSuffix(name, ".jpg") {
				limit = 3 // the decoders' cosine transforms and color conversions round differently
			}
			if worst > limit {
				t.Errorf("%s/%s: differs from PIL by %v", folder, name, worst)
			}
		}
	}
}

func TestImagesRefuse(t *testing.T) {
	small, _ := os.ReadFile("testdata/gray/a/1.png")
	large, _ := os.ReadFile("testdata/images/train/cat/0.png")
	bomb := slices.Clone(small)
	binary.BigEndian.PutUint32(bomb[16:], 30_000) // width and height of the IHDR chunk, then its checksum
	binary.BigEndian.PutUint32(bomb[20:], 30_000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	for _, c := range []struct {
		files map[string][]byte
		text  string
	}{
		{map[string][]byte{"a/1.png": small, "b/1.png": large}, `all images must have one size`},
		{map[string][]byte{"1.png": small}, "lies in no class folder"},
		{map[string][]byte{"a/1.png": small, "2.png": small}, "lies in no class folder"},
		{map[string][]byte{"a/1.png": small[:40]}, `"a/1.png"`},
		{map[string][]byte{"a/1.png": []byte("text")}, `"a/1.png" is no PNG or JPEG image`},
		{map[string][]byte{"a/1.png": bomb}, `"a/1.png" is 30000x30000: too large for the limit`},
		{map[string][]byte{"train/a/1.png": small, "val/a/1.png": small}, "images lie in CLASS/FILE, or in train/CLASS/FILE and test/CLASS/FILE"},
		{map[string][]byte{"a/1.png": small, "b/c/1.png": small}, "images lie in CLASS/FILE"},
	} {
		_, err := Open(writeFiles(t, c.files), Options{})
		wantError(t, err, c.text)
	}
}

func FuzzIdx(f *testing.F) {
	f.Add(idxBytes(8, []uint32{2, 2, 2}, make([]byte, 8)))
	f.Add(idxBytes(0x0e, []uint32{1}, make([]byte, 8)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, size := range []int64{int64(len(b)), -1} {
			a, err := readIdx(bytes.NewReader(b), size, size < 0, 2, roomy())
			if err == nil && a.Check() != nil {
				t.Fatalf("accepted %v", a.Check())
			}
		}
	})
}

func FuzzCIFAR(f *testing.F) {
	f.Add(cifarBytes(2, 1, 0), "data_batch_1.bin")
	f.Add(cifarBytes(1, 2, 0), "train.bin")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		memory := func(name string) file {
			return file{path: name, size: int64(len(b)), open: func() (content, error) { return inMemory{bytes.NewReader(b)}, nil }}
		}
		s, err := openCIFAR([]file{memory(name), memory("batches.meta.txt")}, Options{}, roomy())
		if err == nil && s.Train.Check() != nil {
			t.Fatal(s.Train.Check())
		}
	})
}

func FuzzTar(f *testing.F) {
	f.Add(tarBytes(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{MaxBytes: 1 << 20})
		if err == nil && s.Train.Check() != nil {
			t.Fatal(s.Train.Check())
		}
	})
}
