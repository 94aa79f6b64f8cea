//go:build linux && cgo

package cuda

import (
	"fmt"
	"slices"

	"netmend/cuda/driver"
	"netmend/engine"
)

// product is a launch of a kernel that ends as kernels/epilogue.cuh says: an elementwise operation on its result can happen before the result is stored.
type product struct {
	result      *buffer
	bias        *buffer
	r           *buffer
	f           code // codeCopy: none
	alpha, beta float32
	sums        *sums // of a matrix product
}

// sums are the sums of the columns of a product's second factor, which the product may make by the way: they are a row of ones times it.
type sums struct {
	of                   *buffer
	rows, columns, extra int     // extra blocks of tiles that it takes
	result               *buffer // nil: nobody asked
	tiles                divisor // with the extra blocks
	grid                 driver.Dim
}

type epilogueParams struct {
	bias, r     driver.Pointer
	f           code
	alpha, beta float32
}

func (p *product) epilogue() epilogueParams {
	return epilogueParams{addr(p.bias), addr(p.r), p.f, p.alpha, p.beta}
}

type splitParams struct {
	partial, counters driver.Pointer
	terms             int32
}

// intoEpilogue makes a unary function, or the gradient of one, the end of the launch that computed its operand, if nothing else reads that.
func (c *compiler) intoEpilogue(i *instruction, in []operand) bool {
	s := c.maker[in[0].b]
	if s == nil || s.product == nil || s.product.f != codeCopy || s.product.result != in[0].b || in[0].reading != readEven || c.reads(in[0].b) > 1 {
		return false
	}
	p, at := s.product, slices.Index(c.steps, s)
	if at < 0 {
		return false
	}
	switch {
	case i.f > codeFill && i.f < codeCastInt:
	case i.f >= codeSlope && in[1].reading == readEven && in[1].b != p.result:
		if m := c.maker[in[1].b]; m != nil && slices.Index(c.steps, m) > at || at < c.barrier {
			return false
		}
		p.r = in[1].b
		s.reads = append(s.reads, p.r)
	default:
		return false
	}
	p.f, p.alpha, p.beta, p.result = i.f, i.alpha, i.beta, i.result
	s.writes[0] = i.result
	c.maker[i.result] = s
	return true
}

// tiling is how a product is cut: square tiles of so many rows, and the terms of a sum over so many blocks.
type tiling struct {
	tile, splits, terms int
	name                string // of the kernels' variant
}

type tileKind struct {
	size, k int
	share   float64
}

// tiles lists the kernels' tiles: their size, the terms that they take at once, and the share of the peak rate that they reach on a full device, which is
// an estimate from loads per multiplication.
var tiles = []tileKind{{128, 8, 0.75}, {64, 16, 0.5}, {32, 32, 0.25}}

// tensorTiles, of which convolutions have the second, are those of the products on tensor cores; their share is of several times the rate, of float32.
var tensorTiles = []tileKind{{128, 16, 4}, {64, 32, 2}}

// onTensorCores lists the tiles of the kernels that round the factors of a product of that size; none where it stays in float32: a small product, which
// rounding would cost more than it saves, all of a recurrent layer, and that of two transposed matrices, which training does not need.
func (c *compiler) onTensorCores(m, n, k int) []tileKind {
	switch {
	case c.dev.precision == "" || m*n*k <= leastRounded || c.op.Kind == engine.RecurrentGrad || c.op.TransA && c.op.TransB:
		return nil
	case c.op.Kind == engine.MatMul:
		return tensorTiles
	}
	return tensorTiles[1:]
}

// leastRounded is the number of multiply-adds up to which a product stays in float32, as on the CPU.
const leastRounded = 1 << 14

// cut chooses the tiling of so many products (m × k)·(k × n). The measure is the time of the busiest multiprocessor in multiply-adds; a split costs what its
// sums cost to write and read again.
func (c *compiler) cut(m, n, k, products int) tiling {
	const (
		perWord = 40.0 // multiply-adds of one multiprocessor in the time that a word takes through the second-level cache
		fixed   = 50e3 // and in the time of a launch
		lonely  = 1.8  // how much longer a block takes per term where no other hides its waiting
		least   = 128  // terms of a split
		most    = 1 << 6
	)
	sms := c.dev.info.Multiprocessors
	best, cost := tiling{}, 0.0
	tiles, suffix := tiles, ""
	if t := c.onTensorCores(m, n, k); t != nil {
		tiles, suffix = t, "_"+c.dev.precision
	}
	for _, t := range tiles {
		blocks := ceilDiv(m, t.size) * ceilDiv(n, t.size) * products
		for splits := 1; splits <= most; splits *= 2 {
			terms := roundTo(ceilDiv(k, splits), 32)
			if splits > 1 && (terms < least || blocks > maxCounters || (splits-1)*terms >= k) {
				break
			}
			perSM := ceilDiv(blocks*splits, sms)
			busy := float64(perSM) * float64(t.size*t.size) * float64(max(min(k, terms), t.k)) / t.share
			if perSM == 1 {
				busy *= lonely
			}
			if splits > 1 {
				busy += perWord * float64(t.size*t.size) * float64(splits) * 2 * float64(ceilDiv(blocks, sms))
			}
			if busy += fixed; best.tile == 0 || busy < cost {
				best, cost = tiling{t.size, splits, terms, fmt.Sprint(t.size, suffix)}, busy
			}
		}
	}
	return best
}

func roundTo(n, multiple int) int { return ceilDiv(n, multiple) * multiple }

// tiled is what a launch of tiles has in common: the grid, and scratch for the sums of splits.
type tiled struct {
	tiling
	grid          driver.Dim
	tilesN, tiles divisor
	partial       *buffer
}

func (c *compiler) tiled(m, n, k, products int) tiled {
	t := tiled{tiling: c.cut(m, n, k, products)}
	rows, columns := ceilDiv(m, t.tile), ceilDiv(n, t.tile)
	t.grid = driver.Dim{X: rows * columns * products, Y: t.splits}
	t.tilesN, t.tiles = divideBy(columns), divideBy(rows*columns)
	if t.splits > 1 {
		t.partial = c.scratch(t.grid.X * t.splits * t.tile * t.tile)
	}
	return t
}

func (t *tiled) params(c *compiler) splitParams {
	return splitParams{addr(t.partial), addr(c.counters), int32(t.terms)}
}

type productParams struct {
	a, b, c, sums driver.Pointer
	offsets       driver.Pointer
	m, n, k       int32
	stack         int32
	lda, ldb, ldc int32
	even          int32
	tilesN, tiles divisor
	epilogue      epilogueParams
	splits        splitParams
}

// matrix is one operand of a product: rows apart by stride, from a place on.
type matrix struct {
	b       *buffer
	start   int
	stride  int
	turned  bool
	offsets []int // of the matrices of a stack
}

func (x *matrix) even() bool {
	even := x.stride%4 == 0 && x.start%4 == 0
	for _, o := range x.offsets {
		even = even && o%4 == 0
	}
	return even
}

// multiply appends y = a·b (+ bias) for a stack of matrices; y's rows are ldc apart and begin at a place.
func (c *compiler) multiply(a, b matrix, bias, y *buffer, start, m, n, k, ldc int) {
	if c.byLibrary(a, b, bias, y, start, m, n, k, ldc) {
		return
	}
	stack := max(1, len(a.offsets))
	t := c.tiled(m, n, k, stack)
	letter := func(turned bool) string {
		if turned {
			return "t"
		}
		return "n"
	}
	p := productParams{m: int32(m), n: int32(n), k: int32(k), stack: int32(stack), lda: int32(a.stride), ldb: int32(b.stride), ldc: int32(ldc),
		tilesN: t.tilesN, tiles: t.tiles}
	for i, even := range []bool{a.even(), b.even(), ldc%4 == 0 && start%4 == 0 && (stack == 1 || m*ldc%4 == 0)} {
		if even {
			p.even |= 1 << i
		}
	}
	var offsets *buffer
	if stack > 1 {
		offsets = tableOf(c, 2*stack, func() []int64 {
			list := make([]int64, 0, 2*stack)
			for _, o := range slices.Concat(a.offsets, b.offsets) {
				list = append(list, int64(o))
			}
			return list
		})
	}
	ends := &product{result: y, bias: bias}
	s := c.add(&step{kernel: fmt.Sprintf("matmul_%s%s_%s", letter(a.turned), letter(b.turned), t.name), grid: t.grid, block: line(threads),
		reads: there(a.b, b.b, bias), writes: there(y, t.partial)})
	if start == 0 && y.n == stack*m*n {
		s.product = ends
	}
	if t.splits == 1 && stack == 1 && c.onTensorCores(m, n, k) == nil && b.start == 0 && b.stride == n && !b.turned {
		columns := ceilDiv(n, t.tile)
		ends.sums = &sums{of: b.b, rows: k, columns: n, extra: (ceilDiv(m+1, t.tile) - ceilDiv(m, t.tile)) * columns}
		ends.sums.tiles, ends.sums.grid = divideBy(ceilDiv(m+1, t.tile)*columns), line(ceilDiv(m+1, t.tile)*columns)
	}
	s.params = func() []any {
		if x := ends.sums; x != nil && x.result != nil {
			p.sums, p.tiles = x.result.at, x.tiles
		}
		p.a, p.b, p.c = a.b.at+driver.Pointer(4*a.start), b.b.at+driver.Pointer(4*b.start), ends.result.at+driver.Pointer(4*start)
		p.offsets, p.epilogue, p.splits = addr(offsets), ends.epilogue(), t.params(c)
		return []any{p}
	}
}

// byTheWay makes a product that has x as its second factor give the sums of x's columns too, if that is for less than a launch: it needs no more tiles, or
// multiprocessors are idle.
func (c *compiler) byTheWay(x, y *buffer, rows, columns int) bool {
	for _, s := range c.steps[c.barrier:] {
		if s.product == nil || s.product.sums == nil {
			continue
		}
		p := s.product.sums
		if p.of != x || p.rows != rows || p.columns != columns || p.result != nil || s.grid.X+p.extra > max(s.grid.X, c.dev.info.Multiprocessors) {
			continue
		}
		p.result, s.grid = y, p.grid
		s.writes = append(s.writes, y)
		c.maker[y] = s
		return true
	}
	return false
}

func (c *compiler) matMul() {
	op, sa, sb, sy := c.op, c.shape(c.op.In[0]), c.shape(c.op.In[1]), c.shape(c.op.Out[0])
	lead := sy[:len(sy)-2]
	m, n, k := sy[len(sy)-2], sy[len(sy)-1], sa[len(sa)-1]
	if op.TransA {
		k = sa[len(sa)-2]
	}
	a, b := matrix{b: c.in(op.In[0]), stride: max(1, sa[len(sa)-1]), turned: op.TransA}, matrix{b: c.in(op.In[1]), stride: max(1, sb[len(sb)-1]), turned: op.TransB}
	var bias *buffer
	if len(op.In) > 2 {
		bias = c.in(op.In[2])
	}
	stack := engine.Len(lead)
	// One matrix for a whole stack of row-major matrices is one product of all rows.
	if stack > 1 && !op.TransA && slices.Equal(sa[:len(sa)-2], lead) && engine.Len(sb[:len(sb)-2]) == 1 {
		m, stack = m*stack, 1
	}
	if stack > 1 {
		a.offsets, b.offsets = offsets(sa[:len(sa)-2], lead, m*k), offsets(sb[:len(sb)-2], lead, k*n)
	}
	c.multiply(a, b, bias, c.out(op.Out[0]), 0, m, n, k, n)
}

// offsets lists where the matrices of a stack begin when it is broadcast to another; size is a matrix's number of elements.
func offsets(shape, to []int, size int) []int {
	stride := engine.BroadcastStrides(shape, to)
	at := make([]int, engine.Len(to))
	for i := range at {
		rest := i
		for axis := len(to) - 1; axis >= 0; axis-- {
			at[i] += rest % to[axis] * stride[axis] * size
			rest /= to[axis]
		}
	}
	return at
}
