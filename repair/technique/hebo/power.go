package hebo

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// errTransform says that no power transformation gives values that spread.
var errTransform = errors.New("hebo: the power transformations leave values without spread")

// minSpread is the standard deviation below which a transformation has failed (optimizers/hebo.py, suggest).
const minSpread = 0.5

// transformOutput makes observed values more Gaussian: divided by their standard deviation, then Box and Cox's transformation where all are
// positive, and Yeo and Johnson's otherwise or where that fails; standardised (optimizers/hebo.py, suggest; sklearn.preprocessing.power_transform).
func transformOutput(y []float64) ([]float64, error) {
	scale := populationStd(y)
	if len(y) == 0 || scale == 0 || math.IsNaN(scale) || math.IsInf(scale, 0) {
		return nil, errTransform
	}
	scaled := floats.ScaleTo(make([]float64, len(y)), 1/scale, y)
	out := scaled
	if floats.Min(scaled) <= 0 {
		out = yeoJohnson(scaled, yeoJohnsonLambda(scaled))
	} else {
		out = boxCox(scaled, boxCoxLambda(scaled))
		standardise(out)
		if !(stat.StdDev(out, nil) >= minSpread) {
			out = yeoJohnson(scaled, yeoJohnsonLambda(scaled))
		}
	}
	standardise(out)
	if !(stat.StdDev(out, nil) >= minSpread) { // of one value: NaN
		return nil, errTransform
	}
	return out, nil
}

func populationStd(y []float64) float64 {
	_, std := stat.PopMeanStdDev(y, nil)
	return std
}

// standardise gives values zero mean and unit (population) standard deviation, and says what was taken off. Values without spread are only
// centred (sklearn.preprocessing.StandardScaler and its _handle_zeros_in_scale).
func standardise(y []float64) (mean, std float64) {
	mean, std = stat.PopMeanStdDev(y, nil)
	const eps = 2.220446049250313e-16
	n := float64(len(y))
	if variance := std * std; std == 0 || variance <= n*eps*variance+(n*mean*eps)*(n*mean*eps) { // sklearn.preprocessing._data._is_constant_feature
		std = 1
	}
	for i := range y {
		y[i] = (y[i] - mean) / std
	}
	return mean, std
}

// boxCox is (x^λ − 1)/λ (scipy.special.boxcox).
func boxCox(x []float64, lambda float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		if math.Abs(lambda) < 1e-19 {
			out[i] = math.Log(v)
		} else {
			out[i] = math.Expm1(lambda*math.Log(v)) / lambda
		}
	}
	return out
}

// boxCoxLambda maximises the likelihood of scipy.stats.boxcox_llf: (λ−1)·Σ ln x − n/2 · ln var((x^λ)/λ).
func boxCoxLambda(x []float64) float64 {
	logs, sum := make([]float64, len(x)), 0.0
	for i, v := range x {
		logs[i] = math.Log(v)
		sum += logs[i]
	}
	scaled := make([]float64, len(x))
	return brent(func(lambda float64) float64 {
		n := float64(len(x))
		if lambda == 0 {
			return -(-sum - n/2*math.Log(stat.PopVariance(logs, nil)))
		}
		// The variance of x^λ/λ by logarithms relative to the largest, which cannot overflow.
		top := math.Inf(-1)
		for _, l := range logs {
			top = max(top, lambda*l)
		}
		for i, l := range logs {
			scaled[i] = math.Exp(lambda*l - top)
		}
		logVar := math.Log(stat.PopVariance(scaled, nil)) + 2*top - 2*math.Log(math.Abs(lambda))
		return -((lambda-1)*sum - n/2*logVar)
	}, -2, 2)
}

// yeoJohnson is the transformation of Yeo and Johnson 2000 (sklearn.preprocessing.PowerTransformer._yeo_johnson_transform).
func yeoJohnson(x []float64, lambda float64) []float64 {
	const eps = 2.220446049250313e-16
	out := make([]float64, len(x))
	for i, v := range x {
		switch {
		case v >= 0 && math.Abs(lambda) < eps:
			out[i] = math.Log1p(v)
		case v >= 0:
			out[i] = (math.Pow(v+1, lambda) - 1) / lambda
		case math.Abs(lambda-2) > eps:
			out[i] = -(math.Pow(1-v, 2-lambda) - 1) / (2 - lambda)
		default:
			out[i] = -math.Log1p(-v)
		}
	}
	return out
}

// yeoJohnsonLambda maximises the likelihood (PowerTransformer._yeo_johnson_optimize).
func yeoJohnsonLambda(x []float64) float64 {
	constant := 0.0
	for _, v := range x {
		constant += math.Copysign(math.Log1p(math.Abs(v)), v)
	}
	return brent(func(lambda float64) float64 {
		variance := stat.PopVariance(yeoJohnson(x, lambda), nil)
		if variance < 2.2250738585072014e-308 || math.IsNaN(variance) || math.IsInf(variance, 0) {
			return math.Inf(1)
		}
		return float64(len(x))/2*math.Log(variance) - (lambda-1)*constant
	}, -2, 2)
}

// Constants of scipy.optimize.brent and scipy.optimize.bracket.
const (
	goldenRatio = 1.618034
	goldenShare = 0.3819660
	growLimit   = 110.0
	verySmall   = 1e-21
	brentTol    = 1.48e-8
	brentMin    = 1.0e-11
	brentIter   = 500
	bracketIter = 1000
)

// brent finds a local minimum of f, beginning with a bracket grown from two points: Brent 1973 as scipy.optimize.brent (_optimize.py, Brent)
// has it, since λ is where that search ends.
func brent(f func(float64) float64, a, b float64) float64 {
	xa, x, xc, fx := bracket(f, a, b)
	low, high := min(xa, xc), max(xa, xc)
	w, v, fw, fv := x, x, fx, fx
	deltax, rat := 0.0, 0.0
	for range brentIter {
		tol1 := brentTol*math.Abs(x) + brentMin
		tol2, mid := 2*tol1, 0.5*(low+high)
		if math.Abs(x-mid) < tol2-0.5*(high-low) {
			break
		}
		if parabolic := math.Abs(deltax) > tol1; parabolic {
			tmp1 := (x - w) * (fx - fv)
			tmp2 := (x - v) * (fx - fw)
			p := (x-v)*tmp2 - (x-w)*tmp1
			tmp2 = 2 * (tmp2 - tmp1)
			if tmp2 > 0 {
				p = -p
			}
			tmp2 = math.Abs(tmp2)
			before := deltax
			deltax = rat
			if p > tmp2*(low-x) && p < tmp2*(high-x) && math.Abs(p) < math.Abs(0.5*tmp2*before) {
				rat = p / tmp2
				if u := x + rat; u-low < tol2 || high-u < tol2 {
					rat = math.Copysign(tol1, mid-x)
				}
			} else {
				deltax = goldenStep(x, low, high, mid)
				rat = goldenShare * deltax
			}
		} else {
			deltax = goldenStep(x, low, high, mid)
			rat = goldenShare * deltax
		}
		u := x + rat
		if math.Abs(rat) < tol1 {
			u = x + math.Copysign(tol1, rat)
		}
		fu := f(u)
		if fu > fx {
			if u < x {
				low = u
			} else {
				high = u
			}
			if fu <= fw || w == x {
				v, w, fv, fw = w, u, fw, fu
			} else if fu <= fv || v == x || v == w {
				v, fv = u, fu
			}
			continue
		}
		if u >= x {
			low = x
		} else {
			high = x
		}
		v, w, x, fv, fw, fx = w, x, u, fw, fx, fu
	}
	return x
}

func goldenStep(x, low, high, mid float64) float64 {
	if x >= mid {
		return low - x
	}
	return high - x
}

// bracket grows three points whose middle is the lowest (scipy.optimize.bracket).
func bracket(f func(float64) float64, xa, xb float64) (a, b, c, fb float64) {
	fa, fb := f(xa), f(xb)
	if fa < fb {
		xa, xb, fa, fb = xb, xa, fb, fa
	}
	xc := xb + goldenRatio*(xb-xa)
	fc := f(xc)
	for i := 0; fc < fb && i <= bracketIter; i++ {
		tmp1 := (xb - xa) * (fb - fc)
		tmp2 := (xb - xc) * (fb - fa)
		val := tmp2 - tmp1
		denom := 2 * val
		if math.Abs(val) < verySmall {
			denom = 2 * verySmall
		}
		w := xb - ((xb-xc)*tmp2-(xb-xa)*tmp1)/denom
		limit := xb + growLimit*(xc-xb)
		var fw float64
		switch {
		case (w-xc)*(xb-w) > 0:
			fw = f(w)
			if fw < fc {
				return xb, w, xc, fw
			} else if fw > fb {
				return xa, xb, w, fb
			}
			w = xc + goldenRatio*(xc-xb)
			fw = f(w)
		case (w-limit)*(limit-xc) >= 0:
			w = limit
			fw = f(w)
		case (w-limit)*(xc-w) > 0:
			fw = f(w)
			if fw < fc {
				xb, xc = xc, w
				w = xc + goldenRatio*(xc-xb)
				fb, fc = fc, fw
				fw = f(w)
			}
		default:
			w = xc + goldenRatio*(xc-xb)
			fw = f(w)
		}
		xa, xb, xc = xb, xc, w
		fa, fb, fc = fb, fc, fw
	}
	return xa, xb, xc, fb
}
