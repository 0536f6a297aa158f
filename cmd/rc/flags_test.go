package main

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/spec"
)

// boundRun makes the flags of `rc run` on fresh options.
func boundRun() (*runOptions, *pflag.FlagSet) {
	o, fs := &runOptions{verb: "run"}, newFlags("run")
	o.bind(fs)
	return o, fs
}

// leaves lists the settable fields of the options with their values.
func leaves(o *runOptions) map[string]any {
	all := map[string]any{"entrypoint": o.entrypoint, "stopTimeout": o.stopTimeout, "detachKeys": o.detachKeys, "sigProxy": o.sigProxy}
	v := reflect.ValueOf(o.Options)
	for i := range v.NumField() {
		all[v.Type().Field(i).Name] = v.Field(i).Interface()
	}
	return all
}

// sample is a value of a flag's type that differs from every default.
func sample(t *testing.T, f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		if f.DefValue == "true" {
			return "false"
		}
		return "true"
	case "duration":
		return "77s"
	case "int", "int64", "uint64":
		return "77"
	case "string", "stringArray", "stringSlice":
		return "sample"
	}
	t.Fatalf("--%s is of the unknown type %s", f.Name, f.Value.Type())
	return ""
}

// Each flag of `rc run` sets one field and no other, and each field has a flag.
func TestEveryRunFlagBindsToOneField(t *testing.T) {
	_, all := boundRun()
	reached := map[string][]string{}
	all.VisitAll(func(f *pflag.Flag) {
		if _, refused := f.Value.(refusedFlag); refused {
			return
		}
		o, fs := boundRun()
		before := leaves(o)
		if err := fs.Set(f.Name, sample(t, f)); err != nil {
			t.Errorf("--%s: %v", f.Name, err)
			return
		}
		var changed []string
		for name, value := range leaves(o) {
			if !reflect.DeepEqual(value, before[name]) {
				changed = append(changed, name)
			}
		}
		if len(changed) != 1 {
			t.Errorf("--%s changes %v", f.Name, changed)
			return
		}
		reached[changed[0]] = append(reached[changed[0]], f.Name)
	})
	for name := range leaves(&runOptions{}) {
		set := reached[name]
		switch name {
		case "Command", "Entrypoint", "StopTimeout": // set by run, from arguments and from the fields below
			if len(set) != 0 {
				t.Errorf("%s is set by %v", name, set)
			}
		case "Health", "Unit": // groups of them
		case "DNSOption":
			if !slices.Equal(set, []string{"dns-option", "dns-opt"}) {
				t.Errorf("%s is set by %v", name, set)
			}
		case "NetworkAlias":
			if !slices.Equal(set, []string{"network-alias", "net-alias"}) {
				t.Errorf("%s is set by %v", name, set)
			}
		case "Network":
			if !slices.Equal(set, []string{"network", "net"}) {
				t.Errorf("%s is set by %v", name, set)
			}
		default:
			if len(set) != 1 {
				t.Errorf("%s is set by %v", name, set)
			}
		}
	}
}

// Docker's spelling, short ones included.
func TestRunHasDockersFlags(t *testing.T) {
	_, fs := boundRun()
	for name, short := range map[string]string{"interactive": "i", "tty": "t", "detach": "d", "rm": "", "name": "", "env": "e", "env-file": "",
		"workdir": "w", "user": "u", "group-add": "", "hostname": "h", "pid": "", "ipc": "", "uts": "", "volume": "v", "mount": "", "tmpfs": "",
		"read-only": "", "entrypoint": "", "init": "", "network": "", "dns": "", "add-host": "", "publish": "p", "cap-add": "", "cap-drop": "",
		"security-opt": "", "privileged": "", "device": "", "ulimit": "", "sysctl": "", "shm-size": "", "stop-signal": "", "stop-timeout": "",
		"label": "l", "annotation": "", "cidfile": "", "pull": "", "platform": "", "userns": "", "rootfs": "", "memory": "m", "memory-swap": "",
		"cpus": "", "cpu-shares": "c", "cpuset-cpus": "", "pids-limit": "", "detach-keys": ""} {
		if f := fs.Lookup(name); f == nil || f.Shorthand != short {
			t.Errorf("--%s: %+v", name, f)
		}
	}
}

// A comma belongs to the value, except where Docker splits at it.
func TestCommas(t *testing.T) {
	o, fs := boundRun()
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() != "stringArray" {
			return
		}
		_, fs := boundRun() // two names of one flag add to one list
		if err := fs.Parse([]string{"--" + f.Name, "a=1,2", "--" + f.Name, `b="x y"`}); err != nil {
			t.Errorf("--%s: %v", f.Name, err)
		}
		if got := fs.Lookup(f.Name).Value.(pflag.SliceValue).GetSlice(); !slices.Equal(got, []string{"a=1,2", `b="x y"`}) {
			t.Errorf("--%s became %q", f.Name, got)
		}
	})
	if err := fs.Parse([]string{"--net", "a", "--network", "b"}); err != nil || !slices.Equal(o.Network, []string{"a", "b"}) {
		t.Errorf("--net a --network b became %q, %v", o.Network, err)
	}
	if err := fs.Parse([]string{"--cap-add", "A,B", "--cap-add", "C"}); err != nil || !slices.Equal(o.CapAdd, []string{"A", "B", "C"}) {
		t.Errorf("--cap-add: %q %v", o.CapAdd, err)
	}
}

// parsed runs a command's parser and returns what its run would get.
func parsed(t *testing.T, name string, line ...string) (args []string, ran bool, err error) {
	t.Helper()
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		c.run = func(_ *global, rest []string) (int, error) {
			args, ran = rest, true
			return 0, nil
		}
		_, err = c.call(&global{}, line)
		return args, ran, err
	}
	t.Fatalf("no command %q", name)
	return nil, false, nil
}

// What follows IMAGE is the container's: rc must not look at it.
func TestRunStopsAtTheImage(t *testing.T) {
	for _, c := range []struct{ line, want []string }{
		{[]string{"--rm", "alpine", "ls", "-l", "--rm"}, []string{"alpine", "ls", "-l", "--rm"}},
		{[]string{"alpine", "--help"}, []string{"alpine", "--help"}},
		{[]string{"alpine", "--", "x"}, []string{"alpine", "--", "x"}},
		{[]string{"--", "alpine", "-i"}, []string{"alpine", "-i"}},
		{[]string{"-it", "alpine", "-it"}, []string{"alpine", "-it"}},
		{[]string{"-e", "A", "alpine", "-e", "B"}, []string{"alpine", "-e", "B"}},
		{[]string{"-h", "host", "alpine"}, []string{"alpine"}}, // Docker's -h is the host name
	} {
		args, ran, err := parsed(t, "run", c.line...)
		if err != nil || !ran || !slices.Equal(args, c.want) {
			t.Errorf("%q: %q %v", c.line, args, err)
		}
	}
	if args, _, err := parsed(t, "unshare", "ls", "-l"); err != nil || !slices.Equal(args, []string{"ls", "-l"}) {
		t.Errorf("unshare: %q %v", args, err)
	}
	// The others take flags anywhere, as people type them.
	if args, _, err := parsed(t, "rm", "a", "-f", "b"); err != nil || !slices.Equal(args, []string{"a", "b"}) {
		t.Errorf("rm: %q %v", args, err)
	}
}

func TestRunReadsItsArguments(t *testing.T) {
	t.Setenv("RC_ROOT", "/proc/nothing-can-be-made-here") // open fails after the parsing
	for _, c := range []struct {
		line  []string
		check func(*runOptions) bool
	}{
		{[]string{"--entrypoint", "", "img", "a", "b"}, func(o *runOptions) bool {
			return o.Entrypoint != nil && *o.Entrypoint == "" && slices.Equal(o.Command, []string{"a", "b"})
		}},
		{[]string{"img"}, func(o *runOptions) bool { return o.Entrypoint == nil && o.StopTimeout == nil && len(o.Command) == 0 }},
		{[]string{"--stop-timeout", "-1", "img"}, func(o *runOptions) bool { return o.StopTimeout != nil && *o.StopTimeout == -1 }},
		{[]string{"--rootfs", "/r", "cmd", "arg"}, func(o *runOptions) bool { return slices.Equal(o.Command, []string{"cmd", "arg"}) }},
	} {
		o, fs := boundRun()
		if err := fs.Parse(c.line); err != nil {
			t.Fatal(err)
		}
		if _, err := o.run(&global{}, fs.Args()); err == nil {
			t.Errorf("%q: a folder in /proc was made", c.line)
		}
		if !c.check(o) {
			t.Errorf("%q: %+v", c.line, o.Options)
		}
	}
}

func TestDetachKeys(t *testing.T) {
	for in, want := range map[string]string{
		"ctrl-p,ctrl-q": "\x10\x11", "": "", "a": "a", "a,b,c": "abc", "ctrl-a": "\x01", "ctrl-Z": "\x1a", "ctrl-@": "\x00",
		"ctrl-[": "\x1b", "ctrl-\\": "\x1c", "ctrl-]": "\x1d", "ctrl-^": "\x1e", "ctrl-_": "\x1f", "~,.": "~.", "Q,ctrl-x": "Q\x18",
	} {
		if got, err := parseDetachKeys(in); err != nil || string(got) != want {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	for _, in := range []string{"ctrl-", "ctrl-1", "ctrl-pp", "pp", "a,,b", ",", "ctrl-é", "é", "ctrl-{", "ctrl- "} {
		if got, err := parseDetachKeys(in); err == nil || !strings.Contains(err.Error(), "ctrl-p,ctrl-q") {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

func TestGlobalFlags(t *testing.T) {
	root := t.TempDir()
	e, err := (&global{root: root, driver: "copy"}).open()
	if err != nil {
		t.Fatal(err)
	}
	if e.Store.Root != root || e.Driver != "copy" {
		t.Errorf("%s %s", e.Store.Root, e.Driver)
	}
	t.Setenv("RC_STORAGE_DRIVER", "fuse-overlayfs")
	if e, err := (&global{root: root}).open(); err != nil || e.Driver != "fuse-overlayfs" {
		t.Errorf("%v", err)
	}
	for _, g := range []global{{root: root, driver: "zfs"}, {root: "/proc/x"}} {
		var h *hint.Error
		if _, err := g.open(); !errors.As(err, &h) || h.Fix == "" {
			t.Errorf("%+v: %v", g, err)
		}
	}
}

// The zero options are what `rc run IMAGE` means; a default that is not zero
// must be the one that the help tells.
func TestDefaults(t *testing.T) {
	o, fs := boundRun()
	if err := fs.Parse(nil); err != nil {
		t.Fatal(err)
	}
	o.Pull = ""
	if !reflect.DeepEqual(o.Options, spec.Options{Command: o.Command}) {
		t.Errorf("%+v", o.Options)
	}
	if keys, err := parseDetachKeys(o.detachKeys); err != nil || string(keys) != "\x10\x11" {
		t.Errorf("%q %v", keys, err)
	}
}
