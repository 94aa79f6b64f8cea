package onnx

import "testing"

func TestInferenceForm(t *testing.T) {
	m, err := Read("../testdata/exports/pytorch_cnn/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	training := func(m *Model) (n int) {
		for _, x := range m.Graph.Nodes {
			if x.Int("training_mode", 0) != 0 || x.OpType == "BatchNormalization" && len(x.Outputs) > 1 || x.OpType == "Dropout" && x.Input(2) != "" {
				n++
			}
		}
		return n
	}
	before := training(m)
	c := m.InferenceForm()
	if err := Check(c); err != nil {
		t.Error(err)
	}
	if before == 0 || training(c) != 0 || training(m) != before {
		t.Errorf("nodes in training form: %d before, %d in the copy, %d in the original", before, training(c), training(m))
	}
}
