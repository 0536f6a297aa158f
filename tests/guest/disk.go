package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// NewDisk makes an empty disk image of that many MiB with ext4, for Options.Home.
// It takes as much room as is written to it.
func NewDisk(path string, size int) error {
	return mke2fs(path, size, "-E", "lazy_itable_init=0,nodiscard")
}

// Check is e2fsck on a disk of a guest that is off: first its journal is played
// back, as a mount would, then everything is looked at. An error says what is
// wrong; nothing but the journal is repaired.
func Check(path string) error {
	e2fsck, err := look("e2fsck")
	if err != nil {
		return err
	}
	// Exit codes of e2fsck(8): 1 is "errors corrected", which replaying is.
	replay := exec.Command(e2fsck, "-E", "journal_only", "-y", path)
	if out, err := replay.CombinedOutput(); err != nil && replay.ProcessState.ExitCode() != 1 {
		return fmt.Errorf("replay the journal of %s: %w:\n%s", path, err, out)
	}
	if out, err := exec.Command(e2fsck, "-f", "-n", path).CombinedOutput(); err != nil {
		return fmt.Errorf("e2fsck %s: %w:\n%s", path, err, out)
	}
	return nil
}

func mke2fs(path string, size int, arguments ...string) error {
	program, err := look("mke2fs")
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	arguments = append([]string{"-q", "-t", "ext4", "-m", "0"}, arguments...)
	cmd := exec.Command(program, append(arguments, path, strconv.Itoa(size)+"M")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs %s: %w: %s", path, err, bytes.TrimSpace(out))
	}
	return nil
}

// writeShare makes the disk of shared files: Debian's kernel for clouds has
// neither 9p nor virtiofs.
func writeShare(share map[string]string, path string) error {
	stage, err := os.MkdirTemp("", "rc-guest-share-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	if err := os.Chmod(stage, 0o755); err != nil {
		return err
	}
	for name, from := range share {
		to := filepath.Join(stage, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
			return fmt.Errorf("share %s: %w: %s", from, err, bytes.TrimSpace(out))
		}
	}
	size, err := room(stage)
	if err != nil {
		return err
	}
	if err := mke2fs(path, size, "-d", stage, "-O", "^has_journal"); err != nil {
		return err
	}
	return grow(path)
}

// writeScratch makes the scratch disk: a file system of that many MiB on a disk of
// diskSize, or nothing on it.
func writeScratch(size int, path string) error {
	if size<<20 >= diskSize {
		return fmt.Errorf("a scratch disk of %d MiB: it must be smaller than %d", size, diskSize>>20)
	}
	if size > 0 {
		if err := NewDisk(path, size); err != nil {
			return err
		}
	}
	return grow(path)
}

// room returns the MiB that a copy of dir takes, with some to spare for what ext4
// keeps for itself.
func room(dir string) (int, error) {
	var bytes int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		bytes += info.Size() + 4096
		return nil
	})
	return int(bytes>>20)*5/4 + 8, err
}
