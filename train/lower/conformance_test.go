package lower

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
)

// officialTest is one of ONNX's own tests: a model with one set of inputs and outputs.
type officialTest struct {
	name            string
	model           *onnx.Model
	inputs, outputs map[int]*onnx.Tensor // by position; nil where it is no tensor
}

func onnxDir() string {
	dir := os.Getenv("NETMEND_ONNX")
	switch {
	case dir == "":
		return filepath.Join("..", "..", "..", "shared", "onnx")
	case !filepath.IsAbs(dir):
		return filepath.Join("..", "..", dir)
	}
	return dir
}

// eachOfficial calls f for the tests of an archive, or skips the test where there is none.
func eachOfficial(t *testing.T, archive string, f func(o *officialTest)) {
	b, err := os.ReadFile(filepath.Join(onnxDir(), "conformance", archive))
	if err != nil {
		t.Skipf("no official tests: %v; set NETMEND_ONNX", err)
	}
	z, err := xz.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for name := range files {
		if strings.HasSuffix(name, "/model.onnx") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		dir := path.Dir(name)
		m, err := onnx.Decode(files[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for set := 0; ; set++ {
			o := &officialTest{name: path.Base(dir), model: m, inputs: map[int]*onnx.Tensor{}, outputs: map[int]*onnx.Tensor{}}
			data := fmt.Sprintf("%s/test_data_set_%d", dir, set)
			for i := 0; ; i++ {
				in, ok := files[fmt.Sprintf("%s/input_%d.pb", data, i)]
				if !ok {
					break
				}
				o.inputs[i] = decodeTensor(in)
			}
			for i := 0; ; i++ {
				out, ok := files[fmt.Sprintf("%s/output_%d.pb", data, i)]
				if !ok {
					break
				}
				o.outputs[i] = decodeTensor(out)
			}
			if len(o.outputs) == 0 {
				break
			}
			f(o)
		}
	}
}

// decodeTensor reads a serialized TensorProto by making it the only initializer (field 5) of a graph (field 7) of a model.
func decodeTensor(b []byte) *onnx.Tensor {
	graph := append(binary.AppendUvarint([]byte{5<<3 | 2}, uint64(len(b))), b...)
	m, err := onnx.Decode(append(binary.AppendUvarint([]byte{7<<3 | 2}, uint64(len(graph))), graph...))
	if err != nil || len(m.Graph.Initializers) != 1 || !m.Graph.Initializers[0].Type.Valid() {
		return nil
	}
	return m.Graph.Initializers[0]
}

// runner lowers a model with inputs of fixed shapes and runs it once.
type runner struct {
	model   *onnx.Model
	inputs  map[string]*onnx.Tensor
	options Options
	device  engine.Device
}

var errRefused = errors.New("refused")

// run feeds floats through State tensors and integers through a data set of one row. Inputs that constant accepts are constants.
func (r *runner) run(constant func(*onnx.Tensor) bool) (map[string][]float64, map[string][]int, error) {
	refuse := func(err error) (map[string][]float64, map[string][]int, error) {
		return nil, nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	m := r.model.Clone()
	p := engine.NewProgram(1)
	b := p.NewFunc("infer", 1)
	ids := map[string]engine.TensorID{}
	load := map[engine.TensorID]any{}
	for name, t := range r.inputs {
		if t == nil {
			continue
		}
		if constant(t) {
			c := t.Clone()
			c.Name = name
			m.Graph.SetInitializer(c)
			continue
		}
		c, err := tensorConstant(t)
		if err != nil {
			return refuse(err)
		}
		if c.isFloat() || c.elem == onnx.Bool {
			ids[name] = p.NewState(name, c.shape)
			load[ids[name]] = c.toFloats()
			continue
		}
		column := p.NewData(name, engine.Int, c.shape)
		values := make([]int32, len(c.i))
		for k, v := range c.i {
			if values[k] = int32(v); int64(values[k]) != v {
				return refuse(fmt.Errorf("input %q: %d is beyond int32", name, v))
			}
		}
		load[column] = values
		ids[name] = b.Reshape(b.Batch(column), c.shape)
	}
	res, err := Lower(b, m, ids, nil, r.options)
	if err != nil {
		return refuse(err)
	}
	for _, v := range m.Graph.Outputs {
		b.Output(res.Outputs[v.Name])
	}
	exe, err := r.device.Compile(p)
	if err != nil {
		return nil, nil, err
	}
	defer exe.Close()
	for id, v := range load {
		if err := exe.Load(id, v); err != nil {
			return nil, nil, err
		}
	}
	got, err := exe.Run(context.Background(), engine.Schedule{Rows: []int32{0}})
	if err != nil {
		return nil, nil, err
	}
	values, shapes := map[string][]float64{}, map[string][]int{}
	for i, v := range m.Graph.Outputs {
		values[v.Name], shapes[v.Name] = got.Outputs[i], b.Shape(res.Outputs[v.Name])
	}
	return values, shapes, nil
}

func everything(*onnx.Tensor) bool { return true }

// infer runs with as few inputs as constants as the model accepts: none; small integers (axes, shapes); all integers and single floats.
func (r *runner) infer() (values map[string][]float64, shapes map[string][]int, err error) {
	for _, constant := range []func(*onnx.Tensor) bool{
		func(*onnx.Tensor) bool { return false },
		func(t *onnx.Tensor) bool { return !t.Type.IsFloat() && len(t.Dims) <= 1 },
		func(t *onnx.Tensor) bool {
			n, _ := t.NumElements()
			return !t.Type.IsFloat() || n == 1 && len(t.Dims) < 2
		},
		everything,
	} {
		values, shapes, err = r.run(constant)
		if !errors.Is(err, errRefused) {
			return values, shapes, err
		}
	}
	return nil, nil, err
}

// closeEnough compares with the tolerance of ONNX's own test runner (onnx/backend/test/runner: rtol 1e-3, atol 1e-7); NaN equals NaN.
func closeEnough(got, want, rtol, atol float64) bool {
	if math.IsNaN(got) || math.IsNaN(want) || math.IsInf(got, 0) || math.IsInf(want, 0) {
		return got == want || math.IsNaN(got) && math.IsNaN(want)
	}
	return math.Abs(got-want) <= atol+rtol*math.Abs(want)
}

// check runs an official test. The error wraps errRefused where the model was refused. What passes with inputs from the device must pass with
// constants too: the host computes then what it can.
func (o *officialTest) check() error {
	r := &runner{model: o.model, inputs: map[string]*onnx.Tensor{}, device: reference.NewFloat64()}
	for i, v := range o.model.Graph.DataInputs() {
		if in, ok := o.inputs[i]; ok && (in == nil || v.Type.Kind != onnx.KindTensor) {
			return fmt.Errorf("%w: input %q is no tensor", errRefused, v.Name)
		}
		r.inputs[v.Name] = o.inputs[i]
	}
	for _, n := range o.model.Graph.Nodes {
		// The tests of training mode name their statistics as outputs.
		r.options.Training = r.options.Training || n.Is("BatchNormalization") && n.Int("training_mode", 0) != 0
	}
	values, shapes, err := r.infer()
	if err != nil {
		return err
	}
	if err := o.compare(values, shapes); err != nil || r.options.Training { // running statistics are no constants
		return err
	}
	if values, shapes, err = r.run(everything); err != nil {
		return fmt.Errorf("with constant inputs: %v", err)
	}
	if err := o.compare(values, shapes); err != nil {
		return fmt.Errorf("with constant inputs: %w", err)
	}
	return nil
}

// compare compares outputs with the test's.
func (o *officialTest) compare(values map[string][]float64, shapes map[string][]int) error {
	for i, v := range o.model.Graph.Outputs {
		want, err := tensorConstant(o.outputs[i])
		if err != nil {
			return err
		}
		if !slices.Equal(shapes[v.Name], want.shape) {
			return fmt.Errorf("output %q has shape %v, wants %v", v.Name, shapes[v.Name], want.shape)
		}
		atol := 1e-7
		if strings.HasPrefix(o.name, "test_dft") || strings.HasPrefix(o.name, "test_stft") {
			// What cancels out is noise of numpy's float32 in these: 2^-22 of the largest element.
			for _, w := range want.toFloats() {
				atol = max(atol, math.Abs(w)/(1<<22))
			}
		}
		for k, w := range want.toFloats() {
			if g := values[v.Name][k]; !closeEnough(g, w, 1e-3, atol) {
				return fmt.Errorf("output %q: element %d is %v, wants %v", v.Name, k, g, w)
			}
		}
	}
	return nil
}

// conformance runs the official tests of an archive. None may be wrong; of those in scope, at least the share given must pass, and what is
// refused is refused by name.
func conformance(t *testing.T, archive string, share float64) {
	in, out := tally{refused: map[string]int{}}, map[string]*tally{}
	all := 0
	eachOfficial(t, archive, func(o *officialTest) {
		all++
		to, reason := &in, o.outOfScope()
		if reason != "" {
			if out[reason] == nil {
				out[reason] = &tally{refused: map[string]int{}}
			}
			to = out[reason]
		}
		if reason == outRandom {
			to.refused[""]++
			return
		}
		err := o.check()
		switch {
		case err == nil:
			to.passed++
		case errors.Is(err, errRefused):
			to.refused[refusedOp(err)]++
			if testing.Verbose() && reason == "" {
				t.Logf("%s: %v", o.name, err)
			}
		default:
			to.failed++
			t.Errorf("%s: %v", o.name, err)
		}
	})
	passed, total := in.passed, in.total()
	t.Logf("%s: %d tests, in scope %d: passed %d (%.1f %%), wrong %d, refused %d by operator:\n%s", archive, all, total, passed,
		100*float64(passed)/float64(total), in.failed, total-passed-in.failed, rows(in.refused))
	reasons := map[string]int{}
	for reason, r := range out {
		reasons[fmt.Sprintf("%s (%d pass, %d wrong, the rest is refused or not run)", reason, r.passed, r.failed)] = r.total()
	}
	t.Logf("out of scope by reason:\n%s", rows(reasons))
	if float64(passed) < share*float64(total) {
		t.Errorf("%d of %d tests in scope passed, wants %.1f %%", passed, total, 100*share)
	}
}

// tally counts tests; refused by operator.
type tally struct {
	passed, failed int
	refused        map[string]int
}

func (c *tally) total() int {
	n := c.passed + c.failed
	for _, k := range c.refused {
		n += k
	}
	return n
}

// rows lists counts, the largest first.
func rows(counts map[string]int) string {
	var list []string
	for what, n := range counts {
		list = append(list, fmt.Sprintf("%6d  %s", n, what))
	}
	slices.Sort(list)
	slices.Reverse(list)
	return strings.Join(list, "\n")
}

// refusedOp is the operator that an error of Lower names.
func refusedOp(err error) string {
	_, rest, ok := strings.Cut(err.Error(), ": op ")
	if !ok {
		return "(types of inputs and outputs)"
	}
	op, _, _ := strings.Cut(rest, ": ")
	return op
}

func TestOfficialNodeTests(t *testing.T)  { conformance(t, "onnx-node-tests.tar.xz", 0.979) }
func TestOfficialModelTests(t *testing.T) { conformance(t, "onnx-model-tests.tar.xz", 1) }
