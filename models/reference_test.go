package models

import (
	"testing"

	"netmend/onnx"
)

// TestReference: the networks pass the checker, and have as many weights as their papers' tables or PyTorch's modules say.
func TestReference(t *testing.T) {
	// Counts by sum(p.numel() for p in net.parameters()) of scripts/bench_pytorch.py's networks, running statistics left out.
	for name, want := range map[string]int64{"tiny": 65, "mlp": 101770, "resnet20": 272474, "vgg11bn": 9231114, "lstm": 2692225, "transformer": 657758} {
		m, err := Reference(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := onnx.Check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := int64(0)
		for _, w := range m.Graph.Initializers {
			if n, err := onnx.Elements(w.Dims); err == nil && w.Type == onnx.Float32 && len(w.Dims) > 0 && !running(w.Name) {
				got += n
			}
		}
		if got != want {
			t.Errorf("%s has %d weights, want %d", name, got, want)
		}
	}
	if _, err := Reference("resnet"); err == nil {
		t.Error("an unknown name was built")
	}
}

func running(name string) bool {
	return len(name) > 12 && (name[len(name)-12:] == "running_mean" || name[len(name)-11:] == "running_var")
}
