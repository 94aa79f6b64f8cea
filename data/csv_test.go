package data

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func csvFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	b := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		b = z.Bytes()
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCSV(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name, text string
		o          Options
		x          []float32
		width      int
		y          []float32
		yInt       bool
		classes    []string
	}{
		{"labels", "1,2,0\n3,4,1\n", Options{}, []float32{1, 2, 3, 4}, 2, []float32{0, 1}, true, nil},
		{"text labels", "1,dog\n3,cat\n4,dog\n", Options{}, []float32{1, 3, 4}, 1, []float32{1, 0, 1}, true, []string{"cat", "dog"}},
		{"numbers and text as labels", "1,7\n3,cat\n", Options{}, []float32{1, 3}, 1, []float32{0, 1}, true, []string{"7", "cat"}},
		{"regression", "1,2.5\n3,1\n", Options{}, []float32{1, 3}, 1, []float32{2.5, 1}, false, nil},
		{"header", "a,b,y\n1,2,0\n", Options{}, []float32{1, 2}, 2, []float32{0}, true, nil},
		{"header of pandas", "0,1,2,3\n5,6,7,8\n", Options{}, []float32{5, 6, 7}, 3, []float32{8}, true, nil},
		{"no header of pandas", "0,1,2\n5,6,7\n", Options{}, []float32{0, 1, 5, 6}, 2, []float32{2, 7}, true, nil},
		{"target by name", "y,a\n1,2\n", Options{Targets: []string{"y"}}, []float32{2}, 1, []float32{1}, true, nil},
		{"target by number", "5,1,2\n", Options{Targets: []string{"1"}}, []float32{1, 2}, 2, []float32{5}, true, nil},
		{"two targets", "p,a,q\n1,2,3\n4,5,6\n", Options{Targets: []string{"q", "p"}}, []float32{2, 5}, 1, []float32{3, 1, 6, 4}, false, nil},
		{"semicolons", "1.5;2;0\n", Options{}, []float32{1.5, 2}, 2, []float32{0}, true, nil},
		{"spaces and quotes", "1, \"2\", \"a b\"\n", Options{}, []float32{1, 2}, 2, []float32{0}, true, []string{"a b"}},
		{"byte order mark, CRLF, blank line", "\xef\xbb\xbf1,2\r\n\r\n3,4\r\n", Options{}, []float32{1, 3}, 1, []float32{2, 4}, true, nil},
		{"NaN and Inf are numbers", "nan,0\ninf,1\n-Inf,1\n1e99,1\n", Options{}, []float32{nan, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Inf(1))}, 1, []float32{0, 1, 1, 1}, true, nil},
		{"limit", "1,2\n3,4\n5,6\n", Options{Limit: 2}, []float32{1, 3}, 1, []float32{2, 4}, true, nil},
		{"limit 1", "1,2\n3,4\n5,6\n", Options{Limit: 1}, []float32{1}, 1, []float32{2}, true, nil},
		{"categorical", "M,1,0\nF,2,1\nM,3,0\n", Options{Categorical: []string{"*"}}, []float32{0, 1, 1, 1, 0, 2, 0, 1, 3}, 3, []float32{0, 1, 0}, true, nil},
		{"categorical number", "s,v,y\n3,1,0\n1,2,1\n", Options{Categorical: []string{"s"}}, []float32{0, 1, 1, 1, 0, 2}, 3, []float32{0, 1}, true, nil},
	} {
		for _, ext := range []string{".csv", ".csv.gz"} {
			s, err := Open(csvFile(t, "a"+ext, c.text), c.o)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			x, y := s.Train.Inputs[0], s.Train.Targets[0]
			same := func(a, b float32) bool { return a == b || a != a && b != b }
			if !slices.EqualFunc(x.Float, c.x, same) || x.Shape[1] != c.width {
				t.Errorf("%s: x is %v %v", c.name, x.Shape, x.Float)
			}
			if !slices.Equal(y.AsFloat().Float, c.y) || y.IsInt() != c.yInt || !slices.Equal(s.Train.Classes, c.classes) {
				t.Errorf("%s: y is %+v, classes %q", c.name, y, s.Train.Classes)
			}
		}
	}
	s, err := Open(csvFile(t, "a.tsv", "1\t2\n3\t4\n"), Options{})
	if err != nil || s.Train.Rows() != 2 {
		t.Errorf("tsv: %+v, %v", s, err)
	}
}

func TestCSVRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		o    Options
		want string
	}{
		{"1,2\n3,\n", Options{}, `line 2, column 2: the value is missing ("")`},
		{"age,y\n1,2\n?,4\n", Options{}, `line 3, column "age": the value is missing ("?")`},
		{"1,2\n3,4,5\n", Options{}, "line 2 has 3 fields, the first line has 2"},
		{",a,y\n0,1,2\n", Options{}, "index=False"},
		{"1,2\nred,4\n", Options{}, `line 2, column 1: "red" is no number: name the column as categorical`},
		{"1,2\n0x10,4\n", Options{}, `"0x10" is no number`},
		{"", Options{}, "the file is empty"},
		{"a,b\n", Options{}, `"a" is no number`},
		{"1\n2\n", Options{}, "there are 1 columns, all of them targets"},
		{"1,2\n", Options{Targets: []string{"z"}}, `target column "z": the file has no header; give a number from 1 to 2`},
		{"a,b\n1,2\n", Options{Targets: []string{"z"}}, `target column "z": the header has ["a" "b"]`},
		{"a,b,c\n1,2,3\n", Options{Targets: []string{"a", "1"}}, `named twice`},
		{"1,2\n", Options{Targets: []string{"3"}}, `give a number from 1 to 2`},
		{"a,b,y\n1,2,red\n", Options{Targets: []string{"b", "y"}}, `target column "y" holds "red": of several target columns all must be numbers`},
		{"a,y\n1,\"x\n", Options{}, "line 2: "},
		{strings.Repeat("1,2\n", 200_000), Options{MaxBytes: 1 << 20}, "more than the limit of 1048576 bytes"},
	} {
		_, err := Open(csvFile(t, "a.csv", c.text), c.o)
		wantError(t, err, c.want)
	}
	_, err := Open(csvFile(t, "a.csv", "y,x\n"), Options{Targets: []string{"y"}})
	wantError(t, err, "no rows below the header")
}

func TestCSVFolder(t *testing.T) {
	path := csvFile(t, "train.csv", "1,b\n2,c\n")
	test := filepath.Join(filepath.Dir(path), "test.csv")
	os.WriteFile(test, []byte("3,a\n"), 0o666)
	s, err := Open(filepath.Dir(path), Options{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	// The classes are those of both parts (of the rows that were read), so that a label means the same in both.
	if !slices.Equal(s.Test.Classes, []string{"a", "b"}) || s.Train.Targets[0].Int[0] != 1 || s.Test.Targets[0].Int[0] != 0 || s.Test.Inputs[0].Float[0] != 3 {
		t.Errorf("got %+v", s)
	}
	os.WriteFile(test, []byte("3,4,a\n"), 0o666)
	_, err = Open(filepath.Dir(path), Options{})
	wantError(t, err, "the columns differ from those of the training part")
	os.Rename(test, filepath.Join(filepath.Dir(path), "other.csv"))
	_, err = Open(filepath.Dir(path), Options{})
	wantError(t, err, "holds 2 csv files")
}

// A decompression bomb ends in an error at the limit, not in memory.
func TestGzipBomb(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.csv.gz")
	f, _ := os.Create(path)
	w := gzip.NewWriter(f)
	io.Copy(w, io.LimitReader(zeros{}, 64<<20)) // one line of 64 MiB in 64 KiB
	w.Close()
	f.Close()
	_, err := Open(path, Options{MaxBytes: 4 << 20})
	wantError(t, err, "unpacks to more than the limit of 4194304 bytes")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestCSVWriteRead(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		rows, width := 1+random.IntN(20), 1+random.IntN(6)
		var text strings.Builder
		var x []float32
		for range rows {
			for range width {
				v := float32(random.NormFloat64() * math.Pow(10, float64(random.IntN(60)-30)))
				x = append(x, v)
				fmt.Fprintf(&text, "%v,", v)
			}
			fmt.Fprintln(&text, random.IntN(3))
		}
		s, err := Open(csvFile(t, "a.csv", text.String()), Options{})
		if err != nil || !slices.Equal(s.Train.Inputs[0].Float, x) {
			t.Fatalf("%v\n%s", err, text.String())
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b,y\n1,2,red\n3,4,blue\n", "1;2\n3;4\n", "\xef\xbb\xbfx\ty\n1\t\n", "\"", "1,2\n3\n"} {
		f.Add(s, "y", "*")
	}
	f.Fuzz(func(t *testing.T, text, target, categorical string) {
		l := roomy()
		memory := file{path: "a.csv", size: int64(len(text)), open: func() (content, error) { return inMemory{bytes.NewReader([]byte(text))}, nil }}
		for _, o := range []Options{{}, {Limit: 1}, {Targets: []string{target}, Categorical: []string{categorical}}} {
			s, err := openCSV([]file{memory, memory}, o, l)
			if err != nil {
				continue
			}
			for _, set := range []Set{s.Train, s.Test} {
				if err := set.Check(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
