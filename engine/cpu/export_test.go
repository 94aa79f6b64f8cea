//go:build cgo && amd64

package cpu

import (
	"slices"

	"netmend/engine"
)

var Use = use

// Apart is the device with every operation a pass of its own.
func Apart(dev engine.Device) engine.Device {
	d := *dev.(*device)
	d.apart = true
	return &d
}

// Layout says how many steps the functions of a program become, together, and how many bytes of temporaries live at once at most. What an arena
// takes may be more, by gaps.
func Layout(dev engine.Device, p *engine.Program) (passes, bytes int) {
	c := &compiler{dev: dev.(*device), p: p, permanent: make([]*buffer, len(p.Tensors)), lastData: make([]bool, len(p.Tensors))}
	for i := range p.Tensors {
		if t := &p.Tensors[i]; t.Role != engine.Temp {
			c.permanent[i] = &buffer{n: t.Len()}
		}
	}
	for _, f := range p.Funcs {
		c.findLastData(f)
	}
	for _, f := range p.Funcs {
		c.lower(f)
		passes += len(c.steps)
		place(c.steps)
		bytes = max(bytes, mostLive(c.steps))
	}
	return passes, bytes
}

// mostLive is the most bytes that are taken at a step. An input whose place the output takes counts once.
func mostLive(steps []step) int {
	all, most := make(map[*buffer]bool), 0
	for i := range steps {
		for _, b := range slices.Concat(steps[i].reads, steps[i].writes) {
			all[b] = all[b] || b.Temporary
		}
	}
	for i := range steps {
		at, live := make(map[int]int), 0
		for b, temporary := range all {
			if temporary && b.First <= i && i <= b.Last {
				at[b.Offset] = bytesOf(b)
			}
		}
		for _, n := range at {
			live += n
		}
		most = max(most, live)
	}
	return most
}
