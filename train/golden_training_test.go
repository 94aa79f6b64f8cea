package train_test

import (
	"testing"

	"netmend/engine/reference"
	"netmend/train/goldentest"
)

// Replays on the float64 device show that the arithmetic is the frameworks'; those on the float32 device, that its rounding stays within
// the tolerance.
func TestTrainingFollowsTheFrameworks(t *testing.T) {
	for _, framework := range []string{"pytorch", "keras"} {
		goldentest.Run(t, reference.NewFloat64(), "..", framework, 1)
		goldentest.Run(t, reference.New(), "..", framework, 7)
	}
}
