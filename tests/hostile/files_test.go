package hostile

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// bounded runs a command that may be refused, but neither hangs nor crashes.
func bounded(t *testing.T, args ...string) caller.Result {
	t.Helper()
	r := host.RC(args...)
	if r.Code < 0 || r.Code > 127 || strings.Contains(r.Err, "goroutine ") || strings.ContainsAny(r.Err, "\x1b\x07") {
		t.Errorf("rc %v: exit code %d: %.500q", args, r.Code, r.Err)
	}
	return r
}

// A running container turns a folder into a link to the host's and back, thousands
// of times a second, while files are copied in and out (CVE-2018-15664,
// CVE-2019-14271).
func TestCopyUnderSwaps(t *testing.T) {
	require(t)
	victim := folder(t, "victim")
	if err := os.WriteFile(filepath.Join(victim, "f"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	given := filepath.Join(folder(t, "given-files"), "planted")
	if err := os.WriteFile(given, []byte("from the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for n, target := range []string{victim, "../../../../../../../.." + victim, "/proc/1/root" + victim, "/proc/self/cwd/../.." + victim} {
		name := []string{"absolute", "relative", "init", "self"}[n]
		t.Run(name, func(t *testing.T) {
			detached(t, "turning", flags(mighty, []string{"--network", "none"}), "turn", "/work", target)
			eventually(t, "the folder turns", func() bool {
				return host.RC("exec", "turning", "/attack", "cat", "/work/d/f").Code == 0 || host.RC("exec", "turning", "/attack", "cat", "/work/l/f").Code == 0
			})
			out := folder(t, "out-"+name)
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
				bounded(t, "cp", given, "turning:/work/d/planted")
				bounded(t, "cp", "-a", filepath.Dir(given), "turning:/work/d")
				bounded(t, "cp", "turning:/work/d/f", out+"/f")
				bounded(t, "cp", "-L", "turning:/work/d", out)
				bounded(t, "cp", "turning:/work/.", out)
			}
			entries, _ := os.ReadDir(victim)
			if len(entries) != 1 || read(filepath.Join(victim, "f")) != secret {
				t.Errorf("the host's folder was written to: %v", entries)
			}
			stays(t, out)
		})
	}
}

// stays sees to it that a folder that was copied to the host holds no file of the
// host's, and no program that runs as its owner.
func stays(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG && strings.Contains(read(path), secret) {
			t.Errorf("%s holds what the host kept", path)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&0o6000 != 0 || st.Mode&unix.S_IFMT == unix.S_IFCHR || st.Mode&unix.S_IFMT == unix.S_IFBLK {
			t.Errorf("%q has mode %o", path, st.Mode)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// What a container leaves lying about: copied, exported, compared and committed,
// it leads nowhere, and nobody waits for a pipe of its.
func TestLitter(t *testing.T) {
	require(t)
	detached(t, "litterer", flags(mighty, []string{"--network", "none"}), "litter", "/litter")
	logOf(t, "litterer", "littered ")
	out := folder(t, "litter-out")
	for _, path := range []string{"/litter/fifo", "/litter/socket", "/litter/suid", "/litter/etc", "/litter/loop", "/litter/marks", "/litter/deep", "/litter",
		"/proc", "/proc/self", "/proc/kmsg", "/proc/1/mem", "/proc/1/root", "/sys/fs/cgroup", "/dev", "/dev/zero", "/dev/ptmx", "/dev/full"} {
		for _, how := range [][]string{{}, {"-L"}, {"-a"}} {
			bounded(t, flags([]string{"cp"}, how, []string{"litterer:" + path, out})...)
		}
		ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
		cmd := host.Command(ctx, "cp", "litterer:"+path, "-")
		if r := caller.Finish(ctx, cmd); r.Code < 0 {
			t.Errorf("rc cp %s -: %s", path, r.Err)
		}
		cancel()
	}
	stays(t, out)
	bounded(t, "diff", "litterer")
	bounded(t, "export", "-o", filepath.Join(host.Dir, "litter.tar"), "litterer")
	if r := host.RC("exec", "litterer", "/attack", "true"); r.Code != 0 {
		t.Errorf("it does not run any more: %s", r.Err)
	}
	bounded(t, "commit", "litterer", "localhost/evil/litter")
	if r := host.RC("ps"); !strings.Contains(r.Out, "Up") || strings.Contains(r.Out, "Paused") {
		t.Errorf("after the commit: %s", r.Out)
	}
}

// A container that is committed while rc is killed goes on, when what reads its
// files has ended.
func TestKilledCommit(t *testing.T) {
	require(t)
	dir := folder(t, "killed-commit")
	beats := filepath.Join(dir, "beats")
	detached(t, "beating", []string{"--network", "none", "-v", dir + ":/out"}, "beat", "/out/beats")
	big := filepath.Join(host.Dir, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 128<<20); err != nil {
		t.Fatal(err)
	}
	if r := host.RC("cp", big, "beating:/big"); r.Code != 0 {
		t.Fatalf("%d %s", r.Code, r.Err)
	}
	cmd := host.Command(context.Background(), "commit", "beating")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the container is paused", func() bool { return strings.Contains(host.RC("ps").Out, "Paused") })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for end := time.Now().Add(caller.Limit); strings.Contains(host.RC("ps").Out, "Paused"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is paused after %v", caller.Limit)
		}
	}
	before := len(read(beats))
	eventually(t, "it beats", func() bool { return len(read(beats)) > before })
}

// Archives from anywhere, unpacked into a container at rest and into one that runs:
// what is in them stays in the folder, or leads on as it would inside.
func TestHostileArchiveIntoContainer(t *testing.T) {
	require(t)
	victim := folder(t, "archive-victim")
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "l", Typeflag: tar.TypeSymlink, Linkname: victim}, {Name: "l/through", Typeflag: tar.TypeReg},
		{Name: "up", Typeflag: tar.TypeSymlink, Linkname: "../../../../../../../.." + victim}, {Name: "up/through", Typeflag: tar.TypeReg},
		{Name: "p", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/root/.."}, {Name: "p" + victim + "/through", Typeflag: tar.TypeReg},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "l/../../x"}, {Name: "dev", Typeflag: tar.TypeBlock, Devmajor: 8}, {Name: "sock", Typeflag: 'S'},
		{Name: "../out", Typeflag: tar.TypeReg}, {Name: "/absolute", Typeflag: tar.TypeReg}, {Name: "..", Typeflag: tar.TypeDir, Mode: 0o777},
	} {
		var one bytes.Buffer // each alone as well: the first that is refused ends an archive
		alone := tar.NewWriter(&one)
		for _, w := range []*tar.Writer{tw, alone} {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		_ = alone.Close()
		unpack(t, &one)
	}
	_ = tw.Close()
	unpack(t, &b)
	if entries, _ := os.ReadDir(victim); len(entries) != 0 {
		t.Errorf("%v was written on the host", entries)
	}
}

func unpack(t *testing.T, archive *bytes.Buffer) {
	t.Helper()
	if host.RC("inspect", "unpacks").Code != 0 {
		detached(t, "unpacks", flags(mighty, []string{"--network", "none"}), "sleep")
		if r := host.RC("create", "--name", "rests", "--network", "none", image); r.Code != 0 {
			t.Fatal(r.Err)
		}
		t.Cleanup(func() { host.RC("rm", "rests") })
	}
	for _, name := range []string{"unpacks", "rests"} {
		ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
		cmd := host.Command(ctx, "cp", "-", name+":/tmp")
		cmd.Stdin = bytes.NewReader(archive.Bytes())
		if r := caller.Finish(ctx, cmd); r.Code < 0 || strings.Contains(r.Err, "panic") {
			t.Errorf("%d %s", r.Code, r.Err)
		}
		cancel()
	}
}
