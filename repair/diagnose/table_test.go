package diagnose_test

import (
	"bytes"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"netmend/repair"
	"netmend/repair/diagnose"
)

// twoFamilies are counts with few enough numbers to follow by hand.
func twoFamilies() diagnose.Counts {
	var c diagnose.Counts
	for _, x := range []struct {
		evidence, operator, family string
		here, elsewhere            int
	}{
		{diagnose.AllMutants, "learning_rate", "A", 4, 0}, {diagnose.AllMutants, "activation", "A", 2, 0}, {diagnose.AllMutants, diagnose.HealthyModel, "A", 1, 0},
		{diagnose.AllMutants, "learning_rate", "B", 5, 0}, {diagnose.AllMutants, diagnose.NoOperator, "B", 3, 0},
		{"plateau", "learning_rate", "A", 0, 1}, {"plateau", "learning_rate", "B", 0, 5}, {"plateau", diagnose.NoOperator, "B", 0, 3},
		{"dead_units", "activation", "A", 1, 1}, {"dead_units", "learning_rate", "B", 0, 1},
		{"=tanh", "activation", "A", 2, 1}, {"=relu", "activation", "A", 0, 3}, {"=relu", "activation", "B", 0, 2},
	} {
		c.Add(x.evidence, x.operator, x.family, diagnose.Count{Here: x.here, Elsewhere: x.elsewhere})
	}
	return c
}

func tableSpace() repair.Space {
	return repair.Space{
		{Operator: "learning_rate", Target: "recipe", Domain: repair.Domain{Kind: repair.Log, Min: 1e-6, Max: 10}, Current: repair.Num(0.1)},
		{Operator: "activation", Target: "a", Current: repair.Word("tanh")},
		{Operator: "activation", Target: "b", Current: repair.Word("relu")},
		{Operator: "units", Target: "a", Current: repair.Num(3)},
	}
}

// Every number of a small table, from the formulas of Table. There are five classes: A has learning_rate, activation and a healthy network, B has
// learning_rate and mutants that nothing undoes. Hence learning_rate is 2 of 5, activation 1 of 5.
func TestTableByHand(t *testing.T) {
	table := diagnose.NewTable(twoFamilies(), diagnose.Settings{Rule: 2, Value: 0.5})
	got := table.Suspicion([]diagnose.Symptom{{Kind: diagnose.Plateau}, {Kind: diagnose.DeadUnits, Node: "a"}}, tableSpace())
	// plateau: learning_rate 1/4 + 5/5, of all 1/4 + 5/5 + 3/3 = 2.25; dead_units: 1/2 here and 1/2 elsewhere of activation, 1/5 of learning_rate.
	raise := func(p, w, n, e float64) float64 { return p * max(0, (2*(1+w/p)+n)/(2+e)-1) }
	plateau, dead := 2.25, 1.2
	tanh := (0.5 + 1) / (0.5 + 0.2*1 + 0.8*0.25) // 2 of 2 mutants, 1 of 4 healthy slots of A, none of B
	relu := 0.5 / (0.5 + 0.8*(0.75+1))           // no mutant, 3 of 4 slots of A and 2 of 2 of B
	for key, want := range map[repair.Key]float64{
		{Operator: "learning_rate", Target: "recipe"}: 3 + raise(3, 4, 1.25, 0.4*plateau) + raise(3, 4, 0.2, 0.4*dead), // rules: plateau 4, dead_units 4
		{Operator: "activation", Target: "a"}:         tanh + raise(1, 0, 0, 0.2*plateau) + raise(1, 6, 0.5, 0.2*dead/2),
		{Operator: "activation", Target: "b"}:         relu + raise(1, 0, 0, 0.2*plateau) + raise(1, 0, 0.5, 0.2*dead/2),
		{Operator: "units", Target: "a"}:              0.3, // never counted
	} {
		if v := got[key].Weight; math.Abs(v-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", key, v, want)
		}
	}
}

// Without counts a weight is prior and rules, as they stand in the table of rules.
func TestTableOfRulesAlone(t *testing.T) {
	table := diagnose.NewTable(diagnose.Counts{}, diagnose.Settings{Rule: 1, Value: 0.1})
	got := table.Suspicion([]diagnose.Symptom{{Kind: diagnose.DeadUnits, Node: "a"}, {Kind: diagnose.Plateau}}, tableSpace())
	for key, want := range map[repair.Key]float64{
		{Operator: "learning_rate", Target: "recipe"}: 3 + 4 + 4,
		{Operator: "activation", Target: "a"}:         1 + 6,
		{Operator: "activation", Target: "b"}:         1,
		{Operator: "units", Target: "a"}:              0.3,
	} {
		if v := got[key].Weight; math.Abs(v-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", key, v, want)
		}
	}
}

// In a deep network a slot has less of what points at all slots of its operator, and all of what points at itself: of 16 activations, √(4/16).
func TestTableOfManySlots(t *testing.T) {
	table := diagnose.NewTable(diagnose.Counts{}, diagnose.Settings{Rule: 1, Value: 0.1})
	space := tableSpace()
	for i := range 14 {
		space = append(space, repair.Slot{Operator: "activation", Target: strconv.Itoa(i), Current: repair.Word("relu")})
	}
	got := table.Suspicion([]diagnose.Symptom{{Kind: diagnose.DeadUnits, Node: "a"}, {Kind: diagnose.InputIgnored}}, space)
	for key, want := range map[repair.Key]float64{
		{Operator: "learning_rate", Target: "recipe"}: 3 + 4,
		{Operator: "activation", Target: "a"}:         (1+3)/2. + 6,
		{Operator: "activation", Target: "b"}:         (1 + 3) / 2.,
		{Operator: "activation", Target: "13"}:        (1 + 3) / 2.,
		{Operator: "units", Target: "a"}:              0.3,
	} {
		if v := got[key].Weight; math.Abs(v-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", key, v, want)
		}
	}
}

// What is spread over all slots alike changes neither the sum nor the order, and leaves no slot without its share.
func TestTableUniformPart(t *testing.T) {
	symptoms := []diagnose.Symptom{{Kind: diagnose.Plateau}, {Kind: diagnose.DeadUnits, Node: "a"}}
	pure := diagnose.NewTable(diagnose.Learned(), diagnose.Settings{Rule: 1, Value: 0.1}).Suspicion(symptoms, tableSpace())
	mixed := diagnose.NewTable(diagnose.Learned(), diagnose.Settings{Rule: 1, Value: 0.1, Uniform: 0.2}).Suspicion(symptoms, tableSpace())
	sum, total := 0.0, 0.0
	for k := range pure {
		sum, total = sum+pure[k].Weight, total+mixed[k].Weight
	}
	if math.Abs(sum-total) > 1e-9 {
		t.Errorf("the sum was %v and is %v", sum, total)
	}
	share := 0.0
	for k, x := range mixed {
		p, before := x.Weight/total, pure[k].Weight/sum
		if share += p; math.Abs(p-(0.8*before+0.2/float64(len(mixed)))) > 1e-12 {
			t.Errorf("%v: probability %v, before %v", k, p, before)
		}
	}
	if math.Abs(share-1) > 1e-12 {
		t.Errorf("probabilities sum to %v", share)
	}
}

func text(t *testing.T, c diagnose.Counts) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Taking a family out is as if it had never been counted.
func TestCountsWithout(t *testing.T) {
	all := twoFamilies()
	var only diagnose.Counts
	for line := range strings.Lines(text(t, all)) {
		if strings.Contains(line, "A:") {
			row := strings.Split(strings.TrimSpace(line), ",")
			for _, cell := range strings.Fields(row[2]) {
				if family, numbers, _ := strings.Cut(cell, ":"); family == "A" {
					here, elsewhere, _ := strings.Cut(numbers, "/")
					only.Add(row[0], row[1], "A", diagnose.Count{Here: int(here[0] - '0'), Elsewhere: int(elsewhere[0] - '0')})
				}
			}
		}
	}
	left := all.Without("B")
	if text(t, left) != text(t, only) {
		t.Errorf("left are\n%swant\n%s", text(t, left), text(t, only))
	}
	if got := all.Families(); len(got) != 2 || len(left.Families()) != 1 {
		t.Errorf("families %v", got)
	}
	a, b := diagnose.NewTable(left, diagnose.DefaultSettings), diagnose.NewTable(only, diagnose.DefaultSettings)
	if a.ID() != b.ID() || a.ID() == diagnose.NewTable(all, diagnose.DefaultSettings).ID() {
		t.Errorf("IDs %s, %s", a.ID(), b.ID())
	}
}

// The shipped counts are read, and written as they are.
func TestLearnedCounts(t *testing.T) {
	raw, err := os.ReadFile("suspicion.csv")
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, diagnose.Learned()); got != string(raw) {
		t.Error("suspicion.csv is not what Write writes")
	}
	if n := len(diagnose.Learned().Families()); n < 8 {
		t.Errorf("%d families", n)
	}
}

func TestReadCountsRefuses(t *testing.T) {
	head := "evidence,operator,here/elsewhere by family\n"
	for bad, want := range map[string]string{
		"":                                   "first line",
		"a,b,c\n":                            "first line",
		head + "headache,units,A:1/2\n":      `no symptom "headache"`,
		head + "plateau,magic,A:1/2\n":       `no operator "magic"`,
		head + "plateau,units,A:1\n":         `"A:1"`,
		head + "plateau,units,A:-1/2\n":      `"A:-1/2"`,
		head + "plateau,units,:1/2\n":        `":1/2"`,
		head + "plateau,units,A:1/2 A:1/2\n": "twice for A",
		head + "plateau,units\n":             "wrong number of fields",
	} {
		if _, err := diagnose.ReadCounts(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
}

func TestValueEvidence(t *testing.T) {
	for _, c := range []struct {
		operator string
		value    repair.Value
		want     string
	}{{"optimizer", repair.Word("adam"), "=adam"}, {"kernel_initializer", repair.Word("random_normal(stddev=0.1)"), "=random_normal"},
		{"regularizer", repair.Word("l2=0.001"), "=l2"}, {"epochs", repair.Num(3), ""}, {"output_head", repair.Word("10 softmax hinge"), ""}, {"add_activation", repair.Word("linear"), ""}} {
		if got := diagnose.ValueEvidence(c.operator, c.value); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.operator, c.value, got, c.want)
		}
	}
}
