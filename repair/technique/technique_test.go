package technique_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"netmend/repair/diagnose"
	"netmend/repair/technique"
	"netmend/repair/technique/techniquetest"
)

// expected says what is particular of a technique.
var expected = map[string]techniquetest.Options{
	"autotrainer": {AnyWidth: true, OneAtATime: true},
	"bohb":        {LinearRate: true}, "bohb-published": {LinearRate: true},
	"hebo":       {Steps: 34, LinearRate: true, AnyWidth: true},
	"hebo-plain": {Steps: 34, LinearRate: true, AnyWidth: true},
	"random":     {LinearRate: true, AnyWidth: true},
}

func TestConformance(t *testing.T) {
	for _, name := range technique.Names() {
		techniquetest.Run(t, name, expected[name], func(s technique.Setup) (technique.Technique, error) { return technique.New(name, s) })
	}
}

// Guided without an idea is a technique too, and searches differently.
func TestWithoutIdeas(t *testing.T) {
	for _, idea := range technique.Ideas() {
		name, err := technique.Without("guided", []string{string(idea)})
		if err != nil {
			t.Fatal(err)
		}
		seedless := idea == technique.Uniform || idea == technique.Composition // the second ends before the first draw
		techniquetest.Run(t, name, techniquetest.Options{Seedless: seedless}, func(s technique.Setup) (technique.Technique, error) { return technique.New(name, s) })
	}
	if name, err := technique.Without("guided", []string{"halving", " longer"}); err != nil || name != "guided-halving-longer" {
		t.Errorf("%q, %v", name, err)
	}
	for _, c := range [][]string{{"guided", "luck"}, {"random", "halving"}} {
		if name, err := technique.Without(c[0], c[1:]); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestUnknownTechnique(t *testing.T) {
	if _, err := technique.New("oracle", techniquetest.Setup()); err == nil || !strings.Contains(err.Error(), "guided") {
		t.Errorf("unknown technique: %v", err)
	}
}

// Guided asks the table that it is given: with one in which a plateau always was a matter of initialisers, that is the first edit.
func TestGuidedAsksTheTable(t *testing.T) {
	var c diagnose.Counts
	c.Add(diagnose.AllMutants, "kernel_initializer", "A", diagnose.Count{Here: 1})
	c.Add(string(diagnose.Plateau), "kernel_initializer", "A", diagnose.Count{Elsewhere: 1})
	for i := range 200 {
		c.Add(diagnose.AllMutants, diagnose.HealthyModel, fmt.Sprint("B", i), diagnose.Count{Here: 1})
	}
	first := func(table *diagnose.Table) string {
		s := techniquetest.Setup()
		s.Suspicion = table
		name, err := technique.Without("guided", []string{string(technique.Uniform), string(technique.Longer)})
		if err != nil {
			t.Fatal(err)
		}
		x, err := technique.New(name, s)
		if err != nil {
			t.Fatal(err)
		}
		p, err := x.Ask(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Tell(technique.Trial{Proposal: p, State: technique.Completed, Score: technique.Score{Value: 0.5, Valid: true}, Cost: 1, Used: 0.05, Steps: 1,
			Symptoms: []diagnose.Symptom{{Kind: diagnose.Plateau}}}); err != nil {
			t.Fatal(err)
		}
		if p, err = x.Ask(context.Background()); err != nil || len(p.Patch) != 1 {
			t.Fatalf("%v, %v", p, err)
		}
		return p.Patch[0].Operator
	}
	settings := diagnose.Settings{Rule: 0.01, Value: 1}
	if got := first(diagnose.NewTable(c, settings)); got != "kernel_initializer" {
		t.Errorf("the first edit is of %s", got)
	}
	if got := first(diagnose.NewTable(diagnose.Counts{}, settings)); got == "kernel_initializer" {
		t.Error("without counts an initialiser is the first edit too")
	}
}

func TestSuspects(t *testing.T) {
	for name, want := range map[string]bool{"guided": true, "guided-longer": true, "guided-diagnosis": false, "guided-learning": false, "random": false, "oracle": false} {
		if technique.Suspects(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
