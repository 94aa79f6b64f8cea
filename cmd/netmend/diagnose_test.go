package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"testing"
)

// The exit code says what was found: 0 nothing but notes, 1 an error, 2 a wrong call, 3 something suspicious.
func TestDiagnoseExitCodes(t *testing.T) {
	root := filepath.Join("..", "..", "testdata")
	export := filepath.Join(root, "exports", "pytorch_mlp")
	files := func(dir, data string) []string {
		return []string{filepath.Join(dir, "model.onnx"), "--recipe", filepath.Join(dir, "recipe.yaml"), "--data", data}
	}
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"healthy", append(files(export, filepath.Join(export, "data.npz")), "--static"), exitRepaired},
		{"faulty", append([]string{"--json", "--static"}, files(filepath.Join(root, "demo"), filepath.Join(root, "optdigits"))...), exitNoRepair},
		{"no such data", append(files(export, "nowhere.npz"), "--static"), exitError},
		{"wrong call", append(files(export, filepath.Join(export, "data.npz")), "--static", "--epochs", "2"), exitUsage},
	} {
		var out bytes.Buffer
		if got := run(context.Background(), append([]string{"netmend", "diagnose"}, c.args...), &out, io.Discard); got != c.want {
			t.Errorf("%s: exit code %d, want %d\n%s", c.name, got, c.want, out.String())
		}
		if c.args[0] != "--json" {
			continue
		}
		var d diagnosis
		if err := json.Unmarshal(out.Bytes(), &d); err != nil || len(d.Symptoms) == 0 || len(d.Suspicion) == 0 || d.Worst != "error" || d.Training != nil {
			t.Errorf("%s: %+v, %v", c.name, d, err)
		}
	}
}
