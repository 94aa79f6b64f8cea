package onnx

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	"google.golang.org/protobuf/proto"

	"netmend/onnx/internal/pb"
)

// officialTest is one of ONNX's own tests: a model with the serialized tensors of its first data set.
type officialTest struct {
	name            string
	model           []byte
	inputs, outputs map[string][]byte // by file name
}

// officialTests reads an archive of ONNX's tests, or skips the test.
func officialTests(t testing.TB, archive string) []officialTest {
	file := filepath.Join(sharedDir(), "conformance", archive)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("no official tests: %v; set NETMEND_ONNX", err)
	}
	z, err := xz.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*officialTest{}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		dir, base := path.Split(h.Name)
		first := strings.HasSuffix(dir, "/test_data_set_0/")
		if base != "model.onnx" && !first {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := path.Base(strings.TrimSuffix(dir, "/test_data_set_0/"))
		if byName[name] == nil {
			byName[name] = &officialTest{name: name, inputs: map[string][]byte{}, outputs: map[string][]byte{}}
		}
		switch {
		case base == "model.onnx":
			byName[name].model = data
		case strings.HasPrefix(base, "input_"):
			byName[name].inputs[base] = data
		case strings.HasPrefix(base, "output_"):
			byName[name].outputs[base] = data
		}
	}
	var tests []officialTest
	for _, o := range byName {
		if o.model != nil {
			tests = append(tests, *o)
		}
	}
	slices.SortFunc(tests, func(a, b officialTest) int { return strings.Compare(a.name, b.name) })
	return tests
}

func sharedDir() string {
	dir := os.Getenv("NETMEND_ONNX")
	if dir == "" {
		return filepath.Join("..", "..", "shared", "onnx")
	}
	if !filepath.IsAbs(dir) {
		return filepath.Join("..", dir)
	}
	return dir
}

// tensorFile decodes a serialized tensor of a data set; nil where it holds a sequence or an optional.
func tensorFile(b []byte) *Tensor {
	p := new(pb.TensorProto)
	if proto.Unmarshal(b, p) != nil || p.DataType == nil {
		return nil
	}
	return decoder{}.tensor(p)
}

func TestOfficialNodeTestsRoundTripAndCheck(t *testing.T) {
	tests := officialTests(t, "onnx-node-tests.tar.xz")
	for _, o := range tests {
		t.Run(o.name, func(t *testing.T) {
			roundTrip(t, o.model)
			m, err := Decode(o.model)
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(m); err != nil {
				t.Error(err)
			}
		})
	}
	t.Logf("%d official node tests", len(tests))
}

// TestInferShapesOfficial forgets the declared output types of each official node test, infers them and compares
// with what was declared. Inputs of rank 0 and 1 are made initializers, so that shapes given as inputs are known.
func TestInferShapesOfficial(t *testing.T) {
	full, partial, unknown := 0, 0, map[string]int{}
	for _, o := range officialTests(t, "onnx-node-tests.tar.xz") {
		m, err := Decode(o.model)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range m.Graph.Inputs {
			data := tensorFile(o.inputs["input_"+itoa(i)+".pb"])
			if v.Type.Kind == KindTensor && data != nil && len(data.Dims) <= 1 {
				data.Name = v.Name
				m.Graph.SetInitializer(data)
			}
		}
		want := m.Graph.Outputs
		m.Graph.Outputs = make([]Value, len(want))
		for i, v := range want {
			m.Graph.Outputs[i] = Value{Name: v.Name}
		}
		m.Graph.ValueInfo = nil
		types, err := InferShapes(m)
		if err != nil {
			t.Errorf("%s: %v", o.name, err)
			continue
		}
		for _, v := range want {
			got := types[v.Name]
			if got.Kind == KindUnknown {
				unknown[m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType]++
				continue
			}
			switch fits, complete := typeFits(got, v.Type); {
			case !fits:
				t.Errorf("%s: output %q is inferred %s, declared %s", o.name, v.Name, got, v.Type)
			case complete:
				full++
			default:
				partial++
				t.Logf("%s: %s of %s", o.name, got, v.Type)
			}
		}
	}
	t.Logf("outputs fully inferred: %d, partly: %d, not at all by op: %v", full, partial, unknown)
	if full < 1000 {
		t.Errorf("only %d outputs were fully inferred", full)
	}
}

func itoa(i int) string { return string(rune('0' + i)) }

// typeFits reports whether all that got knows agrees with want, and whether it knows everything.
func typeFits(got, want Type) (fits, complete bool) {
	if got.Kind != want.Kind || got.Elem != want.Elem && got.Elem != Undefined {
		return false, false
	}
	if !got.HasShape || !want.HasShape {
		return true, got.HasShape
	}
	if len(got.Shape) != len(want.Shape) {
		return false, false
	}
	complete = got.Elem != Undefined
	for i, d := range got.Shape {
		switch {
		case d.Known() && want.Shape[i].Known() && d.Value != want.Shape[i].Value:
			return false, false
		case !d.Known() && d.Param == "":
			complete = false
		}
	}
	return true, complete
}

// TestOfficialModelTestsRoundTrip: networks and layers exported from PyTorch, of operator sets down to 6.
func TestOfficialModelTestsRoundTrip(t *testing.T) {
	tests := officialTests(t, "onnx-model-tests.tar.xz")
	for _, o := range tests {
		roundTrip(t, o.model)
		m, err := Decode(o.model)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(m); err != nil {
			t.Errorf("%s: %v", o.name, err)
		}
		want := m.Graph.Outputs
		m.Graph.ValueInfo, m.Graph.Outputs = nil, nil
		types, err := InferShapes(m)
		if err != nil {
			t.Errorf("%s: %v", o.name, err)
			continue
		}
		for _, v := range want {
			if got := types[v.Name]; got.Kind == KindTensor {
				if fits, _ := typeFits(got, v.Type); !fits {
					t.Errorf("%s: output %q is inferred %s, declared %s", o.name, v.Name, got, v.Type)
				}
			}
		}
	}
	t.Logf("%d official model tests", len(tests))
}
