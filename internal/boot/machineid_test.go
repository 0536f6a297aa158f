package boot

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// An image that was never booted gets an empty machine-id, any other keeps its own.
func TestPrepareMachineID(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string // "-": no such file
	}{
		"missing":       {map[string]string{"usr/lib/systemd/systemd": "x", "etc/": ""}, ""},
		"uninitialized": {map[string]string{"lib/systemd/systemd": "x", "etc/machine-id": "uninitialized\n"}, ""},
		"its own":       {map[string]string{"lib/systemd/systemd": "x", "etc/machine-id": "0123456789abcdef0123456789abcdef\n"}, "0123456789abcdef0123456789abcdef\n"},
		"no systemd":    {map[string]string{"sbin/init": "x", "etc/": ""}, "-"},
		"no etc":        {map[string]string{"lib/systemd/systemd": "x"}, "-"},
		"a link":        {map[string]string{"lib/systemd/systemd": "x", "etc/machine-id": "-> /etc/other", "etc/other": "uninitialized\n"}, "uninitialized\n"},
	} {
		b := newBox()
		b.cfg.Inside.System = true
		root := b.onTmpfs(t)
		write(t, root, c.files)
		must(t, b.prepareMachineID())
		text, err := os.ReadFile(root + "/etc/machine-id")
		if c.files["etc/other"] != "" {
			text, err = os.ReadFile(root + "/etc/other")
		}
		if c.want == "-" && !os.IsNotExist(err) || c.want != "-" && string(text) != c.want {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
}

// What lies there may be anything, and rc waits for nothing.
func TestPrepareMachineIDHostile(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	for name, put := range map[string]func(path string) error{
		"fifo":   func(path string) error { return unix.Mkfifo(path, 0o666) },
		"folder": func(path string) error { return os.Mkdir(path, 0o755) },
		"long":   func(path string) error { return os.WriteFile(path, make([]byte, 1<<20), 0o644) },
	} {
		b := newBox()
		b.cfg.Inside.System = true
		root := b.onTmpfs(t)
		write(t, root, map[string]string{"lib/systemd/systemd": "x", "etc/": ""})
		must(t, put(root+"/etc/machine-id"))
		if err := b.prepareMachineID(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := newBox() // an ordinary container
	root := b.onTmpfs(t)
	write(t, root, map[string]string{"lib/systemd/systemd": "x", "etc/": ""})
	must(t, b.prepareMachineID())
	if _, err := os.Stat(root + "/etc/machine-id"); !os.IsNotExist(err) {
		t.Errorf("an ordinary container got a machine-id: %v", err)
	}
	b = newBox() // --read-only comes later, a read-only image or folder before
	b.cfg.Inside.System = true
	root = b.onTmpfs(t)
	write(t, root, map[string]string{"lib/systemd/systemd": "x", "etc/": ""})
	must(t, unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	must(t, b.prepareMachineID())
}
