package layers

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

func archiveOf(t *testing.T, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func here(t *testing.T) policy {
	t.Helper()
	return policy{format: record.FormatOverlay, ids: idRanges{uid: []idRange{{0, 1}, {1, 65535}}, gid: []idRange{{0, 65536}}}}
}

// through filters an archive and lists what comes out.
func through(t *testing.T, p policy, in []byte) ([]*tar.Header, error) {
	t.Helper()
	f := newFilter(p, t.TempDir())
	r := f.start(bytes.NewReader(in))
	var out []*tar.Header
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err != nil {
			break
		}
		out = append(out, h)
		_, _ = io.Copy(io.Discard, tr)
	}
	_, _ = io.Copy(io.Discard, r)
	_, err := f.wait()
	return out, err
}

func names(list []*tar.Header) string {
	var b strings.Builder
	for _, h := range list {
		fmt.Fprintf(&b, "%s ", h.Name)
	}
	return strings.TrimSpace(b.String())
}

func TestForbiddenXattrsAreDropped(t *testing.T) {
	x := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[xattrPrefix+kv[i]] = kv[i+1]
		}
		return m
	}
	out, err := through(t, here(t), archiveOf(t,
		&tar.Header{Name: "f", PAXRecords: x("user.overlay.metacopy", "", "user.overlay.redirect", "/etc", "user.colour", "blue",
			"trusted.overlay.opaque", "y", "user.overlay.overlay.opaque", "y", "user.fuseoverlayfs.origin", "x", overrideXattr, "0:0:0777", "security.capability", "\x01\x00")},
		&tar.Header{Name: "d/", Typeflag: tar.TypeDir, PAXRecords: x("user.overlay.opaque", "y")}))
	if err != nil || len(out) != 2 {
		t.Fatal(out, err)
	}
	var left []string
	for k := range out[0].PAXRecords {
		left = append(left, strings.TrimPrefix(k, xattrPrefix))
	}
	if len(left) != 2 || out[0].PAXRecords[xattrPrefix+"user.colour"] != "blue" || out[0].PAXRecords[xattrPrefix+"security.capability"] != "\x01\x00" {
		t.Errorf("left: %q", left)
	}
	if len(out[1].PAXRecords) != 0 {
		t.Errorf("folder: %q", out[1].PAXRecords)
	}
}

func TestNamesStayInside(t *testing.T) {
	for name, want := range map[string]string{
		"/etc/x": "etc/x", "./a/./b": "a/b", "a/../b": "b", "/../x": "x", "a//b": "a/b",
		"../x": "", "a/../../x": "", "..": "", "./..": "",
	} {
		out, err := through(t, here(t), archiveOf(t, &tar.Header{Name: name}))
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "leads outside") {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		if err != nil || names(out) != want {
			t.Errorf("%q became %q, %v", name, names(out), err)
		}
	}
	_, err := through(t, here(t), archiveOf(t, &tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "a/../../etc/passwd"}))
	if err == nil || !strings.Contains(err.Error(), "hard link") {
		t.Errorf("hard link: %v", err)
	}
	out, err := through(t, here(t), archiveOf(t, &tar.Header{Name: "s", Typeflag: tar.TypeSymlink, Linkname: "../../anything"}))
	if err != nil || out[0].Linkname != "../../anything" {
		t.Errorf("a symbolic link is text: %v %v", out, err)
	}
}

func TestWhatIsLeftOut(t *testing.T) {
	out, err := through(t, here(t), archiveOf(t,
		&tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		&tar.Header{Name: "whiteout", Typeflag: tar.TypeChar}, // 0:0 would hide a file of a lower layer
		&tar.Header{Name: "disk", Typeflag: tar.TypeBlock},
		&tar.Header{Name: "fifo", Typeflag: tar.TypeFifo},
		&tar.Header{Name: "d/kept"}, &tar.Header{Name: "d/.wh.kept"}, &tar.Header{Name: "d/.wh.gone"}, &tar.Header{Name: "d/.wh..wh..opq"}))
	if err != nil || names(out) != "fifo d/kept d/.wh.gone d/.wh..wh..opq" {
		t.Errorf("%q, %v", names(out), err)
	}
	for _, bad := range []string{".wh.", ".wh..", ".wh...", "d/.wh."} {
		if _, err := through(t, here(t), archiveOf(t, &tar.Header{Name: bad})); err == nil || !strings.Contains(err.Error(), "not a whiteout") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOwners(t *testing.T) {
	p := here(t)
	if _, err := through(t, p, archiveOf(t, &tar.Header{Name: "f", Uid: 65535, Gid: 65535})); err != nil {
		t.Error(err)
	}
	_, err := through(t, p, archiveOf(t, &tar.Header{Name: "f", Uid: 70000}))
	if err == nil || !strings.Contains(err.Error(), `"f" belongs to 70000:0`) || !strings.Contains(err.Error(), "/etc/subuid") {
		t.Errorf("an id out of range: %v", err)
	}
	p.singleID = true
	out, err := through(t, p, archiveOf(t, &tar.Header{Name: "f", Uid: 70000, Gid: 5, Mode: 0o4755}, &tar.Header{Name: "mine"},
		&tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "f", Uid: 7}))
	if err != nil || out[0].Uid != 0 || out[0].PAXRecords[xattrPrefix+overrideXattr] != "70000:5:04755" || len(out[1].PAXRecords)+len(out[2].PAXRecords) != 0 {
		t.Errorf("single id: %+v %v", out, err)
	}
}

func TestDamagedArchives(t *testing.T) {
	whole := archiveOf(t, &tar.Header{Name: "f", Size: 5000})
	_, err := through(t, here(t), whole[:3000])
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("truncated: %v", err)
	}
	broken := bytes.Clone(whole)
	broken[100] ^= 1 // the mode, so that the checksum is wrong
	if _, err := through(t, here(t), broken); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("broken: %v", err)
	}
	if _, err := through(t, here(t), append(whole, make([]byte, maxTrailer+1<<20)...)); err == nil || !strings.Contains(err.Error(), "end mark") {
		t.Errorf("a long trailer: %v", err)
	}
	huge := archiveOf(t, &tar.Header{Name: "pax", Size: 2 << 20})
	huge[156] = 'x' // an extended header of 2 MiB (pax(1))
	checksum(huge)
	if _, err := through(t, here(t), huge); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a header of 2 MiB: %v", err)
	}
	var layer *LayerError
	if !errors.As(err, &layer) {
		t.Errorf("not a LayerError: %T", err)
	}
}

// A header that promises more than the disk holds is refused before a byte is
// written, be it a real size or the logical size of a sparse file.
func TestBombs(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "huge", Size: 1 << 60}); err != nil {
		t.Fatal(err)
	}
	_ = w.Flush()
	_, err := through(t, here(t), b.Bytes())
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("a file of 2^60 bytes: %v", err)
	}
	// Old GNU sparse: 4 bytes of data, 2^60 of name (tar(5)).
	sparse := archiveOf(t, &tar.Header{Name: "s", Size: 4, Format: tar.FormatGNU})
	sparse[156] = 'S'
	copy(sparse[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, 4))
	copy(sparse[483:], "\x80\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00")
	checksum(sparse)
	if _, err := through(t, here(t), sparse); err == nil || !strings.Contains(err.Error(), "sparse file") {
		t.Errorf("a sparse file of 2^60 bytes: %v", err)
	}
}

// checksum makes an edited first header valid again.
func checksum(b []byte) {
	sum := 0
	copy(b[148:], "        ")
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("no tar"))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := through(t, here(t), in)
		if err != nil {
			return
		}
		for _, h := range out {
			if strings.HasPrefix(h.Name, "../") || strings.HasPrefix(h.Name, "/") || h.Typeflag == tar.TypeChar {
				t.Errorf("let %q through", h.Name)
			}
		}
	})
}
