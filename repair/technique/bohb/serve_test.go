package bohb

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// TestServe is the other end of scripts/compare_bohb.py: searches on one budget by JSON lines on standard input, a space and a seed that open
// one, or the loss of the last point; the next point goes to NETMEND_SERVE, a file.
func TestServe(t *testing.T) {
	path := os.Getenv("NETMEND_SERVE")
	if path == "" {
		t.Skip("NETMEND_SERVE is not set: it is for scripts/compare_bohb.py")
	}
	out, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in := bufio.NewScanner(os.Stdin)
	var o *Optimizer
	var last Run
	for in.Scan() {
		var r struct {
			Space [][]any
			Seed  uint64
			Loss  float64
		}
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Space != nil {
			s := Defaults()
			s.MinBudget = s.MaxBudget
			if o, err = New(spaceOf(r.Space), s, rand.New(rand.NewPCG(r.Seed, 1))); err != nil {
				t.Fatal(err)
			}
		} else if err := o.Tell(last.ID, r.Loss); err != nil {
			t.Fatal(err)
		}
		last = o.Ask()
		line, err := json.Marshal(last.Point)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(out, "%s\n", line)
	}
}
