package httpsource

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// CheckAnswer gives an answer to both checks: what they take is consistent.
func CheckAnswer(t *testing.T, span, tag string, code int, length int64) {
	t.Helper()
	resp := &http.Response{StatusCode: code, ContentLength: length, Header: http.Header{"Content-Range": {span}, "Etag": {tag}}}
	size, ranges, err := sizeOf(resp)
	if err == nil && (size < 0 || !ranges && size != length) {
		t.Errorf("size %d of %q, length %d", size, span, length)
	}
	v := &version{at: &url.URL{}, facts: Facts{Size: 1000, Ranges: true, Validator: `"a"`}, etag: `"a"`}
	if err := v.check(resp, 100, 10); err == nil && (code != http.StatusPartialContent || tag != `"a"` || length >= 0 && length != 10) {
		t.Errorf("%d %q %q %d is taken for bytes 100-109", code, span, tag, length)
	}
}

// SetEarly sets how long an answer to an early request is waited for.
func (s *Source) SetEarly(d time.Duration) { s.early = d }

// OneByOne tells whether requests are not sent early any more.
func (s *Source) OneByOne() bool { return s.oneByOne.Load() }
