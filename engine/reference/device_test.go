package reference_test

import (
	"testing"

	"netmend/engine/devicetest"
	"netmend/engine/reference"
)

func TestDevice(t *testing.T) { devicetest.Run(t, reference.New()) }
