package repair

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPatchFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "patch.json")
	for _, p := range []Patch{nil,
		NewPatch(Edit{"learning_rate", "recipe", Num(0.003)}, Edit{"activation", "/Relu", Word("tanh")}, Edit{"epochs", "recipe", Num(20)}),
		NewPatch(Edit{"loss", "recipe", Word("0.5")}, Edit{"dropout", "a \"b\"\n<é>", Num(0)})} {
		if err := WritePatch(path, p); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPatch(path)
		if err != nil || !slices.Equal(got, p) {
			t.Errorf("wrote %s, read %s, %v", p, got, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	bad := Patch{{"b", "x", Num(1)}, {"a", "x", Num(1)}}
	if err := WritePatch(path, bad); err == nil || !strings.Contains(err.Error(), "canonical order") {
		t.Errorf("unsorted patch: %v", err)
	}
	if err := WritePatch(filepath.Join(dir, "no", "patch.json"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := ReadPatch(filepath.Join(dir, "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	// What could not be written leaves the old file as it was.
	nan := NewPatch(Edit{"learning_rate", "recipe", Num(nan())})
	before, _ := os.ReadFile(path)
	if err := WritePatch(path, nan); err == nil {
		t.Error("a value that is not a number was written")
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) || len(before) == 0 {
		t.Error("the old patch is damaged")
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestMalformedPatches(t *testing.T) {
	const edit = `{"operator": "epochs", "target": "recipe", "value": 20}`
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "empty"},
		"cut":             {`{"version": 1, "edits": [`, "ends in the middle"},
		"not json":        {"version: 1", "invalid character"},
		"an array":        {"[" + edit + "]", "cannot unmarshal array"},
		"null":            {"null", `"version" is missing`},
		"no version":      {`{"edits": []}`, `"version" is missing`},
		"newer":           {`{"version": 2, "edits": []}`, "version 2"},
		"version words":   {`{"version": "1", "edits": []}`, "version"},
		"no edits":        {`{"version": 1}`, `"edits" is missing`},
		"null edits":      {`{"version": 1, "edits": null}`, `"edits" is missing`},
		"unknown field":   {`{"version": 1, "edits": [], "why": "x"}`, `"why"`},
		"edit field":      {`{"version": 1, "edits": [{"operator": "a", "target": "b", "value": 1, "old": 2}]}`, `edit 1: json: unknown field "old"`},
		"no operator":     {`{"version": 1, "edits": [{"target": "b", "value": 1}]}`, `edit 1: field "operator"`},
		"empty operator":  {`{"version": 1, "edits": [{"operator": "", "target": "b", "value": 1}]}`, `edit 1: field "operator"`},
		"no target":       {`{"version": 1, "edits": [` + edit + `, {"operator": "a", "value": 1}]}`, `edit 2: field "target"`},
		"no value":        {`{"version": 1, "edits": [{"operator": "a", "target": "b"}]}`, `edit 1: field "value"`},
		"null value":      {`{"version": 1, "edits": [{"operator": "a", "target": "b", "value": null}]}`, "edit 1: "},
		"list value":      {`{"version": 1, "edits": [{"operator": "a", "target": "b", "value": [1]}]}`, "neither a number nor a string"},
		"huge value":      {`{"version": 1, "edits": [{"operator": "a", "target": "b", "value": 1e999}]}`, "edit 1: "},
		"edit is a word":  {`{"version": 1, "edits": ["x"]}`, "edit 1: "},
		"twice":           {`{"version": 1, "edits": [` + edit + `,` + edit + `]}`, "edit 2: there is another edit epochs(recipe)"},
		"more behind":     {`{"version": 1, "edits": []} {}`, "more behind"},
		"numbers as text": {`{"version": 1, "edits": [{"operator": 5, "target": "b", "value": 1}]}`, "edit 1: "},
	} {
		p, err := ParsePatch([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: patch %v, error %v, want one with %q", name, p, err, c.want)
		}
		path := filepath.Join(t.TempDir(), "bad.json")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPatch(path); err == nil || !strings.Contains(err.Error(), "bad.json") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not name the file", name, err)
		}
	}
}

func FuzzParsePatch(f *testing.F) {
	f.Add([]byte(`{"version": 1, "edits": [{"operator": "epochs", "target": "recipe", "value": 20}, {"operator": "a", "target": "b", "value": "c"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParsePatch(raw)
		if err != nil {
			return
		}
		again, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParsePatch(again); err != nil || !slices.Equal(p, q) {
			t.Fatalf("%s became %s, %v", p, q, err)
		}
	})
}
