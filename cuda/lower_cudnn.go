//go:build linux && cgo

package cuda

import (
	"errors"
	"slices"

	"netmend/cuda/cudnn"
	"netmend/cuda/driver"
	"netmend/engine"
)

// leastConvolution is the number of multiply-adds from which on a convolution is cuDNN's, where that is open: below, the launches of its own that the bias and the
// functions of the result are then, and the sum of the bias's gradient, weigh more than a faster kernel gains. An estimate: nobody has measured it. Tests set it.
var leastConvolution = 1 << 27

// convolutionWorkspace bounds what cuDNN may take besides, in bytes: enough for indices and for the sums of splits, and little beside the images of a convolution
// that is worth it. An estimate, too.
const convolutionWorkspace = 32 << 20

// byCuDNN appends a convolution of one kind as a call of cuDNN, which computes one of x, w and y from the other two, unless it is small, or not one that cuDNN
// computes. m, n and k are those of the product that our kernel would make of each group.
func (c *compiler) byCuDNN(kind cudnn.Kind, x, w, y *buffer, v *convolution, m, n, k int) bool {
	if c.dev.convolutions == nil || v.cig*int(v.w.co)*v.volume*int(v.w.n)*v.out < leastConvolution {
		return false
	}
	p := cudnn.Convolution{Kind: kind, N: int(v.w.n), CI: int(v.w.ci), CO: int(v.w.co), Groups: int(v.w.groups), In: v.w.in.ints(), Out: v.w.out.ints(),
		Kernel: v.w.kernel.ints(), Stride: v.w.stride.ints(), Dilation: v.w.dilation.ints(), Pad: v.w.begin.ints(), Math: cudnn.Float32, Workspace: convolutionWorkspace}
	for i := range maxSpatial {
		// cuDNN pads as much behind as before. Where other padding gives a result of the same size, the windows are the same.
		if p.Out[i] != (p.In[i]+2*p.Pad[i]-p.Dilation[i]*(p.Kernel[i]-1)-1)/p.Stride[i]+1 {
			return false
		}
	}
	if c.onTensorCores(m, n, k) != nil {
		p.Math = cudnn.TF32
	}
	plan, err := c.dev.convolutions.Plan(p)
	if err != nil {
		if !errors.Is(err, cudnn.ErrUnsupported) {
			c.failed = errors.Join(c.failed, err)
		}
		return false
	}
	var workspace *buffer
	if bytes := plan.WorkspaceBytes(); bytes > 0 {
		workspace = c.scratch(ceilDiv(bytes, 4))
	}
	result := [...]*buffer{cudnn.Forward: y, cudnn.BackwardData: x, cudnn.BackwardFilter: w}[kind]
	reads := slices.DeleteFunc(list(x, w, y), func(b *buffer) bool { return b == result })
	c.add(&step{kernel: kind.String(), reads: reads, writes: there(result, workspace), queue: func(s *driver.Stream) error {
		return plan.Run(s, x.at, w.at, y.at, addr(workspace))
	}})
	return true
}

// convByCuDNN is byCuDNN of conv. The bias is added by a launch that what follows can join.
func (c *compiler) convByCuDNN(v *convolution, m, n, k int) bool {
	if v.bias == nil {
		return c.byCuDNN(cudnn.Forward, v.x, v.kernel, v.y, v, m, n, k)
	}
	sums := c.scratch(v.y.n)
	if !c.byCuDNN(cudnn.Forward, v.x, v.kernel, sums, v, m, n, k) {
		return false
	}
	shape := c.shape(c.op.Out[0])
	c.instruct(instruction{f: binaryCode[engine.Add]}, v.y, shape, operand{b: sums}, perChannel(v.bias, shape))
	return true
}

// perChannel is one number for each channel as an operand of a result of that shape, (N, C, …).
func perChannel(b *buffer, shape []int) operand {
	switch b.n {
	case 1:
		return operand{b: b, reading: readOne}
	case engine.Len(shape):
		return operand{b: b}
	}
	stride := make([]int, len(shape))
	stride[1] = 1
	_, stride = squeeze(shape, stride)
	return operand{b: b, reading: readStrided, stride: stride}
}

// convDWByCuDNN is byCuDNN of convDW. The bias's gradient is a sum of our own, which reads dy once more than the op says.
func (c *compiler) convDWByCuDNN(v *convolution, m, n, k int) bool {
	if !c.byCuDNN(cudnn.BackwardFilter, v.x, v.y, v.dy, v, m, n, k) {
		return false
	}
	if v.db != nil {
		c.uses[c.op.In[0]]++
		channels := int(v.w.co)
		c.fold(foldCode[engine.Sum], v.dy, v.db, merge([]int{channels}, []int{v.out}), merge([]int{int(v.w.n), v.out}, []int{channels * v.out, 1}))
	}
	return true
}
