package transfer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/stage/start"
)

// plant makes files below dir: "x/" a folder, "x" a file with its name in it,
// "x!" a whiteout, "x/?" an opaque folder.
func plant(t *testing.T, dir string, names ...string) string {
	t.Helper()
	for _, n := range names {
		p := filepath.Join(dir, strings.TrimRight(n, "/!?"))
		var err error
		switch {
		case strings.HasSuffix(n, "/?"):
			if err = os.MkdirAll(p, 0o755); err == nil {
				err = unix.Setxattr(p, "user.overlay.opaque", []byte("y"), 0)
			}
			if err == unix.EOPNOTSUPP {
				t.Skip("needs a temporary folder with user.* attributes")
			}
		case strings.HasSuffix(n, "/"):
			err = os.MkdirAll(p, 0o755)
		case strings.HasSuffix(n, "!"):
			if err = unix.Mknod(p, unix.S_IFCHR, 0); err == unix.EPERM {
				t.Skip("needs Linux 5.8, or root: a whiteout cannot be made")
			}
		default:
			err = os.WriteFile(p, []byte(n), 0o644)
		}
		if err != nil {
			t.Fatal(n, err)
		}
	}
	return dir
}

// settle gives all folders one time: only what is in them shall tell.
func settle(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
			if err == nil && info.IsDir() {
				ts := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}
				err = unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, 0)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestStackLookup(t *testing.T) {
	low := plant(t, t.TempDir(), "a", "gone", "d/", "d/x", "d/y", "o/", "o/x", "f/", "f/x", "t/", "t/x")
	high := plant(t, t.TempDir(), "gone!", "d/", "d/z", "o/?", "o/new", "f", ".wh.t")
	s, err := openStack([]string{high, low})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for name, want := range map[string]string{"a": "", "gone": "-", "d": "x y z", "o": "new", "f": "", "t": "-", "none": "-"} {
		got := "-"
		f, err := s.lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if f.in != nil {
			names, err := f.sub.names()
			if err != nil {
				t.Fatal(err)
			}
			got = strings.Join(names, " ")
		}
		f.sub.close()
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if names, err := s.names(); err != nil || strings.Join(names, " ") != "a d f o" {
		t.Errorf("%v %v", names, err)
	}
}

// The same changes, as each driver writes them.
func TestChanges(t *testing.T) {
	low := plant(t, t.TempDir(), "same", "gone", "mod", "d/", "d/x", "d/y", "o/", "o/x", "quiet/", "quiet/x")
	for driver, upper := range map[fuse.Driver][]string{
		fuse.Overlay:       {"gone!", "mod", "d/", "d/y!", "d/new", "o/?", "o/z", "quiet/", "add/", "add/f", "hosts/"},
		fuse.FuseOverlayfs: {".wh.gone", "mod", "d/", "d/.wh.y", "d/new", "o/", "o/.wh..wh..opq", "o/z", "quiet/", "add/", "add/f", ".wh.never"},
	} {
		t.Run(string(driver), func(t *testing.T) {
			dir := t.TempDir()
			up := plant(t, dir, "upper/")
			plant(t, filepath.Join(up, "upper"), upper...)
			settle(t, low, dir)
			if driver != fuse.Overlay {
				if err := os.WriteFile(filepath.Join(dir, "upper.driver"), []byte(driver+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg := &start.Config{Rootfs: fuse.Rootfs{Layers: []string{low}, Upper: filepath.Join(dir, "upper")}}
			list, err := changesOf(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range list {
				if c.path != "/hosts" {
					got = append(got, fmt.Sprintf("%c%s", c.kind, c.path))
				}
				if c.path == "/o/x" != c.below || c.path == "/o" != c.opaque {
					t.Errorf("%+v", c)
				}
			}
			if want := "A/add A/add/f C/d A/d/new D/d/y D/gone C/mod C/o D/o/x A/o/z"; strings.Join(got, " ") != want {
				t.Errorf("%v, want %s", got, want)
			}
		})
	}
}

// What a start makes to mount on is no change; the same place with a content is.
func TestChangesOfAStart(t *testing.T) {
	low := plant(t, t.TempDir(), "etc/", "etc/group")
	dir := t.TempDir()
	plant(t, dir, "upper/", "upper/etc/", "upper/proc/", "upper/sys/", "upper/dev/")
	if err := os.WriteFile(filepath.Join(dir, "upper/etc/hosts"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := &start.Config{Rootfs: fuse.Rootfs{Layers: []string{low}, Upper: filepath.Join(dir, "upper")}}
	if list, err := changesOf(cfg); err != nil || len(list) > 0 {
		t.Errorf("%+v %v", list, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "upper/etc/hosts"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if list, err := changesOf(cfg); err != nil || len(list) != 2 || list[1].path != "/etc/hosts" {
		t.Errorf("%+v %v", list, err)
	}
}

func TestCommitChanges(t *testing.T) {
	of := &containerConfig{ImageConfig: imgspec.ImageConfig{Cmd: []string{"old"}, Env: []string{"A=1", "B=2"}}}
	err := of.apply([]string{`ENTRYPOINT ["e"]`, "ENV A=3 C=4", "ONBUILD RUN x", "HEALTHCHECK --interval=5s --retries=2 CMD true", "user 7:8"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"User":"7:8","Env":["A=3","B=2","C=4"],"Entrypoint":["e"],"Healthcheck":{"Interval":5000000000,"Retries":2,"Test":["CMD-SHELL","true"]},"OnBuild":["RUN x"]}`
	if string(got) != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if err := of.apply([]string{"CMD x", `ENTRYPOINT ["f"]`}); err != nil || len(of.Cmd) == 0 {
		t.Error("an entrypoint took away the command that was given with it")
	}
	for _, bad := range []string{"FROM x", "ONBUILD", "HEALTHCHECK", "HEALTHCHECK --interval=x CMD y", "HEALTHCHECK --no=1 CMD y", "HEALTHCHECK RUN y", "HEALTHCHECK CMD"} {
		if err := of.apply([]string{bad}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if got := lastOfEach([]string{"A=1", "B=", "A=2"}); !slices.Equal(got, []string{"A=2", "B="}) {
		t.Error(got)
	}
}
