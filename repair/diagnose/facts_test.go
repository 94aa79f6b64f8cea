package diagnose_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
)

// declared are the constants of type Kind in the package's source.
func declared(t *testing.T) []diagnose.Kind {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []diagnose.Kind
	look := func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Kind" {
			word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, diagnose.Kind(word))
		}
		return true
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, look)
	}
	return found
}

// Every kind can be said, has a part, a level and a source, and either a line in the table of suspicion or a place among those without.
func TestEveryKindIsKnown(t *testing.T) {
	known := diagnose.Kinds()
	all := declared(t)
	if len(all) < 50 || len(all) != len(known) {
		t.Errorf("%d kinds are declared, %d known", len(all), len(known))
	}
	for _, k := range all {
		if !slices.Contains(known, k) {
			t.Errorf("%s has no facts", k)
			continue
		}
		if k.Part() == "" || k.Level() == "" || k.Source() == "" {
			t.Errorf("%s: part %q, level %q, source %q", k, k.Part(), k.Level(), k.Source())
		}
		words := diagnose.Symptom{Kind: k, Node: "fc1", Epoch: 3, Measure: "the measure", Value: 0.125, Limit: 77}.Words()
		if words == "" || strings.ContainsAny(words, "{}") || strings.HasSuffix(words, ".") || strings.Contains(words, "  ") {
			t.Errorf("%s: %q", k, words)
		}
		if diagnose.Repairable(k) == diagnose.Unrepairable(k) {
			t.Errorf("%s must be in the table of suspicion, or else among what no operator repairs", k)
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		s    diagnose.Symptom
		want string
	}{
		{diagnose.Symptom{Kind: diagnose.LearningRateHigh, Value: 10, Limit: 0.01}, "the learning rate 10 is above 0.01, where trainings with this optimizer usually start at most"},
		{diagnose.Symptom{Kind: diagnose.DeadUnits, Node: "relu1", Epoch: 4, Value: 2. / 3, Limit: 0.5}, "a share of 0.6667 of the units of relu1 is 0 for every row, more than 0.5 (epoch 4)"},
		{diagnose.Symptom{Kind: diagnose.VanishingGradient, Node: "fc1.weight", Measure: "mean absolute gradient", Value: 1e-9, Limit: 1e-6},
			"the gradient of fc1.weight vanishes: its mean absolute gradient is 1e-09, less than 1e-06 (before training)"},
		{diagnose.Symptom{Kind: diagnose.NonFiniteLoss, Epoch: 1, Value: 12, Limit: 30}, "the training diverged: the loss of step 12 (of 30) is not finite (epoch 1)"},
		{diagnose.Symptom{Kind: "unheard_of", Node: "n", Measure: "m", Value: math.Inf(1)}, `unheard_of at "n": m is +Inf, the limit 0`},
	} {
		if got := c.s.Words(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestRank(t *testing.T) {
	s := export(t, "keras_mlp")
	s = apply(t, s, repair.Edit{Operator: "kernel_initializer", Target: slotsOf(s, "kernel_initializer")[0].Target, Value: repair.Word("zeros")})
	s.Recipe = s.Recipe.Clone()
	s.Recipe.Optimizer.LearningRate = 1
	space := operators.All().Space(s)
	symptoms := diagnose.Static(s, space)
	ranking := diagnose.Rank(symptoms, space)
	if len(ranking) < 2 || ranking[0].Operator != "kernel_initializer" || !slices.Contains(ranking[0].Why, diagnose.ConstantKernel) || len(ranking[0].Values) == 0 {
		t.Fatalf("first is %+v", ranking)
	}
	suspicion := diagnose.Suspicion(symptoms, space)
	for i, x := range ranking {
		if x.Weight != suspicion[x.Key()].Weight || i > 0 && x.Weight > ranking[i-1].Weight || slices.Contains(x.Values, x.Current) || len(x.Why) == 0 {
			t.Errorf("%d: %+v", i, x)
		}
	}
	i := slices.IndexFunc(ranking, func(x diagnose.Ranking) bool { return x.Operator == "learning_rate" })
	if i < 0 || len(ranking[i].Values) == 0 || ranking[i].Values[0].Number >= 1 {
		t.Errorf("learning rate: %+v", ranking)
	}
	if got := diagnose.Rank(nil, space); len(got) != 0 {
		t.Errorf("without evidence: %+v", got)
	}
}

// sarifRequired are the required properties of the objects that are written, from the "required" lists of the official schema
// (docs.oasis-open.org/sarif/sarif/v2.1.0, sarif-schema-2.1.0.json); an array is written as its elements.
var sarifRequired = map[string][]string{
	"":                       {"version", "runs"},
	"runs":                   {"tool"},
	"runs/tool":              {"driver"},
	"runs/tool/driver":       {"name"},
	"runs/tool/driver/rules": {"id"},
	"runs/tool/driver/rules/shortDescription": {"text"},
	"runs/results": {"message"},
}

// sarifAllowed are all properties that the schema has for them and that are written; it allows no others ("additionalProperties": false).
var sarifAllowed = map[string][]string{
	"":                       {"$schema", "version", "runs"},
	"runs":                   {"tool", "results"},
	"runs/tool":              {"driver"},
	"runs/tool/driver":       {"name", "version", "rules"},
	"runs/tool/driver/rules": {"id", "shortDescription", "defaultConfiguration", "properties"},
	"runs/tool/driver/rules/shortDescription":     {"text"},
	"runs/tool/driver/rules/defaultConfiguration": {"level"},
	"runs/results":                                             {"ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints", "properties"},
	"runs/results/message":                                     {"text"},
	"runs/results/locations":                                   {"physicalLocation", "logicalLocations"},
	"runs/results/locations/physicalLocation":                  {"artifactLocation", "region"},
	"runs/results/locations/physicalLocation/artifactLocation": {"uri"},
	"runs/results/locations/physicalLocation/region":           {"startLine"},
	"runs/results/locations/logicalLocations":                  {"name", "fullyQualifiedName", "kind"},
}

// conforms walks a log and compares every object with the two tables; property bags may hold anything.
func conforms(t *testing.T, at string, v any) {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			conforms(t, at, e)
		}
	case map[string]any:
		for _, name := range sarifRequired[at] {
			if _, ok := x[name]; !ok {
				t.Errorf("%q lacks %q", at, name)
			}
		}
		for name, e := range x {
			if !slices.Contains(sarifAllowed[at], name) {
				t.Errorf("%q has %q, which the schema does not know there", at, name)
			}
			if name != "properties" && name != "partialFingerprints" {
				conforms(t, path.Join(at, name), e)
			}
		}
	}
}

func TestSARIF(t *testing.T) {
	recipe := "semantics: keras\noptimizer: {name: adam, learning_rate: 10}\nbatch_size: 1\ninitializers:\n  fc1.weight: {name: zeros}\n  fc1.bias: {name: zeros}\n"
	symptoms := []diagnose.Symptom{
		{Kind: diagnose.LearningRateHigh, Value: 10, Limit: 0.01},
		{Kind: diagnose.BatchSmall, Value: 1, Limit: 8},
		{Kind: diagnose.ConstantKernel, Node: "fc1.weight", Value: 1, Limit: 2},
		{Kind: diagnose.ConstantKernel, Node: "fc2.weight", Value: 1, Limit: 2}, // the recipe does not say it
		{Kind: diagnose.MetricBlind, Measure: "m"},                              // nor this
		{Kind: diagnose.DoubleSoftmax, Node: "softmax"},
		{Kind: diagnose.InputScale, Node: "x", Measure: "m", Value: 100, Limit: 10},
		{Kind: diagnose.NonFiniteLoss, Epoch: 1, Value: math.NaN(), Limit: math.Inf(1)},
	}
	var buf bytes.Buffer
	files := diagnose.Files{Model: "a model/m.onnx", RecipePath: "r.yaml", Data: "/d/data.npz", Recipe: []byte(recipe)}
	if err := diagnose.WriteSARIF(&buf, "1.2", files, symptoms); err != nil {
		t.Fatal(err)
	}
	var log any
	if err := json.Unmarshal(buf.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	conforms(t, "", log)
	var got struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
					LogicalLocations []struct{ Name string }
				}
			}
		}
	}
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil || got.Version != "2.1.0" || len(got.Runs) != 1 || len(got.Runs[0].Results) != len(symptoms) {
		t.Fatalf("%v in\n%s", err, buf.String())
	}
	for i, want := range []struct {
		uri, node string
		line      int
	}{{"r.yaml", "", 2}, {"r.yaml", "", 3}, {"r.yaml", "", 5}, {"a%20model/m.onnx", "fc2.weight", 0}, {"r.yaml", "", 0}, {"a%20model/m.onnx", "softmax", 0},
		{"file:///d/data.npz", "x", 0}, {"r.yaml", "", 0}} {
		r := got.Runs[0].Results[i]
		at, node := r.Locations[0], ""
		if len(at.LogicalLocations) > 0 {
			node = at.LogicalLocations[0].Name
		}
		if p := at.PhysicalLocation; p.ArtifactLocation.URI != want.uri || p.Region.StartLine != want.line || node != want.node {
			t.Errorf("%s is at %q line %d %q, want %+v", r.RuleID, p.ArtifactLocation.URI, p.Region.StartLine, node, want)
		}
		if r.RuleID != string(symptoms[i].Kind) || got.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Level == "" || r.Message.Text != symptoms[i].Words() {
			t.Errorf("%+v", r)
		}
	}
	if err := diagnose.WriteSARIF(&buf, "", diagnose.Files{Recipe: []byte("a: [")}, nil); err == nil {
		t.Error("a recipe that is no YAML is accepted")
	}
}
