package tcpxm

import (
	"os"
	"testing"

	"github.com/gomover/gomover/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }
