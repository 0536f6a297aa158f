package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// logDrivers are the values of --log-driver that work.
var logDrivers = []string{"json-file", "journald", "none"}

// log reads --log-driver and --log-opt. What is refused is refused by name,
// because a log that is not where its owner looks for it is noticed too late.
func (b *builder) log() error {
	c := &b.plan.Log
	c.Driver = b.o.LogDriver
	switch c.Driver {
	case "", "json-file":
	case "none":
		if len(b.o.LogOpt) > 0 {
			return refuse("--log-opt", b.o.LogOpt[0], "leave it out", "there is no log with --log-driver none")
		}
		return nil
	case "journald":
		if err := unix.Access(record.JournalSocket, unix.W_OK); err != nil {
			return badFlag("--log-driver", c.Driver, fmt.Errorf("%s: %w", record.JournalSocket, err),
				"leave it out: `rc logs` needs no journal")
		}
	default:
		return refuse("--log-driver", c.Driver, orNearest(c.Driver, logDrivers, "choose one of json-file, journald, none"), "no such driver here")
	}
	if len(b.o.LogOpt) > 0 {
		c.Opts = map[string]string{}
		if c.Driver == "" {
			c.Driver = "json-file" // who says how wants a log, even of --rm
		}
	}
	for _, opt := range b.o.LogOpt {
		key, value, ok := strings.Cut(opt, "=")
		if !ok || key == "" {
			return refuse("--log-opt", opt, "write KEY=VALUE, as in max-size=10m", "not a key and a value")
		}
		c.Opts[key] = value
		if err := logOption(c, key, value); err != nil {
			return err
		}
	}
	if c.MaxSize < 0 && c.MaxFile > 1 {
		return refuse("--log-opt", "max-file="+strconv.Itoa(c.MaxFile), "leave out one of the two", "a file without a bound has no successor (max-size=-1)")
	}
	return nil
}

// logOption takes one option of Docker's drivers json-file and journald
// (daemon/logger/jsonfilelog, journald, loggerutils/log_tag.go; mode and
// max-buffer-size are every driver's).
func logOption(c *record.LogConfig, key, value string) (err error) {
	typed := key + "=" + value
	switch key {
	case "max-size":
		if c.MaxSize, err = logSize(value); err != nil {
			return badFlag("--log-opt", typed, err, "write a size as 10m or 1g, or -1 for no bound")
		}
	case "max-file":
		if c.MaxFile, err = strconv.Atoi(value); err != nil || c.MaxFile < 1 || c.MaxFile > 10_000 {
			return refuse("--log-opt", typed, "write a number from 1 to 10000", "not a number of files")
		}
	case "labels", "env":
	case "tag":
		_, err = expandTag(value, nil)
		return err
	case "mode":
		if value != "blocking" {
			return refuse("--log-opt", typed, "leave it out", "the log blocks nobody for longer than the disk takes, and a full disk not at all")
		}
	case "compress":
		if value != "false" {
			return refuse("--log-opt", typed, "leave it out: max-size and max-file bound the log", "followers read the files where they are, so none is compressed")
		}
	case "labels-regex", "env-regex":
		return refuse("--log-opt", typed, "name them: "+strings.TrimSuffix(key, "-regex")+"=KEY,KEY", "regular expressions are not supported")
	case "max-buffer-size":
		return refuse("--log-opt", typed, "leave it out", "it belongs to mode=non-blocking, which is not supported")
	case "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress":
		return refuse("--log-opt", typed, "leave it out: `rc logs` reads the log itself", "no driver here needs a cache")
	default:
		known := []string{"max-size", "max-file", "labels", "env", "tag", "mode", "compress"}
		return refuse("--log-opt", typed, orNearest(key, known, "choose one of "+strings.Join(known, ", ")), "no such option")
	}
	return nil
}

// logSize reads Docker's decimal units (go-units, FromHumanSize): 10m is ten
// million bytes. -1 is no bound.
func logSize(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	number := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "b")
	factor := int64(1)
	for i, unit := range "kmgtp" {
		if head, ok := strings.CutSuffix(number, string(unit)); ok {
			number = head
			for range i + 1 {
				factor *= 1000
			}
			break
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || strings.Trim(number, "0123456789. ") != "" || n*float64(factor) < 1 || n*float64(factor) > 1<<60 {
		return 0, fmt.Errorf("not a size above 0")
	}
	return int64(n * float64(factor)), nil
}

// logAttrs looks up what the options labels and env name, as far as it is there.
func (b *builder) logAttrs() error {
	c := &b.plan.Log
	c.Attrs = nil
	for key := range list(c.Opts["labels"]) {
		if value, ok := b.plan.Labels[key]; ok {
			c.Attrs = append(c.Attrs, [2]string{key, value})
		}
	}
	for key := range list(c.Opts["env"]) {
		i := slices.IndexFunc(b.spec.Process.Env, func(kv string) bool { return strings.HasPrefix(kv, key+"=") })
		if i >= 0 {
			c.Attrs = append(c.Attrs, [2]string{key, b.spec.Process.Env[i][len(key)+1:]})
		}
	}
	return nil
}

func list(s string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range strings.SplitSeq(s, ",") {
			if key = strings.TrimSpace(key); key != "" && !yield(key) {
				return
			}
		}
	}
}

// LogTag is the log's tag of a container: the option tag with its fields filled
// in, or the short id.
func LogTag(c *record.Container) string {
	text := c.Log.Opts["tag"]
	if text == "" {
		text = "{{.ID}}"
	}
	image := strings.TrimPrefix(c.Image, "sha256:")
	tag, _ := expandTag(text, map[string]string{ // checked when the flag was read
		"ID": c.ID[:min(12, len(c.ID))], "FullID": c.ID, "Name": c.Name, "ImageID": image[:min(12, len(image))], "ImageFullID": c.Image,
		"ImageName": c.ImageName, "DaemonName": "rc", "Command": strings.Join(c.Command, " "),
	})
	return tag
}

// tagFields are what Docker documents for a tag
// (docs.docker.com/engine/logging/log_tags). Its whole template language would
// have to be linked into rc, and run at every start.
var tagFields = []string{"ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName", "Command"}

func expandTag(text string, fields map[string]string) (string, error) {
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "{{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		field, tail, found := strings.Cut(after, "}}")
		name := strings.TrimPrefix(strings.TrimSpace(field), ".")
		if !found || !slices.Contains(tagFields, name) {
			return "", refuse("--log-opt", "tag="+text, "use {{.ID}}, {{.FullID}}, {{.Name}}, {{.ImageID}}, {{.ImageFullID}} or {{.ImageName}}",
				"%s is not a field of a tag", strconv.Quote("{{"+field+"}}"))
		}
		out.WriteString(fields[name])
		rest = tail
	}
}
