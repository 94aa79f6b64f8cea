package onnx

// InferenceForm returns a copy of a model in which every BatchNormalization uses its running statistics and every Dropout passes its input
// on, whatever the exporter left: the form that is deployed. A model exported for training computes with batch statistics and random masks
// in any runtime.
func (m *Model) InferenceForm() *Model {
	c := m.Clone()
	if c.Graph == nil {
		return c
	}
	for _, n := range c.Graph.Nodes {
		switch {
		case n.Is("BatchNormalization"):
			n.DeleteAttr("training_mode")
			n.Outputs = n.Outputs[:min(1, len(n.Outputs))]
		case n.Is("Dropout") && len(n.Inputs) > 2: // the third input is training_mode, false when absent
			n.Inputs = n.Inputs[:2]
		}
	}
	return c
}
