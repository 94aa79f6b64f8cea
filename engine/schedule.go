package engine

import "fmt"

// Steps checks a schedule against the program and returns its number of steps. Every device refuses the same schedules with the same words.
func (p *Program) Steps(s *Schedule) (int, error) {
	if s.Func < 0 || s.Func >= len(p.Funcs) {
		return 0, fmt.Errorf("engine: run: the program has %d functions, no number %d", len(p.Funcs), s.Func)
	}
	f, n := p.Funcs[s.Func], s.Steps
	fail := func(format string, args ...any) (int, error) {
		return 0, fmt.Errorf("engine: run %q: %w", f.Name, fmt.Errorf(format, args...))
	}
	switch {
	case n < 0:
		return fail("%d steps", n)
	case f.Batch == 0 && len(s.Rows) > 0:
		return fail("%d rows for a function that takes none", len(s.Rows))
	case f.Batch > 0 && len(s.Rows)%f.Batch != 0:
		return fail("%d rows are no multiple of the batch of %d", len(s.Rows), f.Batch)
	case f.Batch > 0 && n != 0 && n != len(s.Rows)/f.Batch:
		return fail("%d rows are %d steps, not %d", len(s.Rows), len(s.Rows)/f.Batch, n)
	case f.Batch > 0:
		n = len(s.Rows) / f.Batch
	}
	for i, r := range s.Rows {
		if r < 0 || int(r) >= p.Rows {
			return fail("row %d (entry %d) of a data set of %d rows", r, i, p.Rows)
		}
	}
	for id := range s.Feeds {
		if id < 0 || int(id) >= len(p.Tensors) || p.Tensors[id].Role != Feed {
			return fail("tensor %d is no feed", id)
		}
	}
	for _, id := range p.Feeds(f) {
		t := &p.Tensors[id]
		if have := len(s.Feeds[id]); have != n*t.Len() {
			return fail("feed %q: %d values for %d steps of shape %v, wants %d", t.Name, have, n, t.Shape, n*t.Len())
		}
	}
	return n, nil
}

// Feeds lists the Feed tensors that a function reads or gives out, in the order in which it first does.
func (p *Program) Feeds(f *Func) []TensorID {
	var feeds []TensorID
	seen := make(map[TensorID]bool)
	add := func(ids []TensorID) {
		for _, id := range ids {
			if id != None && p.Tensors[id].Role == Feed && !seen[id] {
				seen[id] = true
				feeds = append(feeds, id)
			}
		}
	}
	for i := range f.Ops {
		add(f.Ops[i].In)
	}
	add(f.Outputs)
	return feeds
}
