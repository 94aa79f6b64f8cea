package bench

import (
	"fmt"
	"math"
	"strings"

	"netmend/repair/stats"
)

// The plots are a few hundred lines and marks: a writer of our own keeps them the same to the byte on every machine.

// palette is Okabe and Ito's ("Color Universal Design", 2008), which people with any colour vision can tell apart.
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// canvas collects the elements of an SVG image.
type canvas struct {
	w             strings.Builder
	width, height int
}

func newCanvas(width, height int, title string) *canvas {
	c := &canvas{width: width, height: height}
	fmt.Fprintf(&c.w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&c.w, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	c.text(float64(width)/2, 22, "middle", title, `font-size="15"`)
	return c
}

func (c *canvas) bytes() []byte { return []byte(c.w.String() + "</svg>\n") }

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func (c *canvas) text(x, y float64, anchor, s string, more ...string) {
	fmt.Fprintf(&c.w, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, strings.Join(more, " "), escape.Replace(s))
}

func (c *canvas) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(&c.w, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
}

// mark is a disc; hollow for published values.
func (c *canvas) mark(x, y float64, colour string, hollow bool, title string) {
	fill := colour
	if hollow {
		fill = "#ffffff"
	}
	fmt.Fprintf(&c.w, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s" stroke="%s" stroke-width="1.5"><title>%s</title></circle>`+"\n", x, y, fill, colour, escape.Replace(title))
}

func (c *canvas) path(points [][2]float64, colour string) {
	var d strings.Builder
	for i, p := range points {
		op := "L"
		if i == 0 {
			op = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", op, p[0], p[1])
	}
	fmt.Fprintf(&c.w, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", d.String(), colour)
}

// scale maps values to pixels.
type scale struct{ from, to, start, end float64 }

func (s scale) at(v float64) float64 {
	v = max(s.from, min(s.to, v))
	return s.start + (v-s.from)/(s.to-s.from)*(s.end-s.start)
}

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

func colour(i int) string { return palette[i%len(palette)] }

const (
	left, right, top, bottom = 70.0, 30.0, 66.0, 50.0
	rowHeight, legendWidth   = 26, 160
)

func (c *canvas) legend(names []string) {
	x := left
	for i, n := range names {
		c.mark(x, 44, colour(i), false, n)
		c.text(x+10, 48, "start", n)
		x += 24 + 7.2*float64(len(n))
	}
}

// rowsPlot draws a chart with a line per fault: marks at values, and hollow ones where hollow gives a number.
func (r Results) rowsPlot(title, axis string, s scale, ticks []float64, value func(Row) float64, hollow func(Row) float64, hollowName string) []byte {
	all := r.series()
	band := max(rowHeight, 9*len(all)+8)
	width := max(760, int(left+right)+legendWidth*len(all))
	c := newCanvas(width, int(top+bottom)+band*len(r.Values), title)
	s.start, s.end = left, float64(width)-right
	var names []string
	for _, x := range all {
		names = append(names, x.String())
	}
	c.legend(names)
	if hollowName != "" {
		c.text(float64(width)-right, 48, "end", "○ "+hollowName)
	}
	base := top + float64(band*len(r.Values))
	for _, t := range ticks {
		c.line(s.at(t), top, s.at(t), base, "#dddddd")
		c.text(s.at(t), base+18, "middle", fmt.Sprintf("%g", t))
	}
	c.text((s.start+s.end)/2, base+38, "middle", axis)
	for k, v := range r.Values {
		y := top + float64(band*k)
		c.line(left, y, s.end, y, "#eeeeee")
		c.text(left-10, y+float64(band)/2+4, "end", mark(v.Fault))
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
				c.mark(s.at(h), at, colour(i), true, fmt.Sprintf("%s %s, %s: %.3g", v.Fault.ID, all[i], hollowName, h))
			}
			if q := value(x); !math.IsNaN(q) {
				c.mark(s.at(q), at, colour(i), false, fmt.Sprintf("%s %s: %.3g", v.Fault.ID, all[i], q))
			}
		}
	}
	return c.bytes()
}

func (r Results) plotIR() []byte {
	return r.rowsPlot("Improvement rate by fault", "IR (1: as good as the ground truth; shown from -0.5 to 1.5)", scale{from: -0.5, to: 1.5},
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
	return r.rowsPlot("Edits of the patch by fault", "edits", scale{from: 0, to: ticks[len(ticks)-1]}, ticks, func(x Row) float64 { return x.Edits },
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
	c := newCanvas(max(760, int(left+right)+legendWidth*len(all)), 440, "Best so far against budget")
	x := scale{0, most, left, float64(c.width) - right}
	y := scale{0, 1, float64(c.height) - bottom, top}
	var names []string
	for _, s := range all {
		names = append(names, s.String())
	}
	c.legend(names)
	for i := range 5 {
		v := float64(i) / 4
		c.line(x.start, y.at(v), x.end, y.at(v), "#dddddd")
		c.text(left-8, y.at(v)+4, "end", fmt.Sprintf("%g", v))
		c.text(x.at(most*v), y.start+18, "middle", fmt.Sprintf("%.3g", most*v))
	}
	c.text((x.start+x.end)/2, y.start+38, "middle", "cost in trainings of the faulty subject")
	c.text(16, (y.start+y.end)/2, "middle", "mean IR of the best so far, 0 to 1, search rows", fmt.Sprintf(`transform="rotate(-90 16 %.1f)"`, (y.start+y.end)/2))
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
			points = append(points, [2]float64{x.at(cost), y.at(stats.Mean(rates))})
			if cost > end {
				break
			}
		}
		c.path(points, colour(i))
	}
	return c.bytes()
}

// rateAt is the IR, from 0 to 1, of the best trial that so much cost pays for.
func rateAt(trials []Trial, v ValueRow, cost float64) float64 {
	best := 0.0
	for i, t := range trials {
		if float64(t.Spent) > cost {
			break
		}
		if q := ImprovementRate(v.FaultySearch, v.FixedSearch, float64(t.Score)); i > 0 && t.Valid && !math.IsNaN(q) {
			best = max(best, min(1, q))
		}
	}
	return best
}
