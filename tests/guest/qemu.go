package guest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"github.com/rc-containers/rc/tests/guest/wire"
)

// machine is a running QEMU.
type machine struct {
	process *os.Process
	in      *wire.Writer
	out     io.Reader
	qmp     *monitor
	done    chan struct{} // closed when it ended; err is set then
	err     error
}

// hardware is what differs between a boot, the making of a snapshot and a restore.
type hardware struct {
	initrd, root string // files; only a snapshot being made writes to root
	ram          string // the file with the guest's memory; "": a boot, without one
	incoming     bool   // a restore: QEMU waits for the state
}

// numbers are the guest's MiB of memory and processors.
func (o Options) numbers() (memory, cpus int) {
	memory, cpus = o.Memory, o.CPUs
	if memory == 0 {
		memory = 1024
	}
	if cpus == 0 {
		cpus = 2
	}
	return memory, cpus
}

// arguments are QEMU's, but for where QEMU finds its own files.
func (g *Guest) arguments(h hardware) []string {
	memory, cpus := g.options.numbers()
	// mitigations=off and init_on_alloc=0 save a third of all time under emulation.
	// panic=-1 with -no-reboot: a kernel that panics ends QEMU.
	kernel := "console=ttyS0 loglevel=4 panic=-1 mitigations=off init_on_alloc=0 audit=0 apparmor=0 selinux=0 " +
		"systemd.show_status=1 systemd.log_color=0" // for who asks why a boot hangs
	a := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		// With cx16, QEMU 7.2 once crashed the guest.
		"-cpu", "Nehalem,-cx16", "-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(memory),
		"-kernel", g.base.path("vmlinuz"), "-initrd", h.initrd,
		"-serial", "file:" + g.path("console.log"),
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
		"-chardev", "stdio,id=agent,signal=off", "-device", "virtserialport,chardev=agent,name=rc.agent",
		"-chardev", "socket,id=qmp,fd=" + qmpFD, "-mon", "chardev=qmp,mode=control",
	}
	if g.options.Counted {
		a = append(a, "-accel", "tcg,thread=single", "-icount", "shift=2")
	} else {
		a = append(a, "-accel", "tcg,thread=multi")
	}
	root := "snapshot=on,cache=unsafe"
	if h.ram == "" {
		a = append(a, "-machine", "q35")
	} else {
		share := "on"
		if h.incoming {
			share = "off"
			a = append(a, "-incoming", "defer")
		} else {
			root = "cache=unsafe"
		}
		a = append(a, "-machine", "q35,memory-backend=ram", "-object",
			fmt.Sprintf("memory-backend-file,id=ram,size=%dM,mem-path=%s,share=%s", memory, h.ram, share))
		kernel += " rc.later" // the agent mounts what is on the other disks (wire.News)
	}
	a = append(a, disk("root", h.root, root)...)
	a = append(a, disk("share", g.path("share.ext4"), "read-only=on")...)
	a = append(a, disk("scratch", g.path("scratch.ext4"), "cache=unsafe")...)
	if g.options.Scratch > 0 {
		kernel += " rc.scratch"
	}
	if g.options.Home != "" {
		// writeback: a flush of the guest's is an fdatasync here, and what was not
		// flushed survives QEMU's death in this machine's page cache (Kill).
		a = append(a, disk("home", g.options.Home, "cache=writeback")...)
		if g.options.HomeOptions != "" {
			kernel += " rc.home=" + g.options.HomeOptions
		}
	}
	return append(a, "-append", kernel)
}

// disk is a raw image as a virtio disk, which the guest knows by its name.
func disk(name, image, options string) []string {
	return []string{
		"-drive", "if=none,format=raw,id=" + name + ",file=" + image + "," + options,
		"-device", "virtio-blk-pci,drive=" + name + ",serial=" + name,
	}
}

// power starts QEMU. It dies with this process: PR_SET_PDEATHSIG is bound to the
// thread that forked (prctl(2)), so one goroutine keeps that thread until the end.
func power(qemu []string, arguments []string, log string) (*machine, error) {
	qmp, theirs, err := newMonitor()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	said, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd := exec.Command(qemu[0], append(qemu[1:], arguments...)...)
	cmd.Stderr, cmd.ExtraFiles = said, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m := &machine{in: wire.NewWriter(in), out: bufio.NewReaderSize(out, 64<<10), qmp: qmp, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		m.process = cmd.Process
		started <- err
		if err != nil {
			return
		}
		// Not cmd.Wait, which would close out under its reader.
		state, err := cmd.Process.Wait()
		if err == nil {
			err = fmt.Errorf("QEMU: %s", state)
		}
		m.err = errors.Join(err, qmp.conn.Close())
		close(m.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	return m, nil
}

// kill returns when QEMU is gone.
func (m *machine) kill() {
	// An error means that it is gone already.
	_ = m.process.Kill()
	<-m.done
}
