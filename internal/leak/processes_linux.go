package leak

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// processes returns an error that names this process's children, ended ones that
// nobody has waited for included.
//
// Source: proc(5), /proc/PID/task/TID/children. Kernels that do not keep it are
// taken to have none.
func processes() error {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return err
	}
	var found []string
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, pid := range strings.Fields(string(pids)) {
			words, _ := os.ReadFile("/proc/" + pid + "/cmdline") // empty: it has ended
			found = append(found, fmt.Sprintf("process %s: %q", pid, strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")))
		}
	}
	if found == nil {
		return nil
	}
	return fmt.Errorf("found processes:\n%s", strings.Join(found, "\n"))
}
