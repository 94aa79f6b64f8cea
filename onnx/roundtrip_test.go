package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// sharedModels returns the real models to test with, or skips the test.
func sharedModels(t testing.TB) []string {
	dir := sharedDir()
	files, _ := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if len(files) == 0 {
		t.Skipf("no models in %s; set NETMEND_ONNX", dir)
	}
	return files
}

// roundTrip decodes and encodes b and fails the test unless the result means the same message; it reports whether
// the bytes are the same too.
func roundTrip(t *testing.T, b []byte) bool {
	t.Helper()
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Clone().Encode()
	if err != nil {
		t.Fatal(err)
	}
	var want, got pb.ModelProto
	if err := proto.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if unordered(&want) {
		byText := func(a, b *pb.NodeProto) int { return strings.Compare(a.String(), b.String()) }
		slices.SortFunc(want.Graph.Node, byText)
		slices.SortFunc(got.Graph.Node, byText)
	}
	if !proto.Equal(&want, &got) {
		t.Errorf("Decode and Encode changed the model")
	}
	return bytes.Equal(b, out)
}

// unordered reports whether Decode had to mend the order of a file's nodes.
func unordered(p *pb.ModelProto) bool {
	var nodes []*Node
	for _, n := range p.GetGraph().GetNode() {
		nodes = append(nodes, &Node{Inputs: n.Input, Outputs: n.Output, proto: n})
	}
	sorted, _ := sortNodes(nodes)
	return sorted != nil && !slices.Equal(nodes, sorted)
}

func TestRoundTripSharedModels(t *testing.T) {
	same := 0
	files := sharedModels(t)
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			if roundTrip(t, b) {
				same++
			}
		})
	}
	t.Logf("%d models equal as messages, %d of them byte for byte", len(files), same)
}
