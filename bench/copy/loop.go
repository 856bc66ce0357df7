package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/payload"
)

// Bars of the loopback row. Source: ours; a program that does nothing but the
// unavoidable parts would reach 1 and, with nothing waiting, all processors.
const (
	cpuBar        = 1.3
	throughputBar = 0.75
)

// Sizes of the parts measured alone. Unit: bytes.
const (
	partBlock  = 256 << 10 // one block, and one frame
	partMemory = 256 << 20 // greater than any cache
	partTotal  = 2 << 30   // per part
)

// gigabyte is the unit of "CPU seconds per GB".
const gigabyte = 1e9

// mode is a setting of --encrypt that the loopback row measures.
type mode struct {
	name   string
	args   []string
	sealed bool
}

// rowLoop compares the processor time of a copy with that of its unavoidable
// parts: moving the bytes through as many TCP connections, through the file
// system, and through hash and cipher at both ends.
func rowLoop(ctx context.Context, b *bench) error {
	g, err := b.loopback(ctx)
	if err != nil {
		return err
	}
	defer g.Close()
	size := b.Size(4 << 30)
	src, dst := filepath.Join(b.Dir, "src"), filepath.Join(b.Dir, "dst")
	if err := payload.MakeFile(ctx, src, size, 3); err != nil {
		return err
	}
	defer os.Remove(src)
	defer os.Remove(dst)
	modes := []mode{{"--encrypt=off", []string{"--encrypt=off"}, false}, {"default", nil, true}}
	cpu, speed, foreign := map[string]ground.Samples{}, map[string]ground.Samples{}, map[string]ground.Samples{}
	part, detail := map[string]ground.Samples{}, map[string][]string{}
	streams := 1
	for range b.Rounds {
		for _, m := range modes {
			u, err := g.steady(ctx, dst, nil, g.mover(append(m.args, src, g.target(dst))...)...)
			if err != nil {
				return err
			}
			if err := payload.SameFile(src, dst); err != nil {
				return err
			}
			os.Remove(dst)
			b.peak("loop", u)
			cpu[m.name] = append(cpu[m.name], u.cpu.Seconds()/(float64(size)/gigabyte))
			speed[m.name] = append(speed[m.name], rate(size, u.wall)/gigabyte)
			foreign[m.name] = append(foreign[m.name], u.foreign)
			streams = max(streams, u.streams)
			detail[m.name] = append(detail[m.name], fmt.Sprintf("%.2f s, %.3f CPU s/GB, %.3f GB/s, others %.2f processors",
				u.wall.Seconds(), u.cpu.Seconds()/(float64(size)/gigabyte), rate(size, u.wall)/gigabyte, u.foreign))
		}
		if err := b.parts(ctx, g, part, size, streams); err != nil {
			return err
		}
	}
	for _, m := range modes {
		b.reportLoop(m, cpu[m.name], speed[m.name], part, streams, append(detail[m.name], noise(m.name, foreign[m.name])...))
	}
	return nil
}

// parts measures what nobody can avoid, each alone. Unit: CPU seconds per GB.
func (b *bench) parts(ctx context.Context, g *ends, part map[string]ground.Samples, size int64, streams int) error {
	src, dst := filepath.Join(b.Dir, "src"), filepath.Join(b.Dir, "dst")
	f, err := b.iperf(ctx, g, "127.0.0.1", "-P", strconv.Itoa(streams), "-n", strconv.FormatInt(size, 10))
	if err != nil {
		return err
	}
	if f.bytes < size/2 {
		return fmt.Errorf("iperf3 moved %d bytes instead of %d", f.bytes, size)
	}
	part["iperf3"] = append(part["iperf3"], f.cpu.Seconds()/(float64(f.bytes)/gigabyte))
	u, err := g.steady(ctx, dst, nil, "cp", src, dst)
	if err != nil {
		return err
	}
	if err := os.Remove(dst); err != nil {
		return err
	}
	part["cp"] = append(part["cp"], u.cpu.Seconds()/(float64(size)/gigabyte))
	hash, err := hashCost(ctx)
	if err != nil {
		return err
	}
	part["hash"] = append(part["hash"], 2*hash)
	seal, err := sealCost(ctx)
	if err != nil {
		return err
	}
	part["AEAD"] = append(part["AEAD"], seal)
	return nil
}

// reportLoop prints the two bars of one mode.
func (b *bench) reportLoop(m mode, cpu, speed ground.Samples, part map[string]ground.Samples, streams int, notes []string) {
	names := []string{"iperf3", "cp", "hash"}
	if m.sealed {
		names = append(names, "AEAD")
	}
	sum, text := 0.0, ""
	for _, name := range names {
		sum += part[name].Median()
		text += fmt.Sprintf(" + %s %s", name, part[name].Text("%.3f", ""))
	}
	notes = append(notes,
		fmt.Sprintf("unavoidable, CPU seconds per GB, %d streams: %s = %.3f", streams, text[len(" + "):], sum),
		"hash: both ends, blocks of 256 KiB; AEAD: seal and open, frames of 256 KiB; cp and iperf3: whole programs, both ends")
	value := cpu.Median() / sum
	b.Add(ground.Result{
		Row: "loop, CPU, " + m.name, Figure: fmt.Sprintf("%s, %.2f x the unavoidable parts", cpu.Text("%.3f", " CPU s/GB"), value),
		Bar: "<= 1.3 x", Value: value, Limit: cpuBar, Samples: cpu, Notes: notes, Pass: value <= cpuBar,
	})
	limit := throughputBar * float64(runtime.NumCPU()) / cpu.Median()
	b.Add(ground.Result{
		Row: "loop, throughput, " + m.name, Figure: speed.Text("%.3f", " GB/s"), Bar: fmt.Sprintf(">= %.3f GB/s", limit),
		Value: speed.Median(), Limit: limit, Samples: speed, Pass: speed.Median() >= limit,
	})
}

// perGB runs work over partTotal bytes on one thread and gives its CPU seconds
// per GB. work is given a piece of partMemory bytes at each call.
func perGB(ctx context.Context, work func(piece []byte) error) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	memory := make([]byte, partMemory)
	if _, err := rand.Read(memory); err != nil {
		return 0, err
	}
	runtime.GC() // not while it is measured
	before, err := threadCPU()
	if err != nil {
		return 0, err
	}
	for range partTotal / partMemory {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := work(memory); err != nil {
			return 0, err
		}
	}
	after, err := threadCPU()
	return (after - before).Seconds() / (partTotal / gigabyte), err
}

// threadCPU is the processor time of the calling thread. Source: getrusage(2).
func threadCPU() (time.Duration, error) {
	const thread = 1 // RUSAGE_THREAD
	var r syscall.Rusage
	if err := syscall.Getrusage(thread, &r); err != nil {
		return 0, fmt.Errorf("reading the thread's processor time: %w", err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}

// hashCost is what one end pays for the block hash.
func hashCost(ctx context.Context) (float64, error) {
	return perGB(ctx, func(piece []byte) error {
		for offset := int64(0); offset < partMemory; offset += partBlock {
			integrity.Block(piece[offset:offset+partBlock], offset, partTotal)
		}
		return nil
	})
}

// sealCost is what both ends pay for the cipher: AES-128-GCM, which gomover uses
// where the processor has instructions for it.
func sealCost(ctx context.Context) (float64, error) {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return 0, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return 0, err
	}
	var nonce [12]byte
	var counter uint64
	frame := make([]byte, partBlock+aead.Overhead())
	return perGB(ctx, func(piece []byte) error {
		for offset := 0; offset < partMemory; offset += partBlock {
			counter++
			binary.BigEndian.PutUint64(nonce[4:], counter)
			sealed := aead.Seal(frame[:0], nonce[:], piece[offset:offset+partBlock], nil)
			if _, err := aead.Open(piece[offset:offset], nonce[:], sealed, nil); err != nil {
				return errors.New("a sealed frame did not open")
			}
		}
		return nil
	})
}

// rowPeers runs the default and its competitors over loopback, in turn.
func rowPeers(ctx context.Context, b *bench) error {
	g, err := b.loopback(ctx)
	if err != nil {
		return err
	}
	defer g.Close()
	size := b.Size(4 << 30)
	src, dst := filepath.Join(b.Dir, "src"), filepath.Join(b.Dir, "dst")
	if err := payload.MakeFile(ctx, src, size, 4); err != nil {
		return err
	}
	defer os.Remove(src)
	defer os.Remove(dst)
	sftp := fmt.Sprintf(":sftp,host=127.0.0.1,port=%d,user=root,key_file=%s,disable_hashcheck=true:%s", loopbackPort, filepath.Join(g.Home, ".ssh/id_ed25519"), dst)
	order := []string{"gomover", "scp", "rsync", "rclone"}
	commands := map[string][]string{
		"gomover": g.mover(src, g.target(dst)),
		"scp":     {"scp", "-q", "-F", g.Config(), "-c", "aes128-gcm@openssh.com", src, g.target(dst)},
		"rsync":   {"rsync", "-W", "--inplace", "-e", "ssh -F " + g.Config() + " -c aes128-gcm@openssh.com", src, g.target(dst)},
		"rclone":  {"rclone", "--config", "", "copyto", src, sftp},
	}
	times, cpu := map[string]ground.Samples{}, map[string]ground.Samples{}
	var foreign ground.Samples
	for !settled(order, times, b.Rounds) {
		for _, name := range order {
			u, err := g.steady(ctx, dst, nil, commands[name]...)
			if err != nil {
				return err
			}
			if err := payload.SameFile(src, dst); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := os.Remove(dst); err != nil {
				return err
			}
			if name == "gomover" {
				b.peak("peers", u)
			}
			times[name] = append(times[name], u.wall.Seconds())
			cpu[name] = append(cpu[name], u.cpu.Seconds())
			foreign = append(foreign, u.foreign)
		}
	}
	first := true
	for _, name := range order[1:] {
		first = first && times["gomover"].Median() < times[name].Median()
	}
	place := "not first"
	if first {
		place = "first"
	}
	value := times["scp"].Median() / times["gomover"].Median()
	b.Add(ground.Result{
		Row: "peers", Figure: fmt.Sprintf("%s, %.2f x scp (%s)", place, value, seconds(order, times)), Bar: "first, and >= 1.5 x scp",
		Value: value, Limit: 1.5, Samples: times["gomover"], Pass: first && value >= 1.5,
		Notes: append([]string{"CPU of both ends: " + seconds(order, cpu)}, noise("peers", foreign)...),
	})
	return nil
}
