package topology

import (
	"bytes"
	"strconv"
)

// JSON writes the topology in the form that [Parse] reads, defaults left out, one
// host or path a line. t must be valid.
func (t *Topology) JSON() []byte {
	var b bytes.Buffer
	def := New()
	b.WriteString("{\n")
	if t.MTU != def.MTU {
		b.WriteString(`  "mtu": ` + strconv.Itoa(t.MTU) + ",\n")
	}
	if t.CC != def.CC {
		b.WriteString(`  "cc": "` + t.CC + "\",\n")
	}
	if t.Seed != def.Seed {
		b.WriteString(`  "seed": ` + strconv.FormatUint(t.Seed, 10) + ",\n")
	}
	if t.Quantum != def.Quantum {
		b.WriteString(`  "quantum": "` + t.Quantum.String() + "\",\n")
	}
	if t.MinTTL != def.MinTTL {
		b.WriteString(`  "min_ttl": ` + strconv.Itoa(t.MinTTL) + ",\n")
	}
	b.WriteString(`  "hosts": [`)
	for i := range t.Hosts {
		separate(&b, i)
		t.Hosts[i].write(&b)
	}
	b.WriteString("\n  ]")
	if len(t.Paths) > 0 {
		b.WriteString(",\n  \"paths\": [")
		for i := range t.Paths {
			p := &t.Paths[i]
			separate(&b, i)
			b.WriteString(`{"from": "` + t.Hosts[p.From].Name + `", "to": "` + t.Hosts[p.To].Name + `"`)
			for _, s := range p.Link.Settings() {
				b.WriteString(`, "` + s[0] + `": "` + s[1] + `"`)
			}
			b.WriteString("}")
		}
		b.WriteString("\n  ]")
	}
	b.WriteString("\n}\n")
	return b.Bytes()
}

func separate(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteString(",")
	}
	b.WriteString("\n    ")
}

func (h *Host) write(b *bytes.Buffer) {
	b.WriteString(`{"name": "` + h.Name + `"`)
	if h.Multicast {
		b.WriteString(`, "multicast": true`)
	}
	if h.NIC != 0 {
		b.WriteString(`, "nic": "` + formatRate(h.NIC) + `"`)
	}
	if h.Up == h.Down {
		h.Up.write(b, "link")
	} else {
		h.Up.write(b, "up")
		h.Down.write(b, "down")
	}
	b.WriteString("}")
}

// write appends a link's settings under a key, or nothing if there are none.
func (l *Link) write(b *bytes.Buffer, key string) {
	for i, s := range l.Settings() {
		if i == 0 {
			b.WriteString(`, "` + key + `": {`)
		} else {
			b.WriteString(", ")
		}
		b.WriteString(`"` + s[0] + `": "` + s[1] + `"`)
	}
	if len(l.Settings()) > 0 {
		b.WriteString("}")
	}
}
