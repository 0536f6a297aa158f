// limit says what it has as its limit of descriptors, and what it executes.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func main() {
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	child, err := exec.Command("sh", "-c", "ulimit -Sn; ulimit -Hn").Output()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	quota := "no cgroup"
	for fd := range 64 {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.Contains(name, "cgroup") {
			quota = name
		}
	}
	fmt.Printf("own %d %d; child %q; %s\n", own.Cur, own.Max, child, quota)
}
