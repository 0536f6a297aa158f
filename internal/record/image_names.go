package record

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// A name is the file image-names/<escaped reference>; its first line is the
// image's id and its second the reference. Moving a name to another image is
// one rename, and no other file has to agree with it.

// maxNameFile leaves room for the temporary file's affixes below NAME_MAX (255).
const maxNameFile = 200

// aliasMark begins the file that says what a short name stood for when it was
// pulled through registries.conf; no reference begins with it.
const aliasMark = "~"

// escaper does what url.PathEscape does for the characters that a reference can
// hold (net/url would bring its own weight into rc).
var escaper = strings.NewReplacer("/", "%2F", "[", "%5B", "]", "%5D")

// nameFile is the file name of a reference. A reference that is too long for a
// file name is hashed; readName compares the reference inside the file.
func nameFile(ref string) string {
	name := escaper.Replace(ref)
	if len(name) <= maxNameFile {
		return name
	}
	h := fnv.New128a()
	_, _ = h.Write([]byte(ref))
	return fmt.Sprintf("%%%x", h.Sum(nil))
}

// candidates lists what a reference may stand for, most likely first: Docker's
// reading; the registry that registries.conf named when it was pulled; podman's
// name for what was built or loaded here.
func (s *Store) candidates(typed string, r Ref) []string {
	lookup := func(r Ref) string {
		if r.Digest != "" {
			r.Tag = "" // as Docker: the digest decides
		}
		return r.String()
	}
	list := []string{lookup(r)}
	if !IsShort(typed) {
		return list
	}
	if full, err := s.shortAlias(r); err == nil {
		a := r
		a.Name = full
		list = append(list, lookup(a))
	}
	local := r
	local.Name = "localhost/" + r.Repository()
	return append(list, lookup(local))
}

func (s *Store) shortAlias(r Ref) (string, error) {
	b, err := linux.ReadFile(s.Path("image-names", aliasMark+nameFile(r.Repository())))
	return strings.TrimSpace(string(b)), err
}

// SetShortAlias notes that the short name of a pull (`fedora`) was taken from
// another repository than Docker's; fullName has neither tag nor digest.
func (s *Store) SetShortAlias(short Ref, fullName string) error {
	path := s.Path("image-names", aliasMark+nameFile(short.Repository()))
	if fullName == short.Name {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return atomicfile.Write(path, []byte(fullName+"\n"), 0o600, atomicfile.Fast)
}

func (s *Store) readName(ref string) (string, error) {
	id, stored, err := parseNameFile(s.Path("image-names", nameFile(ref)))
	if err != nil {
		return "", err
	}
	if stored != ref {
		return "", fs.ErrNotExist
	}
	return id, nil
}

func parseNameFile(path string) (id, ref string, err error) {
	b, err := linux.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	id, rest, _ := strings.Cut(string(b), "\n")
	ref, _, _ = strings.Cut(rest, "\n")
	if len(id) != 64 || !isHex(id) || ref == "" {
		return "", "", fmt.Errorf("%s is damaged", path)
	}
	return id, ref, nil
}

// SetName points a full reference (tag or digest included) at an image, which
// must exist: ErrNoImage when it was removed meanwhile.
func (s *Store) SetName(ref, id string) error {
	lock, err := s.lockImage(id, unix.LOCK_SH, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := os.Lstat(s.Path("images", id, "image.json")); err != nil {
		return noImage(id)
	}
	return atomicfile.Write(s.Path("image-names", nameFile(ref)), []byte(id+"\n"+ref+"\n"), 0o600, atomicfile.Durable)
}

// ImageNames reads every name: id → references, sorted.
func (s *Store) ImageNames() (map[string][]string, error) {
	entries, err := os.ReadDir(s.Path("image-names"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := make(map[string][]string)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), aliasMark) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if id, ref, err := parseNameFile(s.Path("image-names", e.Name())); err == nil {
			names[id] = append(names[id], ref)
		}
	}
	for _, list := range names {
		sort.Strings(list)
	}
	return names, nil
}

// NamesOf lists the references of one image, digests included.
func (s *Store) NamesOf(id string) ([]string, error) {
	names, err := s.ImageNames()
	return names[id], err
}

// Tag gives an image a further name, as `docker tag` does; an image that had
// the name loses it.
func (s *Store) Tag(source, target string) error {
	id, err := s.ImageID(source)
	if err != nil {
		return err
	}
	r, err := ParseRef(target)
	if err == nil && r.Digest != "" {
		err = fmt.Errorf("%w: a name with a digest cannot be given", ErrBadRef)
	}
	if err != nil {
		return hint.New(fmt.Sprintf("tag %q", target), err, "a name looks like NAME[:TAG]")
	}
	r = r.WithDefaultTag()
	if err := s.SetName(r.String(), id); err != nil {
		return err
	}
	_ = s.AppendEvent("image", "tag", "sha256:"+id, map[string]string{"name": r.Familiar()})
	return nil
}

// Untag takes a name away and says what it was in full. ErrNoImage when there
// is no such name.
func (s *Store) Untag(ref string) (string, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return "", hint.New(fmt.Sprintf("untag %q", ref), err, "")
	}
	for _, full := range s.candidates(ref, r.WithDefaultTag()) {
		if _, err := s.readName(full); err == nil {
			return full, os.Remove(s.Path("image-names", nameFile(full)))
		}
	}
	return "", noImage(ref)
}
