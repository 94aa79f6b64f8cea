//go:build linux && cgo

package cuda

import (
	"unsafe"

	"netmend/engine"
)

// lowerings turn the op that the compiler stands at into launches.
var lowerings map[engine.Kind]func(c *compiler)

func init() {
	lowerings = map[engine.Kind]func(c *compiler){
		engine.Batch: (*compiler).batch, engine.Unary: (*compiler).unary, engine.UnaryGrad: (*compiler).unaryGrad, engine.Binary: (*compiler).binary,
		engine.Where: (*compiler).where, engine.Broadcast: (*compiler).broadcast, engine.Reduce: (*compiler).reduce,
		engine.MatMul: (*compiler).matMul, engine.Conv: (*compiler).conv, engine.ConvDX: (*compiler).convDX, engine.ConvDW: (*compiler).convDW,
		engine.MaxPool: (*compiler).pool, engine.AvgPool: (*compiler).pool, engine.MaxPoolGrad: (*compiler).maxPoolGrad,
		engine.AvgPoolGrad: (*compiler).avgPoolGrad, engine.BatchNorm: (*compiler).batchNorm, engine.BatchNormGrad: (*compiler).batchNormGrad,
		engine.BatchNormInfer: (*compiler).batchNormInfer, engine.Softmax: (*compiler).softmax, engine.LogSoftmax: (*compiler).softmax,
		engine.SoftmaxGrad: (*compiler).softmaxGrad, engine.LogSoftmaxGrad: (*compiler).softmaxGrad, engine.Dropout: (*compiler).dropout,
		engine.Transpose: (*compiler).transpose, engine.Reshape: (*compiler).reshape, engine.Concat: (*compiler).concat,
		engine.Slice: (*compiler).slice, engine.Pad: (*compiler).pad, engine.Gather: (*compiler).gather, engine.GatherGrad: (*compiler).gatherGrad,
		engine.Cast: (*compiler).cast, engine.OneHot: (*compiler).oneHot, engine.ArgMax: (*compiler).argMax, engine.Lerp: (*compiler).lerp,
		engine.Recurrent: (*compiler).recurrent, engine.RecurrentGrad: (*compiler).recurrentGrad,
		engine.Update: (*compiler).update, engine.Moments: (*compiler).moments,
	}
}

func sizeOf[T any](v T) int { return int(unsafe.Sizeof(v)) }

// bytesOfSlice is a slice's memory: numbers, addresses and structures of them.
func bytesOfSlice[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*sizeOf(s[0]))
}

// writtenLater says that an op of the function from the present one up to op number end writes a permanent buffer.
func (c *compiler) writtenLater(b *buffer, end int) bool {
	for i := c.at; i < min(end+1, len(c.f.Ops)); i++ {
		for _, id := range c.f.Ops[i].Out {
			if c.permanent[id] == b {
				return true
			}
		}
	}
	return false
}
