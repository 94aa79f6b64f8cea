package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
)

// Options say where and how to train.
type Options struct {
	Device engine.Device
	Probe  bool // take layer statistics at the end of every epoch
	// Watch scores the training rows as they are met (Epoch.TrainScore), and looks at the first batch (Epoch.First) at the end of epochs 1,
	// 1+Watch, 1+2·Watch, …, and of the recipe's last. It changes nothing of the training. Zero: not.
	Watch int
}

// Trainer is a model in training: a compiled program, its state on the device, and the trace so far. One goroutine at a time.
type Trainer struct {
	model    *onnx.Model
	recipe   Recipe
	data     data.Splits
	options  Options
	plan     *plan
	exec     engine.Executable
	coefs    *coefs
	schedule *scheduler
	epoch    int // epochs finished
	offset   int // training rows of the current epoch that are done
	order    []int32
	steps    uint64
	sum      float64 // loss of the current epoch, summed over rows
	hits     float64 // score of the current epoch's training rows, likewise
	trace    Trace
	outcome  Outcome // empty while the training may go on
	unjudged bool    // Fit was interrupted between an epoch's last step and its early stopping
	stopper  stopper
}

// New compiles a model, a recipe and data for a device and sets the initial weights. An error that wraps engine.ErrMemory means that the
// device is too small; any other, that the three do not go together.
func New(m *onnx.Model, r Recipe, d data.Splits, o Options) (*Trainer, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("train: recipe: %w", err)
	}
	if len(d.Train) == 0 {
		return nil, errors.New("train: no training rows")
	}
	if r.EarlyStopping.Patience > 0 && r.EarlyStopping.Monitor == "metric" && len(d.Search) == 0 {
		return nil, errors.New("train: recipe: early_stopping: the metric cannot be monitored, there are no search rows; monitor the loss")
	}
	p, err := newPlan(m, r, d, o)
	if err != nil {
		return nil, err
	}
	exec, err := o.Device.Compile(p.prog)
	if err != nil {
		return nil, fmt.Errorf("train: device %s: %w", o.Device.Name(), err)
	}
	t := &Trainer{model: m, recipe: r, data: d, options: o, plan: p, exec: exec, coefs: newCoefs(r.Optimizer, r.Semantics),
		schedule: newScheduler(r.Schedule, r.Optimizer.LearningRate), stopper: newStopper(r)}
	if err := p.load(exec); err != nil {
		exec.Close()
		return nil, err
	}
	return t, nil
}

// Close frees the device's memory.
func (t *Trainer) Close() error { return t.exec.Close() }

// Trace is what was seen so far; the caller must not change it.
func (t *Trainer) Trace() *Trace { return &t.trace }

// Outcome is how the training ended; empty while it may go on.
func (t *Trainer) Outcome() Outcome { return t.outcome }

// EpochsDone is the number of finished epochs.
func (t *Trainer) EpochsDone() int { return t.epoch }

// StepsPerEpoch is the number of updates in an epoch; the last may take a smaller batch.
func (t *Trainer) StepsPerEpoch() int {
	return (len(t.data.Train) + t.plan.batch - 1) / t.plan.batch
}

// StepFlops is the number of operations of a full training step by the engine's declared count.
func (t *Trainer) StepFlops() float64 { return t.plan.prog.Flops(t.plan.prog.Funcs[t.plan.train]) }

// StepMatrixFlops is the part of StepFlops that matrix products and convolutions make.
func (t *Trainer) StepMatrixFlops() float64 {
	return t.plan.prog.MatrixFlops(t.plan.prog.Funcs[t.plan.train])
}

// EvalFlops is the number of operations of evaluating so many rows, and EvalSteps the number of steps that takes.
func (t *Trainer) EvalFlops(rows int) float64 {
	return float64(t.EvalSteps(rows)) * t.plan.prog.Flops(t.plan.prog.Funcs[t.plan.eval])
}

// EvalSteps is the number of device steps that evaluating so many rows takes.
func (t *Trainer) EvalSteps(rows int) int { return (rows + t.plan.evalBatch - 1) / t.plan.evalBatch }

// chunk is how many steps run between two looks at the losses: a diverged training is not carried on for long.
const chunk = 256

// maxPredictions bounds the predicted values that a watched training hands over at once: 32 MB.
const maxPredictions = 4 << 20

// chunk is how many steps run at once.
func (t *Trainer) chunk() int {
	if t.options.Watch == 0 {
		return chunk
	}
	values := 0
	for _, s := range t.plan.outShapes {
		values += t.plan.batch * engine.Len(s)
	}
	return min(chunk, max(1, maxPredictions/max(1, values)))
}

// Advance trains up to so many steps, at most to the end of the current epoch; done says that the epoch ended. The error is ctx's when it
// was interrupted, with whole steps done. A loss that is not finite ends the training: Outcome becomes Diverged, which is no error.
func (t *Trainer) Advance(ctx context.Context, steps int) (done bool, err error) {
	n := len(t.data.Train)
	for steps > 0 && t.outcome == "" {
		if t.offset == n { // interrupted at the epoch's end before
			err := t.endEpoch(ctx)
			return err == nil, err
		}
		if t.offset == 0 {
			t.order = t.epochOrder()
		}
		f, batch, count := t.plan.train, t.plan.batch, min(steps, t.chunk(), (n-t.offset)/t.plan.batch)
		if count == 0 {
			f, batch, count = t.plan.tail, n-t.offset, 1
		}
		ran, err := t.run(ctx, f, batch, count)
		steps -= ran
		if t.outcome == "" && t.offset == n {
			err := t.endEpoch(ctx)
			return err == nil, err
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// epochOrder is the order in which the current epoch visits the training rows.
func (t *Trainer) epochOrder() []int32 {
	return data.BatchOrder(t.data.Train, t.recipe.Seed, t.epoch, t.recipe.Shuffle)
}

// run executes steps of one training function and takes in their losses.
func (t *Trainer) run(ctx context.Context, f, batch, count int) (int, error) {
	feeds := make([]float64, 0, count*engine.RuleCoefs)
	saved := *t.coefs
	for range count {
		feeds = append(feeds, t.coefs.next(t.schedule.rate())...)
	}
	res, err := t.exec.Run(ctx, engine.Schedule{Func: f, Rows: t.order[t.offset : t.offset+count*batch],
		Feeds: map[engine.TensorID][]float64{t.plan.coefs: feeds}, Seed: t.recipe.Seed, FirstStep: t.steps})
	if res == nil {
		*t.coefs = saved
		return 0, fmt.Errorf("train: %w", err)
	}
	if res.Steps < count { // interrupted: the coefficients of the steps not made are drawn again
		*t.coefs = saved
		for range res.Steps {
			t.coefs.next(t.schedule.rate())
		}
	}
	if err := t.meet(res, batch); err != nil {
		return 0, err
	}
	t.offset += res.Steps * batch
	t.steps += uint64(res.Steps)
	for _, loss := range res.Outputs[0] {
		t.trace.Losses = append(t.trace.Losses, loss)
		t.sum += loss * float64(batch)
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			t.outcome = Diverged
			t.trace.Epochs = append(t.trace.Epochs, Epoch{Number: t.epoch + 1, Loss: loss, LearningRate: t.schedule.rate(), Score: math.NaN(), SearchLoss: math.NaN(),
				TrainScore: math.NaN()})
			break
		}
	}
	if err != nil && ctx.Err() != nil {
		return res.Steps, ctx.Err()
	}
	if err != nil {
		return res.Steps, fmt.Errorf("train: %w", err)
	}
	return res.Steps, nil
}

func (t *Trainer) endEpoch(ctx context.Context) error {
	e := Epoch{Number: t.epoch + 1, Loss: t.sum / float64(len(t.data.Train)), LearningRate: t.schedule.rate(), Score: math.NaN(), SearchLoss: math.NaN(),
		TrainScore: math.NaN()}
	if t.options.Probe {
		layers, err := t.Probe(ctx)
		if err != nil {
			return err
		}
		e.Layers = layers
	}
	if every := t.options.Watch; every > 0 {
		if e.TrainScore = t.hits / float64(len(t.data.Train)); t.epoch%every == 0 || t.epoch+1 == t.recipe.Epochs {
			first, err := t.lookAtFirst(ctx)
			if err != nil {
				return err
			}
			e.First = first
		}
	}
	t.trace.Epochs = append(t.trace.Epochs, e)
	t.epoch, t.offset, t.sum, t.hits = t.epoch+1, 0, 0, 0
	t.schedule.end(e.Loss)
	return nil
}

// Epoch trains to the end of the current epoch.
func (t *Trainer) Epoch(ctx context.Context) error {
	_, err := t.Advance(ctx, math.MaxInt)
	return err
}

// Fit trains to so many epochs in total, evaluating on the search part after each, with the recipe's early stopping. It returns how the
// training stands: Completed also when it may be carried on with more epochs.
func (t *Trainer) Fit(ctx context.Context, epochs int) (Outcome, error) {
	failed := func(err error) (Outcome, error) {
		if ctx.Err() != nil {
			return Interrupted, err
		}
		return Failed, err
	}
	for t.outcome == "" && (t.unjudged || t.epoch < epochs) {
		if !t.unjudged {
			if err := t.Epoch(ctx); err != nil {
				return failed(err)
			}
			t.unjudged = t.outcome == ""
			continue
		}
		if err := t.judge(ctx); err != nil {
			return failed(err)
		}
		t.unjudged = false
	}
	if t.outcome != "" {
		return t.outcome, nil
	}
	return Completed, nil
}

// judge evaluates the epoch that has just ended and lets early stopping decide.
func (t *Trainer) judge(ctx context.Context) error {
	e := &t.trace.Epochs[len(t.trace.Epochs)-1]
	if len(t.data.Search) > 0 {
		ev, err := t.Evaluate(ctx, t.data.Search)
		if err != nil {
			return err
		}
		e.Score, e.SearchLoss = ev.Score, ev.Loss
	}
	stop, err := t.stopper.end(t, *e)
	if err == nil && stop {
		t.outcome = Stopped
	}
	return err
}

// Evaluation is how a model does on some rows, in inference form.
type Evaluation struct {
	Score     float64   // the recipe's metric; its worst value when an output is not finite
	Loss      float64   // mean of the samples' losses, without regularisers
	NonFinite int       // number of output values that are NaN or infinite
	Without   []float64 // scores without each group of rows, of EvaluateGroups
}

// Evaluate runs the model on rows of the data set.
func (t *Trainer) Evaluate(ctx context.Context, rows []int32) (Evaluation, error) {
	if len(rows) == 0 {
		return Evaluation{Score: math.NaN(), Loss: math.NaN()}, nil
	}
	outs, err := t.evalRun(ctx, rows)
	if err != nil {
		return Evaluation{}, err
	}
	return t.evaluation(outs, rows)
}

// EvaluateGroups is Evaluate with the score without each of n groups of the rows, for a jackknife over rows: Evaluation.Without. Row i is in
// group i mod n; more groups than rows are as many as rows. A single row has no groups.
func (t *Trainer) EvaluateGroups(ctx context.Context, rows []int32, n int) (Evaluation, error) {
	ev := Evaluation{Score: math.NaN(), Loss: math.NaN()}
	if len(rows) == 0 {
		return ev, nil
	}
	outs, err := t.evalRun(ctx, rows)
	if err != nil {
		return ev, err
	}
	if ev, err = t.evaluation(outs, rows); err != nil {
		return ev, err
	}
	ev.Without, err = t.plan.without(newScorer(t.recipe), outs[1:], rows, n)
	return ev, err
}

// evaluation scores what the evaluation function gave for rows: losses first, then an output for each target.
func (t *Trainer) evaluation(outs [][]float64, rows []int32) (ev Evaluation, err error) {
	if ev.Score, ev.NonFinite, err = t.plan.scores(newScorer(t.recipe), outs[1:], rows); err != nil {
		return Evaluation{}, err
	}
	for _, v := range outs[0] {
		ev.Loss += v / float64(len(rows))
	}
	return ev, nil
}

// scores is the metric of predictions for rows, an output for each target: the mean over the targets. It counts the values that are not finite.
func (p *plan) scores(s scorer, preds [][]float64, rows []int32) (score float64, nonFinite int, err error) {
	for i := range p.targets {
		for _, v := range preds[i] {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				nonFinite++
			}
		}
		v, err := s.score(preds[i], p.outShapes[i], &p.targets[i].raw, rows)
		if err != nil {
			return 0, 0, err
		}
		score += v / float64(len(p.targets))
	}
	return score, nonFinite, nil
}

// without scores predictions for rows without each of n groups of them, as EvaluateGroups says.
func (p *plan) without(s scorer, preds [][]float64, rows []int32, n int) (out []float64, err error) {
	if len(rows) < 2 {
		return nil, nil
	}
	n = min(n, len(rows))
	rest, some := make([][]float64, len(preds)), make([]int32, 0, len(rows))
	for g := range n {
		some = some[:0]
		for k := range preds {
			rest[k] = rest[k][:0]
		}
		for i, row := range rows {
			if i%n == g {
				continue
			}
			some = append(some, row)
			for k, o := range preds {
				size := len(o) / len(rows)
				rest[k] = append(rest[k], o[i*size:(i+1)*size]...)
			}
		}
		v, _, err := p.scores(s, rest, some)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Predict returns the model's outputs that have targets, one slice per output, rows in order.
func (t *Trainer) Predict(ctx context.Context, rows []int32) ([][]float64, error) {
	outs, err := t.evalRun(ctx, rows)
	if err != nil {
		return nil, err
	}
	return outs[1:], nil
}

// evalRun runs the evaluation function, filling the last batch up with its last row, and cuts the surplus off.
func (t *Trainer) evalRun(ctx context.Context, rows []int32) ([][]float64, error) {
	padded := slices.Clone(rows)
	for len(padded)%t.plan.evalBatch != 0 {
		padded = append(padded, rows[len(rows)-1])
	}
	res, err := t.exec.Run(ctx, engine.Schedule{Func: t.plan.eval, Rows: padded, Seed: t.recipe.Seed})
	if err != nil {
		return nil, fmt.Errorf("train: evaluation: %w", err)
	}
	for i := range res.Outputs {
		res.Outputs[i] = res.Outputs[i][:len(res.Outputs[i])/len(padded)*len(rows)]
	}
	return res.Outputs, nil
}

// Probe takes statistics of weights, gradients and activations on one batch of training rows, in training form but without any update. The rows
// are spaced evenly: the first ones of a file that is sorted by class are all alike.
func (t *Trainer) Probe(ctx context.Context) ([]Layer, error) {
	p := t.plan
	if p.probe.f < 0 {
		return nil, errors.New("train: the trainer was made without Options.Probe")
	}
	rows := make([]int32, p.batch)
	for i := range rows {
		rows[i] = t.data.Train[i*len(t.data.Train)/p.batch]
	}
	res, err := t.exec.Run(ctx, engine.Schedule{Func: p.probe.f, Rows: rows, Seed: t.recipe.Seed, FirstStep: t.steps})
	if err != nil {
		return nil, fmt.Errorf("train: probe: %w", err)
	}
	return p.probe.read(res.Outputs), nil
}

// meet scores the rows that a run has trained on, step by step, with the predictions from before each update.
func (t *Trainer) meet(res *engine.Result, batch int) error {
	if t.options.Watch == 0 {
		return nil
	}
	s := newScorer(t.recipe)
	for step := range res.Steps {
		rows := t.order[t.offset+step*batch : t.offset+(step+1)*batch]
		for i := range t.plan.targets {
			n := batch * engine.Len(t.plan.outShapes[i])
			score, err := s.score(res.Outputs[1+i][step*n:(step+1)*n], t.plan.outShapes[i], &t.plan.targets[i].raw, rows)
			if err != nil {
				return err
			}
			t.hits += score * float64(batch) / float64(len(t.plan.targets))
		}
	}
	return nil
}

// lookAtFirst takes the statistics of the first batch.
func (t *Trainer) lookAtFirst(ctx context.Context) (*FirstBatch, error) {
	p := t.plan
	res, err := t.exec.Run(ctx, engine.Schedule{Func: p.first.f, Rows: t.data.Train[:p.batch], Seed: t.recipe.Seed})
	if err != nil {
		return nil, fmt.Errorf("train: first batch: %w", err)
	}
	out := &FirstBatch{Layers: p.first.read(res.Outputs)}
	for i, k := range p.first.preds {
		l := layoutOf(p.outShapes[i], t.recipe.Semantics)
		sums := make([]float64, p.batch*l.positions)
		for at, v := range res.Outputs[k] {
			position := at % l.size
			sums[at/l.size*l.positions+position/(l.classes*l.inner)*l.inner+position%l.inner] += math.Abs(v)
		}
		for _, sum := range sums {
			if out.LargestRow = max(out.LargestRow, sum); math.IsInf(sum, 0) { // max keeps NaN
				out.LargestRow = math.NaN()
			}
		}
	}
	return out, nil
}

// Model is the model with the weights as they are now, in inference form.
func (t *Trainer) Model() (*onnx.Model, error) {
	m := t.model.InferenceForm()
	for _, s := range t.plan.params {
		v := make([]float32, engine.Len(s.Shape))
		if err := t.exec.Fetch(s.state, v); err != nil {
			return nil, fmt.Errorf("train: fetch %q: %w", s.Name, err)
		}
		m.Graph.SetInitializer(weightTensor(m.Graph.Initializer(s.Name), v))
	}
	return m, nil
}

// weightTensor is a tensor like old with new values. The element type stays; training needs no more than float32 holds.
func weightTensor(old *onnx.Tensor, v []float32) *onnx.Tensor {
	if old.Type == onnx.Float64 {
		wide := make([]float64, len(v))
		for i, x := range v {
			wide[i] = float64(x)
		}
		return onnx.NewFloat64(old.Name, old.Dims, wide)
	}
	return onnx.NewFloat32(old.Name, old.Dims, v)
}

// stopper is early stopping at work, as keras.callbacks.EarlyStopping.
type stopper struct {
	s    EarlyStopping
	less func(a, b float64) bool // a is better than b by more than MinDelta
	best float64
	wait int
	kept states
}

func newStopper(r Recipe) stopper {
	s := stopper{s: r.EarlyStopping, best: math.NaN()}
	up := s.s.Monitor == "metric" && r.Metric.Maximize()
	s.less = func(a, b float64) bool {
		if math.IsNaN(b) {
			return !math.IsNaN(a)
		}
		if up {
			return a-s.s.MinDelta > b
		}
		return a+s.s.MinDelta < b
	}
	return s
}

func (s *stopper) end(t *Trainer, e Epoch) (stop bool, err error) {
	if s.s.Patience == 0 {
		return false, nil
	}
	v := e.Loss
	if s.s.Monitor == "metric" {
		v = e.Score
	}
	if s.less(v, s.best) {
		s.best, s.wait = v, 0
		if s.s.RestoreBest {
			s.kept, err = t.states()
		}
		return false, err
	}
	if s.wait++; s.wait < s.s.Patience {
		return false, nil
	}
	if s.kept != nil {
		err = t.loadStates(s.kept)
	}
	return true, err
}

// Inputs are rows of the data as the model takes them: preprocessed and in the model's layout, by the names of the graph's inputs.
func (t *Trainer) Inputs(rows []int32) map[string]data.Array {
	out := make(map[string]data.Array)
	for _, in := range t.plan.inputs {
		if t.model.Graph.Input(in.name) != nil {
			a := in.array.Select(rows)
			a.Name = in.name
			out[in.name] = *a
		}
	}
	return out
}

// Outputs are the names of the outputs that have targets, in the order of Predict.
func (t *Trainer) Outputs() []string {
	names := make([]string, len(t.plan.targets))
	for i := range t.plan.targets {
		names[i] = t.plan.targets[i].name
	}
	return names
}

// ChanceLoss is the loss of a model that knows nothing but how many classes there are: log C for the categorical cross-entropies, log 2
// for the binary one; NaN where no such number exists.
func (t *Trainer) ChanceLoss() float64 {
	switch t.recipe.Loss.Name {
	case "categorical_crossentropy", "sparse_categorical_crossentropy":
		sum := 0.0
		for i, s := range t.plan.outShapes {
			c := s[classAxis(append([]int{1}, s...), t.recipe.Semantics)-1]
			if !t.plan.targets[i].normalised || c < 2 {
				return math.NaN()
			}
			sum += math.Log(float64(c))
		}
		return sum
	case "binary_crossentropy":
		return math.Ln2 * float64(len(t.plan.targets))
	}
	return math.NaN()
}
