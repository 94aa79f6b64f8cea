// Package repair holds the words that a repair is written in: what is repaired (Subject), what may be edited (Slot, Space), a change
// (Edit, Patch), and who can make it (Operator).
//
// A repair is a patch. Search, journal, report, diff, minimisation and the benchmark's ground truth all speak patches; the faulty subject
// is the empty patch. All types here are values: applying a patch gives a new subject and leaves the old one untouched.
package repair

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"netmend/data"
	"netmend/onnx"
	"netmend/train"
)

// Subject is a model with the recipe and the data that it is trained with.
type Subject struct {
	Model  *onnx.Model
	Recipe train.Recipe
	Data   data.Splits
}

// Value is what an edit sets: a number or a word.
type Value struct {
	Text   string
	Number float64
	IsText bool
}

// Num and Word make values.
func Num(v float64) Value { return Value{Number: v} }
func Word(s string) Value { return Value{Text: s, IsText: true} }

// String is the value as a report shows it.
func (v Value) String() string {
	if v.IsText {
		return v.Text
	}
	return strconv.FormatFloat(v.Number, 'g', -1, 64)
}

// MarshalJSON writes a JSON string or number; a number that is not finite is an error, since no operator has one.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.IsText {
		return json.Marshal(v.Text)
	}
	if math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
		return nil, fmt.Errorf("repair: value %v is not finite", v.Number)
	}
	return json.Marshal(v.Number)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(raw []byte) error {
	*v = Value{}
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '"' {
		v.IsText = true
		return json.Unmarshal(raw, &v.Text)
	}
	if string(raw) == "null" {
		return errors.New("repair: a value is missing")
	}
	return json.Unmarshal(raw, &v.Number)
}

// Edit is one change: an operator, what it is applied to, and the value that it sets. Targets are names in the graph that the patch starts
// from: a node (its name, or its first output where it has none), an initializer, an input; "recipe" for what concerns the whole recipe.
type Edit struct {
	Operator string `json:"operator"`
	Target   string `json:"target"`
	Value    Value  `json:"value"`
}

func (e Edit) String() string { return fmt.Sprintf("%s(%s) = %s", e.Operator, e.Target, e.Value) }

// Key is what at most one edit of a patch has: operator and target.
type Key struct {
	Operator string `json:"operator"`
	Target   string `json:"target"`
}

// Key of the edit.
func (e Edit) Key() Key { return Key{e.Operator, e.Target} }

// Patch is a set of edits in canonical order (by operator, then target), one per key.
type Patch []Edit

// NewPatch makes a patch of edits in any order. A later edit of the same key replaces an earlier one.
func NewPatch(edits ...Edit) Patch {
	var p Patch
	for _, e := range edits {
		p = p.With(e)
	}
	return p
}

func compareEdits(a, b Edit) int {
	if c := strings.Compare(a.Operator, b.Operator); c != 0 {
		return c
	}
	return strings.Compare(a.Target, b.Target)
}

// With returns the patch with an edit added, or put in the place of the one with its key.
func (p Patch) With(e Edit) Patch {
	i, found := slices.BinarySearchFunc(p, e, compareEdits)
	if found {
		q := slices.Clone(p)
		q[i] = e
		return q
	}
	return slices.Insert(slices.Clone(p), i, e)
}

// Without returns the patch without the edit of a key.
func (p Patch) Without(k Key) Patch {
	return slices.DeleteFunc(slices.Clone(p), func(e Edit) bool { return e.Key() == k })
}

// Get returns the value that a patch sets for a key.
func (p Patch) Get(k Key) (Value, bool) {
	for _, e := range p {
		if e.Key() == k {
			return e.Value, true
		}
	}
	return Value{}, false
}

// String is one line, "faulty" for the empty patch. Equal patches have equal strings.
func (p Patch) String() string {
	if len(p) == 0 {
		return "faulty"
	}
	parts := make([]string, len(p))
	for i, e := range p {
		parts[i] = e.String()
	}
	return strings.Join(parts, "; ")
}

// Check reports a patch that is not in canonical order or has two edits of one key.
func (p Patch) Check() error {
	for i := 1; i < len(p); i++ {
		switch c := compareEdits(p[i-1], p[i]); {
		case c == 0:
			return fmt.Errorf("repair: patch has two edits %s(%s)", p[i].Operator, p[i].Target)
		case c > 0:
			return fmt.Errorf("repair: patch is not in canonical order at %s(%s)", p[i].Operator, p[i].Target)
		}
	}
	return nil
}

// Domain is the set of values of a slot.
type Domain struct {
	Kind     DomainKind
	Choices  []Value // Choice: in the order of the published search space where there is one
	Min, Max float64 // Linear, Log, Integer: both included
}

// DomainKind is how a domain is measured.
type DomainKind uint8

const (
	Choice  DomainKind = iota // unordered values
	Linear                    // real numbers
	Log                       // positive real numbers, on a logarithmic scale
	Integer                   // whole numbers
)

// Contains says whether a value belongs to the domain.
func (d Domain) Contains(v Value) bool {
	if d.Kind == Choice {
		return slices.Contains(d.Choices, v)
	}
	return !v.IsText && v.Number >= d.Min && v.Number <= d.Max && (d.Kind != Integer || v.Number == math.Trunc(v.Number))
}

// Slot is a place that may be edited.
type Slot struct {
	Operator, Target string
	Domain           Domain
	Current          Value      // what the subject has now; of the domain, unless the faulty value lies outside
	When             *Condition // nil: always
}

// Key of the slot.
func (s Slot) Key() Key { return Key{s.Operator, s.Target} }

// Condition makes a slot depend on the value of another one: it is active when that one's value (of the patch, or else current) is one of
// Values.
type Condition struct {
	Key    Key
	Values []Value
}

// Space is what may be edited of a subject; a point of it is a patch.
type Space []Slot

// Slot returns the slot of a key.
func (s Space) Slot(k Key) (Slot, bool) {
	for _, x := range s {
		if x.Key() == k {
			return x, true
		}
	}
	return Slot{}, false
}

// Active says whether a slot's condition holds under a patch.
func (s Space) Active(x Slot, p Patch) bool {
	if x.When == nil {
		return true
	}
	v, ok := p.Get(x.When.Key)
	if !ok {
		if other, found := s.Slot(x.When.Key); found {
			v, ok = other.Current, true
		}
	}
	return ok && slices.Contains(x.When.Values, v)
}

// Operator is one kind of fault-fixing edit.
type Operator interface {
	// Name is what patches call it, the field's term in lower case with underscores: "learning_rate".
	Name() string
	// Doc is one sentence: what it changes.
	Doc() string
	// Slots lists where it can be applied to the subject; none where it cannot.
	Slots(s Subject) []Slot
	// Apply makes the change. The subject it was given is untouched. An edit whose target is not there (any more) or whose value makes no
	// sense there is an error that names both.
	Apply(s Subject, e Edit) (Subject, error)
	// Words says in plain English what an edit does, with the old value: "learning rate 10 -> 0.003".
	Words(s Subject, e Edit) string
}

// Operators is a set of operators in the order in which their edits are applied: those that only change values of what is there first,
// those that add and remove nodes last, so that targets are still there when they are looked for.
type Operators []Operator

// Find returns the operator of a name.
func (o Operators) Find(name string) (Operator, bool) {
	i := slices.IndexFunc(o, func(x Operator) bool { return x.Name() == name })
	if i < 0 {
		return nil, false
	}
	return o[i], true
}

// Space collects the slots of all operators.
func (o Operators) Space(s Subject) Space {
	var space Space
	for _, x := range o {
		space = append(space, x.Slots(s)...)
	}
	return space
}

// Apply makes all changes of a patch.
func (o Operators) Apply(s Subject, p Patch) (Subject, error) {
	if err := p.Check(); err != nil {
		return Subject{}, err
	}
	for _, e := range p {
		if _, ok := o.Find(e.Operator); !ok {
			return Subject{}, fmt.Errorf("repair: edit %s: there is no operator %q", e, e.Operator)
		}
	}
	for _, x := range o {
		for _, e := range p {
			if e.Operator != x.Name() {
				continue
			}
			var err error
			if s, err = x.Apply(s, e); err != nil {
				return Subject{}, fmt.Errorf("repair: edit %s: %w", e, err)
			}
		}
	}
	return s, nil
}

// Words says what a patch does, one line per edit.
func (o Operators) Words(s Subject, p Patch) []string {
	lines := make([]string, 0, len(p))
	for _, e := range p {
		if x, ok := o.Find(e.Operator); ok {
			lines = append(lines, x.Words(s, e))
		} else {
			lines = append(lines, e.String())
		}
	}
	return lines
}
