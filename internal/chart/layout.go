package chart

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot/vg"
)

// maxPanels is how many panels a chart may have: enough for any page, and a bound
// on the memory of a picture.
const maxPanels = 24

// Measures of the picture in points. Source: ours, judged by eye.
const (
	defaultWidth = 960.0
	edge         = 12.0
	leftMargin   = 74.0
	legendWidth  = 172.0
	titleSize    = 16.0
	subtitleSize = 10.5
	panelSize    = 11.5
	tickSize     = 9.5
	markSize     = 8.5
	lineStep     = 14.0
	laneHeight   = 19.0
	panelHeight  = 130.0
	onePanel     = 330.0 // of a chart with one panel only
	slant        = 0.5   // radians, of category names that do not fit
)

// box is a panel on the page: the plotting area and what is around it.
type box struct {
	*Panel
	left, top, right, bottom float64 // the plotting area
	head                     float64 // where the panel begins, above title and marks
	foot                     float64 // where it ends
	x, y                     axis
	lanes                    []string
	numbers                  bool // labels along x
	slanted                  bool
	marks                    []placedMark
	markRows                 int // rows of labels above the plotting area
	hiddenMarks              int
	colors                   []string // labels of the bands, in order of first appearance
}

// size gives width and height of the picture in points.
func (c *Chart) size() (width, height float64, err error) {
	if len(c.Panels) > maxPanels {
		return 0, 0, fmt.Errorf("drawing a chart: %d panels, at most %d are possible", len(c.Panels), maxPanels)
	}
	p, err := newPen(nil, 0)
	if err != nil {
		return 0, 0, err
	}
	boxes := c.layout(p)
	height = c.headHeight() + edge
	if n := len(boxes); n > 0 {
		height = boxes[n-1].foot + edge
	}
	return c.width(), math.Ceil(height), nil
}

// width is the width of the picture, within what can be drawn.
func (c *Chart) width() float64 {
	if c.Width <= 0 || !usable(c.Width) {
		return defaultWidth
	}
	return min(4000, max(320, math.Round(c.Width)))
}

// subtitles gives the lines under the title, eight at most.
func (c *Chart) subtitles() []string {
	if c.Subtitle == "" {
		return nil
	}
	lines := strings.Split(c.Subtitle, "\n")
	return lines[:min(8, len(lines))]
}

func (c *Chart) headHeight() float64 {
	h := edge
	if c.Title != "" {
		h += 22
	}
	return h + lineStep*float64(len(c.subtitles()))
}

// layout places the panels; the pen only measures.
func (c *Chart) layout(p *pen) []*box {
	right := c.width() - edge - 8
	for i := range c.Panels {
		if needsLegend(&c.Panels[i]) {
			right = c.width() - legendWidth - edge
		}
	}
	var boxes []*box
	var shared span
	for i := range c.Panels {
		b := &box{Panel: &c.Panels[i], left: leftMargin, right: right}
		b.numbers = !c.ShareX || i == len(c.Panels)-1
		if s := b.xSpan(); s.any {
			shared.add(s.lo)
			shared.add(s.hi)
		}
		boxes = append(boxes, b)
	}
	y := c.headHeight()
	for _, b := range boxes {
		s := shared
		if !c.ShareX {
			s = b.xSpan()
		}
		b.head = y
		b.makeX(s)
		b.placeMarks(p)
		b.place(len(boxes) == 1)
		b.y = newAxis(b.Y, b.YUnit, b.LogY, b.ySpan(), b.bottom, b.top, 27, true)
		y = b.foot
	}
	return boxes
}

// isLanes reports whether a panel is drawn as rows of bands.
func (p *Panel) isLanes() bool { return len(p.Series) == 0 && len(p.Bands) > 0 }

// place finds the vertical places of one panel.
func (b *box) place(alone bool) {
	b.top = b.head + 10
	if b.Title != "" {
		b.top += 15
	}
	b.top += markRowHeight * float64(b.markRows)
	height := panelHeight
	if alone {
		height = onePanel
	}
	if b.Height > 0 && usable(b.Height) {
		height = min(1000, max(24, b.Height))
	}
	if b.isLanes() {
		for _, band := range b.Bands {
			b.lanes = appendNew(b.lanes, band.Lane, 40)
		}
		height = laneHeight * float64(len(b.lanes))
	}
	for _, band := range b.Bands {
		b.colors = appendNew(b.colors, band.Label, 64)
	}
	b.bottom = b.top + height
	b.foot = b.bottom + 4
	if b.numbers {
		b.foot += 15
		if b.X != "" {
			b.foot += 14
		}
		b.slanted = b.longNames()
		if b.slanted {
			b.foot += 44
		}
	}
}

// longNames judges, from the number of letters alone, whether the names of the
// categories have to be slanted to fit.
func (b *box) longNames() bool {
	longest := 0
	for _, name := range b.Categories {
		longest = max(longest, len([]rune(name)))
	}
	return float64(longest)*tickSize*0.6 > (b.right-b.left)/float64(max(1, len(b.Categories)))
}

// appendNew appends a text that is not in the list yet, up to a bound.
func appendNew(list []string, s string, most int) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	if len(list) >= most {
		return list
	}
	return append(list, s)
}

// xSpan is the range of all that stands at an x.
func (b *box) xSpan() span {
	var s span
	add := func(v float64) {
		if !b.LogX || v > 0 {
			s.add(v)
		}
	}
	for i := range b.Series {
		for _, v := range b.Series[i].X {
			add(v)
		}
	}
	for _, m := range b.Marks {
		add(m.X)
	}
	for _, band := range b.Bands {
		add(band.From)
		add(band.To)
	}
	if n := len(b.Categories); n > 0 {
		s.add(-0.5)
		s.add(float64(n) - 0.5)
	}
	return s
}

// ySpan is the range of all values, with zero where that makes sense: a rate of
// which the zero is cut off looks more lively than it is.
func (b *box) ySpan() span {
	var s span
	add := func(v float64) {
		if !b.LogY || v > 0 {
			s.add(v)
		}
	}
	for i := range b.Series {
		r := &b.Series[i]
		for j := range min(len(r.X), len(r.Y)) {
			if usable(r.X[j]) {
				add(r.Y[j])
				low, high, ok := r.whisker(j)
				if ok {
					add(low)
					add(high)
				}
			}
		}
	}
	if s.any && !b.LogY {
		s.add(0)
	}
	return s
}

// whisker gives the ends of the error whisker of one point.
func (s *Series) whisker(i int) (low, high float64, ok bool) {
	if i >= len(s.Low) || i >= len(s.High) || !usable(s.Low[i]) || !usable(s.High[i]) {
		return 0, 0, false
	}
	return min(s.Low[i], s.High[i]), max(s.Low[i], s.High[i]), true
}

// makeX makes the x axis.
func (b *box) makeX(s span) {
	b.x = newAxis(b.X, b.XUnit, b.LogX, s, b.left, b.right, 78, false)
	if len(b.Categories) > 0 {
		b.x.log, b.x.lo, b.x.hi = false, -0.5, float64(len(b.Categories))-0.5
		b.x.scale.suffix = ""
		b.x.ticks = nil
		for i, name := range b.Categories {
			b.x.ticks = append(b.x.ticks, tick{float64(i), name})
		}
	}
}

// draw draws the whole chart.
func (c *Chart) draw(canvas vg.CanvasSizer) error {
	width, height := canvas.Size()
	p, err := newPen(canvas, height.Points())
	if err != nil {
		return err
	}
	p.rect(0, 0, width.Points(), height.Points(), paper)
	y := edge + titleSize*0.8
	room := width.Points() - 2*edge
	if c.Title != "" {
		l := letters{size: titleSize, bold: true, color: ink}
		p.text(point{edge, y}, p.fit(c.Title, room, l), l)
		y += 19
	}
	for _, s := range c.subtitles() {
		l := letters{size: subtitleSize, color: softInk}
		p.text(point{edge, y}, p.fit(s, room, l), l)
		y += lineStep
	}
	boxes := c.layout(p)
	drawn := newThinning(boxes)
	for _, b := range boxes {
		b.draw(p, drawn)
	}
	return nil
}
