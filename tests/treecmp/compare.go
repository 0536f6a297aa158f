package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Options leave things out of the comparison.
type Options struct {
	NoMtime     bool
	Since       int64    // a later mtime (Unix seconds) is only "while unpacking": of folders that no layer names
	IgnoreXattr []string // prefixes
}

// inode names one file of a tree.
type inode struct{ dev, ino uint64 }

// Compare gives a line for each difference, and how many files A has.
func Compare(a, b string, o Options) ([]string, int, error) {
	left, err := read(a, o)
	if err != nil {
		return nil, 0, err
	}
	right, err := read(b, o)
	if err != nil {
		return nil, 0, err
	}
	var out []string
	for _, name := range union(left, right) {
		l, inLeft := left[name]
		r, inRight := right[name]
		switch {
		case !inLeft:
			out = append(out, fmt.Sprintf("%q: only in %s", name, b))
		case !inRight:
			out = append(out, fmt.Sprintf("%q: only in %s", name, a))
		default:
			for _, key := range union(l, r) {
				if l[key] != r[key] {
					out = append(out, fmt.Sprintf("%q: %s is %q and %q", name, key, l[key], r[key]))
				}
			}
		}
	}
	return out, len(left), nil
}

func union[V any](a, b map[string]V) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

// read describes every file of a tree: what is compared, by its name.
func read(root string, o Options) (map[string]map[string]string, error) {
	tree := make(map[string]map[string]string)
	groups := make(map[inode][]string)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		tree[name], err = describe(path, &st, o)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			id := inode{st.Dev, st.Ino}
			groups[id] = append(groups[id], name)
		}
		return err
	})
	for _, names := range groups {
		sort.Strings(names)
		for _, n := range names {
			if len(names) > 1 {
				tree[n]["names of the file"] = strings.Join(names, " ")
			}
		}
	}
	return tree, err
}

func describe(path string, st *unix.Stat_t, o Options) (map[string]string, error) {
	d := map[string]string{
		"mode":  fmt.Sprintf("%07o", st.Mode),
		"owner": fmt.Sprintf("%d:%d", st.Uid, st.Gid),
	}
	switch {
	case o.NoMtime:
	case o.Since > 0 && st.Mtim.Sec >= o.Since:
		d["mtime"] = "while unpacking"
	default:
		d["mtime"] = fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		d["size"] = fmt.Sprint(st.Size)
		d["sha256"], err = sum(path)
	case unix.S_IFLNK:
		d["target"], err = os.Readlink(path)
	case unix.S_IFCHR, unix.S_IFBLK:
		d["device"] = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if err != nil {
		return d, err
	}
	return d, xattrs(path, d, o)
}

func sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func xattrs(path string, d map[string]string, o Options) error {
	size, err := unix.Llistxattr(path, nil)
	if err != nil || size == 0 {
		if err == unix.ENOTSUP || err == unix.EPERM {
			return nil
		}
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(path, list); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if name == "" || ignored(name, o.IgnoreXattr) {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		d["xattr "+name] = string(value[:n])
	}
	return nil
}

func ignored(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
