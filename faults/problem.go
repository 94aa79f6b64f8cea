package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"netmend/data"
	"netmend/faults/dataset"
	"netmend/models"
	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/train"
)

// Scale says how large the trainings of a benchmark are.
type Scale string

// The scales.
const (
	PaperScale Scale = "paper" // the published data sets and epochs
	LiteScale  Scale = "lite"  // Fault.Lite
)

// Protocol says which rows a search is scored on and which rows its result.
type Protocol string

// The protocols.
const (
	// PublishedProtocol: the search is scored on 80 % of the test rows, the result on the other 20 %. The parts are those of the published
	// scripts, so the seed does not change them.
	PublishedProtocol Protocol = "published"
	// StrictProtocol: the search is scored on 20 % of the training rows, or on the share that the fault's lite version says, drawn by the seed and not
	// trained on; the result on all test rows.
	StrictProtocol Protocol = "strict"
)

// Problem is a fault as a tool that repairs sees it: everything but the truth.
type Problem struct {
	Model     *onnx.Model  `json:"-"` // its file format is ONNX
	Recipe    train.Recipe `json:"recipe"`
	Data      string       `json:"data"` // name of the data set
	TrainRows int          `json:"train_rows,omitempty"`
	TestRows  int          `json:"test_rows,omitempty"` // rows of the data set's parts that are used, see dataset.Open; zero: all
	// SearchShare of the training rows is what a search is scored on under the strict protocol.
	SearchShare float64      `json:"search_share"`
	Metric      train.Metric `json:"metric"`
	Keys        []repair.Key `json:"keys"`
	MinEpochs   int          `json:"min_epochs"`
	Rows        Rows         `json:"rows"`
}

// Problem gives the faulty subject without the truth.
func (f Fault) Problem(s Scale) (Problem, error) {
	subject, err := f.faulty(s)
	if err != nil {
		return Problem{}, err
	}
	p := Problem{Model: subject.Model, Recipe: subject.Recipe, Data: f.Data, Metric: f.Metric, Keys: slices.Clone(f.Keys), MinEpochs: f.MinEpochs, Rows: f.Rows,
		SearchShare: strictShare}
	if s == LiteScale {
		p.SearchShare = cmp.Or(f.Lite.SearchShare, strictShare)
		p.TrainRows, p.TestRows, p.Data = f.Lite.Train, f.Lite.Test, cmp.Or(f.Lite.Data, f.Data)
	}
	return p, nil
}

// faulty is the faulty subject, without data.
func (f Fault) faulty(s Scale) (repair.Subject, error) {
	if s != PaperScale && s != LiteScale {
		return repair.Subject{}, fmt.Errorf("faults: scale %q is not known: paper or lite", s)
	}
	network := f.Network
	if s == LiteScale {
		network = cmp.Or(f.Lite.Network, network)
	}
	m, err := models.Build(network)
	if err != nil {
		return repair.Subject{}, fmt.Errorf("faults: %s: %w", f.ID, err)
	}
	x, err := operators.All().Apply(repair.Subject{Model: m, Recipe: f.Faulty.Recipe}, f.Faulty.Graph)
	if err != nil {
		return repair.Subject{}, fmt.Errorf("faults: %s: graph: %w", f.ID, err)
	}
	x.Recipe = f.Faulty.Recipe.Clone() // edits of the graph alone
	if err := neutralize(x.Model.Graph, m.Graph); err != nil {
		return repair.Subject{}, fmt.Errorf("faults: %s: %w", f.ID, err)
	}
	if s == LiteScale {
		x.Recipe.Epochs, x.Recipe.BatchSize = f.Lite.Epochs, f.Lite.Batch
	}
	return x, nil
}

// FixAt is the ground truth at a scale: in the lite version the fixed recipe has epochs and a batch size of its own.
func (f Fault) FixAt(s Scale) repair.Patch {
	if s != LiteScale {
		return f.Fix
	}
	p := f.Fix
	for _, x := range []struct {
		operator      string
		faulty, fixed int
	}{{"epochs", f.Lite.Epochs, f.Lite.FixedEpochs}, {"batch_size", f.Lite.Batch, f.Lite.FixedBatch}} {
		e := repair.Edit{Operator: x.operator, Target: "recipe", Value: repair.Num(float64(x.fixed))}
		if p = p.Without(e.Key()); x.fixed != x.faulty {
			p = p.With(e)
		}
	}
	return p
}

// Fixed gives the model and the recipe of the ground truth.
func (f Fault) Fixed(s Scale) (*onnx.Model, train.Recipe, error) {
	x, err := f.faulty(s)
	if err == nil {
		x, err = operators.All().Apply(x, f.FixAt(s))
	}
	if err != nil {
		return nil, train.Recipe{}, fmt.Errorf("faults: %s: fix: %w", f.ID, err)
	}
	return x.Model, x.Recipe, nil
}

// Subject puts a problem and the two parts of its data set together. The arrays get the names of the graph's inputs and output, by which the
// recipe's preprocessing knows them.
func (p Problem) Subject(trainSet, testSet data.Set, proto Protocol, seed uint64) (repair.Subject, error) {
	s := repair.Subject{Model: p.Model, Recipe: p.Recipe}
	var err error
	switch proto {
	case PublishedProtocol:
		s.Data, err = p.published(trainSet, testSet)
	case StrictProtocol:
		s.Data, err = data.Join(trainSet, testSet, data.Ratios{Train: 1 - p.SearchShare, Search: p.SearchShare}, seed, false)
	default:
		err = fmt.Errorf("protocol %q is not known: published or strict", proto)
	}
	if err != nil {
		return repair.Subject{}, fmt.Errorf("faults: %w", err)
	}
	if s.Data.Set, err = p.named(s.Data.Set); err != nil {
		return repair.Subject{}, fmt.Errorf("faults: data set %q: %w", p.Data, err)
	}
	return s, nil
}

const (
	holdoutShare = 0.2 // of the test rows, in the published scripts (dc_insert_holdout.py)
	strictShare  = 0.2 // of the training rows, the validation part that two of the subject programs have
)

// published divides rows as the published programs and scripts do.
func (p Problem) published(trainSet, testSet data.Set) (data.Splits, error) {
	both, err := data.Concat(trainSet, testSet)
	if err != nil {
		return data.Splits{}, err
	}
	n, m := trainSet.Rows(), testSet.Rows()
	out := data.Splits{Set: both}
	switch r := p.Rows; {
	case r.Validation == 0:
		out.Train = rowsFrom(0, n)
	case r.ValidationLast: // keras: split_at = int(n·(1 - validation_split))
		out.Train = rowsFrom(0, int(float64(n)*(1-r.Validation)))
	default:
		out.Train, _ = dataset.TrainTestSplit(n, r.Validation, r.ValidationState)
	}
	out.Search, out.Holdout = dataset.TrainTestSplit(m, holdoutShare, p.Rows.HoldoutState)
	for _, part := range [][]int32{out.Search, out.Holdout} {
		for i := range part {
			part[i] += int32(n)
		}
	}
	if len(out.Train) == 0 || len(out.Search) == 0 || len(out.Holdout) == 0 {
		return data.Splits{}, fmt.Errorf("%d training and %d test rows are too few to divide", n, m)
	}
	for _, part := range [][]int32{out.Train, out.Search, out.Holdout} {
		slices.Sort(part)
	}
	return out, nil
}

func rowsFrom(from, to int) []int32 {
	rows := make([]int32, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, int32(i))
	}
	return rows
}

// named gives arrays the names of the graph's inputs and output.
func (p Problem) named(set data.Set) (data.Set, error) {
	var names []string
	for _, in := range p.Model.Graph.DataInputs() {
		names = append(names, in.Name)
	}
	match, err := data.Match(set.Inputs, names)
	if err != nil {
		return set, err
	}
	out := data.Set{Classes: set.Classes}
	for i, at := range match {
		a := set.Inputs[at]
		a.Name = names[i]
		out.Inputs = append(out.Inputs, a)
	}
	if len(set.Targets) != 1 {
		return set, fmt.Errorf("%d targets: one is wanted", len(set.Targets))
	}
	y := set.Targets[0]
	y.Name = p.Model.Graph.Outputs[0].Name
	out.Targets = []data.Array{y}
	return out, nil
}

// hardSigmoidSlope is that of Keras 2.4 (keras/backend.py, hard_sigmoid); Keras 3 and our operator have 1/6.
const hardSigmoidSlope = 0.2

// neutralize takes away what an edited graph says of its edits: an activation is named after its layer, whether it was there, was changed
// or was added, and so are all values after their nodes. In the larger networks, whose layers are numbered throughout, an added activation has the number
// behind the last. A hard sigmoid gets the slope that it had in the benchmark's Keras.
func neutralize(g, healthy *onnx.Graph) error {
	layerOf := map[string]string{} // value -> the layer that gives it
	for _, n := range g.Nodes {
		if n.Is("HardSigmoid") {
			n.SetFloat("alpha", hardSigmoidSlope)
		}
		if layer, after := layerOf[n.Input(0)]; after && len(n.Inputs) == 1 && activationOps[n.OpType] {
			n.Name = layer + "/activation"
		} else if healthy.Node(n.Name) == nil {
			n.Name = "act" + strconv.Itoa(lastNumber(g)+1)
		}
		if out := n.Output(0); out != "" && g.Output(out) == nil && out != n.Name+":0" {
			if err := g.Rename(out, n.Name+":0"); err != nil {
				return err
			}
		}
		for _, kind := range []string{"/Conv", "/BiasAdd"} {
			if layer, ok := strings.CutSuffix(n.Name, kind); ok {
				layerOf[n.Output(0)] = layer
			}
		}
	}
	return nil
}

// lastNumber is the largest number behind the name of a layer: 24 where the last one is "fc24".
func lastNumber(g *onnx.Graph) int {
	last := 0
	for _, n := range g.Nodes {
		if number, err := strconv.Atoi(strings.TrimLeft(n.Name, "abcdefghijklmnopqrstuvwxyz")); err == nil {
			last = max(last, number)
		}
	}
	return last
}

// activationOps are what the activations of the published search space are in ONNX.
var activationOps = map[string]bool{"Elu": true, "Softmax": true, "Selu": true, "Softplus": true, "Softsign": true, "Relu": true, "Tanh": true,
	"Sigmoid": true, "HardSigmoid": true, "Exp": true}
