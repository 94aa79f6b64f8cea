package operators

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

func floats(t *testing.T, x *onnx.Tensor) []float32 {
	t.Helper()
	v, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// short trains a subject for a few steps on the reference device, and gives the first layer's kernel and the score on the search rows.
func short(t *testing.T, s repair.Subject, kernel string) ([]float32, float64) {
	t.Helper()
	s.Recipe.BatchSize = min(s.Recipe.BatchSize, 16)
	tr, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: reference.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := tr.Advance(context.Background(), 3); err != nil {
		t.Fatal(err)
	}
	ev, err := tr.Evaluate(context.Background(), s.Data.Search)
	if err != nil {
		t.Fatal(err)
	}
	m, err := tr.Model()
	if err != nil {
		t.Fatal(err)
	}
	return floats(t, m.Graph.Initializer(kernel)), ev.Score
}

// Edits of the end of a network that have one name train and predict alike, those that have the subject's as it does.
func TestCanonicalTrainsAlike(t *testing.T) {
	const rounding = 1e-3 // of how far training moves a weight
	for name, shared := range map[string]int{"keras_cnn": 4, "pytorch_mlp": 3, "keras_transformer": 4, "keras_cnn hinge": 5, "pytorch_mlp hinge": 4} {
		name, loss, _ := strings.Cut(name, " ")
		s := subject(t, name)
		if loss != "" {
			s.Recipe.Loss = train.Loss{Name: loss}
		}
		e, kernel := FindEnding(s), newView(s).layers[0].kernel
		start := floats(t, s.Model.Graph.Initializer(kernel))
		type result struct {
			patch   repair.Patch
			weights []float32
			score   float64
		}
		weights, score := short(t, s, kernel)
		first := map[string]result{repair.Patch(nil).String(): {nil, weights, score}}
		same := 0
		for _, slot := range All().Space(s) {
			if slot.Key() != lossKey && slot.Key() != e.head && slot.Key() != e.Output {
				continue
			}
			for _, v := range slot.Domain.Choices {
				if v == slot.Current {
					continue
				}
				p := repair.NewPatch(repair.Edit{Operator: slot.Operator, Target: slot.Target, Value: v})
				x, err := All().Apply(s, p)
				if err != nil {
					t.Fatal(err)
				}
				weights, score := short(t, x, kernel)
				other, ok := first[e.Canonical(p)]
				if !ok {
					first[e.Canonical(p)] = result{p, weights, score}
					continue
				}
				same++
				most, moved := 0.0, 0.0
				for i := range start {
					most = max(most, math.Abs(float64(weights[i]-other.weights[i])))
					moved = max(moved, math.Abs(float64(weights[i]-start[i])))
				}
				if !(most < rounding*moved) || score != other.score {
					t.Errorf("%s: %s and %s have the name %q, differ by %.2g of what training moves, and score %v and %v", name, p, other.patch, e.Canonical(p), most/moved,
						score, other.score)
				}
			}
		}
		if same != shared {
			t.Errorf("%s: %d edits have a name that another has, want %d", name, same, shared)
		}
	}
}

// Names of patches as operators apply them: the head last.
func TestCanonical(t *testing.T) {
	s := subject(t, "pytorch_mlp") // logits, cross-entropy of them and of indices
	e := FindEnding(s)
	edit := func(k repair.Key, value string) repair.Edit {
		return repair.Edit{Operator: k.Operator, Target: k.Target, Value: repair.Word(value)}
	}
	rate := repair.Edit{Operator: "learning_rate", Target: "recipe", Value: repair.Num(0.5)}
	soft, hinge := edit(e.Output, "softmax"), edit(lossKey, "hinge")
	probabilities := edit(lossKey, "categorical_crossentropy")
	logits, both := edit(e.head, "10 linear categorical_crossentropy_from_logits"), edit(e.head, "10 softmax sparse_categorical_crossentropy")
	for i, c := range []struct {
		a, b repair.Patch
		same bool
	}{
		{repair.NewPatch(rate), repair.NewPatch(rate), true},
		{repair.NewPatch(soft, probabilities), nil, true},
		{repair.NewPatch(soft), nil, false}, // PyTorch's softmax of a softmax
		{repair.NewPatch(probabilities), nil, false},
		{repair.NewPatch(logits), nil, true},
		{repair.NewPatch(both, rate), repair.NewPatch(rate), true},
		{repair.NewPatch(hinge, both), nil, true}, // overridden
		{repair.NewPatch(hinge), repair.NewPatch(hinge, rate), false},
		{repair.NewPatch(hinge, rate), repair.NewPatch(rate), false},
		{repair.NewPatch(hinge, soft), repair.NewPatch(hinge), false},
	} {
		if a, b := e.Canonical(c.a), e.Canonical(c.b); (a == b) != c.same {
			t.Errorf("%d: %s is %q, %s is %q, want the same: %v", i, c.a, a, c.b, b, c.same)
		}
	}
	for _, c := range []struct {
		patch repair.Patch
		want  int
	}{
		{repair.NewPatch(rate), 0}, {repair.NewPatch(hinge), 2}, {repair.NewPatch(soft), 2}, {repair.NewPatch(hinge, soft), 4}, {repair.NewPatch(both), 4},
		{repair.NewPatch(edit(lossKey, "sparse_categorical_crossentropy")), 2}, {repair.NewPatch(probabilities), 3}, {repair.NewPatch(logits), 3},
		{repair.NewPatch(edit(e.head, "2 softmax categorical_crossentropy_from_logits")), 7},
	} {
		if got := e.Changes(c.patch); got != c.want {
			t.Errorf("%s: %d changes, want %d", c.patch, got, c.want)
		}
	}
	if p := e.With(repair.NewPatch(hinge, soft, rate), both); fmt.Sprint(p) != fmt.Sprint(repair.NewPatch(both, rate)) {
		t.Errorf("a head on top of what it overrides: %s", p)
	}
	if p := e.With(repair.NewPatch(both), hinge); len(p) != 2 {
		t.Errorf("a loss beside a head: %s", p)
	}
	if p := repair.NewPatch(rate); (Ending{}).Canonical(p) != p.String() {
		t.Errorf("without a graph: %q", (Ending{}).Canonical(p))
	}
}
