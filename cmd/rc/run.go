package main

import (
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/spec"
)

const runHelp = `The image is pulled when it is missing. A short name is Docker Hub's: alpine is
docker.io/library/alpine:latest.

Exit code: the command's own; 128+n when signal n ended it; 125 when rc refused;
126 when the command cannot be executed; 127 when it does not exist.

On a terminal, ^P^Q leaves the container running.`

var runExamples = []string{
	"rc run --rm -it alpine sh",
	"rc run --rm -v $PWD:/work -w /work alpine ls -l",
	"rc run -d --name web -p 8080:80 nginx",
	"rc run --rm --memory 256m --cpus 1.5 --network none alpine true",
}

// runOptions are the flags that spec.Options has no exact field for.
type runOptions struct {
	spec.Options
	verb        string // run or create
	entrypoint  string
	stopTimeout int
	detachKeys  string
	sigProxy    bool
	flags       *pflag.FlagSet
}

func runCommand() *command {
	o := &runOptions{verb: "run"}
	return &command{
		name: "run", command: true, args: "IMAGE [COMMAND] [ARG...]", short: "Run a command in a new container", long: runHelp,
		examples: runExamples,
		flags:    o.bind,
		run:      o.run,
	}
}

func (o *runOptions) bind(fs *pflag.FlagSet) {
	o.flags = fs
	o.bindProcess(fs)
	o.bindNamespaces(fs)
	o.bindFiles(fs)
	o.bindSecurity(fs)
	o.bindLimits(fs)
	o.bindCgroup(fs)
	o.bindRestart(fs)
	if o.verb == "run" {
		o.bindAttachment(fs)
	}
	o.bindMore(fs)
	o.bindSystemd(fs)
	refuseRun(fs)
	o.bindHealth(fs)
	o.bindUnit(fs)
	o.bindLog(fs)
	fs.StringVar(&o.Platform, "platform", "", "take the image for this `PLATFORM`: OS/ARCH[/VARIANT]")
	fs.StringVar(&o.Pull, "pull", "missing", "pull the image `WHEN`: missing, always or never")
	fs.StringVar(&o.Rootfs, "rootfs", "", "run in this `FOLDER` instead of an image; what is written stays there")
}

func (o *runOptions) bindProcess(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.Interactive, "interactive", "i", false, "keep the input connected")
	fs.BoolVarP(&o.TTY, "tty", "t", false, "give the command a terminal")
	fs.BoolVar(&o.Remove, "rm", false, "remove the container when it ends")
	fs.StringVar(&o.Name, "name", "", "call the container `NAME` (default a random one)")
	fs.BoolVar(&o.Replace, "replace", false, "remove the container that has this --name now, even a running one")
	fs.StringVar(&o.CIDFile, "cidfile", "", "write the id to this new `FILE`")
	fs.VarP((*list)(&o.Env), "env", "e", "set `KEY[=VALUE]`; KEY alone passes the caller's value on")
	fs.Var((*list)(&o.EnvFile), "env-file", "read variables from this `FILE`")
	fs.StringVarP(&o.Workdir, "workdir", "w", "", "run the command in this `FOLDER`")
	fs.StringVarP(&o.User, "user", "u", "", "run as `USER` and group: NAME|UID[:GROUP|GID]")
	fs.Var((*list)(&o.GroupAdd), "group-add", "add this `GROUP`, by name or number")
	fs.StringVar(&o.entrypoint, "entrypoint", "", "run this `COMMAND` in place of the image's entrypoint; \"\" for none")
	fs.BoolVar(&o.Init, "init", false, "run an init that forwards signals and reaps processes")
	fs.StringVar(&o.StopSignal, "stop-signal", "", "ask the command to end by this `SIGNAL` (default the image's, else SIGTERM)")
	fs.IntVar(&o.stopTimeout, "stop-timeout", 10, "wait these `SECONDS` from the stop signal to SIGKILL; -1 waits for ever")
	fs.VarP((*list)(&o.Label), "label", "l", "attach the label `KEY=VALUE`")
	fs.Var((*list)(&o.LabelFile), "label-file", "read labels from this `FILE`")
	fs.Var((*list)(&o.Annotation), "annotation", "attach the runtime-spec annotation `KEY=VALUE`")
}

func (o *runOptions) bindNamespaces(fs *pflag.FlagSet) {
	fs.StringVarP(&o.Hostname, "hostname", "h", "", "use this host `NAME` (default the short id)")
	fs.StringVar(&o.PID, "pid", "", "see process `IDS`: private, host or container:ID")
	fs.StringVar(&o.IPC, "ipc", "", "share `IPC`: private, host or container:ID")
	fs.StringVar(&o.UTS, "uts", "", "share the host name's `NAMESPACE`: private, host or container:ID")
	fs.StringVar(&o.Userns, "userns", "", "map user `IDS`: host (the default), keep-id[:uid=N,gid=N] or auto[:size=N]")
	fs.Var((*list)(&o.Network), "network", "join this `NETWORK`: NAME[:ip=ADDRESS,alias=NAME,…] (several times; default bridge), slirp4netns, pasta, host, none or container:ID")
	fs.Var((*list)(&o.Network), "net", "same as --network")
	_ = fs.MarkHidden("net")
	fs.StringVar(&o.IP, "ip", "", "have this IPv4 `ADDRESS` on the first network")
	fs.StringVar(&o.IP6, "ip6", "", "have this IPv6 `ADDRESS` on the first network")
	fs.StringVar(&o.MAC, "mac-address", "", "have this MAC `ADDRESS` on the first network")
	fs.Var((*list)(&o.NetworkAlias), "network-alias", "answer to this `NAME`, too, on the first network")
	fs.Var((*list)(&o.NetworkAlias), "net-alias", "same as --network-alias")
	_ = fs.MarkHidden("net-alias")
	fs.BoolVar(&o.HostLoopback, "host-loopback", false, "let the container reach the host's loopback at 10.0.2.2")
	fs.Var((*list)(&o.DNS), "dns", "ask the name server at this `ADDRESS`")
	fs.Var((*list)(&o.DNSSearch), "dns-search", "search this `DOMAIN`; . for none")
	fs.Var((*list)(&o.DNSOption), "dns-option", "set a resolver `OPTION`")
	fs.Var((*list)(&o.AddHost), "add-host", "add `NAME:ADDRESS` to /etc/hosts")
	fs.VarP((*list)(&o.Publish), "publish", "p", "publish a `PORT`: [[ADDRESS:]HOSTPORT:]PORT[/tcp|udp]")
}

func (o *runOptions) bindFiles(fs *pflag.FlagSet) {
	fs.VarP((*list)(&o.Volume), "volume", "v", "mount a folder or a volume: `SOURCE:PATH[:OPTIONS]`")
	fs.Var((*list)(&o.Mount), "mount", "mount as `SPEC` says: type=bind|volume|tmpfs,src=…,dst=…[,…]")
	fs.Var((*list)(&o.Tmpfs), "tmpfs", "mount an empty file system in memory on `PATH[:OPTIONS]`")
	fs.BoolVar(&o.ReadOnly, "read-only", false, "make the root file system read-only")
	fs.StringVar(&o.ShmSize, "shm-size", "", "make /dev/shm of this `SIZE` (default 64m)")
	fs.Var((*list)(&o.Device), "device", "show the host's device `SOURCE[:PATH[:rwm]]`")
}

func (o *runOptions) bindSecurity(fs *pflag.FlagSet) {
	fs.StringSliceVar(&o.CapAdd, "cap-add", nil, "add a `CAPABILITY`, or ALL")
	fs.StringSliceVar(&o.CapDrop, "cap-drop", nil, "drop a `CAPABILITY`, or ALL")
	fs.Var((*list)(&o.SecurityOpt), "security-opt", "set an `OPTION`: seccomp=FILE|unconfined, no-new-privileges, …")
	fs.BoolVar(&o.Privileged, "privileged", false, "give all capabilities in its user namespace, no filter, the user's devices")
	fs.Var((*list)(&o.Ulimit), "ulimit", "set the resource limit `NAME=SOFT[:HARD]`")
	fs.Var((*list)(&o.Sysctl), "sysctl", "set the namespaced kernel setting `KEY=VALUE`")
}

// prepare completes the options; the result is the image's name.
func (o *runOptions) prepare(args []string) (image string, err error) {
	o.Unit.Args = typed(o.flags, args)
	if o.Rootfs == "" {
		if len(args) == 0 {
			return "", hint.Newf("rc "+o.verb, "see `rc "+o.verb+" --help`", "no image is named")
		}
		image, args = args[0], args[1:]
	}
	o.Command = args
	if o.flags.Changed("entrypoint") {
		o.Entrypoint = &o.entrypoint
	}
	if o.flags.Changed("stop-timeout") {
		o.StopTimeout = &o.stopTimeout
	}
	return image, nil
}

func (o *runOptions) run(g *global, args []string) (int, error) {
	image, err := o.prepare(args)
	if err != nil {
		return 0, err
	}
	keys, err := parseDetachKeys(o.detachKeys)
	if err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return e.Run(&o.Options, image, engine.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, DetachKeys: keys, NoSignals: !o.sigProxy})
}

// parseDetachKeys reads Docker's notation: single characters and ctrl-X, where X
// is a letter or one of @ [ \ ] ^ _.
func parseDetachKeys(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	var keys []byte
	for part := range strings.SplitSeq(s, ",") {
		name, ctrl := strings.CutPrefix(part, "ctrl-")
		switch {
		case len(name) != 1:
			return nil, hint.Newf("--detach-keys "+s, "write it as in ctrl-p,ctrl-q", "%q is no key", part)
		case ctrl && strings.Contains("@[\\]^_", strings.ToUpper(name)), ctrl && (name[0]|0x20) >= 'a' && (name[0]|0x20) <= 'z':
			keys = append(keys, name[0]&0x1f)
		case ctrl:
			return nil, hint.Newf("--detach-keys "+s, "write it as in ctrl-p,ctrl-q", "%q is no key", part)
		default:
			keys = append(keys, name[0])
		}
	}
	return keys, nil
}
