package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// event is what is read of a line.
type event struct {
	Time     time.Time `json:"t"`
	Name     string    `json:"ev"`
	Verified int64     `json:"verified_bytes"`
}

// rateOf gives the mean rate of a run over span from its first plan on.
func rateOf(path string, span time.Duration) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rate, err := meanRate(f, span)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return rate, nil
}

// meanRate reads events, and gives what was confirmed in span after the first plan, in
// bytes per second.
func meanRate(r io.Reader, span time.Duration) (float64, error) {
	var began, at time.Time
	var bytes int64
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return 0, err
		}
		switch {
		case e.Name == "plan" && began.IsZero():
			began = e.Time
		case e.Name == "progress" && !began.IsZero() && e.Time.Sub(began) <= span:
			at, bytes = e.Time, e.Verified
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	if at.Sub(began) < span/2 {
		return 0, errors.New("the run was over too soon to be measured")
	}
	return float64(bytes) / at.Sub(began).Seconds(), nil
}
