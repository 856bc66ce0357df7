package ground

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	for want, r := range map[string]Result{"|  |": {Reference: true}, "| pass |": {Pass: true}, "| FAIL |": {}} {
		if got := r.String(); !strings.HasSuffix(got, want) {
			t.Errorf("%+v: %q, want %q at its end", r, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		fill   func(*Report)
		missed bool
	}{
		"nothing":                {func(*Report) {}, false},
		"most, reached":          {func(p *Report) { p.AtMost("r", "%.1f", " s", "<= 2 s", 2, Samples{1, 2, 9}) }, false},
		"most, missed":           {func(p *Report) { p.AtMost("r", "%.1f", " s", "<= 2 s", 2, Samples{1, 3, 9}) }, true},
		"least, reached":         {func(p *Report) { p.AtLeast("r", "%.1f", "", ">= 2", 2, Samples{2}) }, false},
		"least, missed":          {func(p *Report) { p.AtLeast("r", "%.1f", "", ">= 2", 2, Samples{1}) }, true},
		"no samples are no pass": {func(p *Report) { p.AtMost("r", "%.1f", " s", "<= 2 s", 2, nil) }, true},
		"a reference":            {func(p *Report) { p.Show("r", "%.1f", "", Samples{1}) }, false},
		"true":                   {func(p *Report) { p.Claim("r", "all", "all", nil) }, false},
		"untrue":                 {func(p *Report) { p.Claim("r", "all", "all", []string{"one is missing"}) }, true},
		"could not be measured":  {func(p *Report) { p.Failed("r", errors.New("two\nlines")) }, true},
	} {
		var p Report
		c.fill(&p)
		if err := p.Finish(""); errors.Is(err, ErrMissed) != c.missed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReportKeepsNotes(t *testing.T) {
	var p Report
	p.Note("%d of %d", 1, 2)
	p.Show("reference", "%.1f", "", Samples{1})
	p.Claim("judged", "all", "all", nil)
	p.Claim("next", "all", "all", nil)
	file := filepath.Join(t.TempDir(), "results.json")
	if err := p.Finish(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []Result
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || len(got[0].Notes) != 0 || len(got[1].Notes) != 1 || got[1].Notes[0] != "1 of 2" || len(got[2].Notes) != 0 {
		t.Errorf("results %+v", got)
	}
}
