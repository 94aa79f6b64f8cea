package train

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"netmend/engine"
)

// Optimizer names an update rule and its hyper-parameters. Those that do not belong to the optimizer are zero.
type Optimizer struct {
	Name               string  `yaml:"name"`
	LearningRate       float64 `yaml:"learning_rate"`
	Momentum           float64 `yaml:"momentum"`            // sgd, rmsprop
	Dampening          float64 `yaml:"dampening"`           // sgd in PyTorch
	Nesterov           bool    `yaml:"nesterov"`            // sgd
	Beta1              float64 `yaml:"beta1"`               // adam, adamw, adamax, nadam
	Beta2              float64 `yaml:"beta2"`               // adam, adamw, adamax, nadam
	Rho                float64 `yaml:"rho"`                 // rmsprop (PyTorch: alpha), adadelta
	Epsilon            float64 `yaml:"epsilon"`             // all but sgd
	InitialAccumulator float64 `yaml:"initial_accumulator"` // adagrad
	MomentumDecay      float64 `yaml:"momentum_decay"`      // nadam: the momentum of step t is beta1·(1 - 0.5·0.96^(t·momentum_decay))
	Centered           bool    `yaml:"centered"`            // rmsprop
	AMSGrad            bool    `yaml:"amsgrad"`             // adam, adamw
	// WeightDecay is added to the gradient as weight_decay·w in PyTorch; in adamw and in Keras it shrinks the weights by
	// learning_rate·weight_decay per step instead.
	WeightDecay float64 `yaml:"weight_decay"`
}

// OptimizerNames are the optimizers that a recipe may name.
var OptimizerNames = []string{"sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "adamax", "nadam"}

// optimizerFields are the hyper-parameters of each optimizer besides name and learning rate, in the order they are written.
var optimizerFields = map[string][]string{
	"sgd":      {"momentum", "dampening", "nesterov", "weight_decay"},
	"rmsprop":  {"rho", "momentum", "epsilon", "centered", "weight_decay"},
	"adagrad":  {"initial_accumulator", "epsilon", "weight_decay"},
	"adadelta": {"rho", "epsilon", "weight_decay"},
	"adam":     {"beta1", "beta2", "epsilon", "amsgrad", "weight_decay"},
	"adamw":    {"beta1", "beta2", "epsilon", "amsgrad", "weight_decay"},
	"adamax":   {"beta1", "beta2", "epsilon", "weight_decay"},
	"nadam":    {"beta1", "beta2", "epsilon", "momentum_decay", "weight_decay"},
}

// optimizerDefaults are the constructors' defaults of torch.optim (2.x) and keras.optimizers (3.x).
var optimizerDefaults = map[Semantics]map[string]Optimizer{
	PyTorch: {
		"sgd":      {LearningRate: 1e-3},
		"rmsprop":  {LearningRate: 1e-2, Rho: 0.99, Epsilon: 1e-8},
		"adagrad":  {LearningRate: 1e-2, Epsilon: 1e-10},
		"adadelta": {LearningRate: 1, Rho: 0.9, Epsilon: 1e-6},
		"adam":     {LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8},
		"adamw":    {LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 1e-2},
		"adamax":   {LearningRate: 2e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8},
		"nadam":    {LearningRate: 2e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, MomentumDecay: 4e-3},
	},
	Keras: {
		"sgd":      {LearningRate: 1e-2},
		"rmsprop":  {LearningRate: 1e-3, Rho: 0.9, Epsilon: 1e-7},
		"adagrad":  {LearningRate: 1e-3, InitialAccumulator: 0.1, Epsilon: 1e-7},
		"adadelta": {LearningRate: 1e-3, Rho: 0.95, Epsilon: 1e-7},
		"adam":     {LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7},
		"adamw":    {LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7, WeightDecay: 4e-3},
		"adamax":   {LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7},
		"nadam":    {LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7, MomentumDecay: 1},
	},
}

// DefaultOptimizer is an optimizer with its framework's defaults.
func DefaultOptimizer(name string, s Semantics) (Optimizer, error) {
	o, ok := optimizerDefaults[s][name]
	if !ok {
		if name == "" {
			return Optimizer{}, fmt.Errorf("field \"optimizer\" is missing: one of %v", OptimizerNames)
		}
		return Optimizer{}, fmt.Errorf("optimizer %q is not known: one of %v", name, OptimizerNames)
	}
	o.Name = name
	return o, nil
}

// fields maps the hyper-parameters' names to where they are.
func (o *Optimizer) fields() map[string]any {
	return map[string]any{"momentum": &o.Momentum, "dampening": &o.Dampening, "nesterov": &o.Nesterov, "beta1": &o.Beta1, "beta2": &o.Beta2,
		"rho": &o.Rho, "epsilon": &o.Epsilon, "initial_accumulator": &o.InitialAccumulator, "momentum_decay": &o.MomentumDecay,
		"centered": &o.Centered, "amsgrad": &o.AMSGrad, "weight_decay": &o.WeightDecay}
}

// ordered lists the hyper-parameters that belong to the optimizer.
func (o Optimizer) ordered() (names []string, values []any) {
	names, values = []string{"name", "learning_rate"}, []any{o.Name, o.LearningRate}
	fields := o.fields()
	for _, n := range optimizerFields[o.Name] {
		names = append(names, n)
		switch v := fields[n].(type) {
		case *float64:
			values = append(values, *v)
		case *bool:
			values = append(values, *v)
		}
	}
	return names, values
}

// MarshalYAML writes every hyper-parameter that belongs to the optimizer, and no other.
func (o Optimizer) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	names, values := o.ordered()
	for i, name := range names {
		var v yaml.Node
		if err := v.Encode(values[i]); err != nil {
			return nil, err
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, &v)
	}
	return n, nil
}

// MarshalJSON is MarshalYAML for JSON.
func (o Optimizer) MarshalJSON() ([]byte, error) {
	var sb strings.Builder
	names, values := o.ordered()
	for i, name := range names {
		v, err := json.Marshal(values[i])
		if err != nil {
			return nil, fmt.Errorf("train: optimizer %s: %w", name, err)
		}
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(&sb, "%s%q:%s", sep, name, v)
	}
	return []byte(sb.String() + "}"), nil
}

func (o Optimizer) check() error {
	if _, ok := optimizerFields[o.Name]; !ok {
		return fmt.Errorf("optimizer %q is not known: one of %v", o.Name, OptimizerNames)
	}
	if !finiteNonNegative(o.LearningRate) {
		return fmt.Errorf("optimizer: learning_rate %v must be finite and not negative", o.LearningRate)
	}
	fields := o.fields()
	for _, name := range keys(fields) {
		v, belongs := fields[name], slices.Contains(optimizerFields[o.Name], name)
		switch v := v.(type) {
		case *float64:
			if !belongs && *v != 0 {
				return fmt.Errorf("optimizer %s has no %s", o.Name, name)
			}
			if !finiteNonNegative(*v) {
				return fmt.Errorf("optimizer: %s %v must be finite and not negative", name, *v)
			}
		case *bool:
			if !belongs && *v {
				return fmt.Errorf("optimizer %s has no %s", o.Name, name)
			}
		}
	}
	for _, n := range []named{{"beta1", o.Beta1}, {"beta2", o.Beta2}, {"rho", o.Rho}} {
		if n.value > 1 {
			return fmt.Errorf("optimizer: %s %v must be at most 1", n.field, n.value)
		}
	}
	return nil
}

// rule is the engine's update rule of an optimizer under the conventions of a framework. Sources: torch/optim/*.py (_single_tensor_*
// functions, 2.x) and keras/src/optimizers/*.py (update_step, 3.x).
func (o Optimizer) rule(s Semantics) engine.Rule {
	r := engine.Rule{B1: o.Beta1, B2: o.Beta2}
	if s == PyTorch && o.Name != "adamw" {
		r.L2 = o.WeightDecay
	}
	inside := func() { // Keras' RMSprop and Adagrad put epsilon under the root
		if r.EpsOut = o.Epsilon; s == Keras {
			r.EpsIn, r.EpsOut = o.Epsilon, 0
		}
	}
	switch o.Name {
	case "sgd":
		r.Kind, r.Momentum = engine.RuleLinear, o.Momentum != 0
	case "rmsprop":
		r.Kind, r.B2, r.Momentum, r.Centered = engine.RuleRMSprop, o.Rho, o.Momentum != 0, o.Centered
		inside()
	case "adagrad":
		r.Kind = engine.RuleAdagrad
		inside()
	case "adadelta":
		r.Kind, r.B2, r.EpsIn = engine.RuleAdadelta, o.Rho, o.Epsilon
	case "adamax":
		r.Kind = engine.RuleAdamax
		if r.EpsIn = o.Epsilon; s == Keras {
			r.EpsIn, r.EpsOut = 0, o.Epsilon
		}
	default: // adam, adamw, nadam
		r.Kind, r.EpsOut, r.Max = engine.RuleAdam, o.Epsilon, o.AMSGrad
	}
	return r
}

// coefs computes the coefficients of engine.Rule for consecutive steps. It holds what an optimizer knows of the past besides its slots.
type coefs struct {
	o       Optimizer
	s       Semantics
	step    int     // steps done
	muProd  float64 // nadam: the product of the momenta so far
	scratch [engine.RuleCoefs]float64
}

func newCoefs(o Optimizer, s Semantics) *coefs { return &coefs{o: o, s: s, muProd: 1} }

// next returns the coefficients of the next step at a learning rate; the slice is valid until the following call.
func (c *coefs) next(lr float64) []float64 {
	o := c.o
	c.step++
	t := float64(c.step)
	k := c.scratch[:]
	clear(k)
	k[0] = 1
	if c.s == Keras || o.Name == "adamw" {
		k[0] = 1 - lr*o.WeightDecay
	}
	bc1, bc2 := 1-math.Pow(o.Beta1, t), 1-math.Pow(o.Beta2, t)
	switch o.Name {
	case "sgd":
		c.sgd(k, lr)
	case "rmsprop":
		k[1], k[2], k[3] = o.Momentum, 1, lr
		if c.s == Keras { // the learning rate goes into the momentum buffer
			k[2], k[3] = lr, 1
		}
		if o.Momentum == 0 {
			k[3] = lr
		}
	case "adam", "adamw":
		k[1], k[3] = lr/bc1, 1/math.Sqrt(bc2)
		if c.s == Keras { // epsilon is added to the uncorrected root
			k[1], k[3] = lr*math.Sqrt(bc2)/bc1, 1
		}
	case "adamax":
		k[1] = lr / bc1
	case "nadam": // Dozat 2016 as torch.optim.NAdam and keras Nadam write it
		mu := func(t float64) float64 { return o.Beta1 * (1 - 0.5*math.Pow(0.96, t*o.MomentumDecay)) }
		c.muProd *= mu(t)
		k[1], k[2], k[3] = lr*mu(t+1)/(1-c.muProd*mu(t+1)), lr*(1-mu(t))/(1-c.muProd), 1/math.Sqrt(bc2)
	default: // adagrad, adadelta
		k[1] = lr
	}
	return k
}

func (c *coefs) sgd(k []float64, lr float64) {
	m := c.o.Momentum
	switch {
	case m == 0:
		k[4] = lr
	case c.s == Keras: // v = m·v - lr·g; p += v, or with Nesterov p += m·v - lr·g
		k[1], k[2], k[3] = m, -lr, -1
		if c.o.Nesterov {
			k[3], k[4] = -m, lr
		}
	default: // PyTorch: v = m·v + (1-dampening)·g, the first step v = g; p -= lr·v, or with Nesterov p -= lr·(g + m·v)
		k[1], k[2], k[3] = m, 1-c.o.Dampening, lr
		if c.step == 1 {
			k[2] = 1
		}
		if c.o.Nesterov {
			k[3], k[4] = lr*m, lr
		}
	}
}
