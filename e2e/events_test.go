package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// event is one line of --json.
type event map[string]any

// events reads all lines and checks what every one must have.
func events(t testing.TB, out string) (l []event) {
	t.Helper()
	if out != "" && !strings.HasSuffix(out, "\n") {
		t.Errorf("the last event is not a whole line: %q", out[strings.LastIndexByte(out, '\n')+1:])
	}
	for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %d is no event: %v\n%s", i+1, err, line)
		}
		if number(e, "v") != 1 || number(e, "seq") != int64(i+1) {
			t.Fatalf("line %d has the wrong version or number: %s", i+1, line)
		}
		if job, _ := e["job"].(string); job == "" || l != nil && job != l[0]["job"] {
			t.Fatalf("line %d is not of the one job: %s", i+1, line)
		}
		at, _ := e["t"].(string)
		if when, err := time.Parse("2006-01-02T15:04:05.000Z", at); err != nil || time.Since(when).Abs() > time.Hour {
			t.Fatalf("line %d has the time %q", i+1, at)
		}
		if ev, _ := e["ev"].(string); ev == "" {
			t.Fatalf("line %d is not named: %s", i+1, line)
		}
		l = append(l, e)
	}
	return l
}

// checkEvents checks the whole stream of a run that ended with code.
func checkEvents(t testing.TB, out string, code int) []event {
	t.Helper()
	l := events(t, out)
	if len(l) < 2 || l[0]["ev"] != "job.start" {
		t.Fatalf("the first of %d events is not job.start:\n%s", len(l), clip(out))
	}
	for i, e := range l {
		if e["ev"] == "job.end" != (i == len(l)-1) || e["ev"] == "job.start" != (i == 0) {
			t.Errorf("event %d of %d is %v", i+1, len(l), e["ev"])
		}
	}
	end := l[len(l)-1]
	if number(end, "exit") != int64(code) {
		t.Errorf("job.end says exit %v, want %d", end["exit"], code)
	}
	return l
}

// neverBack demands that what is confirmed only grows, as it does when no source
// changes.
func neverBack(t testing.TB, l []event) {
	t.Helper()
	var before int64
	for _, e := range l {
		if e["ev"] != "progress" {
			continue
		}
		if n := number(e, "done_bytes"); n < before {
			t.Errorf("progress went back from %d to %d", before, n)
		} else {
			before = n
		}
	}
}

// lastEvent is the last event of a name in what was written so far.
func lastEvent(out, name string) (event, bool) {
	lines := strings.Split(out, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		var e event
		// The last line may still be on its way.
		if strings.Contains(lines[i], `"ev":"`+name+`"`) && json.Unmarshal([]byte(lines[i]), &e) == nil {
			return e, true
		}
	}
	return nil, false
}

// number is a field of an event; 0 when it is absent.
func number(e event, field string) int64 {
	n, _ := e[field].(float64)
	return int64(n)
}
