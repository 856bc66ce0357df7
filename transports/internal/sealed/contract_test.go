package sealed

import (
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

func TestContract(t *testing.T) {
	transporttest.Run(t, func(t *testing.T, seal transports.Seal) (a, b transports.Endpoint) {
		p := testParams("127.0.0.1", seal)
		b = newEnd(t, p)
		p.Listen = false
		return newEnd(t, p), b
	})
}
