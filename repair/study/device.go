package study

import (
	"fmt"

	"netmend/engine"
	"netmend/repair"
	"netmend/train"
)

// OnDevice trains on a device.
func OnDevice(d engine.Device) Start {
	return func(s repair.Subject, o train.Options) (Training, error) {
		o.Device = d
		t, err := train.New(s.Model, s.Recipe, s.Data, o)
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
