package suspicion

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"netmend/engine/cpu"
	"netmend/faults"
)

const recordsFile = "records.jsonl.gz"

// TestMake makes what scripts/suspicion.sh wants, in the folder that NETMEND_SUSPICION names, on one thread of the CPU: the records of all mutants and
// faults, the counts and the figures. It goes on with a journal that is there.
func TestMake(t *testing.T) {
	folder := os.Getenv("NETMEND_SUSPICION")
	if folder == "" {
		t.Skip("set NETMEND_SUSPICION to a folder for what is made; see scripts/suspicion.sh")
	}
	root := os.Getenv("NETMEND_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	c := Config{Device: dev, Root: root, Journal: filepath.Join(folder, "journal.jsonl"), Seed: 1, Progress: func(r Record) {
		if r.Worse || r.Operator == "" {
			fmt.Printf("%s %v, %d symptoms, undone by %v\n", r.name(), r.Scores, len(r.Symptoms), r.Undo)
		}
	}}
	records, err := Make(context.Background(), c, Subjects, faults.All())
	if err != nil {
		t.Fatal(err)
	}
	var csv bytes.Buffer
	for _, err := range []error{writeRecords(filepath.Join(folder, recordsFile), records), Count(records).Write(&csv),
		os.WriteFile(filepath.Join(folder, "suspicion.csv"), csv.Bytes(), 0o644),
		os.WriteFile(filepath.Join(folder, "figures.md"), []byte(Report(records)), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func writeRecords(path string, records []Record) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	out := json.NewEncoder(z)
	for _, r := range records {
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// shipped are the records that the shipped counts were made of.
func shipped(t *testing.T) []Record {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", recordsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	var out []Record
	for dec := json.NewDecoder(z); ; {
		var r Record
		switch err := dec.Decode(&r); err {
		case nil:
			out = append(out, r)
		case io.EOF:
			return out
		default:
			t.Fatal(err)
		}
	}
}
