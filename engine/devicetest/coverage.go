package devicetest

import (
	"fmt"
	"testing"

	"netmend/engine"
)

// Coverage lists what the parity table runs: every "Kind", "Kind Fn" and "Update Rule" with the number of cases that contain it.
func Coverage(t *testing.T) map[string]int {
	have := make(map[string]int)
	for _, c := range table() {
		g := newGraph(c.name)
		c.build(g)
		g.finish(t, !c.noGrad)
		count(have, g.p)
	}
	for _, n := range nets() {
		count(have, n.p)
	}
	return have
}

func count(have map[string]int, p *engine.Program) {
	seen := make(map[string]bool)
	for _, f := range p.Funcs {
		for i := range f.Ops {
			op := &f.Ops[i]
			seen[op.Kind.String()] = true
			if op.Fn != engine.NoFn {
				seen[fmt.Sprintf("%s %s", op.Kind, op.Fn)] = true
			}
			if op.Rule != nil {
				seen[fmt.Sprintf("%s %s", op.Kind, op.Rule.Kind)] = true
			}
		}
	}
	for s := range seen {
		have[s]++
	}
}

// Wanted lists what Coverage has to contain.
func Wanted() []string {
	var want []string
	for _, k := range engine.Kinds() {
		want = append(want, k.String())
	}
	for _, f := range engine.Fns() {
		if f.Unary() {
			want = append(want, "Unary "+f.String())
			if f.Differentiable() {
				want = append(want, "UnaryGrad "+f.String())
			}
		}
		if f.Binary() {
			want = append(want, "Binary "+f.String())
		}
		if f.Reduces() {
			want = append(want, "Reduce "+f.String())
		}
	}
	for _, r := range engine.Rules() {
		want = append(want, "Update "+r.String())
	}
	return want
}
