package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestGauges(t *testing.T) {
	good := Gauges{At: 5, CCs: []string{"cubic", "bbr"}, Streams: []Gauge{{Stream: 1, Transport: "tcp", CC: "cubic", Sent: 7}, {Stream: 2, Transport: "udt"}}}
	long := strings.Repeat("x", maxControlName+1)
	for _, test := range []struct {
		name   string
		change func(m *Gauges)
		ok     bool
	}{
		{"as they are", func(*Gauges) {}, true},
		{"one stream too many", func(m *Gauges) { m.Streams = append(m.Streams, Gauge{}) }, false},
		{"too many congestion controls", func(m *Gauges) { m.CCs = make([]string, maxControls+1) }, false},
		{"a long name of one", func(m *Gauges) { m.CCs = []string{long} }, false},
		{"a long name of a stream's", func(m *Gauges) { m.Streams = []Gauge{{CC: long}} }, false},
		{"a long name of a transport", func(m *Gauges) { m.Streams = []Gauge{{Transport: long}} }, false},
	} {
		m := good
		test.change(&m)
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseGauges(body, 2)
		if test.ok && (err != nil || !reflect.DeepEqual(got, m)) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
		if !test.ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := ParseGauges([]byte("{"), 2); err == nil {
		t.Error("half an object is taken")
	}
}
