package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/lab"
)

// bed is a network that one emulator, this one or another, has brought up.
type bed struct{ program, self string }

// up brings up a network. None may be up already.
func (b *bed) up(ctx context.Context, topology string) error {
	f, err := os.CreateTemp("", "lab-check-*.json")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(topology)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing a topology: %w", err)
	}
	_, err = b.run(ctx, "up", f.Name())
	return err
}

// down removes the network, also when the measurement was interrupted.
func (b *bed) down() error {
	_, err := b.run(context.Background(), "down")
	return err
}

// run runs the emulator's program and returns what it printed.
func (b *bed) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.program, args...)
	// A file, since what the program leaves running would keep a pipe open.
	complaint, err := os.CreateTemp("", "lab-check-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(complaint.Name())
	defer complaint.Close()
	cmd.Stderr = complaint
	out, err := cmd.Output()
	if err != nil {
		text, _ := os.ReadFile(complaint.Name())
		return out, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	return out, nil
}

// on prepares a command on a host.
func (b *bed) on(ctx context.Context, host string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, b.program, append([]string{"exec", host, "--"}, args...)...)
}

// output runs a command on a host.
func (b *bed) output(ctx context.Context, host string, args ...string) (string, error) {
	out, err := b.run(ctx, append([]string{"exec", host, "--"}, args...)...)
	return string(out), err
}

// stats reads the emulator's counters.
func (b *bed) stats(ctx context.Context) (*lab.Stats, error) {
	text, err := b.run(ctx, "stats", "--json")
	if err != nil {
		return nil, err
	}
	var s lab.Stats
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("reading counters: %w", err)
	}
	for i := range s.Links {
		if n := s.Links[i].Drop("overrun"); n > 0 {
			return nil, fmt.Errorf("the emulator was too slow for %d packets of %s", n, s.Links[i].Name)
		}
	}
	return &s, nil
}

var pingTime = regexp.MustCompile(`time=([0-9.]+) ms`)

// pings gives the round trips that ping measures, in ms.
func (b *bed) pings(ctx context.Context, count int, interval float64) ([]float64, error) {
	out, err := b.output(ctx, "h0", "ping", "-c", strconv.Itoa(count), "-i", fmt.Sprint(interval), "h1")
	var times []float64
	for _, m := range pingTime.FindAllStringSubmatch(out, -1) {
		t, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return nil, fmt.Errorf("reading what ping prints: %w", err)
		}
		times = append(times, t)
	}
	if err == nil && len(times) == 0 {
		err = errors.New("ping got no answer")
	}
	return times, err
}

// rtt gives the median round trip: the mean would tell how busy the machine is.
func rtt(ctx context.Context, b *bed) (reading, error) {
	times, err := b.pings(ctx, 40, 0.05)
	if err != nil {
		return reading{}, err
	}
	slices.Sort(times)
	return reading{value: times[len(times)/2], note: fmt.Sprintf("%.5g to %.5g", times[0], times[len(times)-1])}, nil
}

// jitter gives the standard deviation of the round trip.
func jitter(ctx context.Context, b *bed) (reading, error) {
	times, err := b.pings(ctx, 500, 0.02)
	if err != nil {
		return reading{}, err
	}
	mean, squares := 0.0, 0.0
	for _, t := range times {
		mean += t / float64(len(times))
	}
	for _, t := range times {
		squares += (t - mean) * (t - mean)
	}
	return reading{value: math.Sqrt(squares / float64(len(times)-1))}, nil
}

// partition cuts a link for a second under a stream of pings and counts what is
// lost.
func partition(ctx context.Context, b *bed) (reading, error) {
	plan, err := os.CreateTemp("", "lab-check-")
	if err != nil {
		return reading{}, err
	}
	defer os.Remove(plan.Name())
	_, err = plan.WriteString("1.05s partition h1\n2.05s heal h1\n")
	if err := errors.Join(err, plan.Close()); err != nil {
		return reading{}, fmt.Errorf("writing a schedule: %w", err)
	}
	schedule := exec.CommandContext(ctx, b.program, "schedule", plan.Name())
	if err := schedule.Start(); err != nil {
		return reading{}, fmt.Errorf("starting the schedule: %w", err)
	}
	const count = 40
	times, err := b.pings(ctx, count, 0.1)
	if err := errors.Join(err, schedule.Wait()); err != nil {
		return reading{}, err
	}
	return reading{value: float64(count - len(times))}, nil
}

// tcp gives what one connection carries from h0 to h1 once it has got going.
func tcp(ctx context.Context, b *bed) (reading, error) {
	return b.iperf3(ctx, 6*time.Second, 10*time.Second, "-w", "32M")
}

// iperf3 gives what one connection from h0 to h1 carries per second, in Mbit/s
// without headers, once warm has passed.
func (b *bed) iperf3(ctx context.Context, warm, span time.Duration, words ...string) (reading, error) {
	server := b.on(ctx, "h1", "iperf3", "-s", "-1")
	if err := server.Start(); err != nil {
		return reading{}, fmt.Errorf("starting iperf3: %w", err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	var out string
	before, err := b.stats(ctx)
	if err != nil {
		return reading{}, err
	}
	for range 50 { // until the server listens
		out, err = b.output(ctx, "h0", slices.Concat([]string{"iperf3", "-J", "-c", "h1",
			"-O", fmt.Sprint(warm.Seconds()), "-t", fmt.Sprint(span.Seconds())}, words)...)
		if err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return reading{}, fmt.Errorf("iperf3: %w: %s", err, out)
	}
	after, err := b.stats(ctx)
	if err != nil {
		return reading{}, err
	}
	var report struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return reading{}, fmt.Errorf("reading iperf3's report: %w", err)
	}
	busy := (after.CPU - before.CPU) / (after.Seconds - before.Seconds)
	return reading{report.End.Received.Rate / 1e6, fmt.Sprintf("emulator at %.0f%% of a processor", 100*busy)}, nil
}

// counted sends packets from h0 to an address and gives what receivers on hosts
// got.
func (b *bed) counted(ctx context.Context, to string, hosts []string, send ...int) ([]received, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	got := make([]received, len(hosts))
	outputs := make([]*bufio.Reader, len(hosts))
	receivers := make([]*exec.Cmd, len(hosts))
	defer func() {
		cancel() // ends those that still run
		for _, r := range receivers {
			if r != nil {
				r.Wait()
			}
		}
	}()
	for i, h := range hosts {
		cmd := b.on(ctx, h, b.self, "probe", "receive", to)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, fmt.Errorf("starting a receiver: %w", err)
		}
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("starting a receiver: %w", err)
		}
		receivers[i], outputs[i] = cmd, bufio.NewReader(out)
		if line, err := outputs[i].ReadString('\n'); err != nil || line != "ready\n" {
			return nil, fmt.Errorf("the receiver on %s did not start: %w", h, err)
		}
	}
	// A group is known to the emulator some 10 ms after it was joined.
	time.Sleep(500 * time.Millisecond)
	args := []string{b.self, "probe", "send", to}
	for _, n := range send {
		args = append(args, strconv.Itoa(n))
	}
	if _, err := b.output(ctx, "h0", args...); err != nil {
		return nil, err
	}
	for i := range hosts {
		if err := json.NewDecoder(outputs[i]).Decode(&got[i]); err != nil {
			return nil, fmt.Errorf("the receiver on %s: %w", hosts[i], err)
		}
	}
	return got, nil
}

// Addresses that probes use: host h1 of any lab, and a group.
const (
	probePort  = "5001"
	probeGroup = "239.1.2.3:" + probePort
)

// unicast sends packets from h0 to h1.
func (b *bed) unicast(ctx context.Context, packets, size, perSecond int) (received, error) {
	out, err := b.output(ctx, "h0", "getent", "ahostsv4", "h1")
	if err != nil {
		return received{}, err
	}
	address, _, _ := strings.Cut(out, " ")
	got, err := b.counted(ctx, address+":"+probePort, []string{"h1"}, packets, size, perSecond, 1)
	if err != nil {
		return received{}, err
	}
	return got[0], nil
}

// Sizes and rates of the streams that are counted.
const (
	probeSize  = 100    // bytes
	probeRate  = 30_000 // packets per second
	probeCount = 200_000
)

// lost gives the share of packets that did not arrive, in per cent, and compares
// it with what the links say that they dropped.
func lost(packets int) func(context.Context, *bed) (reading, error) {
	return func(ctx context.Context, b *bed) (reading, error) {
		got, err := b.unicast(ctx, packets, probeSize, probeRate)
		if err != nil {
			return reading{}, err
		}
		s, err := b.stats(ctx)
		if err != nil {
			return reading{}, err
		}
		missing, dropped := int64(packets)-got.Packets, int64(0)
		for i := range s.Links {
			dropped += s.Links[i].Drop("loss", "burst", "queue", "cut")
		}
		note := fmt.Sprintf("%d missing", missing)
		if dropped > 0 {
			note += fmt.Sprintf(", %d dropped", dropped)
		}
		return reading{100 * float64(missing) / float64(packets), note}, nil
	}
}

func share(n int64) reading { return reading{value: 100 * float64(n) / probeCount} }

func twice(ctx context.Context, b *bed) (reading, error) {
	got, err := b.unicast(ctx, probeCount, probeSize, probeRate)
	return share(got.Again), err
}

func behind(ctx context.Context, b *bed) (reading, error) {
	got, err := b.unicast(ctx, probeCount, probeSize, probeRate)
	return share(got.Late), err
}

func mangled(ctx context.Context, b *bed) (reading, error) {
	got, err := b.unicast(ctx, probeCount, probeSize, probeRate)
	return share(got.Bad), err
}

// flood gives the rate of packets that pass a queue which gets more than it can
// send on, from the counters of the link behind it.
func flood(ctx context.Context, b *bed) (reading, error) {
	const (
		seconds   = 5
		perSecond = 24_000_000 / 8 / (probeSize + 28) // with the headers of IP and UDP
	)
	got, err := b.unicast(ctx, seconds*perSecond, probeSize, perSecond)
	if err != nil {
		return reading{}, err
	}
	bits := float64(got.Packets) * 8 * (probeSize + 28)
	// The queue of 50 ms goes on after the last packet was sent.
	return reading{value: bits / (seconds + 0.05) / 1e6, note: fmt.Sprintf("%d of %d packets", got.Packets, seconds*perSecond)}, nil
}

// multicast gives the packets on the up link and those received by all members
// together; hosts that are no members, or may not be, must get none.
func multicast(ctx context.Context, b *bed) (reading, error) {
	const packets = 200
	if _, err := b.run(ctx, "stats", "--reset"); err != nil {
		return reading{}, err
	}
	got, err := b.counted(ctx, probeGroup, []string{"h1", "h2", "h3", "h4"}, packets, 1400, 500, 8)
	if err != nil {
		return reading{}, err
	}
	s, err := b.stats(ctx)
	if err != nil {
		return reading{}, err
	}
	up, outside := s.Link("h0.up"), s.Link("h5.down")
	if up == nil || outside == nil {
		return reading{}, errors.New("the counters lack links")
	}
	n := got[0].Packets + got[1].Packets + got[2].Packets
	if got[3].Packets > 0 || outside.Multicast.Packets > 0 {
		return reading{}, fmt.Errorf("%d packets came to a host without multicast, %d to one that is not a member", got[3].Packets, outside.Multicast.Packets)
	}
	return reading{float64(n + up.Multicast.Packets), fmt.Sprintf("%d on the up link", up.Multicast.Packets)}, nil
}
