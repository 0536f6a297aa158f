package record

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func flagsOf(t *testing.T, dir string) (uint32, error) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
}

// Containers' folders are spread over the disk from the first one on, and nothing else is.
func TestOpenSpreadsContainers(t *testing.T) {
	root := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil || fs.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("needs ext4 in %s (type %x, %v)", root, fs.Type, err)
	}
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{"containers": true, "trash": false, "images": false} {
		flags, err := flagsOf(t, s.Path(dir))
		if err != nil {
			t.Fatal(err)
		}
		if flags&topDir != 0 != want {
			t.Errorf("%s has the flags %x; top of a hierarchy: %v", dir, flags, want)
		}
	}
}

// A user who took the hint back is not overruled, and what cannot take it is let be.
func TestSpreadIsAHint(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Path("containers")
	flags, err := flagsOf(t, dir)
	if err != nil {
		t.Skipf("no flags here: %v", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^topDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.Root); err != nil {
		t.Fatal(err)
	}
	if flags, _ := flagsOf(t, dir); flags&topDir != 0 {
		t.Error("set again on a store that was there")
	}
	spread("/proc/self")
	spread(s.Path("missing"))
}
