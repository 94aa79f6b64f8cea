package repair

import (
	"encoding/json"
	"math"
	"testing"
)

func TestNumbersSurviveJSON(t *testing.T) {
	for _, v := range []float64{0, -1.5, 1e-300, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
		raw, err := json.Marshal(Number(v))
		if err != nil {
			t.Fatal(err)
		}
		var n Number
		if err := json.Unmarshal(raw, &n); err != nil || math.Float64bits(float64(n)) != math.Float64bits(v) && !(math.IsNaN(v) && math.IsNaN(float64(n))) {
			t.Errorf("%v: written as %s, read as %v, %v", v, raw, n, err)
		}
	}
	for _, s := range []string{`"nan"`, `"1"`, `[]`, `{}`} {
		if err := json.Unmarshal([]byte(s), new(Number)); err == nil {
			t.Errorf("%s is read as a number", s)
		}
	}
}
