package units

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"0", 0}, {"1", 1}, {"64K", 64 << 10}, {"64k", 64 << 10}, {"1.5G", 3 << 29},
		{"4MiB", 4 << 20}, {"4mib", 4 << 20}, {"500MB", 500e6}, {"2TB", 2e12}, {"1T", 1 << 40},
		{"7B", 7}, {"0.5", 0}, {"1.0009765625K", 1025},
		{"9223372036854775807", math.MaxInt64}, {"9223372036854775808", -1}, {"8388608T", -1}, {"99999999999TB", -1},
		{"7b", -1}, {"", -1}, {"K", -1}, {"-1", -1}, {"+1", -1}, {"1e3", -1}, {"1 K", -1}, {".5K", -1}, {"5.K", -1},
		{"1.2.3", -1}, {"1X", -1}, {"1KiBs", -1}, {"0x10", -1}, {"1/2", -1}, {"1_0", -1}, {"∞", -1}, {"64Kbit", -1},
	} {
		got, err := ParseSize(c.text)
		if c.want < 0 {
			var v *ValueError
			if !errors.As(err, &v) {
				t.Errorf("ParseSize(%q) = %d, %v; want a *ValueError", c.text, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text string
		want Rate // -1: refused
	}{
		{"off", 0}, {"800Mbit", 100e6}, {"2.5Gbit/s", 312500000}, {"95MB", 95e6}, {"40MiB/s", 40 << 20},
		{"8bit", 1}, {"1B", 1}, {"1kbit", 125}, {"1Kbit", 125}, {"1KB/s", 1000}, {"1kB/S", 1000}, {"1TB", 1e12},
		{"10M", -1}, {"10", -1}, {"10Mb", -1}, {"10b", -1}, {"10mb/s", -1}, {"10MiB/m", -1}, {"10Mibit", -1}, {"10Mi", -1},
		{"0", -1}, {"0MB", -1}, {"7bit", -1}, {"Off", -1}, {"", -1}, {"/s", -1}, {"-5MB", -1},
		{"9300000TB", -1}, {"9223372036854775807B", math.MaxInt64}, {"9223372036854775808B", -1},
	} {
		got, err := ParseRate(c.text)
		if c.want < 0 {
			var v *ValueError
			if !errors.As(err, &v) {
				t.Errorf("ParseRate(%q) = %d, %v; want a *ValueError", c.text, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func TestRateWithoutUnitAsksBitsOrBytes(t *testing.T) {
	for _, c := range []struct{ text, hint string }{
		{"10M", "10MB is 10 million bytes per second, 10Mbit is 10 million bits per second"},
		{"1.5G", "1.5GB is 1.5 billion bytes per second, 1.5Gbit is 1.5 billion bits per second"},
		{"64k", "64KB is 64 thousand bytes per second, 64kbit is 64 thousand bits per second"},
		{"64", "64MB is 64 million bytes per second, 64Mbit is 64 million bits per second"},
		{"10Mb", "10MB is 10 million bytes per second, 10Mbit is 10 million bits per second"},
	} {
		_, err := ParseRate(c.text)
		var v *ValueError
		if !errors.As(err, &v) || v.Hint != c.hint || err.Error() != c.text+": bits or bytes?" {
			t.Errorf("ParseRate(%q): %v, hint %q; want hint %q", c.text, err, v.Hint, c.hint)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration // -1: refused
	}{
		{"0", 0}, {"30s", 30 * time.Second}, {"15m", 15 * time.Minute}, {"1h30m", 90 * time.Minute},
		{"2d", 48 * time.Hour}, {"1d12h", 36 * time.Hour}, {"0.5d", 12 * time.Hour}, {"250ms", 250 * time.Millisecond},
		{"106751d", 106751 * 24 * time.Hour}, {"106752d", -1}, {"106751d24h", -1}, {"9999999h", -1},
		{"", -1}, {"5", -1}, {"-5s", -1}, {"+5s", -1}, {"1d-5s", -1}, {"d", -1}, {"1dd", -1}, {"1h2d", -1}, {"..d", -1}, {"1e3d", -1},
	} {
		got, err := ParseDuration(c.text)
		if c.want < 0 {
			if err == nil {
				t.Errorf("ParseDuration(%q) = %v; want an error", c.text, got)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("X", 3600)
	now := time.Date(2026, 2, 28, 10, 15, 30, 0, zone)
	for _, c := range []struct{ text, want string }{
		{"10:16", "2026-02-28T10:16:00+01:00"},
		{"10:15", "2026-03-01T10:15:00+01:00"},
		{"06:00", "2026-03-01T06:00:00+01:00"},
		{"2026-03-01T06:00:00Z", "2026-03-01T06:00:00Z"},
		{"6:00", ""}, {"24:00", ""}, {"10:60", ""}, {"", ""}, {"tomorrow", ""}, {"2026-03-01", ""},
	} {
		got, err := ParseTime(c.text, now)
		if c.want == "" {
			if err == nil {
				t.Errorf("ParseTime(%q) = %v; want an error", c.text, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339) != c.want {
			t.Errorf("ParseTime(%q) = %v, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {512, "512 B"}, {999, "999 B"}, {1000, "1.00 KB"}, {1240e9, "1.24 TB"}, {912e6, "912 MB"},
		{80100e6, "80.1 GB"}, {999499999, "999 MB"}, {999500000, "1.00 GB"}, {9994999, "9.99 MB"}, {9996000, "10.0 MB"},
		{math.MaxInt64, "9.22 EB"}, {-1500, "-1.50 KB"}, {math.MinInt64, "-9.22 EB"},
	} {
		if got := FormatBytes(c.n); got != c.want {
			t.Errorf("FormatBytes(%d) = %q; want %q", c.n, got, c.want)
		}
	}
	for _, c := range []struct {
		r    Rate
		bits bool
		want string
	}{
		{912e6, false, "912 MB/s"}, {912e6, true, "7.30 Gbit/s"}, {1, true, "8 bit/s"}, {0, false, "0 B/s"},
		{125, true, "1.00 kbit/s"}, {math.MaxInt64, true, "73.8 Ebit/s"},
	} {
		if got := FormatRate(c.r, c.bits); got != c.want {
			t.Errorf("FormatRate(%d, %v) = %q; want %q", int64(c.r), c.bits, got, c.want)
		}
	}
	for _, c := range []struct {
		d          time.Duration
		want, left string
	}{
		{-time.Second, "0s", "0 s"}, {0, "0s", "0 s"}, {350 * time.Millisecond, "350ms", "1 s"},
		{12300 * time.Millisecond, "12.3s", "12 s"}, {37*time.Minute + 44*time.Second, "37m44s", "38 min"},
		{90 * time.Second, "1m30s", "1.5 min"}, {14 * time.Minute, "14m00s", "14 min"},
		{59960 * time.Millisecond, "1m00s", "1 min"}, {time.Hour - time.Millisecond, "1h00m", "1 h"},
		{125 * time.Minute, "2h05m", "2.1 h"}, {76 * time.Hour, "3d04h", "3.2 days"},
		{24*time.Hour - time.Second, "1d00h", "24 h"}, {240 * time.Hour, "10d00h", "10 days"},
	} {
		if got := FormatDuration(c.d); got != c.want {
			t.Errorf("FormatDuration(%v) = %q; want %q", c.d, got, c.want)
		}
		if got := FormatLeft(c.d); got != c.left {
			t.Errorf("FormatLeft(%v) = %q; want %q", c.d, got, c.left)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"64K", "1.5G", "4MiB", "9223372036854775807", "0.1T", "1\nM"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		if n < 0 {
			t.Fatalf("ParseSize(%q) = %d", text, n)
		}
		if back, err := ParseSize(ExactSize(n)); err != nil || back != n {
			t.Fatalf("%q: %d printed as %q reads as %d, %v", text, n, ExactSize(n), back, err)
		}
	})
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"off", "95MB", "2.5Gbit/s", "10M", "40MiB/s", "1\nM"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		if r < 0 || r == 0 && text != "off" {
			t.Fatalf("ParseRate(%q) = %d", text, int64(r))
		}
		if back, err := ParseRate(r.String()); err != nil || back != r {
			t.Fatalf("%q: %d printed as %q reads as %d, %v", text, int64(r), r, int64(back), err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"0", "1d12h", "0.5d", "250ms", "106751d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		if d < 0 {
			t.Fatalf("ParseDuration(%q) = %v", text, d)
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Fatalf("%q: %v reads as %v, %v", text, d, back, err)
		}
	})
}
