package reference

import (
	"math"

	"netmend/engine"
)

const (
	sqrt2OverPi   = 0.79788456080286535588 // sqrt(2/π), of GeluTanh
	twoOverSqrtPi = 1.12837916709551257390 // 2/sqrt(π), of Erf's derivative
	invSqrt2Pi    = 0.39894228040143267794 // 1/sqrt(2π), of the normal density
	geluCubic     = 0.044715               // Hendrycks and Gimpel 2016, section 2
)

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// value returns Fn of the ONNX operators with its parameters bound. NaN passes through all but ThresholdedRelu, which is 0 there as its
// formula says.
func value(fn engine.Fn, alpha, beta float64) func(x float64) float64 {
	switch fn {
	case engine.Neg:
		return func(x float64) float64 { return -x }
	case engine.Abs:
		return math.Abs
	case engine.Sign:
		return sign
	case engine.Exp:
		return math.Exp
	case engine.Log:
		return math.Log
	case engine.Sqrt:
		return math.Sqrt
	case engine.Reciprocal:
		return func(x float64) float64 { return 1 / x }
	case engine.Sin:
		return math.Sin
	case engine.Cos:
		return math.Cos
	case engine.Asin:
		return math.Asin
	case engine.Acos:
		return math.Acos
	case engine.Atan:
		return math.Atan
	case engine.Sinh:
		return math.Sinh
	case engine.Asinh:
		return math.Asinh
	case engine.Acosh:
		return math.Acosh
	case engine.Atanh:
		return math.Atanh
	case engine.Erf:
		return math.Erf
	case engine.Affine:
		return func(x float64) float64 { return alpha*x + beta }
	case engine.Clip:
		return func(x float64) float64 { return min(max(x, alpha), beta) } // Go's min and max pass NaN on
	case engine.Floor:
		return math.Floor
	}
	return activation(fn, alpha, beta)
}

func activation(fn engine.Fn, alpha, beta float64) func(x float64) float64 {
	switch fn {
	case engine.Relu:
		return func(x float64) float64 { return max(x, 0) }
	case engine.LeakyRelu:
		return func(x float64) float64 { return choose(x < 0, alpha*x, x) }
	case engine.Elu:
		return func(x float64) float64 { return choose(x < 0, alpha*math.Expm1(x), x) }
	case engine.Selu:
		return func(x float64) float64 { return beta * choose(x > 0, x, alpha*math.Expm1(x)) }
	case engine.Celu:
		return func(x float64) float64 { return max(0, x) + min(0, alpha*math.Expm1(x/alpha)) }
	case engine.Sigmoid:
		return sigmoid
	case engine.Tanh:
		return math.Tanh
	case engine.Softplus:
		return softplus
	case engine.Softsign:
		return func(x float64) float64 { return x / (1 + math.Abs(x)) }
	case engine.HardSigmoid:
		return func(x float64) float64 { return max(0, min(1, alpha*x+beta)) }
	case engine.HardSwish:
		return func(x float64) float64 { return x * max(0, min(1, x/6+0.5)) }
	case engine.ThresholdedRelu:
		return func(x float64) float64 { return choose(x > alpha, x, 0) }
	case engine.Gelu: // erfc keeps the digits that 1+erf loses in the left tail
		return func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }
	case engine.GeluTanh:
		return func(x float64) float64 { return x / 2 * (1 + math.Tanh(sqrt2OverPi*(x+geluCubic*x*x*x))) }
	case engine.Swish:
		return func(x float64) float64 { return x * sigmoid(alpha*x) }
	case engine.Mish:
		return func(x float64) float64 { return x * math.Tanh(softplus(x)) }
	}
	return nil
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // ±0 and NaN
}

func choose(c bool, a, b float64) float64 {
	if c {
		return a
	}
	return b
}

// slope returns Fn' as a function of x, or of y where Fn.GradFromOutput. At kinks it is what PyTorch takes: the left slope of LeakyRelu,
// Elu, Selu, Celu and ThresholdedRelu, 0 of Relu and Abs, the inner one of Clip, the outer one of HardSigmoid and HardSwish.
func slope(fn engine.Fn, alpha, beta float64) func(r float64) float64 {
	switch fn {
	case engine.Neg:
		return func(float64) float64 { return -1 }
	case engine.Abs:
		return sign
	case engine.Exp:
		return func(y float64) float64 { return y }
	case engine.Log:
		return func(x float64) float64 { return 1 / x }
	case engine.Sqrt:
		return func(y float64) float64 { return 0.5 / y }
	case engine.Reciprocal:
		return func(y float64) float64 { return -y * y }
	case engine.Sin:
		return math.Cos
	case engine.Cos:
		return func(x float64) float64 { return -math.Sin(x) }
	case engine.Asin:
		return func(x float64) float64 { return 1 / math.Sqrt((1-x)*(1+x)) }
	case engine.Acos:
		return func(x float64) float64 { return -1 / math.Sqrt((1-x)*(1+x)) }
	case engine.Atan:
		return func(x float64) float64 { return 1 / (1 + x*x) }
	case engine.Sinh:
		return math.Cosh
	case engine.Asinh:
		return func(x float64) float64 { return 1 / math.Hypot(1, x) }
	case engine.Acosh:
		return func(x float64) float64 { return 1 / math.Sqrt((x-1)*(x+1)) }
	case engine.Atanh:
		return func(x float64) float64 { return 1 / ((1 - x) * (1 + x)) }
	case engine.Erf:
		return func(x float64) float64 { return twoOverSqrtPi * math.Exp(-x*x) }
	case engine.Affine:
		return func(float64) float64 { return alpha }
	case engine.Clip:
		return func(x float64) float64 { return choose(x >= alpha && x <= beta, 1, 0) }
	case engine.Relu:
		return func(y float64) float64 { return choose(y <= 0, 0, 1) }
	case engine.LeakyRelu:
		return func(x float64) float64 { return choose(x > 0, 1, alpha) }
	case engine.Elu:
		return func(x float64) float64 { return choose(x > 0, 1, alpha*math.Exp(x)) }
	case engine.Selu:
		return func(x float64) float64 { return choose(x > 0, beta, beta*alpha*math.Exp(x)) }
	case engine.Celu:
		return func(x float64) float64 { return choose(x > 0, 1, math.Exp(x/alpha)) }
	}
	return smoothSlope(fn, alpha, beta)
}

func smoothSlope(fn engine.Fn, alpha, beta float64) func(r float64) float64 {
	switch fn {
	case engine.Sigmoid:
		return func(y float64) float64 { return y * (1 - y) }
	case engine.Tanh:
		return func(y float64) float64 { return 1 - y*y }
	case engine.Softplus:
		return sigmoid
	case engine.Softsign:
		return func(x float64) float64 { d := 1 + math.Abs(x); return 1 / (d * d) }
	case engine.HardSigmoid:
		return func(x float64) float64 { y := alpha*x + beta; return choose(y > 0 && y < 1, alpha, 0) }
	case engine.HardSwish:
		return func(x float64) float64 { return choose(x <= -3, 0, choose(x >= 3, 1, x/3+0.5)) }
	case engine.ThresholdedRelu:
		return func(x float64) float64 { return choose(x > alpha, 1, 0) }
	case engine.Gelu:
		return func(x float64) float64 {
			return 0.5*math.Erfc(-x/math.Sqrt2) + x*invSqrt2Pi*math.Exp(-x*x/2)
		}
	case engine.GeluTanh:
		return func(x float64) float64 {
			t := math.Tanh(sqrt2OverPi * (x + geluCubic*x*x*x))
			return 0.5*(1+t) + 0.5*x*(1-t*t)*sqrt2OverPi*(1+3*geluCubic*x*x)
		}
	case engine.Swish:
		return func(x float64) float64 { s := sigmoid(alpha * x); return s + alpha*x*s*(1-s) }
	case engine.Mish:
		return func(x float64) float64 { t := math.Tanh(softplus(x)); return t + x*sigmoid(x)*(1-t*t) }
	}
	return nil
}

// number returns a binary function; comparisons give 0 or 1, and are false at NaN.
func number[T element](fn engine.Fn) func(a, b T) T {
	test := func(f func(a, b T) bool) func(a, b T) T {
		return func(a, b T) T {
			if f(a, b) {
				return 1
			}
			return 0
		}
	}
	switch fn {
	case engine.Add:
		return func(a, b T) T { return a + b }
	case engine.Sub:
		return func(a, b T) T { return a - b }
	case engine.Mul:
		return func(a, b T) T { return a * b }
	case engine.Div:
		return func(a, b T) T { return a / b }
	case engine.Pow:
		return func(a, b T) T { return T(math.Pow(float64(a), float64(b))) }
	case engine.Max:
		return func(a, b T) T { return max(a, b) }
	case engine.Min:
		return func(a, b T) T { return min(a, b) }
	case engine.Greater:
		return test(func(a, b T) bool { return a > b })
	case engine.GreaterOrEqual:
		return test(func(a, b T) bool { return a >= b })
	case engine.Less:
		return test(func(a, b T) bool { return a < b })
	case engine.LessOrEqual:
		return test(func(a, b T) bool { return a <= b })
	case engine.Equal:
		return test(func(a, b T) bool { return a == b })
	}
	return nil
}
