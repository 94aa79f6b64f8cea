package engine

import "fmt"

// Kind is the operation an Op performs. Below, y are outputs and x, w, … inputs in the order of Op.Out and Op.In; a name in brackets is
// optional (None when absent); fields of Op that a kind reads are named. Shapes follow numpy; "channel" is axis 1 as in ONNX (NCHW).
type Kind uint8

const (
	// Batch: y = rows of the data column x that the schedule picks. y has x's row shape under the function's batch size.
	Batch Kind = iota

	// Unary: y = Fn(x), elementwise, Alpha and Beta are Fn's parameters.
	Unary
	// UnaryGrad: dx = dy * Fn'(x). In: dy, r, where r is y if Fn.GradFromOutput, else x. At a kink Fn' is the left slope of LeakyRelu, Elu,
	// Selu, Celu and ThresholdedRelu, 0 of Relu and Abs, the inner one of Clip, the outer one of HardSigmoid and HardSwish. Where a
	// function is flat (Relu, Clip, HardSigmoid, HardSwish, ThresholdedRelu) dx is 0 whatever dy is. At x = NaN, dx is unspecified but for
	// Relu.
	UnaryGrad
	// Binary: y = Fn(a, b), elementwise with numpy broadcasting. Comparisons give 0 or 1.
	Binary
	// Where: y = c != 0 ? a : b with broadcasting. In: c, a, b.
	Where
	// Broadcast: y = x repeated along dimensions of size 1 or missing in front, to Shape.
	Broadcast
	// Reduce: y = Fn of x over Axes, which stay as dimensions of size 1. Fn: Sum, Mean, Max, Min, Prod; of no elements they are 0, NaN, -Inf,
	// +Inf, 1.
	Reduce

	// MatMul: y = a·b (+ bias over the last axis). In: a, b, [bias]. TransA and TransB swap the last two axes first; leading axes broadcast.
	MatMul

	// Conv: y[n,o,p] = sum x[n,g·I/G+i, p·stride+k·dilation-pad] · w[o,i,k] (+ bias[o]). In: x (N,I,spatial…), w (O,I/G,kernel…), [bias (O)]. Window.
	Conv
	// ConvDX: the gradient of Conv by x; Shape is x's. In: dy, w. It is also transposed convolution.
	ConvDX
	// ConvDW: the gradients of Conv by w and bias. Out: dw, [db] (one or two outputs); In: dy, x; Shape is w's.
	ConvDW

	// MaxPool: y = largest element of every window; padding never wins (a window of padding alone is -Inf); NaN wins. Window.
	MaxPool
	// MaxPoolGrad: dy goes to the first element (row-major) that is the window's maximum. In: dy, x, y.
	MaxPoolGrad
	// AvgPool: mean of every window; Window.CountPad says whether padding counts in the divisor. Divided by nothing it is 0.
	AvgPool
	// AvgPoolGrad: In: dy; Shape is x's.
	AvgPoolGrad

	// BatchNorm in training: per channel, mean and var (biased) over all other axes; y = (x-mean)/sqrt(var+Epsilon)·scale + bias.
	// Out: y, mean, var; In: x, scale, bias. Ioffe and Szegedy 2015, algorithm 1.
	BatchNorm
	// BatchNormGrad: Out: dx, dscale, dbias; In: dy, x, scale, mean, var (those of BatchNorm's outputs).
	BatchNormGrad
	// BatchNormInfer: the same formula with given statistics. In: x, scale, bias, mean, var.
	BatchNormInfer

	// Softmax and LogSoftmax over Axes[0], shifted by the maximum; the gradients take dy, y.
	Softmax
	SoftmaxGrad
	LogSoftmax
	LogSoftmaxGrad

	// Dropout: y[i] = word_i(Stream) < DropThreshold(Rate) ? 0 : x[i]/(1-Rate), words from Philox. Rate >= 1 gives zeros. Its gradient is
	// the same op on dy.
	Dropout

	// Transpose: y's axis i is x's axis Axes[i].
	Transpose
	// Reshape: the same elements under Shape.
	Reshape
	// Concat: inputs joined along Axes[0].
	Concat
	// Slice: y[i] = x[Starts + i·Steps] per axis; Shape is y's. Steps are never 0 and may be negative.
	Slice
	// Pad: y (of Shape) is Alpha everywhere but for y[Starts + i·Steps] = x[i].
	Pad
	// Gather: y = elements of x along Axes[0] picked by the Int tensor i. In: x, i. Negative indices count from the end; one out of
	// range gives NaN (Float) or -1 (Int).
	Gather
	// GatherGrad: In: dy, i; Shape is x's; indices out of range are left out.
	GatherGrad

	// Cast: Float to Int rounds towards zero and saturates, NaN gives 0; Int to Float is exact up to 2^24. Type is y's.
	Cast
	// OneHot: y = 1 where the last, new axis of size Shape[last] equals x (Int), else 0.
	OneHot
	// ArgMax: Int index of the first largest element along Axes[0], which stays with size 1; NaN is largest.
	ArgMax

	// Recurrent is a layer of RNN, GRU or LSTM cells over whole sequences, RecurrentGrad its gradient: see Cell and Recurrence. The product of
	// the inputs with their weights is a MatMul before it.
	Recurrent
	RecurrentGrad

	// Lerp: state s becomes Alpha·s + Beta·x. Out: s; In: s, x. Running statistics.
	Lerp
	// Update: one optimizer step. Out: parameter, slots…; In: parameter, gradient, coefficients (Feed), slots…. See Update.
	Update

	// Moments: y = [count of non-finite, mean, mean |x|, mean x², max |x|, share of exact zeros], all but the first over the finite elements,
	// and 0 where there are none.
	Moments

	numKinds
)

var kindNames = [numKinds]string{"Batch", "Unary", "UnaryGrad", "Binary", "Where", "Broadcast", "Reduce", "MatMul", "Conv", "ConvDX", "ConvDW",
	"MaxPool", "MaxPoolGrad", "AvgPool", "AvgPoolGrad", "BatchNorm", "BatchNormGrad", "BatchNormInfer", "Softmax", "SoftmaxGrad",
	"LogSoftmax", "LogSoftmaxGrad", "Dropout", "Transpose", "Reshape", "Concat", "Slice", "Pad", "Gather", "GatherGrad", "Cast", "OneHot",
	"ArgMax", "Recurrent", "RecurrentGrad", "Lerp", "Update", "Moments"}

func (k Kind) String() string { return nameOf(kindNames[:], "kind", k) }

// nameOf is a name of a list, or the number where it has none.
func nameOf[E ~uint8](names []string, what string, e E) string {
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("%s %d", what, uint8(e))
}

func (k Kind) writesState() bool { return k == Lerp || k == Update }

// MomentsLen is the number of values that Moments gives.
const MomentsLen = 6

// Fn is an elementwise or reducing function. α and β are Op.Alpha and Op.Beta.
type Fn uint8

const (
	NoFn Fn = iota

	// Unary. Defaults and formulas are those of the ONNX operators of the same name.
	Neg
	Abs
	Sign // 0 at 0, NaN at NaN; no gradient
	Exp
	Log
	Sqrt
	Reciprocal
	Sin
	Cos
	Asin
	Acos
	Atan
	Sinh
	Asinh
	Acosh // NaN below 1
	Atanh
	Erf
	Affine // α·x + β
	Clip   // min(max(x, α), β); gradient 1 inside, bounds included
	Floor  // no gradient
	Relu
	LeakyRelu // x < 0 ? α·x : x
	Elu       // x < 0 ? α·(exp(x)-1) : x
	Selu      // β·(x > 0 ? x : α·(exp(x)-1)); α = 1.67326324235…, β = 1.05070098735…
	Celu      // max(0,x) + min(0, α·(exp(x/α)-1))
	Sigmoid   // 1/(1+exp(-x)), never overflows
	Tanh
	Softplus        // log(1+exp(x)), never overflows
	Softsign        // x/(1+|x|)
	HardSigmoid     // max(0, min(1, α·x+β))
	HardSwish       // x·max(0, min(1, x/6+1/2))
	ThresholdedRelu // x > α ? x : 0
	Gelu            // x/2·(1+erf(x/√2))
	GeluTanh        // x/2·(1+tanh(√(2/π)·(x+0.044715x³)))
	Swish           // x·sigmoid(α·x)
	Mish            // x·tanh(softplus(x))

	// Binary.
	Add
	Sub
	Mul
	Div
	Pow
	Max // also Reduce
	Min // also Reduce
	Greater
	GreaterOrEqual
	Less
	LessOrEqual
	Equal

	// Reduce.
	Sum
	Mean
	Prod

	numFns
)

var fnNames = [numFns]string{"NoFn", "Neg", "Abs", "Sign", "Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Asin", "Acos", "Atan", "Sinh",
	"Asinh", "Acosh", "Atanh", "Erf", "Affine", "Clip", "Floor", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "ThresholdedRelu", "Gelu",
	"GeluTanh", "Swish", "Mish", "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Sum",
	"Mean", "Prod"}

func (f Fn) String() string { return nameOf(fnNames[:], "function", f) }

// Unary, Binary and Reduces say where a function may stand.
func (f Fn) Unary() bool   { return f >= Neg && f <= Mish }
func (f Fn) Binary() bool  { return f >= Add && f <= Equal }
func (f Fn) Reduces() bool { return f == Max || f == Min || f >= Sum && f <= Prod }

// Differentiable is false for functions whose gradient is zero wherever it exists: nothing flows back through them.
func (f Fn) Differentiable() bool { return f != Sign && f != Floor && !(f >= Greater && f <= Equal) }

// GradFromOutput says that UnaryGrad computes Fn' from y instead of x: Relu passes dy where y is not <= 0 (NaN included).
func (f Fn) GradFromOutput() bool {
	switch f {
	case Exp, Sqrt, Reciprocal, Relu, Sigmoid, Tanh:
		return true
	}
	return false
}

// Window describes a convolution's or a pool's window over the spatial axes (those from 2 on); all slices have one entry per axis.
type Window struct {
	Kernel             []int
	Strides, Dilations []int
	PadBegin, PadEnd   []int
	Group              int  // Conv only; at least 1
	Ceil               bool // pools: round the output size up; a last window that would start in the end padding is left out
	CountPad           bool // AvgPool: padding counts in the divisor (the part beyond PadEnd that Ceil adds never does)
}

// Op is one operation. Fields that its Kind does not name are zero.
type Op struct {
	Kind           Kind
	Out, In        []TensorID
	Fn             Fn
	Alpha, Beta    float64
	Axes           []int // non-negative
	Shape          []int
	Starts, Steps  []int
	TransA, TransB bool
	Window         *Window
	Epsilon        float64
	Rate           float64
	Stream         uint32
	Type           DType
	Rule           *Rule
	Cell           *Cell
	Label          string // where it comes from, for messages: an ONNX node's name, "loss", "optimizer"
}

// RuleKind is the family of an optimizer's update.
//
// Every rule starts with g = gradient + L2·p and p = c[0]·p, where c is the coefficients tensor (a Feed of RuleCoefs elements, computed by
// the host in float64 for every step). Slots are State tensors of the parameter's shape, zero or host-loaded at the start.
type RuleKind uint8

const (
	// Linear (SGD, momentum, Nesterov): slot v when Momentum, v = c[1]·v + c[2]·g; p -= c[3]·v + c[4]·g. Without the slot: p -= c[4]·g.
	RuleLinear RuleKind = iota
	// Adam, AdamW, Nadam, AMSGrad: slots m, v, [vmax when Max]. m = B1·m + (1-B1)·g; v = B2·v + (1-B2)·g²; vmax = max(vmax, v), used
	// for v below; p -= (c[1]·m + c[2]·g) / (sqrt(v)·c[3] + EpsOut).
	RuleAdam
	// Adamax: slots m, u. m = B1·m + (1-B1)·g; u = max(B2·u, |g| + EpsIn); p -= c[1]·m / (u + EpsOut).
	RuleAdamax
	// RMSprop: slots v, [a when Centered], [b when Momentum]. v = B2·v + (1-B2)·g²; a = B2·a + (1-B2)·g; s = v - a² (v when not centered);
	// q = g / (sqrt(s + EpsIn) + EpsOut); with Momentum: b = c[1]·b + c[2]·q; p -= c[3]·b; without: p -= c[3]·q.
	RuleRMSprop
	// Adagrad: slot v. v += g²; p -= c[1]·g / (sqrt(v + EpsIn) + EpsOut).
	RuleAdagrad
	// Adadelta: slots v, d. v = B2·v + (1-B2)·g²; q = sqrt(d + EpsIn) / sqrt(v + EpsIn) · g; d = B2·d + (1-B2)·q²; p -= c[1]·q.
	RuleAdadelta

	numRules
)

var ruleNames = [numRules]string{"Linear", "Adam", "Adamax", "RMSprop", "Adagrad", "Adadelta"}

func (k RuleKind) String() string { return nameOf(ruleNames[:], "rule", k) }

// Kinds, Fns and Rules list everything that a device has to know; tests of completeness go through them.
func Kinds() []Kind     { return upTo(numKinds) }
func Fns() []Fn         { return upTo(numFns)[1:] }
func Rules() []RuleKind { return upTo(numRules) }

func upTo[E ~uint8](n E) []E {
	list := make([]E, n)
	for i := range list {
		list[i] = E(i)
	}
	return list
}

// RuleCoefs is the length of the coefficients tensor of an Update.
const RuleCoefs = 5

// Rule is an optimizer's update with the constants that do not change from step to step.
type Rule struct {
	Kind                    RuleKind
	B1, B2                  float64
	EpsIn, EpsOut           float64
	L2                      float64
	Momentum, Max, Centered bool
}

// Slots is the number of state tensors that the rule keeps for a parameter.
func (r *Rule) Slots() int {
	n := map[RuleKind]int{RuleLinear: 0, RuleAdam: 2, RuleAdamax: 2, RuleRMSprop: 1, RuleAdagrad: 1, RuleAdadelta: 2}[r.Kind]
	for _, b := range []bool{r.Momentum, r.Max, r.Centered} {
		if b {
			n++
		}
	}
	return n
}
