package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/tcpxm"
)

// First words of command lines that make this program an end of a session.
const (
	sendWord    = "send"
	receiveWord = "receive"
	forgeWord   = "forge"
)

// sent is what a sender prints at its end. Times are of the monotonic clock, in
// seconds.
type sent struct {
	Began   float64 // the handshakes
	Started float64 // data
	Ended   float64 // all receipts are there
	Results []result
	Counts  tcpxm.Counters
}

// result is that of one receiver as the sender knows it.
type result struct {
	tcpxm.PCBCounters
	Complete bool
	Err      string
	Mode     string
}

// received is what a receiver prints at its end.
type received struct {
	Bytes   int64
	Wrong   int64 // parts in which they are not what was sent
	Last    float64
	Receipt float64 // it knows that the sender knows
	Err     string
	Stats   tcpxm.ReceiverStats
}

// runEnd is an end of a session.
func runEnd(ctx context.Context, args []string) error {
	if args[0] == forgeWord {
		f, err := parseForging(args[1:])
		if err != nil {
			return err
		}
		return f.run(ctx)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	file := flags.String("session", "", "file with what the session knows")
	index := flags.Int("index", 0, "which receiver")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	s, err := readSession(*file)
	if err != nil {
		return err
	}
	if flags.NArg() > 0 || *index < 0 || *index >= len(s.Secrets) {
		return errors.New("unexpected words, or no such receiver")
	}
	var said any
	if args[0] == sendWord {
		said, err = s.send(ctx)
	} else {
		said, err = s.receive(ctx, *index)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

// send sends the file to all receivers.
func (s *session) send(ctx context.Context) (out sent, err error) {
	f, err := os.Open(s.Source)
	if err != nil {
		return out, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return out, err
	}
	dests, err := s.destinations()
	if err != nil {
		return out, err
	}
	out.Began = ground.Monotonic()
	x, err := tcpxm.Dial(ctx, &netx.System{}, tcpxm.Config{
		Tag: s.Tag, Secret: tcpxm.Secret(s.Group), Group: s.group(), Source: f, Size: info.Size(),
	}, dests)
	if err != nil {
		return out, err
	}
	defer x.Close()
	out.Started = ground.Monotonic()
	if s.Trace {
		go trace(x)
	}
	results, err := x.Wait(ctx)
	if err != nil {
		return out, err
	}
	out.Ended = ground.Monotonic()
	out.Counts = x.Counters()
	for _, r := range results {
		one := result{PCBCounters: r.PCBCounters, Complete: r.Complete, Mode: r.Mode.String()}
		if r.Err != nil {
			one.Err = r.Err.Error()
		}
		out.Results = append(out.Results, one)
	}
	return out, nil
}

// trace prints how a session stands as long as the process lives.
func trace(x *tcpxm.Session) {
	begin := time.Now()
	for range time.Tick(500 * time.Millisecond) {
		for i, r := range x.Results() {
			fmt.Fprintf(os.Stderr, "%.1f %d %v acked %.1f MB, RTT %.1f ms, group %.1f, unicast %.1f, lost %d, resent %d, forward %d, back %d, heard %d\n",
				time.Since(begin).Seconds(), i, r.Mode, float64(r.Acked)/1e6, r.RTT.Seconds()*1e3, float64(r.GroupBytes)/1e6, float64(r.UnicastBytes)/1e6,
				r.Lost, r.Resent, r.Forwards, r.Fallbacks, r.Feedback)
		}
		fmt.Fprintf(os.Stderr, "%.1f %+v\n", time.Since(begin).Seconds(), x.Counters())
	}
}

// receive compares what comes with the file.
func (s *session) receive(ctx context.Context, index int) (out received, err error) {
	want, err := mapped(s.Source)
	if err != nil {
		return out, err
	}
	address, err := netip.ParseAddr(s.Addresses[index])
	if err != nil {
		return out, err
	}
	r, err := tcpxm.Listen(ctx, &netx.System{}, "udp", netip.AddrPortFrom(address, receiverPort).String(), tcpxm.ReceiverConfig{
		Tag: s.Tag, Secret: tcpxm.Secret(s.Secrets[index]), Group: tcpxm.Secret(s.Group), GroupPort: groupPort,
	})
	if err != nil {
		return out, err
	}
	out = compare(r, want)
	out.Last = ground.Monotonic()
	if err := r.Close(); err != nil && out.Err == "" {
		out.Err = err.Error()
	}
	out.Receipt = ground.Monotonic()
	out.Stats = r.Stats()
	return out, nil
}

// mapped gives a file's bytes without a copy for each receiver; they stay until the
// process ends. Its pages are mapped at once: the session is not to wait for that.
func mapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s is empty", path))
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	return b, nil
}

// compare reads all of r and counts where it is not what is wanted.
func compare(r io.Reader, want []byte) (out received) {
	b := make([]byte, 1<<20)
	for {
		n, err := r.Read(b)
		if rest := want[min(out.Bytes, int64(len(want))):]; n > len(rest) || !bytes.Equal(b[:n], rest[:n]) {
			out.Wrong++
		}
		out.Bytes += int64(n)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			out.Err = err.Error()
			return out
		}
	}
}
