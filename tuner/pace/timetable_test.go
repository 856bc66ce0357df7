package pace

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
)

const mbit = units.Rate(1e6 / 8)

// zone is where clocks go forward on 29 March 2026 at 01:00 UTC and back on 25 October.
func zone(t *testing.T) *time.Location {
	t.Helper()
	l, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text, again, err string
	}{
		{"off", "off", ""},
		{"200Mbit", "25MB", ""},
		{"08:00,200Mbit 18:00,off", "08:00,200Mbit 18:00,off", ""},
		{" 08:00,200Mbit   18:00,off ", "08:00,200Mbit 18:00,off", ""},
		{"Mon-Fri-08:00,10MB Mon-Fri-19:00,off Sat-00:00,off", "Mon-Fri-08:00,10MB Mon-Fri-19:00,off Sat-00:00,off", ""},
		{"Sat-Mon-00:00,8kbit", "Sat-Mon-00:00,8kbit", ""},
		{"", "", "rate"},
		{"200", "", "bits or bytes?"},
		{"7kbit", "", "at least 8kbit"},
		{"08:00,7kbit", "", "at least 8kbit"},
		{"08:00,", "", "rate"},
		{"8:00,1MB", "", "entry of a timetable"},
		{"24:00,1MB", "", "entry of a timetable"},
		{"08:60,1MB", "", "entry of a timetable"},
		{"mon-08:00,1MB", "", "entry of a timetable"},
		{"Mon-Tue-Wed-08:00,1MB", "", "entry of a timetable"},
		{"-08:00,1MB", "", "entry of a timetable"},
		{"08:00,1MB;18:00,off", "", ""},
		{"08:00,200Mbit,18:00,off", "", ""},
		{strings.Repeat("08:00,1MB ", 201), "", "more entries"},
		{strings.Repeat("08:00,1MB ", 500), "", "longer"},
	} {
		got, err := Parse(tt.text)
		var bad *units.ValueError
		switch {
		case tt.again != "" && (err != nil || got.String() != tt.again):
			t.Errorf("%q is %q, %v", tt.text, got, err)
		case tt.again == "" && (!errors.As(err, &bad) || !strings.Contains(bad.Reason, tt.err)):
			t.Errorf("%.40q: %v, want %q", tt.text, err, tt.err)
		}
	}
}

func TestAt(t *testing.T) {
	const table = "Mon-Fri-08:00,200Mbit Mon-Fri-18:30,off Sat-09:00,80Mbit Sun-00:00,off"
	in := zone(t)
	for _, tt := range []struct {
		table, now string // in the zone
		rate       units.Rate
		holds      string
	}{
		{"off", "2026-03-04 12:00:00", 0, "0"},
		{"80Mbit", "2026-03-04 12:00:00", 80 * mbit, "0"},
		{"08:00,80Mbit", "2026-03-04 12:00:00", 80 * mbit, "0"},
		{"08:00,80Mbit 12:00,80Mbit", "2026-03-04 12:00:00", 80 * mbit, "0"},
		{table, "2026-03-04 07:59:59", 0, "1s"}, // a Wednesday
		{table, "2026-03-04 08:00:00", 200 * mbit, "10h30m"},
		{table, "2026-03-04 18:29:30", 200 * mbit, "30s"},
		{table, "2026-03-04 18:30:00", 0, "13h30m"},
		{table, "2026-03-06 18:30:00", 0, "14h30m"}, // to Saturday 09:00
		{table, "2026-03-07 23:00:00", 80 * mbit, "1h"},
		{table, "2026-03-08 00:00:00", 0, "32h"},
		{"08:00,10MB Sat-08:00,off", "2026-03-07 09:00:00", 0, "23h"},
		{"Sat-Mon-12:00,1MB Tue-00:00,off", "2026-03-02 11:59:00", 1e6, "12h1m"},
		{"12:00,1MB 13:00,2MB", "2026-03-28 12:30:00", 1e6, "30m"},
		// An hour is missing: the change of 02:30 comes when clocks say 03:00.
		{"02:30,1MB 12:00,2MB", "2026-03-29 03:00:00", 1e6, "9h"},
		{"12:00,2MB 13:00,1MB", "2026-03-29 01:00:00", 1e6, "10h"},
		{"12:00,2MB 13:00,1MB", "2026-10-25 01:00:00", 1e6, "12h"}, // an hour comes twice
	} {
		table, err := Parse(tt.table)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.ParseInLocation(time.DateTime, tt.now, in)
		if err != nil {
			t.Fatal(err)
		}
		want, err := time.ParseDuration(tt.holds)
		if err != nil {
			t.Fatal(err)
		}
		rate, holds := table.At(now)
		if rate != tt.rate || holds != want {
			t.Errorf("%s at %s: %v for %v, want %v for %v", tt.table, tt.now, rate, holds, tt.rate, want)
		}
	}
}

// TestAtComesTrue: whoever waits as long as he was told finds another rate, whatever
// clocks do.
func TestAtComesTrue(t *testing.T) {
	table, err := Parse("Mon-Fri-08:00,200Mbit Mon-Fri-18:30,off Sat-02:30,80Mbit Sun-02:10,off Sun-02:50,1MB")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 0, 0, 7, 5, zone(t))
	changes := 0
	for end := now.AddDate(1, 0, 0); now.Before(end); changes++ {
		rate, holds := table.At(now)
		if holds <= 0 || holds > 8*24*time.Hour {
			t.Fatalf("at %v it holds for %v", now, holds)
		}
		if before, _ := table.At(now.Add(holds - time.Nanosecond)); before != rate && holds > 2*time.Hour {
			if _, off := now.Zone(); off == zoneOf(now.Add(holds)) {
				t.Errorf("at %v: %v does not hold for %v", now, rate, holds)
			}
		}
		now = now.Add(holds)
		if after, _ := table.At(now); after == rate && zoneOf(now) == zoneOf(now.Add(-2*time.Hour)) && zoneOf(now) == zoneOf(now.Add(2*time.Hour)) {
			t.Errorf("at %v it is still %v", now, rate)
		}
	}
	if changes < 600 {
		t.Errorf("%d changes in a year", changes)
	}
}

func zoneOf(t time.Time) int {
	_, off := t.Zone()
	return off
}

func TestCarries(t *testing.T) {
	table, err := Parse("08:00,1MB 12:00,off 13:00,2MB")
	if err != nil {
		t.Fatal(err)
	}
	at := func(h int) time.Time { return time.Date(2026, 3, 4, h, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		from, to int
		most     units.Rate
		want     float64
	}{
		{8, 10, 0, 2 * 3600e6},
		{8, 10, 5e5, 3600e6},
		{11, 12, 0, 3600e6},
		{11, 14, 0, -1},
		{11, 14, 3e6, 3600e6 + 3*3600e6 + 2*3600e6},
		{10, 8, 0, 0},
	} {
		if got := table.Carries(at(tt.from), at(tt.to), tt.most); got != tt.want {
			t.Errorf("%d to %d, most %v: %g, want %g", tt.from, tt.to, tt.most, got, tt.want)
		}
	}
}

// TestCarriesFar: what is carried until an instant decades away is found at once, and is
// that of its weeks.
func TestCarriesFar(t *testing.T) {
	table, err := Parse("08:00,1MB 12:00,3MB 13:00,2MB")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)
	const week = 7 * 24 * time.Hour
	one := table.Carries(from, from.Add(week), 0)
	part := table.Carries(from, from.Add(50*time.Hour), 0)
	for _, n := range []time.Duration{2, 5, 15_000} {
		got, want := table.Carries(from, from.Add(n*week+50*time.Hour), 0), float64(n)*one+part
		if math.Abs(got-want) > 1e-9*want {
			t.Errorf("%d weeks and 50 h: %g, want %g", n, got, want)
		}
	}
	far := time.Date(9999, 12, 29, 9, 30, 0, 0, time.UTC) // the last instants that RFC 3339 knows
	weeks := float64((far.Unix() - from.Unix()) / int64(week/time.Second))
	took := time.Hour // the shortest time: a machine may be busy
	for range 5 {
		began := time.Now()
		if got := table.Carries(from, far, 0); math.Abs(got-weeks*one) > one {
			t.Errorf("%g weeks: %g, want %g", weeks, got, weeks*one)
		}
		took = min(took, time.Since(began))
	}
	if took > time.Second {
		t.Errorf("it took %v", took)
	}
	free, err := Parse("08:00,1MB 12:00,off")
	if err != nil {
		t.Fatal(err)
	}
	if got := free.Carries(from, from.Add(100*week), 0); got >= 0 {
		t.Errorf("without a limit %g", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"off", "200Mbit", "08:00,200Mbit 18:00,off", "Sat-Mon-00:00,8kbit", "Mon-Fri-08:00,10MB Mon-Fri-19:00,off Sat-00:00,off"} {
		f.Add(s)
	}
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Parse(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		again, err := Parse(table.String())
		if err != nil || again.String() != table.String() {
			t.Errorf("%q reads back as %q, %v", table, again, err)
		}
		rate, holds := table.At(now)
		if rate < 0 || rate > 0 && rate < MinRate || holds < 0 || holds > 7*24*time.Hour {
			t.Errorf("%q: %v for %v", text, rate, holds)
		}
	})
}

func TestUnder(t *testing.T) {
	for _, tt := range []struct {
		table string
		most  units.Rate
		want  string
	}{
		{"off", 0, "off"},
		{"off", 1e6, "1MB"},
		{"2MB", 1e6, "1MB"},
		{"2MB", 3e6, "2MB"},
		{"Mon-08:00,2MB Tue-18:30,off", 0, "Mon-08:00,2MB Tue-18:30,off"},
		{"Mon-08:00,2MB Tue-18:30,off", 3e6, "Mon-08:00,2MB Tue-18:30,3MB"},
		{"Mon-08:00,2MB Tue-18:30,off", 1e6, "Mon-08:00,1MB Tue-18:30,1MB"},
	} {
		table, err := Parse(tt.table)
		if err != nil {
			t.Fatal(err)
		}
		got := table.Under(tt.most)
		if again, err := Parse(got.String()); got.String() != tt.want || err != nil || again.Limits() != got.Limits() {
			t.Errorf("%s under %v is %s", tt.table, tt.most, got)
		}
		if table.String() != tt.table {
			t.Errorf("%s has become %s", tt.table, table)
		}
	}
}
