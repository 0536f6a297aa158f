package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// keepWords has Go's runtime write a panic, or its own end, to a file of the runtime
// folder, and puts aside what the keeper before said in its last moment. A keeper
// that was killed has said nothing.
func keepWords(runtimeDir string) error {
	path := filepath.Join(runtimeDir, slirp.WordsName)
	if st, err := os.Lstat(path); err == nil && st.Size() > 0 {
		if err := os.Rename(path, filepath.Join(runtimeDir, slirp.FailedName)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	// It has a duplicate of its own afterwards.
	return errors.Join(debug.SetCrashOutput(f, debug.CrashOptions{}), f.Close())
}

// dropWords goes with the last keeper of the folder, who had none.
func dropWords(runtimeDir string) { _ = os.Remove(filepath.Join(runtimeDir, slirp.WordsName)) }
