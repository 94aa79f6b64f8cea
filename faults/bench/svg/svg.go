// Package svg draws charts. They are a few hundred lines and marks: a writer of our own keeps them the same to the byte on every machine.
package svg

import (
	"fmt"
	"strings"
)

// Margins of a chart, in pixels: the title and the legend stand above it, the axis below.
const Left, Right, Top, Bottom = 70.0, 30.0, 66.0, 50.0

// palette is Okabe and Ito's ("Color Universal Design", 2008), which people with any colour vision can tell apart.
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// Canvas collects the elements of an SVG image.
type Canvas struct {
	w             strings.Builder
	Width, Height int
}

// NewCanvas is an empty image with a title; sizes are in pixels.
func NewCanvas(width, height int, title string) *Canvas {
	c := &Canvas{Width: width, Height: height}
	fmt.Fprintf(&c.w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&c.w, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	c.Text(float64(width)/2, 22, "middle", title, `font-size="15"`)
	return c
}

// Bytes is the finished image.
func (c *Canvas) Bytes() []byte { return []byte(c.w.String() + "</svg>\n") }

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// Text is written at a point, which is its start, middle or end; more are attributes.
func (c *Canvas) Text(x, y float64, anchor, s string, more ...string) {
	fmt.Fprintf(&c.w, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, strings.Join(more, " "), escape.Replace(s))
}

// Line is drawn between two points.
func (c *Canvas) Line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(&c.w, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
}

// Mark is a disc, or hollow; title is what a reader sees who points at it.
func (c *Canvas) Mark(x, y float64, colour string, hollow bool, title string) {
	fill := colour
	if hollow {
		fill = "#ffffff"
	}
	fmt.Fprintf(&c.w, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s" stroke="%s" stroke-width="1.5"><title>%s</title></circle>`+"\n", x, y, fill, colour, escape.Replace(title))
}

// Path is a line through points.
func (c *Canvas) Path(points [][2]float64, colour string) {
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

// Scale maps values to pixels.
type Scale struct{ From, To, Start, End float64 }

// At is the place of a value; those outside lie on the edge.
func (s Scale) At(v float64) float64 {
	v = max(s.From, min(s.To, v))
	return s.Start + (v-s.From)/(s.To-s.From)*(s.End-s.Start)
}

// Colour is the i-th of the palette.
func Colour(i int) string { return palette[i%len(palette)] }

// Legend is a row of marks with names, in the colours of the palette.
func (c *Canvas) Legend(names []string) {
	x := Left
	for i, n := range names {
		c.Mark(x, 44, Colour(i), false, n)
		c.Text(x+10, 48, "start", n)
		x += 24 + 7.2*float64(len(n))
	}
}
