package fuse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

func TestWhiteoutTarget(t *testing.T) {
	for name, want := range map[string]string{
		".wh.a": "a", ".wh. ": " ", ".wh.\xff": "\xff", ".wh.wh.": "wh.",
		"a": "", ".wh.": "", ".wh..": "", ".wh...": "", ".wh..wh..opq": "", ".wh..wh.plnk": "", ".wh": "",
	} {
		got, ok := whiteoutTarget(name)
		if got != want || ok != (want != "") {
			t.Errorf("whiteoutTarget(%q) = %q, %t", name, got, ok)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		asked, mine Driver
		want        string
	}{
		{Auto, Auto, "[overlay fuse-overlayfs copy]"},
		{Copy, Auto, "[copy]"},
		{Auto, FuseOverlayfs, "[fuse-overlayfs]"},
		{Overlay, Overlay, "[overlay]"},
		{Copy, Overlay, "refused"},
		{Overlay, FuseOverlayfs, "refused"},
		{"zfs", Auto, "refused"},
		{"", Copy, "[copy]"},
	} {
		got, err := choose(c.asked, c.mine)
		text := fmt.Sprint(got)
		if err != nil {
			text = "refused"
		}
		if text != c.want {
			t.Errorf("asked %q of %q: %s, want %s", c.asked, c.mine, text, c.want)
		}
		var h *hint.Error
		if err != nil && (!errors.As(err, &h) || h.Fix == "") {
			t.Errorf("asked %q of %q: %v has no fix", c.asked, c.mine, err)
		}
	}
}

func TestShiftID(t *testing.T) {
	maps := []IDMap{{0, 100, 10}, {1000, 5, 1}, {4294967290, 300, 5}}
	for id, want := range map[uint32]uint32{0: 100, 9: 109, 1000: 5, 4294967294: 304} {
		if got, err := shiftID(maps, id); got != want || err != nil {
			t.Errorf("%d is %d, %v; want %d", id, got, err, want)
		}
	}
	for _, id := range []uint32{10, 999, 1001, 4294967295} {
		if got, err := shiftID(maps, id); !errors.Is(err, errUnmapped) {
			t.Errorf("%d is %d, %v; want an error", id, got, err)
		}
	}
	if got, err := shiftID(nil, 7); got != 7 || err != nil {
		t.Errorf("no map: %d, %v", got, err)
	}
}

func TestShiftACL(t *testing.T) {
	entry := func(tag, perm uint16, id uint32) []byte {
		b := binary.LittleEndian.AppendUint16(nil, tag)
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(b, perm), id)
	}
	build := func(user, group uint32) []byte {
		return bytes.Join([][]byte{{2, 0, 0, 0}, entry(1, 6, 0xffffffff), entry(2, 4, user), entry(8, 5, group), entry(0x20, 0, 0xffffffff)}, nil)
	}
	s := shift{[]IDMap{{0, 100, 50}}, []IDMap{{0, 200, 50}}}
	value := build(7, 8)
	if err := s.acl(value); err != nil || !bytes.Equal(value, build(107, 208)) {
		t.Errorf("%v: %x", err, value)
	}
	if err := s.acl(build(99, 8)); !errors.Is(err, errUnmapped) {
		t.Errorf("an unmapped user: %v", err)
	}
	for _, short := range [][]byte{nil, {2}, {2, 0, 0, 0, 2, 0, 7}} { // cut off: no panic
		if err := s.acl(short); err != nil {
			t.Errorf("%x: %v", short, err)
		}
	}
}

func TestCopyData(t *testing.T) {
	dir := t.TempDir()
	for name, build := range map[string]func(*os.File){
		"empty":     func(*os.File) {},
		"small":     func(f *os.File) { f.WriteString("abc") },
		"only hole": func(f *os.File) { f.Truncate(3 << 20) },
		"hole first": func(f *os.File) {
			f.WriteAt([]byte("end"), 5<<20)
		},
		"hole last": func(f *os.File) {
			f.WriteString(strings.Repeat("x", 5000))
			f.Truncate(7<<20 + 13)
		},
		"mixed": func(f *os.File) {
			for i := range int64(5) {
				f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 70_000), i<<20)
			}
		},
	} {
		from, err := os.Create(dir + "/from")
		must(t, err)
		build(from)
		var st unix.Stat_t
		must(t, unix.Fstat(int(from.Fd()), &st))
		for _, copier := range []struct {
			name string
			run  func(from, to int) error
		}{
			{"extents", func(from, to int) error { return copyData(from, to, st.Size) }},
			{"buffer", func(from, to int) error { return copyByBuffer(from, to, 0, st.Size) }},
		} {
			to, err := os.Create(dir + "/to")
			must(t, err)
			must(t, copier.run(int(from.Fd()), int(to.Fd())))
			want, _ := os.ReadFile(dir + "/from")
			got, _ := os.ReadFile(dir + "/to")
			if !bytes.Equal(got, want) {
				t.Errorf("%s by %s: %d bytes, want %d", name, copier.name, len(got), len(want))
			}
			to.Close()
		}
		from.Close()
	}
}

func TestMount_refusesBadRootfs(t *testing.T) {
	dir := t.TempDir()
	for name, r := range map[string]Rootfs{
		"no layers":  {Upper: dir, Work: dir},
		"no upper":   {Upper: dir + "/missing", Work: dir, Layers: []string{dir}},
		"no work":    {Upper: dir, Work: dir + "/missing", Layers: []string{dir}},
		"layer file": {Upper: dir, Work: dir, Layers: []string{"/etc/passwd"}},
	} {
		_, err := Mount(Auto, r)
		var h *hint.Error
		if !errors.As(err, &h) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/tool", nil, 0o755))
	must(t, os.WriteFile(dir+"/data", nil, 0o644))
	must(t, os.Mkdir(dir+"/folder", 0o755))
	t.Setenv("PATH", "relative::"+dir)
	if got, err := lookPath("tool"); got != dir+"/tool" || err != nil {
		t.Errorf("tool: %q %v", got, err)
	}
	for _, n := range []string{"data", "folder", "rc-no-such-program"} {
		if got, err := lookPath(n); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: %q %v", n, got, err)
		}
	}
	t.Setenv("PATH", "")
	if _, err := lookPath("sh"); err != nil {
		t.Errorf("without PATH: %v", err)
	}
}

func TestBoundedLog(t *testing.T) {
	log, err := boundedLog()
	must(t, err)
	h := &Helper{log: log}
	if got := h.Log(); got != "" {
		t.Errorf("an empty log reads %q", got)
	}
	must2(t)(log.WriteString("first\nlast words\n"))
	if got := lastLine(h.Log()); got != "last words" {
		t.Errorf("last line %q", got)
	}
	n, err := log.Write(make([]byte, 2*logSize))
	if n > logSize || err == nil {
		t.Errorf("wrote %d beyond the bound, %v", n, err)
	}
	log.Close()
}

func must2(t *testing.T) func(int, error) {
	return func(_ int, err error) { t.Helper(); must(t, err) }
}
