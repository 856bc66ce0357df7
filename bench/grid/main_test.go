package main

import (
	"strings"
	"testing"
	"time"
)

func TestMeanRate(t *testing.T) {
	const head = `{"t":"2026-01-01T00:00:00.000Z","ev":"job.start"}
{"t":"2026-01-01T00:00:01.000Z","ev":"plan"}
{"t":"2026-01-01T00:00:02.000Z","ev":"plan"}
`
	for _, tt := range []struct {
		text string
		want float64 // 0: an error
	}{
		{head + `{"t":"2026-01-01T00:00:09.000Z","ev":"progress","verified_bytes":800}
{"t":"2026-01-01T00:00:12.000Z","ev":"progress","verified_bytes":2000}`, 100},
		{head + `{"t":"2026-01-01T00:00:03.000Z","ev":"progress","verified_bytes":800}`, 0},
		{head + "nonsense", 0},
		{`{"t":"2026-01-01T00:00:09.000Z","ev":"progress","verified_bytes":800}`, 0},
	} {
		got, err := meanRate(strings.NewReader(tt.text), 10*time.Second)
		if got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%.0f, %v; want %.0f", got, err, tt.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		shares []float64
		ok     bool
	}{{nil, false}, {[]float64{0.96, 0.9, 1.01}, true}, {[]float64{0.96, 0.8, 1}, false}, {[]float64{0.9, 0.9, 1}, false}} {
		if err := verdict(tt.shares); (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.shares, err)
		}
	}
}
