// Package faults is the fault benchmark of "Repairing DNN Architecture: Are We There Yet?" (ICST 2023, arXiv 2301.11568): nine faults of
// programs on Stack Overflow (D1 to D9) and 21 that DeepCrime injected into four subject programs (M, C, R and U), each with what repairs
// it and the published results.
//
// A fault is a file of catalogue/, embedded here. It names a network of package models, the edits that make the faulty graph of it, the
// faulty recipe, and the ground truth as a patch of our operators: the fixed subject is the faulty one with that patch applied. Whoever
// repairs sees a [Problem], which holds none of this truth.
//
// The published programs ran on Keras 2.4.3 with TensorFlow 2.3; recipes of semantics "keras" are trained as Keras 3 does. Of what the faults
// and the published search space use, these differ (files of tensorflow/python/keras 2.3.4 against those of keras/src 3.15):
//
//   - hard_sigmoid has slope 0.2 (backend.py), now 1/6. The faulty graph of C1 has 0.2; one that a search puts in has 1/6.
//   - rmsprop steps by lr·g/(√v + ε) (optimizer_v2/rmsprop.py), now by lr·g/√(v + ε); with ε = 1e-7 steps of gradients below √ε ≈ 3e-4
//     become smaller: the last ones of D1, D2, D3 and D7.
//   - adagrad likewise; its accumulator begins at 0.1, so that ε hardly counts.
//   - nadam's momentum warms up with 0.96^(0.004·t) (optimizer_v2/nadam.py), now with 0.96^t. Only searches propose it.
//   - binary_crossentropy of probabilities takes log(p + ε) behind the clip to [ε, 1-ε] (backend.py), now log(p).
//   - a cross-entropy is computed from logits where the output is a softmax (categorical, sparse) or a sigmoid (binary); now from the logits of
//     either activation under any of the three. So the softmax of D1's single unit has no gradient under binary_crossentropy there, and one here;
//     it answers 1 in both, with the same accuracy.
//
// The same in both: sgd, adam, adamax, adadelta, the other losses, regularisers and their defaults, and the accuracies.
//
// Beside the published faults stand ours of larger networks, L1 and following ([Large], catalogue/large): six of each network, of which the last two
// need more than one edit. Nothing is published of them; docs/benchmark/large.md has our own results.
package faults

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"netmend/repair"
	"netmend/train"
)

// Fault is one entry of the catalogue. Nobody changes it; [All] gives copies that share slices.
type Fault struct {
	ID          string       `json:"id"`
	Program     string       `json:"program"`     // where the fault comes from: a question on Stack Overflow, or a subject program and its mutation
	Source      string       `json:"source"`      // what the entry was made from
	Description string       `json:"description"` // what is wrong, in one sentence
	Task        train.Task   `json:"task"`
	Network     string       `json:"network"` // of package models
	Data        string       `json:"data"`    // name of the data set, see faults/dataset
	StandIn     string       `json:"stand_in,omitempty"`
	Metric      train.Metric `json:"metric"`
	Faulty      Variant      `json:"faulty"`
	Fix         repair.Patch `json:"fix"`
	Keys        []repair.Key `json:"keys"`       // the searched keys of the published search space; nil: all
	MinEpochs   int          `json:"min_epochs"` // the published space holds fewer epochs than the faulty ones only above this number
	Rows        Rows         `json:"rows"`
	Published   Published    `json:"published"`
	Lite        Lite         `json:"lite"`
	Notes       []string     `json:"notes,omitempty"` // slips of the published scripts that are repaired, and other differences
}

// Variant is how a network is trained, and the edits that its graph needs before.
type Variant struct {
	Recipe train.Recipe
	Graph  repair.Patch // edits of models.Build(Network); empty: the graph as it is
}

// Rows says how the published program and the published scripts divide the data set's two parts.
type Rows struct {
	// Validation is the part of the training rows that the program keeps for validation and does not train on. Zero: none.
	Validation float64 `json:"validation,omitempty"`
	// ValidationState seeds scikit-learn's train_test_split that makes the validation part.
	ValidationState uint32 `json:"validation_state,omitempty"`
	// ValidationLast: the validation part is the last rows, as of Keras' validation_split.
	ValidationLast bool `json:"validation_last,omitempty"`
	// HoldoutState seeds the train_test_split that keeps 20 % of the test rows for the result and leaves 80 % to the search.
	HoldoutState uint32 `json:"holdout_state"`
}

// HasPublished says whether anything is published of the fault.
func (f Fault) HasPublished() bool { return f.Published.Results != nil }

// Lite is the small version of a fault: how many rows of either part of the data set are used (dataset.Open takes them), and the epochs and
// batch sizes of the faulty and the fixed recipe. Batches shrink with the rows, so that an epoch keeps enough steps to learn by.
type Lite struct {
	Train       int `json:"train"`
	Test        int `json:"test"`
	Epochs      int `json:"epochs"`
	FixedEpochs int `json:"fixed_epochs"`
	Batch       int `json:"batch"`
	FixedBatch  int `json:"fixed_batch"`
	// SearchShare is the share of the training rows that a search is scored on under the strict protocol; zero: strictShare. Where few rows are trained
	// on, a fifth of them tells nothing.
	SearchShare float64 `json:"search_share,omitempty"`
	// Network and Data, where they are given, take the place of the fault's: the same layers narrower or for smaller samples, and such samples.
	Network string `json:"network,omitempty"`
	Data    string `json:"data,omitempty"`
}

// Published are the published results, as the replication package prints them: accuracies rounded to two decimals, angle losses to three.
// Maps are by budget ("10x", "20x", "50x") and technique ("random", "autotrainer", "hebo", "bohb").
type Published struct {
	Faulty  float64                      `json:"faulty"` // mean of ten trainings on the hold-out rows (Table III)
	Fixed   float64                      `json:"fixed"`
	Results map[string]map[string]Result `json:"results"`
	// Trial0 is the published searches' own training of the configuration that they start from.
	Trial0 Trial0 `json:"trial0"`
	// Types are the kinds of hyper-parameters that the ground truth changes; the asymmetric Jaccard index (AJ) is over them.
	Types []string `json:"types"`
	// AJ and Complexity at 20x, recomputed from the raw results with the index's definition; complexity is the share of the searched
	// keys that the patch changes. A technique without a number is absent.
	AJ         map[string]float64 `json:"aj,omitempty"`
	Complexity map[string]float64 `json:"complexity"`
	// Trials are the trials per run that gave a metric, the first one (the start) not counted.
	Trials map[string]map[string]float64 `json:"trials"`
}

// Result is a cell of Table III.
type Result struct {
	Mean        float64 `json:"mean"`
	SD          float64 `json:"sd"`
	IR          float64 `json:"ir"` // improvement rate: 1 is as good as the ground truth
	Significant bool    `json:"significant,omitempty"`
	// Note says why there is no number: "T/O" (no run within the budget) or "N/A" (nothing found, or the task is not supported).
	Note string `json:"note,omitempty"`
}

// Trial0 is a sample of trainings.
type Trial0 struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
	N    int     `json:"n"`
}

//go:embed catalogue
var catalogue embed.FS

// UnmarshalJSON reads {"recipe": …, "graph": […]}: the recipe as train.ParseRecipe does, with the defaults of the framework that it names.
func (v *Variant) UnmarshalJSON(raw []byte) error {
	var file struct {
		Recipe json.RawMessage `json:"recipe"`
		Graph  repair.Patch    `json:"graph"`
	}
	if err := strict(raw, &file); err != nil {
		return err
	}
	r, err := train.ParseRecipe(file.Recipe)
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	*v = Variant{Recipe: r, Graph: file.Graph}
	return nil
}

// strict decodes one JSON value without unknown fields.
func strict(raw []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the JSON value")
	}
	return nil
}

// The catalogue by id.
var (
	published = read("catalogue/*.json")
	large     = read("catalogue/large/*.json")
)

// read reads files of the catalogue. It is part of the program: a file that cannot be read is a bug of ours.
func read(pattern string) []Fault {
	files, err := fs.Glob(catalogue, pattern)
	if err != nil {
		panic(err)
	}
	var faults []Fault
	for _, name := range files {
		raw, err := catalogue.ReadFile(name)
		if err != nil {
			panic(err)
		}
		var f Fault
		if err := strict(raw, &f); err != nil {
			panic(fmt.Sprintf("faults: %s: %v", name, err))
		}
		faults = append(faults, f)
	}
	slices.SortFunc(faults, func(a, b Fault) int { return cmp.Or(len(a.ID)-len(b.ID), strings.Compare(a.ID, b.ID)) }) // L9 before L10
	return faults
}

// All lists the published faults by id.
func All() []Fault { return slices.Clone(published) }

// Large lists the faults of larger networks by id.
func Large() []Fault { return slices.Clone(large) }

// The words of Select for many faults.
const (
	allWord   = "all"
	largeWord = "large"
)

// Select gives the faults of a list such as "D1,R3,L7", published ones first, in the catalogue's order. "all" stands for the published ones, "large"
// for those of larger networks.
func Select(list string) ([]Fault, error) {
	every := slices.Concat(published, large)
	wanted := map[string]bool{}
	for _, id := range strings.Split(list, ",") {
		id = strings.TrimSpace(id)
		switch {
		case id == allWord || id == largeWord:
			for _, f := range map[string][]Fault{allWord: published, largeWord: large}[id] {
				wanted[f.ID] = true
			}
		case slices.ContainsFunc(every, func(f Fault) bool { return f.ID == id }):
			wanted[id] = true
		default:
			return nil, fmt.Errorf("faults: there is no fault %q: %s, %s or %s", id, strings.Join(ids(every), ", "), allWord, largeWord)
		}
	}
	return slices.DeleteFunc(every, func(f Fault) bool { return !wanted[f.ID] }), nil
}

func ids(list []Fault) []string {
	out := make([]string, len(list))
	for i, f := range list {
		out[i] = f.ID
	}
	return out
}
