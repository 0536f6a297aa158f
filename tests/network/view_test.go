package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what the keeper holds.
type usage struct {
	FDs, Threads int
	RSS          int // KiB of its own memory, without the program's file
	Children     int
}

func (u usage) String() string {
	return fmt.Sprintf("%d descriptors, %d threads, %d KiB, %d children", u.FDs, u.Threads, u.RSS, u.Children)
}

// look reads it from /proc; the user owns U0, so he may.
func look(t *testing.T, pid int) usage {
	t.Helper()
	var u usage
	if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
		u.FDs = len(fds)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("the keeper %d is gone: %v", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "Threads:":
			u.Threads = n
		case "RssAnon:":
			u.RSS = n
		}
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		data, _ := os.ReadFile(l)
		u.Children += len(bytes.Fields(data))
	}
	return u
}

// elsewhere lists the threads of the keeper that are not in our own network namespace:
// one in N0, and those that make sockets in containers.
func elsewhere(pid int) []string {
	var paths []string
	ours, _ := os.Readlink("/proc/self/ns/net")
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/net", pid))
	for _, path := range tasks {
		if theirs, err := os.Readlink(path); err == nil && theirs != ours {
			paths = append(paths, path)
		}
	}
	return paths
}

// links are the interfaces of N0 by kind, nil where there is none: N0 has the way out,
// or bridges. The keeper's threads come and go, so a look in vain is repeated.
func links(t *testing.T, pid int) map[string][]string {
	t.Helper()
	for range 5 {
		for _, path := range elsewhere(pid) {
			kinds, err := linksAt(pid, path)
			if err == nil && len(kinds["bridge"])+len(kinds["tun"]) > 0 {
				return kinds
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func linksAt(pid int, path string) (map[string][]string, error) {
	// The keeper is in U0: there the user has every capability.
	cmd := exec.Command("nsenter", "--preserve-credentials", fmt.Sprintf("--user=/proc/%d/ns/user", pid), "--net="+path,
		"ip", "-details", "-json", "link", "show")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("look into N0: %w", err)
	}
	var list []struct {
		IfName   string `json:"ifname"`
		LinkInfo struct {
			Kind string `json:"info_kind"`
		} `json:"linkinfo"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, err
	}
	kinds := map[string][]string{}
	for _, l := range list {
		kinds[l.LinkInfo.Kind] = append(kinds[l.LinkInfo.Kind], l.IfName)
	}
	return kinds, nil
}
