package operators

import (
	"fmt"
	"strings"

	"netmend/repair"
	"netmend/train"
)

// clips are the limits on offer. 0.5 per element is DeepCrime's, 10 per element AutoTrainer's (9 to 10); norms of 1 and 5 are the usual ones
// (Pascanu et al. 2013 use such constants).
var clips = []train.GradientClip{{}, {Value: 0.5}, {Value: 1}, {Value: 10}, {Norm: 1}, {GlobalNorm: 1}, {GlobalNorm: 5}}

func clipWord(c train.GradientClip) string {
	var parts []string
	for _, p := range []struct {
		name string
		v    float64
	}{{"value", c.Value}, {"norm", c.Norm}, {"global_norm", c.GlobalNorm}} {
		if p.v > 0 {
			parts = append(parts, fmt.Sprintf("%s=%v", p.name, p.v))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ",")
}

// gradientClip limits gradients by element, by the norm of each tensor or by the norm of all of them, or removes the limit.
var gradientClip = operator{
	name: "gradient_clip", noun: "gradient clipping",
	doc: "limits gradients by value or norm, or removes the limit",
	slots: func(v *view) []repair.Slot {
		d := repair.Domain{}
		for _, c := range clips {
			d.Choices = append(d.Choices, repair.Word(clipWord(c)))
		}
		now := repair.Word(clipWord(v.Recipe.GradientClip))
		return []repair.Slot{{Target: recipeTarget, Domain: with(d, now), Current: now}}
	},
	apply: func(v *view, _ repair.Slot, value repair.Value) error {
		for _, c := range clips {
			if clipWord(c) == value.Text {
				v.Recipe.GradientClip = c
			}
		}
		return nil
	},
}
