package reference

import (
	"slices"

	"netmend/engine"
)

// slabs plans which temporaries share memory: a slab is one buffer that serves tensors whose lives do not overlap.
type slabs struct {
	size []int // elements of every slab
	free []int // slabs that hold nothing alive
}

// take finds a slab for n elements: the smallest free one that is large enough, else the largest free one, grown, else a new one.
func (s *slabs) take(n int) int {
	best := -1
	for i, slab := range s.free {
		if best < 0 {
			best = i
			continue
		}
		have, old := s.size[slab], s.size[s.free[best]]
		if have >= n && (old < n || have < old) || have < n && old < n && have > old {
			best = i
		}
	}
	if best < 0 {
		s.size = append(s.size, n)
		return len(s.size) - 1
	}
	slab := s.free[best]
	s.free = slices.Delete(s.free, best, best+1)
	s.size[slab] = max(s.size[slab], n)
	return slab
}

// reset frees everything: another function runs at another time.
func (s *slabs) reset() {
	s.free = s.free[:0]
	for i := range s.size {
		s.free = append(s.free, i)
	}
}

// plan gives every tensor its buffer. A Reshape of a temporary or of a constant is the same buffer under another shape; a Reshape of
// something that may change within the step is a copy. The error wraps engine.ErrMemory.
func (e *executable[T]) plan() error {
	if err := e.checkTensors(); err != nil {
		return err
	}
	p := e.p
	n := len(p.Tensors)
	e.floats, e.ints = make([][]T, n), make([][]int32, n)
	root := make([]engine.TensorID, n) // whose buffer a tensor uses
	slabOf := make([]int, n)
	for i := range p.Tensors {
		root[i], slabOf[i] = engine.TensorID(i), -1
	}
	var pool [2]slabs
	for _, f := range p.Funcs {
		pool[engine.Float].reset()
		pool[engine.Int].reset()
		last := lifetimes(p, f, root)
		for i := range f.Ops {
			op := &f.Ops[i]
			for _, id := range op.Out {
				if t := &p.Tensors[id]; t.Role == engine.Temp && root[id] == id {
					slabOf[id] = pool[t.Type].take(t.Len())
				}
			}
			for _, id := range slices.Concat(op.In, op.Out) {
				if id == engine.None || slabOf[root[id]] < 0 || last[root[id]] != i {
					continue
				}
				s := &pool[p.Tensors[id].Type]
				if slab := slabOf[root[id]]; !slices.Contains(s.free, slab) {
					s.free = append(s.free, slab)
				}
			}
		}
	}
	if err := e.checkPlan(root, slabOf, pool); err != nil {
		return err
	}
	e.allocate(root, slabOf, pool)
	return nil
}

// lifetimes points root of aliases at the tensor whose buffer they use, and returns the index of the last operation that uses each buffer.
func lifetimes(p *engine.Program, f *engine.Func, root []engine.TensorID) map[engine.TensorID]int {
	last := make(map[engine.TensorID]int)
	for i := range f.Ops {
		op := &f.Ops[i]
		if op.Kind == engine.Reshape {
			if r := root[op.In[0]]; p.Tensors[r].Role == engine.Temp || p.Tensors[r].Role == engine.Constant {
				root[op.Out[0]] = r
			}
		}
		for _, id := range slices.Concat(op.In, op.Out) {
			if id != engine.None {
				last[root[id]] = i
			}
		}
	}
	for _, id := range f.Outputs {
		last[root[id]] = len(f.Ops) // read by the host after the step
	}
	return last
}

func (e *executable[T]) allocate(root []engine.TensorID, slabOf []int, pool [2]slabs) {
	floats, ints := make([][]T, len(pool[engine.Float].size)), make([][]int32, len(pool[engine.Int].size))
	for i, n := range pool[engine.Float].size {
		floats[i] = make([]T, n)
	}
	for i, n := range pool[engine.Int].size {
		ints[i] = make([]int32, n)
	}
	for i := range e.p.Tensors {
		t := &e.p.Tensors[i]
		n := t.Len()
		switch {
		case root[i] != engine.TensorID(i):
		case slabOf[i] >= 0 && t.Type == engine.Int:
			e.ints[i] = ints[slabOf[i]][:n]
		case slabOf[i] >= 0:
			e.floats[i] = floats[slabOf[i]][:n]
		case t.Role == engine.Temp: // written by no function
		case t.Type == engine.Int:
			e.ints[i] = make([]int32, n)
			for j, v := range t.Value {
				e.ints[i][j] = int32(v)
			}
		default:
			e.floats[i] = make([]T, n)
			for j, v := range t.Value {
				e.floats[i][j] = T(v)
			}
		}
	}
	for i, r := range root {
		e.floats[i], e.ints[i] = e.floats[r], e.ints[r]
	}
}
