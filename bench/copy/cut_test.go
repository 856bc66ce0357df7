package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCutIsRead(t *testing.T) {
	line := func(at, rest string) string {
		return fmt.Sprintf(`{"v":1,"t":"2026-01-01T00:00:%sZ",%s}`+"\n", at, rest)
	}
	at := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	begin := line("01.000", `"ev":"plan","transport":"udt"`) + line("09.900", `"ev":"progress","verified_bytes":100000000`) +
		line("10.100", `"ev":"progress","verified_bytes":101000000`)
	told := line("14.500", `"ev":"transport","from":"udt","to":"tcp","reason":"nothing heard"`)
	idle := line("14.600", `"ev":"progress","verified_bytes":101000000`)
	again := line("15.000", `"ev":"progress","verified_bytes":102000000`)
	for _, c := range []struct {
		name, text string
		holds      bool
		words      string
	}{
		{"as it must be", begin + told + idle + again, true, "over udt, 100 MB; 1 transport event 4.5 s after the drop (nothing heard), first bytes over tcp 5.0 s after it"},
		{"too late", begin + told + idle + line("16.100", `"ev":"progress","verified_bytes":102000000`), false, "first bytes over tcp 6.1 s"},
		{"nothing over tcp", begin + told + idle, false, "tcp 0.0 s"},
		{"told twice", begin + told + told + again, false, "2 transport event"},
		{"told before", line("00.500", `"ev":"transport","to":"udt"`) + begin + told + again, false, "over udt, udt,"},
		{"not over UDT", strings.Replace(begin, "udt", "tcp", 1) + told + again, false, "over tcp, 100 MB"},
		{"another way", begin + strings.Replace(told, `"to":"tcp"`, `"to":"ssh"`, 1) + again, false, "tcp 0.0 s"},
		{"nothing", "", false, "over , 0 MB"},
	} {
		got := readCut([]byte(c.text), at)
		if got.holds() != c.holds || !strings.Contains(got.String(), c.words) {
			t.Errorf("%s: holds %t, %q", c.name, got.holds(), got)
		}
	}
}
