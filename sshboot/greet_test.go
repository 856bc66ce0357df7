package sshboot

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestGreeting(t *testing.T) {
	good := Greeting{Version: "1.2.3", Protocol: 5, OS: "linux", Arch: "amd64", Extra: "a=b;c"}
	var buf bytes.Buffer
	if err := WriteGreeting(&buf, good); err != nil {
		t.Fatal(err)
	}
	if want := "GOMOVER-BOOT-5e1d0c7b9a42 hello 1.2.3 5 linux amd64 a=b;c\n"; buf.String() != want {
		t.Errorf("got %q, want %q", buf.String(), want)
	}
	for _, g := range []Greeting{
		{}, {Version: "a b", OS: "x", Arch: "y"}, {Version: "1", Protocol: -1, OS: "x", Arch: "y"}, {Version: "1", Protocol: 70000, OS: "x", Arch: "y"},
		{Version: "1", OS: "x\n", Arch: "y"}, {Version: "1", OS: "x", Arch: "y", Extra: "a b"},
		{Version: "1", OS: "x", Arch: "y", Extra: strings.Repeat("x", maxExtra+1)}, {Version: strings.Repeat("1", 129), OS: "x", Arch: "y"},
	} {
		if err := WriteGreeting(io.Discard, g); !errors.Is(err, errGreeting) {
			t.Errorf("%.80v was written: %v", g, err)
		}
	}
	for _, line := range []string{"", "hello", "hello 1 1 a", "hello 1 1 a b c d", "hello 1 01 a b", "hello 1 +1 a b", "hello  1 a b", "hullo 1 1 a b", "hello 1 1 a \x80"} {
		if g, err := parseGreeting(line); err == nil {
			t.Errorf("%q was read as %+v", line, g)
		}
	}
}

func TestLineReader(t *testing.T) {
	hello := magic + "hello 1 1 a b"
	for _, c := range []struct {
		name, in, line, banner, rest string
		err                          error
	}{
		{"plain", hello + "\nrest", "hello 1 1 a b", "", "rest", nil},
		{"binary rest", hello + "\n\x00\n\xff", "hello 1 1 a b", "", "\x00\n\xff", nil},
		{"banner", "hi\nthere" + hello + "\n", "hello 1 1 a b", "hi\nthere", "", nil},
		{"carriage return", hello + "\r\n", "hello 1 1 a b", "", "", nil},
		{"cut off", hello, "", hello, "", io.EOF},
		{"nothing", "", "", "", "", io.EOF},
		{"half a magic", magic[:10], "", magic[:10], "", io.EOF},
		{"longest banner", strings.Repeat("x", maxBanner) + hello + "\n", "hello 1 1 a b", strings.Repeat("x", maxBanner), "", nil},
		{"too long a banner", strings.Repeat("x", maxBanner+1) + hello + "\n", "", "", "", errNoise},
		{"no end of line", magic + strings.Repeat("x", maxLine+1), "", "", "", errNoise},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in))} {
			if name == "bytes" && len(c.in) > 10000 {
				continue
			}
			l := &lineReader{r: r}
			line, err := l.next()
			if line != c.line || !errors.Is(err, c.err) {
				t.Errorf("%s, %s: got %q, %v; want %q, %v", c.name, name, line, err, c.line, c.err)
			}
			if c.err == errNoise {
				continue
			}
			rest, _ := io.ReadAll(r)
			if string(l.banner) != c.banner || string(l.buf)+string(rest) != c.rest {
				t.Errorf("%s, %s: banner %.40q, rest %q", c.name, name, l.banner, l.buf)
			}
		}
	}
}

// FuzzGreeting feeds a far side's first words: no panic, bounded memory, and what
// is read is written the same.
func FuzzGreeting(f *testing.F) {
	for _, s := range []string{"", magic, magic + "hello 1.2.3 1 linux amd64 x\nrest", "banner\n" + magic + "hello v 65535 a b\r\n", magic + "need Linux x86_64 gz\n" + magic + "hello 1 1 a b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &lineReader{r: bytes.NewReader(data)}
		for {
			line, err := l.next()
			if len(l.banner) > maxBanner+1 {
				t.Fatalf("kept %d bytes of banner", len(l.banner))
			}
			if err != nil {
				return
			}
			g, err := parseGreeting(line)
			if err != nil {
				continue
			}
			var buf bytes.Buffer
			if err := WriteGreeting(&buf, g); err != nil || buf.String() != magic+line+"\n" {
				t.Fatalf("%q was written as %q, %v", line, buf.String(), err)
			}
		}
	})
}

// FuzzConfigLine feeds lines of ssh_config and command lines: no panic.
func FuzzConfigLine(f *testing.F) {
	for _, s := range []string{"Host a !b", "Match host=x !user y", "Port 22 # x", `IdentityFile "a b" c`, "ProxyJump u@h:1,[::1]:2", "x=%h${A}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s := &settings{alias: "a", host: "h", user: "u", port: 7, local: "me", home: "/h", values: map[string][]string{}}
		r := &configReader{s: s}
		words := splitWords(line)
		if len(words) == 0 {
			t.Fatal("no word")
		}
		r.match(words[1:])
		matchHost(words, "name")
		commandWords(line)
		s.path(line)
		parseJump(line)
		r.setting(line)
		chooseAlgorithms(line+"x", []string{"a"}, []string{"a", "b"})
	})
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[31mred\x07\r\n b\n\n": "a[31mred\n b", "\tx": "x", "a\xffb": "a?b", "\u202eabc": "abc",
	} {
		if got := cleanText(in, 100); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := cleanLine("a\nb"+strings.Repeat("é", 50), 10); got != "a bééé..." {
		t.Errorf("got %q", got)
	}
	var tl tail
	for range 100 {
		tl.Write(bytes.Repeat([]byte("x"), 1000))
	}
	tl.Write([]byte("end"))
	if s := tl.String(); len(s) != maxStderr || !strings.HasSuffix(s, "xend") {
		t.Errorf("kept %d bytes", len(s))
	}
}
