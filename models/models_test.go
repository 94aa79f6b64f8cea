package models_test

import (
	"testing"

	"netmend/models"
	"netmend/onnx"
)

func TestNetworksAreValid(t *testing.T) {
	for _, name := range models.Names() {
		m, err := models.Build(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := onnx.Check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		types, err := onnx.InferShapes(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := m.Graph.Outputs[0].Type.String()
		if got := types["output"].String(); got != want {
			t.Errorf("%s: the output is inferred to be %s and declared %s", name, got, want)
		}
	}
}
