package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// keyring NAME SECRET SERIAL...: looks for the key NAME of the caller, whose
// content is SECRET, through every keyring that a process has by name, and by the
// serial numbers, which a patient attacker finds by counting.
func keyring(args []string) {
	name, secret := args[0], args[1]
	// First: request_key leaves a negative key of that name, our own. Where the
	// user took the mask off, the kernel names the keys of this uid; no more.
	var st unix.Stat_t
	listed, err := os.ReadFile("/proc/keys")
	switch masked := unix.Stat("/proc/keys", &st) == nil && st.Rdev == unix.Mkdev(1, 3); {
	case masked && len(listed) > 0:
		breach("/proc/keys", "%s", listed)
	default:
		held("/proc/keys", fmt.Sprintf("masked %v, %v", masked, err))
	}
	for _, ring := range []struct {
		name string
		id   int
	}{{"thread", -1}, {"process", -2}, {"session", -3}, {"user", -4}, {"user-session", -5}} {
		id, err := unix.KeyctlSearch(ring.id, "user", name, 0)
		if err == nil {
			_, err = readKey(id, secret)
		}
		refused("search the "+ring.name+" keyring", err, "the caller's key")
	}
	id, err := unix.RequestKey("user", name, "", 0)
	if err == nil {
		_, err = readKey(id, secret)
	}
	refused("request_key", err, "the caller's key")
	for _, arg := range args[2:] {
		serial, err := strconv.Atoi(arg)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		bySerial(serial, name, secret)
	}
}

// bySerial treats a number as a key and as a keyring.
func bySerial(serial int, name, secret string) {
	_, err := readKey(serial, secret)
	refused("read by serial", err, "the caller's key")
	// A keyring's owner may read and link it: the default permissions of the
	// user's own keyring, whatever the user namespace.
	data, err := readRaw(serial)
	if err == nil {
		for n := 0; n+4 <= len(data); n += 4 {
			_, _ = readKey(int(binary.NativeEndian.Uint32(data[n:])), secret)
		}
	}
	_, err = unix.KeyctlInt(unix.KEYCTL_LINK, serial, -3, 0, 0)
	if err == nil {
		if id, err := unix.KeyctlSearch(-3, "user", name, 0); err == nil {
			if _, err := readKey(id, secret); err == nil {
				breach("link a keyring of the caller's", "the key's content through it")
				return
			}
		}
		err = fmt.Errorf("linked, but the key stays out of reach")
	}
	held("link by serial", err)
	_, err = unix.KeyctlInt(unix.KEYCTL_SETPERM, serial, 0x3f3f3f3f, 0, 0)
	refused("setperm by serial", err, "permissions of the caller's key changed")
	_, err = unix.KeyctlInt(unix.KEYCTL_REVOKE, serial, 0, 0, 0)
	refused("revoke by serial", err, "the caller's key was revoked")
	_, err = unix.KeyctlInt(unix.KEYCTL_CLEAR, serial, 0, 0, 0)
	refused("clear by serial", err, "the caller's keyring was emptied")
}

func readRaw(id int) ([]byte, error) {
	buf := make([]byte, 4096)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0)
	if err != nil {
		return nil, err
	}
	return buf[:min(n, len(buf))], nil
}

// readKey reads a key; its content being the secret is the breach.
func readKey(id int, secret string) ([]byte, error) {
	data, err := readRaw(id)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(data), secret) {
		breach("read a key", "%s", data)
		return data, nil
	}
	return nil, fmt.Errorf("key %d holds something else", id)
}
