package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// pasta is how one container's pasta is started, again with the same words when it
// died. It takes 50 ms to start and 16 MiB: who wants it asks for it.
type pasta struct {
	binary  string
	runtime string   // of the fifo by which it says that it is ready
	words   []string // of its command line
	// device is its interface inside, resolver the address where it forwards questions.
	device, resolver string
}

// pastaDevice is the name inside, unless the user chose one.
const pastaDevice = "eth0"

// newPasta checks what was asked for. Published ports are the keeper's as with every
// other network, not pasta's own: then they can be added and removed while pasta runs,
// a taken one names who has it, and no packet of theirs goes through the tap.
func (k *keeper) newPasta(r *slirp.Attach) (*pasta, error) {
	binary, err := slirp.FindPasta(k.networks.hostPath)
	if err != nil {
		return nil, err
	}
	if err := slirp.CheckPastaOptions(r.PastaOptions); err != nil {
		return nil, hint.New("start pasta", err, "see pasta(1)")
	}
	p := &pasta{binary: binary, runtime: k.runtime, device: pastaValue(r.PastaOptions, pastaDevice, "-I", "--ns-ifname")}
	p.words, p.resolver = pastaWords(r)
	return p, nil
}

// pastaWords is the command line, without the process to join. What the user says
// of ports and loopback stands; else nothing of the host is shown inside: pasta's
// own defaults forward every port both ways, and the gateway is the host's loopback.
func pastaWords(r *slirp.Attach) (words []string, resolver string) {
	// In the sandbox's user namespace it has no capability in U0.
	words = []string{"--foreground", "--quiet", "--config-net",
		"--netns", "/proc/self/fd/0", "--userns", "/proc/self/fd/1", "--no-netns-quit"}
	mapped := r.HostLoopback
	for _, o := range r.PastaOptions {
		if o == slirp.PastaMapGateway {
			mapped = true
			continue
		}
		words = append(words, o)
	}
	if !mapped {
		words = append(words, "--no-map-gw")
	}
	given := func(names ...string) bool { return pastaValue(r.PastaOptions, "", names...) != "" }
	if !given("-I", "--ns-ifname") {
		words = append(words, "--ns-ifname", pastaDevice)
	}
	resolver = pastaValue(r.PastaOptions, "", "--dns-forward")
	if resolver == "" {
		resolver = slirp.PastaResolver
		if pastaHas(r.PastaOptions, "-6", "--ipv6-only") {
			resolver = slirp.PastaResolver6
		}
		words = append(words, "--dns-forward", resolver)
	}
	for _, names := range [][2]string{{"-t", "--tcp-ports"}, {"-u", "--udp-ports"}, {"-T", "--tcp-ns"}, {"-U", "--udp-ns"}} {
		if !given(names[:]...) {
			words = append(words, names[1], "none")
		}
	}
	return words, resolver
}

// pastaValue is the value of the last of these options, or otherwise.
func pastaValue(options []string, otherwise string, names ...string) string {
	for i, o := range options {
		for _, name := range names {
			if o == name && i+1 < len(options) {
				otherwise = options[i+1]
			} else if v, ok := strings.CutPrefix(o, name+"="); ok {
				otherwise = v
			}
		}
	}
	return otherwise
}

func pastaHas(options []string, names ...string) bool {
	for _, o := range options {
		for _, name := range names {
			if o == name {
				return true
			}
		}
	}
	return false
}

// start starts one and returns when it reads packets.
func (p *pasta) start(t *target) (*running, error) {
	const op = "start pasta"
	dir, err := os.MkdirTemp(p.runtime, folderPrefix)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	defer os.RemoveAll(dir)
	// A program in the foreground writes its pid last of all (passt.c, main), and a
	// fifo needs no polling. O_RDWR: no end of file before there is a writer.
	path := filepath.Join(dir, "ready")
	err = unix.Mkfifo(path, 0o600)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	ready, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	defer ready.Close()
	r, err := p.run(path, t)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	said := make(chan error, 1)
	go func() { _, err := ready.Read(make([]byte, 32)); said <- err }()
	select {
	case err = <-said:
	case <-r.output.ended:
		err = errors.New("it ended at once")
	case <-time.After(startLimit):
		err = fmt.Errorf("not ready after %v", startLimit)
	}
	if err != nil {
		r.end()
		return nil, p.refusal(op, r.output, err)
	}
	return r, nil
}

// run executes it. The kernel kills it with the thread that forked it
// (PR_SET_PDEATHSIG(2const)), so that thread stays as long as pasta does, and
// nothing else runs on it: others of ours end with what they did in a namespace.
func (p *pasta) run(ready string, t *target) (*running, error) {
	o := &output{ended: make(chan struct{})}
	cmd := exec.Command(p.binary, append(p.words[:len(p.words):len(p.words)], "--pid", ready)...)
	// pastaWords names both: not by pid, because it has dropped the capability to look
	// into our not dumpable init, and as the standard streams, because newer ones close
	// every other descriptor before they read their options.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.netns, t.userns, o
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.WaitDelay = time.Second
	begun := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(o.ended)
	}()
	if err := <-begun; err != nil {
		return nil, err
	}
	stop := func() error {
		err := cmd.Process.Kill() // ErrProcessDone after its end, never another's pid
		<-o.ended
		return err
	}
	return &running{o, stop}, nil
}

// Write keeps the last words.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	o.text = o.text[max(0, len(o.text)-maxOutput):]
	return len(p), nil
}

// refusal adds what pasta said, and to that what to do.
func (p *pasta) refusal(op string, o *output, err error) error {
	said := o.lastLine()
	if said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	if e := slirp.CheckTun(); e != nil {
		return e
	}
	fix := "try it by hand: pasta --config-net ip address"
	switch {
	case strings.Contains(said, "nvalid option"), strings.Contains(said, "nrecognized option"):
		fix = "give options that this pasta has: pasta --help"
	case strings.Contains(said, "routable interface"), strings.Contains(said, "usable IP"):
		fix = "pasta copies an address of the host, which has none with a default route: leave out --network pasta"
	case strings.Contains(said, "bind"):
		fix = "see who has the port: ss -lnp; --publish says more than pasta's -t and -u"
	}
	return hint.New(op, err, fix)
}
