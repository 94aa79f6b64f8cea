package bench

import (
	"math"
	"strings"
	"testing"

	"netmend/faults"
	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
)

// The medians of a technique are of its repeats, whatever fault they are of, and counts of faults are of rows.
func TestOverview(t *testing.T) {
	list, err := faults.Select("D1,D7")
	if err != nil {
		t.Fatal(err)
	}
	b := Budget{Budget: study.Budget{Times: 20}}
	r := Results{Config: Config{Techniques: []string{"random", "guided"}, Budgets: []Budget{b}, Protocol: faults.StrictProtocol}, Values: []ValueRow{{Fault: list[0]}, {Fault: list[1]}},
		Rows: []Row{
			{Fault: list[0], Technique: "random", Budget: b, IR: 0.63, Repaired: 1, Repeats: 3, rates: []float64{1, 0, 0.9}, costs: []float64{30, 31, 32}, sizes: []float64{7, 9}},
			{Fault: list[1], Technique: "random", Budget: b, IR: math.Inf(-1), Repeats: 3, rates: []float64{math.Inf(-1), 0, 0}, costs: []float64{33, 34, 35}},
			{Fault: list[0], Technique: "guided", Budget: b, IR: 1, Repaired: 3, Repeats: 3, Significant: true, rates: []float64{1, 1, 1}, costs: []float64{2, 3, 4}, sizes: []float64{1, 1, 1}},
			{Fault: list[1], Technique: "guided", Budget: b, IR: 0.95, Repaired: 2, Repeats: 3, Significant: true, rates: []float64{0.89, 1, 0.96}, costs: []float64{5, 6, 7}, sizes: []float64{2, 2, 1}},
			{Fault: list[0], Technique: "guided", Budget: Budget{Budget: study.Budget{Times: 10}}, rates: []float64{7}},
		}}
	var w strings.Builder
	r.overviewTable(&w, b)
	want := []string{
		"| fault | random | guided |",
		"| D1 | 0.90, 1 of 3, 31.0 | 1.00, 3 of 3, 3.0 |",
		"| D7 | 0.00, 0 of 3, 34.0 | 0.96, 2 of 3, 6.0 |",
		"| **median IR of all searches** | 0.00 | 1.00 |",
		"| **faults with a median IR of at least 0.9** | 1 | 2 |",
		"| **proven repairs** | 1 of 6 | 5 of 6 |",
		"| **median trainings** | 32.5 | 4.5 |",
		"| **median edits** | 8.0 | 1.0 |",
	}
	for _, line := range want {
		if !strings.Contains(w.String(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, w.String())
		}
	}
	r.Config.Protocol = faults.PublishedProtocol
	w.Reset()
	r.overviewTable(&w, b)
	for _, line := range []string{"| D7 | 0.00, 34.0 | 0.96, 6.0 |", "| **median trainings** | 32.5 | 4.5 |"} {
		if !strings.Contains(w.String(), line+"\n") || strings.Contains(w.String(), "proven") {
			t.Errorf("%q is not in\n%s", line, w.String())
		}
	}
}

// Equal patches stand once, the most frequent first, and long ones as their number of edits.
func TestPatchCell(t *testing.T) {
	rate, relu, long := []string{"learning rate: 1 -> 0.1"}, []string{"activation of a: linear -> relu", "epochs: 1 -> 2"}, make([]string, 5)
	for _, c := range []struct {
		patches [][]string
		want    string
	}{
		{[][]string{rate, rate}, "learning rate: 1 → 0.1"},
		{[][]string{nil, relu, relu}, "activation of a: linear → relu; epochs: 1 → 2 (2) / –"},
		{[][]string{long, rate, long}, "5 edits (2) / learning rate: 1 → 0.1"},
		{[][]string{nil}, "–"},
	} {
		if got := patchCell(c.patches); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	list, err := faults.Select("D1")
	if err != nil {
		t.Fatal(err)
	}
	b := Budget{Budget: study.Budget{Times: 20}}
	r := Results{Rows: []Row{{Fault: list[0], Technique: "guided", Budget: b, IR: 0.5, Repaired: 2, Repeats: 3, rates: []float64{1, 0, 0.5}, costs: []float64{3, 5, 4},
		patches: [][]string{rate, nil, rate}}, {Fault: list[0], Technique: "guided"}}}
	for protocol, want := range map[faults.Protocol]string{
		faults.StrictProtocol:    "| proven | trainings | patches |\n|---|---|---|---|---|---|---|\n| D1 | guided | 0.50 | 0.50 | 2 of 3 | 4.0 | learning rate: 1 → 0.1 (2) / – |\n",
		faults.PublishedProtocol: "| median IR | trainings | patches |\n|---|---|---|---|---|---|\n| D1 | guided | 0.50 | 0.50 | 4.0 | learning rate: 1 → 0.1 (2) / – |\n",
	} {
		var w strings.Builder
		r.Config.Protocol = protocol
		if r.patchTable(&w, b); !strings.HasSuffix(w.String(), want) {
			t.Errorf("%s: no %q in\n%s", protocol, want, w.String())
		}
	}
}

// Faults of one stand-in are named together.
func TestStandIns(t *testing.T) {
	r := Results{}
	for _, x := range [][2]string{{"D1", ""}, {"D2", "a census"}, {"R1", "news"}, {"D3", "numbers"}, {"R2", "news"}} {
		r.Values = append(r.Values, ValueRow{Fault: faults.Fault{ID: x[0], StandIn: x[1]}})
	}
	var w strings.Builder
	r.standIns(&w)
	if got, want := w.String(), "\n## Stand-ins\n\n- D2: a census\n- R1, R2: news\n- D3: numbers\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	w.Reset()
	if (Results{Values: r.Values[:1]}).standIns(&w); w.Len() > 0 {
		t.Errorf("%q without a stand-in", w.String())
	}
}

// A patched training without a finite score counts as one answer for all rows, and a search without a patch as the faulty subject.
func TestScoreOfARepeat(t *testing.T) {
	numbers := func(v ...float64) (out []repair.Number) {
		for _, x := range v {
			out = append(out, repair.Number(x))
		}
		return out
	}
	inf := math.Inf(1)
	for _, c := range []struct {
		s    Search
		want float64
	}{
		{Search{Score: repair.Number(inf), Repaired: numbers(0.1, inf, 0.2), Constant: &study.ConstantTest{Score: 0.6}}, 0.3},
		{Search{Score: repair.Number(math.NaN()), Repaired: numbers(math.NaN(), 0.2), Constant: &study.ConstantTest{Score: 0.6}}, 0.4},
		{Search{Score: repair.Number(inf), Repaired: numbers(0.1, inf)}, inf},
		{Search{Score: 0.15, Repaired: numbers(0.1, 0.2), Constant: &study.ConstantTest{Score: 0.6}}, 0.15},
		{Search{Score: repair.Number(math.NaN())}, 0.5},
	} {
		got := Config{Protocol: faults.StrictProtocol}.score(train.MAE, ValueRow{Faulty: Sample{Mean: 0.5}}, &c.s)
		if got != c.want && math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%v of %v: %v, want %v", c.s.Score, c.s.Repaired, got, c.want)
		}
	}
}
