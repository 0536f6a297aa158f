package spec

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// builder carries one Build from step to step. Each step reads some flags and
// fills in its part of plan; later steps may read what earlier ones decided.
type builder struct {
	in   *Input
	o    *Options
	img  *record.ImageConfig // empty with --rootfs
	plan *Plan
	spec *specs.Spec

	userns   usernsMode
	env      []string // --env-file and -e
	noShm    bool     // --ipc=none
	shmSize  int64
	security security
	binds    []mount  // what the user and the image mount, in any order
	makeDirs []string // sources of -v that do not exist yet
}

// Build decides everything about a container before anything of it exists. Its
// only effect is to make the missing source folders of -v, as Docker does, and
// that comes last, when nothing can be refused any more. Every error is a
// *hint.Error that quotes the flag and the value.
func Build(in *Input) (*Plan, error) {
	b := newBuilder(in)
	steps := append(b.flagSteps(), b.volumesFrom, b.publishAll, b.platform, b.idMaps, b.command, b.systemd, b.user,
		b.hostRoot, b.environment, b.health, b.unitHealth, b.logAttrs, b.defaultSysctls, b.imageVolumes, b.layout, b.createSources)
	if err := run(steps); err != nil {
		return nil, err
	}
	return b.plan, nil
}

// Check refuses what is wrong with the flags alone, so that a typing error is
// told before an image is pulled for it.
func Check(o *Options) error {
	return run(newBuilder(&Input{Options: o}).flagSteps())
}

func newBuilder(in *Input) *builder {
	b := &builder{in: in, o: in.Options, img: new(record.ImageConfig)}
	if in.Image != nil {
		b.img = &in.Image.Config
	}
	b.spec = &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{Terminal: b.o.TTY},
		Root:    &specs.Root{Path: "rootfs", Readonly: b.o.ReadOnly},
		Linux:   &specs.Linux{},
	}
	b.plan = &Plan{Spec: b.spec, Init: b.o.Init, Privileged: b.o.Privileged, ShmMount: -1}
	return b
}

// flagSteps need neither the image nor the id maps.
func (b *builder) flagSteps() []func() error {
	return []func() error{b.names, b.rootfs, b.namespaces, b.usernsFlag, b.network, b.publish,
		b.hostname, b.resolver, b.typedEnv, b.workdir, b.resources, b.shmFlag, b.capabilities, b.securityOpts, b.rlimits, b.sysctls, b.stop, b.restart, b.expose, b.volumesFromFlags, b.smallFlags,
		b.systemdFlag, b.labels, b.log, b.volumeFlags, b.mountFlags, b.tmpfsFlags, b.devices, b.healthFlags, b.unitFlags}
}

func run(steps []func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// names checks the flags whose value is a name or one of a few words.
func (b *builder) names() error {
	if b.o.Name != "" {
		if err := CheckName(b.o.Name); err != nil {
			return err
		}
	}
	switch b.o.Pull {
	case "", "missing", "always", "never":
	default:
		return refuse("--pull", b.o.Pull, "choose missing, always or never", "no such policy")
	}
	if b.o.Platform != "" {
		if _, err := ParsePlatform(b.o.Platform); err != nil {
			return err
		}
	}
	return nil
}

// rootfs checks --rootfs DIR, which stands in for an image.
func (b *builder) rootfs() error {
	if b.o.Rootfs == "" {
		return nil
	}
	dir, err := filepath.Abs(b.o.Rootfs)
	if err != nil {
		return badFlag("--rootfs", b.o.Rootfs, err, "")
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return badFlag("--rootfs", b.o.Rootfs, hint.Cause(err), "name the folder that holds the unpacked root file system")
	}
	if !fi.IsDir() {
		return refuse("--rootfs", b.o.Rootfs, "name the folder that holds the unpacked root file system", "not a folder")
	}
	b.spec.Root.Path = dir
	return nil
}

func (b *builder) warn(text string) { b.plan.Warnings = append(b.plan.Warnings, text) }

// refuse is an error about the value of a flag.
func refuse(flag, value, fix, format string, args ...any) error {
	return hint.Newf(flag+" "+strconv.Quote(value), fix, format, args...)
}

// badFlag is refuse for an error that something else returned. A refusal from
// below keeps its reason and its fix, and says which flag it is about.
func badFlag(flag, value string, err error, fix string) error {
	var h *hint.Error
	if errors.As(err, &h) {
		if h.Fix != "" {
			fix = h.Fix
		}
		err = h.Err
	}
	return hint.New(flag+" "+strconv.Quote(value), err, fix)
}
