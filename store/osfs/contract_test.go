package osfs_test

import (
	"path/filepath"
	"testing"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/store/storetest"
)

func maker(t *testing.T) storetest.Maker {
	root := filepath.Join(t.TempDir(), "root")
	return storetest.Maker{
		Dest: func(t *testing.T, jobID string) store.Dest {
			d, err := osfs.NewDest(root, osfs.DestOptions{JobID: jobID, Create: true})
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Source: func(t *testing.T) store.Source {
			s, err := osfs.NewSource(root, osfs.SourceOptions{NoAtime: true})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}
}

func TestDestContract(t *testing.T) { storetest.Dest(t, maker) }

func TestSourceContract(t *testing.T) { storetest.Source(t, maker) }
