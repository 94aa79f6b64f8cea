package onnx

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

//go:generate sh -c "python3 ../scripts/onnx_schemas.py > schemas.txt"

//go:embed schemas.txt
var schemasText string

// schema is the signature of one operator from one operator-set version on.
type schema struct {
	since           int64
	deprecated      bool
	inputs, outputs signature
	attrs           map[string]schemaAttr
}

type schemaAttr struct {
	kind     AttrType
	required bool
}

// signature is the list of an operator's inputs or outputs.
type signature struct {
	kinds string // a letter each: r required, o optional; the last may be v, variadic
	least int    // how many there are at least
}

func (s signature) variadic() bool { return strings.HasSuffix(s.kinds, "v") }

// accepts reports whether n names fit, and the most that may be given (-1: any number).
func (s signature) accepts(n int) (most int, ok bool) {
	if s.variadic() {
		return -1, n >= s.least
	}
	return len(s.kinds), n >= s.least && n <= len(s.kinds)
}

// required reports whether the name at place i must not be left out.
func (s signature) required(i int) bool {
	return i < len(s.kinds) && s.kinds[i] == 'r'
}

type schemaTable struct {
	ops    map[string][]schema // by domain + "/" + name, oldest first
	newest map[string]int64    // by domain
}

// schemas parses the embedded table. Its rows come from the onnx package, so that a bad one is our own bug; a test
// reads them all.
var schemas = sync.OnceValue(func() schemaTable {
	t := schemaTable{ops: map[string][]schema{}, newest: map[string]int64{}}
	for line := range strings.Lines(schemasText) {
		f := strings.Fields(line)
		if len(f) != 7 || f[0] == "#" {
			continue
		}
		domain := strings.TrimPrefix(f[0], "-")
		since, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			panic("onnx: schemas.txt: " + line)
		}
		s := schema{since: since, deprecated: f[3] == "d", inputs: parseSignature(f[4]), outputs: parseSignature(f[5]), attrs: map[string]schemaAttr{}}
		for _, a := range strings.Split(f[6], ",") {
			name, kind, ok := strings.Cut(a, ":")
			if !ok {
				continue
			}
			s.attrs[name] = schemaAttr{attrTypeOf(strings.TrimSuffix(kind, "!")), strings.HasSuffix(kind, "!")}
		}
		key := domain + "/" + f[1]
		t.ops[key] = append(t.ops[key], s)
		t.newest[domain] = max(t.newest[domain], since)
	}
	return t
})

func parseSignature(s string) signature {
	kinds := strings.TrimRight(strings.TrimPrefix(s, "-"), "0123456789")
	sig := signature{kinds: kinds}
	if sig.variadic() {
		sig.least, _ = strconv.Atoi(s[len(kinds):])
		return sig
	}
	sig.least = strings.LastIndexByte(kinds, 'r') + 1
	return sig
}

func attrTypeOf(name string) AttrType {
	for i, n := range attrTypeNames {
		if n == name {
			return AttrType(i)
		}
	}
	return AttrUndefined
}

// schemaOf returns the signature of an operator in a version of its operator set, or nil where there is none.
func schemaOf(domain, opType string, version int64) *schema {
	list := schemas().ops[normalDomain(domain)+"/"+opType]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].since <= version {
			return &list[i]
		}
	}
	return nil
}

// newestOpset returns the newest version known of a domain's operator set, 0 for a domain that is not ONNX's own.
func newestOpset(domain string) int64 { return schemas().newest[normalDomain(domain)] }
