// Package train turns an ONNX graph, a recipe and data into an engine program, and runs it: losses, optimizers, initialisers, the loop,
// the trace of what happened.
//
// A Recipe is everything that a training script says besides the graph and the data. It is a plain value; nobody but its owner changes
// it, [Recipe.Clone] gives a copy to edit. Every field is filled in when a recipe is read ([ReadRecipe]), so that no default appears
// later and elsewhere.
package train

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Semantics is the framework whose conventions hold where frameworks differ: epsilon's place in an optimizer, the running statistics of
// batch normalisation, clipping inside losses, default initialisers.
type Semantics string

const (
	PyTorch Semantics = "pytorch" // as torch 2
	Keras   Semantics = "keras"   // as Keras 3 on TensorFlow
)

// Task is what the model is for.
type Task string

const (
	Classification Task = "classification"
	Regression     Task = "regression"
)

// Recipe is how a model is trained.
type Recipe struct {
	Semantics    Semantics              `yaml:"semantics" json:"semantics"`
	Task         Task                   `yaml:"task" json:"task"`
	Loss         Loss                   `yaml:"loss" json:"loss"`
	Optimizer    Optimizer              `yaml:"optimizer" json:"optimizer"`
	Schedule     Schedule               `yaml:"schedule,omitempty" json:"schedule,omitzero"` // of the learning rate; zero: constant
	BatchSize    int                    `yaml:"batch_size" json:"batch_size"`
	Epochs       int                    `yaml:"epochs" json:"epochs"`
	Initializers map[string]Initializer `yaml:"initializers,omitempty" json:"initializers,omitempty"` // by initializer name in the graph; absent: the framework's default for the tensor's role
	Regularizers map[string]Regularizer `yaml:"regularizers,omitempty" json:"regularizers,omitempty"` // by initializer name; absent: none
	// Dropout replaces the ratio of Dropout nodes, by node name; absent: what the graph says.
	Dropout       map[string]float64 `yaml:"dropout,omitempty" json:"dropout,omitempty"`
	GradientClip  GradientClip       `yaml:"gradient_clip,omitempty" json:"gradient_clip,omitzero"`   // zero: none
	EarlyStopping EarlyStopping      `yaml:"early_stopping,omitempty" json:"early_stopping,omitzero"` // zero: none
	Preprocessing []Preprocess       `yaml:"preprocessing,omitempty" json:"preprocessing,omitempty"`  // in order; empty: none
	Metric        Metric             `yaml:"metric" json:"metric"`
	TopK          int                `yaml:"top_k,omitempty" json:"top_k,omitempty"` // of the metric top_k_accuracy; zero: 5
	Shuffle       bool               `yaml:"shuffle" json:"shuffle"`                 // a new order every epoch; absent in a file: true
	Seed          uint64             `yaml:"seed" json:"seed"`
	Frozen        []string           `yaml:"frozen,omitempty" json:"frozen,omitempty"` // initializers that are not trained
}

// Loss names a loss function; see loss.go for the formulas.
type Loss struct {
	Name string `yaml:"name" json:"name"`
	// FromLogits: the model's output is unnormalised. False: it is a probability. The cross-entropies read it.
	FromLogits bool `yaml:"from_logits,omitempty" json:"from_logits,omitempty"`
	// FromLogProbabilities: the model's output is a log-probability (PyTorch's NLLLoss, KLDivLoss, PoissonNLLLoss with log_input).
	FromLogProbabilities bool `yaml:"from_log_probabilities,omitempty" json:"from_log_probabilities,omitempty"`
	// Delta is where huber turns linear. Zero in a file: 1, both frameworks' default.
	Delta float64 `yaml:"delta,omitempty" json:"delta,omitempty"`
}

// Initializer says how a tensor starts. Zero parameters mean what the field says.
type Initializer struct {
	Name   string  `yaml:"name" json:"name"`                         // one of InitializerNames
	Value  float64 `yaml:"value,omitempty" json:"value,omitempty"`   // constant: the value
	Mean   float64 `yaml:"mean,omitempty" json:"mean,omitempty"`     // random_normal, truncated_normal
	Stddev float64 `yaml:"stddev,omitempty" json:"stddev,omitempty"` // random_normal, truncated_normal; zero: 0.05 (Keras)
	Minval float64 `yaml:"minval,omitempty" json:"minval,omitempty"` // random_uniform; both zero: -0.05
	Maxval float64 `yaml:"maxval,omitempty" json:"maxval,omitempty"` // random_uniform; both zero: 0.05
	Gain   float64 `yaml:"gain,omitempty" json:"gain,omitempty"`     // orthogonal; zero: 1
	A      float64 `yaml:"a,omitempty" json:"a,omitempty"`           // kaiming_uniform, kaiming_normal: the negative slope
}

// Regularizer adds L1·Σ|w| + L2·Σw² to the loss.
type Regularizer struct {
	L1 float64 `yaml:"l1,omitempty" json:"l1,omitempty"`
	L2 float64 `yaml:"l2,omitempty" json:"l2,omitempty"`
}

// GradientClip limits gradients, in the order value, norm, global norm. Zero: off.
type GradientClip struct {
	Value      float64 `yaml:"value,omitempty" json:"value,omitempty"`             // each element to [-Value, Value]
	Norm       float64 `yaml:"norm,omitempty" json:"norm,omitempty"`               // each tensor to an L2 norm of at most Norm
	GlobalNorm float64 `yaml:"global_norm,omitempty" json:"global_norm,omitempty"` // all tensors together to an L2 norm of at most GlobalNorm
}

// EarlyStopping ends a training when the monitored value has not improved for Patience epochs. Patience zero: off.
type EarlyStopping struct {
	Monitor     string  `yaml:"monitor,omitempty" json:"monitor,omitempty"` // "loss" (the training loss) or "metric" (on the search part); zero: "loss"
	Patience    int     `yaml:"patience,omitempty" json:"patience,omitempty"`
	MinDelta    float64 `yaml:"min_delta,omitempty" json:"min_delta,omitempty"` // an improvement must exceed it
	RestoreBest bool    `yaml:"restore_best,omitempty" json:"restore_best,omitempty"`
}

// Preprocess is one step applied to an array of the data set before it reaches the model.
type Preprocess struct {
	Array      string  `yaml:"array,omitempty" json:"array,omitempty"`             // input or target by name; zero: every input
	Kind       string  `yaml:"kind" json:"kind"`                                   // standardize, minmax, divide (fitted on the training rows)
	By         float64 `yaml:"by,omitempty" json:"by,omitempty"`                   // divide: the divisor
	PerFeature bool    `yaml:"per_feature,omitempty" json:"per_feature,omitempty"` // one shift and scale per element of a sample; false: one for the array
	// Part restricts the step to rows of one part: "train" or "test" (search and hold-out rows). Zero: all rows.
	Part string `yaml:"part,omitempty" json:"part,omitempty"`
}

// Clone copies a recipe so that no map or slice is shared.
func (r Recipe) Clone() Recipe {
	r.Initializers = maps.Clone(r.Initializers)
	r.Regularizers = maps.Clone(r.Regularizers)
	r.Dropout = maps.Clone(r.Dropout)
	r.Preprocessing = slices.Clone(r.Preprocessing)
	r.Frozen = slices.Clone(r.Frozen)
	return r
}

// Equal compares two recipes; nil and empty collections are the same.
func (r Recipe) Equal(o Recipe) bool {
	return r.Semantics == o.Semantics && r.Task == o.Task && r.Loss == o.Loss && r.Optimizer == o.Optimizer && r.Schedule == o.Schedule &&
		r.BatchSize == o.BatchSize && r.Epochs == o.Epochs && r.GradientClip == o.GradientClip && r.EarlyStopping == o.EarlyStopping &&
		r.Metric == o.Metric && r.TopK == o.TopK && r.Shuffle == o.Shuffle && r.Seed == o.Seed && maps.Equal(r.Initializers, o.Initializers) &&
		maps.Equal(r.Regularizers, o.Regularizers) && maps.Equal(r.Dropout, o.Dropout) &&
		slices.Equal(r.Preprocessing, o.Preprocessing) && slices.Equal(r.Frozen, o.Frozen)
}

// maxRecipeBytes bounds what is read of a recipe; real ones are a few kilobytes.
const maxRecipeBytes = 4 << 20

// ReadRecipe reads a recipe from a YAML (or JSON) file and checks it.
func ReadRecipe(path string) (Recipe, error) {
	f, err := os.Open(path)
	if err != nil {
		return Recipe{}, fmt.Errorf("train: recipe: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxRecipeBytes+1))
	if err != nil {
		return Recipe{}, fmt.Errorf("train: recipe %q: %w", path, err)
	}
	r, err := ParseRecipe(raw)
	if err != nil {
		return Recipe{}, fmt.Errorf("train: recipe %q: %w", path, err)
	}
	return r, nil
}

// ParseRecipe is ReadRecipe on bytes. What a file leaves out gets its default here and nowhere later: the defaults of the framework that
// semantics names, for the optimizer that it names.
func ParseRecipe(raw []byte) (Recipe, error) {
	if len(raw) > maxRecipeBytes {
		return Recipe{}, fmt.Errorf("longer than %d bytes", maxRecipeBytes)
	}
	var head struct {
		Semantics Semantics
		Task      Task
		Optimizer struct{ Name string }
	}
	if err := yaml.Unmarshal(raw, &head); err != nil {
		return Recipe{}, yamlError(err)
	}
	r := Recipe{Semantics: head.Semantics, Task: Classification, BatchSize: 32, Epochs: 1, Shuffle: true, Seed: 1}
	switch r.Semantics {
	case PyTorch, Keras:
	case "":
		return Recipe{}, errors.New(`field "semantics" is missing: pytorch or keras`)
	default:
		return Recipe{}, fmt.Errorf("semantics %q is not known: pytorch or keras", r.Semantics)
	}
	var err error
	if r.Optimizer, err = DefaultOptimizer(head.Optimizer.Name, r.Semantics); err != nil {
		return Recipe{}, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&r); err != nil {
		return Recipe{}, yamlError(err)
	}
	r.fill()
	return r, r.Check()
}

// fill sets the defaults that depend on other fields.
func (r *Recipe) fill() {
	if r.Loss.Name == "huber" && r.Loss.Delta == 0 {
		r.Loss.Delta = 1
	}
	if r.Metric == "" {
		r.Metric = Accuracy
		if r.Task == Regression {
			r.Metric = MAE
		}
	}
	if r.Metric == TopKAccuracy && r.TopK == 0 {
		r.TopK = 5
	}
	if r.EarlyStopping.Patience > 0 && r.EarlyStopping.Monitor == "" {
		r.EarlyStopping.Monitor = "loss"
	}
	if r.Schedule.Name == "none" {
		r.Schedule = Schedule{}
	}
}

// yamlError takes the noise off a decoder's error.
func yamlError(err error) error {
	var te *yaml.TypeError
	if errors.As(err, &te) && len(te.Errors) > 0 {
		return errors.New(te.Errors[0])
	}
	return err
}

// Marshal gives the YAML that ParseRecipe reads back to an equal recipe.
func (r Recipe) Marshal() ([]byte, error) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("train: recipe: %w", err)
	}
	return buf.Bytes(), enc.Close()
}

// Check says what in a recipe cannot be: it names the field and the values that are accepted. What looks merely unwise is accepted; it may
// be the fault that is to be repaired.
func (r Recipe) Check() error {
	if r.Semantics != PyTorch && r.Semantics != Keras {
		return fmt.Errorf("semantics %q is not known: pytorch or keras", r.Semantics)
	}
	if r.Task != Classification && r.Task != Regression {
		return fmt.Errorf("task %q is not known: classification or regression", r.Task)
	}
	if !slices.Contains(LossNames, r.Loss.Name) {
		return fmt.Errorf("loss %q is not known: one of %v", r.Loss.Name, LossNames)
	}
	if !finite(r.Loss.Delta) || r.Loss.Name == "huber" && !(r.Loss.Delta > 0) {
		return fmt.Errorf("loss %s: delta %v must be positive and finite", r.Loss.Name, r.Loss.Delta)
	}
	if !slices.Contains(Metrics, r.Metric) {
		return fmt.Errorf("metric %q is not known: one of %v", r.Metric, Metrics)
	}
	if r.BatchSize < 1 || r.BatchSize > 1<<24 {
		return fmt.Errorf("batch_size %d: must be from 1 to %d", r.BatchSize, 1<<24)
	}
	if r.Epochs < 1 || r.Epochs > 1<<24 {
		return fmt.Errorf("epochs %d: must be from 1 to %d", r.Epochs, 1<<24)
	}
	if r.TopK < 0 {
		return fmt.Errorf("top_k %d is negative", r.TopK)
	}
	if err := r.Optimizer.check(); err != nil {
		return err
	}
	if err := r.Schedule.check(); err != nil {
		return err
	}
	return errors.Join(r.checkMaps(), r.checkLimits())
}

func (r Recipe) checkMaps() error {
	for _, name := range slices.Sorted(maps.Keys(r.Initializers)) {
		if err := r.Initializers[name].check(); err != nil {
			return fmt.Errorf("initializers: %q: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Regularizers)) {
		if g := r.Regularizers[name]; !finiteNonNegative(g.L1) || !finiteNonNegative(g.L2) {
			return fmt.Errorf("regularizers: %q: l1 %v and l2 %v must be finite and not negative", name, g.L1, g.L2)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Dropout)) {
		if rate := r.Dropout[name]; !(rate >= 0 && rate <= 1) {
			return fmt.Errorf("dropout: %q: rate %v must be from 0 to 1", name, rate)
		}
	}
	return nil
}

func (r Recipe) checkLimits() error {
	c := r.GradientClip
	if err := nonNegative("gradient_clip", []named{{"value", c.Value}, {"norm", c.Norm}, {"global_norm", c.GlobalNorm}}); err != nil {
		return err
	}
	if err := nonNegative("early_stopping", []named{{"min_delta", r.EarlyStopping.MinDelta}}); err != nil {
		return err
	}
	if s := r.EarlyStopping; s.Patience < 0 || s.Patience > 0 && s.Monitor != "loss" && s.Monitor != "metric" {
		return fmt.Errorf("early_stopping: patience %d must not be negative, monitor %q must be loss or metric", s.Patience, s.Monitor)
	}
	for i, p := range r.Preprocessing {
		switch {
		case p.Kind != "standardize" && p.Kind != "minmax" && p.Kind != "divide":
			return fmt.Errorf("preprocessing step %d: kind %q is not known: standardize, minmax or divide", i+1, p.Kind)
		case p.Kind == "divide" && p.By == 0, !finite(p.By):
			return fmt.Errorf("preprocessing step %d: divide by %v", i+1, p.By)
		case p.Part != "" && p.Part != "train" && p.Part != "test":
			return fmt.Errorf("preprocessing step %d: part %q is not known: train or test", i+1, p.Part)
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func finiteNonNegative(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }

// named is a number of a recipe with its field.
type named struct {
	field string
	value float64
}

// nonNegative says which number of a section is negative or not finite.
func nonNegative(section string, list []named) error {
	for _, n := range list {
		if !finiteNonNegative(n.value) {
			return fmt.Errorf("%s: %s %v must be finite and not negative", section, n.field, n.value)
		}
	}
	return nil
}
