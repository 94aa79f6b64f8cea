package technique

import (
	"math"

	"netmend/repair/technique/autotrainer"
	"netmend/train"
)

// shortTraining is the number of epochs below which none of the monitor's own checks reports anything: they are at the end of epochs 0, 3, …, and
// report from half time on. A shorter training is checked at its end as well.
const shortTraining = 4

// monitorWatch shows a training to AutoTrainer's monitor.
type monitorWatch struct {
	monitor *autotrainer.Monitor
	epochs  int
	logits  bool // the outputs are unnormalised by design: their size says nothing of the activation
	seen    autotrainer.Check
}

func newMonitorWatch(p autotrainer.Params, epochs int, m autotrainer.Model, logits bool) *monitorWatch {
	return &monitorWatch{monitor: autotrainer.NewMonitor(p, epochs, m), epochs: epochs, logits: logits}
}

// Every is the original's distance between two checks.
func (w *monitorWatch) Every() int { return autotrainer.CheckGap }

// Epoch gives the problems that a check at the epoch's end finds, where there is one.
func (w *monitorWatch) Epoch(e train.Epoch) []string {
	at := e.Number - 1
	if math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0) {
		return w.diverged(at)
	}
	w.note(e.Loss, e.TrainScore, e.SearchLoss, e.Score)
	if !w.due(at) {
		return nil
	}
	c := w.seen
	if e.First != nil {
		c.Gradients, c.NonFiniteWeights = gradientsOf(e.First.Layers)
	}
	if w.reports(at) {
		c.Outputs = w.outputsOf(e.First)
	}
	return wordsOf(w.monitor.Check(at, c))
}

func (w *monitorWatch) note(loss, accuracy, searchLoss, searchAccuracy float64) {
	c := &w.seen
	c.Loss, c.Accuracy = append(c.Loss, loss), append(c.Accuracy, accuracy)
	c.ValLoss, c.ValAccuracy = append(c.ValLoss, searchLoss), append(c.ValAccuracy, searchAccuracy)
}

// due says whether there is a check at the end of an epoch, counted from 0.
func (w *monitorWatch) due(at int) bool { return at%autotrainer.CheckGap == 0 || w.shortEnd(at) }

func (w *monitorWatch) shortEnd(at int) bool { return w.epochs < shortTraining && at == w.epochs-1 }

func (w *monitorWatch) reports(at int) bool { return w.monitor.NeedsOutputs(at) || w.shortEnd(at) }

// diverged plays what is left of a training whose loss is not finite: the original trains on, with weights that are no numbers, so that nothing
// that its checks look at is one.
func (w *monitorWatch) diverged(from int) []string {
	for at := from; at < w.epochs; at++ {
		w.note(math.NaN(), math.NaN(), math.NaN(), math.NaN())
		if !w.due(at) {
			continue
		}
		c := w.seen
		c.Gradients, c.NonFiniteWeights = []autotrainer.Gradient{{NonFinite: true}}, true
		if w.reports(at) {
			c.Outputs = &autotrainer.Outputs{LargestRow: math.NaN()}
		}
		if found := w.monitor.Check(at, c); len(found) > 0 {
			return wordsOf(found)
		}
	}
	return nil
}

func wordsOf(found []autotrainer.Problem) []string {
	var out []string
	for _, p := range found {
		out = append(out, string(p))
	}
	return out
}

// gradientsOf are the gradients of the trained tensors; those that the loss does not depend on have none. A bias is no kernel in whatever shape it is
// kept.
func gradientsOf(layers []train.Layer) (out []autotrainer.Gradient, badWeights bool) {
	for _, l := range layers {
		if l.Kind != "parameter" {
			continue
		}
		badWeights = badWeights || l.Weight.NonFinite > 0
		g := l.Gradient
		if g.NonFinite == 0 && g.MaxAbs == 0 && g.Zeros == 0 {
			continue
		}
		size := 1
		for _, d := range l.Shape {
			size *= d
		}
		out = append(out, autotrainer.Gradient{Kernel: len(l.Shape) > 1 && l.Op != "bias", Norm: math.Sqrt(g.MeanSquare * float64(size)),
			Zeros: int(math.Round(g.Zeros * float64(size))), Size: size, NonFinite: g.NonFinite > 0})
	}
	return out, badWeights
}

// outputsOf are the outputs of what Keras calls a layer: a product with its activation is one, so that products count only where no function stands
// between them and the next. The last product and what follows it is the last layer.
func (w *monitorWatch) outputsOf(f *train.FirstBatch) *autotrainer.Outputs {
	o := &autotrainer.Outputs{}
	if f == nil {
		return o
	}
	if o.LargestRow = f.LargestRow; w.logits && !math.IsNaN(o.LargestRow) {
		o.LargestRow = 0
	}
	var nodes []train.Layer
	for _, l := range f.Layers {
		if l.Kind != "parameter" {
			nodes = append(nodes, l)
		}
	}
	last := len(nodes) - 1
	for last >= 0 && !products[nodes[last].Op] {
		last--
	}
	for i := range max(0, last) {
		if !products[nodes[i].Op] || products[nodes[i+1].Op] {
			o.MeanAbs = append(o.MeanAbs, nodes[i].Output.MeanAbs)
		}
	}
	return o
}

// products are the operators of layers in a trace.
var products = map[string]bool{"Gemm": true, "MatMul": true, "Conv": true, "ConvTranspose": true}
