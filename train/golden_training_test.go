package train_test

import (
	"testing"

	"netmend/engine/reference"
	"netmend/train/goldentest"
)

// The frameworks recorded in float64 where they could: the float64 device must follow them far closer than the tolerance that float32
// needs, and the float32 device within it.
func TestTrainingFollowsPyTorch(t *testing.T) {
	goldentest.Run(t, reference.NewFloat64(), "..", "pytorch", 1)
	goldentest.Run(t, reference.New(), "..", "pytorch", 7)
}
