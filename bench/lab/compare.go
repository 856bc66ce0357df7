package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/topology"
)

// errModelApart says that some row was outside of its bound.
var errModelApart = errors.New("the model is not what the kernel does")

// How connections are compared. Ours.
const (
	compareWarm   = 3 * time.Second  // not counted: how a connection starts is chance
	compareTime   = 15 * time.Second // counted
	compareWithin = 0.2              // of what the kernel gets
)

// comparePath is a path that the model of TCP and the kernel's have to cross: the
// link on the way there, and the round trip.
type comparePath struct {
	name, link string
	rtt        time.Duration
}

var compareControls = []netsim.Control{netsim.CUBIC, netsim.BBR}

func comparePaths() []comparePath {
	return []comparePath{
		{"100 Mbit/s, 20 ms", `"rate": "100mbit", "queue": "20ms"`, 20 * time.Millisecond},
		{"100 Mbit/s, 100 ms", `"rate": "100mbit", "queue": "100ms"`, 100 * time.Millisecond},
		{"50 Mbit/s, 40 ms, 0.1% loss", `"rate": "50mbit", "queue": "40ms", "loss": "0.1%"`, 40 * time.Millisecond},
		{"200 Mbit/s, 80 ms, 0.01% loss", `"rate": "200mbit", "queue": "80ms", "loss": "0.01%"`, 80 * time.Millisecond},
		{"20 Mbit/s, 10 ms, queue of 5 ms", `"rate": "20mbit", "queue": "5ms"`, 10 * time.Millisecond},
	}
}

// topology gives the path as one from h0 to h1.
func (p *comparePath) topology() string {
	half := p.rtt / 2
	return fmt.Sprintf(`{"hosts": [{"name": "h0", "up": {%s, "delay": "%v"}}, {"name": "h1", "up": {"delay": "%v"}}]}`, p.link, half, half)
}

// compare prints what one connection carries over each path, modelled by
// netsim.Flow and with the kernel's TCP, as Markdown.
func compare(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	only := flags.String("rows", "", "measure only rows that contain this, such as bbr")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	fmt.Print("| Path | Congestion control | Model | Kernel | Model : kernel |\n| --- | --- | --- | --- | --- |\n")
	apart := false
	for _, p := range comparePaths() {
		for _, c := range compareControls {
			name := fmt.Sprintf("%s | %v", p.name, c)
			if !strings.Contains(name, *only) {
				continue
			}
			model, err := p.model(c)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			kernel, err := p.kernel(ctx, self, c)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Printf("| %s | %.4g Mbit/s | %.4g Mbit/s | %.2f |\n", name, model, kernel, model/kernel)
			apart = apart || math.Abs(model-kernel) > compareWithin*kernel
		}
	}
	if apart {
		return errModelApart
	}
	return nil
}

// model gives what a modelled connection carries, in Mbit/s.
func (p *comparePath) model(c netsim.Control) (float64, error) {
	t, err := topology.Parse([]byte(p.topology()))
	if err != nil {
		return 0, err
	}
	w, err := netsim.NewTopologyWorld(t)
	if err != nil {
		return 0, err
	}
	f, err := w.AddFlow(w.Hosts()[0], w.Hosts()[1], netsim.FlowConfig{Name: "flow", Control: c, AckEvery: 2, Window: 64_000_000})
	if err != nil {
		return 0, err
	}
	w.Run(compareWarm)
	before := f.Stats().Delivered
	w.Run(compareWarm + compareTime)
	return float64(f.Stats().Delivered-before) * 8 / compareTime.Seconds() / 1e6, nil
}

// kernel gives what the kernel carries over the same path, in Mbit/s.
func (p *comparePath) kernel(ctx context.Context, self string, c netsim.Control) (rate float64, err error) {
	b := &bed{program: self, self: self}
	if err := b.up(ctx, p.topology()); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.down()) }()
	got, err := b.iperf3(ctx, compareWarm, compareTime, "-C", c.String())
	return got.value, err
}
