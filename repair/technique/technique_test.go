package technique_test

import (
	"strings"
	"testing"

	"netmend/repair/technique"
	"netmend/repair/technique/techniquetest"
)

// expected says what is particular of a technique.
var expected = map[string]techniquetest.Options{
	"bohb": {LinearRate: true}, "bohb-published": {LinearRate: true},
	"hebo":       {Steps: 34, LinearRate: true},
	"hebo-plain": {Steps: 34, LinearRate: true},
	"random":     {LinearRate: true},
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
		techniquetest.Run(t, name, techniquetest.Options{Seedless: idea == technique.Uniform}, func(s technique.Setup) (technique.Technique, error) { return technique.New(name, s) })
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
