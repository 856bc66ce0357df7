package metalink

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"
)

const head = `<?xml version="1.0" encoding="UTF-8"?><metalink xmlns="urn:ietf:params:xml:ns:metalink">`

func list(inside string) string { return head + inside + "</metalink>" }

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func TestParse(t *testing.T) {
	m, err := Parse(strings.NewReader(list(`
	<generator>some/1</generator>
	<file name="dir/data.bin">
	  <size> 10 </size>
	  <identity>data</identity>
	  <hash type="md5">` + strings.Repeat("0", 32) + `</hash>
	  <hash type="sha-256">` + strings.ToUpper(sum("0123456789")) + `</hash>
	  <hash type="whirlpool">xyz</hash>
	  <pieces length="4" type="sha-1">` + strings.Repeat("<hash>"+strings.Repeat("a", 40)+"</hash>", 3) + `</pieces>
	  <pieces length="6" type="sha-256"><hash>` + sum("012345") + `</hash><hash>` + sum("6789") + `</hash></pieces>
	  <other xmlns="urn:else"><size>7</size></other>
	  <url>http://last.example/x</url>
	  <url priority="2" location="DE">HTTPS://two.example/x?a=1&amp;b=2</url>
	  <url priority="1" location="us">ftp://one.example/x</url>
	  <metaurl mediatype="torrent">http://t.example/x.torrent</metaurl>
	  <signature mediatype="application/pgp-signature">...</signature>
	</file>
	<file name="b"><url>https://one.example/b</url></file>`)))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != 2 || len(m.Refused) != 0 {
		t.Fatalf("%+v", m)
	}
	f := m.Files[0]
	if f.Name != "dir/data.bin" || f.Size != 10 || f.Metaurls != 1 || !f.Signed {
		t.Errorf("%+v", f)
	}
	if h, ok := f.Strongest(); !ok || h.Type != SHA256 || hex.EncodeToString(h.Sum) != sum("0123456789") || len(f.Hashes) != 2 {
		t.Errorf("hashes %v", f.Hashes)
	}
	if p := f.Pieces; p.Type != SHA256 || p.Length != 6 || p.Len() != 2 || hex.EncodeToString(p.Sum(1)) != sum("6789") {
		t.Errorf("pieces %+v", p)
	}
	if got, want := fmt.Sprint(f.URLs), "[{ftp://one.example/x ftp 1 us} {HTTPS://two.example/x?a=1&b=2 https 2 de} {http://last.example/x http 999999 }]"; got != want {
		t.Errorf("URLs %s, want %s", got, want)
	}
	f.Near("De")
	if f.URLs[0].Location != "de" || f.URLs[1].Location != "us" {
		t.Errorf("near de: %v", f.URLs)
	}
	if b := m.Files[1]; b.Size != -1 || b.Pieces.Len() != 0 {
		t.Errorf("%+v", b)
	} else if _, ok := b.Strongest(); ok {
		t.Error("a hash out of nothing")
	}
}

func TestNotMetalink(t *testing.T) {
	tests := []struct {
		text string
		want error
	}{
		{"", ErrNotMetalink},
		{"hello", ErrNotMetalink},
		{"<html/>", ErrNotMetalink},
		{`<metalink/>`, ErrNotMetalink},
		{`<metalink version="3.0" xmlns="http://www.metalinker.org/"><files/></metalink>`, ErrVersion3},
		{head + "<!--" + strings.Repeat("-x", maxToken) + "--></metalink>", ErrTooLarge},
		{head + strings.Repeat("<file name='a'/>", MaxFiles+1) + "</metalink>", ErrTooLarge},
	}
	for _, test := range tests {
		if _, err := Parse(strings.NewReader(test.text)); !errors.Is(err, test.want) {
			t.Errorf("%.60q: %v, want %v", test.text, err, test.want)
		}
	}
	for _, short := range []string{head, head + "<file name='a'>", head + "<file name='a'><size>5", head + "<x></y>"} {
		if m, err := Parse(strings.NewReader(short)); err == nil {
			t.Errorf("%q: %+v", short, m)
		}
	}
	if _, err := Parse(io.MultiReader(strings.NewReader(head), spaces{})); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an endless list: %v", err)
	}
	if _, err := Parse(strings.NewReader(list("<file name='a'><url>" + strings.Repeat("x", maxText+1) + "</url></file>"))); err == nil {
		t.Error("a text without end is taken")
	}
	if _, err := Parse(strings.NewReader(list(strings.Repeat("<x>", 100) + strings.Repeat("</x>", 100)))); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("a deep list: %v", err)
	}
}

// spaces is a reader without end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestRefused(t *testing.T) {
	tests := []struct{ file, why string }{
		{`<file/>`, "it has no name"},
		{`<file name="../../etc/x"/>`, "its name leaves the destination"},
		{`<file name="a/../../b"/>`, "its name leaves the destination"},
		{`<file name="/etc/x"/>`, "its name leaves the destination"},
		{`<file name="C:\x"/>`, "its name leaves the destination"},
		{`<file name="c:x"/>`, "its name leaves the destination"},
		{`<file name="\\host\x"/>`, "its name leaves the destination"},
		{`<file name="a\b"/>`, "its name has a backslash"},
		{`<file name="a&#9;b"/>`, "its name has control characters"},
		{`<file name="a//b"/>`, "its name is not in its shortest form"},
		{`<file name="."/>`, "its name is not in its shortest form"},
		{`<file name="a/"/>`, "its name is not in its shortest form"},
		{`<file name="` + strings.Repeat("a", MaxName+1) + `"/>`, "its name is too long"},
		{`<file name="a"><size>-1</size></file>`, "its size is not a number of bytes"},
		{`<file name="a"><size>99999999999999999999</size></file>`, "its size is not a number of bytes"},
		{`<file name="a"><size>1</size><size>2</size></file>`, "it has two sizes, 1 and 2"},
		{`<file name="a"><hash type="sha-256">00</hash></file>`, "a sha-256 hash has 2 digits"},
		{`<file name="a"><hash type="md5">` + strings.Repeat("x", 32) + `</hash></file>`, "a md5 hash is not hexadecimal"},
		{`<file name="a"><hash type="sha-256">` + sum("a") + `</hash><hash type="SHA-256">` + sum("b") + `</hash></file>`, "it has two different sha-256 hashes"},
		{`<file name="a"><size>1</size><pieces type="sha-256"/></file>`, "the length of its pieces is not a number of bytes"},
		{`<file name="a"><size>1</size><pieces type="sha-256" length="0"/></file>`, "the length of its pieces is not a number of bytes"},
		{`<file name="a"><size>5</size><pieces type="sha-256" length="4"><hash>` + sum("a") + `</hash></pieces></file>`, "it has 1 pieces of 4 bytes, which do not make 5 bytes"},
		{`<file name="a"><pieces type="sha-256" length="4"><hash>` + sum("a") + `</hash></pieces></file>`, "it has pieces but no size"},
		{`<file name="a"><size>1</size><pieces type="md5" length="4"><hash>zz</hash></pieces></file>`, "of its pieces, a md5 hash has 2 digits"},
		{`<file name="a"><url>x</url></file>`, "a URL is not absolute"},
		{`<file name="a"><url>mailto:x</url></file>`, "a URL is not absolute"},
		{`<file name="a"><url>http://u:secret@h:port/</url></file>`, "a URL cannot be read"},
		{`<file name="a"><url priority="0">http://h/</url></file>`, "a priority is not a number from 1 to 999999"},
	}
	for _, test := range tests {
		m, err := Parse(strings.NewReader(list(test.file + `<file name="good"/>`)))
		if err != nil {
			t.Errorf("%.80s: %v", test.file, err)
			continue
		}
		if len(m.Files) != 1 || m.Files[0].Name != "good" || len(m.Refused) != 1 || m.Refused[0].Why != test.why {
			t.Errorf("%.80s: %+v, want %q", test.file, m.Refused, test.why)
		}
	}
	m, err := Parse(strings.NewReader(list(`<file name="a"/><file name="a"/>`)))
	if err != nil || len(m.Files) != 1 || len(m.Refused) != 1 || m.Refused[0].Why != "the name stands there twice" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestHashTypes(t *testing.T) {
	for _, kind := range []HashType{SHA512, SHA384, SHA256, SHA224, SHA1, MD5} {
		if h := kind.New(); h.Size() != kind.Size() {
			t.Errorf("%s: %d bytes, want %d", kind, h.Size(), kind.Size())
		}
	}
	if HashType("crc32").New() != nil || HashType("crc32").Size() != 0 {
		t.Error("crc32 is known")
	}
	if SHA256.Weak() || !MD5.Weak() {
		t.Error("weak is wrong")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(list(`<file name="a"><size>1</size><hash type="md5">` + strings.Repeat("0", 32) + `</hash><pieces length="1" type="sha-1"><hash>` + strings.Repeat("0", 40) + `</hash></pieces><url priority="1">http://h/a</url></file>`)))
	f.Add([]byte(`<metalink xmlns="http://www.metalinker.org/"/>`))
	f.Add([]byte(head + `<!DOCTYPE a [<!ENTITY b "c">]><file name="&b;"/>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(bytes.NewReader(text))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		for _, file := range m.Files {
			if name := path.Clean("/" + file.Name)[1:]; name != file.Name || strings.HasPrefix(file.Name, "../") || file.Size < -1 {
				t.Errorf("%+v", file)
			}
			for i := range file.Pieces.Len() {
				if len(file.Pieces.Sum(i)) != file.Pieces.Type.Size() {
					t.Errorf("piece %d: %x", i, file.Pieces.Sum(i))
				}
			}
			if len(file.URLs) > MaxURLs {
				t.Errorf("%d URLs", len(file.URLs))
			}
		}
	})
}
