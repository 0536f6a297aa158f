package userns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// mountProc gives a hostile process in the sandbox a /proc of its PID namespace.
func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}

// roleAttack is root of the sandbox with every capability and tries all ways in
// to PID 1; it prints those that worked.
func roleAttack() error {
	if err := mountProc(); err != nil {
		return err
	}
	for _, name := range []string{"environ", "mem", "maps", "auxv", "root", "cwd", "ns/net"} {
		if f, err := os.Open("/proc/1/" + name); err == nil {
			f.Close()
			fmt.Println(name)
		}
	}
	for _, name := range []string{"exe", "fd/0"} {
		if _, err := os.Readlink("/proc/1/" + name); err == nil {
			fmt.Println(name)
		}
	}
	if maps, _ := os.ReadDir("/proc/1/map_files"); len(maps) > 0 {
		fmt.Println("map_files")
	}
	// SEIZE, not ATTACH: init shall not be stopped for the rest of the test.
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0, 0, 0); errno == 0 {
		fmt.Println("ptrace")
	}
	var buf [8]byte
	_, err := unix.ProcessVMReadv(1, []unix.Iovec{{Base: &buf[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
	if err == nil || err == unix.EFAULT {
		fmt.Println("process_vm_readv")
	}
	return nil
}

// roleWatch looks at every process that comes by until it read a secret or its
// standard input ends.
func roleWatch() error {
	if err := mountProc(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _ = roleHold(); close(done) }()
	fmt.Println("ready")
	for {
		select {
		case <-done:
			return nil
		default:
		}
		environs, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range environs {
			if path == fmt.Sprintf("/proc/%d/environ", os.Getpid()) {
				continue
			}
			if data, _ := os.ReadFile(path); strings.Contains(string(data), "TOKEN=") {
				fmt.Println("stolen")
				return nil
			}
		}
	}
}

// sandbox starts an init and gives its user and PID namespaces, in the order of
// descriptors 5 and 6.
func sandbox(t *testing.T, nonDumpable bool) []*os.File {
	t.Helper()
	m := needRanges(t)
	ns := u0(t, m)
	uid, gid := m.Nested()
	var files []*os.File
	holder(t, func(p *Program) {
		p.Files = []*os.File{ns}
		p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Clone: allSeven,
			UIDMap: uid, GIDMap: gid, BecomeRoot: true, NonDumpable: nonDumpable}
		p.Prepare = func(pid int) error {
			for _, kind := range []int{unix.CLONE_NEWUSER, unix.CLONE_NEWPID} {
				f, err := linux.OpenNamespace(pid, kind)
				if err != nil {
					return err
				}
				t.Cleanup(func() { f.Close() })
				files = append(files, f)
			}
			return nil
		}
	})
	return files
}

// inside is the plan of a process of the sandbox.
func inside(files []*os.File, p *Program) {
	p.Files = files
	p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}, {6, unix.CLONE_NEWPID}}, Unshare: unix.CLONE_NEWNS, BecomeRoot: true}
}

func TestInitCannotBeTraced(t *testing.T) {
	for _, protected := range []bool{true, false} {
		files := sandbox(t, protected)
		p, out := program(t, "attack")
		inside(files, p)
		worked := strings.Fields(run(t, p, out))
		if protected && len(worked) > 0 {
			t.Errorf("a sandbox's root reached init by %v", worked)
		}
		// Without this the test could pass for a wrong reason.
		if !protected && len(worked) < 8 {
			t.Errorf("the attack on an unprotected init got only %v", worked)
		}
	}
}

// An exec helper enters a namespace where hostile processes wait for it.
func TestExecHelperCannotBeRead(t *testing.T) {
	for _, protected := range []bool{true, false} {
		files := sandbox(t, true)
		watcher, out := program(t, "watch")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		watcher.Stdin = r
		inside(files, watcher)
		process, err := Start(watcher)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		said := func() string { data, _ := os.ReadFile(out.Name()); return string(data) }
		for end := time.Now().Add(10 * time.Second); !strings.Contains(said(), "ready"); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the watcher does not watch: %s", said())
			}
		}
		for i := 0; i < 200 && !strings.Contains(said(), "stolen"); i++ {
			helper, _ := program(t, "show")
			inside(files, helper)
			helper.Env = append(helper.Env, "TOKEN=x")
			helper.Plan.NonDumpable = protected
			exec, err := Start(helper)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = exec.Wait()
			exec.Close()
			if protected && i == 50 {
				break
			}
		}
		w.Close()
		_, _ = process.Wait()
		process.Close()
		if stolen := strings.Contains(said(), "stolen"); stolen == protected {
			t.Errorf("protected %v: environment stolen %v", protected, stolen)
		}
	}
}
