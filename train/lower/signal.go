package lower

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// signals are the Fourier transforms and the constants that go with them.
var signals = map[string]lowering{"DFT": lowerDFT, "STFT": lowerSTFT, "MelWeightMatrix": lowerMelWeights,
	"HannWindow":    window(func(c func(k float64) float64) float64 { return 0.5 - 0.5*c(1) }),
	"HammingWindow": window(func(c func(k float64) float64) float64 { return 25.0/46 - 21.0/46*c(1) }),
	// Blackman's exact-to-two-digits coefficients, as the standard's function body has them.
	"BlackmanWindow": window(func(c func(k float64) float64) float64 { return 0.42 - 0.5*c(1) + 0.08*c(2) })}

// window makes a window function's values from the cosines cos(2π·k·n/N), where N is the size, less one when it is symmetric.
func window(f func(c func(k float64) float64) float64) lowering {
	return func(e *env, n *onnx.Node) error {
		size, err := e.hostInts(0)
		if err != nil {
			return err
		}
		if len(size) != 1 || size[0] < 1 || size[0] > maxHostSize {
			return fmt.Errorf("size %v is out of range", size)
		}
		period := float64(size[0])
		if n.Int("periodic", 1) == 0 {
			period = max(1, period-1)
		}
		c := floatConstant(size, make([]float64, size[0])...)
		for i := range c.f {
			c.f[i] = f(func(k float64) float64 { return math.Cos(2 * math.Pi * k * float64(i) / period) })
		}
		return e.set(0, e.cast(hostValue(c), onnx.DataType(n.Int("output_datatype", int64(onnx.Float32)))))
	}
}

const maxTransform = 1 << 22 // elements of a transform's matrix

// fourier is the discrete Fourier transform of length n over axis 1 of x (rows, n or what there is of it, parts), where parts is 1 for real
// and 2 for complex numbers, as a matrix product. onesided gives the first n/2+1 frequencies, or, inverse, takes them to a real signal.
func (e *env) fourier(x engine.TensorID, n int, inverse, onesided bool) engine.TensorID {
	s := e.Shape(x)
	ins, outs, parts := n, n, 2
	switch {
	case onesided && inverse:
		ins, parts = n/2+1, 1
	case onesided:
		outs = n/2 + 1
	}
	if n < 1 || ins*s[2]*outs*parts > maxTransform {
		return e.Fail(fmt.Errorf("a transform of length %d is not supported", n))
	}
	if kept := min(ins, s[1]); kept < s[1] {
		x = e.Slice(x, []int{0, 0, 0}, []int{1, 1, 1}, []int{s[0], kept, s[2]})
	} else if kept < ins {
		x = e.Pad(x, []int{0, 0, 0}, []int{1, 1, 1}, []int{s[0], ins, s[2]}, 0)
	}
	m := floatConstant([]int{ins * s[2], outs * parts}, make([]float64, ins*s[2]*outs*parts)...)
	for i := range ins {
		for o := range outs {
			sin, cos := math.Sincos(2 * math.Pi * float64(i*o%n) / float64(n))
			if inverse {
				sin, cos = -sin/float64(n), cos/float64(n)
				if onesided && i > 0 && 2*i < n { // stands for its conjugate too
					sin, cos = 2*sin, 2*cos
				}
			}
			// (re + i·im)·(cos - i·sin)
			for in := range s[2] {
				for out := range parts {
					m.f[(i*s[2]+in)*outs*parts+o*parts+out] = [2][2]float64{{cos, -sin}, {sin, cos}}[in][out]
				}
			}
		}
	}
	y := e.MatMul(e.Reshape(x, []int{s[0], ins * s[2]}), e.device(hostValue(m)), engine.None, false, false)
	return e.Reshape(y, []int{s[0], outs, parts})
}

// lowerDFT: the axis is an attribute before operator set 20, an input since.
func lowerDFT(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	at := clampInt(n.Int("axis", 1))
	if e.opset >= 20 {
		at = -2
		if given, err := e.hostInts(2); err != nil {
			return err
		} else if len(given) == 1 {
			at = given[0]
		}
	}
	a, err := axis(at, len(s))
	if err != nil {
		return err
	}
	if len(s) < 2 || a == len(s)-1 || s[len(s)-1] < 1 || s[len(s)-1] > 2 {
		return fmt.Errorf("axis %d of %v: wants a signal whose last axis has the 1 or 2 parts of its numbers", a, s)
	}
	inverse, onesided := n.Int("inverse", 0) != 0, n.Int("onesided", 0) != 0
	length := s[a]
	if inverse && onesided {
		length = 2 * (s[a] - 1)
	}
	if l, err := e.hostInts(1); err != nil {
		return err
	} else if len(l) == 1 {
		length = l[0]
	}
	if onesided && !inverse && s[len(s)-1] != 1 {
		return errors.New("onesided of complex numbers is not possible")
	}
	rank := len(s)
	perm := slices.Insert(slices.Delete(seq(rank), a, a+1), rank-2, a)
	x = e.Transpose(x, perm...)
	if e.Err() != nil {
		return e.Err()
	}
	moved := slices.Clone(e.Shape(x))
	y := e.fourier(e.Reshape(x, []int{engine.Len(moved[:rank-2]), s[a], s[rank-1]}), length, inverse, onesided)
	if e.Err() != nil {
		return e.Err()
	}
	moved[rank-2], moved[rank-1] = e.Shape(y)[1], e.Shape(y)[2]
	back := slices.Insert(slices.Delete(seq(rank), rank-2, rank-1), a, rank-2)
	return e.setTensor(0, e.Transpose(e.Reshape(y, moved), back...))
}

// lowerSTFT transforms windows of frame_length that start every frame_step of a signal (batch, length, parts).
func lowerSTFT(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	step, err := e.hostInts(1)
	if err != nil {
		return err
	}
	length, err := e.hostInts(3)
	if err != nil {
		return err
	}
	win, err := e.inFloat(2)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	if len(length) != 1 && win != engine.None {
		length = e.Shape(win)
	}
	if len(s) != 3 || s[2] < 1 || s[2] > 2 || len(step) != 1 || len(length) != 1 || step[0] < 1 || length[0] < 1 || length[0] > s[1] {
		return fmt.Errorf("frames of %v every %v of %v are not possible", length, step, s)
	}
	frames := (s[1]-length[0])/step[0] + 1
	var index []int
	for f := range frames {
		for k := range length[0] {
			index = append(index, f*step[0]+k)
		}
	}
	y := e.device(e.gatherInts(e.floats(x), index, 1))
	y = e.Reshape(y, []int{s[0] * frames, length[0], s[2]})
	if win != engine.None {
		if !slices.Equal(e.Shape(win), length) {
			return fmt.Errorf("window %v does not fit the frame length %d", e.Shape(win), length[0])
		}
		y = e.Mul(y, e.Reshape(win, []int{length[0], 1}))
	}
	y = e.fourier(y, length[0], false, n.Int("onesided", 1) != 0 && s[2] == 1)
	if e.Err() != nil {
		return e.Err()
	}
	return e.setTensor(0, e.Reshape(y, []int{s[0], frames, e.Shape(y)[1], 2}))
}

// lowerMelWeights makes the triangles of the mel scale, 2595·log10(1 + f/700), over the bins of a spectrum.
func lowerMelWeights(e *env, n *onnx.Node) error {
	var in [5]float64
	for i := range in {
		c, err := e.hostInput(i)
		if err != nil {
			return err
		}
		if c == nil || c.size() != 1 {
			return fmt.Errorf("input %d is no scalar", i)
		}
		in[i] = c.toFloats()[0]
	}
	mels, length, rate := in[0], in[1], in[2]
	if !(mels >= 1 && length >= 1 && rate > 0 && mels*length < maxHostSize) {
		return fmt.Errorf("%v bins of a transform of length %v at rate %v are out of range", mels, length, rate)
	}
	mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	low, high := mel(in[3]), mel(in[4])
	bins, spectrum := int(mels), int(length)/2+1
	edge := make([]int, bins+2)
	for i := range edge {
		f := 700 * (math.Pow(10, (low+float64(i)*(high-low)/float64(len(edge)))/2595) - 1)
		edge[i] = int(math.Floor((math.Floor(length) + 1) * f / rate))
		if edge[i] < 0 || edge[i] >= spectrum {
			return fmt.Errorf("an edge at %v Hz lies beyond the spectrum", f)
		}
	}
	c := floatConstant([]int{spectrum, bins}, make([]float64, spectrum*bins)...)
	for i := range bins {
		from, centre, to := edge[i], edge[i+1], edge[i+2]
		if from == centre {
			c.f[centre*bins+i] = 1
		}
		for j := from; j <= centre && from < centre; j++ {
			c.f[j*bins+i] = float64(j-from) / float64(centre-from)
		}
		for j := centre; j < to; j++ {
			c.f[j*bins+i] = float64(to-j) / float64(to-centre)
		}
	}
	return e.set(0, e.cast(hostValue(c), onnx.DataType(n.Int("output_datatype", int64(onnx.Float32)))))
}
