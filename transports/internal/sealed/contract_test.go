package sealed

import (
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

func TestContract(t *testing.T) {
	transporttest.RunOn(t, func(t *testing.T, p transports.Params) transports.Endpoint { return newEnd(t, p) }, "127.0.0.1")
}
