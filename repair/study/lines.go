package study

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLine bounds one line of a journal: a patch of some thousand edits fits.
const maxLine = 16 << 20

// Lines is an append-only file of JSON lines, the form of every journal: the first line, its header, says what the following ones belong to.
// A line counts when its newline is on the disk. The file is locked while it is open.
type Lines struct {
	f  *os.File
	mu sync.Mutex // of writing
}

// CreateLines starts a new file with a header; one that is there already is an error, since it holds a run that can be gone on with.
func CreateLines(path string, header any) (*Lines, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("study: journal %s is there already: resume it, or remove it to begin anew", path)
	}
	if err != nil {
		return nil, fmt.Errorf("study: journal: %w", err)
	}
	l := &Lines{f: f}
	if err := errors.Join(lock(f), l.Append(header)); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// OpenLines reads a file to go on with it, handing take every whole line with its number from 1. A last line without its end, which a kill
// leaves behind, is cut off; a file without even a whole header gets this one.
func OpenLines(path string, header any, take func(line []byte, n int) error) (*Lines, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("study: journal to resume: %w", err)
	}
	l := &Lines{f: f}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	end, err := l.read(path, take)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err == nil && end == 0 { // killed before the header was whole
		err = l.Append(header)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// read takes in all whole lines and says where they end.
func (l *Lines) read(path string, take func(line []byte, n int) error) (int64, error) {
	r := bufio.NewReaderSize(l.f, 1<<16)
	end := int64(0)
	for n := 1; ; n++ {
		line, err := readLine(r)
		if err == io.EOF {
			return end, nil
		}
		if err == nil {
			err = take(line, n)
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

// Append writes a line and waits until it is on the disk. Several goroutines may call it.
func (l *Lines) Append(line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("study: journal: %w", err)
	}
	if bytes.IndexByte(raw, '\n') >= 0 || len(raw) > maxLine {
		return fmt.Errorf("study: journal: a line of %d bytes cannot be written", len(raw))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("study: journal: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("study: journal: %w", err)
	}
	return nil
}

// Close closes the file and gives up its lock.
func (l *Lines) Close() error { return l.f.Close() }
