package reference

import "sync"

// Sizes of the matrix product: a task computes a tile of mc×nc results, kc terms of the sum at a time; the innermost loop keeps mr×nr
// of them in registers. Two packed operands and the tile take 288 KB, which fits a second-level cache.
const (
	mr, nr     = 2, 4
	mc, nc, kc = 64, 64, 256

	// A product of few tiles and a long sum is cut into parts of at least splitTerms terms, so that splitTasks goroutines have work.
	// The parts depend on the shapes alone and are added in order.
	splitTerms, splitTasks = 2048, 16
)

// gemm is a batch of products c[m,n] = Σ a[m,k]·b[k,n] in float64. Its operands are written by packers, so that a transposed matrix, a
// convolution's windows and a gradient's windows are the same code.
type gemm struct {
	batch, m, n, k int
	// packA writes rows [lo, hi) and terms [k0, k1) of a in panels of mr rows: term k of row r stands at (r/mr)·mr·(k1-k0) + k·mr + r%mr,
	// counted from lo and k0. packB likewise writes columns of b in panels of nr. Places beyond hi need not be written.
	packA, packB func(dst []float64, batch, lo, hi, k0, k1 int)
	// store takes the finished results of rows [i0, i1) and columns [j0, j1); c has rows of nc.
	store func(batch, i0, i1, j0, j1 int, c []float64)
}

type gemmScratch struct {
	a [mc * kc]float64
	b [nc * kc]float64
	c [mc * nc]float64
}

var (
	gemmPool = sync.Pool{New: func() any { return new(gemmScratch) }}
	sumsPool = sync.Pool{New: func() any { return new([splitTasks * mc * nc]float64) }}
)

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func (g *gemm) run() {
	tm, tn := ceilDiv(g.m, mc), ceilDiv(g.n, nc)
	tiles := g.batch * tm * tn
	if tiles == 0 {
		return
	}
	cost := min(g.m, mc) * min(g.n, nc) * (g.k + 8)
	place := func(tile int) (batch, i, j int) { return tile / (tm * tn), tile / tn % tm * mc, tile % tn * nc }
	parts := max(1, min(splitTasks/tiles, g.k/splitTerms))
	if parts == 1 {
		parallel(tiles, cost, func(lo, hi int) {
			s := gemmPool.Get().(*gemmScratch)
			defer gemmPool.Put(s)
			for t := lo; t < hi; t++ {
				batch, i, j := place(t)
				g.tile(s, s.c[:], batch, i, j, 0, g.k)
				g.store(batch, i, min(i+mc, g.m), j, min(j+nc, g.n), s.c[:])
			}
		})
		return
	}
	buffer := sumsPool.Get().(*[splitTasks * mc * nc]float64)
	defer sumsPool.Put(buffer)
	sums := buffer[:tiles*parts*mc*nc] // parts <= splitTasks/tiles
	parallel(tiles*parts, cost/parts, func(lo, hi int) {
		s := gemmPool.Get().(*gemmScratch)
		defer gemmPool.Put(s)
		for t := lo; t < hi; t++ {
			batch, i, j := place(t / parts)
			part := t % parts
			g.tile(s, sums[t*mc*nc:(t+1)*mc*nc], batch, i, j, part*g.k/parts, (part+1)*g.k/parts)
		}
	})
	for t := range tiles {
		c := sums[t*parts*mc*nc:]
		for part := 1; part < parts; part++ {
			for x := range mc * nc {
				c[x] += c[part*mc*nc+x]
			}
		}
		batch, i, j := place(t)
		g.store(batch, i, min(i+mc, g.m), j, min(j+nc, g.n), c)
	}
}

// tile computes the tile of c at row i and column j over terms [k0, k1). Places beyond the matrix hold rubbish, NaN included.
func (g *gemm) tile(s *gemmScratch, c []float64, batch, i, j, k0, k1 int) {
	clear(c[:mc*nc])
	rows, cols := min(mc, g.m-i), min(nc, g.n-j)
	for k := k0; k < k1; k += kc {
		n := min(kc, k1-k)
		g.packA(s.a[:], batch, i, i+rows, k, k+n)
		g.packB(s.b[:], batch, j, j+cols, k, k+n)
		for q := 0; q < cols; q += nr {
			for r := 0; r < rows; r += mr {
				micro(s.a[r*n:r*n+mr*n], s.b[q*n:q*n+nr*n], c[r*nc+q:])
			}
		}
	}
}

// micro adds a panel of mr rows times a panel of nr columns to c.
func micro(a, b, c []float64) {
	var c00, c01, c02, c03, c10, c11, c12, c13 float64
	for len(a) >= 2 && len(b) >= 4 {
		a0, a1 := a[0], a[1]
		b0, b1, b2, b3 := b[0], b[1], b[2], b[3]
		c00 += a0 * b0
		c01 += a0 * b1
		c02 += a0 * b2
		c03 += a0 * b3
		c10 += a1 * b0
		c11 += a1 * b1
		c12 += a1 * b2
		c13 += a1 * b3
		a, b = a[2:], b[4:]
	}
	r0, r1 := c[:4:4], c[nc:nc+4:nc+4]
	r0[0] += c00
	r0[1] += c01
	r0[2] += c02
	r0[3] += c03
	r1[0] += c10
	r1[1] += c11
	r1[2] += c12
	r1[3] += c13
}

// pack writes a strided matrix in panels of so many rows; rows beyond hi stay as they are.
func pack[T element](dst []float64, src []T, rowStride, termStride, panel, lo, hi, k0, k1 int) {
	n := k1 - k0
	for r := lo; r < hi; r++ {
		at := (r-lo)/panel*panel*n + (r-lo)%panel
		from := r*rowStride + k0*termStride
		for range n {
			dst[at] = float64(src[from])
			at += panel
			from += termStride
		}
	}
}
