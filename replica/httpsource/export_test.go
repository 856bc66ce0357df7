package httpsource

import (
	"net/http"
	"net/url"
	"testing"
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
