package onnx

import (
	"sync"
	"testing"
)

// TestClonesAreIndependent edits and encodes clones of one model at the same time; run with -race it shows that they
// share nothing that is written.
func TestClonesAreIndependent(t *testing.T) {
	b, err := editModel().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c := m.Clone()
			if err := c.Graph.InsertAfter("r", NewNode("Sigmoid", "s", nil, nil)); err != nil {
				t.Error(err)
			}
			c.Graph.Initializers[0].Name = "W"
			c.Graph.FreezeDim("N", 5)
			c.SetMeta("k", "v")
			for _, e := range []*Model{c, m} {
				if _, err := e.Encode(); err != nil {
					t.Error(err)
				}
				if _, err := InferShapes(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if after, err := m.Encode(); err != nil || string(after) != string(b) {
		t.Errorf("the original changed, %v", err)
	}
}
