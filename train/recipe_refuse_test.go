package train_test

import (
	"math"
	"strings"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/train"
	"netmend/train/traintest"
)

// What a recipe says of a tensor or node that cannot have it is refused by name: silently left out, it would look as if it had been done.
func TestARecipeThatNamesTheWrongThingIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		model string
		spoil func(r *train.Recipe, d *data.Splits)
		want  string
	}{
		"regularizer on a running mean": {"keras_cnn", func(r *train.Recipe, _ *data.Splits) {
			r.Regularizers = map[string]train.Regularizer{"RUNNING": {L2: 1}}
		}, "running mean"},
		"dropout on what is none": {"pytorch_mlp", func(r *train.Recipe, _ *data.Splits) { r.Dropout = map[string]float64{"node_linear": .5} },
			`no Dropout node "node_linear"`},
		"monitor without rows": {"pytorch_mlp", func(r *train.Recipe, d *data.Splits) {
			r.EarlyStopping, d.Search = train.EarlyStopping{Monitor: "metric", Patience: 1}, nil
		}, "no search rows"},
		"metric that cannot judge": {"pytorch_mlp", func(r *train.Recipe, _ *data.Splits) { r.Metric = train.Angle }, "two angles"},
	} {
		m, r, d := traintest.Export(t, c.model)
		c.spoil(&r, &d)
		if g, ok := r.Regularizers["RUNNING"]; ok {
			for _, n := range m.Graph.Nodes {
				if n.OpType == "BatchNormalization" {
					r.Regularizers = map[string]train.Regularizer{n.Input(3): g}
				}
			}
		}
		tr, err := train.New(m, r, d, train.Options{Device: reference.New()})
		if err == nil {
			tr.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestNoNumberOfARecipeIsNonFinite(t *testing.T) {
	_, r, _ := traintest.Export(t, "pytorch_mlp")
	for name, spoil := range map[string]func(r *train.Recipe, v float64){
		"delta":     func(r *train.Recipe, v float64) { r.Loss.Delta = v },
		"min_delta": func(r *train.Recipe, v float64) { r.EarlyStopping.MinDelta = v },
		"by":        func(r *train.Recipe, v float64) { r.Preprocessing = []train.Preprocess{{Kind: "minmax", By: v}} },
		"eta_min":   func(r *train.Recipe, v float64) { r.Schedule = train.Schedule{Name: "cosine", TMax: 3, EtaMin: v} },
		"threshold": func(r *train.Recipe, v float64) {
			r.Schedule = train.Schedule{Name: "plateau", Factor: .5, Threshold: v}
		},
		"min_lr": func(r *train.Recipe, v float64) { r.Schedule = train.Schedule{Name: "plateau", Factor: .5, MinLR: v} },
		"eps":    func(r *train.Recipe, v float64) { r.Schedule = train.Schedule{Name: "plateau", Factor: .5, Eps: v} },
		"cooldown": func(r *train.Recipe, v float64) {
			r.Schedule = train.Schedule{Name: "plateau", Factor: .5, Cooldown: -1}
		},
		"gamma": func(r *train.Recipe, v float64) { r.Schedule = train.Schedule{Name: "plateau", Factor: .5, Gamma: v} },
	} {
		for _, v := range []float64{math.NaN(), math.Inf(1), -1} {
			c := r.Clone()
			spoil(&c, v)
			if v == -1 && (name == "by" || name == "delta" || name == "gamma") {
				continue // a divisor may be negative, and what no loss or schedule reads may be anything finite
			}
			if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %v: error %v does not name it", name, v, err)
			}
		}
	}
}
