package devicetest

import (
	"fmt"

	"netmend/engine"
)

// layer describes a case of Recurrent.
type layer struct {
	engine.Cell
	steps, batch, hidden int
	bias, peep           bool
	lens                 []float64
	only                 string // "y", "h" or "c": the only output that has a gradient; "" for all
}

func (l layer) String() string {
	s := fmt.Sprintf("%s/%d,%d,%d", l.Kind, l.steps, l.batch, l.hidden)
	for _, x := range []struct {
		is   bool
		name string
	}{{l.Reverse, "reverse"}, {l.ResetLinearly, "reset linearly"}, {l.bias, "bias"}, {l.peep, "peepholes"}, {l.lens != nil, "lengths"}} {
		if x.is {
			s += " " + x.name
		}
	}
	if l.only != "" {
		s += " only " + l.only
	}
	return s
}

// build makes the layer behind x and returns its outputs.
func (l layer) build(g *graph, x engine.TensorID) []engine.TensorID {
	t := engine.Recurrence{X: x, R: g.x(l.Kind.Gates()*l.hidden, l.hidden), Bias: engine.None, H: g.x(l.batch, l.hidden), C: engine.None,
		Peepholes: engine.None, Lens: engine.None}
	if l.bias {
		t.Bias = g.x(l.hidden)
	}
	if l.peep {
		t.Peepholes = g.x(3, l.hidden)
	}
	if l.lens != nil {
		t.Lens = g.given(l.lens, l.batch)
	}
	if l.Kind == engine.CellLSTM {
		t.C = g.x(l.batch, l.hidden)
	}
	y, h, c := g.b.Recurrent(l.Cell, t)
	if c == engine.None {
		return []engine.TensorID{y, h}
	}
	return []engine.TensorID{y, h, c}
}

// lengths are of every kind: none, all, more than all, some; a fraction lasts through the step that it begins.
func lengths(n, steps int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = []float64{float64(steps), 1, 0, float64(steps) + 2, 2, float64(steps) / 2}[i%6]
	}
	return v
}

func layerCases() []layer {
	var list []layer
	for _, k := range engine.Cells() {
		for _, reverse := range []bool{false, true} {
			for _, linear := range []bool{false, true} {
				if linear && k != engine.CellGRU {
					continue
				}
				for i, size := range [][3]int{{1, 1, 1}, {5, 7, 4}, {4, 37, 45}, {2, 3, 130}, {8, 5, 10}} {
					l := layer{Cell: engine.Cell{Kind: k, Reverse: reverse, ResetLinearly: linear}, steps: size[0], batch: size[1], hidden: size[2]}
					l.bias, l.peep = linear && i%2 == 1, k == engine.CellLSTM && i%2 == 1
					list = append(list, l)
					l.lens = lengths(l.batch, l.steps)
					list = append(list, l)
				}
			}
		}
		for _, only := range []string{"y", "h", "c"} {
			if only != "c" || k == engine.CellLSTM {
				list = append(list, layer{Cell: engine.Cell{Kind: k}, steps: 3, batch: 2, hidden: 3, only: only})
			}
		}
		list = append(list, layer{Cell: engine.Cell{Kind: k}, steps: 3, batch: 0, hidden: 2})
	}
	return list
}

func recurrentCases() []testCase {
	var cases []testCase
	for _, l := range layerCases() {
		// R's elements are up to 1, so that an error grows from step to step.
		cases = append(cases, testCase{name: "recurrent/" + l.String(), loose: 4, build: func(g *graph) {
			out := l.build(g, g.x(l.steps, l.batch, l.Kind.Gates()*l.hidden))
			if l.only == "" {
				g.emit(out...)
				return
			}
			g.emit(out[map[string]int{"y": 0, "h": 1, "c": 2}[l.only]])
		}})
	}
	return cases
}

// nonFiniteRecurrent: what is not finite stays in its sequence, and saturates gates as the formulas say.
func nonFiniteRecurrent() []testCase {
	var cases []testCase
	for _, k := range engine.Cells() {
		for _, linear := range []bool{false, true} {
			if linear && k != engine.CellGRU {
				continue
			}
			l := layer{Cell: engine.Cell{Kind: k, ResetLinearly: linear}, steps: 3, batch: 6, hidden: 5}
			cases = append(cases, testCase{name: "recurrent/" + l.String(), loose: 4, build: func(g *graph) {
				row := l.Kind.Gates() * l.hidden
				v := g.values(l.steps*l.batch*row, -1, 1)
				for i, x := range round32([]float64{nan, inf, -inf, 1e30, -200}) { // one sequence each, at the second step; the last stays finite
					v[(l.batch+i)*row+i] = x
				}
				g.emit(l.build(g, g.given(v, l.steps, l.batch, row))...)
			}})
		}
	}
	return cases
}
