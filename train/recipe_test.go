package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExportedRecipesRoundTrip(t *testing.T) {
	paths, err := filepath.Glob("../testdata/exports/*/recipe.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no exported recipes: %v", err)
	}
	for _, path := range paths {
		r, err := ReadRecipe(path)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		raw, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseRecipe(raw)
		if err != nil || !back.Equal(r) {
			t.Errorf("%s: YAML came back as %+v (%v), was %+v", path, back, err, r)
		}
		js, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err = ParseRecipe(js); err != nil || !back.Equal(r) {
			t.Errorf("%s: JSON came back as %+v (%v), was %+v", path, back, err, r)
		}
	}
}

const minimal = "semantics: keras\ntask: classification\nloss: {name: categorical_crossentropy}\noptimizer: {name: adam}\n"

func TestDefaultsAreFilledInWhenReading(t *testing.T) {
	r, err := ParseRecipe([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if r.Optimizer.LearningRate != 1e-3 || r.Optimizer.Epsilon != 1e-7 || r.Optimizer.Beta2 != 0.999 || r.BatchSize != 32 || r.Epochs != 1 || !r.Shuffle || r.Metric != Accuracy {
		t.Errorf("defaults: %+v", r)
	}
	r, err = ParseRecipe([]byte(strings.ReplaceAll(minimal, "keras", "pytorch") + "optimizer: {name: sgd}\n"))
	if err == nil {
		t.Errorf("a field given twice is accepted: %+v", r)
	}
	r, err = ParseRecipe([]byte(strings.Replace(minimal, "name: adam", "name: adam, beta1: 0, learning_rate: 0", 1)))
	if err != nil || r.Optimizer.Beta1 != 0 || r.Optimizer.LearningRate != 0 || r.Optimizer.Beta2 != 0.999 {
		t.Errorf("explicit zeros: %+v, %v", r.Optimizer, err)
	}
}

func TestMalformedRecipesAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"empty":                 {"", `"semantics" is missing`},
		"not YAML":              {"semantics: [", "did not find"},
		"a list":                {"- 1", "cannot unmarshal"},
		"unknown semantics":     {strings.Replace(minimal, "keras", "caffe", 1), `semantics "caffe"`},
		"no optimizer":          {"semantics: keras\nloss: {name: hinge}\n", `"optimizer" is missing`},
		"unknown optimizer":     {strings.Replace(minimal, "adam", "lion", 1), `optimizer "lion" is not known`},
		"unknown loss":          {strings.Replace(minimal, "categorical_crossentropy", "focal", 1), `loss "focal" is not known`},
		"unknown field":         {minimal + "learning_rate: 1\n", "field learning_rate not found"},
		"wrong type":            {minimal + "epochs: many\n", "line 5"},
		"zero batch":            {minimal + "batch_size: 0\n", "batch_size 0"},
		"huge batch":            {minimal + "batch_size: 99999999\n", "batch_size 99999999"},
		"zero epochs":           {minimal + "epochs: 0\n", "epochs 0"},
		"NaN learning rate":     {strings.Replace(minimal, "name: adam", "name: adam, learning_rate: .nan", 1), "learning_rate NaN"},
		"negative rate":         {strings.Replace(minimal, "name: adam", "name: adam, learning_rate: -1", 1), "learning_rate -1"},
		"foreign parameter":     {strings.Replace(minimal, "name: adam", "name: adam, momentum: 0.9", 1), "adam has no momentum"},
		"beta above one":        {strings.Replace(minimal, "name: adam", "name: adam, beta1: 1.5", 1), "beta1 1.5"},
		"unknown metric":        {minimal + "metric: bleu\n", `metric "bleu"`},
		"unknown initializer":   {minimal + "initializers: {w: {name: magic}}\n", `"w": initializer "magic"`},
		"dropout above one":     {minimal + "dropout: {d: 1.5}\n", `"d": rate 1.5`},
		"negative regularizer":  {minimal + "regularizers: {w: {l2: -1}}\n", `"w": l1 0 and l2 -1`},
		"unknown schedule":      {minimal + "schedule: {name: zigzag}\n", `schedule "zigzag"`},
		"step without size":     {minimal + "schedule: {name: step, gamma: 0.5}\n", "step_size 0"},
		"infinite clip":         {minimal + "gradient_clip: {norm: .inf}\n", "norm +Inf"},
		"unknown preprocessing": {minimal + "preprocessing: [{kind: whiten}]\n", `kind "whiten"`},
		"divide by zero":        {minimal + "preprocessing: [{kind: divide}]\n", "divide by 0"},
		"bad patience":          {minimal + "early_stopping: {patience: -3}\n", "patience -3"},
		"unknown monitor":       {minimal + "early_stopping: {patience: 3, monitor: lunch}\n", `"lunch"`},
		"unknown task":          {strings.Replace(minimal, "classification", "ranking", 1), `task "ranking"`},
	} {
		if _, err := ParseRecipe([]byte(c.yaml)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxRecipeBytes+2), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRecipe(big); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("oversized recipe: %v", err)
	}
}

func FuzzParseRecipe(f *testing.F) {
	f.Add([]byte(minimal))
	paths, _ := filepath.Glob("../testdata/exports/*/recipe.yaml")
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRecipe(raw)
		if err != nil {
			return
		}
		out, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseRecipe(out); err != nil || !back.Equal(r) {
			t.Fatalf("came back as %+v (%v), was %+v", back, err, r)
		}
	})
}
