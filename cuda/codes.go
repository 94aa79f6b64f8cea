//go:build linux && cgo

package cuda

import "netmend/engine"

// code is a function of kernels/functions.cuh.
type code int32

const (
	codeCopy code = iota
	codeFill
	codeNeg
	codeAbs
	codeSign
	codeExp
	codeLog
	codeSqrt
	codeReciprocal
	codeSin
	codeCos
	codeAsin
	codeAcos
	codeAtan
	codeSinh
	codeAsinh
	codeAcosh
	codeAtanh
	codeErf
	codeAffine
	codeClip
	codeFloor
	codeRelu
	codeLeakyRelu
	codeElu
	codeSelu
	codeCelu
	codeSigmoid
	codeTanh
	codeSoftplus
	codeSoftsign
	codeHardSigmoid
	codeHardSwish
	codeThresholdedRelu
	codeGelu
	codeGeluTanh
	codeSwish
	codeMish
	codeCastInt
	codeCastFloat
	codeAdd
	codeSub
	codeMul
	codeDiv
	codePow
	codeMax
	codeMin
	codeGreater
	codeGreaterOrEqual
	codeLess
	codeLessOrEqual
	codeEqual
	codeWhere
	codeDropout
	codeOneHot
	codeFMA
	codeNormalize

	codeSlope code = 64 // codeSlope + f: dy·f'
)

var unaryCode = map[engine.Fn]code{engine.Neg: codeNeg, engine.Abs: codeAbs, engine.Sign: codeSign, engine.Exp: codeExp, engine.Log: codeLog,
	engine.Sqrt: codeSqrt, engine.Reciprocal: codeReciprocal, engine.Sin: codeSin, engine.Cos: codeCos, engine.Asin: codeAsin, engine.Acos: codeAcos,
	engine.Atan: codeAtan, engine.Sinh: codeSinh, engine.Asinh: codeAsinh, engine.Acosh: codeAcosh, engine.Atanh: codeAtanh, engine.Erf: codeErf,
	engine.Affine: codeAffine, engine.Clip: codeClip, engine.Floor: codeFloor, engine.Relu: codeRelu, engine.LeakyRelu: codeLeakyRelu,
	engine.Elu: codeElu, engine.Selu: codeSelu, engine.Celu: codeCelu, engine.Sigmoid: codeSigmoid, engine.Tanh: codeTanh,
	engine.Softplus: codeSoftplus, engine.Softsign: codeSoftsign, engine.HardSigmoid: codeHardSigmoid, engine.HardSwish: codeHardSwish,
	engine.ThresholdedRelu: codeThresholdedRelu, engine.Gelu: codeGelu, engine.GeluTanh: codeGeluTanh, engine.Swish: codeSwish, engine.Mish: codeMish}

var binaryCode = map[engine.Fn]code{engine.Add: codeAdd, engine.Sub: codeSub, engine.Mul: codeMul, engine.Div: codeDiv, engine.Pow: codePow,
	engine.Max: codeMax, engine.Min: codeMin, engine.Greater: codeGreater, engine.GreaterOrEqual: codeGreaterOrEqual, engine.Less: codeLess,
	engine.LessOrEqual: codeLessOrEqual, engine.Equal: codeEqual}

// foldCode is enum nm_fold of kernels/reduce.cu, ruleCode enum nm_rule_kind of kernels/update.cu, cellCode enum nm_cell of kernels/recurrent.cu.
var (
	foldCode = map[engine.Fn]int32{engine.Sum: 0, engine.Mean: 1, engine.Max: 2, engine.Min: 3, engine.Prod: 4}
	ruleCode = map[engine.RuleKind]int32{engine.RuleLinear: 0, engine.RuleAdam: 1, engine.RuleAdamax: 2, engine.RuleRMSprop: 3, engine.RuleAdagrad: 4,
		engine.RuleAdadelta: 5}
	cellCode = map[engine.CellKind]int32{engine.CellRNN: 0, engine.CellGRU: 1, engine.CellLSTM: 2}
)

const ruleLerp = 6
