package jobs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of what is said on a control socket.
const (
	maxRequest  = 16 << 10 // bytes of a line
	maxAnswer   = 256 << 10
	maxSettings = 32
	maxAsking   = 16 // at once; others wait
	askTimeout  = 5 * time.Second
)

// What a request wants.
const (
	AskStatus = "status"
	AskSet    = "set"
	AskEvents = "events" // the answer is followed by lines, until the job ends
)

// Setting is a name and what it shall be, as a user writes them.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Request is what somebody asks of a running job.
type Request struct {
	Ask string    `json:"ask"`
	Set []Setting `json:"set,omitempty"`
}

// Answer is what the job says. Error is for people; Said is what was done, one line
// each.
type Answer struct {
	Error  string   `json:"error,omitempty"`
	Said   []string `json:"said,omitempty"`
	Status *Status  `json:"status,omitempty"`
}

// Status is how a running job stands. Bytes, bytes per second and milliseconds.
type Status struct {
	Job      string            `json:"job"`
	Process  int               `json:"process"`
	Command  string            `json:"command"`
	Began    time.Time         `json:"began"`
	Done     int64             `json:"done_bytes"`
	Total    int64             `json:"total_bytes"` // -1: not listed yet
	Rate     int64             `json:"rate_bps"`
	Left     int64             `json:"eta_ms"` // -1: not known
	Limited  string            `json:"limited_by"`
	Streams  int               `json:"streams"`
	State    string            `json:"state,omitempty"` // what is being tried while nothing moves, or "paused"
	Settings map[string]string `json:"settings,omitempty"`
}

// A Handler answers for a job. Any goroutine may call it.
type Handler interface {
	// Answer answers a request.
	Answer(Request) Answer
	// Follow writes lines to w until ctx or the job ends, or a write fails.
	Follow(ctx context.Context, w io.Writer)
}

// ParseRequest reads a request. Whatever it is given, it takes no more memory than the
// line.
func ParseRequest(line []byte) (r Request, err error) {
	if len(line) > maxRequest {
		return r, fmt.Errorf("a request of %d bytes is too long", len(line))
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, errors.New("the request is no JSON")
	}
	switch {
	case r.Ask != AskStatus && r.Ask != AskSet && r.Ask != AskEvents:
		return r, errors.New("the request asks for what is not known here")
	case len(r.Set) > maxSettings:
		return r, fmt.Errorf("%d settings are too many", len(r.Set))
	case (r.Ask == AskSet) != (len(r.Set) > 0):
		return r, errors.New("settings belong to a request that sets them")
	}
	return r, nil
}

// Server answers for one running job.
type Server struct {
	l     *net.UnixListener
	path  string
	lock  *Lock
	h     Handler
	ctx   context.Context
	end   context.CancelFunc
	turns chan struct{}
	wg    sync.WaitGroup
}

// suffix is that of a control socket's name; the job's ID stands before it.
const suffix = ".sock"

// Serve answers for the job id at a socket in the state directory dir, which it makes
// if need be, until Close. Only the user of this process, and root, are answered. A
// *BusyError says that another process does so already.
func Serve(dir, id string, h Handler) (*Server, error) {
	if !tellsPeer {
		return nil, errors.New("this system does not tell who connects")
	}
	lock, err := Acquire(dir, id+suffix, 0)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, id+suffix)
	l, err := listen(path)
	if err != nil {
		lock.Release()
		return nil, fmt.Errorf("listening for the control of job %s: %w", id, err)
	}
	s := &Server{l: l, path: path, lock: lock, h: h, turns: make(chan struct{}, maxAsking)}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// listen makes the socket. What an ended process has left is removed; the lock says
// that there is no other.
func listen(path string) (*net.UnixListener, error) {
	at, release, err := reach(path)
	if err != nil {
		return nil, err
	}
	defer release()
	_ = os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // Close does, by its real name
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return l, nil
}

// Close ends the socket, and those who follow the job.
func (s *Server) Close() {
	s.end()
	_ = os.Remove(s.path)
	s.l.Close()
	s.wg.Wait()
	s.lock.Release()
}

func (s *Server) accept() {
	for {
		c, err := s.l.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // too many open files, or the like
			case <-time.After(100 * time.Millisecond):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		select {
		case s.turns <- struct{}{}:
		case <-s.ctx.Done():
			c.Close()
			return
		}
		s.wg.Go(func() {
			defer func() { <-s.turns }()
			s.serve(c)
		})
	}
}

func (s *Server) serve(c *net.UnixConn) {
	defer context.AfterFunc(s.ctx, func() { c.Close() })()
	defer c.Close()
	if uid, err := peerUID(c); err != nil || uid != 0 && uid != os.Getuid() {
		return
	}
	_ = c.SetDeadline(time.Now().Add(askTimeout))
	line, err := readLine(c, maxRequest)
	if err != nil {
		return
	}
	r, err := ParseRequest(line)
	a := Answer{}
	if err != nil {
		a.Error = err.Error()
	} else {
		a = s.h.Answer(r)
	}
	b, err := json.Marshal(a)
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Now().Add(askTimeout)) // to answer may have taken long
	if _, err := c.Write(append(b, '\n')); err != nil || r.Ask != AskEvents || a.Error != "" {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	_ = c.SetDeadline(time.Time{})
	s.wg.Go(func() {
		_, _ = io.Copy(io.Discard, c) // until the other end goes
		cancel()
	})
	s.h.Follow(ctx, patient{c})
	c.Close()
}

// patient writes to a connection, and gives up on one who does not read.
type patient struct{ c *net.UnixConn }

// Write implements io.Writer.
func (p patient) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(askTimeout)); err != nil {
		return 0, err
	}
	return p.c.Write(b)
}

// readLine reads one line of at most n bytes.
func readLine(r io.Reader, n int) ([]byte, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, int64(n)+1), 4096).ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return line[:len(line)-1], nil
}

// ErrNotRunning means that no job of that name runs here.
var ErrNotRunning = errors.New("is not running on this machine")

// Running lists the jobs in the state directory dir that run, by name. What killed
// processes have left is not among them.
func Running(dir string) ([]string, error) {
	l, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range l {
		if id, ok := strings.CutSuffix(e.Name(), suffix); ok && e.Type() == os.ModeSocket && listens(filepath.Join(dir, e.Name())) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// listens tells that somebody may listen at a socket: that the system does not say
// otherwise.
func listens(path string) bool {
	at, release, err := reach(path)
	if err != nil {
		return true
	}
	defer release()
	c, err := net.DialTimeout("unix", at, askTimeout)
	if err != nil {
		return !errors.Is(err, syscall.ECONNREFUSED)
	}
	c.Close()
	return true
}

// Find gives the one running job whose name begins with prefix.
func Find(dir, prefix string) (string, error) {
	ids, err := Running(dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, id := range ids {
		if id == prefix {
			return id, nil
		}
		if strings.HasPrefix(id, prefix) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("job %s %w", prefix, ErrNotRunning)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("job %s may be %s", prefix, strings.Join(found, " or "))
}

// Ask asks a running job. The lines that follow the answer to AskEvents go to w, which
// is otherwise not used. Errors: ErrNotRunning, what the job answered, or why it could
// not be asked.
func Ask(ctx context.Context, dir, id string, r Request, w io.Writer) (Answer, error) {
	var a Answer
	at, release, err := reach(filepath.Join(dir, id+suffix))
	if err != nil {
		return a, err
	}
	d := net.Dialer{Timeout: askTimeout}
	conn, err := d.DialContext(ctx, "unix", at)
	release()
	if err != nil {
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		return a, fmt.Errorf("job %s %w", id, ErrNotRunning)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	_ = conn.SetDeadline(time.Now().Add(2 * askTimeout))
	b, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	in := bufio.NewReaderSize(conn, maxAnswer)
	if _, err = conn.Write(append(b, '\n')); err == nil {
		b, err = in.ReadSlice('\n')
	}
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		return a, fmt.Errorf("asking job %s: %w", id, err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	if r.Ask == AskEvents {
		_ = conn.SetDeadline(time.Time{})
		if ctx.Err() == nil {
			_, err = io.Copy(w, in)
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return a, err
}
