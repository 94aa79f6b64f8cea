package lower

import (
	"fmt"
	"math/bits"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// linear are the matrix products and determinants.
var linear = map[string]lowering{"Gemm": lowerGemm, "MatMul": lowerMatMul, "Det": lowerDet}

// lowerGemm is alpha·A'·B' + beta·C, where A' is A or its transpose. A vector C without factors goes into the product as its bias.
func lowerGemm(e *env, n *onnx.Node) error {
	a, err := e.inFloat(0)
	if err != nil {
		return err
	}
	w, err := e.inFloat(1)
	if err != nil {
		return err
	}
	c, err := e.inFloat(2)
	if err != nil {
		return err
	}
	if len(e.Shape(a)) != 2 || len(e.Shape(w)) != 2 {
		return fmt.Errorf("wants matrices, got %v and %v", e.Shape(a), e.Shape(w))
	}
	alpha, beta := float64(n.Float("alpha", 1)), float64(n.Float("beta", 1))
	transA, transB := n.Int("transA", 0) != 0, n.Int("transB", 0) != 0
	if beta == 0 {
		c = engine.None
	}
	units := e.Shape(w)[1]
	if transB {
		units = e.Shape(w)[0]
	}
	if c != engine.None && alpha == 1 && beta == 1 && engine.Len(e.Shape(c)) == units && slices.Max(append([]int{0}, e.Shape(c)...)) == units &&
		e.Shape(c)[len(e.Shape(c))-1] == units {
		return e.setTensor(0, e.MatMul(a, w, e.Reshape(c, []int{units}), transA, transB))
	}
	y := e.MatMul(a, w, engine.None, transA, transB)
	if alpha != 1 {
		y = e.Affine(y, alpha, 0)
	}
	if c != engine.None {
		if beta != 1 {
			c = e.Affine(c, beta, 0)
		}
		s := e.Shape(y)
		if y = e.Add(y, c); e.Err() == nil && !slices.Equal(e.Shape(y), s) {
			return fmt.Errorf("C %v cannot be broadcast to %v", e.Shape(c), s)
		}
	}
	return e.setTensor(0, y)
}

// lowerMatMul is numpy's matmul: a vector on the left is a row, on the right a column, and its axis of size 1 does not stay.
func lowerMatMul(e *env, n *onnx.Node) error {
	a, err := e.inFloat(0)
	if err != nil {
		return err
	}
	w, err := e.inFloat(1)
	if err != nil {
		return err
	}
	sa, sw := e.Shape(a), e.Shape(w)
	if len(sa) == 0 || len(sw) == 0 {
		return fmt.Errorf("wants matrices, got %v and %v", sa, sw)
	}
	if len(sa) == 1 {
		a = e.Reshape(a, []int{1, sa[0]})
	}
	if len(sw) == 1 {
		w = e.Reshape(w, []int{sw[0], 1})
	}
	y := e.MatMul(a, w, engine.None, false, false)
	if e.Err() != nil {
		return e.Err()
	}
	s := slices.Clone(e.Shape(y))
	if len(sw) == 1 {
		s = s[:len(s)-1]
	}
	if len(sa) == 1 {
		row := len(s) - 1
		if len(sw) > 1 {
			row--
		}
		s = slices.Delete(s, row, row+1)
	}
	return e.setTensor(0, e.Reshape(y, s))
}

const maxDet = 8 // rows of Det's matrices: n·2^(n-1) products each

// lowerDet is the determinant of the matrices of the last two axes by Laplace's expansion: the minors of the first k rows, one for every set
// of k columns, are sums over the minors of the first k-1. Nothing is divided, so that singular matrices have gradients too.
func lowerDet(e *env, _ *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	if len(s) < 2 || s[len(s)-1] != s[len(s)-2] || s[len(s)-1] < 1 || s[len(s)-1] > maxDet {
		return fmt.Errorf("input has shape %v, wants square matrices of 1 to %d rows", s, maxDet)
	}
	n, lead := s[len(s)-1], s[:len(s)-2]
	count := engine.Len(lead)
	rows := e.Reshape(x, []int{count, n, n})
	row := func(k int) value { return e.floats(e.Reshape(e.take(rows, 1, k, 1, 1), []int{count, n})) }
	minors := row(0) // (count, sets)
	place := make(map[uint]int)
	for j := range n {
		place[1<<j] = j
	}
	for k := 1; k < n; k++ {
		var columns, rest []int
		var signs []float64
		next := make(map[uint]int)
		for set := uint(0); set < 1<<n; set++ {
			if bits.OnesCount(set) != k+1 {
				continue
			}
			next[set] = len(next)
			sign := 1 - 2*float64(k%2)
			for j := range n {
				if set>>j&1 != 0 {
					columns, rest, signs = append(columns, j), append(rest, place[set&^(1<<j)]), append(signs, sign)
					sign = -sign
				}
			}
		}
		terms := e.mul(e.mul(e.gatherInts(row(k), columns, 1), e.gatherInts(minors, rest, 1)), hostValue(floatConstant([]int{len(signs)}, signs...)))
		sum := e.Reduce(engine.Sum, e.Reshape(e.device(terms), []int{count, len(next), k + 1}), false, 2)
		if e.Err() != nil {
			return e.Err()
		}
		minors, place = e.floats(sum), next
	}
	return e.setTensor(0, e.Reshape(e.device(minors), lead))
}
