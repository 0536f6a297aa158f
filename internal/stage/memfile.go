package stage

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/lazyjson"
	"github.com/rc-containers/rc/internal/linux"
)

const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// maxConfig bounds a configuration in a memory file, in bytes.
const maxConfig = 16 << 20

// Seal encodes v into a memory file that nobody can change afterwards.
func Seal(name string, v any) (*os.File, error) {
	data, err := Encode(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return SealBytes(name, data)
}

// SealBytes is Seal of what Encode made: for bytes that are kept elsewhere, too.
func SealBytes(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(data)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	return f, nil
}

// Unseal decodes what Seal made and closes f. A file that can still be changed
// is refused: its sender could swap the text after it was checked.
func Unseal(f *os.File, v any) error {
	if f == nil {
		return errors.New("the configuration did not come")
	}
	defer f.Close()
	data, err := linux.ReadSealed(f, maxConfig)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	return Decode(data, v)
}

// Encode is JSON; behind a NUL, which JSON never holds, come the strings that it
// cannot carry (rawbytes.go).
func Encode(v any) ([]byte, error) {
	data, err := lazyjson.Marshal(v)
	if err != nil || !bytes.Contains(data, []byte(`\ufffd`)) { // the encoder's mark of bytes that are no UTF-8
		return data, err
	}
	raw, err := lazyjson.Marshal(rawStrings(v))
	return append(append(data, 0), raw...), err
}

// Decode reads what Encode made.
func Decode(data []byte, v any) error {
	text, rest, beside := bytes.Cut(data, []byte{0})
	if err := lazyjson.Unmarshal(text, v); err != nil || !beside {
		return err
	}
	var raw [][]byte
	if err := lazyjson.Unmarshal(rest, &raw); err != nil {
		return err
	}
	if !restoreStrings(v, raw) {
		return errors.New("more raw strings than the configuration has places for")
	}
	return nil
}
