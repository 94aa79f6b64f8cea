package repair

import (
	"encoding/json"
	"fmt"
	"math"
)

// Number is a float64 whose JSON keeps what JSON has no numbers for: "NaN", "+Inf" and "-Inf" are strings. Journals and reports need it,
// since a diverged training is a result like any other.
type Number float64

// MarshalJSON writes a number, or one of the three strings.
func (n Number) MarshalJSON() ([]byte, error) {
	switch v := float64(n); {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Inf"`), nil
	default:
		return json.Marshal(v)
	}
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Number) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case `"NaN"`:
		*n = Number(math.NaN())
	case `"+Inf"`:
		*n = Number(math.Inf(1))
	case `"-Inf"`:
		*n = Number(math.Inf(-1))
	default:
		var v float64
		if err := json.Unmarshal(raw, &v); err != nil || string(raw) == "null" {
			return fmt.Errorf("repair: %s is not a number, \"NaN\", \"+Inf\" or \"-Inf\"", raw)
		}
		*n = Number(v)
	}
	return nil
}
