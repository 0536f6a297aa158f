package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// bootLimit is for a busy machine that emulates its guests; with KVM a boot takes a
// second, but where KVM itself is emulated QEMU may stop in the middle for good.
const (
	bootLimit = 4 * time.Minute
	kvmLimit  = 20 * time.Second
)

const vmRow = "vm"

// machine is what a virtual machine cost.
type machine struct {
	name string
	took time.Duration // from nothing to the end of the first command
	mib  float64       // PSS of QEMU then
	disk float64       // MiB of what it boots from
}

// machines boots a virtual machine with systemd, from nothing and from a snapshot, and
// one with nothing but the kernel and the image of all other rows. The first two are
// tests/guest's, built as root.
func (w *world) machines(r *report) error {
	if os.Getuid() != 0 {
		return errors.New("the guest's files belong to root: run as root")
	}
	if why := guest.Unmet(); why != "" {
		return errors.New(why)
	}
	var qemu []string
	for _, one := range []struct {
		name string
		cold bool
	}{{"Debian 13 with systemd, booted", true}, {"the same, from a snapshot in memory", false}} {
		w.say("virtual machine: %s", one.name)
		m, command, err := w.debian(one.cold)
		if err != nil {
			r.breaks("vm, "+one.name, err)
			continue
		}
		m.name, qemu = one.name, command
		r.machines = append(r.machines, m)
	}
	if len(qemu) == 0 {
		return errors.New("without that guest there are no kernel and no QEMU for the image alone")
	}
	w.say("virtual machine: the image alone")
	for _, kvm := range []bool{true, false} {
		m, err := w.bare(qemu, kvm)
		if err == nil {
			r.machines = append(r.machines, m)
			return nil
		}
		if !kvm {
			return err
		}
		r.note("vm", "KVM is not to be had here ("+err.Error()+"), so QEMU emulates, which makes everything in there about ten times slower")
	}
	return nil
}

// complaint is the line of QEMU's that names an error, else its last one.
func complaint(text string) (line string) {
	for line = range strings.Lines(strings.TrimSpace(text)) {
		if strings.Contains(line, "error") || strings.Contains(line, "failed") {
			break
		}
	}
	return strings.TrimSpace(line)
}

// debian boots the guest of tests/guest and returns QEMU's command line with it.
func (w *world) debian(cold bool) (m machine, qemu []string, err error) {
	g, err := guest.New(guest.Options{Cold: cold, Log: w.say})
	if err != nil {
		return m, nil, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	begin := time.Now()
	if err := g.Boot(ctx); err != nil {
		return m, nil, err
	}
	if result := g.Run(ctx, guest.User, "true"); result.Err != nil || result.Code != 0 {
		return m, nil, fmt.Errorf("true in the guest: %d %w", result.Code, result.Err)
	}
	m.took = time.Since(begin)
	pid, qemu := ownQEMU()
	if pid == 0 {
		return m, nil, errors.New("no process of QEMU found")
	}
	kib, err := pss(pid)
	m.mib = float64(kib) / 1024
	m.disk = float64(usage(filepath.Join(filepath.Dir(kernelOf(qemu)), "root.ext4"))+usage(kernelOf(qemu))) / (1 << 20)
	return m, qemu, err
}

// ownQEMU finds the QEMU that this process started, and its command line.
func ownQEMU() (pid int, command []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		n, _ := strconv.Atoi(filepath.Base(path))
		text, _ := os.ReadFile(path + "/cmdline")
		words := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		if descends(n, os.Getpid()) && slices.ContainsFunc(words, func(s string) bool { return strings.Contains(s, "qemu-system") }) {
			return n, words
		}
	}
	return 0, nil
}

func kernelOf(qemu []string) string {
	if i := slices.Index(qemu, "-kernel"); i >= 0 && i+1 < len(qemu) {
		return qemu[i+1]
	}
	return ""
}

// bare boots the guest's kernel with the image as its initial file system. The time ends
// when its first command has.
func (w *world) bare(qemu []string, kvm bool) (m machine, err error) {
	front := qemu[:max(0, slices.Index(qemu, "-nodefaults"))]
	initrd := filepath.Join(w.o.dir, "initrd.archive")
	defer os.Remove(initrd)
	if err := w.writeInitrd(initrd); err != nil || len(front) == 0 {
		return m, errors.Join(err, fmt.Errorf("QEMU's command line: %q", qemu))
	}
	accel, processor, patience := "tcg", "Nehalem,-cx16", bootLimit
	if kvm {
		accel, processor, patience = "kvm", "host", kvmLimit
	}
	m.name = "the image and a kernel alone, " + accel
	args := slices.Concat(front[1:], []string{"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35", "-accel", accel,
		"-cpu", processor, "-smp", "2", "-m", "256", "-kernel", kernelOf(qemu), "-initrd", initrd, "-serial", "stdio",
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off init_on_alloc=0 audit=0 rdinit=/bench-init"})
	cmd := exec.Command(front[0], args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return m, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return m, err
	}
	hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var said []byte
	for b := make([]byte, 4096); !bytes.Contains(said, []byte("bench-up")); {
		n, err := out.Read(b)
		said = append(said, b[:n]...)
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return m, fmt.Errorf("QEMU ended or stood still: %s", complaint(errs.String()))
		}
	}
	m.took = time.Since(begin)
	kib, err := pss(cmd.Process.Pid)
	m.mib = float64(kib) / 1024
	m.disk = float64(usage(kernelOf(qemu))+usage(initrd)) / (1 << 20)
	return m, err
}

// writeInitrd packs the root file system in the kernel's "newc" format (Documentation/
// driver-api/early-userspace/buffer-format.rst): 13 numbers of eight hexadecimal digits,
// name, body, each padded to four bytes.
func (w *world) writeInitrd(path string) error {
	root := filepath.Join(w.o.dir, "rootfs")
	var b bytes.Buffer
	inode := 0
	pad := func() { b.Write(make([]byte, -b.Len()&3)) }
	add := func(name string, mode uint32, body []byte) {
		inode++
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", inode, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name)+1, 0, name)
		pad()
		b.Write(body)
		pad()
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case d.IsDir():
			add(name, syscall.S_IFDIR|0o755, nil)
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			add(name, syscall.S_IFLNK|0o777, []byte(to))
			return err
		default:
			body, err := os.ReadFile(path)
			add(name, syscall.S_IFREG|0o755, body)
			return err
		}
		return nil
	})
	add("bench-init", syscall.S_IFREG|0o755, []byte("#!/bin/busybox sh\n/bin/busybox true\necho bench-up\nexec /bin/busybox sleep 1000\n"))
	add("TRAILER!!!", 0, nil)
	return errors.Join(err, os.WriteFile(path, b.Bytes(), 0o600))
}
