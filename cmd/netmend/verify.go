package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/urfave/cli/v2"

	"netmend/data"
	"netmend/onnx"
	"netmend/onnx/ort"
	"netmend/repair"
	"netmend/train"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "compare netmend's outputs for a model with ONNX Runtime's", ArgsUsage: "MODEL.onnx",
		Description: "Both compute in inference form. Inputs are rows of --data where it is given, preprocessed as the recipe in a repaired model's metadata says, else random numbers.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Usage: "data set whose first rows are the inputs"},
			&cli.IntFlag{Name: "rows", Value: 16, Usage: "number of `ROWS`"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "seed of random inputs"},
			&cli.Float64Flag{Name: "tolerance", Value: 1e-4, Usage: "largest difference allowed, relative to 1 + |value|"},
			deviceFlag, jsonFlag},
		Action: runVerify,
	}
}

// verification is what `netmend verify --json` prints.
type verification struct {
	Agrees    bool          `json:"agrees"`
	Largest   repair.Number `json:"largest_difference"` // relative to 1 + |value|
	Tolerance repair.Number `json:"tolerance"`
	Values    int           `json:"values"`
	Rows      int           `json:"rows"`
	Device    string        `json:"device"`
	Runtime   string        `json:"onnx_runtime"`
}

func runVerify(c *cli.Context) error {
	m, err := readModel(c)
	if err != nil {
		return err
	}
	m = m.InferenceForm()
	if c.Int("rows") < 1 {
		return usage("--rows %d must be at least 1", c.Int("rows"))
	}
	if err := ort.Open(""); err != nil {
		return hinted(err, "scripts/deps.sh fetches the library; NETMEND_ORT names one that is elsewhere")
	}
	dev, err := openDevice(c.String("device"))
	if err != nil {
		return err
	}
	defer dev.Close()
	inputs, err := verifyInputs(c, m)
	if err != nil {
		return err
	}
	ours, err := train.Infer(c.Context, dev, m, inputs)
	if err != nil {
		return err
	}
	theirs, err := runOracle(m, inputs)
	if err != nil {
		return err
	}
	v := verification{Tolerance: repair.Number(c.Float64("tolerance")), Rows: c.Int("rows"), Device: dev.Name(), Runtime: ort.Version()}
	worst := 0.0
	for name, o := range ours {
		d, err := difference(o, theirs[name])
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		worst = max(worst, d)
		v.Values += len(o.Float)
	}
	v.Largest, v.Agrees = repair.Number(worst), worst <= c.Float64("tolerance")
	if c.Bool("json") {
		if err := writeJSON(c.App.Writer, v); err != nil {
			return err
		}
	} else {
		says := "agree"
		if !v.Agrees {
			says = "disagree"
		}
		fmt.Fprintf(c.App.Writer, "%s and ONNX Runtime %s %s: %d values, largest difference %.2g\n", v.Device, v.Runtime, says, v.Values, worst)
	}
	if !v.Agrees {
		return &failure{err: fmt.Errorf("outputs differ by %.3g, allowed are %.3g", worst, c.Float64("tolerance")), code: exitNoRepair}
	}
	return nil
}

// verifyInputs are rows of a data set in the model's shapes, or normal random numbers.
func verifyInputs(c *cli.Context, m *onnx.Model) (map[string]data.Array, error) {
	rows := c.Int("rows")
	in := m.Graph.DataInputs()
	out := make(map[string]data.Array)
	if path := c.String("data"); path != "" {
		src, err := data.Open(path, data.Options{})
		if err != nil {
			return nil, err
		}
		var recipe train.Recipe // of a repaired model: its preprocessing gives the inputs that the model knows
		if raw, ok := m.Meta(repair.MetaRecipe); ok {
			if recipe, err = train.ParseRecipe([]byte(raw)); err != nil {
				return nil, fmt.Errorf("metadata %s: %w", repair.MetaRecipe, err)
			}
		}
		cols, err := train.ModelInputs(m, recipe, src.Train)
		if err != nil {
			return nil, err
		}
		pick := make([]int32, min(rows, src.Train.Rows()))
		for i := range pick {
			pick[i] = int32(i)
		}
		for _, a := range cols {
			out[a.Name] = *a.Select(pick)
		}
		return out, nil
	}
	rng := rand.New(rand.NewPCG(c.Uint64("seed"), 0))
	for _, v := range in {
		dims, ok := v.Type.Dims()
		if !ok {
			return nil, hinted(fmt.Errorf("input %q has no shape", v.Name), "--data gives it real rows")
		}
		a := data.Array{Name: v.Name, Shape: intsOf(dims)}
		n := 1
		for i, d := range a.Shape {
			if d < 0 {
				if i > 0 {
					return nil, hinted(fmt.Errorf("input %q has shape %v: axis %d is open", v.Name, v.Type, i), "--data gives it real rows")
				}
				a.Shape[0] = rows
			}
			if n > 1<<28/max(1, a.Shape[i]) {
				return nil, fmt.Errorf("input %q of shape %v is too large", v.Name, v.Type)
			}
			n *= a.Shape[i]
		}
		if v.Type.Elem != onnx.Float32 && v.Type.Elem != onnx.Float64 {
			return nil, hinted(fmt.Errorf("input %q takes %s: random numbers mean nothing to it", v.Name, v.Type.Elem), "--data gives it real rows")
		}
		a.Float = make([]float32, n)
		for i := range a.Float {
			a.Float[i] = float32(rng.NormFloat64())
		}
		out[v.Name] = a
	}
	return out, nil
}

// difference is the largest |a-b| / (1+|b|); NaN against NaN and equal infinities are none, any other non-finite pair is infinite.
func difference(a, b data.Array) (float64, error) {
	if len(a.Float) != len(b.Float) {
		return 0, fmt.Errorf("%d values (shape %v) against %d (shape %v)", len(a.Float), a.Shape, len(b.Float), b.Shape)
	}
	if len(a.Float) == 0 {
		return 0, errors.New("no values to compare")
	}
	worst := 0.0
	for i := range a.Float {
		x, y := float64(a.Float[i]), float64(b.Float[i])
		switch {
		case x == y || math.IsNaN(x) && math.IsNaN(y):
		case math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) || math.IsInf(y, 0):
			return math.Inf(1), nil
		default:
			worst = max(worst, math.Abs(x-y)/(1+math.Abs(y)))
		}
	}
	return worst, nil
}
