package data

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
)

func TestWriteNpzReadsBack(t *testing.T) {
	image := Array{Name: "image", Shape: []int{3, 2, 2}, Float: []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1e-9, -2.5}}
	y := Array{Name: "y", Shape: []int{3}, Int: []int32{2, 0, -1 << 31}}
	set := Set{Inputs: []Array{image, {Name: "x", Shape: []int{3, 1}, Float: []float32{1, 2, 3}}}, Targets: []Array{y}}
	for name, s := range map[string]Source{"whole": {Train: set}, "divided": {Train: set, Test: set.Select([]int32{2, 0})}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data.npz")
			var buf bytes.Buffer
			if err := WriteNpz(&buf, s); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := Open(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Format = ""; !reflect.DeepEqual(got, s) {
				t.Errorf("read back %+v, wrote %+v", got, s)
			}
		})
	}
}

// numpy reads what WriteNpz writes.
func TestWriteNpzForNumpy(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import numpy").Run() != nil {
		t.Skip("python3 with numpy is not here")
	}
	path := filepath.Join(t.TempDir(), "data.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteNpz(f, Source{Train: Set{Inputs: []Array{{Name: "x", Shape: []int{2, 2}, Float: []float32{1, 2, 3, 4.5}}},
		Targets: []Array{{Name: "y", Shape: []int{2}, Int: []int32{7, -8}}}}}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", "import numpy,sys; z=numpy.load(sys.argv[1]); print(z['x'].tolist(), z['x'].dtype, z['y'].tolist(), z['y'].dtype)", path).CombinedOutput()
	if err != nil || string(out) != "[[1.0, 2.0], [3.0, 4.5]] float32 [7, -8] int32\n" {
		t.Errorf("numpy reads %s %v", out, err)
	}
}
