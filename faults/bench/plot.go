package bench

import (
	"fmt"
	"math"

	"netmend/faults/bench/svg"
	"netmend/repair/stats"
)

// series are the techniques with their budgets, in order.
type series struct {
	technique string
	budget    Budget
}

func (s series) String() string { return s.technique + " " + s.budget.String() }

func (r Results) series() []series {
	var out []series
	for _, t := range r.Config.Techniques {
		for _, b := range r.Config.Budgets {
			out = append(out, series{t, b})
		}
	}
	return out
}

const rowHeight, legendWidth = 26, 160

// rowsPlot draws a chart with a line per fault: marks at values, and hollow ones where hollow gives a number.
func (r Results) rowsPlot(title, axis string, s svg.Scale, ticks []float64, value func(Row) float64, hollow func(Row) float64, hollowName string) []byte {
	all := r.series()
	band := max(rowHeight, 9*len(all)+8)
	width := max(760, int(svg.Left+svg.Right)+legendWidth*len(all))
	c := svg.NewCanvas(width, int(svg.Top+svg.Bottom)+band*len(r.Values), title)
	s.Start, s.End = svg.Left, float64(width)-svg.Right
	var names []string
	for _, x := range all {
		names = append(names, x.String())
	}
	c.Legend(names)
	if hollowName != "" {
		c.Text(float64(width)-svg.Right, 48, "end", "○ "+hollowName)
	}
	base := svg.Top + float64(band*len(r.Values))
	for _, t := range ticks {
		c.Line(s.At(t), svg.Top, s.At(t), base, "#dddddd")
		c.Text(s.At(t), base+18, "middle", fmt.Sprintf("%g", t))
	}
	c.Text((s.Start+s.End)/2, base+38, "middle", axis)
	for k, v := range r.Values {
		y := svg.Top + float64(band*k)
		c.Line(svg.Left, y, s.End, y, "#eeeeee")
		c.Text(svg.Left-10, y+float64(band)/2+4, "end", mark(v.Fault))
		for _, x := range r.Rows {
			if x.Fault.ID != v.Fault.ID {
				continue
			}
			i := 0
			for j, z := range all {
				if z.technique == x.Technique && z.budget == x.Budget {
					i = j
				}
			}
			at := y + float64(band)*(float64(i)+1)/float64(len(all)+1)
			if h := hollow(x); !math.IsNaN(h) {
				c.Mark(s.At(h), at, svg.Colour(i), true, fmt.Sprintf("%s %s, %s: %.3g", v.Fault.ID, all[i], hollowName, h))
			}
			if q := value(x); !math.IsNaN(q) {
				c.Mark(s.At(q), at, svg.Colour(i), false, fmt.Sprintf("%s %s: %.3g", v.Fault.ID, all[i], q))
			}
		}
	}
	return c.Bytes()
}

func (r Results) plotIR() []byte {
	return r.rowsPlot("Improvement rate by fault", "IR (1: as good as the ground truth; shown from -0.5 to 1.5)", svg.Scale{From: -0.5, To: 1.5},
		[]float64{-0.5, 0, 0.5, 1, 1.5}, func(x Row) float64 { return x.IR },
		func(x Row) float64 {
			if x.Published == nil || x.Published.Note != "" {
				return math.NaN()
			}
			return x.Published.IR
		}, "published")
}

func (r Results) plotEdits() []byte {
	most := 4.0
	for _, x := range r.Rows {
		most = max(most, float64(x.Truth))
		if !math.IsNaN(x.Edits) {
			most = max(most, x.Edits)
		}
	}
	step := math.Ceil(most / 6)
	var ticks []float64
	for t := 0.0; t < most+step; t += step {
		ticks = append(ticks, t)
	}
	return r.rowsPlot("Edits of the patch by fault", "edits", svg.Scale{From: 0, To: ticks[len(ticks)-1]}, ticks, func(x Row) float64 { return x.Edits },
		func(x Row) float64 { return float64(x.Truth) }, "ground truth")
}

// curvePoints is how finely the best-so-far curves are drawn.
const curvePoints = 100

// plotBudget draws, for every technique and budget, the mean over all faults and repeats of the IR, from 0 to 1, of the best trial so far on the
// search rows, against the cost in faulty trainings.
func (r Results) plotBudget() []byte {
	all := r.series()
	most := 1.0
	for _, x := range all {
		r.searches(x.technique, x.budget, func(_ ValueRow, s *Search) {
			if n := len(s.Trials); n > 0 {
				most = max(most, float64(s.Trials[n-1].Spent))
			}
		})
	}
	c := svg.NewCanvas(max(760, int(svg.Left+svg.Right)+legendWidth*len(all)), 440, "Best so far against budget")
	x := svg.Scale{From: 0, To: most, Start: svg.Left, End: float64(c.Width) - svg.Right}
	y := svg.Scale{From: 0, To: 1, Start: float64(c.Height) - svg.Bottom, End: svg.Top}
	var names []string
	for _, s := range all {
		names = append(names, s.String())
	}
	c.Legend(names)
	for i := range 5 {
		v := float64(i) / 4
		c.Line(x.Start, y.At(v), x.End, y.At(v), "#dddddd")
		c.Text(svg.Left-8, y.At(v)+4, "end", fmt.Sprintf("%g", v))
		c.Text(x.At(most*v), y.Start+18, "middle", fmt.Sprintf("%.3g", most*v))
	}
	c.Text((x.Start+x.End)/2, y.Start+38, "middle", "cost in trainings of the faulty subject")
	c.Text(16, (y.Start+y.End)/2, "middle", "mean IR of the best so far, 0 to 1, search rows", fmt.Sprintf(`transform="rotate(-90 16 %.1f)"`, (y.Start+y.End)/2))
	for i, s := range all {
		var points [][2]float64
		for k := range curvePoints + 1 {
			cost := most * float64(k) / curvePoints
			var rates []float64
			end := 0.0
			r.searches(s.technique, s.budget, func(v ValueRow, run *Search) {
				rates = append(rates, rateAt(run.Trials, v, cost))
				if n := len(run.Trials); n > 0 {
					end = max(end, float64(run.Trials[n-1].Spent))
				}
			})
			points = append(points, [2]float64{x.At(cost), y.At(stats.Mean(rates))})
			if cost > end {
				break
			}
		}
		c.Path(points, svg.Colour(i))
	}
	return c.Bytes()
}

// rateAt is the IR, from 0 to 1, of the best trial that so much cost pays for.
func rateAt(trials []Trial, v ValueRow, cost float64) float64 {
	best := 0.0
	for i, t := range trials {
		if float64(t.Spent) > cost {
			break
		}
		if q := ImprovementRate(v.BaseSearch, v.FixedSearch, float64(t.Score)); i > 0 && t.Valid && !math.IsNaN(q) {
			best = max(best, min(1, q))
		}
	}
	return best
}
