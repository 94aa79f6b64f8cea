package lower

import (
	"slices"
	"testing"

	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/onnx/ort"
)

// likeONNXRuntime compares all outputs of a model with ONNX Runtime's.
func likeONNXRuntime(t *testing.T, m *onnx.Model, in map[string]*onnx.Tensor) {
	t.Helper()
	if _, err := ort.FindLibrary(); err != nil {
		t.Skip(err)
	}
	if err := ort.Open(""); err != nil {
		t.Skip(err)
	}
	values, shapes, err := (&runner{model: m, inputs: in, device: reference.New()}).run(func(*onnx.Tensor) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want, err := s.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range want {
		k, err := tensorConstant(w)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(shapes[name], k.shape) {
			t.Fatalf("%s has shape %v, ONNX Runtime's %v", name, shapes[name], k.shape)
		}
		for i, x := range k.toFloats() {
			if !closeEnough(values[name][i], x, 1e-5, 1e-6) {
				t.Fatalf("%s: element %d is %v, ONNX Runtime's %v", name, i, values[name][i], x)
			}
		}
	}
}

// single is a model of one node over inputs x of a shape; its other inputs are initializers.
func single(n *onnx.Node, opset int64, elem onnx.DataType, x []any, inits ...*onnx.Tensor) *onnx.Model {
	g := &onnx.Graph{Name: "g", Nodes: []*onnx.Node{n}, Inputs: []onnx.Value{onnx.NewValue("x", elem, x...)}, Initializers: inits}
	for k, o := range n.Outputs {
		t := onnx.Float32
		if k > 0 {
			t = onnx.Int64
		}
		v := onnx.NewValue(o, t)
		v.Type.HasShape = false
		g.Outputs = append(g.Outputs, v)
	}
	return &onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: opset}}, Graph: g}
}

// TestPoolIndices: in all dimensions, with every kind of window, both orders.
func TestPoolIndicesLikeONNXRuntime(t *testing.T) {
	for name, c := range map[string]struct {
		x     []any
		attrs []*onnx.Attribute
	}{
		"1-D":       {[]any{2, 3, 11}, []*onnx.Attribute{onnx.Ints("kernel_shape", 3), onnx.Ints("strides", 2), onnx.Ints("pads", 1, 1)}},
		"2-D":       {[]any{2, 3, 7, 6}, []*onnx.Attribute{onnx.Ints("kernel_shape", 3, 2), onnx.Ints("pads", 1, 1, 0, 0), onnx.Ints("strides", 2, 1)}},
		"dilated":   {[]any{1, 2, 9, 8}, []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 3), onnx.Ints("dilations", 3, 2)}},
		"columns":   {[]any{2, 2, 6, 5}, []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2), onnx.Int("storage_order", 1)}},
		"ceil":      {[]any{2, 2, 7, 5}, []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2), onnx.Int("ceil_mode", 1)}},
		"3-D":       {[]any{2, 2, 4, 5, 6}, []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 2, 3), onnx.Ints("strides", 2, 1, 2)}},
		"SAME, odd": {[]any{1, 2, 5, 7}, []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2), onnx.String("auto_pad", "SAME_UPPER")}},
	} {
		t.Run(name, func(t *testing.T) {
			m := single(onnx.NewNode("MaxPool", "pool", []string{"x"}, []string{"y", "i"}, c.attrs...), 12, onnx.Float32, c.x)
			likeONNXRuntime(t, m, inputTensors(t, m, 0, false))
		})
	}
}

// TestMaxUnpool pools and puts back.
func TestMaxUnpoolLikeONNXRuntime(t *testing.T) {
	window := []*onnx.Attribute{onnx.Ints("kernel_shape", 2, 3), onnx.Ints("strides", 2, 3)}
	m := single(onnx.NewNode("MaxPool", "pool", []string{"x"}, []string{"p", "i"}, window...), 12, onnx.Float32, []any{2, 3, 6, 9})
	m.Graph.Nodes = append(m.Graph.Nodes, onnx.NewNode("MaxUnpool", "unpool", []string{"p", "i"}, []string{"y"}, window...))
	m.Graph.Outputs[0].Name = "y"
	likeONNXRuntime(t, m, inputTensors(t, m, 0, false))
}

// TestRoiAlign: regions inside, across and outside the image, smaller than a pixel, turned round.
func TestRoiAlignLikeONNXRuntime(t *testing.T) {
	rois := onnx.NewFloat32("rois", []int64{6, 4}, []float32{1.3, 2.1, 14.9, 11.2, -9, -7.5, 3, 5, 10, 12, 40, 30, 4.2, 4.2, 4.4, 4.3, 9, 9, 3, 2, 60, 60, 70, 80})
	images := onnx.NewInt64("images", []int64{6}, []int64{0, 1, 1, 0, 1, 0})
	for _, mode := range []string{"avg", "max"} {
		for _, where := range []string{"half_pixel", "output_half_pixel"} {
			t.Run(mode+"/"+where, func(t *testing.T) {
				n := onnx.NewNode("RoiAlign", "align", []string{"x", "rois", "images"}, []string{"y"}, onnx.String("mode", mode), onnx.Int("output_height", 3),
					onnx.Int("output_width", 2), onnx.Int("sampling_ratio", 3), onnx.Float("spatial_scale", 0.5), onnx.String("coordinate_transformation_mode", where))
				m := single(n, 16, onnx.Float32, []any{2, 3, 8, 10}, rois, images)
				likeONNXRuntime(t, m, inputTensors(t, m, 0, false))
			})
		}
	}
}

// TestTfIdf: tokens are 0, 1, 2, 0, …; single ones, pairs and triples, which the skips take apart.
func TestTfIdfLikeONNXRuntime(t *testing.T) {
	for _, mode := range []string{"TF", "IDF", "TFIDF"} {
		for _, rows := range [][]any{{12}, {3, 12}} {
			n := onnx.NewNode("TfIdfVectorizer", "grams", []string{"x"}, []string{"y"}, onnx.String("mode", mode), onnx.Int("min_gram_length", 1),
				onnx.Int("max_gram_length", 3), onnx.Int("max_skip_count", 3), onnx.Ints("pool_int64s", 2, 5, 0, 1, 1, 0, 2, 2, 0, 1, 2, 0, 0, 0),
				onnx.Ints("ngram_counts", 0, 2, 8), onnx.Ints("ngram_indexes", 3, 0, 1, 2, 6, 4, 5), onnx.Floats("weights", 1, 2, 3, 4, 5, 6, 7))
			m := single(n, 9, onnx.Int64, rows)
			likeONNXRuntime(t, m, inputTensors(t, m, 0, false))
		}
	}
}

// TestDet: up to the largest matrices, among them one without an inverse.
func TestDetLikeONNXRuntime(t *testing.T) {
	for n := 1; n <= maxDet; n++ {
		m := single(onnx.NewNode("Det", "det", []string{"x"}, []string{"y"}), 11, onnx.Float32, []any{3, n, n})
		in := inputTensors(t, m, 0, false)
		v, err := in["x"].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		copy(v[n*n:n*n+n], make([]float32, n)) // a row of zeros
		in["x"] = onnx.NewFloat32("x", in["x"].Dims, v)
		likeONNXRuntime(t, m, in)
	}
}
