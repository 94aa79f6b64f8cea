//go:build linux && cgo

package cuda

import (
	"slices"

	"netmend/cuda/driver"
	"netmend/engine"
)

// A chain is a launch of elementwise instructions, each of which may take the result of the one before it: kernels/elementwise.cu. The compiler
// appends an operation to the chain that has made one of its inputs wherever that changes nothing but the number of launches.
type chain struct {
	shape []int // of the result, without axes of one element; of one axis while no operand has strides
	in    []operand
	code  []instruction
}

// reading is how an operand is read.
type reading int32

const (
	readEven    reading = iota // its elements in the order of the result's
	readOne                    // one element for all
	readStrided                // as strides say
)

type operand struct {
	b       *buffer
	reading reading
	start   int
	stride  []int // along the axes of shape
}

func (o *operand) equal(p *operand) bool {
	return o.b == p.b && o.reading == p.reading && o.start == p.start && slices.Equal(o.stride, p.stride)
}

const previous = -1 // the operand that is the result of the instruction before

type instruction struct {
	f           code
	from        [3]int // operands by index in chain.in, or previous
	alpha, beta float32
	stream      uint32
	result      *buffer
	stays       bool // something else than the next instruction may read the result
	store       int  // where it is stored, or -1
}

// The limits are NM_CHAIN, NM_OPERANDS and NM_RESULTS.
const maxChain, maxOperands, maxResults = 8, 8, 4

type operandParams struct {
	at      driver.Pointer
	reading reading
	strides strideParams
}

type instructionParams struct {
	f       code
	from    [3]int32
	result  int32
	stream  uint32
	a, beta float32
}

type chainParams struct {
	walk          walk
	count, vector int32
	code          [maxChain]instructionParams
	in            [maxOperands]operandParams
	out           [maxResults]driver.Pointer
	position      driver.Pointer
}

// squeeze leaves axes of one element out of a shape and of strides along it.
func squeeze(shape, stride []int) (s, t []int) {
	for i, d := range shape {
		if d != 1 {
			s = append(s, d)
			if stride != nil {
				t = append(t, stride[i])
			}
		}
	}
	return s, t
}

// broadcasted is a tensor as an operand of a result of that shape.
func (c *compiler) broadcasted(id engine.TensorID, shape []int) operand {
	b := c.in(id)
	switch n := c.p.Tensors[id].Len(); {
	case n == engine.Len(shape):
		return operand{b: b}
	case n == 1:
		return operand{b: b, reading: readOne}
	}
	_, stride := squeeze(shape, engine.BroadcastStrides(c.shape(id), shape))
	return operand{b: b, reading: readStrided, stride: stride}
}

// elementwise appends an instruction whose result is the op's output.
func (c *compiler) elementwise(i instruction, in ...operand) {
	c.instruct(i, c.out(c.op.Out[0]), c.shape(c.op.Out[0]), in...)
}

// instruct appends an instruction with a result of that shape: to the launch that has made one of its operands, or as a new one.
func (c *compiler) instruct(i instruction, y *buffer, shape []int, in ...operand) {
	i.result, i.store = y, -1
	shape, _ = squeeze(shape, nil)
	for k := range in {
		c.see(&in[k], shape)
	}
	if c.intoEpilogue(&i, in) {
		return
	}
	for k := range in {
		if s := c.maker[in[k].b]; s != nil && s.chain != nil && in[k].reading == readEven && c.join(s, shape, i, in, in[k].b) {
			return
		}
	}
	n := &chain{}
	i.stays = true
	i.from = n.operands(shape, in, nil)
	n.code = append(n.code, i)
	s := c.add(&step{kernel: "chain", block: line(threads), chain: n})
	c.maker[y] = s
}

// see reads through a chain that computes next to nothing, so that it need not be stored: a copy is another way of reading what it was copied from, and
// one-hot rows are made anew wherever they are read.
func (c *compiler) see(o *operand, shape []int) {
	s := c.maker[o.b]
	if s == nil || s.chain == nil || len(s.chain.code) != 1 || o.reading != readEven || slices.Index(c.steps, s) < c.barrier {
		return
	}
	n := s.chain
	if n.strided() && !slices.Equal(n.shape, shape) {
		return
	}
	switch n.code[0].f {
	case codeCopy:
		*o = n.in[0]
	case codeOneHot:
		if c.reads(o.b) < 2 {
			return
		}
		again := &chain{shape: n.shape, in: slices.Clone(n.in), code: slices.Clone(n.code)}
		again.code[0].result, again.code[0].stays = c.scratch(o.b.n), false
		o.b = again.code[0].result
		c.maker[o.b] = c.add(&step{kernel: "chain", block: line(threads), chain: again})
	}
}

// operands adds those that are not the result of the chain and returns their indices.
func (n *chain) operands(shape []int, in []operand, result *buffer) (from [3]int) {
	for k := range in {
		if in[k].b == result && in[k].reading == readEven {
			from[k] = previous
			continue
		}
		at := slices.IndexFunc(n.in, func(o operand) bool { return o.equal(&in[k]) })
		if at < 0 {
			at = len(n.in)
			n.in = append(n.in, in[k])
		}
		from[k] = at
		if in[k].reading == readStrided {
			n.shape = shape
		}
	}
	return from
}

func (n *chain) strided() bool { return n.shape != nil }

// join appends an instruction to a chain whose last result it reads, if its other operands are there in time.
func (c *compiler) join(s *step, shape []int, i instruction, in []operand, result *buffer) bool {
	n := s.chain
	last := &n.code[len(n.code)-1]
	if last.result != result || len(n.code) == maxChain || len(n.in)+len(in)-1 > maxOperands {
		return false
	}
	reads := 0
	for k := range in {
		if in[k].b == result {
			if in[k].reading != readEven {
				return false
			}
			reads++
		} else if c.maker[in[k].b] == s {
			return false
		}
		if in[k].reading == readStrided && n.strided() && !slices.Equal(n.shape, shape) {
			return false
		}
	}
	stored := 1
	for k := range n.code[:len(n.code)-1] {
		if n.code[k].stays {
			stored++
		}
	}
	if stays := c.reads(result) > reads; stays && stored == maxResults {
		return false
	} else if last.stays = stays; !c.inTime(s, in) {
		last.stays = true
		return false
	}
	i.from, i.stays = n.operands(shape, in, result), true
	n.code = append(n.code, i)
	c.maker[i.result] = s
	return true
}

// swallow takes the launch of a chain out of the list, if nothing but the step that is being made reads its result, for that step to run instead.
func (c *compiler) swallow(x *buffer) *chain {
	s := c.maker[x]
	if s == nil || s.chain == nil || c.reads(x) > 1 {
		return nil
	}
	n, at := s.chain, slices.Index(c.steps, s)
	if at < c.barrier || n.code[len(n.code)-1].result != x {
		return nil
	}
	for k := range n.code[:len(n.code)-1] {
		if n.code[k].stays {
			return nil
		}
	}
	c.steps = slices.Delete(c.steps, at, at+1)
	return n
}

// reads is how often a buffer is read in all: by its tensor's readers.
func (c *compiler) reads(b *buffer) int {
	n := 0
	for id, v := range c.values {
		if v == b {
			n = max(n, c.uses[id])
		}
	}
	return n
}

// inTime says that operands are there when a step runs, and moves the step to the end of the list if that makes it so.
func (c *compiler) inTime(s *step, in []operand) bool {
	at := slices.Index(c.steps, s)
	if at < c.barrier { // state may have changed in between
		return false
	}
	there := true
	for k := range in {
		if m := c.maker[in[k].b]; m != nil && m != s && slices.Index(c.steps, m) > at {
			there = false
		}
	}
	if there {
		return true
	}
	for _, later := range c.steps[at+1:] {
		reads := later.reads
		if later.chain != nil {
			for k := range later.chain.in {
				reads = append(slices.Clip(reads), later.chain.in[k].b)
			}
		}
		if slices.ContainsFunc(reads, func(b *buffer) bool { return c.maker[b] == s }) {
			return false
		}
	}
	c.steps = append(slices.Delete(c.steps, at, at+1), s)
	return true
}

// finishChains decides what of the chains' results is stored, and makes their parameters.
func (c *compiler) finishChains() {
	read := make(map[*buffer]bool)
	for _, id := range c.f.Outputs {
		read[c.in(id)] = true
	}
	for _, s := range slices.Backward(c.steps) { // what only a chain reads that is left out is not read
		for _, b := range s.reads {
			read[b] = true
		}
		if s.chain == nil {
			continue
		}
		if s.dead = !slices.ContainsFunc(s.chain.code, func(i instruction) bool { return read[i.result] || !i.result.Temporary }); !s.dead {
			for k := range s.chain.in {
				read[s.chain.in[k].b] = true
			}
		}
	}
	c.steps = slices.DeleteFunc(c.steps, func(s *step) bool { return s.dead })
	for _, s := range c.steps {
		if s.chain != nil {
			c.finishChain(s, read)
		}
	}
}

func (c *compiler) finishChain(s *step, read map[*buffer]bool) {
	n := s.chain
	last := 0
	for k := range n.code {
		i := &n.code[k]
		if read[i.result] || !i.result.Temporary {
			i.store = len(s.writes)
			s.writes = append(s.writes, i.result)
			last = k
		}
	}
	n.code = n.code[:last+1]
	s.takes = n.code[last].result
	even := make(map[*buffer]bool)
	for k := range n.in {
		o := &n.in[k]
		was, seen := even[o.b]
		even[o.b] = o.reading == readEven && (was || !seen)
		s.reads = append(s.reads, o.b)
	}
	for _, b := range s.reads {
		if even[b] {
			s.inPlace = append(s.inPlace, b)
		}
	}
	m, vector := n.merged(s.takes.n)
	per := 1
	if vector {
		per = 4
	}
	s.grid = c.blocks(ceilDiv(s.takes.n, per))
	position := c.position
	s.params = func() []any { return []any{n.params(&m, vector, addr(position))} }
}

// merged is the walk over a result of so many words, and whether four of them may be computed at once.
func (n *chain) merged(words int) (m merged, vector bool) {
	if !n.strided() {
		return merge([]int{words}), true
	}
	var stride [][]int
	for k := range n.in {
		if n.in[k].reading == readStrided {
			stride = append(stride, n.in[k].stride)
		}
	}
	m = merge(n.shape, stride...)
	return m, m.shape[0]%4 == 0
}

func (n *chain) params(m *merged, vector bool, position driver.Pointer) chainParams {
	p := chainParams{walk: m.walk(), count: int32(len(n.code)), position: position}
	if vector {
		p.vector = 1
	}
	strided := 0
	for k := range n.in {
		o := &n.in[k]
		p.in[k] = operandParams{at: o.b.at, reading: o.reading, strides: strideParams{start: int32(o.start)}}
		if o.reading == readStrided {
			p.in[k].strides = m.operand(strided, o.start)
			strided++
		}
	}
	for k, i := range n.code {
		p.code[k] = instructionParams{f: i.f, result: int32(i.store), stream: i.stream, a: i.alpha, beta: i.beta}
		for j, from := range i.from {
			p.code[k].from[j] = int32(from)
		}
		if i.store >= 0 {
			p.out[i.store] = i.result.at
		}
	}
	return p
}
