package hebo

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// request is a line that TestServe reads: a space opens a search, tell and ask go on with it.
type request struct {
	Space     []Parameter `json:"space"`
	Surrogate string      `json:"surrogate"`
	Seed      uint64      `json:"seed"`
	Points    []Point     `json:"points"`
	Values    []float64   `json:"values"`
	Ask       int         `json:"ask"`
}

// TestServe is the other end of scripts/compare_hebo.py: searches by JSON lines on standard input, proposals on NETMEND_SERVE, a file.
func TestServe(t *testing.T) {
	path := os.Getenv("NETMEND_SERVE")
	if path == "" {
		t.Skip("NETMEND_SERVE is not set: it is for scripts/compare_hebo.py")
	}
	out, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	var o *Optimizer
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Space != nil {
			kind := Warped
			if r.Surrogate == "plain" {
				kind = Plain
			}
			if o, err = New(r.Space, Options{Surrogate: kind, Seed: r.Seed}); err != nil {
				t.Fatal(err)
			}
		}
		for i, p := range r.Points {
			if err := o.Tell(p, r.Values[i]); err != nil {
				t.Fatal(err)
			}
		}
		if r.Ask > 0 {
			points, _ := o.Ask(r.Ask)
			line, err := json.Marshal(points)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(out, "%s\n", line)
		}
	}
}
