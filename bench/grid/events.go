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
	Streams  int       `json:"streams"`
	By       string    `json:"limited_by"`
}

// readRun gives what came of a run over span from its first plan on: the mean rate, and
// with how many streams it ended, held back by what.
func readRun(path string, span time.Duration) (rate float64, streams int, by string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, "", err
	}
	defer f.Close()
	if rate, streams, by, err = readEvents(f, span); err != nil {
		return 0, 0, "", fmt.Errorf("reading %s: %w", path, err)
	}
	return rate, streams, by, nil
}

// readEvents reads events, and gives what was confirmed in span after the first plan, in
// bytes per second: the login, which is the same for all, does not count.
func readEvents(r io.Reader, span time.Duration) (rate float64, streams int, by string, err error) {
	var began, at time.Time
	var bytes int64
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return 0, 0, "", err
		}
		switch {
		case e.Name == "plan" && began.IsZero():
			began = e.Time
		case e.Name == "progress" && !began.IsZero() && e.Time.Sub(began) <= span:
			at, bytes, streams, by = e.Time, e.Verified, e.Streams, e.By
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, "", err
	}
	if at.Sub(began) < span/2 {
		return 0, 0, "", errors.New("the run was over too soon to be measured")
	}
	return float64(bytes) / at.Sub(began).Seconds(), streams, by, nil
}
