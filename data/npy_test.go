package data

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func roomy() *limits { return &limits{samples: 1 << 20, unpacked: 1 << 20, max: 1 << 20} }

func readNpyFile(t *testing.T, name string) (Array, error) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return readNpy(bytes.NewReader(b), int64(len(b)), 0, roomy())
}

// npyBytes is an npy file of the given header fields and raw elements.
func npyBytes(descr, order, shape string, raw []byte) []byte {
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }\n", descr, order, shape)
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(head)), byte(len(head)>>8))
	return append(append(b, head...), raw...)
}

// The files were written by numpy (testdata/make.py).
func TestNpyTypes(t *testing.T) {
	want := []float32{0, 1, 2, 3, 100, 127}
	types := 0
	for _, order := range []string{"le_", "be_", ""} {
		for _, kind := range []string{"f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"} {
			name := "npy/" + order + kind + ".npy"
			if _, err := os.Stat("testdata/" + name); err != nil {
				continue
			}
			types++
			a, err := readNpyFile(t, name)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if a.IsInt() != (kind[0] != 'f') || !slices.Equal(a.AsFloat().Float, want) || !slices.Equal(a.Shape, []int{2, 3}) {
				t.Errorf("%s: got %+v", name, a)
			}
		}
	}
	if types != 20 {
		t.Errorf("%d of 20 types tested", types)
	}
	a, err := readNpyFile(t, "npy/bool.npy")
	if err != nil || !slices.Equal(a.Int, []int32{1, 0, 1, 0, 0, 1}) {
		t.Errorf("bool: %+v, %v", a, err)
	}
	a, err = readNpyFile(t, "npy/version2.npy")
	if err != nil || !slices.Equal(a.Float, want) {
		t.Errorf("version 2: %+v, %v", a, err)
	}
}

func TestNpyFortranOrder(t *testing.T) {
	a, err := readNpyFile(t, "npy/fortran.npy")
	if err != nil {
		t.Fatal(err)
	}
	if want := seq("", 4, 3, 2); !slices.Equal(a.Float, want.Float) || !slices.Equal(a.Shape, want.Shape) {
		t.Errorf("got %+v", a)
	}
	b, _ := os.ReadFile("testdata/npy/fortran.npy")
	a, err = readNpy(bytes.NewReader(b), int64(len(b)), 3, roomy())
	if err != nil || !slices.Equal(a.Float, seq("", 3, 3, 2).Float) {
		t.Errorf("with a limit: %+v, %v", a, err)
	}
}

func TestNpyHalf(t *testing.T) {
	a, err := readNpyFile(t, "npy/half.npy")
	if err != nil {
		t.Fatal(err)
	}
	b, err := readNpyFile(t, "npy/half_as_float.npy")
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Float {
		if x, y := math.Float32bits(a.Float[i]), math.Float32bits(b.Float[i]); x != y {
			t.Errorf("element %d: bits %08x, numpy has %08x", i, x, y)
		}
	}
}

func TestNpyRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"npy/big.npy":     "element 1 is 2147483648, beyond 32-bit integers",
		"npy/complex.npy": `numpy type "<c16" is not read`,
		"npy/text.npy":    `numpy type "<U1" is not read`,
		"npy/scalar.npy":  "it has no rows",
	} {
		if _, err := readNpyFile(t, name); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []struct {
		b    []byte
		text string
	}{
		{npyBytes("<f4", "False", "1152921504606846976, 1152921504606846976", nil), "too many elements"},
		{npyBytes("<f4", "False", "100000000", []byte{1, 2, 3, 4}), "does not fit the 4 bytes that are there"},
		{npyBytes("<f4", "False", "2, 3", make([]byte, 20)), "does not fit the 20 bytes"},
		{npyBytes("<f4", "False", "99999999999999999999", nil), "declares the shape"},
		{npyBytes("<f4", "False", strings.Repeat("1,", 40), make([]byte, 4)), "has 40 axes"},
		{npyBytes("|O", "False", "3", nil), `numpy type "|O" is not read`},
		{[]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), "the npy header has 4294967295 bytes"},
		{[]byte("\x93NUMPY\x09\x00"), "version 9.0 is unknown"},
		{[]byte("PK"), "not an npy file"},
		{npyBytes("<f4", "False", "400000", make([]byte, 1600000)), "more than the limit of 1048576 bytes"},
	} {
		if _, err := readNpy(bytes.NewReader(c.b), int64(len(c.b)), 0, roomy()); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%.60q: %v", c.b, err)
		}
	}
}

// Whatever shape and order an array is written in, it reads back as the same elements.
func TestNpyWriteRead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		shape := make([]int, 1+random.IntN(4))
		var text []string
		for i := range shape {
			shape[i] = random.IntN(5)
			text = append(text, fmt.Sprint(shape[i]))
		}
		n, _ := elements(shape)
		values := make([]float32, n)
		for i := range values {
			values[i] = random.Float32() - 0.5
		}
		for _, fortran := range []bool{false, true} {
			raw := make([]byte, 4*n)
			for i, v := range values {
				// Element i lies, column-major, where its index counts with the first axis fastest.
				at := i
				if fortran {
					rest, stride := i, n
					at = 0
					for axis := len(shape) - 1; axis >= 0; axis-- {
						stride /= shape[axis]
						at += rest % shape[axis] * stride
						rest /= shape[axis]
					}
				}
				binary.BigEndian.PutUint32(raw[4*at:], math.Float32bits(v))
			}
			order := map[bool]string{false: "False", true: "True"}[fortran]
			b := npyBytes(">f4", order, strings.Join(text, ", ")+",", raw)
			a, err := readNpy(bytes.NewReader(b), int64(len(b)), 0, roomy())
			if err != nil || !slices.Equal(a.Float, values) || !slices.Equal(a.Shape, shape) {
				t.Fatalf("shape %v, fortran %v: %v, %v, want %v", shape, fortran, a, err, values)
			}
		}
	}
}

func TestNpz(t *testing.T) {
	x := seq("x", 6, 4)
	s, err := Open("testdata/npz/whole.npz", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.HasTest() || !slices.Equal(s.Train.Inputs[0].Float, x.Float) || !slices.Equal(s.Train.Targets[0].Int, []int32{0, 1, 2, 0, 1, 2}) {
		t.Errorf("got %+v", s)
	}
	s, err = Open("testdata/npz/divided.npz", Options{Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if s.Train.Rows() != 3 || s.Test.Rows() != 2 || s.Test.Inputs[0].Float[0] != 100 {
		t.Errorf("got %+v", s)
	}
	s, err = Open("testdata/npz/named.npz", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []Set{s.Train, s.Test} {
		if len(set.Inputs) != 2 || set.Inputs[0].Name != "image" || set.Inputs[1].Name != "pose" || set.Targets[0].Name != "gaze" {
			t.Errorf("got %+v", set)
		}
	}
	if !s.Train.Inputs[0].IsInt() || s.Train.Inputs[0].Int[59] != 59 || s.Test.Inputs[1].Float[0] != 2 {
		t.Errorf("got %+v", s.Train.Inputs[0])
	}
	if _, err := s.Split(Ratios{Train: 3, Search: 2}, 1, false); err != nil {
		t.Error(err)
	}
}

func TestNpyFolder(t *testing.T) {
	for _, path := range []string{"testdata/npyfolder", "testdata/npyfolder/x.npy"} {
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Format != "npy" || s.Train.Rows() != 6 || s.Train.Targets[0].Name != "y" {
			t.Errorf("got %+v", s)
		}
	}
}

// npzFile writes an npz with the given members.
func npzFile(t testing.TB, members ...any) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w, _ := z.Create(members[i].(string))
		w.Write(members[i+1].([]byte))
	}
	z.Close()
	path := filepath.Join(t.TempDir(), "data.npz")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNpzRefuses(t *testing.T) {
	two := npyBytes("<f4", "False", "2,", make([]byte, 8))
	three := npyBytes("<f4", "False", "3,", make([]byte, 12))
	bomb := npyBytes("|u1", "False", "50000000,", make([]byte, 50_000_000))
	huge := npyBytes("<f4", "False", "1000000000,", make([]byte, 8))
	for _, c := range []struct {
		path string
		o    Options
		text string
	}{
		{npzFile(t, "tokens.npy", two), Options{}, `array "tokens": the name must be x or y`},
		{npzFile(t, "x.npy", two, "y.npy", three), Options{}, `"y" has 3 rows, "x" has 2`},
		{npzFile(t, "y.npy", two), Options{}, "there is no input array"},
		{npzFile(t, "x.npy", two, "x_train.npy", two), Options{}, "with and without _train or _test"},
		{npzFile(t, "x_test.npy", two), Options{}, "there is no input array"},
		{npzFile(t, "x_train.npy", two, "y_train.npy", two, "x_test.npy", two), Options{}, "1 inputs and 1 targets, the test part 1 and 0"},
		{npzFile(t, "x.npy", two, "x.npy", two), Options{}, `two arrays "x"`},
		{npzFile(t, "readme.txt", two), Options{}, `"readme.txt" is no array`},
		{npzFile(t, "x.npy", bomb), Options{MaxBytes: 1 << 20}, "more than the limit of 1048576 bytes"},
		{npzFile(t, "x.npy", huge), Options{}, "does not fit"},
		{npzFile(t, "x.npy", npyBytes("<f4", "False", "0,", nil)), Options{}, "there are no rows"},
		{"testdata/npy/le_f4.npy", Options{}, `the name must be x or y`},
		{"testdata/missing.npz", Options{}, "no such file"},
		{"testdata/make.py", Options{}, "unknown data format"},
		{"testdata/expect", Options{}, `the name must be x or y`},
	} {
		_, err := Open(c.path, c.o)
		wantError(t, err, c.text)
	}
	bad := filepath.Join(t.TempDir(), "x.npz")
	os.WriteFile(bad, []byte("PK\x03\x04 no zip"), 0o666)
	_, err := Open(bad, Options{})
	wantError(t, err, "not an npz (zip) file")
}

func FuzzNpy(f *testing.F) {
	names, _ := filepath.Glob("testdata/npy/*.npy")
	for _, name := range names {
		b, _ := os.ReadFile(name)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, size := range []int64{int64(len(b)), -1} {
			for _, limit := range []int{0, 2} {
				a, err := readNpy(bytes.NewReader(b), size, limit, roomy())
				if err == nil && a.Check() != nil {
					t.Fatalf("accepted %v", a.Check())
				}
			}
		}
	})
}

func FuzzNpz(f *testing.F) {
	names, _ := filepath.Glob("testdata/npz/*.npz")
	for _, name := range names {
		b, _ := os.ReadFile(name)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parts := &namedArrays{}
		if readNpz(bytes.NewReader(b), int64(len(b)), "", parts, Options{}, roomy()) == nil {
			parts.source("npz")
		}
	})
}
