package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// wrongBytes is the size in the row wrong.
const wrongBytes = 256 << 20

// exitReplicas is the exit code that says that no replica can be used.
const exitReplicas = 14

// replace gives a mirror a file of its own instead of the payload.
func (n *network) replace(m *mirror, data []byte) error {
	path := filepath.Join(m.root, fileName)
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// rowWrong gives mirrors wrong files: one good mirror beside three bad ones, the
// three alone, and one that is wrong here and there.
func rowWrong(ctx context.Context, b *bench) error {
	size := b.Size(wrongBytes)
	n, err := b.up(ctx, size)
	if err != nil {
		return err
	}
	right, err := os.ReadFile(n.payload())
	if err != nil {
		return err
	}
	stale, err := other(ctx, n, size)
	if err != nil {
		return err
	}
	// The nearest mirror answers first, and so is asked for the first block.
	flipped := slices.Clone(right)
	flipped[100_000] ^= 1
	for i, data := range [][]byte{flipped, stale, right[:size-size/8]} {
		if err := n.replace(n.mirrors[i], data); err != nil {
			return err
		}
	}
	if err := n.writeList(n.all()); err != nil {
		return err
	}
	o, err := n.gomover(ctx, nil, n.words()...)
	if err != nil {
		return err
	}
	b.wrong("wrong: flipped byte, other version, no end, and a good one", n, o, 0, n.mirrors)
	if err := n.writeList(n.mirrors); err != nil {
		return err
	}
	if o, err = n.gomover(ctx, nil, n.words()...); err != nil {
		return err
	}
	b.wrong("wrong: the first three alone", n, o, exitReplicas, n.mirrors)
	if err := n.fill(ctx, size); err != nil {
		return err
	}
	spoiled := slices.Clone(right)
	pieces := 0
	for at := int64(0); at < size; at += 10 * pieceBytes {
		spoiled[at] ^= 0x80
		pieces++
	}
	if err := n.replace(n.mirrors[0], spoiled); err != nil {
		return err
	}
	if o, err = n.gomover(ctx, nil, n.words()...); err != nil {
		return err
	}
	b.Note("%d of %d pieces are wrong", pieces, (size+pieceBytes-1)/pieceBytes)
	b.wrong("wrong: a tenth of the pieces of one", n, o, 0, n.mirrors[:1])
	strikes := 0
	for _, w := range o.events.warnings {
		if strings.HasPrefix(w, "replica.wrong") {
			strikes++
		}
	}
	b.AtMost("wrong: strikes until it is left out", "%.0f", "", "<= 2", maxStrikes, ground.Samples{float64(strikes)})
	return nil
}

// maxStrikes is how many wrong pieces of one mirror are borne.
const maxStrikes = 2

// other is the content of another version of the same size.
func other(ctx context.Context, n *network, size int64) ([]byte, error) {
	path := filepath.Join(n.dir, "other")
	defer os.Remove(path)
	if err := payload.MakeFile(ctx, path, size, 2); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// wrong judges a pull in which some mirrors were bad: its exit code, whether these
// were named, and what stands under the final name. What arrived with exit code 0
// was compared before.
func (b *bench) wrong(name string, n *network, o outcome, exit int, bad []*mirror) {
	var wrong []string
	if o.exit != exit {
		wrong = append(wrong, fmt.Sprintf("exit code %d", o.exit))
	}
	for _, m := range bad {
		if url := m.url(); !o.events.named(url) {
			wrong = append(wrong, url+" is not named")
		}
	}
	if _, err := os.Stat(filepath.Join(n.out(), fileName)); exit != 0 && err == nil {
		wrong = append(wrong, "there is a file under the final name")
	}
	for _, w := range o.events.warnings {
		b.Note("%s", strings.ReplaceAll(w, "\n", "; "))
	}
	figure := fmt.Sprintf("%.1f s, exit code %d, what is bad is named", o.seconds, o.exit)
	if exit != 0 {
		figure = fmt.Sprintf("exit code %d, what is bad is named, nothing under the final name", o.exit)
	}
	b.Claim(name, figure, fmt.Sprintf("exit code %d, named", exit), wrong)
}
