package httpsource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What is borne of servers. Ours, but for the redirects, of which RFC 9110,
// section 15.4, asks for a bound.
const (
	maxRedirects  = 5
	maxHeader     = 64 << 10 // bytes
	headerTimeout = 30 * time.Second
	dialTimeout   = 30 * time.Second
	idleTimeout   = 90 * time.Second
	readBuffer    = 64 << 10
)

// Config says how a source is reached.
type Config struct {
	// Streams is how many connections there are at most; 0 is 1.
	Streams int
	// Proxy chooses the proxy of a request as http.Transport does; nil: none.
	Proxy func(*http.Request) (*url.URL, error)
	// Login gives name and password for the host of the URL, unless they stand in the
	// URL itself; nil: nobody logs in.
	Login func(host string) (name, password string, ok bool)
	// TLS is used for https; nil is the system's certificates.
	TLS *tls.Config
	// Agent is the name by which the program calls itself; "" sends none.
	Agent string
}

// Facts is what a server says of the object.
type Facts struct {
	Size      int64         // bytes
	Ranges    bool          // parts can be asked for
	Validator string        // a strong entity tag or a date; "" if there is neither
	Host      string        // of the place where the bytes come from, after redirects
	Modified  time.Time     // zero if not told
	Latency   time.Duration // from a request on an open connection to its answer
}

// Source is one object on one server. Open must have succeeded before Range is
// called; from then on any number of goroutines may call both.
type Source struct {
	config    Config
	transport *http.Transport
	first     *url.URL // as given, without name and password
	name      string
	password  string
	login     bool
	oneByOne  atomic.Bool   // no request before the answer to the one before
	early     time.Duration // how long the answer to an early request is waited for

	mu     sync.Mutex // guards pinned
	pinned *version   // nil before Open
}

// version is the object as it was when it was opened. It does not change.
type version struct {
	at    *url.URL // after redirects
	facts Facts
	etag  string // strong or weak, as it came
	date  string
}

// New makes a source of a URL. It is not connected to yet.
//
// Errors: no absolute http or https URL. Passwords never show in errors.
func New(text string, c Config) (*Source, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("reading the URL of a mirror: it is not well formed")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%s: only http and https URLs are mirrors", u.Redacted())
	}
	s := &Source{config: c, first: u, early: earlyTimeout}
	switch {
	case u.User != nil:
		s.name = u.User.Username()
		s.password, _ = u.User.Password()
		s.login = true
	case c.Login != nil:
		s.name, s.password, s.login = c.Login(u.Hostname())
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	n := max(1, c.Streams)
	s.transport = &http.Transport{
		Proxy: c.Proxy,
		// Bytes are counted and hashed as they are stored there.
		DisableCompression: true,
		// One stream is one connection: that is what is bounded, and what fills a
		// path. A map that is not nil turns HTTP/2 off.
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
		TLSClientConfig:        c.TLS,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeader,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        n,
		MaxIdleConnsPerHost:    n,
		ReadBufferSize:         readBuffer,
	}
	return s, nil
}

// String names the source for people: its URL without name and password.
func (s *Source) String() string { return s.first.String() }

// Secure tells whether the bytes come by https, as far as is known. No redirect leads
// from there to http.
func (s *Source) Secure() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinned != nil {
		return s.pinned.at.Scheme == "https"
	}
	return s.first.Scheme == "https"
}

// Close ends idle connections. Readers of Range are closed by who has them.
func (s *Source) Close() { s.transport.CloseIdleConnections() }

// Open asks the server for the facts. It may be called again, for instance after
// a failure: an object that is another one then than the first time is
// ErrChanged.
func (s *Source) Open(ctx context.Context) (Facts, error) {
	facts, err := s.open(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("asking %s for its size: %w", s, err)
	}
	return facts, nil
}

func (s *Source) open(ctx context.Context) (Facts, error) {
	// How long an answer takes once there is a connection.
	var sent, answered time.Time
	resp, at, err := s.follow(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { sent = time.Now() },
		GotFirstResponseByte: func() { answered = time.Now() },
	}))
	if err != nil {
		return Facts{}, err
	}
	size, ranges, err := sizeOf(resp)
	if err == nil && resp.StatusCode == http.StatusPartialContent {
		// The one byte leaves the connection fit for the next request.
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 2))
	}
	resp.Body.Close()
	if err != nil {
		return Facts{}, err
	}
	facts := Facts{Size: size, Ranges: ranges, Host: at.Host, Latency: answered.Sub(sent)}
	if resp.Close {
		s.oneByOne.Store(true)
	}
	etag, date := resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")
	facts.Validator = validator(etag, date)
	if m, err := http.ParseTime(date); err == nil {
		facts.Modified = m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinned != nil {
		if what := s.pinned.differs(size, etag, date); what != "" {
			return Facts{}, changed(what)
		}
	}
	s.pinned = &version{at, facts, etag, date}
	return facts, nil
}

// follow asks for the first byte, through redirects.
func (s *Source) follow(ctx context.Context) (*http.Response, *url.URL, error) {
	at := s.first
	for range maxRedirects + 1 {
		resp, err := s.ask(ctx, at, 0, 1, "")
		if err != nil {
			return nil, nil, err
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			resp.Body.Close()
			if at, err = next(at, resp.Header.Get("Location")); err != nil {
				return nil, nil, err
			}
		default:
			return resp, at, nil
		}
	}
	return nil, nil, &StatusError{text: fmt.Sprintf("more than %d redirects", maxRedirects), final: true}
}

// next is where a redirect leads to.
func next(at *url.URL, location string) (*url.URL, error) {
	refuse := func(why string) error { return &StatusError{text: "the server redirects " + why, final: true} }
	to, err := at.Parse(location)
	switch {
	case err != nil || location == "":
		return nil, refuse("to nowhere")
	case to.Scheme != "http" && to.Scheme != "https" || to.Host == "":
		return nil, refuse("to something that is not HTTP")
	case at.Scheme == "https" && to.Scheme == "http":
		return nil, refuse("from https to http")
	}
	to.User, to.Fragment, to.RawFragment = nil, "", ""
	return to, nil
}

// request is one for n bytes from an offset on.
func (s *Source) request(ctx context.Context, at *url.URL, offset, n int64, ifRange string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+n-1))
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", s.config.Agent)
	if ifRange != "" {
		req.Header.Set("If-Range", ifRange)
	}
	// Name and password are for the host that they were given for.
	if s.login && at.Scheme == s.first.Scheme && at.Host == s.first.Host {
		req.SetBasicAuth(s.name, s.password)
	}
	return req, nil
}

// ask requests n bytes from an offset on. What else but a status is wrong is
// not looked at here.
func (s *Source) ask(ctx context.Context, at *url.URL, offset, n int64, ifRange string) (*http.Response, error) {
	req, err := s.request(ctx, at, offset, n, ifRange)
	if err != nil {
		return nil, err
	}
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := encoded(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// encoded refuses bytes that are not the object's own.
func encoded(resp *http.Response) error {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &StatusError{text: "the server compresses the bytes", final: true}
	}
	return nil
}

// Range asks for n bytes, at least 1, from an offset on. The reader gives exactly
// these and then io.EOF; less is io.ErrUnexpectedEOF. Closing it early ends the
// connection. When as many are open as there may be streams it waits for one.
//
// Errors: ErrChanged when the object is not the one that was opened; an error
// of which Final tells whether it is of use to ask again.
func (s *Source) Range(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	body, err := s.part(ctx, offset, n)
	if err != nil {
		return nil, fmt.Errorf("reading %d bytes at %d of %s: %w", n, offset, s, err)
	}
	return body, nil
}

func (s *Source) part(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	v := s.pinned
	s.mu.Unlock()
	if v == nil || offset < 0 || n < 1 || offset > v.facts.Size-n {
		return nil, &StatusError{text: "these bytes are not part of the object", final: true}
	}
	resp, err := s.ask(ctx, v.at, offset, n, v.facts.Validator)
	if err != nil {
		return nil, err
	}
	if err := v.check(resp, offset, n); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return &body{ReadCloser: resp.Body, left: n}, nil
}

// body gives what was asked for, neither more nor less.
type body struct {
	io.ReadCloser
	left int64
}

// Read reads the next bytes of the range.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF && b.left > 0:
		err = io.ErrUnexpectedEOF
	case err == io.EOF || b.left == 0:
		err = nil
	}
	return n, err
}
