package train_test

import (
	"testing"

	"netmend/engine/reference"
	"netmend/train/goldentest"
)

func TestTrainingFollowsKeras(t *testing.T) {
	goldentest.Run(t, reference.NewFloat64(), "..", "keras", 1)
	goldentest.Run(t, reference.New(), "..", "keras", 7)
}
