package reference

import (
	"math"

	"netmend/engine"
)

// recurrence is what Recurrent and RecurrentGrad have in common: see engine.CellKind for the formulas. A sequence is run through by itself, with
// its states in float64.
type recurrence[T element] struct {
	*engine.Cell
	steps, batch, hidden int
	r, bias, h0, c0      []T
	peep, lens           []T // nil where absent
	y, gates, extra      []T
}

func (e *executable[T]) newRecurrence(op *engine.Op, t engine.Recurrence) *recurrence[T] {
	get := func(id engine.TensorID) []T {
		if id == engine.None {
			return nil
		}
		return e.floats[id]
	}
	s := e.p.Tensors[t.Y].Shape
	return &recurrence[T]{Cell: op.Cell, steps: s[0], batch: s[1], hidden: s[2], r: get(t.R), bias: get(t.Bias), h0: get(t.H), c0: get(t.C),
		peep: get(t.Peepholes), lens: get(t.Lens), y: get(t.Y), gates: get(t.Gates), extra: get(t.Extra)}
}

// active says whether step t belongs to sequence n.
func (c *recurrence[T]) active(t, n int) bool {
	return t >= 0 && t < c.steps && (c.lens == nil || float64(c.lens[n]) > float64(t))
}

// at is the k-th step that is run.
func (c *recurrence[T]) at(k int) int {
	if c.Reverse {
		return c.steps - 1 - k
	}
	return k
}

// before is what a state was before step t: that of the step which was run before it, or the initial one.
func (c *recurrence[T]) before(t, n int, states, initial []T) []T {
	b := t - 1
	if c.Reverse {
		b = t + 1
	}
	if c.active(b, n) {
		return row(states, b*c.batch+n, c.hidden)
	}
	return row(initial, n, c.hidden)
}

// row is row i of a matrix; nil of nil.
func row[T any](x []T, i, n int) []T {
	if x == nil {
		return nil
	}
	return x[i*n : (i+1)*n]
}

func widen[T element](to []float64, x []T) {
	for i, v := range x {
		to[i] = float64(v)
	}
}

// product adds h·Rᵀ of rows [lo, hi) of R to a.
func product[T element](a, h []float64, r []T, lo, hi int) {
	for j := lo; j < hi; j++ {
		sum := 0.0
		for k, v := range row(r, j, len(h)) {
			sum += h[k] * float64(v)
		}
		a[j] += sum
	}
}

func (e *executable[T]) recurrent(op *engine.Op) kernel {
	t := op.Recurrence()
	c := e.newRecurrence(op, t)
	x, lastH := e.floats[t.X], e.floats[t.LastH]
	var lastC []T
	if t.LastC != engine.None {
		lastC = e.floats[t.LastC]
	}
	rows := c.Kind.Gates() * c.hidden
	return func(*step) {
		parallel(c.batch, c.steps*rows*c.hidden, func(lo, hi int) {
			a, h, state := make([]float64, rows), make([]float64, c.hidden), make([]float64, c.hidden)
			for n := lo; n < hi; n++ {
				widen(h, row(c.h0, n, c.hidden))
				widen(state, row(c.c0, n, c.hidden))
				for k := range c.steps {
					t := c.at(k)
					i := t*c.batch + n
					y, gates, extra := row(c.y, i, c.hidden), row(c.gates, i, rows), row(c.extra, i, c.hidden)
					if !c.active(t, n) {
						clear(y)
						clear(gates)
						clear(extra)
						continue
					}
					widen(a, row(x, i, rows))
					c.cell(a, h, state, gates, extra)
					for j, v := range h {
						y[j] = T(v)
					}
				}
				for j := range h {
					lastH[n*c.hidden+j] = T(h[j])
					if lastC != nil {
						lastC[n*c.hidden+j] = T(state[j])
					}
				}
			}
		})
	}
}

// cell makes one step: a holds what the inputs give to the gates, h and state are ht-1 and ct-1 and become ht and ct.
func (c *recurrence[T]) cell(a, h, state []float64, gates, extra []T) {
	n := c.hidden
	switch c.Kind {
	case engine.CellRNN:
		product(a, h, c.r, 0, n)
		for j := range h {
			h[j] = math.Tanh(a[j])
		}
	case engine.CellGRU:
		product(a, h, c.r, 0, 2*n)
		for j := range 2 * n {
			a[j] = sigmoid(a[j])
		}
		c.candidate(a, h, extra)
		for j := range h {
			h[j] = (1-a[j])*a[2*n+j] + a[j]*h[j]
		}
	case engine.CellLSTM:
		product(a, h, c.r, 0, 4*n)
		for j := range h {
			before := state[j]
			i, f, g := sigmoid(a[j]+c.look(0, j, before)), sigmoid(a[2*n+j]+c.look(2, j, before)), math.Tanh(a[3*n+j])
			state[j] = f*before + i*g
			o := sigmoid(a[n+j] + c.look(1, j, state[j]))
			h[j] = o * math.Tanh(state[j])
			a[j], a[n+j], a[2*n+j], a[3*n+j] = i, o, f, g
			extra[j] = T(state[j])
		}
	}
	for j := range gates {
		gates[j] = T(a[j])
	}
}

// look is what peephole i adds.
func (c *recurrence[T]) look(i, j int, state float64) float64 {
	if c.peep == nil {
		return 0
	}
	return float64(c.peep[i*c.hidden+j]) * state
}

// candidate computes n of a GRU from a, whose z and r are done.
func (c *recurrence[T]) candidate(a, h []float64, extra []T) {
	n := c.hidden
	inner := make([]float64, 3*n)
	reset := a[n : 2*n]
	if !c.ResetLinearly {
		rh := make([]float64, n)
		for j := range h {
			rh[j] = reset[j] * h[j]
		}
		product(inner, rh, c.r, 2*n, 3*n)
		for j := range h {
			a[2*n+j] = math.Tanh(a[2*n+j] + inner[2*n+j])
		}
		return
	}
	if c.bias != nil {
		widen(inner[2*n:], c.bias)
	}
	product(inner, h, c.r, 2*n, 3*n)
	for j := range h {
		extra[j] = T(inner[2*n+j])
		a[2*n+j] = math.Tanh(a[2*n+j] + reset[j]*inner[2*n+j])
	}
}

// back adds d·R of rows [lo, hi) of R to dh.
func back[T element](dh, d []float64, r []T, lo, hi int) {
	for j := lo; j < hi; j++ {
		for k, v := range row(r, j, len(dh)) {
			dh[k] += d[j] * float64(v)
		}
	}
}

// recurrentGrad goes through the steps backwards (Werbos 1990); dr, dbias and dpeepholes are sums over what that has left.
func (e *executable[T]) recurrentGrad(op *engine.Op) kernel {
	t := op.Recurrence()
	c := e.newRecurrence(op, t)
	get := func(id engine.TensorID) []T {
		if id == engine.None {
			return nil
		}
		return e.floats[id]
	}
	dy, dLastH, dLastC := get(t.DY), get(t.DLastH), get(t.DLastC)
	dx, dr, dh0, dc0, dbias, dpeep := get(t.DX), get(t.DR), get(t.DH), get(t.DC), get(t.DBias), get(t.DPeepholes)
	rows := c.Kind.Gates() * c.hidden
	return func(*step) {
		parallel(c.batch, c.steps*rows*c.hidden, func(lo, hi int) {
			d, dh, dc := make([]float64, rows), make([]float64, c.hidden), make([]float64, c.hidden)
			for n := lo; n < hi; n++ {
				clear(dh)
				clear(dc)
				widen(dh, row(dLastH, n, c.hidden))
				widen(dc, row(dLastC, n, c.hidden))
				for k := c.steps - 1; k >= 0; k-- {
					t := c.at(k)
					i := t*c.batch + n
					to := row(dx, i, rows)
					if !c.active(t, n) {
						clear(to)
						continue
					}
					for j, v := range row(dy, i, c.hidden) {
						dh[j] += float64(v)
					}
					c.cellGrad(t, n, d, dh, dc)
					for j, v := range d {
						to[j] = T(v)
					}
				}
				for j := range dh {
					dh0[n*c.hidden+j] = T(dh[j])
					if dc0 != nil {
						dc0[n*c.hidden+j] = T(dc[j])
					}
				}
			}
		})
		c.weightGrads(dx, dr, dbias, dpeep)
	}
}

// cellGrad is the gradient of one step: dh and dc, by ht and ct, become those by ht-1 and ct-1; d is the gradient by what goes into the gates.
func (c *recurrence[T]) cellGrad(t, row0 int, d, dh, dc []float64) {
	n, i := c.hidden, t*c.batch+row0
	g := make([]float64, len(d))
	widen(g, row(c.gates, i, len(d)))
	h := make([]float64, n)
	widen(h, c.before(t, row0, c.y, c.h0))
	switch c.Kind {
	case engine.CellRNN:
		for j, y := range row(c.y, i, n) {
			d[j] = dh[j] * (1 - float64(y)*float64(y))
		}
		clear(dh)
		back(dh, d, c.r, 0, n)
	case engine.CellGRU:
		c.gruGrad(i, g, h, d, dh)
	case engine.CellLSTM:
		before, now := c.before(t, row0, c.extra, c.c0), row(c.extra, i, n)
		for j := range dh {
			in, o, f, cand := g[j], g[n+j], g[2*n+j], g[3*n+j]
			tanh := math.Tanh(float64(now[j]))
			do := dh[j] * tanh * o * (1 - o)
			dcj := dc[j] + dh[j]*o*(1-tanh*tanh) + c.look(1, j, do)
			di, df := dcj*cand*in*(1-in), dcj*float64(before[j])*f*(1-f)
			d[j], d[n+j], d[2*n+j], d[3*n+j] = di, do, df, dcj*in*(1-cand*cand)
			dc[j] = dcj*f + c.look(0, j, di) + c.look(2, j, df)
		}
		clear(dh)
		back(dh, d, c.r, 0, 4*n)
	}
}

func (c *recurrence[T]) gruGrad(i int, g, h, d, dh []float64) {
	n := c.hidden
	z, r, cand := g[:n], g[n:2*n], g[2*n:]
	inner := make([]float64, 3*n) // the gradient by what R gives to n
	rh := make([]float64, n)      // and by r∘h
	for j := range dh {
		d[j] = dh[j] * (h[j] - cand[j]) * z[j] * (1 - z[j])
		d[2*n+j] = dh[j] * (1 - z[j]) * (1 - cand[j]*cand[j])
		dh[j] *= z[j]
	}
	if c.ResetLinearly {
		for j, v := range row(c.extra, i, n) {
			d[n+j] = d[2*n+j] * float64(v) * r[j] * (1 - r[j])
			inner[2*n+j] = d[2*n+j] * r[j]
		}
		back(dh, inner, c.r, 2*n, 3*n)
	} else {
		back(rh, d, c.r, 2*n, 3*n)
		for j := range dh {
			d[n+j] = rh[j] * h[j] * r[j] * (1 - r[j])
			dh[j] += rh[j] * r[j]
		}
	}
	back(dh, d, c.r, 0, 2*n)
}

// weightGrads: dR = Σ dᵀ·ht-1 over all steps and sequences, ht-1 being multiplied by r where R is behind the reset, and d by r where it is before
// it; dbias = Σ of the latter; dpeepholes = Σ d∘c.
func (c *recurrence[T]) weightGrads(dx, dr, dbias, dpeep []T) {
	n, gates := c.hidden, c.Kind.Gates()
	rows := gates * n
	each := func(f func(t, n, i int)) {
		for t := range c.steps {
			for s := range c.batch {
				if c.active(t, s) {
					f(t, s, t*c.batch+s)
				}
			}
		}
	}
	parallel(rows, c.steps*c.batch*n, func(lo, hi int) {
		sum := make([]float64, n)
		for j := lo; j < hi; j++ {
			clear(sum)
			bias, candidate := 0.0, c.Kind == engine.CellGRU && j >= 2*n
			each(func(t, s, i int) {
				d, h := float64(dx[i*rows+j]), c.before(t, s, c.y, c.h0)
				if !candidate {
					for k, v := range h {
						sum[k] += d * float64(v)
					}
					return
				}
				reset := c.gates[i*rows+n : i*rows+2*n]
				if c.ResetLinearly {
					d *= float64(reset[j-2*n])
					bias += d
					for k, v := range h {
						sum[k] += d * float64(v)
					}
					return
				}
				for k, v := range h {
					sum[k] += d * float64(reset[k]) * float64(v)
				}
			})
			for k, v := range sum {
				dr[j*n+k] = T(v)
			}
			if candidate && dbias != nil {
				dbias[j-2*n] = T(bias)
			}
		}
	})
	if dpeep == nil {
		return
	}
	for j := range 3 * n {
		sum := 0.0
		each(func(t, s, i int) {
			state := row(c.extra, i, n)
			if j/n != 1 {
				state = c.before(t, s, c.extra, c.c0)
			}
			sum += float64(dx[i*rows+j]) * float64(state[j%n])
		})
		dpeep[j] = T(sum)
	}
}
