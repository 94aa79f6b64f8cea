package reference

import (
	"context"
	"math"
	"testing"

	"netmend/engine"
)

// An optimizer of PyTorch as a rule with the coefficients of step n (from 1 on). Formulas: the documentation of torch.optim.
type optimizer struct {
	rule  engine.Rule
	coefs func(n int) [engine.RuleCoefs]float64
}

func constant(c ...float64) func(int) [engine.RuleCoefs]float64 {
	return func(int) (out [engine.RuleCoefs]float64) { copy(out[:], c); return out }
}

// adamCoefs is Adam's with bias correction; keep is the decoupled weight decay.
func adamCoefs(lr, b1, b2, keep float64) func(n int) [engine.RuleCoefs]float64 {
	return func(n int) [engine.RuleCoefs]float64 {
		return [...]float64{keep, lr / (1 - math.Pow(b1, float64(n))), 0, 1 / math.Sqrt(1-math.Pow(b2, float64(n))), 0}
	}
}

// nadamCoefs is torch.optim.NAdam's with momentum_decay 0.004.
func nadamCoefs(lr, b1, b2 float64) func(n int) [engine.RuleCoefs]float64 {
	mu := func(n int) float64 { return b1 * (1 - 0.5*math.Pow(0.96, float64(n)*0.004)) }
	return func(n int) [engine.RuleCoefs]float64 {
		prod := 1.0
		for i := 1; i <= n; i++ {
			prod *= mu(i)
		}
		return [...]float64{1, lr * mu(n+1) / (1 - prod*mu(n+1)), lr * (1 - mu(n)) / (1 - prod), 1 / math.Sqrt(1-math.Pow(b2, float64(n))), 0}
	}
}

var optimizers = map[string]optimizer{
	"sgd":        {engine.Rule{Kind: engine.RuleLinear}, constant(1, 0, 0, 0, 0.1)},
	"sgd decay":  {engine.Rule{Kind: engine.RuleLinear, L2: 0.01}, constant(1, 0, 0, 0, 0.1)},
	"momentum":   {engine.Rule{Kind: engine.RuleLinear, Momentum: true}, constant(1, 0.9, 1, 0.1, 0)},
	"nesterov":   {engine.Rule{Kind: engine.RuleLinear, Momentum: true, L2: 0.01}, constant(1, 0.9, 1, 0.1*0.9, 0.1)},
	"adam":       {engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.999, EpsOut: 1e-8}, adamCoefs(0.01, 0.9, 0.999, 1)},
	"adam decay": {engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.999, EpsOut: 1e-8, L2: 0.1}, adamCoefs(0.01, 0.9, 0.999, 1)},
	"amsgrad":    {engine.Rule{Kind: engine.RuleAdam, B1: 0.5, B2: 0.3, EpsOut: 1e-8, Max: true}, adamCoefs(0.01, 0.5, 0.3, 1)},
	"adamw":      {engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.999, EpsOut: 1e-8}, adamCoefs(0.01, 0.9, 0.999, 1-0.01*0.1)},
	"nadam":      {engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.999, EpsOut: 1e-8}, nadamCoefs(0.01, 0.9, 0.999)},
	"adamax": {engine.Rule{Kind: engine.RuleAdamax, B1: 0.9, B2: 0.5, EpsIn: 1e-8}, func(n int) [engine.RuleCoefs]float64 {
		return [...]float64{1, 0.01 / (1 - math.Pow(0.9, float64(n))), 0, 0, 0}
	}},
	"rmsprop":          {engine.Rule{Kind: engine.RuleRMSprop, B2: 0.99, EpsOut: 1e-8}, constant(1, 0, 0, 0.01)},
	"rmsprop momentum": {engine.Rule{Kind: engine.RuleRMSprop, B2: 0.9, EpsOut: 1e-8, Momentum: true}, constant(1, 0.9, 1, 0.01)},
	"rmsprop centered": {engine.Rule{Kind: engine.RuleRMSprop, B2: 0.9, EpsOut: 1e-8, Centered: true}, constant(1, 0, 0, 0.01)},
	"rmsprop centered momentum": {engine.Rule{Kind: engine.RuleRMSprop, B2: 0.9, EpsOut: 1e-8, Centered: true, Momentum: true},
		constant(1, 0.9, 1, 0.01)},
	"adagrad":  {engine.Rule{Kind: engine.RuleAdagrad, EpsOut: 1e-10}, constant(1, 0.01)},
	"adadelta": {engine.Rule{Kind: engine.RuleAdadelta, B2: 0.9, EpsIn: 1e-6}, constant(1, 1)},
}

// optimize compares the parameter after every step with PyTorch's.
func (c *golden) optimize(t *testing.T) {
	o, ok := optimizers[c.Name]
	if !ok {
		t.Fatal("unknown optimizer")
	}
	p := engine.NewProgram(0)
	shape := c.Shapes[0]
	param, grad, coefs := p.NewState("p", shape), p.NewFeed("g", shape), p.NewFeed("coefs", []int{engine.RuleCoefs})
	b := p.NewFunc("f", 0)
	var slots []engine.TensorID
	for range o.rule.Slots() {
		slots = append(slots, p.NewState("slot"+string(rune('0'+len(slots))), shape))
	}
	b.Update(o.rule, param, grad, coefs, slots...)
	b.Output(param)
	e, err := NewFloat64().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	n := engine.Len(shape)
	if err := e.Load(param, salted(n, 11)); err != nil {
		t.Fatal(err)
	}
	s := engine.Schedule{Steps: c.Shape[0], Feeds: make(map[engine.TensorID][]float64)}
	for i := range s.Steps {
		s.Feeds[grad] = append(s.Feeds[grad], salted(n, 12+i)...)
		k := o.coefs(i + 1)
		s.Feeds[coefs] = append(s.Feeds[coefs], k[:]...)
	}
	res, err := e.Run(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, 0, res.Outputs[0], parse(t, c.Y))
}
