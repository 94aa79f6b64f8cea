package reference

import (
	"math"

	"netmend/engine"
)

// update: one step of an optimizer, see engine.RuleKind for the formulas. Every element is computed in float64; parameter and slots are
// stored at the device's precision.
func (e *executable[T]) update(op *engine.Op) kernel {
	p, g, c := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.In[2]]
	var slots [][]T
	for _, id := range op.In[3:] {
		slots = append(slots, e.floats[id])
	}
	r := op.Rule
	rule := map[engine.RuleKind]func(r *engine.Rule, c *[engine.RuleCoefs]float64, p, g float64, s *[3]float64) float64{
		engine.RuleLinear: linear, engine.RuleAdam: adam, engine.RuleAdamax: adamax,
		engine.RuleRMSprop: rmsprop, engine.RuleAdagrad: adagrad, engine.RuleAdadelta: adadelta}[r.Kind]
	return func(*step) {
		var coefs [engine.RuleCoefs]float64
		for i := range coefs {
			coefs[i] = float64(c[i])
		}
		parallel(len(p), 2*costCall, func(lo, hi int) {
			var s [3]float64
			for i := lo; i < hi; i++ {
				for k := range slots {
					s[k] = float64(slots[k][i])
				}
				v := float64(p[i])
				grad := float64(g[i])
				if r.L2 != 0 {
					grad += r.L2 * v
				}
				p[i] = T(rule(r, &coefs, coefs[0]*v, grad, &s))
				for k := range slots {
					slots[k][i] = T(s[k])
				}
			}
		})
	}
}

func linear(r *engine.Rule, c *[engine.RuleCoefs]float64, p, g float64, s *[3]float64) float64 {
	if !r.Momentum {
		return p - c[4]*g
	}
	s[0] = c[1]*s[0] + c[2]*g
	return p - (c[3]*s[0] + c[4]*g)
}

func adam(r *engine.Rule, c *[engine.RuleCoefs]float64, p, g float64, s *[3]float64) float64 {
	s[0] = r.B1*s[0] + (1-r.B1)*g
	s[1] = r.B2*s[1] + (1-r.B2)*g*g
	v := s[1]
	if r.Max {
		s[2] = max(s[2], v)
		v = s[2]
	}
	return p - (c[1]*s[0]+c[2]*g)/(math.Sqrt(v)*c[3]+r.EpsOut)
}

func adamax(r *engine.Rule, c *[engine.RuleCoefs]float64, p, g float64, s *[3]float64) float64 {
	s[0] = r.B1*s[0] + (1-r.B1)*g
	s[1] = max(r.B2*s[1], math.Abs(g)+r.EpsIn)
	return p - c[1]*s[0]/(s[1]+r.EpsOut)
}

func rmsprop(r *engine.Rule, c *[engine.RuleCoefs]float64, p, g float64, s *[3]float64) float64 {
	s[0] = r.B2*s[0] + (1-r.B2)*g*g
	v, next := s[0], 1
	if r.Centered {
		s[1] = r.B2*s[1] + (1-r.B2)*g
		v, next = v-s[1]*s[1], 2
	}
	q := g / (math.Sqrt(v+r.EpsIn) + r.EpsOut)
	if r.Momentum {
		s[next] = c[1]*s[next] + c[2]*q
		q = s[next]
	}
	return p - c[3]*q
}

func adagrad(r *engine.Rule, c *[engine.RuleCoefs]float64, p, g float64, s *[3]float64) float64 {
	s[0] += g * g
	return p - c[1]*g/(math.Sqrt(s[0]+r.EpsIn)+r.EpsOut)
}

func adadelta(r *engine.Rule, c *[engine.RuleCoefs]float64, p, g float64, s *[3]float64) float64 {
	s[0] = r.B2*s[0] + (1-r.B2)*g*g
	q := math.Sqrt(s[1]+r.EpsIn) / math.Sqrt(s[0]+r.EpsIn) * g
	s[1] = r.B2*s[1] + (1-r.B2)*q*q
	return p - c[1]*q
}
