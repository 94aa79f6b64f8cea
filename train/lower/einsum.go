package lower

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"netmend/engine"
	"netmend/onnx"
)

// sums are the tensor contractions.
var sums = map[string]lowering{"Einsum": lowerEinsum}

// term is an operand of Einsum: a tensor and the label of each of its axes. The axes of an ellipsis are labelled 0x100, 0x101, … from the
// last one back.
type term struct {
	v      value
	labels []rune
}

const dots = 0x100

// lowerEinsum multiplies the operands one after another, summing over a label as soon as no later operand and not the result has it: over
// labels that both have as a matrix product.
func lowerEinsum(e *env, n *onnx.Node) error {
	xs, err := e.args(-1)
	if err != nil {
		return err
	}
	left, right, explicit := strings.Cut(strings.ReplaceAll(n.String("equation", ""), " ", ""), "->")
	operands := strings.Split(left, ",")
	if len(operands) != len(xs) {
		return fmt.Errorf("equation %q has %d operands, the node %d", n.String("equation", ""), len(operands), len(xs))
	}
	terms, size := make([]term, len(xs)), map[rune]int{}
	for i, o := range operands {
		if !e.isFloat(xs[i]) {
			return errors.New("integers are not supported")
		}
		if terms[i].labels, err = einsumLabels(o, len(e.shape(xs[i]))); err != nil {
			return err
		}
		terms[i].v = xs[i]
		if err := e.diagonals(&terms[i]); err != nil {
			return err
		}
		for k, l := range terms[i].labels {
			d := e.shape(terms[i].v)[k]
			if have, ok := size[l]; ok && have != d && have != 1 && d != 1 || ok && have != d && l < dots {
				return fmt.Errorf("label %q has sizes %d and %d", string(l), have, d)
			}
			size[l] = max(size[l], d)
		}
	}
	result, err := einsumResult(left, right, explicit, size)
	if err != nil {
		return err
	}
	y := terms[0]
	for i := range terms {
		needed := func(l rune) bool {
			return slices.Contains(result, l) || slices.ContainsFunc(terms[i+1:], func(t term) bool { return slices.Contains(t.labels, l) })
		}
		if i == 0 {
			y = e.sumOut(y, needed)
			continue
		}
		next := e.sumOut(terms[i], func(l rune) bool { return needed(l) || slices.Contains(y.labels, l) })
		if y = e.contract(y, next, needed); e.Err() != nil {
			return e.Err()
		}
	}
	perm, shape := make([]int, 0, len(result)), make([]int, 0, len(result))
	for _, l := range result {
		k := slices.Index(y.labels, l)
		if k < 0 {
			return fmt.Errorf("the result's label %q is in no operand", string(l))
		}
		perm, shape = append(perm, k), append(shape, size[l])
	}
	return e.set(0, e.broadcast(e.transpose(y.v, perm), shape))
}

// einsumLabels are the labels of an operand of so many axes.
func einsumLabels(s string, rank int) ([]rune, error) {
	before, after, ellipsis := strings.Cut(s, "...")
	named := len(before) + len(after)
	for _, c := range before + after {
		if c < 'A' || c > 'z' || c > 'Z' && c < 'a' {
			return nil, fmt.Errorf("label %q is no letter", string(c))
		}
	}
	if named > rank || !ellipsis && named != rank {
		return nil, fmt.Errorf("%q does not label %d axes", s, rank)
	}
	labels := []rune(before)
	for k := rank - named - 1; k >= 0; k-- {
		labels = append(labels, dots+rune(k))
	}
	return append(labels, []rune(after)...), nil
}

// einsumResult are the labels of the result: the given ones, or the ellipsis and then those that occur once, in alphabetical order.
func einsumResult(left, right string, explicit bool, size map[rune]int) ([]rune, error) {
	var all, once []rune
	for l := range size {
		if l >= dots {
			all = append(all, l)
		} else if strings.Count(left, string(l)) == 1 {
			once = append(once, l)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	slices.Sort(once)
	if !explicit {
		return append(all, once...), nil
	}
	rank := len(strings.ReplaceAll(right, "...", ""))
	if strings.Contains(right, "...") {
		rank += len(all)
	}
	labels, err := einsumLabels(right, rank)
	if sorted := slices.Sorted(slices.Values(labels)); err == nil && len(slices.Compact(sorted)) != len(labels) {
		err = fmt.Errorf("the result %q names an axis twice", right)
	}
	return labels, err
}

// diagonals replaces axes of one label by their diagonal.
func (e *env) diagonals(t *term) error {
	for k := 0; k < len(t.labels); k++ {
		j := slices.Index(t.labels[k+1:], t.labels[k])
		if j < 0 {
			continue
		}
		j += k + 1
		s := e.shape(t.v)
		if s[j] != s[k] {
			return fmt.Errorf("label %q has sizes %d and %d", string(t.labels[k]), s[k], s[j])
		}
		perm := append(slices.DeleteFunc(seq(len(s)), func(a int) bool { return a == j || a == k }), k, j)
		x, d := e.transpose(t.v, perm), s[k]
		rest := make([]int, 0, len(s))
		labels := make([]rune, 0, len(s))
		for _, a := range perm[:len(perm)-2] {
			rest, labels = append(rest, s[a]), append(labels, t.labels[a])
		}
		x = e.reshape(x, append(slices.Clone(rest), d*d))
		if e.Err() != nil {
			return e.Err()
		}
		steps := repeat(1, len(rest)+1)
		steps[len(rest)] = d + 1
		t.v, t.labels = e.slice(x, repeat(0, len(rest)+1), steps, append(slices.Clone(rest), d)), append(labels, t.labels[k])
		k = -1
	}
	return e.Err()
}

// sumOut sums over the axes whose labels nobody needs.
func (e *env) sumOut(t term, needed func(rune) bool) term {
	var axes []int
	var labels []rune
	for k, l := range t.labels {
		if needed(l) {
			labels = append(labels, l)
		} else {
			axes = append(axes, k)
		}
	}
	if len(axes) == 0 || e.Err() != nil {
		return t
	}
	return term{e.reduce(engine.Sum, t.v, false, axes), labels}
}

// contract multiplies two terms, as matrices: batch axes are those that both have and somebody needs, rows those of x alone, columns those
// of y alone, and the sum is over those that both have and nobody needs.
func (e *env) contract(x, y term, needed func(rune) bool) term {
	if e.Err() != nil {
		return x
	}
	var batch, sum, rows, cols []rune
	for _, l := range x.labels {
		switch {
		case !slices.Contains(y.labels, l):
			rows = append(rows, l)
		case needed(l) || e.sizeOf(x, l) != e.sizeOf(y, l):
			batch = append(batch, l)
		default:
			sum = append(sum, l)
		}
	}
	for _, l := range y.labels {
		if !slices.Contains(x.labels, l) {
			cols = append(cols, l)
		}
	}
	// An axis of size 1 that an ellipsis stretches is no batch of equal sizes; broadcasting multiplies it.
	for _, l := range batch {
		if d := max(e.sizeOf(x, l), e.sizeOf(y, l)); e.sizeOf(x, l) != d {
			x.v = e.stretch(x, l, d)
		} else if e.sizeOf(y, l) != d {
			y.v = e.stretch(y, l, d)
		}
	}
	size := func(t term, labels []rune) (n int, shape []int) {
		for _, l := range labels {
			shape = append(shape, e.sizeOf(t, l))
		}
		return engine.Len(shape), shape
	}
	nb, batchShape := size(x, batch)
	ns, _ := size(x, sum)
	nr, rowShape := size(x, rows)
	nc, colShape := size(y, cols)
	a := e.reshape(e.arranged(x, batch, rows, sum), []int{nb, nr, ns})
	b := e.reshape(e.arranged(y, batch, sum, cols), []int{nb, ns, nc})
	if e.Err() != nil {
		return x
	}
	var z engine.TensorID
	if ns == 1 { // an outer product
		z = e.Mul(e.device(a), e.device(b))
	} else if nb == 1 {
		z = e.MatMul(e.Reshape(e.device(a), []int{nr, ns}), e.Reshape(e.device(b), []int{ns, nc}), engine.None, false, false)
	} else {
		z = e.MatMul(e.device(a), e.device(b), engine.None, false, false)
	}
	return term{e.reshape(value{id: z, elem: x.v.elem}, slices.Concat(batchShape, rowShape, colShape)), slices.Concat(batch, rows, cols)}
}

func (e *env) sizeOf(t term, l rune) int { return e.shape(t.v)[slices.Index(t.labels, l)] }

func (e *env) stretch(t term, l rune, d int) value {
	s := slices.Clone(e.shape(t.v))
	s[slices.Index(t.labels, l)] = d
	return e.broadcast(t.v, s)
}

// arranged is a term with its axes in the order of labels.
func (e *env) arranged(t term, labels ...[]rune) value {
	var perm []int
	for _, l := range slices.Concat(labels...) {
		perm = append(perm, slices.Index(t.labels, l))
	}
	return e.transpose(t.v, perm)
}
