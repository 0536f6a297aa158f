package layers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	graphdriver "github.com/containers/storage/drivers"
	"github.com/containers/storage/drivers/vfs"
	"github.com/containers/storage/pkg/archive"
	"github.com/containers/storage/pkg/chrootarchive"
	"github.com/containers/storage/pkg/idtools"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// driverName is the folder of our layers below the store and the name under
// which containers/storage knows the driver.
const driverName = "rc"

// driver keeps each layer as a plain folder that holds that layer alone.
//
// It is not the library's overlay driver, because that one mounts: it probes
// with test mounts at every boot, refuses network file systems and overlay on
// overlay, and makes its home a private mount. rc mounts layers itself (package
// fuse) and needs a place to unpack and nothing more. It embeds the library's
// vfs driver for the house-keeping (the interface names types of internal
// packages), and never lets it copy a parent.
//
// Unpacking is filtered here, below the library's digests and tar-split: what
// was pulled is recorded byte for byte, so a layer that the filter altered is
// still pushed and saved as the same bytes (tested).
type driver struct {
	*vfs.Driver
	home   string
	policy policy
}

func init() { graphdriver.MustRegister(driverName, initDriver) }

func initDriver(home string, options graphdriver.Options) (graphdriver.Driver, error) {
	p, err := parsePolicy(options.DriverOptions)
	if err != nil {
		return nil, err
	}
	options.DriverOptions = nil // vfs refuses what it does not know
	inner, err := vfs.Init(home, options)
	if err != nil {
		return nil, err
	}
	base, ok := inner.(*vfs.Driver)
	if !ok {
		return nil, fmt.Errorf("containers/storage's vfs driver is a %T", inner)
	}
	return &driver{Driver: base, home: home, policy: p}, nil
}

// policy says how layers are unpacked here; it reaches the driver as options.
type policy struct {
	format   string // record.FormatOverlay or FormatAufs
	singleID bool
	ids      idRanges
}

func (p policy) options() []string {
	return []string{"rc.format=" + p.format, "rc.singleid=" + strconv.FormatBool(p.singleID)}
}

func parsePolicy(options []string) (policy, error) {
	p := policy{format: record.FormatOverlay}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "rc.format":
			p.format = value
		case "rc.singleid":
			p.singleID = value == "true"
		default:
			return p, fmt.Errorf("unknown option %q", o)
		}
	}
	ids, err := readIDRanges()
	p.ids = ids
	return p, err
}

// String names the driver; the library derives file names from it.
func (d *driver) String() string { return driverName }

// dir is where vfs keeps a layer.
func (d *driver) dir(id string) string { return filepath.Join(d.home, "dir", filepath.Base(id)) }

// Create makes an empty layer folder; its root looks like the parent's root.
func (d *driver) Create(id, parent string, opts *graphdriver.CreateOpts) error {
	if err := d.Driver.Create(id, "", opts); err != nil || parent == "" {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(d.dir(parent), &st); err != nil {
		return &os.PathError{Op: "stat", Path: d.dir(parent), Err: err}
	}
	if err := os.Chown(d.dir(id), int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(d.dir(id), st.Mode&0o7777)
}

// CreateReadWrite is Create: no container lives in this store.
func (d *driver) CreateReadWrite(id, parent string, opts *graphdriver.CreateOpts) error {
	return d.Create(id, parent, opts)
}

// CreateFromTemplate would copy a layer for other ID maps, which never happens:
// a layer stands on disk as U0 sees it.
func (d *driver) CreateFromTemplate(string, string, *idtools.IDMappings, string, *idtools.IDMappings, *graphdriver.CreateOpts, bool) error {
	return errors.ErrUnsupported
}

// Diff, Changes and DiffSize compare mounted trees in other drivers. Here every
// layer came as a stream whose tar-split is kept, and the library uses that.
func (d *driver) Diff(id string, _ *idtools.IDMappings, _ string, _ *idtools.IDMappings, _ string) (io.ReadCloser, error) {
	return nil, fmt.Errorf("layer %.12s: the record of its archive is missing: %w", id, os.ErrNotExist)
}

// Changes is not needed, see Diff.
func (d *driver) Changes(string, *idtools.IDMappings, string, *idtools.IDMappings, string) ([]archive.Change, error) {
	return nil, errors.ErrUnsupported
}

// DiffSize is not needed, see Diff.
func (d *driver) DiffSize(string, *idtools.IDMappings, string, *idtools.IDMappings, string) (int64, error) {
	return -1, errors.ErrUnsupported
}

// ApplyDiff unpacks one uncompressed layer through the filter, in a process
// that has made the layer's folder its root: no name in a layer leads outside.
func (d *driver) ApplyDiff(id, _ string, options graphdriver.ApplyDiffOpts) (int64, error) {
	f := newFilter(d.policy, d.dir(id))
	stream := f.start(options.Diff)
	whiteouts := archive.AUFSWhiteoutFormat
	if d.policy.format == record.FormatOverlay {
		whiteouts = archive.OverlayWhiteoutFormat
	}
	err := chrootarchive.UntarUncompressed(stream, d.dir(id), &archive.TarOptions{
		WhiteoutFormat: whiteouts,
		InUserNS:       true,
		NoLchown:       d.policy.singleID,
	})
	_ = stream.Close()
	size, filterErr := f.wait()
	if filterErr != nil {
		return 0, filterErr // what the child says then is only a consequence
	}
	if err != nil {
		return 0, unpackError(err)
	}
	return size, syncLayer(d.dir(id))
}

// syncLayer brings an unpacked layer to the disk before the library notes that it
// is complete: its notes are synced, and after a power cut they would vouch for
// files without bytes, for this image and for each later one with the same layer.
// One syncfs(2) costs less than an fsync for each file, though it waits for other
// people's files too.
func syncLayer(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}

var childOutput = regexp.MustCompile(`(?s)unpacking failed \(error: .*?; output: (.*?)\s*\)(?:\n.*)?$`)

// unpackError takes the one useful line out of what storage-untar printed, and
// gives back the errno that it names.
func unpackError(err error) error {
	m := childOutput.FindStringSubmatch(err.Error())
	if m == nil || m[1] == "" {
		return &LayerError{Err: err}
	}
	text := strings.ReplaceAll(m[1], "\n", " ")
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.ENAMETOOLONG, unix.EINVAL, unix.EPERM} {
		if rest, ok := strings.CutSuffix(text, ": "+errno.Error()); ok {
			return &LayerError{Err: fmt.Errorf("%s: %w", rest, errno)}
		}
	}
	return &LayerError{Err: errors.New(text)}
}

// LayerError is a layer that cannot be unpacked; its cause is in the layer or
// in the disk, not in the way it came.
type LayerError struct{ Err error }

func (e *LayerError) Error() string { return "unpack a layer: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *LayerError) Unwrap() error { return e.Err }
