package httpsource

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// ErrChanged means that the object is another one than when it was opened.
var ErrChanged = errors.New("the object changed")

// changedError says in what the object is another one. It is ErrChanged.
type changedError struct{ what string }

func changed(what string) error { return changedError{what} }

// Error says what changed.
func (e changedError) Error() string { return ErrChanged.Error() + ": " + e.what }

// Is makes it ErrChanged.
func (e changedError) Is(target error) bool { return target == ErrChanged }

// Final tells that asking again is of no use.
func (e changedError) Final() bool { return true }

// StatusError is an answer that is of no use.
type StatusError struct {
	Code  int // of HTTP; 0 if the answer was wrong in another way
	text  string
	final bool
}

// Error says what the server did, in words.
func (e *StatusError) Error() string {
	if e.Code == 0 {
		return e.text
	}
	text := http.StatusText(e.Code)
	if text == "" {
		return fmt.Sprintf("the server answers %d", e.Code)
	}
	return fmt.Sprintf("the server answers %d (%s)", e.Code, strings.ToLower(text))
}

// Final tells whether there is no use in asking the same again.
func (e *StatusError) Final() bool { return e.final }

// status is the error of a code that is neither 200 nor 206. What may pass by
// itself: the server is busy or ill. Source: RFC 9110, section 15; RFC 6585.
func status(code int) error {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusTooEarly:
		return &StatusError{Code: code}
	}
	return &StatusError{Code: code, final: code < 500 || code == http.StatusNotImplemented || code == http.StatusHTTPVersionNotSupported}
}

// sizeOf reads the length of the object from the answer to a request for its
// first byte.
func sizeOf(resp *http.Response) (size int64, ranges bool, err error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		first, last, size, err := contentRange(resp)
		if err != nil {
			return 0, false, err
		}
		if first != 0 || last != 0 {
			return 0, false, &StatusError{text: "the server gives another range than was asked for", final: true}
		}
		return size, true, nil
	case http.StatusRequestedRangeNotSatisfiable:
		// An object without bytes has no first one.
		if strings.ReplaceAll(resp.Header.Get("Content-Range"), " ", "") == "bytes*/0" {
			return 0, true, nil
		}
		return 0, false, status(resp.StatusCode)
	case http.StatusOK:
		if resp.ContentLength < 0 {
			return 0, false, &StatusError{text: "the server does not tell the size", final: true}
		}
		return resp.ContentLength, false, nil
	}
	return 0, false, status(resp.StatusCode)
}

// contentRange reads "bytes FIRST-LAST/SIZE". Source: RFC 9110, section 14.4.
func contentRange(resp *http.Response) (first, last, size int64, err error) {
	wrong := &StatusError{text: "the server gives a range without saying which", final: true}
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(kind), "multipart/byteranges") {
		return 0, 0, 0, &StatusError{text: "the server gives several ranges at once", final: true}
	}
	unit, rest, ok1 := strings.Cut(strings.TrimSpace(resp.Header.Get("Content-Range")), " ")
	span, total, ok2 := strings.Cut(strings.TrimSpace(rest), "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok1 || !ok2 || !ok3 || !strings.EqualFold(unit, "bytes") {
		return 0, 0, 0, wrong
	}
	var numbers [3]int64
	for i, text := range []string{from, to, total} {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return 0, 0, 0, wrong
		}
		numbers[i] = int64(n)
	}
	first, last, size = numbers[0], numbers[1], numbers[2]
	if first > last || last >= size {
		return 0, 0, 0, wrong
	}
	return first, last, size, nil
}

// validator is what a request can name the object by: a strong entity tag, else
// the date. Source: RFC 9110, section 13.1.5: weak tags must not be used there.
func validator(etag, date string) string {
	if etag != "" && !strings.HasPrefix(etag, "W/") {
		return etag
	}
	return date
}

// differs says in what an answer shows another object than the one that was
// opened; "" if in nothing.
func (v *version) differs(size int64, etag, date string) string {
	switch {
	case size != v.facts.Size:
		return fmt.Sprintf("its size is %d now, it was %d", size, v.facts.Size)
	case etag != v.etag:
		return "its entity tag is another one"
	case v.etag == "" && date != v.date:
		return "it was modified"
	}
	return ""
}

// check looks whether an answer holds what was asked for.
func (v *version) check(resp *http.Response, offset, n int64) error {
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK:
		// A server that knows the validator no more sends everything.
		if v.facts.Ranges && v.facts.Validator != "" {
			return changed("the server knows this version no more")
		}
		if offset == 0 && n == v.facts.Size && resp.ContentLength == n {
			if what := v.differs(n, resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")); what != "" {
				return changed(what)
			}
			return nil
		}
		return &StatusError{text: "the server does not give ranges", final: true}
	case http.StatusRequestedRangeNotSatisfiable:
		return changed("it is shorter than it was")
	default:
		return status(resp.StatusCode)
	}
	first, last, size, err := contentRange(resp)
	if err != nil {
		return err
	}
	if what := v.differs(size, resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")); what != "" {
		return changed(what)
	}
	if first != offset || last != offset+n-1 {
		return &StatusError{text: fmt.Sprintf("the server gives bytes %d-%d", first, last), final: true}
	}
	if resp.ContentLength >= 0 && resp.ContentLength != n {
		return &StatusError{text: fmt.Sprintf("the server gives %d bytes", resp.ContentLength), final: true}
	}
	return nil
}
