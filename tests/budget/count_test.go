package budget

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files writes what strace would have written.
func files(t *testing.T, threads map[string]string) (prefix string) {
	t.Helper()
	prefix = filepath.Join(t.TempDir(), "s")
	for tid, text := range threads {
		if err := os.WriteFile(prefix+"."+tid, []byte(strings.TrimLeft(text, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return prefix
}

// A start as strace shows it, cut down: the constructor clones init into a PID
// namespace, and a thread of that, which is not its first, executes the payload.
var start = map[string]string{
	"10": `
execve("/bin/sh", ["sh"], 0x7ffe /* 4 vars */) = 0
vfork()                                 = 20
openat(AT_FDCWD, "/of the shell", O_RDONLY) = 3</of the shell>
`,
	"20": `
execve("/x/rc", ["rc", "run"], 0x7ffe /* 4 vars */) = 0
openat(AT_FDCWD, "/etc/a=b", O_RDONLY)  = -1 ENOENT (No such file or directory)
clone(child_stack=0x1, flags=CLONE_VM|CLONE_THREAD|CLONE_SETTLS, tls=0x1) = 21
clone(child_stack=NULL, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 30
futex(0x1, FUTEX_WAIT_PRIVATE, 0, NULL) = 0
write(1</dev/pts/0>, "hello", 5)        = 5
--- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=1, si_uid=1} ---
+++ exited with 0 +++
`,
	"21": `
mkdirat(AT_FDCWD</home/u>, "c", 0700)   = 0
write(3</home/u/c/container.json>, "{", 700) = 700
write(4<socket:[1]>, "x", 9)            = 9
write(5</memfd:rc (deleted)>, "x", 4000) = 4000
fsync(3</home/u/c/container.json>)      = 0
`,
	"30": `
close(4)                                = 0
execve("/x/rc-init", ["rc-shim", "0123"], 0xc000 /* 1 var */) = 0
clone(child_stack=NULL, flags=CLONE_VM|CLONE_PIDFD|CLONE_VFORK|SIGCHLD) = 40
sendmsg(4<socket:[2]>, {msg_name=NULL}, MSG_NOSIGNAL) = 17
`,
	"40": `
execve("/proc/self/fd/6", ["rc-boot", "0123"], 0xc000 /* 1 var */) = 0
clone3({flags=CLONE_PARENT|CLONE_NEWPID, exit_signal=0, stack=NULL, stack_size=0}, 88) = 41
`,
	"41": `
clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x1}, 88) = 2 /* 42 in strace's PID NS */
futex(0x1, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>) = ?
+++ superseded by execve in pid 42 +++
<... execve resumed>)                   = 0
openat(AT_FDCWD, "/of the payload", O_RDONLY) = 3
vfork()                                 = 9 /* 49 in strace's PID NS */
`,
	"42": `
move_mount(5, "", 6, "", MOVE_MOUNT_F_EMPTY_PATH) = 0
open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE) = 7
execve("/bin/true", ["true"], 0x1 /* 3 vars */ <pid changed to 41 ...>
`,
	"49": `
execve("/bin/rc", ["rc"], 0x1 /* 3 vars */) = 0
`,
}

func TestCount(t *testing.T) {
	got, err := Count(files(t, start), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]Tally{
		"sh":    {Calls: 3, Execs: 1, Forks: 1, Opens: 1},
		"rc":    {Calls: 11, Execs: 1, Forks: 1, Threads: 1, Opens: 1, Names: 1, Syncs: 1, Bytes: 700},
		"shim":  {Calls: 3, Execs: 1, Forks: 1, Sent: 1},
		"init":  {Calls: 6, Execs: 1, Forks: 1, Threads: 1, Opens: 1, Mounts: 2},
		Payload: {Calls: 3, Execs: 1, Forks: 1, Opens: 1},
	} {
		if got[role] == nil || *got[role] != want {
			t.Errorf("%s: %+v, want %+v", role, got[role], want)
		}
		delete(got, role)
	}
	if len(got) > 0 {
		t.Errorf("and %v", got)
	}
}

// What was there before says who is who, and is not counted.
func TestCountSince(t *testing.T) {
	prefix := files(t, start)
	skip := map[string]int64{}
	for tid, text := range start {
		skip["s."+tid] = int64(len(strings.TrimLeft(text, "\n")))
	}
	f, err := os.OpenFile(prefix+".30", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("umount2(\"/x\", MNT_DETACH)               = 0\n")
	_ = f.Close()
	got, err := Count(prefix, 10, skip)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || *got["shim"] != (Tally{Calls: 1, Mounts: 1}) {
		t.Errorf("%+v", got["shim"])
	}
}

func TestBudgetFile(t *testing.T) {
	lines, err := ReadBudget("budget.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if l.Count == "syncs" && l.Ceiling != 0 {
			t.Errorf("%s %s: nothing on the way of a start waits for the disk", l.Case, l.Role)
		}
	}
	for text, want := range map[string]string{
		"none rc calls 5":                             "not CASE ROLE",
		"none rc calls # why":                         "not CASE ROLE",
		"none rc calls many # why":                    "no ceiling",
		"none rc calls -1 # why":                      "no ceiling",
		"none rc call 1 # why":                        "no such count",
		"a b calls 1 # x\n\n# y\na b calls 2 # again": "a second time",
	} {
		path := filepath.Join(t.TempDir(), "b")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBudget(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestCompare(t *testing.T) {
	got := map[string]*Tally{"rc": {Calls: 100, Opens: 3}}
	for _, c := range []struct {
		line Line
		want string
	}{
		{Line{"none", "rc", "calls", 100, "why"}, ""},
		{Line{"none", "rc", "calls", 99, "why"}, "100 calls of rc, the budget is 99 (why)"},
		{Line{"none", "rc", "calls", 300, "why"}, "lower the line"},
		{Line{"none", "rc", "opens", 20, "why"}, ""},
		{Line{"none", "shim", "opens", 20, "why"}, "no process was shim"},
		{Line{"exec", "shim", "opens", 0, "why"}, ""},
	} {
		text := strings.Join(compare("none", got, []Line{c.line}), "; ")
		if c.want == "" && text != "" || !strings.Contains(text, c.want) {
			t.Errorf("%v: %q", c.line, text)
		}
	}
	least(got, map[string]*Tally{"rc": {Calls: 90, Opens: 4}})
	if *got["rc"] != (Tally{Calls: 90, Opens: 3}) {
		t.Errorf("%+v", got["rc"])
	}
	if text := table(got); !strings.Contains(text, "rc             90") || strings.Count(text, "\n") != 2 {
		t.Error(text)
	}
}
