package reference

import "netmend/engine"

// spatial is an extent along up to three axes; missing ones in front are 1.
type spatial [maxSpatial]int

func (s spatial) len() int { return s[0] * s[1] * s[2] }

func toSpatial(v []int, missing int) spatial {
	s := spatial{missing, missing, missing}
	copy(s[maxSpatial-len(v):], v)
	return s
}

// taps says for every axis which place a window's tap falls on: taps[axis][k·n+i] is where tap k of place i points, or -1 for nowhere.
type taps [maxSpatial][]int32

// window is a convolution's or pool's geometry.
type window struct {
	k, in, out spatial
	fwd        taps // from (tap, output) to the input: out·stride + k·dilation - pad
	bwd        taps // from (tap, input) to the output whose tap it is
}

// newWindow computes the geometry between a spatial input and output shape.
func newWindow(in, out []int, win *engine.Window) *window {
	w := &window{k: toSpatial(win.Kernel, 1), in: toSpatial(in, 1), out: toSpatial(out, 1)}
	stride, dilation, pad := toSpatial(win.Strides, 1), toSpatial(win.Dilations, 1), toSpatial(win.PadBegin, 0)
	for ax := range maxSpatial {
		w.fwd[ax], w.bwd[ax] = make([]int32, w.k[ax]*w.out[ax]), make([]int32, w.k[ax]*w.in[ax])
		for i := range w.bwd[ax] {
			w.bwd[ax][i] = -1
		}
		for k := range w.k[ax] {
			for o := range w.out[ax] {
				i := o*stride[ax] + k*dilation[ax] - pad[ax]
				if i < 0 || i >= w.in[ax] {
					i = -1
				} else {
					w.bwd[ax][k*w.in[ax]+i] = int32(o)
				}
				w.fwd[ax][k*w.out[ax]+o] = int32(i)
			}
		}
	}
	return w
}

// tap splits a flat index of the kernel.
func (w *window) tap(k int) (z, y, x int) {
	return k / (w.k[1] * w.k[2]), k / w.k[2] % w.k[1], k % w.k[2]
}

// line calls f for the places [lo, hi) of a grid, row by row: f gets the row's first place, its end, and the coordinates of the first.
func (s spatial) line(lo, hi int, f func(from, to, z, y, x int)) {
	for from := lo; from < hi; {
		x := from % s[2]
		to := min(hi, from+s[2]-x)
		f(from, to, from/(s[1]*s[2]), from/s[2]%s[1], x)
		from = to
	}
}

// read writes one channel of src (of extent in), seen through tap k from the places [lo, hi) of a grid of extent out, to dst; nowhere is 0.
func read[T element](dst []float64, src []T, w *window, t *taps, k, lo, hi int, in, out spatial) {
	kz, ky, kx := w.tap(k)
	tx := t[2][kx*out[2] : (kx+1)*out[2]]
	out.line(lo, hi, func(from, to, z, y, x int) {
		d := dst[from-lo : to-lo]
		sz, sy := int(t[0][kz*out[0]+z]), int(t[1][ky*out[1]+y])
		if sz < 0 || sy < 0 {
			clear(d)
			return
		}
		row := src[(sz*in[1]+sy)*in[2] : (sz*in[1]+sy+1)*in[2]]
		for i, sx := range tx[x : x+len(d)] {
			if sx < 0 {
				d[i] = 0
			} else {
				d[i] = float64(row[sx])
			}
		}
	})
}
