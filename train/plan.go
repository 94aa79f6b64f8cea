package train

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
	"netmend/train/lower"
)

// plan is a training as an engine program: which function is which step, and which tensor is what.
type plan struct {
	prog      *engine.Program
	batch     int // rows of a full training step
	evalBatch int
	train     int // functions: a full training step,
	tail      int // the smaller last step of an epoch (-1 when there is none),
	eval      int // an evaluation step,
	coefs     engine.TensorID
	params    []param
	inputs    []loaded
	targets   []target
	outShapes [][]int // sample shapes of the outputs that have targets
	probe     probe   // in training form
	first     probe   // in inference form, with predictions
	// accumulator is what Adagrad's slots start with.
	accumulator float64
}

// probe is a function that changes nothing and gives statistics.
type probe struct {
	f      int      // -1: not asked for
	layers []Layer  // what its outputs are, without values
	outs   [][2]int // of the layers: places in Result.Outputs, -1 for what is not there
	preds  []int    // of the predictions, per target
}

// param is a tensor of weights or running statistics.
type param struct {
	Param
	state   engine.TensorID
	slots   []engine.TensorID
	initial []float32
}

// loaded is an array of the data set with its tensor.
type loaded struct {
	column
	id engine.TensorID
}

// maxEvalBatch bounds the rows of an evaluation step: enough to keep a device busy, little enough for its memory.
const maxEvalBatch = 256

func newPlan(m *onnx.Model, r Recipe, d data.Splits, o Options) (*plan, error) {
	if err := lower.Check(m); err != nil {
		return nil, err
	}
	cols, err := inputColumns(m, r, d)
	if err != nil {
		return nil, err
	}
	rows := d.Rows()
	p := &plan{prog: engine.NewProgram(rows), batch: min(r.BatchSize, len(d.Train)), tail: -1, probe: probe{f: -1}, first: probe{f: -1}}
	p.evalBatch = min(maxEvalBatch, max(1, rows))
	p.accumulator = r.Optimizer.InitialAccumulator
	for _, c := range cols {
		t := engine.Float
		if c.array.IsInt() {
			t = engine.Int
		}
		p.inputs = append(p.inputs, loaded{c, p.prog.NewData(c.name, t, c.array.Shape[1:])})
	}
	if err := p.addParams(m, r); err != nil {
		return nil, err
	}
	p.coefs = p.prog.NewFeed("optimizer coefficients", []int{engine.RuleCoefs})
	// The evaluation function comes first: it tells the outputs' shapes, which the targets' encoding depends on.
	if err := p.addFuncs(m, r, d, o); err != nil {
		return nil, err
	}
	if err := p.prog.Check(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return p, nil
}

// addParams makes a state tensor of every weight and running statistic and draws its initial values.
func (p *plan) addParams(m *onnx.Model, r Recipe) error {
	params, err := Params(m, r)
	if err != nil {
		return err
	}
	if err := checkNames(m, r, params); err != nil {
		return err
	}
	for _, q := range params {
		x := param{Param: q}
		x.initial = make([]float32, engine.Len(q.Shape))
		if err := p.initialise(&x, params, m, r); err != nil {
			return err
		}
		x.state = p.prog.NewState(q.Name, q.Shape)
		if x.Trained {
			rule := r.Optimizer.rule(r.Semantics)
			for i := range rule.Slots() {
				x.slots = append(x.slots, p.prog.NewState(fmt.Sprintf("%s/slot%d", q.Name, i), q.Shape))
			}
		}
		p.params = append(p.params, x)
	}
	if !slices.ContainsFunc(p.params, func(x param) bool { return x.Trained }) {
		return errors.New("train: the model has no weights to train")
	}
	return nil
}

// checkNames refuses what a recipe says of weights and nodes that are not there or cannot have it.
func checkNames(m *onnx.Model, r Recipe, params []Param) error {
	role := make(map[string]lower.Role)
	for _, t := range m.Graph.Initializers {
		if t.Type == onnx.Float32 || t.Type == onnx.Float64 {
			role[t.Name] = lower.Fixed
		}
	}
	for _, q := range params {
		role[q.Name] = q.Role
	}
	for _, s := range []struct {
		field string
		names []string
	}{{"initializers", keys(r.Initializers)}, {"regularizers", keys(r.Regularizers)}, {"frozen", r.Frozen}} {
		for _, name := range s.names {
			if _, ok := role[name]; !ok {
				return fmt.Errorf("train: recipe: %s: the model has no weight %q", s.field, name)
			}
		}
	}
	for _, name := range keys(r.Regularizers) {
		switch k := role[name]; k {
		case lower.RunningMean, lower.RunningVar, lower.Fixed:
			return fmt.Errorf("train: recipe: regularizers: %q is a %s, which is not trained", name, k)
		}
	}
	for _, name := range keys(r.Dropout) {
		if !slices.ContainsFunc(m.Graph.Nodes, func(n *onnx.Node) bool { return n.OpType == "Dropout" && n.Label() == name }) {
			return fmt.Errorf("train: recipe: dropout: the model has no Dropout node %q", name)
		}
	}
	return nil
}

func keys[V any](m map[string]V) []string {
	var s []string
	for k := range m {
		s = append(s, k)
	}
	slices.Sort(s)
	return s
}

// initialise draws a tensor's values as the recipe says, or as the framework does by default for the tensor's role.
func (p *plan) initialise(x *param, all []Param, m *onnx.Model, r Recipe) error {
	init, ok := r.Initializers[x.Name]
	if !ok {
		init = defaultInitializer(x.Param, all, r.Semantics)
	}
	if init.Name == "model" || slices.Contains(r.Frozen, x.Name) {
		v, err := m.Graph.Initializer(x.Name).Float32s()
		if err != nil {
			return fmt.Errorf("train: weight %q: %w", x.Name, err)
		}
		copy(x.initial, v)
		return nil
	}
	return init.fill(x.initial, x.Name, r.Seed, x.FanIn, x.FanOut, x.Shape)
}

// defaultInitializer is what nn.Linear, nn.Conv, nn.BatchNorm, nn.Embedding (torch) or the layers of the same purpose (Keras) start with.
func defaultInitializer(x Param, all []Param, s Semantics) Initializer {
	switch x.Role {
	case lower.Scale, lower.RunningVar:
		return Initializer{Name: "ones"}
	case lower.Shift, lower.RunningMean:
		return Initializer{Name: "zeros"}
	case lower.Slope:
		if s == PyTorch {
			return Initializer{Name: "constant", Value: 0.25}
		}
		return Initializer{Name: "zeros"}
	case lower.Embedding:
		if s == PyTorch {
			return Initializer{Name: "random_normal", Stddev: 1}
		}
		return Initializer{Name: "random_uniform"}
	case lower.Bias:
		if s == Keras {
			return Initializer{Name: "zeros"}
		}
		for _, k := range all {
			if k.Role == lower.Kernel && k.Node == x.Node && k.FanIn > 0 {
				b := 1 / math.Sqrt(float64(k.FanIn))
				return Initializer{Name: "random_uniform", Minval: -b, Maxval: b}
			}
		}
		return Initializer{Name: "zeros"}
	}
	if s == PyTorch {
		return Initializer{Name: "kaiming_uniform", A: math.Sqrt(5)}
	}
	return Initializer{Name: "glorot_uniform"}
}

// addFuncs builds the functions.
func (p *plan) addFuncs(m *onnx.Model, r Recipe, d data.Splits, o Options) error {
	b := p.prog.NewFunc("eval", p.evalBatch)
	names, match, err := targetNames(m, d)
	if err != nil {
		return err
	}
	low, err := p.lower(b, m, r, false)
	if err != nil {
		return err
	}
	for i, name := range names {
		raw, err := preprocess(d.Targets[match[i]], name, false, r, d)
		if err != nil {
			return err
		}
		shape := b.Shape(low.Outputs[name])
		if len(shape) == 0 || shape[0] != p.evalBatch {
			return fmt.Errorf("train: output %q has shape %v: its first axis is not the batch", name, shape)
		}
		if len(shape) == 1 {
			shape = append(slices.Clone(shape), 1)
		}
		t, err := encode(raw, name, shape[1:], classAxis(shape, r.Semantics), r.Loss)
		if err != nil {
			return err
		}
		if err := newScorer(r).check(shape[1:], raw.RowSize()); err != nil {
			return err
		}
		p.targets, p.outShapes = append(p.targets, t), append(p.outShapes, shape[1:])
		ty := engine.Float
		if t.array.IsInt() {
			ty = engine.Int
		}
		p.inputs = append(p.inputs, loaded{t.column, p.prog.NewData("target "+name, ty, t.array.Shape[1:])})
	}
	perSample, _ := p.loss(b, low, r)
	b.Output(perSample)
	for _, name := range names {
		b.Output(low.Outputs[name])
	}
	if b.Err() != nil {
		return fmt.Errorf("train: %w", b.Err())
	}
	n := len(d.Train)
	p.eval = len(p.prog.Funcs) - 1
	if p.train, err = p.addStep("train", p.batch, m, r, o.Watch > 0); err != nil {
		return err
	}
	if n%p.batch != 0 {
		if p.tail, err = p.addStep("train tail", n%p.batch, m, r, o.Watch > 0); err != nil {
			return err
		}
	}
	if o.Probe {
		if p.probe, err = p.addProbe("probe", m, r, true); err != nil {
			return err
		}
	}
	if o.Watch > 0 {
		p.first, err = p.addProbe("first batch", m, r, false)
	}
	return err
}

// lower puts the graph's operations into a function.
func (p *plan) lower(b *engine.Builder, m *onnx.Model, r Recipe, training bool) (*lower.Result, error) {
	inputs, params := make(map[string]engine.TensorID), make(map[string]engine.TensorID)
	for _, in := range p.inputs {
		if m.Graph.Input(in.name) != nil {
			inputs[in.name] = b.Batch(in.id)
		}
	}
	for _, x := range p.params {
		params[x.Name] = x.state
	}
	return lower.Lower(b, m, inputs, params, lower.Options{Training: training, Batch: b.Func().Batch, Unbiased: r.Semantics == PyTorch,
		Dropout: r.Dropout})
}

// loss builds the mean over targets of each sample's loss, and what is differentiated in its place.
func (p *plan) loss(b *engine.Builder, low *lower.Result, r Recipe) (perSample, objective engine.TensorID) {
	perSample, objective = engine.None, engine.None
	b.Label("loss")
	for i := range p.targets {
		t := &p.targets[i]
		out := low.Outputs[t.name]
		shape := append([]int{b.Func().Batch}, p.outShapes[i]...)
		g := &lossGraph{Builder: b, loss: r.Loss, semantics: r.Semantics, output: b.Reshape(out, shape), logits: engine.None,
			axis: classAxis(shape, r.Semantics), binary: t.binary, normalised: t.normalised}
		if end, ok := low.Ends[t.name]; ok && slices.Equal(b.Shape(end.Logits), b.Shape(out)) {
			g.logits, g.activation = b.Reshape(end.Logits, shape), end.Op
			if end.Op == activationSoft && end.Axis != g.axis {
				g.logits, g.activation = engine.None, activationNone
			}
		}
		for _, in := range p.inputs {
			if in.name == t.name {
				g.target = b.Batch(in.id)
			}
		}
		v, o := g.build()
		if i == 0 {
			perSample, objective = v, o
			continue
		}
		same := v == o && perSample == objective
		perSample = b.Add(perSample, v)
		if objective = perSample; !same {
			objective = b.Add(objective, o)
		}
	}
	return perSample, objective
}

// objective is the scalar loss of a step with the regularisers' terms, and what is differentiated in its place.
func (p *plan) objective(b *engine.Builder, low *lower.Result, r Recipe) (loss, objective engine.TensorID) {
	v, o := p.loss(b, low, r)
	loss = b.Reduce(engine.Mean, v, false)
	if objective = loss; o != v {
		objective = b.Reduce(engine.Mean, o, false)
	}
	for _, x := range p.params {
		g, ok := r.Regularizers[x.Name]
		if !ok || !x.Trained {
			continue
		}
		b.Label("regularizer of " + x.Name)
		for _, term := range []struct {
			weight float64
			value  func() engine.TensorID
		}{{g.L1, func() engine.TensorID { return b.Unary(engine.Abs, x.state) }}, {g.L2, func() engine.TensorID { return b.Mul(x.state, x.state) }}} {
			if term.weight != 0 {
				add := b.Affine(b.Reduce(engine.Sum, term.value(), false), term.weight, 0)
				same := loss == objective
				if loss = b.Add(loss, add); same {
					objective = loss
				} else {
					objective = b.Add(objective, add)
				}
			}
		}
	}
	return loss, objective
}

// gradients are those of the trained parameters, clipped; None where the loss does not depend on a parameter.
func (p *plan) gradients(b *engine.Builder, objective engine.TensorID, clip GradientClip, s Semantics) []engine.TensorID {
	var wrt []engine.TensorID
	for _, x := range p.params {
		if x.Trained {
			wrt = append(wrt, x.state)
		}
	}
	grads := b.Gradient(objective, wrt)
	clipGradients(b, grads, clip, s)
	return grads
}

// addStep adds a training step: forward, loss, gradients, updates. It gives the loss, and the predictions where they are asked for.
func (p *plan) addStep(name string, batch int, m *onnx.Model, r Recipe, predictions bool) (int, error) {
	b := p.prog.NewFunc(name, batch)
	low, err := p.lower(b, m, r, true)
	if err != nil {
		return 0, err
	}
	loss, objective := p.objective(b, low, r)
	b.Output(loss)
	for i := range p.targets {
		if predictions {
			b.Output(low.Outputs[p.targets[i].name])
		}
	}
	grads := p.gradients(b, objective, r.GradientClip, r.Semantics)
	b.Label("optimizer")
	rule := r.Optimizer.rule(r.Semantics)
	i := 0
	for _, x := range p.params {
		if !x.Trained {
			continue
		}
		if grads[i] != engine.None {
			b.Update(rule, x.state, grads[i], p.coefs, x.slots...)
		}
		i++
	}
	if b.Err() != nil {
		return 0, fmt.Errorf("train: %w", b.Err())
	}
	return len(p.prog.Funcs) - 1, nil
}

// addProbe adds a function like a training step that updates nothing and gives Moments of weights, gradients and activations; in inference form
// gradients are clipped as the recipe says, the parameters stand in the order of the nodes that use them, and the predictions are given too.
func (p *plan) addProbe(name string, m *onnx.Model, r Recipe, training bool) (probe, error) {
	b := p.prog.NewFunc(name, p.batch)
	low, err := p.lower(b, m, r, training)
	if err != nil {
		return probe{}, err
	}
	// The probe leaves running statistics alone.
	f := b.Func()
	f.Ops = slices.DeleteFunc(f.Ops, func(op engine.Op) bool { return op.Kind == engine.Lerp })
	_, objective := p.objective(b, low, r)
	clip := GradientClip{}
	if !training {
		clip = r.GradientClip
	}
	grads := p.gradients(b, objective, clip, r.Semantics)
	out := func(id engine.TensorID) int {
		if id == engine.None {
			return -1
		}
		return b.Output(b.Moments(id))
	}
	x := probe{f: len(p.prog.Funcs) - 1}
	i := 0
	var places []int // of the nodes that use the parameters
	for _, q := range p.params {
		if q.Trained {
			x.layers = append(x.layers, Layer{Name: q.Name, Kind: "parameter", Op: q.Role.String(), Shape: q.Shape})
			x.outs = append(x.outs, [2]int{out(q.state), out(grads[i])})
			places = append(places, slices.Index(m.Graph.Nodes, q.Node))
			i++
		}
	}
	if !training {
		x.sort(places)
	}
	for _, v := range low.Activations {
		x.layers = append(x.layers, Layer{Name: v.Node, Kind: "activation", Op: v.Op})
		// A unit is dead when its largest magnitude over samples and positions is 0.
		shape := b.Shape(v.ID)
		unit := b.Unary(engine.Abs, v.ID)
		if len(shape) > 1 {
			axes := append([]int{0}, seq(len(shape))[2:]...)
			unit = b.Reduce(engine.Max, unit, false, axes...)
		}
		x.outs = append(x.outs, [2]int{out(v.ID), out(unit)})
	}
	for k := range p.targets {
		if !training {
			x.preds = append(x.preds, b.Output(low.Outputs[p.targets[k].name]))
		}
	}
	if b.Err() != nil {
		return probe{}, fmt.Errorf("train: %s: %w", name, b.Err())
	}
	return x, nil
}

// sort orders the parameters by their places.
func (x *probe) sort(places []int) {
	order := seq(len(places))
	slices.SortStableFunc(order, func(a, b int) int { return places[a] - places[b] })
	layers, outs := slices.Clone(x.layers), slices.Clone(x.outs)
	for to, from := range order {
		x.layers[to], x.outs[to] = layers[from], outs[from]
	}
}

// read gives the layers with the values of a run.
func (x *probe) read(outputs [][]float64) []Layer {
	layers := slices.Clone(x.layers)
	for i := range layers {
		take := func(k int) []float64 {
			if k < 0 {
				return make([]float64, engine.MomentsLen)
			}
			return outputs[k]
		}
		at := x.outs[i]
		l := &layers[i]
		if l.Kind == "parameter" {
			l.Weight, l.Gradient = momentsOf(take(at[0])), momentsOf(take(at[1]))
		} else {
			l.Output = momentsOf(take(at[0]))
			l.Dead = take(at[1])[5]
		}
	}
	return layers
}

// load puts the data set and the initial weights on the device.
func (p *plan) load(exec engine.Executable) error {
	for _, in := range p.inputs {
		var err error
		if in.array.IsInt() {
			err = exec.Load(in.id, in.array.Int)
		} else {
			err = exec.Load(in.id, in.array.Float)
		}
		if err != nil {
			return fmt.Errorf("train: load %q: %w", in.name, err)
		}
	}
	for i := range p.params {
		x := &p.params[i]
		if err := exec.Load(x.state, x.initial); err != nil {
			return fmt.Errorf("train: load %q: %w", x.Name, err)
		}
		full := x.initial
		x.initial = nil // the device has them
		if p.accumulator == 0 || len(x.slots) == 0 {
			continue
		}
		constant(full, p.accumulator)
		if err := exec.Load(x.slots[0], full); err != nil {
			return fmt.Errorf("train: load the accumulator of %q: %w", x.Name, err)
		}
	}
	return nil
}
