// Package chart draws charts of measurements as SVG and PNG: panels one above
// the other, with lines, steps, points or bars over a common or their own x axis,
// marks for moments and bands for periods.
//
// It is the only room that knows the plotting library, of which it uses the
// canvases; axes, ticks, legend and layout are its own, which keeps the program
// small: the library's ready-made plots bring every font and file format along.
//
// Start reading at [Chart], then [Chart.WriteFile].
package chart

// Kind is how the values of a series are shown.
type Kind int

// The kinds.
const (
	Line   Kind = iota // straight lines from point to point; short ones with markers
	Steps              // a value holds until the next point
	Points             // markers only
	Bars               // from zero; several series stand side by side
)

// Unit is what the numbers of an axis are. Values are always given in the base
// unit; the axis chooses the prefix and shows it.
type Unit int

// The units.
const (
	Number        Unit = iota // no unit
	Count                     // whole numbers: no ticks between them
	BitsPerSecond             // shown as bit/s, kbit/s, Mbit/s, Gbit/s
	Bytes                     // shown as B, KiB, MiB, GiB
	Seconds                   // shown as µs, ms, s, min, h
	Share                     // 0 to 1, shown as per cent
)

// Chart is one picture.
//
// A chart is a value that is read only while it is drawn; drawing one chart from
// several goroutines is safe. The same chart gives the same bytes. Texts may hold
// anything: what cannot be printed is replaced, what is too long is cut.
type Chart struct {
	Title    string
	Subtitle string // under the title, one line per \n
	Panels   []Panel

	// ShareX gives all panels the same x range, so that what stands above each
	// other happened at one time; only the last shows numbers.
	ShareX bool

	// Width is that of the picture in points of 1/72 inch; 0 means 960. The
	// height follows from the panels.
	Width float64
}

// Panel is one pair of axes with what is drawn in it.
//
// A panel that has bands and no series is drawn as lanes, one row per Lane of its
// bands. A panel with neither says that there is no data.
type Panel struct {
	Title        string
	X, Y         string // names of the axes, without units
	XUnit, YUnit Unit
	LogX, LogY   bool // values that are not positive are then left out

	// Categories, when not empty, are the names of the x values 0, 1, 2, ...
	Categories []string

	// Height is that of the plotting area in points; 0 means what suits.
	Height float64

	Series []Series
	Marks  []Mark
	Bands  []Band
}

// Series is one set of values with one name in the legend.
//
// X and Y have the same length; of unequal ones the longer is cut. A point with
// a NaN or infinite value is left out, and a line breaks there. Low and High, when
// not empty, are the ends of error whiskers in the unit of Y. Line and Steps are
// drawn in the order given, which should be that of X.
type Series struct {
	Name      string
	Kind      Kind
	X, Y      []float64
	Low, High []float64

	// Style picks colour and dashes: equal numbers look equal in all panels. 0
	// means the place in the panel, counted from 1.
	Style int
	// Faint draws thin and pale, for many of which none matters alone.
	Faint bool
}

// Severity says how much a mark matters, and so its colour.
type Severity int

// The severities.
const (
	Info Severity = iota
	Warn
	Bad
)

// Mark is a moment: a vertical line with a label above the panel. Labels that find
// no room are left out, and their number is said.
type Mark struct {
	X        float64
	Label    string
	Severity Severity
}

// Band is a period. Equal labels have equal colours within a panel.
type Band struct {
	From, To float64
	Label    string
	Lane     string // row of a panel without series; see Panel
}
