package train_test

import (
	"testing"

	"netmend/engine/reference"
	"netmend/train/goldentest"
)

// The float64 device shows that the arithmetic of every export is its framework's.
func TestExportsAsRecorded(t *testing.T) {
	goldentest.Recorded(t, reference.NewFloat64(), "..")
}
