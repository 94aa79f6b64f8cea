//go:build unix

package study

import (
	"fmt"
	"os"
	"syscall"
)

// lock keeps a second process from writing the same journal; the kernel lifts it when the process ends, however it ends.
func lock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("study: journal %s is in use by another process: %w", f.Name(), err)
	}
	return nil
}
