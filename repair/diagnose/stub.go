package diagnose

import (
	"netmend/repair"
	"netmend/train"
)

func Static(s repair.Subject, space repair.Space) []Symptom { return nil }
func Dynamic(t *train.Trace, r train.Recipe) []Symptom      { return nil }
