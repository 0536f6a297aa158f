package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

var uidmapPackage = Package{Debian: "uidmap", Fedora: "shadow-utils", Alpine: "shadow-uidmap", Arch: "shadow", Suse: "shadow"}

// IDMapTools probes newuidmap and newgidmap.
func (s *System) IDMapTools() []Finding {
	return []Finding{s.IDMapTool("newuidmap"), s.IDMapTool("newgidmap")}
}

// IDMapTool says whether name can gain the rights that it needs when the caller
// starts it, without starting it. Evidence is its path when it can.
func (s *System) IDMapTool(name string) Finding {
	f := Finding{Name: name}
	path := s.LookPath(name)
	if path == "" {
		f.Evidence, f.Fix = "not installed", s.Install(uidmapPackage)
		return f
	}
	f.Evidence, f.Fix = s.powerless(path)
	if f.Evidence == "" {
		f.OK, f.Evidence = true, path
	}
	return f
}

// powerless is why execve would not give path the rights of root or of a file
// capability (execve(2), capabilities(7)); "" when it would.
func (s *System) powerless(path string) (cause, fix string) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err.Error(), s.Install(uidmapPackage)
	}
	if s.UID == 0 {
		return "", "" // root has them without
	}
	if s.status("NoNewPrivs") == "1" {
		return fmt.Sprintf("this process has no_new_privs set, so %s gains no privilege", path),
			"start rc without it (systemd: NoNewPrivileges=no; containers: drop --security-opt no-new-privileges)"
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err == nil && fs.Flags&unix.ST_NOSUID != 0 {
		return path + " is on a file system mounted nosuid", "sudo mount -o remount,suid the file system, or install it elsewhere"
	}
	if st.Mode&unix.S_ISUID != 0 && st.Uid == 0 || hasFileCaps(path) {
		return "", ""
	}
	if st.Mode&unix.S_ISUID != 0 {
		return fmt.Sprintf("%s is set-uid but belongs to user %d, not to root", path, st.Uid), "sudo chown root " + path + " && sudo chmod u+s " + path
	}
	return path + " has neither the set-uid bit nor a file capability", "sudo chmod u+s " + path
}

// Tracer is the pid of who traces this process, "" when nobody does: a tracer without
// privilege keeps what is executed from gaining any (execve(2)).
func (s *System) Tracer() string {
	if pid := s.status("TracerPid"); pid != "0" {
		return pid
	}
	return ""
}

func hasFileCaps(path string) bool {
	n, err := unix.Getxattr(path, "security.capability", nil)
	return err == nil && n > 0
}
