package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// MaxText is the longest text of a topology, in bytes: one of 250 hosts and all
// their paths stays below.
const MaxText = 16 << 20

// maxDepth bounds nesting: document, hosts, host, link.
const maxDepth = 4

// Parse reads a topology. Errors are one line, which names the key and where it
// stands, such as "hosts[1].up.rate: 5foo: unknown unit". The result is valid
// and does not refer to text.
func Parse(text []byte) (*Topology, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("text of %d bytes is longer than %d", len(text), MaxText)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := readValue(dec, 0)
	if err != nil {
		return nil, syntaxError(dec, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("byte %d: something follows the topology", dec.InputOffset())
	}
	root, ok := v.(object)
	if !ok {
		return nil, errors.New("is not a JSON object")
	}
	t := New()
	if err := t.read(root); err != nil {
		return nil, err
	}
	return t, t.Validate()
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	key   string
	value any // object, []any, string, json.Number, bool or nil
}

// readValue reads one JSON value. Unlike the usual decoding it refuses a key
// that stands twice in an object.
func readValue(dec *json.Decoder, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if delim == '[' {
		list := []any{}
		for dec.More() {
			v, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	obj, seen := object{}, make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			return nil, errors.New("a key is not a string")
		}
		if seen[key] {
			return nil, fmt.Errorf("key %q stands there twice", clip(key))
		}
		seen[key] = true
		v, err := readValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		obj = append(obj, member{key, v})
	}
	_, err = dec.Token()
	return obj, err
}

func syntaxError(dec *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("byte %d: %w", dec.InputOffset(), err)
}

func (t *Topology) read(root object) error {
	var hosts, paths []any
	for _, m := range root {
		var err error
		switch m.key {
		case "mtu":
			t.MTU, err = readInt(m.value)
		case "cc":
			t.CC, err = readString(m.value)
		case "seed":
			t.Seed, err = readSeed(m.value)
		case "quantum":
			t.Quantum, err = readTime(m.value)
		case "min_ttl":
			t.MinTTL, err = readInt(m.value)
		case "hosts":
			hosts, err = readList(m.value)
		case "paths":
			paths, err = readList(m.value)
		default:
			err = errors.New("no such key of a topology")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", spell(m.key), err)
		}
	}
	if len(hosts) > MaxHosts {
		return fmt.Errorf("hosts: there are %d, not 1 to %d", len(hosts), MaxHosts)
	}
	if len(paths) > MaxHosts*(MaxHosts-1) {
		return fmt.Errorf("paths: there are %d, more than pairs of hosts", len(paths))
	}
	for i, v := range hosts {
		h, err := readHost(v)
		if err != nil {
			return fmt.Errorf("hosts[%d]%w", i, err)
		}
		t.Hosts = append(t.Hosts, h)
	}
	index := make(map[string]int, len(t.Hosts))
	for i := range t.Hosts {
		index[t.Hosts[i].Name] = i
	}
	for i, v := range paths {
		p, err := readPath(v, index)
		if err != nil {
			return fmt.Errorf("paths[%d]%w", i, err)
		}
		t.Paths = append(t.Paths, p)
	}
	return nil
}

// readHost reads a host. Its errors begin with a point and the key, or a colon.
func readHost(v any) (Host, error) {
	obj, ok := v.(object)
	if !ok {
		return Host{}, errors.New(": is not an object")
	}
	var h Host
	// What is said of both directions comes first, wherever it stands.
	for _, m := range obj {
		if m.key != "link" {
			continue
		}
		if err := readLink(&h.Up, m.value); err != nil {
			return h, fmt.Errorf(".link%w", err)
		}
		h.Down = h.Up
	}
	for _, m := range obj {
		var err error
		switch m.key {
		case "link":
		case "up", "down":
			l := &h.Up
			if m.key == "down" {
				l = &h.Down
			}
			if err := readLink(l, m.value); err != nil {
				return h, fmt.Errorf(".%s%w", m.key, err)
			}
		case "name":
			if h.Name, err = readString(m.value); err == nil {
				err = checkName(h.Name)
			}
		case "multicast":
			var ok bool
			if h.Multicast, ok = m.value.(bool); !ok {
				err = errors.New("is neither true nor false")
			}
		case "nic":
			var text string
			if text, err = scalar(m.value); err == nil {
				h.NIC, err = parseRate(text)
			}
		default:
			err = errors.New("no such key of a host")
		}
		if err != nil {
			return h, fmt.Errorf(".%s: %w", spell(m.key), err)
		}
	}
	return h, nil
}

func readPath(v any, hosts map[string]int) (Path, error) {
	obj, ok := v.(object)
	if !ok {
		return Path{}, errors.New(": is not an object")
	}
	p := Path{From: -1, To: -1}
	var rest object
	for _, m := range obj {
		end := &p.From
		switch m.key {
		case "from":
		case "to":
			end = &p.To
		default:
			rest = append(rest, m)
			continue
		}
		name, err := readString(m.value)
		if err != nil {
			return p, fmt.Errorf(".%s: %w", m.key, err)
		}
		i, ok := hosts[name]
		if !ok {
			return p, fmt.Errorf(".%s: there is no host %q", m.key, clip(name))
		}
		*end = i
	}
	if p.From < 0 || p.To < 0 {
		return p, errors.New(": from or to is missing")
	}
	return p, readLink(&p.Link, rest)
}

// readLink changes the settings of a link that v, an object, names.
func readLink(l *Link, v any) error {
	obj, ok := v.(object)
	if !ok {
		return errors.New(": is not an object")
	}
	for _, m := range obj {
		text, err := scalar(m.value)
		if err == nil {
			err = l.set(m.key, text)
		}
		if err != nil {
			return fmt.Errorf(".%s: %w", spell(m.key), err)
		}
	}
	return nil
}

// scalar gives the text of a string, number or truth value.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		return plain(v), nil
	}
	return "", errors.New("is neither a string, a number nor a truth value")
}

// plain writes a number without an exponent, if it can be exact without.
func plain(n json.Number) string {
	if f, err := n.Float64(); err == nil && bytes.ContainsAny([]byte(n), "eE") {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return n.String()
}

func readString(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", errors.New("is not a string")
	}
	return s, nil
}

func readList(v any) ([]any, error) {
	l, ok := v.([]any)
	if !ok {
		return nil, errors.New("is not a list")
	}
	return l, nil
}

func readInt(v any) (int, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, errors.New("is not a number")
	}
	i, err := strconv.ParseInt(n.String(), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is not a whole number of sensible size", clip(n.String()))
	}
	return int(i), nil
}

func readSeed(v any) (uint64, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, errors.New("is not a number")
	}
	u, err := strconv.ParseUint(n.String(), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a whole number of 64 bits", clip(n.String()))
	}
	return u, nil
}

func readTime(v any) (time.Duration, error) {
	text, err := scalar(v)
	if err != nil {
		return 0, err
	}
	return units.ParseDuration(text)
}
