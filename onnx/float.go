package onnx

import "math"

// minifloat describes a small floating-point format: sign bit, exponent, mantissa.
type minifloat struct {
	exponent, mantissa uint
	bias               int
	special            specials
}

// specials says which bit patterns are not finite numbers.
type specials int

const (
	allFinite   specials = iota // OCP MX: every pattern is a number
	ieee                        // the highest exponent holds Inf and NaN
	nanAllOnes                  // "FN": only all ones is NaN, no Inf
	nanNegative                 // "FNUZ": only negative zero is NaN, no Inf
)

// minifloats are the formats of onnx-ml.proto's DataType: float16 (IEEE 754-2008), the float8 formats of
// arXiv:2209.05433 and arXiv:2206.02915, and the OCP MX formats.
var minifloats = map[DataType]minifloat{
	Float16:        {5, 10, 15, ieee},
	Float8E4M3FN:   {4, 3, 7, nanAllOnes},
	Float8E4M3FNUZ: {4, 3, 8, nanNegative},
	Float8E5M2:     {5, 2, 15, ieee},
	Float8E5M2FNUZ: {5, 2, 16, nanNegative},
	Float4E2M1:     {2, 1, 1, allFinite},
	Float6E2M3:     {2, 3, 1, allFinite},
	Float6E3M2:     {3, 2, 3, allFinite},
}

// floatFromBits returns the value of one element of a real floating-point type.
func floatFromBits(t DataType, v uint64) float64 {
	switch t {
	case Float32:
		return float64(math.Float32frombits(uint32(v)))
	case Float64:
		return math.Float64frombits(v)
	case BFloat16:
		return float64(math.Float32frombits(uint32(v) << 16))
	case Float8E8M0: // 2^(v-127), no sign; 255 is NaN (OCP MX §5.4.1)
		if v == 255 {
			return math.NaN()
		}
		return math.Ldexp(1, int(v)-127)
	}
	f, ok := minifloats[t]
	if !ok {
		return math.NaN()
	}
	return f.value(v)
}

// value: (-1)^s · 2^(e-bias) · (1 + m/2^mantissa), and (-1)^s · 2^(1-bias) · m/2^mantissa where e = 0.
func (f minifloat) value(v uint64) float64 {
	m := v & (1<<f.mantissa - 1)
	e := v >> f.mantissa & (1<<f.exponent - 1)
	negative := v>>(f.mantissa+f.exponent)&1 == 1
	sign := 1.0
	if negative {
		sign = -1
	}
	top := e == 1<<f.exponent-1
	switch {
	case f.special == ieee && top && m == 0:
		return math.Inf(int(sign))
	case f.special == ieee && top,
		f.special == nanAllOnes && top && m == 1<<f.mantissa-1,
		f.special == nanNegative && negative && e == 0 && m == 0:
		return math.NaN()
	case e == 0:
		return math.Copysign(math.Ldexp(float64(m), 1-f.bias-int(f.mantissa)), sign)
	}
	return sign * math.Ldexp(float64(m|1<<f.mantissa), int(e)-f.bias-int(f.mantissa))
}
