package lower

import (
	"fmt"
	"regexp"
	"strings"

	"netmend/onnx"
)

// anonymousWeight is how PyTorch's exporter names a convolution's weights after it has folded the following batch normalisation into them:
// torch.onnx (TorchScript) keeps the module's name for every weight that it leaves alone.
var anonymousWeight = regexp.MustCompile(`^onnx::Conv_\d+$`)

// FoldedBatchNorms says, one line per layer, where an exporter seems to have folded a batch normalisation into the weights before it. What
// is gone that way cannot be trained any more. The evidence is in names: PyTorch's anonymous convolution weights, and the layer names that
// tf2onnx leaves on what it merges.
func FoldedBatchNorms(m *onnx.Model) []string {
	var notes []string
	for _, n := range m.Graph.Nodes {
		switch n.OpType {
		case "Conv", "ConvTranspose", "Gemm", "MatMul":
		default:
			continue
		}
		why := ""
		for _, in := range n.Inputs[min(1, len(n.Inputs)):] {
			if anonymousWeight.MatchString(in) {
				why = fmt.Sprintf("its weights %q have lost their module's name", in)
			}
		}
		for _, name := range append([]string{n.Name}, append(n.Outputs, n.Inputs[min(1, len(n.Inputs)):]...)...) {
			l := strings.ToLower(name)
			if strings.Contains(l, "batchnorm") || strings.Contains(l, "batch_norm") {
				why = fmt.Sprintf("it carries the name %q", name)
			}
		}
		if why != "" {
			notes = append(notes, fmt.Sprintf("node %q (%s): a batch normalisation seems to be folded into it: %s; export in training form to train it",
				n.Label(), n.OpType, why))
		}
	}
	return notes
}
