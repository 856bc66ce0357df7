package topology

import (
	"errors"
	"fmt"
	"strings"
)

// Kind tells which link a [LinkID] means.
type Kind byte

// The kinds of links.
const (
	Up   Kind = iota // from a host
	Down             // to a host
	Pair             // the path from one host to another
)

// LinkID names one direction of a link. It is comparable.
type LinkID struct {
	Kind Kind
	Host int // index of the host; of a path, where it begins
	To   int // of a path, where it ends; otherwise 0
}

// Name gives a link's name as [Topology.Select] reads it: h1.up, h1.down, h0:h2.
// id must be one of this topology.
func (t *Topology) Name(id LinkID) string {
	name := t.Hosts[id.Host].Name
	switch id.Kind {
	case Up:
		return name + ".up"
	case Down:
		return name + ".down"
	}
	return name + ":" + t.Hosts[id.To].Name
}

// Link gives the settings of a link. The pointer is valid until a path is added.
// It is nil for a path that does not exist.
func (t *Topology) Link(id LinkID) *Link {
	switch id.Kind {
	case Up:
		return &t.Hosts[id.Host].Up
	case Down:
		return &t.Hosts[id.Host].Down
	}
	if i := t.path(id.Host, id.To); i >= 0 {
		return &t.Paths[i].Link
	}
	return nil
}

// Links lists all links: each host's up and down, then the paths.
func (t *Topology) Links() []LinkID {
	ids := make([]LinkID, 0, 2*len(t.Hosts)+len(t.Paths))
	for i := range t.Hosts {
		ids = append(ids, LinkID{Kind: Up, Host: i}, LinkID{Kind: Down, Host: i})
	}
	for _, p := range t.Paths {
		ids = append(ids, LinkID{Kind: Pair, Host: p.From, To: p.To})
	}
	return ids
}

// Select gives the links that a word means: h1.up, h1.down, h1 (both), the same
// with "all" in place of a host, or h0:h2, the path between a pair, which need
// not exist.
func (t *Topology) Select(word string) ([]LinkID, error) {
	if from, to, ok := strings.Cut(word, ":"); ok {
		a, b := t.Index(from), t.Index(to)
		if a < 0 || b < 0 || a == b {
			return nil, fmt.Errorf("no such link: %q", clip(word))
		}
		return []LinkID{{Kind: Pair, Host: a, To: b}}, nil
	}
	name, dir, dotted := strings.Cut(word, ".")
	if dotted && dir != "up" && dir != "down" {
		return nil, fmt.Errorf("no such link: %q", clip(word))
	}
	var ids []LinkID
	for i := range t.Hosts {
		if name != "all" && name != t.Hosts[i].Name {
			continue
		}
		if dir != "down" {
			ids = append(ids, LinkID{Kind: Up, Host: i})
		}
		if dir != "up" {
			ids = append(ids, LinkID{Kind: Down, Host: i})
		}
	}
	if ids == nil {
		return nil, fmt.Errorf("no such link: %q", clip(word))
	}
	return ids, nil
}

// maxWords bounds the words of one [Topology.Set]: every path of the largest
// topology, and all settings.
const maxWords = MaxHosts*MaxHosts + 100

// Set does what words such as "h1.down h0:h2 rate=50mbit loss=1%" say: it changes
// the links, all settings of all or, on an error, none. Missing paths are added.
// The links are returned in the order of the words, each once.
func (t *Topology) Set(words []string) ([]LinkID, error) {
	if len(words) > maxWords {
		return nil, fmt.Errorf("%d words are too many", len(words))
	}
	var ids []LinkID
	var settings [][2]string
	seen := make(map[LinkID]bool)
	for _, w := range words {
		if key, value, ok := strings.Cut(w, "="); ok {
			settings = append(settings, [2]string{key, value})
			continue
		}
		some, err := t.Select(w)
		if err != nil {
			return nil, err
		}
		for _, id := range some {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 || len(settings) == 0 {
		return nil, errors.New("want LINK... KEY=VALUE, with a link and an assignment at least")
	}
	// Whether a value fits does not depend on the link, so one trial is enough.
	var trial Link
	for _, s := range settings {
		if err := trial.Set(s[0], s[1]); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		if id.Kind == Pair && t.Link(id) == nil {
			t.Paths = append(t.Paths, Path{From: id.Host, To: id.To})
		}
		l := t.Link(id)
		for _, s := range settings {
			if err := l.Set(s[0], s[1]); err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name(id), err)
			}
		}
	}
	return ids, nil
}
