package record

import (
	"io/fs"
	"os"
	"syscall"
)

// TreeSize is how many bytes the files below dir have, a file with several names
// counted once, as Docker measures what a container wrote (moby,
// pkg/directory: calcSize). The tree may be a payload's, which changes it
// meanwhile: os.Root keeps the walk inside. errors.Is(err, fs.ErrPermission)
// where a folder belongs to a subordinate id: then who is root of the user's
// namespace can tell.
func TreeSize(dir string) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	var sum int64
	seen := map[[2]uint64]bool{}
	err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) || err == nil && d.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if ok && st.Nlink > 1 {
			key := [2]uint64{st.Dev, st.Ino}
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		sum += fi.Size()
		return nil
	})
	return sum, err
}
