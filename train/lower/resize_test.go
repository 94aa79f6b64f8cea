package lower

import (
	"testing"

	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/onnx/ort"
)

// TestResizeBefore11: Resize of operator set 10 knows no nearest_mode; the values are those of ONNX 1.5's node tests
// (resize_downsample_nearest, resize_upsample_nearest) and, where the library is there, ONNX Runtime's.
func TestResizeBefore11(t *testing.T) {
	for _, c := range []struct {
		name   string
		scales []float32
		want   []float64 // nil: ONNX Runtime's alone
	}{
		{"downsample", []float32{1, 1, 0.6, 0.6}, []float64{1, 3}},
		{"upsample", []float32{1, 1, 1, 2}, []float64{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8}},
		{"broken", []float32{1, 1, 1.7, 0.8}, nil},
		{"one axis", []float32{1, 1, 1, 0.3}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := map[string]*onnx.Tensor{"x0": onnx.NewFloat32("x0", []int64{1, 1, 2, 4}, []float32{1, 2, 3, 4, 5, 6, 7, 8})}
			g := &onnx.Graph{Name: "g", Nodes: []*onnx.Node{named("Resize", []string{"x0", "s"})}, Outputs: []onnx.Value{{Name: "y",
				Type: onnx.Type{Kind: onnx.KindTensor, Elem: onnx.Float32}}}, Inputs: []onnx.Value{onnx.NewValue("x0", onnx.Float32, 1, 1, 2, 4)},
				Initializers: []*onnx.Tensor{onnx.NewFloat32("s", []int64{4}, c.scales)}}
			m := &onnx.Model{IRVersion: 5, Opsets: []onnx.Opset{{Version: 10}}, Graph: g}
			r := &runner{model: m, inputs: in, device: reference.New()}
			values, _, err := r.run(func(*onnx.Tensor) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			check := func(of string, want []float64) {
				if len(values["y"]) != len(want) {
					t.Fatalf("%v, %s has %v", values["y"], of, want)
				}
				for i, w := range want {
					if values["y"][i] != w {
						t.Fatalf("%v, %s has %v", values["y"], of, want)
					}
				}
			}
			if c.want != nil {
				check("the node test", c.want)
			}
			if err := ort.Open(""); err != nil {
				t.Skip(err)
			}
			s, err := ort.NewSession(m)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			out, err := s.Run(in)
			if err != nil {
				t.Fatal(err)
			}
			want, err := out["y"].Float64s()
			if err != nil {
				t.Fatal(err)
			}
			check("ONNX Runtime", want)
		})
	}
}
