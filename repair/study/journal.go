package study

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"netmend/repair"
	"netmend/repair/technique"
)

// journalVersion changes when lines are written or techniques ask differently, so that an old journal is refused and not misread.
const journalVersion = 1

// maxLine bounds one line of a journal: a patch of some thousand edits fits.
const maxLine = 16 << 20

// header is the first line of a journal: everything that decides what the following lines say.
type header struct {
	Kind      string    `json:"kind"` // "header"
	Version   int       `json:"version"`
	Subject   string    `json:"subject"` // SHA-256 of model, recipe and data
	Technique string    `json:"technique"`
	Budget    string    `json:"budget"`
	Seed      uint64    `json:"seed"`
	Device    string    `json:"device"`
	Cost      CostModel `json:"cost"`
	Seeds     int       `json:"verdict_seeds"`
	MinimizeX float64   `json:"minimize_x"`
	Resamples int       `json:"resamples"`
}

// trialLine is a trial of the search.
type trialLine struct {
	Kind string `json:"kind"` // "trial"
	technique.Trial
	Seconds float64 `json:"seconds"` // by the clock
}

// runLine is a whole training outside the search: for minimisation or for the verdict.
type runLine struct {
	Kind    string          `json:"kind"` // "minimize" or "verdict"
	Patch   repair.Patch    `json:"patch"`
	Seed    uint64          `json:"seed"`
	State   technique.State `json:"state"`
	Cause   string          `json:"cause,omitempty"`
	Search  repair.Number   `json:"search"`
	Holdout *repair.Number  `json:"holdout,omitempty"` // verdict only
	Cost    repair.Number   `json:"cost"`
	Seconds float64         `json:"seconds"`
}

// journal is an append-only file of JSON lines. A line counts when its newline is on the disk.
type journal struct {
	f      *os.File
	trials []trialLine // read from the file, in order
	runs   []runLine
}

// createJournal starts a new file; one that is there already is an error, since it holds a study that can be gone on with.
func createJournal(path string, h header) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("study: journal %s is there already: resume it, or remove it to begin anew", path)
	}
	if err != nil {
		return nil, fmt.Errorf("study: journal: %w", err)
	}
	j := &journal{f: f}
	if err := errors.Join(lock(f), j.append(h)); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// openJournal reads a file to go on with it. A last line without its end, which a kill leaves behind, is cut off.
func openJournal(path string, h header) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("study: journal to resume: %w", err)
	}
	j := &journal{f: f}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	end, err := j.read(path, h)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err == nil && end == 0 { // killed before the header was whole
		err = j.append(h)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// read takes in all whole lines and says where they end.
func (j *journal) read(path string, want header) (int64, error) {
	r := bufio.NewReaderSize(j.f, 1<<16)
	end := int64(0)
	for n := 1; ; n++ {
		line, err := readLine(r)
		if err == io.EOF {
			return end, nil
		}
		if err == nil {
			err = j.take(line, n, want)
		}
		if err != nil {
			return 0, fmt.Errorf("study: journal %s, line %d: %w", path, n, err)
		}
		end += int64(len(line)) + 1
	}
}

// readLine gives a line without its newline; io.EOF at the end and for a line that has none.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		case err == nil:
			return line[:len(line)-1], nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

func (j *journal) take(line []byte, n int, want header) error {
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if (n == 1) != (kind.Kind == "header") {
		return fmt.Errorf("kind %q: the first line and no other is a header", kind.Kind)
	}
	switch kind.Kind {
	case "header":
		var h header
		if err := json.Unmarshal(line, &h); err != nil {
			return err
		}
		return h.differs(want)
	case "trial":
		var t trialLine
		if err := json.Unmarshal(line, &t); err != nil {
			return err
		}
		if int(t.ID) != len(j.trials) || len(j.runs) > 0 {
			return fmt.Errorf("trial %d is out of order", t.ID)
		}
		j.trials = append(j.trials, t)
	case "minimize", "verdict":
		var r runLine
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if kind.Kind == "verdict" && r.Holdout == nil {
			return errors.New("a training of the verdict lacks its hold-out score")
		}
		j.runs = append(j.runs, r)
	default:
		return fmt.Errorf("kind %q is not known", kind.Kind)
	}
	return nil
}

// differs says in what a study to be resumed differs from the one that is asked for.
func (h header) differs(want header) error {
	for _, f := range []struct {
		name      string
		have, ask any
	}{
		{"version", h.Version, want.Version}, {"technique", h.Technique, want.Technique}, {"budget", h.Budget, want.Budget},
		{"seed", h.Seed, want.Seed}, {"device", h.Device, want.Device}, {"cost model", h.Cost, want.Cost},
		{"number of verdict seeds", h.Seeds, want.Seeds}, {"minimisation budget", h.MinimizeX, want.MinimizeX},
		{"number of bootstrap resamples", h.Resamples, want.Resamples},
	} {
		if f.have != f.ask {
			return fmt.Errorf("the journal is of another study: its %s is %v, asked for is %v", f.name, f.have, f.ask)
		}
	}
	if h.Subject != want.Subject {
		return errors.New("the journal is of another study: model, recipe or data have changed since")
	}
	return nil
}

// append writes a line and waits until it is on the disk.
func (j *journal) append(line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("study: journal: %w", err)
	}
	if bytes.IndexByte(raw, '\n') >= 0 || len(raw) > maxLine {
		return fmt.Errorf("study: journal: a line of %d bytes cannot be written", len(raw))
	}
	if _, err := j.f.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("study: journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("study: journal: %w", err)
	}
	return nil
}

func (j *journal) close() error { return j.f.Close() }
