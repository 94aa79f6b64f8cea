package technique

import (
	"fmt"
	"slices"
	"strings"
)

// Idea is a part of guided search that can be left out, so that an ablation shows what it brings.
type Idea string

// The ideas.
const (
	// Diagnosis ranks edits by what static rules and the faulty training's trace make suspicious; without it all edits are equal.
	Diagnosis Idea = "diagnosis"
	// Learning weighs suspicion by what was counted in mutants of healthy networks; without it the rules set by hand are all there is.
	Learning Idea = "learning"
	// Uniform draws a share of the edits regardless of suspicion.
	Uniform Idea = "uniform"
	// Singles tries single edits first; without it the search begins with random pairs and triples.
	Singles Idea = "singles"
	// Together makes several suspected edits at once, as one candidate: the same one in all layers, or those that evidence asks for most.
	Together Idea = "together"
	// Halving trains candidates shortly and only the best of them longer; without it each is trained to the end.
	Halving Idea = "halving"
	// Continuation trains on from checkpoints; without it every longer training begins again.
	Continuation Idea = "continuation"
	// Longer probes whether training longer helps.
	Longer Idea = "longer"
	// Confirmation wants a second seed before a patch is believed.
	Confirmation Idea = "confirmation"
	// Composition edits believed patches further, those edits first that helped alone.
	Composition Idea = "composition"
	// Data edits preprocessing and input scaling.
	Data Idea = "data"
	// Minimization takes edits out of the patch that it does not need (the study's part).
	Minimization Idea = "minimization"
)

// Ideas lists what can be left out.
func Ideas() []Idea {
	return []Idea{Diagnosis, Learning, Uniform, Singles, Together, Halving, Continuation, Longer, Confirmation, Composition, Data, Minimization}
}

// guidedName is the technique that has parts.
const guidedName = "guided"

// Parse reads a technique's name: one of [Names], or guided without ideas, as "guided-halving" or "guided-halving-longer".
func Parse(name string) (base string, without []Idea, err error) {
	if _, ok := registry[name]; ok {
		return name, nil, nil
	}
	list, ok := strings.CutPrefix(name, guidedName+"-")
	if !ok {
		return "", nil, fmt.Errorf("technique: %q is not known: one of %s, or %s-IDEA without an idea", name, strings.Join(Names(), ", "), guidedName)
	}
	for _, word := range strings.Split(list, "-") {
		if !slices.Contains(Ideas(), Idea(word)) {
			return "", nil, fmt.Errorf("technique: %q: there is no idea %q to be left out: one of %v", name, word, Ideas())
		}
		without = append(without, Idea(word))
	}
	return guidedName, without, nil
}

// Without is the name of a technique without ideas. Only guided has some.
func Without(name string, ideas []string) (string, error) {
	for _, x := range ideas {
		name += "-" + strings.TrimSpace(x)
	}
	_, _, err := Parse(name)
	return name, err
}
