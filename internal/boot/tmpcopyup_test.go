package boot

import (
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A tmpfs with tmpcopyup shows what the image has there, mode and owner of the
// folder included; where the image has none its own mode holds.
func TestTmpCopyUp(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	b := newBox()
	root := b.onTmpfs(t)
	write(t, root, map[string]string{"run/sshd/": "", "run/motd": "hello", "run/link": "-> /etc/passwd", "plain/x": "y"})
	must(t, os.Chmod(root+"/run", 0o711))
	must(t, os.Chown(root+"/run", 3, 4))
	b.cfg.Spec.Mounts = []specs.Mount{
		{Destination: "/run", Type: "tmpfs", Options: []string{"nosuid", "mode=0755", "tmpcopyup"}},
		{Destination: "/tmp", Type: "tmpfs", Options: []string{"nosuid", "mode=1777", "tmpcopyup"}},
		{Destination: "/plain", Type: "tmpfs", Options: []string{"nosuid"}},
	}
	want := describe(t, root+"/run")
	must(t, b.mountAll())
	if got := describe(t, root+"/run"); got != want {
		t.Errorf("/run:\n%s\nwant\n%s", got, want)
	}
	var fs unix.Statfs_t
	must(t, unix.Statfs(root+"/run", &fs))
	if fs.Type != unix.TMPFS_MAGIC {
		t.Errorf("/run is a %#x", fs.Type)
	}
	var st unix.Stat_t
	must(t, unix.Stat(root+"/tmp", &st))
	if st.Mode&0o7777 != 0o1777 {
		t.Errorf("/tmp has mode %o", st.Mode&0o7777)
	}
	if _, err := os.Stat(root + "/plain/x"); !os.IsNotExist(err) {
		t.Errorf("a plain tmpfs shows the image's files: %v", err)
	}
	// More than fits is a refusal that names the place.
	small := newBox()
	root = small.onTmpfs(t)
	write(t, root, map[string]string{"run/big": string(make([]byte, 1<<20))})
	small.cfg.Spec.Mounts = []specs.Mount{{Destination: "/run", Type: "tmpfs", Options: []string{"size=64k", "tmpcopyup"}}}
	wantErr(t, small.mountAll(), unix.ENOSPC, "copy what the image has in /run")
}
