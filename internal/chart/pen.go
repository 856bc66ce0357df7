package chart

import (
	"fmt"
	"image/color"
	"math"
	"strings"
	"unicode"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	plotfont "gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// textLimit is the most characters of one text that are drawn.
//
// Unit: characters. Source: ours; more do not fit on any picture.
const textLimit = 200

// point is a place on the picture, from its upper left corner, in points.
type point struct{ x, y float64 }

// pen draws on a canvas in coordinates whose origin is the upper left corner.
type pen struct {
	c             vg.Canvas
	height        float64
	regular, bold *opentype.Font
}

// newPen makes a pen for a canvas of the given height.
func newPen(c vg.Canvas, height float64) (*pen, error) {
	regular, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("reading the built-in font: %w", err)
	}
	bold, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return nil, fmt.Errorf("reading the built-in bold font: %w", err)
	}
	return &pen{c: c, height: height, regular: regular, bold: bold}, nil
}

// at gives a place as the canvas counts it. A tenth of a point is finer than can
// be seen; rounding makes files small and the same on all processors.
func (p *pen) at(q point) vg.Point {
	return vg.Point{X: vg.Length(tenth(q.x)), Y: vg.Length(tenth(p.height - q.y))}
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// line draws a line through points.
func (p *pen) line(points []point, c color.NRGBA, width float64, dash []float64) {
	if len(points) < 2 {
		return
	}
	var path vg.Path
	last := p.at(points[0])
	path.Move(last)
	for _, q := range points[1:] {
		// Points that fall on the one before add nothing but bytes.
		if v := p.at(q); v != last {
			path.Line(v)
			last = v
		}
	}
	if len(path) < 2 {
		path.Line(vg.Point{X: last.X + 0.1, Y: last.Y})
	}
	lengths := make([]vg.Length, len(dash))
	for i, d := range dash {
		lengths[i] = vg.Length(d)
	}
	p.c.SetColor(c)
	p.c.SetLineWidth(vg.Length(width))
	p.c.SetLineDash(lengths, 0)
	p.c.Stroke(path)
}

// fill fills the polygon with these corners.
func (p *pen) fill(corners []point, c color.NRGBA) {
	var path vg.Path
	path.Move(p.at(corners[0]))
	for _, q := range corners[1:] {
		path.Line(p.at(q))
	}
	path.Close()
	p.c.SetColor(c)
	p.c.Fill(path)
}

// rect fills a rectangle.
func (p *pen) rect(x0, y0, x1, y1 float64, c color.NRGBA) {
	p.fill([]point{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}, c)
}

// disc fills a circle.
func (p *pen) disc(q point, radius float64, c color.NRGBA) {
	center := p.at(q)
	var path vg.Path
	path.Move(vg.Point{X: center.X + vg.Length(radius), Y: center.Y})
	path.Arc(center, vg.Length(radius), 0, 2*math.Pi)
	path.Close()
	p.c.SetColor(c)
	p.c.Fill(path)
}

// letters is how a text is written.
type letters struct {
	size  float64 // points
	bold  bool
	color color.NRGBA
	align float64 // share of the text's width that is left of its place
	angle float64 // radians, counterclockwise
}

func (p *pen) face(l letters) plotfont.Face {
	f := plotfont.Face{Font: plotfont.Font{Typeface: "Go", Size: vg.Length(l.size)}, Face: p.regular}
	if l.bold {
		f.Font.Weight, f.Face = font.WeightBold, p.bold
	}
	return f
}

// width gives the width of a text in points.
func (p *pen) width(s string, l letters) float64 {
	f := p.face(l)
	return f.Width(s).Points()
}

// text writes one line; q is where its baseline begins, or as aligned.
func (p *pen) text(q point, s string, l letters) {
	if s == "" {
		return
	}
	shift := l.align * p.width(s, l)
	sin, cos := math.Sincos(l.angle)
	v := p.at(point{q.x - shift*cos, q.y + shift*sin})
	p.c.SetColor(l.color)
	if l.angle == 0 {
		p.c.FillString(p.face(l), v, s)
		return
	}
	p.c.Push()
	p.c.Rotate(l.angle)
	x, y := v.X.Points(), v.Y.Points()
	p.c.FillString(p.face(l), vg.Point{X: vg.Length(tenth(y*sin + x*cos)), Y: vg.Length(tenth(y*cos - x*sin))}, s)
	p.c.Pop()
}

// fit cuts a text so that it is at most as wide as given.
func (p *pen) fit(s string, width float64, l letters) string {
	s = clean(s)
	if p.width(s, l) <= width {
		return s
	}
	runes := []rune(s)
	for len(runes) > 0 {
		runes = runes[:len(runes)-1]
		if cut := strings.TrimRight(string(runes), " ") + "…"; p.width(cut, l) <= width {
			return cut
		}
	}
	return ""
}

// clean makes a text one line that a file of text may hold.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > textLimit {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}
