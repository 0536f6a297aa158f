package userns

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// tiny builds the static program that does nothing, or takes the one that
// RC_BENCH_PROGRAM names, for users without a Go toolchain.
func tiny(b *testing.B) string {
	b.Helper()
	if path := os.Getenv("RC_BENCH_PROGRAM"); path != "" {
		return path
	}
	path := filepath.Join(b.TempDir(), "tiny")
	cmd := exec.Command("go", "build", "-tags", "osusergo,netgo",
		"-ldflags", `-s -w -linkmode external -extldflags "-static"`, "-o", path, "./testdata/tiny")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Skipf("needs a program to start: set RC_BENCH_PROGRAM, or: %v: %s", err, out)
	}
	return path
}

// measure starts and reaps the tiny program once an iteration.
func measure(b *testing.B, change func(p *Program)) {
	p := &Program{Path: tiny(b)}
	change(p)
	for b.Loop() {
		process, err := Start(p)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = process.Wait(); err != nil {
			b.Fatal(err)
		}
		process.Close()
	}
}

func BenchmarkExecAlone(b *testing.B) {
	path := tiny(b)
	for b.Loop() {
		if err := exec.Command(path).Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStartPlain(b *testing.B) { measure(b, func(*Program) {}) }

func BenchmarkStartJoin(b *testing.B) {
	ns := u0(b, needRanges(b))
	measure(b, func(p *Program) {
		p.Files, p.Plan = []*os.File{ns}, Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Unshare: unix.CLONE_NEWNS, BecomeRoot: true}
	})
}

func BenchmarkStartCloneAllSeven(b *testing.B) {
	m := needRanges(b)
	ns := u0(b, m)
	uid, gid := m.Nested()
	measure(b, func(p *Program) {
		p.Files, p.Plan = []*os.File{ns}, Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Clone: allSeven,
			UIDMap: uid, GIDMap: gid, BecomeRoot: true, NonDumpable: true}
	})
}

func BenchmarkStartNewU0(b *testing.B) {
	m := needRanges(b)
	measure(b, func(p *Program) { p.Plan, p.MapIDs = Plan{Unshare: unix.CLONE_NEWUSER, BecomeRoot: true}, m })
}

func BenchmarkResolve(b *testing.B) {
	for b.Loop() {
		if _, err := Resolve(); err != nil {
			b.Fatal(err)
		}
	}
}
