package suspicion

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"netmend/engine/cpu"
	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
)

func text(t *testing.T, c diagnose.Counts) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func value(v repair.Value) *repair.Value { return &v }

// Records of two families, of which some are not learned from.
func few() []Record {
	rate, act := repair.Key{Operator: "learning_rate", Target: "recipe"}, repair.Key{Operator: "activation", Target: "a"}
	return []Record{
		{Subject: "A", Family: "A", Symptoms: []Seen{{Kind: diagnose.Plateau}}, Slots: []Slot{{act, repair.Word("relu")}, {rate, repair.Num(1)}}},
		{Subject: "A", Family: "A", Operator: "HLR", Value: value(repair.Num(1)), Worse: true, Undo: []repair.Key{rate},
			Symptoms: []Seen{{Kind: diagnose.Plateau}, {Kind: diagnose.DeadUnits, Node: "a"}, {Kind: diagnose.DeadUnits, Node: "b"}},
			Slots:    []Slot{{act, repair.Word("relu")}, {rate, repair.Num(1)}}},
		{Subject: "A", Family: "A", Operator: "ACH", Value: value(repair.Word("tanh")), Worse: true, Undo: []repair.Key{act, rate},
			Symptoms: []Seen{{Kind: diagnose.DeadUnits, Node: "b"}, {Kind: diagnose.DeadUnits, Node: "a"}},
			Slots:    []Slot{{act, repair.Word("tanh")}, {rate, repair.Num(1)}}},
		{Subject: "A", Family: "A", Operator: "ACH", Value: value(repair.Word("elu"))}, // not worse
		{Subject: "B2", Family: "B", Operator: "TCL", Value: value(repair.Num(100)), Worse: true, Symptoms: []Seen{{Kind: diagnose.Plateau}}},
		{Subject: "B", Family: "B", Fault: "B1", Undo: []repair.Key{rate}, Symptoms: []Seen{{Kind: diagnose.Plateau}}, Slots: []Slot{{rate, repair.Num(1)}}},
	}
}

func TestCount(t *testing.T) {
	want := `evidence,operator,here/elsewhere by family
=relu,activation,A:0/1
=tanh,activation,A:1/0
all,activation,A:1/0
all,healthy,A:1/0
all,learning_rate,A:2/0
all,none,B:1/0
dead_units,activation,A:1/0
dead_units,learning_rate,A:0/2
plateau,healthy,A:0/1
plateau,learning_rate,A:0/1
plateau,none,B:0/1
`
	if got := text(t, Count(few())); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestRank(t *testing.T) {
	hand := diagnose.NewTable(diagnose.Counts{}, diagnose.DefaultSettings)
	keys := []repair.Key{{Operator: "activation", Target: "a"}, {Operator: "activation", Target: "b"}, {Operator: "activation", Target: "c"}, {Operator: "units", Target: "a"}}
	r := Record{Undo: keys[1:2]}
	for _, k := range keys {
		r.Slots = append(r.Slots, Slot{k, repair.Word("relu")})
	}
	if got, ok := Rank(r, hand); !ok || got != 2 { // one of three that are alike
		t.Errorf("rank %v", got)
	}
	r.Symptoms = []Seen{{Kind: diagnose.HiddenSoftmax, Node: "b"}}
	if got, ok := Rank(r, hand); !ok || got != 1 {
		t.Errorf("rank %v", got)
	}
	r.Undo = []repair.Key{keys[3], keys[0]}
	if got, ok := Rank(r, hand); !ok || got != 2.5 {
		t.Errorf("rank %v", got)
	}
	if _, ok := Rank(Record{Slots: r.Slots}, hand); ok {
		t.Error("a record that nothing undoes has a rank")
	}
	s := Summarize([]float64{1, 4, 2, 6}, nil)
	if s != (Ranks{4, 1, 2, 3, 3, (1 + 1./4 + 1./2 + 1./6) / 4}) {
		t.Errorf("%+v", s)
	}
}

// The records that the shipped counts were made of: they are what the counts and the figures of the page come from.
func TestShippedCounts(t *testing.T) {
	records := shipped(t)
	counts := Count(records)
	if text(t, counts) != text(t, diagnose.Learned()) {
		t.Error("repair/diagnose/suspicion.csv is not made of testdata/records.jsonl.gz: scripts/suspicion.sh makes both")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "suspicion.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte(Report(records))) {
		t.Errorf("docs/suspicion.md does not have the figures of the records:\n%s", Report(records))
	}
	for _, family := range counts.Families() {
		rest := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Family == family })
		if text(t, Count(rest)) != text(t, counts.Without(family)) {
			t.Errorf("the counts without %s are not those of the other records", family)
		}
	}
}

// Every slot that is said to undo a mutation gives, by one value, a subject that is the healthy one or has its setting.
func TestMakeOnTheQuickestSubject(t *testing.T) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	x := Subjects[0]
	x.Tries, x.Worse = 2, 1
	c := Config{Device: dev, Root: t.TempDir(), Journal: filepath.Join(t.TempDir(), "journal.jsonl"), Seed: 1}
	records, err := Make(context.Background(), c, []Subject{x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	healthy, err := x.Load(c.Root)
	if err != nil {
		t.Fatal(err)
	}
	worse := 0
	for _, r := range records {
		if !r.Worse {
			continue
		}
		worse++
		list := mutations(healthy)
		i := slices.IndexFunc(list, func(m mutation) bool { return m.operator == r.Operator && m.target == r.Target })
		mutant, err := list[i].apply(healthy, *r.Value, c.Seed)
		if err != nil {
			t.Fatal(err)
		}
		space := operators.All().Space(mutant)
		for _, k := range r.Undo {
			slot, ok := space.Slot(k)
			if !ok {
				t.Fatalf("%s: no slot %v", r.name(), k)
			}
			if !restores(healthy, mutant, slot) && k.Operator != list[i].undo {
				t.Errorf("%s: no value of %v gives the healthy subject", r.name(), k)
			}
		}
	}
	if worse < 5 {
		t.Errorf("%d of %d mutants are worse", worse, len(records))
	}
	first, err := os.ReadFile(c.Journal)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Make(context.Background(), c, []Subject{x}, nil)
	if err != nil || len(again) != len(records) {
		t.Errorf("%d records of the journal, %v", len(again), err)
	}
	if second, _ := os.ReadFile(c.Journal); !bytes.Equal(first, second) {
		t.Error("a journal that is whole was written to")
	}
	c.Journal += "2"
	if _, err := Make(context.Background(), c, []Subject{x}, nil); err != nil {
		t.Fatal(err)
	}
	if other, _ := os.ReadFile(c.Journal); !bytes.Equal(first, other) {
		t.Error("made twice, records differ")
	}
}
