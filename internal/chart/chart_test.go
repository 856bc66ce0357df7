package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runLike is a chart as of a run: rates and round trips over time, with marks.
func runLike(n int) Chart {
	r := rand.New(rand.NewPCG(1, 2))
	x, rate, sent, rtt := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	level := 4e8
	for i := range n {
		x[i] = 120 * float64(i) / float64(n)
		level = max(1e8, level+1e7*r.NormFloat64())
		rate[i], sent[i], rtt[i] = level, level*1.05+5e7*r.Float64(), 0.080+0.01*r.ExpFloat64()
	}
	return Chart{
		Title: "gomover big.dat h1:/data", Subtitle: "exit 0 after 120 s, 6.0 GB at 400 Mbit/s\nlimited by network 80 %, source disk 20 %",
		ShareX: true,
		Panels: []Panel{
			{Title: "Throughput", Y: "rate", YUnit: BitsPerSecond, X: "time", XUnit: Seconds,
				Series: []Series{{Name: "confirmed", X: x, Y: rate}, {Name: "sent", X: x, Y: sent, Faint: true}},
				Marks:  []Mark{{X: 20, Label: "streams 4 to 8"}, {X: 21, Label: "streams 8 to 16"}, {X: 60, Label: "host h1 lost", Severity: Bad}, {X: 62, Label: "host h1 back", Severity: Warn}}},
			{Title: "Round trip", Y: "rtt", YUnit: Seconds, X: "time", XUnit: Seconds, LogY: true,
				Series: []Series{{Name: "stream 1", X: x, Y: rtt}}},
			{Title: "Limited by", X: "time", XUnit: Seconds, Bands: []Band{
				{0, 20, "source disk", "limit"}, {20, 60, "network", "limit"}, {60, 62, "unknown", "limit"}, {62, 120, "network", "limit"}, {0, 120, "ready", "h1"}}},
		},
	}
}

// barsLike is a chart as of a comparison.
func barsLike() Chart {
	return Chart{Title: "Goodput", Subtitle: "100 Mbit/s, 80 ms, median of 5", Panels: []Panel{
		{Title: "By program", Y: "goodput", YUnit: BitsPerSecond, Categories: []string{"gomover", "scp", "rsync", "rclone (sftp)", "GridFTP"},
			Series: []Series{
				{Name: "default", Kind: Bars, X: []float64{0, 1, 2, 3, 4}, Y: []float64{9.2e7, 1.1e7, 1.2e7, 2e7, 7e7}, Low: []float64{9e7, 1e7, 1e7, 2e7, 6e7}, High: []float64{9.3e7, 1.2e7, 1.4e7, 2.1e7, 8e7}},
				{Name: "tuned", Kind: Bars, X: []float64{0, 1, 2, 3, 4}, Y: []float64{9.3e7, 1.1e7, 1.2e7, 5e7, 8e7}},
			}},
		{Title: "Against round trip", X: "round trip", XUnit: Seconds, LogX: true, Y: "goodput", YUnit: BitsPerSecond, LogY: true,
			Series: []Series{
				{Name: "gomover", X: []float64{0.001, 0.01, 0.05, 0.1, 0.3}, Y: []float64{9.4e7, 9.3e7, 9e7, 8e7, 7.1e7}},
				{Name: "scp", X: []float64{0.001, 0.01, 0.05, 0.1, 0.3}, Y: []float64{9e7, 6e7, 2e7, 1e7, 3e6}, Low: []float64{8e7, 5e7, 1e7, 9e6, 2e6}, High: []float64{9.5e7, 6.6e7, 2.2e7, 1.2e7, 3.3e6}},
				{Name: "points", Kind: Points, X: []float64{0.001, 0.01, 0.05, 0.1, 0.3}, Y: []float64{9e6, 6e6, 2e7, 1e7, 3e5}},
			}},
	}}
}

func both(t *testing.T, c Chart) (svg, picture []byte) {
	t.Helper()
	var s, p bytes.Buffer
	if err := c.WriteSVG(&s); err != nil {
		t.Fatalf("WriteSVG: %v", err)
	}
	if err := c.WritePNG(&p); err != nil {
		t.Fatalf("WritePNG: %v", err)
	}
	for d := xml.NewDecoder(bytes.NewReader(s.Bytes())); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the SVG is not well formed: %v", err)
		}
	}
	if _, err := png.Decode(bytes.NewReader(p.Bytes())); err != nil {
		t.Fatalf("the PNG cannot be read: %v", err)
	}
	return s.Bytes(), p.Bytes()
}

func TestSameChartSameBytes(t *testing.T) {
	for _, c := range []Chart{runLike(500), barsLike()} {
		s1, p1 := both(t, c)
		s2, p2 := both(t, c)
		if !bytes.Equal(s1, s2) || !bytes.Equal(p1, p2) {
			t.Errorf("%s: two pictures of one chart differ", c.Title)
		}
	}
}

func TestSVGStaysSmall(t *testing.T) {
	c := runLike(200_000)
	for len(c.Panels) < 10 {
		c.Panels = append(c.Panels, c.Panels[0])
	}
	for range 24 {
		s := c.Panels[0].Series[1]
		c.Panels[0].Series = append(c.Panels[0].Series, s)
	}
	svg, _ := both(t, c)
	if len(svg) > 500<<10 {
		t.Errorf("the SVG of many points has %d bytes, want at most 500 KiB", len(svg))
	}
}

func TestOddCharts(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	odd := []float64{nan, inf, -inf, 0, -1, 1e300, -1e300, 1e99, -1e99, 1e-300, 1, 1, math.MaxFloat64}
	var panels []Panel
	for _, kind := range []Kind{Line, Steps, Points, Bars, 99} {
		for _, log := range []bool{false, true} {
			panels = append(panels, Panel{Title: "odd \x00\xff<&\"'>", X: strings.Repeat("long ", 300), Y: "y", XUnit: 99, YUnit: -1, LogX: log, LogY: log,
				Series: []Series{{Name: "s", Kind: kind, X: odd, Y: odd, Low: odd, High: odd}, {Kind: kind, X: odd, Y: odd[:2]}, {Kind: kind}},
				Marks:  []Mark{{nan, "x", 7}, {inf, "y", -3}, {0, "\u202ez", Bad}}, Bands: []Band{{nan, 1, "b", ""}, {3, -2, "c", ""}}})
		}
	}
	tests := map[string]Chart{
		"nothing":         {},
		"empty panel":     {Panels: []Panel{{}}},
		"empty, shared":   {ShareX: true, Panels: []Panel{{}, {LogX: true, LogY: true}}},
		"only not values": {Panels: []Panel{{Series: []Series{{X: []float64{nan}, Y: []float64{nan}}}}}},
		"one point":       {Panels: []Panel{{Series: []Series{{X: []float64{3}, Y: []float64{-7}}}}}},
		"one zero":        {Panels: []Panel{{XUnit: Count, YUnit: Count, Series: []Series{{X: []float64{0}, Y: []float64{0}}}}}},
		"tiny range":      {Panels: []Panel{{Series: []Series{{X: []float64{1, 1 + 1e-15}, Y: []float64{1e9, 1e9 + 1e-7}}}}}},
		"odd values":      {Panels: panels, Width: nan},
		"odd, shared":     {Panels: panels, ShareX: true, Width: 1e9},
		"many categories": {Panels: []Panel{{Categories: make([]string, 500), Series: []Series{{Kind: Bars, X: []float64{1, 2}, Y: []float64{1, 2}}}}}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) { both(t, c) })
	}
	if err := (Chart{Panels: make([]Panel, maxPanels+1)}).WriteSVG(io.Discard); err == nil {
		t.Error("a chart with too many panels was drawn")
	}
}

func TestPictureShowsWhatWasGiven(t *testing.T) {
	svg, _ := both(t, runLike(100))
	for _, want := range []string{"gomover big.dat h1:/data", "rate (Mbit/s)", "time (s)", "streams 8 to 16", "host h1 lost", "source disk", "Go,Helvetica", ">100 ms<", ">120<"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the SVG does not contain %q", want)
		}
	}
	svg, _ = both(t, barsLike())
	for _, want := range []string{"rclone (sftp)", ">92<", "10 Mbit/s", "tuned"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the SVG of bars does not contain %q", want)
		}
	}
}

func TestThinningKeepsExtremes(t *testing.T) {
	points := make([]point, 100_000)
	for i := range points {
		points[i] = point{float64(i) / 100, 50}
	}
	points[33_333].y, points[77_777].y = 1, 99
	got := thinning{column: 1}.thin(points)
	if len(got) > 4*1001 {
		t.Errorf("%d points are left, want at most %d", len(got), 4*1001)
	}
	low, high := false, false
	for i, q := range got {
		low, high = low || q == points[33_333], high || q == points[77_777]
		if i > 0 && q.x < got[i-1].x {
			t.Fatalf("point %d goes back", i)
		}
	}
	if !low || !high {
		t.Errorf("lowest kept: %v, highest kept: %v", low, high)
	}
}

func TestFormatValue(t *testing.T) {
	tests := []struct {
		v    float64
		u    Unit
		want string
	}{
		{0, BitsPerSecond, "0 bit/s"}, {12.5e6, BitsPerSecond, "12.5 Mbit/s"}, {1e10, BitsPerSecond, "10 Gbit/s"},
		{0.04, Seconds, "40 ms"}, {90, Seconds, "90 s"}, {600, Seconds, "10 min"}, {1536, Bytes, "1.5 KiB"},
		{0.031, Share, "3.1 %"}, {123456, Number, "123456"}, {math.NaN(), Number, "?"}, {-2e9, BitsPerSecond, "-2 Gbit/s"},
	}
	for _, tt := range tests {
		if got := FormatValue(tt.v, tt.u); got != tt.want {
			t.Errorf("FormatValue(%v, %d) = %q, want %q", tt.v, tt.u, got, tt.want)
		}
	}
}

func TestTicks(t *testing.T) {
	labels := func(x axis) string {
		var l []string
		for _, k := range x.ticks {
			if k.label != "" {
				l = append(l, k.label)
			}
		}
		return strings.Join(l, " ")
	}
	tests := []struct {
		name string
		x    axis
		want string
	}{
		{"rates", newAxis("", BitsPerSecond, false, span{0, 9.3e8, true}, 0, 130, 27, true), "0 200 400 600 800 1000"},
		{"counts", newAxis("", Count, false, span{0, 2, true}, 0, 300, 27, true), "0 1 2"},
		{"decades", newAxis("", Seconds, true, span{0.002, 30, true}, 0, 130, 27, true), "10 ms 100 ms 1 s 10 s"},
		{"within a decade", newAxis("", Seconds, true, span{0.02, 0.09, true}, 0, 130, 27, true), "20 ms 50 ms 100 ms"},
		{"minutes", newAxis("", Seconds, false, span{0, 1800, true}, 0, 500, 78, false), "0 5 10 15 20 25 30"},
	}
	for _, tt := range tests {
		if got := labels(tt.x); got != tt.want {
			t.Errorf("%s: labels %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	c := barsLike()
	svg, picture := both(t, c)
	if err := c.WriteFile(filepath.Join(dir, "a.pdf")); !errors.Is(err, ErrFormat) {
		t.Errorf("a name that ends in .pdf gave %v, want ErrFormat", err)
	}
	if err := c.WriteFile(filepath.Join(dir, "none", "a.svg")); err == nil {
		t.Error("a directory that does not exist was no error")
	}
	if err := c.WriteFile(dir + "/x.svg"); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "target.PNG")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "link.png")); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteFile(filepath.Join(dir, "link.png")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(target)
	if err != nil || !bytes.Equal(got, picture) {
		t.Errorf("through a link %d bytes were written (%v), want %d", len(got), err, len(picture))
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of a replaced file is %v (%v), want 0600", info.Mode(), err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "x.svg")); err != nil || !bytes.Equal(got, svg) {
		t.Errorf("%d bytes were written (%v), want %d", len(got), err, len(svg))
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("%d files are left (%v), want 3", len(left), err)
	}
}
