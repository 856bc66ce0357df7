// Package coding makes and uses the symbols of coded repair: of a block of up to K
// symbols, any of its parity symbols can stand for any symbol that is missing, so
// that one of them mends different losses at many receivers.
//
// The code is systematic, of Reed and Solomon, over GF(2^8) with a Cauchy matrix:
// parity symbol i is the same, however many there are.
package coding

import (
	"fmt"

	"github.com/klauspost/reedsolomon"
)

// Bounds of a block. Ours: with independent losses of 1% at each of 24 receivers
// the worst of them misses 3.4% of a block of 128 symbols, and 4.8% of one of 64;
// larger ones cost more to solve than they save.
const (
	K         = 128 // symbols of a full block
	MaxParity = 64  // parity symbols of a block
)

// A Coder codes blocks of k symbols. Not for several goroutines at once.
type Coder struct {
	k      int
	coders [MaxParity + 1]reedsolomon.Encoder
}

// New makes a coder for blocks of k symbols, 1 to K.
func New(k int) (*Coder, error) {
	if k < 1 || k > K {
		return nil, fmt.Errorf("making a code: blocks of %d symbols, at most %d are possible", k, K)
	}
	return &Coder{k: k}, nil
}

// coder gives the library's coder for so many parity symbols.
func (c *Coder) coder(parity int) (reedsolomon.Encoder, error) {
	if parity < 1 || parity > MaxParity {
		return nil, fmt.Errorf("coding a block: %d parity symbols, at most %d are possible", parity, MaxParity)
	}
	if c.coders[parity] == nil {
		e, err := reedsolomon.New(c.k, parity, reedsolomon.WithCauchyMatrix(), reedsolomon.WithMaxGoroutines(1),
			reedsolomon.WithInversionCache(false))
		if err != nil {
			return nil, fmt.Errorf("making a code of %d and %d symbols: %w", c.k, parity, err)
		}
		c.coders[parity] = e
	}
	return c.coders[parity], nil
}

// Encode gives the parity symbols with the indices from first to before end. data
// are the block's symbols, all of one length; nil ones are of zeros.
func (c *Coder) Encode(data [][]byte, first, end int) ([][]byte, error) {
	e, err := c.coder(end)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, d := range data {
		size = max(size, len(d))
	}
	parity := zeros(end, size)
	for i, d := range data {
		if d == nil {
			continue // adds nothing
		}
		if err := e.EncodeIdx(d, i, parity); err != nil {
			return nil, fmt.Errorf("coding a block: %w", err)
		}
	}
	return parity[first:], nil
}

// Decode finds the symbols of a block that are nil. data are its k symbols, parity
// those that are there, by index, nil for others; all of one length. Errors: too few
// symbols.
//
// What is there is taken out of the parity symbols; what is left is a small system of
// equations for what is missing. To solve for all symbols, as the library does,
// takes ten times as long, since it inverts a matrix of k rows.
func (c *Coder) Decode(data, parity [][]byte) error {
	e, err := c.coder(len(parity))
	if err != nil {
		return err
	}
	if len(data) != c.k {
		return fmt.Errorf("solving a block: %d symbols, not %d", len(data), c.k)
	}
	var missing, use []int
	size := 0
	for i, d := range data {
		if d == nil {
			missing = append(missing, i)
		}
		size = max(size, len(d))
	}
	for i, p := range parity {
		if p != nil && len(use) < len(missing) {
			use = append(use, i)
			size = max(size, len(p))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if len(use) < len(missing) {
		return fmt.Errorf("solving a block: %d symbols are missing, %d can stand for them", len(missing), len(use))
	}
	sums, err := c.left(e, data, len(parity), size)
	if err != nil {
		return err
	}
	return c.solve(e, data, parity, sums, missing, use)
}

// left gives what the symbols that are there add to each parity symbol.
func (c *Coder) left(e reedsolomon.Encoder, data [][]byte, n, size int) ([][]byte, error) {
	sums := zeros(n, size)
	for i, d := range data {
		if d == nil {
			continue
		}
		if err := e.EncodeIdx(d, i, sums); err != nil {
			return nil, fmt.Errorf("solving a block: %w", err)
		}
	}
	return sums, nil
}

// solve finds the missing symbols from as many parity symbols. sums are used up.
func (c *Coder) solve(e reedsolomon.Encoder, data, parity, sums [][]byte, missing, use []int) error {
	n := len(missing)
	matrix, shards := zeros(n, n), make([][]byte, 2*n)
	for col, i := range missing {
		one := zeros(len(parity), 1) // what a symbol of 1 adds to each
		if err := e.EncodeIdx([]byte{1}, i, one); err != nil {
			return fmt.Errorf("solving a block: %w", err)
		}
		for row, j := range use {
			matrix[row][col] = one[j][0]
		}
	}
	for row, j := range use {
		for i := range sums[j] {
			sums[j][i] ^= parity[j][i]
		}
		shards[n+row] = sums[j]
	}
	small, err := reedsolomon.New(n, n, reedsolomon.WithCustomMatrix(matrix), reedsolomon.WithMaxGoroutines(1),
		reedsolomon.WithInversionCache(false))
	if err == nil {
		err = small.ReconstructData(shards)
	}
	if err != nil {
		return fmt.Errorf("solving a block: %w", err)
	}
	for row, i := range missing {
		data[i] = shards[row]
	}
	return nil
}

// zeros gives n slices of zeros.
func zeros(n, size int) [][]byte {
	l := make([][]byte, n)
	for i := range l {
		l[i] = make([]byte, size)
	}
	return l
}
