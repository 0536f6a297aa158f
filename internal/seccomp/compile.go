// Package seccomp compiles a profile into the raw program that prctl(2) loads:
// moby's default, or one in Docker's JSON format. Only rc-image links it
// (libseccomp); rc caches the program and its init loads it.
package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	scmp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Compile gives the BPF program of a profile for this machine's architecture
// and those that its kernel also runs (x86 and x32 on x86-64). profile is the
// JSON text, nil for moby's default; caps is the bounding set, which conditions
// of the profile look at, as they look at the running kernel's version.
// A refusal is one line that names the field.
func Compile(profile []byte, caps []string) ([]byte, error) {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	var rules *specs.LinuxSeccomp
	var err error
	if profile == nil {
		rules, err = moby.GetDefaultProfile(spec)
	} else if err = checkJSON(profile); err == nil {
		rules, err = moby.LoadProfile(string(profile), spec)
	}
	if err == nil && rules == nil {
		err = errors.New("defaultAction: is missing, and no system call is named")
	}
	var program []byte
	if err == nil {
		program, err = compile(rules)
	}
	if err != nil {
		return nil, hint.New("compile the seccomp profile", err, "see docs.docker.com/engine/security/seccomp for the format")
	}
	return program, nil
}

// checkJSON makes encoding/json's errors name the field or the line.
func checkJSON(profile []byte) error {
	var syntax *json.SyntaxError
	var field *json.UnmarshalTypeError
	err := json.Unmarshal(profile, new(moby.Seccomp))
	switch {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(profile[:min(int(syntax.Offset), len(profile))], []byte("\n"))
		return fmt.Errorf("line %d: %w", line, syntax)
	case errors.As(err, &field):
		return fmt.Errorf("%s: is a %s, a %s is wanted", field.Field, field.Value, field.Type)
	}
	return err
}

func compile(rules *specs.LinuxSeccomp) ([]byte, error) {
	if rules.ListenerPath != "" {
		return nil, errors.New("listenerPath: a seccomp agent is not supported")
	}
	defaultAction, err := action(rules.DefaultAction, rules.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("defaultAction: %w", err)
	}
	filter, err := scmp.NewFilter(defaultAction)
	if err != nil {
		return nil, fmt.Errorf("defaultAction %s: %w", rules.DefaultAction, err)
	}
	defer filter.Release()
	for _, a := range rules.Architectures {
		if err := addArch(filter, a); err != nil {
			return nil, fmt.Errorf("architectures: %s: %w", a, err)
		}
	}
	// A binary tree: 0.26 ms to load the default profile and few steps a call,
	// against 0.95 ms for the linear program (libseccomp 2.5, SCMP_FLTATR_CTL_OPTIMIZE).
	if err := filter.SetOptimize(2); err != nil {
		return nil, err
	}
	var unknown newer
	for i, call := range rules.Syscalls {
		for _, name := range call.Names {
			if err := addCall(filter, name, call, defaultAction, &unknown); err != nil {
				return nil, fmt.Errorf("syscalls[%d] (%s): %w", i, name, err)
			}
		}
	}
	program, err := export(filter)
	if err != nil {
		return nil, fmt.Errorf("libseccomp: %w", err)
	}
	if program, err = unknown.prepend(program, rules.DefaultAction); err != nil {
		return nil, err
	}
	return shorten(program), nil
}

// shorten is a variable for the test that compares.
var shorten = shrink

// export goes through a file: ExportBPFMem needs libseccomp 2.6, Debian 12 has 2.5.4.
func export(filter *scmp.ScmpFilter) ([]byte, error) {
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp")
	defer func() { _ = file.Close() }()
	if err := filter.ExportBPF(file); err != nil {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// archNames are the names of libseccomp-golang for the runtime-spec's.
var archNames = map[specs.Arch]string{
	specs.ArchX86: "x86", specs.ArchX86_64: "amd64", specs.ArchX32: "x32", specs.ArchARM: "arm", specs.ArchAARCH64: "arm64",
	specs.ArchMIPS: "mips", specs.ArchMIPS64: "mips64", specs.ArchMIPS64N32: "mips64n32", specs.ArchMIPSEL: "mipsel",
	specs.ArchMIPSEL64: "mipsel64", specs.ArchMIPSEL64N32: "mipsel64n32", specs.ArchPPC: "ppc", specs.ArchPPC64: "ppc64",
	specs.ArchPPC64LE: "ppc64le", specs.ArchS390: "s390", specs.ArchS390X: "s390x", specs.ArchRISCV64: "riscv64",
}

func addArch(filter *scmp.ScmpFilter, a specs.Arch) error {
	name, ok := archNames[a]
	if !ok {
		return errors.New("unknown architecture")
	}
	arch, err := scmp.GetArchFromString(name)
	if err != nil {
		return err
	}
	return filter.AddArch(arch)
}

// action turns a name into libseccomp's number; EPERM where no errno is given.
func action(name specs.LinuxSeccompAction, errno *uint) (scmp.ScmpAction, error) {
	code := int16(unix.EPERM)
	if errno != nil {
		if *errno > 4095 { // MAX_ERRNO of the kernel
			return 0, fmt.Errorf("errno %d is out of range", *errno)
		}
		code = int16(*errno)
	}
	switch name {
	case specs.ActKill, specs.ActKillThread:
		return scmp.ActKillThread, nil
	case specs.ActKillProcess:
		return scmp.ActKillProcess, nil
	case specs.ActTrap:
		return scmp.ActTrap, nil
	case specs.ActErrno:
		return scmp.ActErrno.SetReturnCode(code), nil
	case specs.ActTrace:
		return scmp.ActTrace.SetReturnCode(code), nil
	case specs.ActAllow:
		return scmp.ActAllow, nil
	case specs.ActLog:
		return scmp.ActLog, nil
	case specs.ActNotify:
		return 0, errors.New("SCMP_ACT_NOTIFY is not supported")
	}
	return 0, fmt.Errorf("unknown action %q", name)
}
