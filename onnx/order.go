package onnx

import "strings"

// ordering says which inputs were already reported as out of order.
type ordering struct {
	reported map[string]*Node // value -> the node that defines it too late
}

// order reports nodes that come before a node they need: as a cycle where sorting cannot help, as unsorted
// otherwise.
func (c *checker) order(g *Graph, s scope, known *names) ordering {
	o := ordering{reported: map[string]*Node{}}
	at := map[string]int{}
	for i, n := range g.Nodes {
		for _, out := range n.Outputs {
			if _, dup := at[out]; out != "" && !dup {
				at[out] = i
			}
		}
	}
	for i, n := range g.Nodes {
		for _, in := range n.uses() {
			if k, ok := at[in]; ok && k >= i && !known.has(in) {
				o.reported[in] = g.Nodes[k]
			}
		}
	}
	if len(o.reported) == 0 {
		return o
	}
	if _, cycle := sortNodes(g.Nodes); cycle != nil {
		var labels []string
		for i, n := range cycle {
			if i == 5 {
				labels = append(labels, "…")
				break
			}
			labels = append(labels, n.Label())
		}
		c.add("%snode %q: its output reaches its own input, a cycle through %s", s.in, cycle[0].Label(), strings.Join(labels, ", "))
		return o
	}
	for i, n := range g.Nodes {
		for _, in := range n.uses() {
			if c.full() {
				return o
			}
			if by := o.reported[in]; by != nil && at[in] > i {
				c.add("%snode %q: input %q is defined only later, by node %q; nodes must be in topological order", s.in, n.Label(), in, by.Label())
			}
		}
	}
	return o
}

// uses returns the values that the node needs: its inputs, and what its subgraphs take from outside.
func (n *Node) uses() []string {
	uses := n.Inputs
	for i, g := range n.Subgraphs() {
		if i == 0 {
			uses = append([]string(nil), uses...)
		}
		uses = append(uses, g.captures()...)
	}
	return uses
}

// captures returns the values that the graph takes from enclosing graphs.
func (g *Graph) captures() []string {
	own := map[string]bool{"": true}
	for _, v := range g.Inputs {
		own[v.Name] = true
	}
	for _, t := range g.Initializers {
		own[t.Name] = true
	}
	for _, t := range g.SparseInitializers {
		own[t.Name()] = true
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			own[o] = true
		}
	}
	var free []string
	take := func(name string) {
		if !own[name] {
			own[name] = true
			free = append(free, name)
		}
	}
	for _, n := range g.Nodes {
		for _, in := range n.uses() {
			take(in)
		}
	}
	for _, v := range g.Outputs {
		take(v.Name)
	}
	return free
}

// sortNodes returns the nodes in topological order, keeping the given order where it may be kept, or the nodes of
// a cycle.
func sortNodes(nodes []*Node) (sorted, cycle []*Node) {
	at := map[string]int{}
	for i, n := range nodes {
		for _, out := range n.Outputs {
			if _, dup := at[out]; out != "" && !dup {
				at[out] = i
			}
		}
	}
	type frame struct {
		node int
		uses []string
	}
	state := make([]int, len(nodes)) // 1: on the way, 2: done
	for start := range nodes {
		if state[start] != 0 {
			continue
		}
		state[start] = 1
		stack := []frame{{start, nodes[start].uses()}}
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if len(f.uses) == 0 {
				state[f.node] = 2
				sorted = append(sorted, nodes[f.node])
				stack = stack[:len(stack)-1]
				continue
			}
			k, ok := at[f.uses[0]]
			f.uses = f.uses[1:]
			if !ok || state[k] == 2 {
				continue
			}
			if state[k] == 1 {
				for i := len(stack) - 1; i >= 0; i-- {
					cycle = append(cycle, nodes[stack[i].node])
					if stack[i].node == k {
						break
					}
				}
				return nil, cycle
			}
			state[k] = 1
			stack = append(stack, frame{k, nodes[k].uses()})
		}
	}
	return sorted, nil
}

// SortNodes puts the nodes in topological order, keeping their order where it may be kept. A cycle is an error.
func (g *Graph) SortNodes() error {
	sorted, cycle := sortNodes(g.Nodes)
	if cycle != nil {
		return errNode(cycle[0], "its output reaches its own input, a cycle of %d nodes", len(cycle))
	}
	g.Nodes = sorted
	return nil
}
