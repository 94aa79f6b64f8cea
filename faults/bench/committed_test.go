package bench

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netmend/faults"
)

var update = flag.Bool("update", false, "write the tables of docs/benchmark anew from the runs that are committed")

// The tables of docs/benchmark are what the committed runs come to. Go on with a benchmark from such a file: unpack it as index.jsonl of an output folder.
func TestCommittedRuns(t *testing.T) {
	docs := filepath.Join("..", "..", "docs", "benchmark")
	files, err := filepath.Glob(filepath.Join(docs, "runs", "*.jsonl.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of runs, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl.gz")
		t.Run(name, func(t *testing.T) {
			c, h, done := committed(t, file)
			made := c.markdown(t, h, done)
			page := filepath.Join(docs, name+".md")
			raw, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			const first = "\nRepeats: " // what is before it, the page has written by hand
			head, _, found := strings.Cut(string(raw), first)
			_, table, _ := strings.Cut(made, first)
			want := head + first + table
			switch {
			case !found:
				t.Errorf("%s has no line %q", page, first)
			case *update:
				if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			case string(raw) != want:
				t.Errorf("%s is not what its runs come to: go test ./faults/bench -run CommittedRuns -update", page)
			}
		})
	}
}

// markdown is the table of finished runs.
func (c Config) markdown(t *testing.T, h header, done map[string]Line) string {
	t.Helper()
	if c.Healthy {
		r, err := c.healthy(h, done)
		if err != nil {
			t.Fatal(err)
		}
		return r.Markdown()
	}
	r, err := c.results(h, done)
	if err != nil {
		t.Fatal(err)
	}
	return r.Markdown()
}

// committed reads an index, and the benchmark that it is of.
func committed(t *testing.T, file string) (Config, header, map[string]Line) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	var h header
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &h) != nil {
		t.Fatalf("%s has no header: %v", file, lines.Err())
	}
	c := Config{Techniques: h.Techniques, Repeats: h.Repeats, Trainings: h.Trainings, Scale: faults.Scale(h.Scale), Protocol: faults.Protocol(h.Protocol), Seed: h.Seed, Jobs: 1,
		Healthy: h.Confirm > 0}
	list, err := faults.Select(strings.Join(h.Faults, ","))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		c.Entries = append(c.Entries, Entry{Fault: f})
	}
	for _, s := range h.Budgets {
		b, err := ParseBudget(s)
		if err != nil {
			t.Fatal(err)
		}
		c.Budgets = append(c.Budgets, b)
	}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	index := index{done: map[string]Line{}}
	for n := 2; lines.Scan(); n++ {
		if err := index.take(lines.Bytes(), n, h); err != nil {
			t.Fatalf("%s, line %d: %v", file, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return c, h, index.done
}
