package technique_test

import (
	"strings"
	"testing"

	"netmend/repair/technique"
	"netmend/repair/technique/techniquetest"
)

func TestConformance(t *testing.T) {
	for _, name := range technique.Names() {
		techniquetest.Run(t, name, func(s technique.Setup) (technique.Technique, error) { return technique.New(name, s) })
	}
}

func TestUnknownTechnique(t *testing.T) {
	if _, err := technique.New("oracle", techniquetest.Setup()); err == nil || !strings.Contains(err.Error(), "guided") {
		t.Errorf("unknown technique: %v", err)
	}
}
