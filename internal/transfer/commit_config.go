package transfer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rc-containers/rc/internal/hint"
)

// containerConfig is the `config` of an image config: OCI's (image-spec
// config.md) with Docker's further fields.
type containerConfig struct {
	imgspec.ImageConfig
	Healthcheck json.RawMessage `json:",omitempty"`
	OnBuild     []string        `json:",omitempty"`
	Shell       []string        `json:",omitempty"`
}

// config makes the new image's: the old one's with the settings of the container,
// the changes, a line of history and the new layer.
func (c *commit) config() ([]byte, error) {
	raw, err := c.s.layers.ImageBigData(c.base.ID, digest.NewDigestFromEncoded(digest.SHA256, c.base.ID).String())
	if err != nil {
		return nil, fmt.Errorf("the image's config is not in the store: %w", err)
	}
	top := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("the image's config cannot be read: %w", err)
	}
	of := &containerConfig{}
	if err := decodeOr(top["config"], of); err != nil {
		return nil, err
	}
	c.asMade(of)
	made := *of
	if err := of.apply(c.f.Config.Changes); err != nil {
		return nil, err
	}
	for _, key := range []string{"id", "parent", "throwaway", "parent_id"} {
		delete(top, key)
	}
	now := time.Now().UTC()
	var history []imgspec.History
	if err := decodeOr(top["history"], &history); err != nil {
		return nil, err
	}
	history = append(history, imgspec.History{Created: &now, CreatedBy: strings.Join(made.Cmd, " "), Author: c.f.Config.Author, Comment: c.f.Config.Message})
	var rootfs imgspec.RootFS
	if err := decodeOr(top["rootfs"], &rootfs); err != nil {
		return nil, err
	}
	rootfs.Type, rootfs.DiffIDs = "layers", append(rootfs.DiffIDs, c.diffID)
	for key, v := range map[string]any{
		"config": of, "container_config": &made, "container": c.rec.ID, "created": now, "author": c.f.Config.Author,
		"history": history, "rootfs": rootfs,
	} {
		if top[key], err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	if c.f.Config.Author == "" {
		delete(top, "author")
	}
	return json.Marshal(top)
}

func decodeOr(raw json.RawMessage, v any) error {
	if len(raw) == 0 {
		return nil
	}
	return json.Unmarshal(raw, v)
}

// asMade puts in what the container was made with (docker commit takes its
// Config): command, environment, user, folder, labels, stop signal.
func (c *commit) asMade(of *containerConfig) {
	p := c.cfg.Spec.Process
	args := p.Args
	if n := len(of.Entrypoint); n > 0 && len(args) >= n && slices.Equal(args[:n], of.Entrypoint) {
		args = args[n:]
	} else if n > 0 {
		of.Entrypoint = nil // --entrypoint: the command is the whole
	}
	of.Cmd = args
	of.Env = c.environment(of.Env)
	if user := c.user(); user != "" {
		of.User = user
	}
	if p.Cwd != "/" || of.WorkingDir != "" {
		of.WorkingDir = p.Cwd
	}
	if c.rec.Labels != nil {
		of.Labels = c.rec.Labels
	}
}

// environment leaves out what a start adds by itself.
func (c *commit) environment(image []string) []string {
	own := map[string]bool{"HOSTNAME": true, "TERM": true, "container": true}
	own["HOME"] = !c.cfg.Inside.HomeSet
	had := map[string]bool{}
	for _, kv := range image {
		key, _, _ := strings.Cut(kv, "=")
		had[key] = true
	}
	var env []string
	for _, kv := range c.cfg.Spec.Process.Env {
		key, _, _ := strings.Cut(kv, "=")
		if !own[key] || had[key] {
			env = append(env, kv)
		}
	}
	return env
}

// user is --user as far as the record has it; "" for the image's own.
func (c *commit) user() string {
	u := c.cfg.Spec.Process.User
	if c.cfg.Inside.Username != "" {
		return c.cfg.Inside.Username
	}
	if u.UID == 0 && u.GID == 0 {
		return ""
	}
	if u.GID == 0 {
		return strconv.Itoa(int(u.UID))
	}
	return fmt.Sprintf("%d:%d", u.UID, u.GID)
}

// apply runs the Dockerfile instructions of --change.
func (of *containerConfig) apply(changes []string) error {
	cmdSet := false
	for _, text := range changes {
		word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch word = strings.ToUpper(word); word {
		case "ONBUILD":
			if rest == "" {
				return badChange(text, "nothing to set")
			}
			of.OnBuild = append(of.OnBuild, rest)
		case "HEALTHCHECK":
			of.Healthcheck, err = healthcheck(text, rest)
		default:
			err = change(&of.ImageConfig, text)
		}
		if err != nil {
			return err
		}
		// As in a Dockerfile: a new entrypoint has no arguments of the old one's.
		cmdSet = cmdSet || word == "CMD"
		if word == "ENTRYPOINT" && !cmdSet {
			of.Cmd = nil
		}
	}
	of.Env = lastOfEach(of.Env)
	return nil
}

// lastOfEach keeps one entry a variable: the last value, in the first place.
func lastOfEach(env []string) []string {
	var list []string
	at := map[string]int{}
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			list[i] = kv
			continue
		}
		at[key] = len(list)
		list = append(list, kv)
	}
	return list
}

func badChange(text, why string) error {
	return hint.Newf("", `write it as in a Dockerfile: -c 'CMD ["sh"]'`, "--change %q: %s", text, why)
}

// healthcheck reads `NONE` or `[--interval= --timeout= --start-period=
// --start-interval= --retries=] CMD …` into Docker's JSON.
func healthcheck(text, rest string) (json.RawMessage, error) {
	check := map[string]any{}
	durations := map[string]string{"--interval": "Interval", "--timeout": "Timeout", "--start-period": "StartPeriod", "--start-interval": "StartInterval"}
	for strings.HasPrefix(rest, "--") {
		word, after, _ := strings.Cut(rest, " ")
		key, value, _ := strings.Cut(word, "=")
		rest = strings.TrimSpace(after)
		if field := durations[key]; field != "" {
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 {
				return nil, badChange(text, word+" is no time such as 30s")
			}
			check[field] = int64(d)
			continue
		}
		n, err := strconv.Atoi(value)
		if key != "--retries" || err != nil || n < 0 {
			return nil, badChange(text, word+" is not known here")
		}
		check["Retries"] = n
	}
	word, command, _ := strings.Cut(rest, " ")
	command = strings.TrimSpace(command)
	var list []string
	switch word = strings.ToUpper(word); {
	case word == "NONE":
		check = map[string]any{"Test": []string{"NONE"}}
	case word != "CMD" || command == "":
		return nil, badChange(text, "NONE, or CMD and a command is wanted")
	case strings.HasPrefix(command, "[") && json.Unmarshal([]byte(command), &list) == nil:
		check["Test"] = append([]string{"CMD"}, list...)
	default:
		check["Test"] = []string{"CMD-SHELL", command}
	}
	return json.Marshal(check)
}
