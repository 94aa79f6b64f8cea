package mutate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/onnx/ort"
	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
	"netmend/train/traintest"
)

// subject reads one of the exported fixtures.
func subject(t testing.TB, name string) repair.Subject {
	t.Helper()
	m, r, d := traintest.Export(t, name)
	return repair.Subject{Model: m, Recipe: r, Data: d}
}

// fixtures are the exported models, and variants with what some operators need: a regularisation, early stopping on the metric, a layer
// without bias.
func fixtures(t testing.TB) map[string]repair.Subject {
	t.Helper()
	all := map[string]repair.Subject{}
	for _, name := range traintest.Exports(t) {
		s := subject(t, name)
		all[name] = s
		x := s
		x.Recipe = s.Recipe.Clone()
		var err error
		x.Recipe.EarlyStopping = train.EarlyStopping{Monitor: "metric", Patience: 10}
		for _, slot := range fixer("regularizer").Slots(x) {
			if x, err = fixer("regularizer").Apply(x, repair.Edit{Operator: "regularizer", Target: slot.Target, Value: repair.Word("l2")}); err != nil {
				t.Fatal(err)
			}
		}
		for _, site := range operator(t, "WRB").Sites(x) {
			if x, err = operator(t, "WRB").Apply(x, site.Target, site.Values[0], 1); err != nil {
				t.Fatal(err)
			}
		}
		all[name+", bare"] = x
	}
	if len(all) < 26 {
		t.Fatalf("only %d subjects", len(all))
	}
	return all
}

func operator(t testing.TB, id string) Operator {
	t.Helper()
	o, err := Select(id)
	if err != nil || len(o) != 1 {
		t.Fatalf("operator %s: %v, %v", id, o, err)
	}
	return o[0]
}

// fingerprint is everything that a mutation could change.
func fingerprint(t testing.TB, s repair.Subject) string {
	t.Helper()
	digest, err := study.Digest(s)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// values are those of a site that a test tries: the extreme one and a middle one of a range.
func (x Site) values() []repair.Value {
	if x.Values != nil {
		return x.Values
	}
	middle := (x.From + x.To) / 2
	if x.Whole {
		middle = float64(int(middle))
	}
	return []repair.Value{repair.Num(x.To), repair.Num(middle)}
}

// Every operator at every site of every fixture: the mutant is a valid model with a valid recipe, differs from the original, leaves it
// untouched, is the same when made again, and changes no row that mutants are judged on.
func TestOperatorsConform(t *testing.T) {
	sites := map[string]int{}
	for name, s := range fixtures(t) {
		before := fingerprint(t, s)
		for _, o := range All() {
			for _, x := range o.Sites(s) {
				sites[o.ID]++
				values := x.values()
				if testing.Short() { // for the race detector, which is slow
					values = values[:1]
				}
				for i, v := range values {
					m, err := o.Apply(s, x.Target, v, 7)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if err := onnx.Check(m.Model); err != nil {
						t.Errorf("%s: %s of %s = %s: %v", name, o.ID, x.Target, v, err)
					}
					if i > 0 && !o.Data { // what follows costs a digest
						continue
					}
					again, err := o.Apply(s, x.Target, v, 7)
					if f := fingerprint(t, m); err != nil || f == before || f != fingerprint(t, again) {
						t.Errorf("%s: %s of %s = %s changes nothing, or differs when made again (%v)", name, o.ID, x.Target, v, err)
					}
					checkData(t, o, s, m)
				}
			}
		}
		if fingerprint(t, s) != before {
			t.Fatalf("%s: an operator has changed the original", name)
		}
	}
	for _, o := range All() {
		if sites[o.ID] == 0 {
			t.Errorf("%s has no site in any fixture", o.ID)
		}
	}
}

// checkData: nothing but training rows is changed.
func checkData(t *testing.T, o Operator, s, m repair.Subject) {
	t.Helper()
	if !slices.Equal(s.Data.Search, m.Data.Search) || !slices.Equal(s.Data.Holdout, m.Data.Holdout) {
		t.Errorf("%s changes which rows are search and hold-out rows", o.ID)
	}
	rows := slices.Concat(s.Data.Search, s.Data.Holdout)
	for i := range s.Data.Inputs {
		if !slices.Equal(s.Data.Inputs[i].Select(rows).AsFloat().Float, m.Data.Inputs[i].Select(rows).AsFloat().Float) {
			t.Errorf("%s changes inputs of other rows than training rows", o.ID)
		}
	}
	for i := range s.Data.Targets {
		if !slices.Equal(s.Data.Targets[i].Select(rows).AsFloat().Float, m.Data.Targets[i].Select(rows).AsFloat().Float) {
			t.Errorf("%s changes targets of other rows than training rows", o.ID)
		}
	}
}

// ONNX Runtime loads and runs what the graph operators make, and one training step can be made of it.
func TestMutantsRunInONNXRuntime(t *testing.T) {
	if err := ort.Open(""); err != nil {
		t.Skip(err)
	}
	dev := reference.New()
	all := fixtures(t)
	for _, name := range []string{"keras_cnn", "keras_cnn, bare", "keras_two_inputs, bare", "pytorch_mlp", "pytorch_mlp, bare", "pytorch_cnn, bare"} {
		s := all[name]
		for _, id := range []string{"ACH", "ARM", "AAL", "WAB", "WRB", "RCD", "HDB", "TCO", "TUD", "TRD"} {
			o := operator(t, id)
			for _, x := range o.Sites(s) {
				values := x.values() // the first and the last: of RCD the rate of 1
				for _, v := range slices.Compact([]repair.Value{values[0], values[len(values)-1]}) {
					if err := runs(t, dev, o, s, x.Target, v); err != nil {
						t.Errorf("%s: %s of %s = %s: %v", name, id, x.Target, v, err)
					}
				}
			}
		}
	}
}

// runs makes a mutant, one training step of it, and loads its model into ONNX Runtime.
func runs(t *testing.T, dev engine.Device, o Operator, s repair.Subject, target string, v repair.Value) error {
	m, err := o.Apply(s, target, v, 1)
	if err != nil {
		return err
	}
	tr, err := train.New(m.Model, m.Recipe, m.Data, train.Options{Device: dev})
	if err != nil {
		return err
	}
	defer tr.Close()
	if _, err := tr.Advance(t.Context(), 1); err != nil || o.Data {
		return err
	}
	session, err := ort.NewSession(m.Model)
	if err != nil {
		return err
	}
	session.Close()
	return nil
}

// DeepCrime's MNIST program: the rules give its constants.
func TestRangesOfMNIST(t *testing.T) {
	s := subject(t, "keras_cnn")
	s.Recipe.Optimizer = train.Optimizer{Name: "adadelta", LearningRate: 1, Rho: 0.95, Epsilon: 1e-7}
	s.Recipe.BatchSize, s.Recipe.Epochs, s.Recipe.EarlyStopping.Patience, s.Recipe.GradientClip = 128, 12, 10, train.GradientClip{}
	// 60,000 rows, as index list: the data itself does not matter here.
	s.Data.Train = slices.Repeat(s.Data.Train[:100], 600)
	for id, want := range map[string]Site{
		"HLR": {Target: "recipe", From: 1, To: 0.001, Precision: 0.01},
		"HNE": {Target: "recipe", From: 12, To: 1, Precision: 1, Whole: true},
		"RCP": {Target: "recipe", From: 10, To: 1, Precision: 1, Whole: true},
		"TRD": {Target: "data", To: 99, Precision: 5},
		"TAN": {Target: "x", To: 100, Precision: 5},
		"HBS": {Target: "recipe", Values: []repair.Value{repair.Num(32), repair.Num(64), repair.Num(256), repair.Num(512)}},
		"HDB": {Target: "recipe", Values: []repair.Value{repair.Num(60000)}},
		"OCG": {Target: "recipe", Values: words("value=0.5")},
		"OCH": {Target: "recipe", Values: words("sgd", "rmsprop", "adagrad", "adam", "adamax", "nadam")},
		"LCH": {Target: "recipe", Values: words("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
			"mean_squared_logarithmic_error", "squared_hinge", "hinge", "categorical_hinge", "logcosh", "huber", "binary_crossentropy",
			"kullback_leibler_divergence", "poisson")},
	} {
		sites := operator(t, id).Sites(s)
		if len(sites) != 1 || fmt.Sprint(sites[0]) != fmt.Sprint(want) {
			t.Errorf("%s: sites %v, want %v", id, sites, want)
		}
	}
	if n := len(operator(t, "ACH").Sites(s)[0].Values); n != 10 {
		t.Errorf("ACH has %d values, want the 11 functions without the current one", n)
	}
	if n := len(operator(t, "WCI").Sites(s)[0].Values); n != 12 {
		t.Errorf("WCI has %d values, want the 13 initializers without the current one", n)
	}
	// 50 epochs of the gaze program: precision 5.
	s.Recipe.Epochs = 50
	if x := operator(t, "HNE").Sites(s)[0]; x.Precision != 5 {
		t.Errorf("HNE of 50 epochs has precision %v", x.Precision)
	}
}

// Naming an optimizer gives it its default rate, and a regularisation by name Keras' 0.01.
func TestKerasDefaultsByName(t *testing.T) {
	s := subject(t, "keras_mlp")
	for name, rate := range map[string]float64{"sgd": 0.01, "adadelta": 0.001, "adagrad": 0.001} {
		m, err := operator(t, "OCH").Apply(s, "recipe", repair.Word(name), 1)
		if err != nil || m.Recipe.Optimizer.LearningRate != rate {
			t.Errorf("OCH %s: learning rate %v, %v", name, m.Recipe.Optimizer.LearningRate, err)
		}
	}
	x := operator(t, "RAW").Sites(s)[0]
	for name, want := range map[string]train.Regularizer{"l1": {L1: 0.01}, "l2": {L2: 0.01}, "l1_l2": {L1: 0.01, L2: 0.01}} {
		m, err := operator(t, "RAW").Apply(s, x.Target, repair.Word(name), 1)
		if err != nil || m.Recipe.Regularizers[x.Target] != want {
			t.Errorf("RAW %s: %v, %v", name, m.Recipe.Regularizers, err)
		}
	}
}

// Taking a bias out and putting one in gives the graph back, but for names: the same products and sums.
func TestBiasesComeAndGo(t *testing.T) {
	for _, name := range []string{"keras_cnn", "pytorch_mlp", "pytorch_conv1d", "keras_conv1d"} {
		s := subject(t, name)
		for _, x := range operator(t, "WRB").Sites(s) {
			without, err := operator(t, "WRB").Apply(s, x.Target, x.Values[0], 1)
			if err != nil {
				t.Fatal(err)
			}
			if without.Model.Graph.Initializer(x.Target) != nil {
				t.Errorf("%s: the bias %s is still there", name, x.Target)
			}
			if err := onnx.Check(without.Model); err != nil {
				t.Fatal(err)
			}
			bare := operator(t, "WAB").Sites(without)
			if len(bare) != len(operator(t, "WAB").Sites(s))+1 {
				t.Errorf("%s without %s: layers without bias %v", name, x.Target, bare)
			}
			for _, y := range bare {
				with, err := operator(t, "WAB").Apply(without, y.Target, y.Values[0], 1)
				if err != nil {
					t.Fatal(err)
				}
				bias := with.Model.Graph.Initializer(y.Target + "_bias")
				was, err := s.Model.Graph.Initializer(x.Target).NumElements()
				if err != nil || bias == nil || !slices.Equal(bias.Dims, []int64{was}) {
					t.Errorf("%s: the new bias is %+v (%v), the old one had %d elements", name, bias, err, was)
				}
				tr, err := train.New(with.Model, with.Recipe, with.Data, train.Options{Device: reference.New()})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				tr.Close()
			}
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	s := subject(t, "pytorch_mlp")
	for _, c := range []struct {
		id, target string
		value      repair.Value
		want       string
	}{
		{"HLR", "nowhere", repair.Num(0.1), `there is no site "nowhere"`},
		{"HLR", "recipe", repair.Num(-1), "is not a number from"},
		{"HNE", "recipe", repair.Num(1.5), "is not a number from"},
		{"TRD", "data", repair.Num(100), "is not a number from 0 to 99"},
		{"OCH", "recipe", repair.Word("lion"), "is not one of sgd"},
	} {
		if _, err := operator(t, c.id).Apply(s, c.target, c.value, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %s = %s: error %v, want %q", c.id, c.target, c.value, err, c.want)
		}
	}
	if _, err := Select("HLR,XXX"); err == nil || !strings.Contains(err.Error(), `"XXX"`) {
		t.Errorf("Select: %v", err)
	}
	if o, err := Select("och, HLR"); err == nil {
		t.Errorf("Select with a space: %v", o)
	}
	if len(All()) != 24 {
		t.Errorf("%d operators", len(All()))
	}
	if raw, err := json.Marshal(Mutant{Value: repair.Num(1)}); err != nil || !strings.Contains(string(raw), `"killed":false`) {
		t.Errorf("%s %v", raw, err)
	}
}
