// payload is a service that runs in a container: it speaks sd_notify(3), answers on
// the sockets that it is passed, and looks at what it should not have.
//
//	payload notify [MESSAGE...]  says each, "\n" for a line feed, and waits for SIGTERM
//	payload serve                answers each connection of LISTEN_FDS with what it sees
//	payload fds                  prints its descriptors
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	switch os.Args[1] {
	case "notify":
		for _, m := range os.Args[2:] {
			if d, err := time.ParseDuration(m); err == nil {
				time.Sleep(d)
				continue
			}
			say(strings.ReplaceAll(m, `\n`, "\n"))
		}
	case "serve":
		serve()
	case "fds":
		fmt.Println(descriptors())
		return
	}
	<-signals
	fmt.Println("payload: SIGTERM")
	os.Exit(7)
}

// say sends one datagram, with a descriptor beside it as a service that stores it.
func say(text string) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		defer syscall.Close(fd)
		to := &syscall.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
		err = syscall.Sendmsg(fd, []byte(text), syscall.UnixRights(0), to, 0)
	}
	fmt.Printf("payload: said %q %v\n", text, err)
}

// descriptors lists what this process was born with, Go's own poller left out.
func descriptors() string {
	var found []string
	for fd := range 100 {
		link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err == nil && !strings.HasPrefix(link, "anon_inode:") {
			kind, _, _ := strings.Cut(link, ":")
			found = append(found, fmt.Sprintf("%d=%s", fd, kind))
		}
	}
	return strings.Join(found, " ")
}

func serve() {
	born := descriptors()
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	told := fmt.Sprintf("pid %d LISTEN_PID %s LISTEN_FDS %d LISTEN_FDNAMES %s born %s\n",
		os.Getpid(), os.Getenv("LISTEN_PID"), n, os.Getenv("LISTEN_FDNAMES"), born)
	fmt.Print("payload: ", told)
	for fd := 3; fd < 3+n; fd++ {
		flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
		told += fmt.Sprintf("%d nonblock %v\n", fd, flags&syscall.O_NONBLOCK != 0)
	}
	for fd := 3; fd < 3+n; fd++ {
		l, err := net.FileListener(os.NewFile(uintptr(fd), "socket"))
		if err != nil {
			fmt.Println("payload:", err)
			os.Exit(1)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(told))
				_ = c.Close()
			}
		}()
	}
}
