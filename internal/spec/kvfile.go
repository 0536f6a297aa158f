package spec

import (
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rc-containers/rc/internal/hint"
)

// maxFile bounds what is read from a file that a flag names.
const maxFile = 4 << 20

// readKeyValues reads an --env-file or a --label-file by Docker's rules
// (docker/cli, pkg/kvfile): UTF-8, a line each, leading white space and a byte
// order mark dropped, "#" lines and empty lines skipped, no quotes, no escapes,
// no expansion; white space in a value is the value's. A line without "=" is
// given to alone, which returns what stands for it, "" for nothing.
func readKeyValues(flag, path string, alone func(key string) string) ([]string, error) {
	data, err := readFlagFile(flag, path)
	if err != nil {
		return nil, err
	}
	var out []string
	n := 0
	for line := range strings.SplitSeq(strings.TrimPrefix(string(data), "\ufeff"), "\n") {
		n++
		line = strings.TrimSuffix(line, "\r")
		if !utf8.ValidString(line) {
			return nil, refuse(flag, path, "write the file in UTF-8", "line %d is not UTF-8", n)
		}
		if strings.Contains(line, "\x00") {
			return nil, refuse(flag, path, "is it the right file?", "line %d holds a NUL byte", n)
		}
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		key, _, hasValue := strings.Cut(line, "=")
		switch {
		case key == "":
			return nil, refuse(flag, path, "write KEY=VALUE", "line %d has no key", n)
		case strings.ContainsAny(key, " \t\x00"):
			return nil, refuse(flag, path, "write KEY=VALUE", "line %d: the key %s contains white space", n, quoted(key))
		case !hasValue:
			line = alone(key)
		}
		if line != "" {
			out = append(out, line)
		}
	}
	return out, nil
}

// readFlagFile reads a file that a flag names.
func readFlagFile(flag, path string) ([]byte, error) {
	// The size is asked for first: a disk image named by mistake must not be read
	// into memory. A FIFO has none, so <(command) works.
	fi, err := os.Stat(path)
	if err == nil && fi.Size() > maxFile {
		return nil, refuse(flag, path, "is it the right file?", "larger than 4 MiB")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, badFlag(flag, path, hint.Cause(err), "name a file that you can read")
	}
	return data, nil
}

// labels merges the image's labels, --label-file and --label, the later ones
// winning, and reads --annotation.
func (b *builder) labels() error {
	b.plan.Labels = map[string]string{}
	for k, v := range b.img.Labels {
		b.plan.Labels[k] = v
	}
	for _, path := range b.o.LabelFile {
		lines, err := readKeyValues("--label-file", path, func(key string) string { return key + "=" })
		if err != nil {
			return err
		}
		for _, line := range lines {
			k, v, _ := strings.Cut(line, "=")
			b.plan.Labels[k] = v
		}
	}
	for _, l := range b.o.Label {
		k, v, _ := strings.Cut(l, "=") // a bare key is a label with an empty value
		if k == "" {
			return refuse("--label", l, "write KEY=VALUE", "no key")
		}
		b.plan.Labels[k] = v
	}
	for _, a := range b.o.Annotation {
		k, v, ok := strings.Cut(a, "=")
		if k == "" || !ok { // an annotation has both (docker/cli, opts.NewMapOpts with ValidateAnnotation)
			return refuse("--annotation", a, "write KEY=VALUE", "not a key and a value")
		}
		if b.spec.Annotations == nil {
			b.spec.Annotations = map[string]string{}
		}
		b.spec.Annotations[k] = v
	}
	return nil
}
