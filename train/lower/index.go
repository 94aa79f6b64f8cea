package lower

import (
	"errors"
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// indexing picks elements by number.
var indexing = map[string]lowering{"Gather": lowerGather, "OneHot": lowerOneHot, "Trilu": lowerTrilu, "NonZero": lowerNonZero}

func lowerGather(e *env, n *onnx.Node) error {
	v, err := e.args(2)
	if err != nil {
		return err
	}
	a, err := axis(clampInt(n.Int("axis", 0)), len(e.shape(v[0])))
	if err != nil {
		return err
	}
	return e.set(0, e.gather(v[0], v[1], a))
}

// lowerOneHot is values[1] where the new axis' place equals the index, values[0] elsewhere; negative indices count from depth.
func lowerOneHot(e *env, n *onnx.Node) error {
	v, err := e.args(3)
	if err != nil {
		return err
	}
	depths, err := e.hostInts(1)
	if err != nil {
		return err
	}
	values, err := e.hostInput(2)
	if err != nil {
		return err
	}
	if len(depths) != 1 || depths[0] < 1 || depths[0] > maxDim || values.size() != 2 {
		return fmt.Errorf("depth %v and %d values: wants one positive depth and two values", depths, values.size())
	}
	depth, x := depths[0], e.deviceFloat(v[0])
	rank := len(e.shape(v[0]))
	a, err := axis(clampInt(n.Int("axis", -1)), rank+1)
	if err != nil {
		return err
	}
	if err := checkSize(append(slices.Clone(e.shape(v[0])), depth)); err != nil {
		return err
	}
	i := e.Where(e.Binary(engine.Less, x, e.Scalar(0)), e.Affine(x, 1, float64(depth)), x)
	y := e.OneHot(e.Cast(i, engine.Int), depth)
	if a < rank {
		perm := seq(rank)
		y = e.Transpose(y, slices.Insert(perm, a, rank)...)
	}
	off, on := values.toFloats()[0], values.toFloats()[1]
	y = e.Affine(y, on-off, off)
	if !values.isFloat() && values.elem != onnx.Bool {
		return e.set(0, e.toInt(y, values.elem))
	}
	return e.set(0, value{id: y, elem: values.elem})
}

// lowerTrilu keeps the upper or lower triangle of the last two axes, moved by k diagonals.
func lowerTrilu(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	ks, err := e.hostInts(1)
	if err != nil {
		return err
	}
	k := 0
	if len(ks) == 1 {
		k = ks[0]
	}
	s := e.shape(x)
	if len(s) < 2 || s[len(s)-2]*s[len(s)-1] > maxHostSize {
		return fmt.Errorf("input has shape %v, wants matrices of up to %d elements", s, maxHostSize)
	}
	upper := n.Int("upper", 1) != 0
	mask := &constant{shape: s[len(s)-2:], elem: onnx.Bool, i: make([]int64, engine.Len(s[len(s)-2:]))}
	each(mask.shape, func(at int, pos []int) {
		d := pos[1] - pos[0]
		if upper && d >= k || !upper && d <= k {
			mask.i[at] = 1
		}
	})
	zero := hostValue(&constant{elem: x.elem})
	if e.isFloat(x) {
		zero.host.f = []float64{0}
		if !x.elem.IsFloat() {
			zero.host.elem = onnx.Float32
		}
	} else {
		zero.host.i = []int64{0}
	}
	return e.set(0, e.where(hostValue(mask), x, zero))
}

// lowerNonZero lists the places of a constant's elements that are not 0, one column each; of data the number would not be known.
func lowerNonZero(e *env, n *onnx.Node) error {
	c, err := e.hostInput(0)
	if err != nil {
		return err
	}
	if c == nil {
		return errors.New("input 0 is missing")
	}
	rows := make([][]int64, len(c.shape))
	v := c.toFloats()
	each(c.shape, func(k int, pos []int) {
		if v[k] != 0 {
			for i, p := range pos {
				rows[i] = append(rows[i], int64(p))
			}
		}
	})
	all := slices.Concat(rows...)
	count := 0
	if len(rows) > 0 {
		count = len(rows[0])
	}
	return e.set(0, hostValue(intConstant([]int{len(rows), count}, all...)))
}
