package bench

import (
	"encoding/csv"
	"math"
	"strings"
	"testing"

	"netmend/faults"
	"netmend/repair"
)

// Of a fault that nothing is published of, tables have no published means and no differences to them.
func TestNothingPublishedIsNoZero(t *testing.T) {
	list, err := faults.Select("D7,L1")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Repeats: 2, Scale: faults.PaperScale, Protocol: faults.PublishedProtocol, ValuesOnly: true}
	done := map[string]Line{}
	for i, f := range list {
		c.Entries = append(c.Entries, Entry{Fault: f})
		for k, variant := range []string{faultyVariant, fixedVariant} {
			for r := range c.Repeats {
				name := c.name(task{entry: i, variant: variant, repeat: r})
				done[name] = Line{Name: name, Value: &Value{Holdout: repair.Number(0.5 + 0.25*float64(k) + 0.01*float64(r))}}
			}
		}
	}
	r := Results{Config: c, Values: []ValueRow{c.valueRow(0, done), c.valueRow(1, done)}}
	if v := r.Values[0]; math.IsNaN(v.FaultyOff) || math.IsNaN(v.FixedOff) {
		t.Errorf("D7: differences to the published means are %v and %v", v.FaultyOff, v.FixedOff)
	}
	if v := r.Values[1]; !math.IsNaN(v.FaultyOff) || !math.IsNaN(v.FixedOff) {
		t.Errorf("L1: differences to published means are %v and %v", v.FaultyOff, v.FixedOff)
	}
	var w strings.Builder
	r.valueTable(&w)
	if want := "| L1 | accuracy | 0.51 ± 0.01 | – | – | 0.76 ± 0.01 | – | – | 35.4 |\n"; !strings.HasSuffix(w.String(), want) {
		t.Errorf("the table ends with\n%s\nwant\n%s", w.String()[max(0, w.Len()-2*len(want)):], want)
	}
	table, err := r.csv()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(table))).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, name := range rows[0] {
		if strings.HasPrefix(name, "published_") || strings.HasSuffix(name, "_difference_sd") {
			if rows[1][i] == "" || rows[2][i] != "" {
				t.Errorf("%s of D7 is %q, of L1 %q", name, rows[1][i], rows[2][i])
			}
		}
	}
}
