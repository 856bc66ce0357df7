package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/lab/labtest"
)

// steadyPath are two hosts 50 Mbit/s and 20 ms apart.
const steadyPath = `{"cc": "cubic", "seed": 3, "hosts": [
	{"name": "h0", "link": {"rate": "50mbit", "delay": "5ms"}},
	{"name": "h1", "link": {"rate": "50mbit", "delay": "5ms"}}]}`

// TestADropIsTold: a path that loses half of its rate in the middle of a copy is
// told of once, soon, and with the right figures; the time left follows; and the
// job is remembered.
func TestADropIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	const size = 425e6
	if err := os.WriteFile(src, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(src, size); err != nil {
		t.Fatal(err)
	}
	l := labtest.Start(t, steadyPath)
	home := filepath.Join(dir, "home")
	cmd := l.Command("h0", program, "-F", l.SSH(), "--json", src, "h1:"+filepath.Join(dir, "dst"))
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	type event struct {
		Ev        string
		T         time.Time
		DoneBytes int64 `json:"done_bytes"`
		AvgBps    int64 `json:"avg_bps"`
		ETA       int64 `json:"eta_ms"`
		Lo        int64 `json:"eta_lo_ms"`
		Hi        int64 `json:"eta_hi_ms"`
		Was, Now  float64
		Metric    string
		Code      string
		Message   string
	}
	var dropped, told time.Time
	anomalies, warnings := 0, 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		switch {
		case e.Ev == "progress" && dropped.IsZero() && e.DoneBytes > 300e6:
			left := (size - float64(e.DoneBytes)) / float64(e.AvgBps) * 1000
			if float64(e.Lo) > left || float64(e.Hi) < left || e.ETA < e.Lo || e.ETA > e.Hi {
				t.Errorf("on a steady path %d ms are left, %d to %d; by the mean rate %.0f", e.ETA, e.Lo, e.Hi, left)
			}
			l.Set("h1", "rate=25mbit")
			dropped = time.Now()
		case e.Ev == "anomaly":
			t.Logf("# %s", e.Message)
			anomalies++
			if dropped.IsZero() {
				t.Fatalf("told before anything happened: %s", e.Message)
			}
			if !told.IsZero() || e.Metric != "rate" { // losses rise with it, and may be seen sooner
				continue
			}
			told = time.Now()
			if e.Was < 5.25e6 || e.Was > 6.3e6 || e.Now < 2e6 || e.Now > 3.75e6 {
				t.Errorf("from %.3g to %.3g bytes a second; it was from 6e6 to 3e6", e.Was, e.Now)
			}
			l.Set("h1", "rate=200mbit")
			l.Set("h0", "rate=200mbit")
		case e.Ev == "warn" && e.Code == "net.changed":
			warnings++
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if told.IsZero() {
		t.Fatal("nothing was told")
	}
	if took := told.Sub(dropped); took > 20*time.Second {
		t.Errorf("told after %v", took)
	}
	if anomalies > 3 || warnings < 1 || warnings > 2 {
		t.Errorf("%d anomalies, %d warnings", anomalies, warnings)
	}
	t.Logf("# told after %v", told.Sub(dropped))
	if _, err := os.Stat(filepath.Join(home, "gomover", "history.db")); err != nil {
		t.Errorf("not remembered: %v", err)
	}
}
