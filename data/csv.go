package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var csvName = regexp.MustCompile(`\.(csv|tsv)(\.gz|\.xz)?$`)

// csvTable is the columns of one or two CSV files (the training part, then the test part) of the same columns.
type csvTable struct {
	width      int
	header     []string // nil where the files have none
	columns    []csvColumn
	targets    []int // indices of the target columns, in the order asked for
	rows       int
	everyInput bool // Categorical is "*": an input column that starts with text is categorical
}

// csvColumn holds numbers, or, where the text matters (targets, categories), codes of words in order of occurrence.
type csvColumn struct {
	target, coded bool
	numbers       []float32
	codes         []int32
	words         []string
	code          map[string]int32
}

// missingValues are the spellings of a missing value, in lower case: those of the UCI sets ("?") and of pandas' and R's writers. "nan" is not among
// them: it is a number, which NonFinite reports.
var missingValues = map[string]bool{"": true, "?": true, "na": true, "n/a": true, "<na>": true, "null": true, "none": true}

// openCSVFolder opens a folder with a single CSV file, or with train.csv and test.csv.
func openCSVFolder(files []file, o Options, l *limits) (Source, error) {
	if len(files) == 1 {
		return openCSV(files, o, l)
	}
	var train, test []file
	for _, f := range files {
		switch csvName.ReplaceAllString(strings.ToLower(f.base()), "") {
		case "train":
			train = append(train, f)
		case "test":
			test = append(test, f)
		}
	}
	if len(files) != 2 || len(train) != 1 || len(test) != 1 {
		return Source{}, fmt.Errorf("the folder holds %d csv files (%s, …): name one of them, or call them train.csv and test.csv", len(files), files[0].path)
	}
	return openCSV([]file{train[0], test[0]}, o, l)
}

// openCSV reads one file, or the training part and the test part. The features are an input "x" [N,F] of floats. The target is "y": labels [N]
// with classes where the column holds text, integers [N] where all values are integers, floats [N] otherwise; [N,K] floats for K target
// columns. The first line is a header where it holds a target's name, no number while the second line has one, or just
// the numbers 0, 1, 2, 3, …, with which pandas heads the columns of an unnamed table.
func openCSV(files []file, o Options, l *limits) (Source, error) {
	t := &csvTable{}
	var ends []int
	for i, f := range files {
		limit := 0
		if i == 0 {
			limit = o.Limit
		}
		if err := f.read(l, func(r io.Reader) error { return t.read(r, o, limit, l) }); err != nil {
			return Source{}, err
		}
		ends = append(ends, t.rows)
	}
	y, classes, err := t.target()
	if err != nil {
		return Source{}, err
	}
	x, err := t.features(l)
	if err != nil {
		return Source{}, err
	}
	all := Set{Inputs: []Array{x}, Targets: []Array{y}, Classes: classes}
	s := Source{Format: "csv", Train: all.head(0, ends[0])}
	if len(ends) > 1 {
		s.Test = all.head(ends[0], ends[1])
	}
	return s, nil
}

// head is the rows from..to of a Set, sharing its elements.
func (s *Set) head(from, to int) Set {
	cut := func(arrays []Array) []Array {
		var out []Array
		for _, a := range arrays {
			n := a.RowSize()
			a.Shape = slices.Clone(a.Shape)
			a.Shape[0] = to - from
			if a.IsInt() {
				a.Int = a.Int[from*n : to*n : to*n]
			} else {
				a.Float = a.Float[from*n : to*n : to*n]
			}
			out = append(out, a)
		}
		return out
	}
	return Set{Inputs: cut(s.Inputs), Targets: cut(s.Targets), Classes: s.Classes}
}

func (t *csvTable) read(r io.Reader, o Options, limit int, l *limits) error {
	b := bufio.NewReaderSize(r, 1<<16)
	if mark, _ := b.Peek(3); string(mark) == "\xef\xbb\xbf" {
		b.Discard(3) // the byte order mark that spreadsheets write
	}
	head, _ := b.Peek(1 << 16)
	c := csv.NewReader(b)
	c.Comma = delimiter(head)
	c.FieldsPerRecord = -1 // the message here names the line and both counts
	c.ReuseRecord = true
	c.TrimLeadingSpace = c.Comma != '\t' // with tabs it would swallow empty fields
	first, err := c.Read()
	if err == io.EOF {
		return fmt.Errorf("the file is empty")
	}
	if err != nil {
		return csvError(err)
	}
	first = slices.Clone(first)
	firstLine, _ := c.FieldPos(0)
	second, err := c.Read()
	if err != nil && err != io.EOF {
		return csvError(err)
	}
	isHeader := t.isHeader(first, second, o)
	if err := t.start(first, isHeader, o); err != nil {
		return err
	}
	from := t.rows
	if !isHeader {
		if err := t.row(first, firstLine, l); err != nil {
			return err
		}
	}
	for err != io.EOF && (limit <= 0 || t.rows-from < limit) {
		line, _ := c.FieldPos(0)
		if err := t.row(second, line, l); err != nil {
			return err
		}
		if second, err = c.Read(); err != nil && err != io.EOF {
			return csvError(err)
		}
	}
	if t.rows == from {
		return fmt.Errorf("there are no rows below the header")
	}
	return nil
}

func csvError(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("line %d: %w", p.Line, p.Err)
	}
	return err
}

// delimiter is the one of , ; and tab that occurs most often in the first line; the comma where none does.
func delimiter(head []byte) rune {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	best, most := ',', 0
	for _, d := range ",;\t" {
		if n := bytes.Count(line, []byte(string(d))); n > most {
			best, most = d, n
		}
	}
	return best
}

func (t *csvTable) isHeader(first, second []string, o Options) bool {
	numbers := func(fields []string) (n int) {
		for _, f := range fields {
			if _, ok := parseFloat(f); ok {
				n++
			}
		}
		return n
	}
	for _, f := range first {
		f = strings.TrimSpace(f)
		if _, isNumber := parseFloat(f); !isNumber && f != "" && slices.Contains(o.Targets, f) {
			return true
		}
	}
	if numbers(first) == 0 {
		return numbers(second) > 0
	}
	for i, f := range first {
		if f != strconv.Itoa(i) {
			return false
		}
	}
	return len(first) >= 4 && len(second) > 0
}

// parseFloat parses a decimal number; beyond float32 it is an infinity. Go's hexadecimal and underscore forms are no numbers in a CSV file.
func parseFloat(s string) (float32, bool) {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "xX_pP") {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 32)
	return float32(v), err == nil || errors.Is(err, strconv.ErrRange)
}

// start sets the columns up with the first line of the first file, or compares the second file's with them.
func (t *csvTable) start(first []string, isHeader bool, o Options) error {
	var header []string
	if isHeader {
		for _, f := range first {
			header = append(header, strings.TrimSpace(f))
		}
		if header[0] == "" {
			return fmt.Errorf("the first column has no name: it looks like the row numbers that pandas writes; save with to_csv(…, index=False)")
		}
	}
	if t.columns != nil {
		if len(first) != t.width || !slices.Equal(header, t.header) {
			return fmt.Errorf("the columns differ from those of the training part: %q, there %q (%d columns)", header, t.header, t.width)
		}
		return nil
	}
	t.width, t.header, t.columns = len(first), header, make([]csvColumn, len(first))
	targets := o.Targets
	if len(targets) == 0 {
		targets = []string{strconv.Itoa(t.width)}
	}
	for _, name := range targets {
		i, err := t.find(name)
		if err != nil {
			return fmt.Errorf("target %w", err)
		}
		if t.columns[i].target {
			return fmt.Errorf("target column %q is named twice", name)
		}
		t.columns[i].target, t.columns[i].coded = true, true
		t.targets = append(t.targets, i)
	}
	if len(t.targets) == t.width {
		return fmt.Errorf("there are %d columns, all of them targets: the separators that are known are comma, semicolon and tab", t.width)
	}
	for _, name := range o.Categorical {
		if name == "*" {
			t.everyInput = true
			continue
		}
		i, err := t.find(name)
		if err != nil {
			return fmt.Errorf("categorical %w", err)
		}
		t.columns[i].coded = true
	}
	for i := range t.columns {
		t.columns[i].code = map[string]int32{}
	}
	return nil
}

// find resolves a column given by the name in the header or by number from 1.
func (t *csvTable) find(name string) (int, error) {
	if i := slices.Index(t.header, name); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= t.width {
		return n - 1, nil
	}
	if t.header == nil {
		return 0, fmt.Errorf("column %q: the file has no header; give a number from 1 to %d", name, t.width)
	}
	return 0, fmt.Errorf("column %q: the header has %q", name, t.header)
}

func (t *csvTable) label(i int) string {
	if t.header != nil {
		return fmt.Sprintf("column %q", t.header[i])
	}
	return fmt.Sprintf("column %d", i+1)
}

func (t *csvTable) row(fields []string, line int, l *limits) error {
	if len(fields) != t.width {
		return fmt.Errorf("line %d has %d fields, the first line has %d", line, len(fields), t.width)
	}
	if err := l.take(t.width); err != nil {
		return err
	}
	for i, f := range fields {
		f = strings.TrimSpace(f)
		c := &t.columns[i]
		v, isNumber := parseFloat(f)
		if !isNumber && missingValues[strings.ToLower(f)] {
			return fmt.Errorf("line %d, %s: the value is missing (%q): fill it in or leave the row out", line, t.label(i), f)
		}
		if t.rows == 0 && t.everyInput && !c.target && !isNumber {
			c.coded = true
		}
		if c.coded {
			k, ok := c.code[f]
			if !ok {
				k = int32(len(c.words))
				f = strings.Clone(f) // the record's memory is shared by all of its fields
				c.code[f] = k
				c.words = append(c.words, f)
			}
			c.codes = append(c.codes, k)
			continue
		}
		if !isNumber {
			return fmt.Errorf("line %d, %s: %.80q is no number: name the column as categorical or as the target", line, t.label(i), f)
		}
		c.numbers = append(c.numbers, v)
	}
	t.rows++
	return nil
}

// target makes the array "y" of the target columns, and the classes where they are text.
func (t *csvTable) target() (Array, []string, error) {
	first := &t.columns[t.targets[0]]
	if len(t.targets) > 1 {
		k := len(t.targets)
		y := Array{Name: "y", Shape: []int{t.rows, k}, Float: make([]float32, t.rows*k)}
		for j, i := range t.targets {
			c := &t.columns[i]
			for r, code := range c.codes {
				v, ok := parseFloat(c.words[code])
				if !ok {
					return Array{}, nil, fmt.Errorf("target %s holds %.80q: of several target columns all must be numbers", t.label(i), c.words[code])
				}
				y.Float[r*k+j] = v
			}
		}
		return y, nil, nil
	}
	y := Array{Name: "y", Shape: []int{t.rows}}
	ints, floats := make([]int32, len(first.words)), make([]float32, len(first.words))
	allInts, allFloats := true, true
	for i, w := range first.words {
		n, err := strconv.ParseInt(w, 10, 32)
		v, ok := parseFloat(w)
		ints[i], floats[i] = int32(n), v
		allInts, allFloats = allInts && err == nil, allFloats && ok
	}
	switch {
	case allInts:
		y.Int = decode(first.codes, ints)
		return y, nil, nil
	case allFloats:
		y.Float = decode(first.codes, floats)
		return y, nil, nil
	}
	classes, rank := first.sorted()
	y.Int = decode(first.codes, rank)
	return y, classes, nil
}

func decode[T any](codes []int32, values []T) []T {
	out := make([]T, len(codes))
	for i, c := range codes {
		out[i] = values[c]
	}
	return out
}

// sorted is the words in order, and the position there of every code.
func (c *csvColumn) sorted() (words []string, rank []int32) {
	words = slices.Sorted(slices.Values(c.words))
	rank = make([]int32, len(words))
	for i, w := range words {
		rank[c.code[w]] = int32(i)
	}
	return words, rank
}

// features makes the array "x" of the input columns, in their order.
func (t *csvTable) features(l *limits) (Array, error) {
	width := 0
	for i := range t.columns {
		switch c := &t.columns[i]; {
		case c.target:
		case c.coded:
			width += len(c.words)
		default:
			width++
		}
	}
	if width > 0 && t.rows > int(l.max)/width {
		return Array{}, fmt.Errorf("one-hot encoding makes %d features of %d rows, more than the limit of %d bytes", width, t.rows, l.max)
	}
	if err := l.take(t.rows * width); err != nil {
		return Array{}, err
	}
	x := Array{Name: "x", Shape: []int{t.rows, width}, Float: make([]float32, t.rows*width)}
	at := 0
	for i := range t.columns {
		c := &t.columns[i]
		if c.target {
			continue
		}
		if c.coded {
			_, rank := c.sorted()
			for r, code := range c.codes {
				x.Float[r*width+at+int(rank[code])] = 1
			}
			at += len(c.words)
			continue
		}
		for r, v := range c.numbers {
			x.Float[r*width+at] = v
		}
		at++
	}
	return x, nil
}
