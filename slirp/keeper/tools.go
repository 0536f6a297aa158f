package keeper

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/slirp"
)

const toolsName = "keeper.bin"

// transparent are the programs that rootlesskit's port driver runs in the
// container's network namespace, in the keeper's mount namespace, to keep the
// client's address (pkg/port/builtin/child).
var transparent = []string{"nft", "iptables", "ip6tables", "ip", "sysctl"}

// makeTools makes the folder that is the keeper's whole PATH.
//
// rootlesskit's slirp4netns driver prepares the tap by `nsenter -t PID -n -m -U
// ip tuntap add`: in the mount namespace of the container, so with the image's
// ip, as root of the sandbox, in the host's PID namespace. Here slirp4netns
// makes the tap itself when it opens it, and we configure it (tap.go), so the
// command has nothing to do: the nsenter in this PATH does nothing, and there
// is no other. It also saves two processes, and hosts without iproute2 work.
func makeTools(runtime, hostPath string) (string, error) {
	dir := filepath.Join(runtime, toolsName)
	if strings.Contains(dir, ":") {
		return "", fmt.Errorf("the runtime folder %q has a colon in its name, which PATH cannot hold", runtime)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	for _, name := range transparent {
		if path, err := slirp.LookPath(name, hostPath); err == nil {
			if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
				return "", err
			}
		}
	}
	return dir, makeNoop(filepath.Join(dir, "nsenter"))
}

// makeNoop makes path a program that does nothing: an empty script (0.7 ms a
// run), else, where the folder is mounted noexec, this program (see Noop; 2 ms).
func makeNoop(path string) error {
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		return err
	}
	if noopWorks(path) {
		return nil
	}
	self, err := os.Readlink("/proc/self/exe")
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = os.Symlink(self, path)
	}
	if err != nil {
		return err
	}
	if !noopWorks(path) {
		return fmt.Errorf("%s cannot be executed", path)
	}
	return nil
}

// noopWorks tries it on this process, where a real nsenter would fail: nobody
// can join the user namespace that he is in (setns(2), EINVAL).
func noopWorks(path string) bool {
	return exec.Command(path, "-t", strconv.Itoa(os.Getpid()), "-n", "-m", "-U", "--preserve-credentials", "ip").Run() == nil
}
