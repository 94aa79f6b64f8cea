// Package traintest reads the fixtures of testdata/exports, which the repository's scripts exported from PyTorch and Keras, for tests. What it
// gives belongs to the test that asked: every call reads the files again.
package traintest

import (
	"os"
	"path/filepath"
	"testing"

	"netmend/data"
	"netmend/onnx"
	"netmend/train"
)

// Exports are the names of all fixtures in alphabetical order.
func Exports(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(folder(t))
	if err != nil || len(entries) == 0 {
		t.Fatalf("traintest: no exports in %s: %v", folder(t), err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Export is a fixture's model, its recipe, and its data, divided by [data.DefaultRatios] with seed 1.
func Export(t testing.TB, name string) (*onnx.Model, train.Recipe, data.Splits) {
	t.Helper()
	dir := filepath.Join(folder(t), name)
	m, err := onnx.Read(filepath.Join(dir, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := train.ReadRecipe(filepath.Join(dir, "recipe.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	src, err := data.Open(filepath.Join(dir, "data.npz"), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := src.Split(data.DefaultRatios, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	return m, r, d
}

// folder is testdata/exports of the repository that the test's folder, which is the working directory, lies in.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		exports := filepath.Join(dir, "testdata", "exports")
		if _, err := os.Stat(exports); err == nil {
			return exports
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("traintest: no testdata/exports above the working directory")
		}
		dir = up
	}
}
