package main

import (
	"slices"
	"testing"

	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
)

func TestFineprint(t *testing.T) {
	p := repair.Number(0.5)
	tested := &study.ConstantTest{Score: 0.98, P: &p, Rows: &study.RowTest{P: 0.25}}
	patch := repair.NewPatch(repair.Edit{Operator: "epochs", Target: "recipe", Value: repair.Num(3)})
	const once = "one patch was tested on the hold-out rows, once: no correction for the 7 trials, which never saw them; another run on the same rows is another test"
	for _, c := range []struct {
		r    study.Report
		want []string
	}{
		{study.Report{Patch: patch, Trials: 7, Metric: train.Accuracy, Constant: tested},
			[]string{"one answer for all rows has accuracy 0.98; that the patch is better: p = 0.5 over seeds, 0.25 over rows", once}},
		{study.Report{Patch: patch, Trials: 7, Metric: train.MAE, Faulty: study.Sample{Mean: 2}, Constant: &study.ConstantTest{Score: 3}},
			[]string{"one answer for all rows has mean_absolute_error 3; the faulty model is better than that", once}},
		{study.Report{Metric: train.MAE, Faulty: study.Sample{Mean: 4}, Constant: &study.ConstantTest{Score: 3}}, []string{"one answer for all rows has mean_absolute_error 3"}},
		{study.Report{}, nil},
	} {
		if got := fineprint(c.r); !slices.Equal(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
