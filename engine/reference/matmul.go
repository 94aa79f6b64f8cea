package reference

import "netmend/engine"

// matMul: y[i,j] = Σ a[i,k]·b[k,j] (+ bias[j]) for every matrix of the broadcast leading axes.
func (e *executable[T]) matMul(op *engine.Op) kernel {
	a, b, y := e.floats[op.In[0]], e.floats[op.In[1]], e.floats[op.Out[0]]
	sa, sb, sy := e.p.Tensors[op.In[0]].Shape, e.p.Tensors[op.In[1]].Shape, e.p.Tensors[op.Out[0]].Shape
	lead := sy[:len(sy)-2]
	m, n := sy[len(sy)-2], sy[len(sy)-1]
	k := sa[len(sa)-1]
	aRow, aTerm := k, 1
	if op.TransA {
		k = sa[len(sa)-2]
		aRow, aTerm = 1, m
	}
	bCol, bTerm := 1, n
	if op.TransB {
		bCol, bTerm = k, 1
	}
	var bias []T
	if len(op.In) > 2 && op.In[2] != engine.None {
		bias = e.floats[op.In[2]]
	}
	aAt := offsets(sa[:len(sa)-2], lead, m*k)
	bAt := offsets(sb[:len(sb)-2], lead, k*n)
	g := &gemm{batch: engine.Len(lead), m: m, n: n, k: k,
		packA: func(dst []float64, batch, lo, hi, k0, k1 int) {
			pack(dst, a[aAt[batch]:], aRow, aTerm, mr, lo, hi, k0, k1)
		},
		packB: func(dst []float64, batch, lo, hi, k0, k1 int) {
			pack(dst, b[bAt[batch]:], bCol, bTerm, nr, lo, hi, k0, k1)
		},
		store: func(batch, i0, i1, j0, j1 int, c []float64) {
			for i := i0; i < i1; i++ {
				row := y[(batch*m+i)*n+j0 : (batch*m+i)*n+j1]
				for j := range row {
					v := c[(i-i0)*nc+j]
					if bias != nil {
						v += float64(bias[j0+j])
					}
					row[j] = T(v)
				}
			}
		}}
	return func(*step) { g.run() }
}

// offsets lists where the matrices of a stack of shape begin when it is broadcast to another; size is a matrix's number of elements.
func offsets(shape, to []int, size int) []int {
	n := engine.Len(to)
	w := newWalk(to, []int{0}, engine.BroadcastStrides(shape, to))
	at := outputStarts(&w, 0, n)
	for i := range at {
		at[i] *= size
	}
	return at
}
