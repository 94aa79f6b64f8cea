//go:build linux && cgo

package cuda

import (
	"slices"

	"netmend/cuda/driver"
	"netmend/engine"
)

type ruleParams struct {
	p, g, coefs                                       driver.Pointer
	slot                                              [3]driver.Pointer
	n, kind, momentum, max, centered                  int32
	b1, oneMinusB1, b2, oneMinusB2, epsIn, epsOut, l2 float32
	exactB2                                           float64
}

// change is one tensor of state that a launch of update changes.
type change struct {
	rule     ruleParams
	p, g, cs *buffer
	slots    []*buffer
}

// updates are what writes state: optimizer steps and running statistics, which wait for each other so that one launch makes all of them. They wait until an
// operation comes that reads or writes what they write, or writes what they read.
type updates struct {
	list          []change
	reads, writes []*buffer
}

// touches says that an op must not be run before the pending updates.
func (u *updates) touches(c *compiler, op *engine.Op) bool {
	if len(u.list) == 0 {
		return false
	}
	for _, id := range op.In {
		if id != engine.None && slices.Contains(u.writes, c.in(id)) {
			return true
		}
	}
	for _, id := range op.Out {
		if b := c.permanent[id]; b != nil && (slices.Contains(u.writes, b) || slices.Contains(u.reads, b)) {
			return true
		}
	}
	return false
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func (c *compiler) update() {
	op, r := c.op, c.op.Rule
	n := change{p: c.in(op.In[0]), g: c.in(op.In[1]), cs: c.in(op.In[2])}
	for _, id := range op.In[3:] {
		n.slots = append(n.slots, c.in(id))
	}
	n.rule = ruleParams{kind: ruleCode[r.Kind], momentum: flag(r.Momentum), max: flag(r.Max), centered: flag(r.Centered), b1: float32(r.B1),
		oneMinusB1: float32(1 - r.B1), b2: float32(r.B2), oneMinusB2: float32(1 - r.B2), epsIn: float32(r.EpsIn), epsOut: float32(r.EpsOut),
		l2: float32(r.L2), exactB2: r.B2}
	c.wait(n)
}

func (c *compiler) lerp() {
	op := c.op
	c.wait(change{p: c.in(op.In[0]), g: c.in(op.In[1]), rule: ruleParams{kind: ruleLerp, b1: float32(op.Alpha), b2: float32(op.Beta)}})
}

func (c *compiler) wait(n change) {
	n.rule.n = int32(n.p.n)
	u := &c.pending
	u.list = append(u.list, n)
	u.writes = append(append(u.writes, n.p), n.slots...)
	u.reads = append(u.reads, there(n.g, n.cs)...)
}

// updateSpan is the number of elements that a block of update changes.
const updateSpan = 1024

// flush appends the launch of all pending updates.
func (c *compiler) flush() {
	u := c.pending
	c.pending = updates{}
	if len(u.list) == 0 {
		return
	}
	var blocks [][2]int32
	for i, n := range u.list {
		for at := 0; at < n.p.n; at += updateSpan {
			blocks = append(blocks, [2]int32{int32(i), int32(at)})
		}
	}
	rules := tableOf(c, len(u.list), func() []ruleParams {
		list := make([]ruleParams, len(u.list))
		for i, n := range u.list {
			list[i] = n.rule
			list[i].p, list[i].g, list[i].coefs = n.p.at, n.g.at, addr(n.cs)
			for k, s := range n.slots {
				list[i].slot[k] = s.at
			}
		}
		return list
	})
	where := tableOf(c, len(blocks), func() [][2]int32 { return blocks })
	if len(blocks) == 0 {
		return
	}
	c.add(&step{kernel: "update", grid: line(len(blocks)), block: line(threads), reads: slices.Concat(u.reads, u.writes), writes: u.writes,
		params: func() []any { return []any{rules.at, where.at} }})
	c.steps[len(c.steps)-1].what = "the optimizer's step"
}
