//go:build cgo && amd64

package cpu

// #include "plan.h"
import "C"

import (
	"slices"

	"netmend/engine"
)

var cellCode = map[engine.CellKind]C.int32_t{engine.CellRNN: C.NM_CELL_RNN, engine.CellGRU: C.NM_CELL_GRU, engine.CellLSTM: C.NM_CELL_LSTM}

// recurrence is what the two passes over a recurrent layer have in common; y is its output.
func (c *compiler) recurrence(y engine.TensorID) C.nm_recurrence {
	cell, s := c.op.Cell, c.shape(y)
	r := C.nm_recurrence{kind: cellCode[cell.Kind], gates_count: C.int32_t(cell.Kind.Gates()), steps: C.int64_t(s[0]), batch: C.int64_t(s[1]),
		hidden: C.int64_t(s[2])}
	if cell.Reverse {
		r.reverse = 1
	}
	if cell.ResetLinearly {
		r.reset_linearly = 1
	}
	return r
}

// optional is a tensor in row-major order that may be absent.
func (c *compiler) optional(id engine.TensorID) *buffer {
	if id == engine.None {
		return nil
	}
	return c.plain(id)
}

// newOptional is an output that may be absent.
func (c *compiler) newOptional(id engine.TensorID) *buffer {
	if id == engine.None {
		return nil
	}
	return c.newPlain(id)
}

// there are the buffers of a list that are not absent.
func there(b ...*buffer) []*buffer {
	return slices.DeleteFunc(b, func(b *buffer) bool { return b == nil })
}

func (c *compiler) recurrent() {
	t := c.op.Recurrence()
	r := c.recurrence(t.Y)
	x, w, bias, h0, c0 := c.plain(t.X), c.plain(t.R), c.optional(t.Bias), c.plain(t.H), c.optional(t.C)
	peep, lens := c.optional(t.Peepholes), c.optional(t.Lens)
	// What is kept for the gradient is not where nothing reads it.
	kept := func(id engine.TensorID) *buffer {
		if id == engine.None || len(c.uses[id]) == 0 && !slices.Contains(c.f.Outputs, id) {
			return nil
		}
		return c.newPlain(id)
	}
	gates, extra := kept(t.Gates), kept(t.Extra)
	y, lastH, lastC := c.newPlain(t.Y), c.newPlain(t.LastH), c.newOptional(t.LastC)
	// The gates take x's memory over: a step reads its part of x before it writes them.
	c.add(there(x, w, bias, h0, c0, peep, lens), there(gates, y, lastH, lastC, extra), list(x), func() {
		r.x, r.r, r.bias, r.h0, r.c0, r.peepholes, r.lens = floats(x), floats(w), floats(bias), floats(h0), floats(c0), floats(peep), floats(lens)
		r.y, r.last_h, r.last_c, r.gates, r.extra = floats(y), floats(lastH), floats(lastC), floats(gates), floats(extra)
		C.nm_recurrent(c.plan, &r)
	})
}

func (c *compiler) recurrentGrad() {
	t, cell := c.op.Recurrence(), c.op.Cell
	r := c.recurrence(t.Y)
	dy, dLastH, dLastC := c.optional(t.DY), c.optional(t.DLastH), c.optional(t.DLastC)
	w, h0, c0, peep, lens := c.plain(t.R), c.plain(t.H), c.optional(t.C), c.optional(t.Peepholes), c.optional(t.Lens)
	y, gates, extra := c.plain(t.Y), c.optional(t.Gates), c.optional(t.Extra)
	var behind *buffer
	if cell.Kind == engine.CellGRU {
		behind = c.scratch(y.n)
	}
	dx, dr, dh0, dc0 := c.newPlain(t.DX), c.newPlain(t.DR), c.newPlain(t.DH), c.newOptional(t.DC)
	dbias, dpeep := c.newOptional(t.DBias), c.newOptional(t.DPeepholes)
	c.add(there(dy, dLastH, dLastC, w, h0, c0, peep, lens, y, gates, extra), there(dx, dr, dh0, dc0, dbias, dpeep, behind), there(gates), func() {
		r.dy, r.d_last_h, r.d_last_c = floats(dy), floats(dLastH), floats(dLastC)
		r.r, r.h0, r.c0, r.peepholes, r.lens = floats(w), floats(h0), floats(c0), floats(peep), floats(lens)
		r.y, r.gates, r.extra, r.behind = floats(y), floats(gates), floats(extra), floats(behind)
		r.dx, r.dr, r.dh0, r.dc0, r.dbias, r.dpeepholes = floats(dx), floats(dr), floats(dh0), floats(dc0), floats(dbias), floats(dpeep)
		C.nm_recurrent_grad(c.plan, &r)
	})
}
