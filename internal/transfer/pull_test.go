package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containers/image/v5/types"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/tests/images"
)

// refusals of the catalogue; every other image is taken.
var refusals = map[string]string{
	"evil/dotdot": "leads outside of the layer", "evil/hardlink": "leads outside of the layer", "evil/whiteoutdot": "is not a whiteout",
	"evil/symlink": "unpack a layer", "evil/abssymlink": "unpack a layer", "evil/hardlinkvia": "unpack a layer", "evil/whiteout": "unpack a layer",
	"evil/diffid": "does not match", "test/foreignindex": "choose with --platform one of: linux/s390x",
}

func TestPullCatalogue(t *testing.T) {
	w := newWorld(t)
	addr := registry(t)
	all, _ := images.Catalog()
	w.quiet = true
	for _, name := range images.Names(all) {
		ref := addr + "/" + name
		err := w.pull(ref)
		if why, evil := refusals[name]; evil {
			w.refused(err, "pull", name, why)
			if hint.ExitCode(err) != 1 {
				t.Errorf("%s: exit code %d, Docker's is 1", name, hint.ExitCode(err))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := w.out.String() + w.report.String(); got != ref+":latest\n" {
			t.Errorf("%s: -q printed %q", name, got)
		}
		w.clean()
		if img := w.image(ref); len(img.Layers) == 0 || !slices.Contains(img.RepoDigests, ref+"@"+all[name].Digest()) {
			t.Errorf("%s: record %+v", name, img)
		}
	}
	if _, err := os.Lstat("/tmp/rc-pwned"); err == nil {
		t.Error("a layer wrote /tmp/rc-pwned on the host")
	}
	// Removing everything leaves nothing.
	store, _ := record.Open(w.root)
	list, _ := store.Images()
	for _, img := range list {
		w.must(w.rmi(true, img.ID))
	}
	for _, dir := range []string{"images", "image-names", "storage/rc/dir", "cache/blobs", "cache/tmp", "trash"} {
		if left, _ := os.ReadDir(filepath.Join(w.root, dir)); len(left) > 0 {
			t.Errorf("%s is not empty: %v", dir, left[0])
		}
	}
}

func TestPullSaysWhatDockerSays(t *testing.T) {
	w := newWorld(t)
	ref := registry(t, "library/alpine", "library/busybox") + "/library/alpine"
	w.must(w.pull(ref))
	digest := w.image(ref).Digest
	want := "Digest: " + digest + "\nStatus: Downloaded newer image for " + ref + ":latest\n" + ref + ":latest\n"
	if w.out.String() != want {
		t.Errorf("printed %q, want %q", w.out.String(), want)
	}
	if report := w.report.String(); !strings.HasPrefix(report, "Using default tag: latest\n") || !strings.Contains(report, "Copying blob") || strings.Contains(report, "\x1b") {
		t.Errorf("progress without a terminal: %q", report)
	}
	w.must(w.pull(ref))
	if !strings.Contains(w.out.String(), "Status: Image is up to date for") || strings.Contains(w.report.String(), "Copying blob") {
		t.Errorf("second pull: %q %q", w.out.String(), w.report.String())
	}
	w.must(w.pull(ref + "@" + digest))
	w.must(w.pull(ref + ":ignored@" + digest)) // as Docker: the digest decides
	w.refused(w.pull(ref+":nosuchtag"), "nosuchtag", "check the name, the tag or the digest")
	w.refused(w.pull(ref+"@sha256:"+strings.Repeat("0", 64)), "check the name, the tag or the digest")
	w.refused(w.pull("Not/A/Name!"), "invalid reference format")
	w.refused(w.pull("127.0.0.1:1/x"), "connection refused", "check the registry's name")
	w.verify = types.OptionalBoolTrue // asked for: on loopback the default would try plain HTTP
	w.refused(w.pull(ref+":other"), "plain HTTP", "--tls-verify=false")
}

func TestFaultyRegistries(t *testing.T) {
	big := catalogue(t, "test/big")
	for fault, why := range map[images.Fault]string{
		images.CorruptLayer: "does not match its digest", images.WrongManifest: "", images.HugeManifest: "too large", images.Unauthorized: "rc login 127.0.0.1",
		images.Broken: "500", images.NotAManifest: "", images.TruncatedLayer: "unexpected EOF",
	} {
		t.Run(string(fault), func(t *testing.T) {
			w := newWorld(t)
			ref, _ := serve(t, fault, big)
			if fault == images.WrongManifest {
				ref += "@" + big.Digest()
			}
			err := w.pull(ref)
			if fault == images.TruncatedLayer && err != nil { // keeps what it has to go on from
				return
			}
			w.refused(err, why)
			if left, _ := os.ReadDir(filepath.Join(w.root, "cache/blobs")); fault == images.CorruptLayer && len(left) > 0 {
				for _, l := range left {
					t.Logf("cached: %s", l.Name())
				}
			}
		})
	}
	for _, fault := range []images.Fault{images.Flaky, images.Overloaded, images.Sound} {
		t.Run("survives "+string(fault), func(t *testing.T) {
			w := newWorld(t)
			ref, _ := serve(t, fault, big)
			w.must(w.pull(ref))
			w.clean()
			if left, _ := os.ReadDir(filepath.Join(w.root, "cache/blobs")); len(left) > 0 {
				t.Errorf("cached blobs are left: %v", left)
			}
		})
	}
}

func TestTooManyLayers(t *testing.T) {
	w := newWorld(t)
	i := images.Image{}
	for range maxLayers + 1 {
		i.Layers = append(i.Layers, images.MakeLayer(images.Plain, images.File("f", 0o644, "x")))
	}
	ref, srv := serve(t, images.Sound, i.Build())
	w.refused(w.pull(ref), "501 layers", "takes 500")
	if n := srv.Requests("/blobs/"); n > 1 {
		t.Errorf("%d blobs were fetched for nothing", n)
	}
}

func TestPlatforms(t *testing.T) {
	w := newWorld(t)
	addr := registry(t, "test/multi", "test/foreign", "test/foreignindex", "test/windows")
	w.must(w.pull(addr + "/test/multi"))
	if img := w.image(addr + "/test/multi"); img.Architecture != hostArch || img.OS != "linux" {
		t.Errorf("took %s/%s", img.OS, img.Architecture)
	}
	w.must(w.pull(addr + "/test/foreign")) // recorded, for run to refuse
	if img := w.image(addr + "/test/foreign"); img.Architecture != "s390x" {
		t.Errorf("recorded %s", img.Architecture)
	}
	w.must(w.pull(addr + "/test/windows"))
	if img := w.image(addr + "/test/windows"); img.OS != "windows" {
		t.Errorf("recorded %s", img.OS)
	}
	w.platform = "linux/s390x"
	w.must(w.pull(addr + "/test/multi"))
	if img := w.image(addr + "/test/multi"); img.Architecture != "s390x" {
		t.Errorf("--platform took %s", img.Architecture)
	}
	w.must(w.pull(addr + "/test/foreignindex"))
	w.platform = "linux/arm64"
	w.refused(w.pull(addr+"/test/foreign"), "linux/s390x, not for linux/arm64")
	w.refused(w.pull(addr+"/test/multi"), "no image for linux/arm64", "linux/"+hostArch)
	w.platform = "plan9"
	w.refused(w.pull(addr+"/test/multi"), "OS/ARCH")
}

// A full disk is one line, and its layers do not stay. The disk is a tmpfs.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.must(os.Mkdir(w.root, 0o700))
	if err := unix.Mount("tmpfs", w.root, "tmpfs", 0, "size=24m"); err != nil {
		t.Skip("needs CAP_SYS_ADMIN over a mount namespace: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(w.root, unix.MNT_DETACH) })
	ref, _ := serve(t, images.Sound, catalogue(t, "test/big"))
	err := w.pull(ref)
	w.refused(err, "make room")
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("the errno is lost: %v", err)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	w := newWorld(t)
	w.must(os.Mkdir(w.root, 0o700))
	if err := unix.Mount("tmpfs", w.root, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Skip("needs CAP_SYS_ADMIN over a mount namespace: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(w.root, unix.MNT_DETACH) })
	err := w.do(func(context.Context, *Session) error { return nil })
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "--root DIR") {
		t.Errorf("a read-only root: %v", err)
	}
}
