package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"netmend/onnx"
)

// fixture is a folder with a healthy model, recipe and data set that a case spoils.
type fixture struct {
	t                   *testing.T
	dir                 string
	model, recipe, data string
	args                []string // further arguments
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, dir: t.TempDir()}
	src := filepath.Join("..", "..", "testdata", "exports", "pytorch_mlp")
	for name, to := range map[string]*string{"model.onnx": &f.model, "recipe.yaml": &f.recipe, "data.npz": &f.data} {
		raw, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			t.Fatal(err)
		}
		*to = f.write(name, raw)
	}
	return f
}

func (f *fixture) write(name string, raw []byte) string {
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *fixture) read(path string) []byte {
	raw, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}

// editModel changes the graph and writes it as it is, valid or not.
func (f *fixture) editModel(edit func(m *onnx.Model)) {
	m, err := onnx.Read(f.model)
	if err != nil {
		f.t.Fatal(err)
	}
	edit(m)
	raw, err := m.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.write("model.onnx", raw)
}

func (f *fixture) editRecipe(old, new string) {
	s := string(f.read(f.recipe))
	if !strings.Contains(s, old) {
		f.t.Fatalf("the recipe has no %q:\n%s", old, s)
	}
	f.write("recipe.yaml", []byte(strings.Replace(s, old, new, 1)))
}

// npz writes arrays of float32 zeros ("f4") or int64 ("i8") values.
func (f *fixture) npz(arrays map[string][]byte) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, raw := range arrays {
		w, err := z.Create(name + ".npy")
		if err != nil {
			f.t.Fatal(err)
		}
		if _, err := w.Write(raw); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.write("data.npz", buf.Bytes())
}

// npy is an array file of zeros whose header claims a shape.
func npy(descr, shape string, payload int) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
	for (len(header)+11)%64 != 0 {
		header += " "
	}
	header += "\n"
	raw := append([]byte("\x93NUMPY\x01\x00"), binary.LittleEndian.AppendUint16(nil, uint16(len(header)))...)
	return append(append(raw, header...), make([]byte, payload)...)
}

// externalWeight is a second graph message, which protobuf merges into the first: an initializer whose data lie in a file.
func externalWeight(location string) []byte {
	field := func(n protowire.Number, raw []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), raw)
	}
	number := func(n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
	}
	entry := append(field(1, []byte("location")), field(2, []byte(location))...)
	tensor := slices.Concat(number(1, 4), number(2, 1), field(8, []byte("outside")), field(13, entry), number(14, 1)) // dims, FLOAT, name, external_data, EXTERNAL
	return field(7, field(5, tensor))                                                                                 // ModelProto.graph, GraphProto.initializer
}

// malformed are inputs that a command must refuse: each with an error that names the thing, its exit code, and nothing left behind.
var malformed = []struct {
	name  string
	spoil func(f *fixture)
	code  int
	want  string
}{
	// Models.
	{"model missing", func(f *fixture) { os.Remove(f.model) }, 1, "model.onnx"},
	{"model is a folder", func(f *fixture) { f.model = f.dir }, 1, "is a folder"},
	{"model is empty", func(f *fixture) { f.write("model.onnx", nil) }, 1, "model.onnx"},
	{"model is text", func(f *fixture) { f.write("model.onnx", []byte("hello, I am no model at all\n")) }, 1, "onnx:"},
	{"model is cut off", func(f *fixture) { raw := f.read(f.model); f.write("model.onnx", raw[:len(raw)/2]) }, 1, "onnx:"},
	{"dangling input", func(f *fixture) { f.editModel(func(m *onnx.Model) { m.Graph.Nodes[1].Inputs[0] = "nowhere" }) }, 1, `"nowhere"`},
	{"cycle", func(f *fixture) {
		f.editModel(func(m *onnx.Model) { m.Graph.Nodes[0].Inputs[0] = m.Graph.Nodes[1].Outputs[0] })
	}, 1, m1},
	{"value made twice", func(f *fixture) {
		f.editModel(func(m *onnx.Model) { m.Graph.Nodes[1].Outputs[0] = m.Graph.Nodes[0].Outputs[0] })
	}, 1, m0},
	{"operator without lowering", func(f *fixture) { f.editModel(func(m *onnx.Model) { m.Graph.Nodes[1].OpType = "Unique" }) }, 1, "op Unique"},
	{"unknown operator", func(f *fixture) { f.editModel(func(m *onnx.Model) { m.Graph.Nodes[1].OpType = "Frobnicate" }) }, 1, "Frobnicate"},
	{"foreign operator set", func(f *fixture) {
		f.editModel(func(m *onnx.Model) { m.Graph.Nodes[1].Domain = "com.acme"; m.SetOpset("com.acme", 1) })
	}, 1, "com.acme"},
	{"no opset", func(f *fixture) { f.editModel(func(m *onnx.Model) { m.Opsets = nil }) }, 1, "imports no operator set"},
	{"no graph", func(f *fixture) { f.write("model.onnx", []byte{0x08, 8, 0x42, 2, 0x10, 18}) }, 1, "no graph"},
	{"no outputs", func(f *fixture) { f.editModel(func(m *onnx.Model) { m.Graph.Outputs = nil }) }, 1, "output"},
	{"weight of 2^60 elements", func(f *fixture) {
		f.editModel(func(m *onnx.Model) { m.Graph.Initializer("fc1.weight").Dims = []int64{1 << 30, 1 << 30} })
	}, 1, "fc1.weight"},
	{"weight with too few bytes", func(f *fixture) {
		f.editModel(func(m *onnx.Model) { m.Graph.Initializer("fc1.weight").Dims = []int64{32, 65} })
	}, 1, "fc1.weight"},
	{"negative dimension", func(f *fixture) {
		f.editModel(func(m *onnx.Model) { m.Graph.Initializer("fc1.bias").Dims = []int64{-32} })
	}, 1, "fc1.bias"},
	{"weights that do not fit", func(f *fixture) {
		f.editModel(func(m *onnx.Model) {
			m.Graph.SetInitializer(onnx.NewFloat32("fc1.weight", []int64{32, 60}, make([]float32, 32*60)))
		})
	}, 1, "/fc1/Gemm"},
	{"float16 weights", func(f *fixture) {
		f.editModel(func(m *onnx.Model) {
			m.Graph.SetInitializer(onnx.NewRaw("fc1.weight", onnx.Float16, []int64{32, 64}, make([]byte, 2*32*64)))
		})
	}, 1, "fc1.weight"},
	{"external data outside the folder", func(f *fixture) { f.write("model.onnx", append(f.read(f.model), externalWeight("../secret.bin")...)) }, 1, "../secret.bin"},
	// Recipes.
	{"recipe missing", func(f *fixture) { os.Remove(f.recipe) }, 1, "recipe.yaml"},
	{"recipe is no YAML", func(f *fixture) { f.write("recipe.yaml", []byte("semantics: [")) }, 1, "recipe"},
	{"recipe is empty", func(f *fixture) { f.write("recipe.yaml", nil) }, 1, `"semantics" is missing`},
	{"recipe with an unknown field", func(f *fixture) { f.editRecipe("epochs:", "epoch:") }, 1, "field epoch not found"},
	{"recipe with an unknown loss", func(f *fixture) { f.editRecipe("sparse_categorical_crossentropy", "focal") }, 1, `"focal"`},
	{"recipe with an unknown optimizer", func(f *fixture) { f.editRecipe("{name: ", "{name: x") }, 1, "is not known"},
	{"recipe with a NaN learning rate", func(f *fixture) { f.editRecipe("learning_rate: ", "learning_rate: .nan #") }, 1, "recipe"},
	{"recipe with an unknown weight", func(f *fixture) { f.editRecipe("fc1.weight:", "fc7.weight:") }, 1, `"fc7.weight"`},
	{"recipe with batch size 0", func(f *fixture) { f.editRecipe("batch_size: ", "batch_size: 0 #") }, 1, "batch_size 0"},
	{"recipe with orthogonal biases", func(f *fixture) { f.editRecipe("fc1.bias: {", "fc1.bias: {name: orthogonal} #") }, 1, "orthogonal"},
	// Data sets.
	{"data missing", func(f *fixture) { os.Remove(f.data) }, 1, "data.npz"},
	{"data of unknown kind", func(f *fixture) { f.data = f.write("data.xyz", []byte("1")) }, 1, "data.xyz"},
	{"data is an empty folder", func(f *fixture) { f.data = f.dir + "/empty"; os.Mkdir(f.data, 0o700) }, 1, "empty"},
	{"data cut off", func(f *fixture) { raw := f.read(f.data); f.write("data.npz", raw[:len(raw)/2]) }, 1, "data.npz"},
	{"data without targets", func(f *fixture) { f.npz(map[string][]byte{"x": npy("<f4", "(4, 64)", 4*64*4)}) }, 1, "no targets"},
	{"data with a 2^60 shape", func(f *fixture) {
		f.npz(map[string][]byte{"x": npy("<f4", "(1073741824, 1073741824)", 64), "y": npy("<i8", "(4,)", 32)})
	}, 1, "x"},
	{"data with rows that differ", func(f *fixture) {
		f.npz(map[string][]byte{"x": npy("<f4", "(40, 64)", 40*64*4), "y": npy("<i8", "(30,)", 30*8)})
	}, 1, "rows"},
	{"data too narrow", func(f *fixture) {
		f.npz(map[string][]byte{"x": npy("<f4", "(40, 60)", 40*60*4), "y": npy("<i8", "(40,)", 40*8)})
	}, 1, `input "input"`},
	{"labels beyond the output", func(f *fixture) {
		y := npy("<i8", "(40,)", 40*8)
		y[len(y)-8] = 11
		f.npz(map[string][]byte{"x": npy("<f4", "(40, 64)", 40*64*4), "y": y})
	}, 1, "labels reach 11"},
	{"csv with text", func(f *fixture) { f.data = f.write("d.csv", []byte("a,b,c\n1,two,0\n3,4,1\n")) }, 1, "d.csv"},
	{"csv with a missing value", func(f *fixture) { f.data = f.write("d.csv", []byte("a,b,c\n1,,0\n3,4,1\n")) }, 1, "d.csv"},
	// Calls.
	{"unknown flag", func(f *fixture) { f.args = []string{"--frobnicate"} }, 2, "frobnicate"},
	{"unknown technique", func(f *fixture) { f.args = []string{"--technique", "magic"} }, 2, `"magic"`},
	{"unknown device", func(f *fixture) { f.args = []string{"--device", "tpu"} }, 2, `"tpu"`},
	{"unknown budget", func(f *fixture) { f.args = []string{"--budget", "lots"} }, 2, `"lots"`},
	{"negative budget", func(f *fixture) { f.args = []string{"--budget", "-3x"} }, 2, "-3x"},
	{"two models", func(f *fixture) { f.args = []string{"second.onnx"} }, 2, "one model"},
	{"unknown split", func(f *fixture) { f.args = []string{"--split", "9"} }, 2, "--split"},
	{"flag without its value", func(f *fixture) { f.args = []string{"--seed"} }, 2, "seed"},
	{"output folder is a file", func(f *fixture) { f.write("out", []byte("mine")) }, 1, "out"},
}

// The labels of the two nodes that cases break.
const m0, m1 = "/fc1/Gemm", "/act1/Relu"

func TestMalformedInputIsRefused(t *testing.T) {
	if len(malformed) < 30 {
		t.Fatalf("%d cases, want 30", len(malformed))
	}
	messages := make(map[string]string)
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			c.spoil(f)
			out := filepath.Join(f.dir, "out")
			var stdout, stderr bytes.Buffer
			args := append([]string{"netmend", "repair", f.model, "--recipe", f.recipe, "--data", f.data, "--device", "reference", "--technique", "random", "--budget", "2t",
				"--out", out, "--json"}, f.args...)
			code := run(context.Background(), args, &stdout, &stderr)
			if code != c.code || !strings.Contains(stderr.String(), c.want) || !strings.HasPrefix(stderr.String(), "netmend: error: ") {
				t.Errorf("exit %d, want %d; stderr %q, want %q in it", code, c.code, stderr.String(), c.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("standard output: %q", stdout.String())
			}
			if left, err := os.ReadDir(out); err == nil && len(left) > 0 {
				t.Errorf("left behind in the output folder: %v", left)
			}
			said := strings.ReplaceAll(stderr.String(), f.dir, "")
			if other, ok := messages[said]; ok {
				t.Errorf("says the same as %q: %q", other, said)
			}
			messages[said] = c.name
		})
	}
}
