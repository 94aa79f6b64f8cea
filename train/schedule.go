package train

import (
	"fmt"
	"math"
)

// Schedule changes the learning rate between epochs, as torch.optim.lr_scheduler does with one step per epoch. Name empty: constant.
type Schedule struct {
	Name     string  `yaml:"name" json:"name"`
	StepSize int     `yaml:"step_size,omitempty" json:"step_size,omitempty"` // step: epochs between two drops
	Gamma    float64 `yaml:"gamma,omitempty" json:"gamma,omitempty"`         // step, exponential: the factor
	TMax     int     `yaml:"t_max,omitempty" json:"t_max,omitempty"`         // cosine: epochs from the full rate to the least
	EtaMin   float64 `yaml:"eta_min,omitempty" json:"eta_min,omitempty"`     // cosine: the least rate
	// Plateau (ReduceLROnPlateau) watches the training loss: Mode min is the only one. A value is better when it is below
	// best·(1-Threshold) (threshold_mode rel) or best-Threshold (abs).
	Mode          string  `yaml:"mode,omitempty" json:"mode,omitempty"`
	Factor        float64 `yaml:"factor,omitempty" json:"factor,omitempty"`
	Patience      int     `yaml:"patience,omitempty" json:"patience,omitempty"`
	Threshold     float64 `yaml:"threshold,omitempty" json:"threshold,omitempty"`
	ThresholdMode string  `yaml:"threshold_mode,omitempty" json:"threshold_mode,omitempty"` // zero: rel
	Cooldown      int     `yaml:"cooldown,omitempty" json:"cooldown,omitempty"`
	MinLR         float64 `yaml:"min_lr,omitempty" json:"min_lr,omitempty"`
	Eps           float64 `yaml:"eps,omitempty" json:"eps,omitempty"` // a smaller change of the rate is not made
}

func (s Schedule) check() error {
	bad := func(field string, v any, want string) error {
		return fmt.Errorf("schedule %s: %s %v must be %s", s.Name, field, v, want)
	}
	if s.Cooldown < 0 {
		return bad("cooldown", s.Cooldown, "at least 0")
	}
	if err := nonNegative("schedule "+s.Name, []named{{"gamma", s.Gamma}, {"eta_min", s.EtaMin}, {"factor", s.Factor},
		{"threshold", s.Threshold}, {"min_lr", s.MinLR}, {"eps", s.Eps}}); err != nil {
		return err
	}
	switch s.Name {
	case "":
		return nil
	case "step":
		if s.StepSize < 1 {
			return bad("step_size", s.StepSize, "at least 1")
		}
		fallthrough
	case "exponential":
		if s.Gamma == 0 {
			return bad("gamma", s.Gamma, "positive")
		}
	case "cosine":
		if s.TMax < 1 {
			return bad("t_max", s.TMax, "at least 1")
		}
	case "plateau":
		switch {
		case !(s.Factor > 0 && s.Factor < 1):
			return bad("factor", s.Factor, "between 0 and 1")
		case s.Patience < 0:
			return bad("patience", s.Patience, "at least 0")
		case s.Mode != "" && s.Mode != "min":
			return bad("mode", s.Mode, "min: the training loss is what it watches")
		case s.ThresholdMode != "" && s.ThresholdMode != "rel" && s.ThresholdMode != "abs":
			return bad("threshold_mode", s.ThresholdMode, "rel or abs")
		}
	default:
		return fmt.Errorf("schedule %q is not known: step, exponential, cosine or plateau", s.Name)
	}
	return nil
}

// Rate is the learning rate of an epoch, counted from 0, of a training that begins with the rate base. That of a plateau depends on the losses: it is base.
func (s Schedule) Rate(base float64, epoch int) float64 {
	switch s.Name {
	case "step":
		return base * math.Pow(s.Gamma, float64(epoch/max(1, s.StepSize)))
	case "exponential":
		return base * math.Pow(s.Gamma, float64(epoch))
	case "cosine": // Loshchilov and Hutter 2017, equation 5, without restarts
		return s.EtaMin + (base-s.EtaMin)*(1+math.Cos(math.Pi*float64(epoch)/float64(s.TMax)))/2
	}
	return base
}

// scheduler is a schedule at work.
type scheduler struct {
	s             Schedule
	base, lr      float64
	epoch         int
	best          float64
	bad, cooldown int
}

func newScheduler(s Schedule, base float64) *scheduler {
	return &scheduler{s: s, base: base, lr: base, best: math.Inf(1)}
}

// rate is the learning rate of the epoch to come.
func (c *scheduler) rate() float64 { return c.lr }

// end tells the schedule that an epoch with a mean training loss is over.
func (c *scheduler) end(loss float64) {
	c.epoch++
	if c.s.Name == "plateau" {
		c.plateau(loss)
	} else {
		c.lr = c.s.Rate(c.base, c.epoch)
	}
}

// plateau follows torch.optim.lr_scheduler.ReduceLROnPlateau.step.
func (c *scheduler) plateau(loss float64) {
	limit := c.best * (1 - c.s.Threshold)
	if c.s.ThresholdMode == "abs" {
		limit = c.best - c.s.Threshold
	}
	if loss < limit || math.IsInf(c.best, 1) && loss < c.best {
		c.best, c.bad = loss, 0
	} else {
		c.bad++
	}
	if c.cooldown > 0 {
		c.cooldown--
		c.bad = 0
	}
	if c.bad > c.s.Patience {
		if lr := max(c.lr*c.s.Factor, c.s.MinLR); c.lr-lr > c.s.Eps {
			c.lr = lr
		}
		c.cooldown, c.bad = c.s.Cooldown, 0
	}
}
