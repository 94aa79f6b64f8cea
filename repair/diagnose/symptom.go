// Package diagnose finds evidence of what is wrong with a subject: static rules look at graph, recipe and training rows ([Static]), dynamic
// ones at what was seen of a training ([Dynamic]). From the evidence follows how much each edit of a space is suspected ([Suspicion]).
//
// Evidence is a measured value and the limit that it crosses, with the source of the limit beside it in the code; it is never prose.
// Suspicion is a prior for a search, never a filter: the best published localiser of faults names the right one in about half of the cases.
package diagnose

import (
	"encoding/json"

	"netmend/repair"
)

// Kind is what kind of evidence a symptom is.
type Kind string

// Symptom is one piece of evidence.
type Symptom struct {
	Kind    Kind
	Node    string // the node or tensor where it was seen, by the name that edits target it by; empty: the whole recipe
	Epoch   int    // the epoch at whose end it was seen; 0: before training
	Measure string // what was measured
	Value   float64
	Limit   float64
}

// symptomJSON is how a symptom is written.
type symptomJSON struct {
	Kind    Kind          `json:"kind"`
	Node    string        `json:"node,omitempty"`
	Epoch   int           `json:"epoch,omitempty"`
	Measure string        `json:"measure"`
	Value   repair.Number `json:"value"`
	Limit   repair.Number `json:"limit"`
}

// MarshalJSON keeps values that are not finite.
func (s Symptom) MarshalJSON() ([]byte, error) {
	return json.Marshal(symptomJSON{s.Kind, s.Node, s.Epoch, s.Measure, repair.Number(s.Value), repair.Number(s.Limit)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Symptom) UnmarshalJSON(raw []byte) error {
	var j symptomJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return err
	}
	*s = Symptom{j.Kind, j.Node, j.Epoch, j.Measure, float64(j.Value), float64(j.Limit)}
	return nil
}
