package study

import (
	"fmt"

	"netmend/engine"
	"netmend/repair"
	"netmend/train"
)

// OnDevice trains on a device.
func OnDevice(d engine.Device) Start {
	return func(s repair.Subject, probe bool) (Training, error) {
		t, err := train.New(s.Model, s.Recipe, s.Data, train.Options{Device: d, Probe: probe})
		if err != nil {
			return nil, err
		}
		return deviceTraining{t}, nil
	}
}

type deviceTraining struct{ *train.Trainer }

func (t deviceTraining) Checkpoint() (Checkpoint, error) { return t.Snapshot() }

func (t deviceTraining) Restore(c Checkpoint) error {
	s, ok := c.(*train.Snapshot)
	if !ok {
		return fmt.Errorf("study: a checkpoint of type %T is not one of a device", c)
	}
	return t.Trainer.Restore(s)
}
