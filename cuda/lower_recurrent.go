//go:build linux && cgo

package cuda

import (
	"fmt"
	"slices"

	"netmend/cuda/driver"
	"netmend/engine"
)

type recurrenceParams struct {
	kind, gates, reverse, linear                int32
	steps, batch, hidden                        int32
	x, r, turned, bias, h0, c0, peepholes, lens driver.Pointer
	y, lastH, lastC, kept, extra                driver.Pointer
	dy, dLastH, dLastC                          driver.Pointer
	dx, dh0, dc0                                driver.Pointer
	before, behind                              driver.Pointer
}

// recurrence is what the two passes over a recurrent layer have in common; y is its output.
func (c *compiler) recurrence(y engine.TensorID) recurrenceParams {
	cell, s := c.op.Cell, c.shape(y)
	return recurrenceParams{kind: cellCode[cell.Kind], gates: int32(cell.Kind.Gates()), reverse: flag(cell.Reverse), linear: flag(cell.ResetLinearly),
		steps: int32(s[0]), batch: int32(s[1]), hidden: int32(s[2])}
}

// sequencesPerBlock is how many sequences share a block: four where there are enough of them to fill the device so.
func (c *compiler) sequencesPerBlock(batch int) int {
	if batch >= 4*c.dev.info.Multiprocessors {
		return 4
	}
	return 1
}

// sharedOfRecurrence is the shared memory of a block of so many sequences, in bytes.
func sharedOfRecurrence(sequences, hidden, gates int) int {
	return 4 * sequences * hidden * (3 + gates)
}

// sequences appends the launch that runs through all steps.
func (c *compiler) sequences(kernel string, p *recurrenceParams, reads, writes []*buffer, set func()) {
	if p.batch == 0 {
		return
	}
	each := c.sequencesPerBlock(int(p.batch))
	shared := sharedOfRecurrence(each, int(p.hidden), int(p.gates))
	if shared > c.dev.info.SharedPerBlockOptin {
		each, shared = 1, sharedOfRecurrence(1, int(p.hidden), int(p.gates))
	}
	block := min(512, roundTo(int(p.hidden*p.gates), 32))
	c.add(&step{kernel: fmt.Sprintf("%s_%d", kernel, each), grid: line(ceilDiv(int(p.batch), each)), block: line(block), shared: shared, reads: reads,
		writes: writes, params: func() []any {
			set()
			return []any{*p}
		}})
}

func (c *compiler) recurrent() {
	t := c.op.Recurrence()
	p := c.recurrence(t.Y)
	x, r, bias, h0, c0 := c.in(t.X), c.in(t.R), c.in(t.Bias), c.in(t.H), c.in(t.C)
	peep, lens := c.in(t.Peepholes), c.in(t.Lens)
	// What is kept for the gradient is not where nothing reads it.
	kept := func(id engine.TensorID) *buffer {
		if id == engine.None || c.uses[id] == 0 {
			return nil
		}
		return c.out(id)
	}
	gates, extra := kept(t.Gates), kept(t.Extra)
	y, lastH, lastC := c.out(t.Y), c.out(t.LastH), c.out(t.LastC)
	turned := c.scratch(r.n)
	c.turn(r, turned, int(p.gates*p.hidden), int(p.hidden), 1)
	c.sequences("recurrent", &p, there(x, turned, bias, h0, c0, peep, lens), there(y, lastH, lastC, gates, extra), func() {
		p.x, p.turned, p.bias, p.h0, p.c0, p.peepholes, p.lens = x.at, turned.at, addr(bias), h0.at, addr(c0), addr(peep), addr(lens)
		p.y, p.lastH, p.lastC, p.kept, p.extra = y.at, lastH.at, addr(lastC), addr(gates), addr(extra)
	})
}

func (c *compiler) recurrentGrad() {
	t, cell := c.op.Recurrence(), c.op.Cell
	p := c.recurrence(t.Y)
	dy, dLastH, dLastC := c.in(t.DY), c.in(t.DLastH), c.in(t.DLastC)
	r, h0, c0, peep, lens := c.in(t.R), c.in(t.H), c.in(t.C), c.in(t.Peepholes), c.in(t.Lens)
	y, gates, extra := c.in(t.Y), c.in(t.Gates), c.in(t.Extra)
	before := c.scratch(y.n)
	var behind *buffer
	if cell.Kind == engine.CellGRU {
		behind = c.scratch(y.n)
	}
	dx, dr, dh0, dc0 := c.out(t.DX), c.out(t.DR), c.out(t.DH), c.out(t.DC)
	dbias, dpeep := c.out(t.DBias), c.out(t.DPeepholes)
	set := func() {
		p.dy, p.dLastH, p.dLastC = addr(dy), addr(dLastH), addr(dLastC)
		p.r, p.h0, p.c0, p.peepholes, p.lens = r.at, h0.at, addr(c0), addr(peep), addr(lens)
		p.y, p.kept, p.extra, p.before, p.behind = y.at, addr(gates), addr(extra), before.at, addr(behind)
		p.dx, p.dh0, p.dc0 = dx.at, dh0.at, addr(dc0)
	}
	reads := there(dy, dLastH, dLastC, r, h0, c0, peep, lens, y, gates, extra)
	c.sequences("recurrent_grad", &p, slices.Clone(reads), there(dx, dh0, dc0, before, behind), set)
	// dR is a product of what went into the gates with what R was multiplied by, over all steps and sequences.
	hidden, width, terms := int(p.hidden), int(p.gates*p.hidden), int(p.steps*p.batch)
	d := func(b *buffer, start, stride int) matrix {
		return matrix{b: b, start: start, stride: stride, turned: true}
	}
	rows := width
	if cell.Kind == engine.CellGRU {
		rows = 2 * hidden
		if cell.ResetLinearly {
			c.multiply(d(behind, 0, hidden), matrix{b: before, stride: hidden}, nil, dr, rows*hidden, hidden, hidden, terms, hidden)
		} else {
			c.multiply(d(dx, rows, width), matrix{b: behind, stride: hidden}, nil, dr, rows*hidden, hidden, hidden, terms, hidden)
		}
	}
	c.multiply(d(dx, 0, width), matrix{b: before, stride: hidden}, nil, dr, 0, rows, hidden, terms, hidden)
	if dbias != nil {
		c.sumRows(behind, dbias, terms, hidden)
	}
	if dpeep != nil {
		c.add(&step{kernel: "recurrent_peepholes", grid: line(3 * hidden), block: line(threads), reads: append(reads, dx), writes: list(dpeep),
			params: func() []any {
				set()
				return []any{p, dpeep.at}
			}})
	}
}
