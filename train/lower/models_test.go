package lower

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/onnx/ort"
)

// inputTensors makes one value for every data input: batch rows where the first dimension is symbolic or rows is forced, and numbers that
// depend on the place only. Integers are 0, 1, 2, 0, ….
func inputTensors(t *testing.T, m *onnx.Model, rows int64, force bool) map[string]*onnx.Tensor {
	t.Helper()
	in := map[string]*onnx.Tensor{}
	for k, v := range m.Graph.DataInputs() {
		dims, ok := v.Type.Dims()
		if !ok {
			t.Fatalf("input %q has no shape", v.Name)
		}
		for i, d := range dims {
			if d < 0 || i == 0 && force {
				dims[i] = rows
			}
		}
		n, err := onnx.Elements(dims)
		if err != nil || n > 1<<20 {
			t.Skipf("input %q of %v is too large for a test", v.Name, dims)
		}
		if v.Type.Elem == onnx.Float64 {
			x := make([]float64, n)
			for i := range x {
				x[i] = float64((7919*i+104729*(k+1))%2003-1001) / 1001
			}
			in[v.Name] = onnx.NewFloat64(v.Name, dims, x)
			continue
		}
		if v.Type.Elem.IsFloat() {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32((7919*i+104729*(k+1))%2003-1001) / 1001
			}
			in[v.Name] = onnx.NewFloat32(v.Name, dims, x)
			continue
		}
		raw := make([]byte, n*v.Type.Elem.Bits()/8)
		for i := range n {
			raw[i*v.Type.Elem.Bits()/8] = byte(i % 3)
		}
		in[v.Name] = onnx.NewRaw(v.Name, v.Type.Elem, dims, raw)
	}
	return in
}

// singleModels are the models of the shared folder and the exports, by file.
func singleModels(t *testing.T) map[string]*onnx.Model {
	files, _ := filepath.Glob(filepath.Join(onnxDir(), "*.onnx"))
	if len(files) == 0 {
		t.Logf("no single models in %s; set NETMEND_ONNX", onnxDir())
	}
	models := exports(t)
	for _, f := range files {
		m, err := onnx.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		models[filepath.Base(f)] = m
	}
	return models
}

func sortedNames(models map[string]*onnx.Model) []string {
	var names []string
	for name := range models {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// inferenceForm is m as ONNX Runtime must see it: the exports are in training form, with batch statistics and random dropout.
func inferenceForm(m *onnx.Model) *onnx.Model {
	m = m.Clone()
	for _, n := range m.Graph.Nodes {
		switch {
		case n.Is("BatchNormalization") && n.Int("training_mode", 0) != 0:
			n.SetInt("training_mode", 0)
			n.Outputs = n.Outputs[:1]
		case n.Is("Dropout") && len(n.Inputs) > 2:
			n.Inputs = n.Inputs[:2]
		}
	}
	return m
}

// heavy models are a few seconds each on the plain Go device.
var heavy = []string{"onnx-light_vgg19.onnx", "onnx-light_resnet50.onnx", "onnx-light_inception_v1.onnx", "onnx-light_zfnet512.onnx",
	"onnx-light_bvlc_alexnet.onnx"}

// TestModelsLikeONNXRuntime: outputs within 1e-4 of ONNX Runtime's, relative to the largest output where that is beyond 1.
func TestModelsLikeONNXRuntime(t *testing.T) {
	if _, err := ort.FindLibrary(); err != nil {
		t.Skip(err)
	}
	if err := ort.Open(""); err != nil {
		t.Skip(err)
	}
	models := singleModels(t)
	agreed, refused := 0, map[string]int{}
	for _, name := range sortedNames(models) {
		t.Run(name, func(t *testing.T) {
			if slices.Contains(heavy, name) && os.Getenv("NETMEND_SLOW") == "" {
				t.Skip("takes up to 40 seconds on the reference device; set NETMEND_SLOW")
			}
			m := models[name]
			in := inputTensors(t, m, 2, false)
			r := &runner{model: m, inputs: in, device: reference.New()}
			values, shapes, err := r.run(func(*onnx.Tensor) bool { return false })
			if errors.Is(err, errRefused) {
				refused[refusedOp(err)]++
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := ort.NewSession(inferenceForm(m))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want, err := s.Run(in)
			if err != nil {
				t.Fatal(err)
			}
			for out, w := range want {
				c, err := tensorConstant(w)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(shapes[out], c.shape) {
					t.Fatalf("output %q has shape %v, ONNX Runtime's %v", out, shapes[out], c.shape)
				}
				scale, worst := 1.0, 0.0
				for _, x := range c.toFloats() {
					scale = max(scale, math.Abs(x))
				}
				for i, x := range c.toFloats() {
					if g := values[out][i]; math.IsNaN(g) != math.IsNaN(x) {
						t.Fatalf("output %q: element %d is %v, ONNX Runtime's %v", out, i, g, x)
					} else {
						worst = max(worst, math.Abs(g-x)/scale)
					}
				}
				if worst > 1e-4 {
					t.Errorf("output %q is %.3g away from ONNX Runtime's", out, worst)
				}
			}
			agreed++
		})
	}
	t.Logf("%d models agree with ONNX Runtime, refused: %v", agreed, refused)
}

// TestBatch lowers models at another batch size than they were exported with: every row must give what it gives alone.
func TestBatch(t *testing.T) {
	models := singleModels(t)
	tested := 0
	for _, name := range sortedNames(models) {
		m := models[name]
		small := true
		for _, v := range m.Graph.DataInputs() {
			small = small && len(v.Type.Shape) > 1 && (v.Type.Shape[0].Value == 1 || !v.Type.Shape[0].Known())
		}
		if !small || strings.HasPrefix(name, "onnx-light") || strings.HasPrefix(name, "ortgo") || strings.HasPrefix(name, "onnx2c-test_lstm") ||
			name == "tf2onnx-mnist.onnx" { // its output is the accuracy over the batch
			continue
		}
		t.Run(name, func(t *testing.T) {
			const rows = 3
			in := inputTensors(t, m, rows, true)
			r := &runner{model: m, inputs: in, options: Options{Batch: rows}, device: reference.New()}
			all, _, err := r.run(func(*onnx.Tensor) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			for row := range rows {
				one := map[string]*onnx.Tensor{}
				for name, x := range in {
					if !x.Type.IsFloat() { // tokens
						ids, err := x.Int64s()
						if err != nil {
							t.Fatal(err)
						}
						n := len(ids) / rows
						one[name] = onnx.NewInt64(name, append([]int64{1}, x.Dims[1:]...), ids[row*n:(row+1)*n])
						continue
					}
					v, err := x.Float32s()
					if err != nil {
						t.Fatal(err)
					}
					n := len(v) / rows
					one[name] = onnx.NewFloat32(name, append([]int64{1}, x.Dims[1:]...), v[row*n:(row+1)*n])
				}
				r := &runner{model: m, inputs: one, options: Options{Batch: 1}, device: reference.New()}
				alone, _, err := r.run(func(*onnx.Tensor) bool { return false })
				if err != nil {
					t.Fatal(err)
				}
				for out, v := range alone {
					got := all[out][row*len(v) : (row+1)*len(v)]
					for i := range v {
						if !closeEnough(got[i], v[i], 1e-5, 1e-6) {
							t.Fatalf("output %q, row %d, element %d: %v in the batch, %v alone", out, row, i, got[i], v[i])
						}
					}
				}
			}
			tested++
		})
	}
	t.Logf("%d models", tested)
	if tested < 12 {
		t.Errorf("only %d models", tested)
	}
}

// TestRoles checks role and fans of every weight of the exports by the names that PyTorch and Keras give them.
func TestRoles(t *testing.T) {
	for name, m := range exports(t) {
		params, err := Params(m)
		if err != nil {
			t.Fatal(err)
		}
		keras, weights := strings.HasPrefix(name, "keras"), 0
		for _, p := range params {
			want := roleByName(p.Name, p.Shape, m)
			if p.Role != want {
				t.Errorf("%s: %q %v has role %v, wants %v", name, p.Name, p.Shape, p.Role, want)
			}
			if want != Fixed {
				weights++
			}
			if p.Role != Kernel {
				continue
			}
			in, out := p.Shape[0], p.Shape[1] // Keras' dense kernel
			switch area := 1; {
			case len(p.Shape) > 2: // O, I, kernel…
				for _, d := range p.Shape[2:] {
					area *= d
				}
				in, out = p.Shape[1]*area, p.Shape[0]*area
			case !keras: // PyTorch's Linear
				in, out = out, in
			}
			if p.FanIn != in || p.FanOut != out {
				t.Errorf("%s: %q %v has fans %d, %d, wants %d, %d", name, p.Name, p.Shape, p.FanIn, p.FanOut, in, out)
			}
		}
		if weights < 4 {
			t.Errorf("%s: only %d weights", name, weights)
		}
	}
}

func roleByName(name string, shape []int, m *onnx.Model) Role {
	stem, last := name, ""
	if i := strings.LastIndexAny(name, "./"); i >= 0 {
		stem, last = name[:i], name[i+1:]
	}
	norm := m.Graph.Initializer(stem+".running_mean") != nil || strings.Contains(stem, "norm")
	switch {
	// What tf2onnx writes as a product or sum with another tensor than of one convolution or matrix product (layer normalisation, biases of attention and of recurrent cells) looks like a constant;
	// it is trained because the recipe names it.
	case len(shape) > 1 && (last == "gamma" || last == "beta" || last == "bias" && strings.Contains(stem, "attention")), last == "bias" && strings.HasSuffix(stem, "_cell"):
		return Fixed
	case strings.HasPrefix(last, "weight_ih"), strings.HasPrefix(last, "weight_hh"), last == "in_proj_weight": // recurrent layers, attention
		return Kernel
	case strings.HasPrefix(last, "bias_ih"), strings.HasPrefix(last, "bias_hh"), last == "in_proj_bias":
		return Bias
	case stem == "embed":
		return Embedding
	case last == "kernel", last == "recurrent_kernel", last == "weight" && len(shape) > 1:
		return Kernel
	case last == "gamma", last == "weight" && norm:
		return Scale
	case last == "beta", last == "bias" && norm:
		return Shift
	case last == "bias":
		return Bias
	case last == "running_mean", last == "moving_mean":
		return RunningMean
	case last == "running_var", last == "moving_variance":
		return RunningVar
	case last == "alpha", last == "weight":
		return Slope
	}
	return Fixed
}

// TestEnds: the activation that an output ends in, found through operators that only move elements.
func TestEnds(t *testing.T) {
	for name, want := range map[string]string{"keras_mlp": "Softmax 1", "keras_cnn": "Softmax 1", "pytorch_conv1d": "LogSoftmax 1", "pytorch_mlp": "",
		"keras_resnet": ""} {
		m := exports(t)[name]
		p := engine.NewProgram(0)
		b := p.NewFunc("f", 0)
		inputs := map[string]engine.TensorID{}
		for name, x := range inputTensors(t, m, 2, false) {
			shape := make([]int, len(x.Dims))
			for i, d := range x.Dims {
				shape[i] = int(d)
			}
			inputs[name] = p.NewState(name, shape)
		}
		res, err := Lower(b, m, inputs, nil, Options{Batch: 2})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if end, ok := res.Ends["output"]; ok {
			got = fmt.Sprint(end.Op, " ", end.Axis)
			if !slices.Equal(b.Shape(end.Logits), b.Shape(res.Outputs["output"])) {
				t.Errorf("%s: logits have shape %v", name, b.Shape(end.Logits))
			}
		}
		if got != want {
			t.Errorf("%s ends in %q, wants %q", name, got, want)
		}
	}
}
