package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// sharedModels returns the real models to test with, or skips the test.
func sharedModels(t testing.TB) []string {
	dir := os.Getenv("NETMEND_ONNX")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "onnx")
	} else if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", dir)
	}
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
	if !proto.Equal(&want, &got) {
		t.Errorf("Decode and Encode changed the model")
	}
	canonical, err := proto.Marshal(&want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(canonical, out) {
		t.Errorf("Encode gave other bytes than protobuf's canonical form")
	}
	return bytes.Equal(b, out)
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
