package stage

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSealRoundTrip(t *testing.T) {
	// Larger than any packet: that is what memory files are for.
	want := map[string]string{"a": strings.Repeat("x", 4*MaxPacket), "b": "\x00<>&é"}
	f, err := Seal("test", want)
	must(t, err)
	copied, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	var got map[string]string
	must(t, Unseal(f, &got))
	if got["a"] != want["a"] || got["b"] != want["b"] {
		t.Error("the value changed on its way")
	}
	if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Unseal did not close the file: %v", err)
	}
	var again map[string]string
	must(t, Unseal(os.NewFile(uintptr(copied), "again"), &again)) // whatever the offset
}

// Nobody can change a sealed value: neither grow, shrink, write nor unseal it.
func TestSealedStaysAsItIs(t *testing.T) {
	f, err := Seal("test", "value")
	must(t, err)
	defer f.Close()
	fd := int(f.Fd())
	if _, err := unix.Pwrite(fd, []byte("X"), 0); err != unix.EPERM {
		t.Errorf("write: %v", err)
	}
	if err := unix.Ftruncate(fd, 0); err != unix.EPERM {
		t.Errorf("shrink: %v", err)
	}
	if err := unix.Ftruncate(fd, 1<<20); err != unix.EPERM {
		t.Errorf("grow: %v", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE); err != unix.EPERM {
		t.Errorf("another seal: %v", err)
	}
	if _, err := unix.Mmap(fd, 0, 4, unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("a writable mapping")
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	must(t, err)
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("it is inherited by children")
	}
}

func memfile(t *testing.T, text string, with int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	must(t, err)
	f := os.NewFile(uintptr(fd), "test")
	_, err = f.WriteString(text)
	must(t, err)
	if with != 0 {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, with)
		must(t, err)
	}
	return f
}

func TestUnsealRefuses(t *testing.T) {
	plain, err := os.Create(t.TempDir() + "/plain")
	must(t, err)
	_, err = plain.WriteString(`"x"`)
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	for name, f := range map[string]*os.File{
		"nothing":       nil,
		"a plain file":  plain,
		"a pipe":        r,
		"no seals":      memfile(t, `"x"`, 0),
		"no write seal": memfile(t, `"x"`, seals&^unix.F_SEAL_WRITE),
		"can grow":      memfile(t, `"x"`, seals&^unix.F_SEAL_GROW),
		"can shrink":    memfile(t, `"x"`, seals&^unix.F_SEAL_SHRINK),
		"can be sealed": memfile(t, `"x"`, seals&^unix.F_SEAL_SEAL),
		"empty":         memfile(t, "", seals),
		"no JSON":       memfile(t, "{", seals),
		"wrong type":    memfile(t, "{}", seals),
		"over 16 MiB":   memfile(t, `"`+strings.Repeat("x", maxConfig)+`"`, seals),
	} {
		var s string
		if err := Unseal(f, &s); err == nil {
			t.Errorf("%s was accepted as %.10q", name, s)
		}
		if f != nil {
			if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s was left open", name)
			}
		}
	}
}

func TestSealRefusesWhatHasNoJSON(t *testing.T) {
	if _, err := Seal("test", make(chan int)); err == nil || !strings.Contains(err.Error(), "chan int") {
		t.Errorf("%v", err)
	}
}
