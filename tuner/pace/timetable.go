package pace

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Bounds of a timetable. Ours.
const (
	// MinRate is the lowest limit that is taken, in bytes per second: 8 kbit/s. With
	// less, not even a segment goes each second.
	MinRate units.Rate = 1000

	maxTable   = 4096 // bytes of text
	maxEntries = 200  // as written; a span of days makes one for each day
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// days are the names of a week's days, in the order of time.Weekday.
var days = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// Timetable is a rate for each minute of the week. The zero value has no limit, ever.
// It does not change once it is made.
type Timetable struct {
	text    string
	changes []change // by minute, each minute once; one alone holds for ever
}

// change is the rate from a minute of the week on, which begins on Sunday.
type change struct {
	minute int
	rate   units.Rate
}

// Constant is the timetable with one rate; 0 is no limit.
func Constant(r units.Rate) Timetable {
	if r <= 0 {
		return Timetable{}
	}
	return Timetable{text: r.String(), changes: []change{{0, r}}}
}

// Parse reads a rate such as 200Mbit, off, or a timetable: entries [DAY-]HH:MM,RATE
// with spaces between them, where DAY is Mon to Sun or a span of them such as Mon-Fri
// or Sat-Mon, and no DAY means every day. An entry holds until the next one. Of two for
// the same minute the later one counts, so that "08:00,10MB Sat-08:00,off" has one
// rule and an exception.
//
// Errors: *units.ValueError.
func Parse(text string) (Timetable, error) {
	if len(text) > maxTable {
		return Timetable{}, &units.ValueError{Value: text[:40] + "...", Reason: "is longer than any timetable"}
	}
	if !strings.Contains(text, ",") {
		r, err := parseRate(text)
		return Constant(r), err
	}
	words := strings.Fields(text)
	if len(words) > maxEntries {
		return Timetable{}, &units.ValueError{Value: text[:40] + "...", Reason: "has more entries than any timetable"}
	}
	t := Timetable{text: strings.Join(words, " ")}
	at := make(map[int]units.Rate)
	for _, w := range words {
		when, rate, _ := strings.Cut(w, ",")
		r, err := parseRate(rate)
		if err != nil {
			return Timetable{}, err
		}
		minutes, ok := parseWhen(when)
		if !ok {
			return Timetable{}, &units.ValueError{Value: w, Reason: "must be an entry of a timetable such as 08:00,200Mbit or Mon-Fri-18:00,off"}
		}
		for _, m := range minutes {
			at[m] = r
		}
	}
	for m, r := range at {
		t.changes = append(t.changes, change{m, r})
	}
	slices.SortFunc(t.changes, func(a, b change) int { return a.minute - b.minute })
	return t, nil
}

func parseRate(text string) (units.Rate, error) {
	r, err := units.ParseRate(text)
	if err == nil && r != 0 && r < MinRate {
		return 0, &units.ValueError{Value: text, Reason: "must be at least 8kbit", Hint: "off means no limit"}
	}
	return r, err
}

// parseWhen reads [DAY-]HH:MM or [DAY-DAY-]HH:MM and gives the minutes of the week.
func parseWhen(text string) (minutes []int, ok bool) {
	parts := strings.Split(text, "-")
	clock, err := time.Parse("15:04", parts[len(parts)-1])
	if err != nil || len(parts[len(parts)-1]) != 5 || len(parts) > 3 {
		return nil, false
	}
	first, last := 0, 6
	if len(parts) > 1 {
		first = slices.Index(days, parts[0])
		last = slices.Index(days, parts[len(parts)-2])
		if first < 0 || last < 0 {
			return nil, false
		}
	}
	for d := first; ; d = (d + 1) % 7 {
		minutes = append(minutes, d*dayMinutes+clock.Hour()*60+clock.Minute())
		if d == last {
			return minutes, true
		}
	}
}

// String gives the text that [Parse] reads back as the same timetable; "off" for none.
func (t Timetable) String() string {
	if t.text == "" {
		return units.Rate(0).String()
	}
	return t.text
}

// Limits tells whether there is ever a limit.
func (t Timetable) Limits() bool {
	for _, c := range t.changes {
		if c.rate > 0 {
			return true
		}
	}
	return false
}

// At gives the rate at now in bytes per second, 0 for none, and how long it holds: 0
// for ever. Days and hours are those of now's zone. Where clocks are put forward or
// back a change may come up to an hour off what was told before it; ask again now and
// then.
func (t Timetable) At(now time.Time) (rate units.Rate, holds time.Duration) {
	switch len(t.changes) {
	case 0:
		return 0, 0
	case 1:
		return t.changes[0].rate, 0
	}
	minute := int(now.Weekday())*dayMinutes + now.Hour()*60 + now.Minute()
	i := sort.Search(len(t.changes), func(i int) bool { return t.changes[i].minute > minute })
	n := len(t.changes)
	rate = t.changes[(i+n-1)%n].rate
	ahead := 0
	for ; ahead < n; ahead++ { // to the next that is different
		if t.changes[(i+ahead)%n].rate != rate {
			break
		}
	}
	if ahead == n {
		return rate, 0
	}
	minutes := (t.changes[(i+ahead)%n].minute - minute + weekMinutes) % weekMinutes
	y, m, d := now.Date()
	next := time.Date(y, m, d, now.Hour(), now.Minute()+minutes, 0, 0, now.Location())
	return rate, max(next.Sub(now), time.Nanosecond)
}

// Carries is how many bytes may be sent between two instants when most is allowed
// besides; most 0 is no other limit. Without any limit it is negative.
func (t Timetable) Carries(from, to time.Time, most units.Rate) float64 {
	sum := 0.0
	// Whole weeks are alike: a deadline in years takes no longer than one next week.
	// More than 292 years, which a duration cannot hold, are summed up in parts.
	const aWeek = weekMinutes * time.Minute
	for n := to.Sub(from) / aWeek; n > 1 && len(t.changes) > 1; n = to.Sub(from) / aWeek {
		week := t.Carries(from, from.Add(aWeek), most)
		if week < 0 {
			return -1
		}
		sum, from = sum+float64(n)*week, from.Add(n*aWeek)
	}
	for from.Before(to) {
		r, holds := t.At(from)
		if r == 0 || most > 0 && most < r {
			r = most
		}
		if r == 0 {
			return -1
		}
		span := to.Sub(from)
		if holds > 0 {
			span = min(span, holds)
		}
		sum += float64(r) * span.Seconds()
		from = from.Add(span)
	}
	return sum
}

// Under is the timetable with a limit of most besides, in bytes per second; 0 is none.
func (t Timetable) Under(most units.Rate) Timetable {
	switch {
	case most <= 0:
		return t
	case len(t.changes) < 2:
		if r, _ := t.At(time.Time{}); r > 0 && r < most {
			return t
		}
		return Constant(most)
	}
	var words []string
	l := slices.Clone(t.changes)
	for i, c := range l {
		if c.rate == 0 || c.rate > most {
			l[i].rate = most
		}
		words = append(words, fmt.Sprintf("%s-%02d:%02d,%v", days[c.minute/dayMinutes], c.minute%dayMinutes/60, c.minute%60, l[i].rate))
	}
	return Timetable{text: strings.Join(words, " "), changes: l}
}
