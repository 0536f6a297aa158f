// limit says what it has as its limit of descriptors, and what it executes; with an
// argument, how late the timers of its threads may be.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	say := limits
	if len(os.Args) > 1 {
		say = slack
	}
	if err := say(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func limits() error {
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil {
		return err
	}
	child, err := exec.Command("sh", "-c", "ulimit -Sn; ulimit -Hn").Output()
	if err != nil {
		return err
	}
	quota := "no cgroup"
	for fd := range 64 {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.Contains(name, "cgroup") {
			quota = name
		}
	}
	fmt.Printf("own %d %d; child %q; %s\n", own.Cur, own.Max, child, quota)
	return nil
}

// slack has a line for each thread.
func slack() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if err != nil {
			return err
		}
		who := "other"
		if thread.Name() == strconv.Itoa(os.Getpid()) {
			who = "first"
		}
		fmt.Printf("%s %s\n", who, strings.TrimSpace(string(slack)))
	}
	return nil
}
