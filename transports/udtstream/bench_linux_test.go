package udtstream

import (
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

// BenchmarkStream is what streams over UDT cost; see the one of transports/tcp. The
// length of a frame is that of the engine's blocks.
func BenchmarkStream(b *testing.B) {
	transporttest.Benchmark(b, 256<<10, func(b *testing.B, p transports.Params) transports.Endpoint { return newEnd(b, p, Options{}) })
}
