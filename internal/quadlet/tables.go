package quadlet

// The keys of podman-systemd.unit(5) as of podman 5.8 (and those that version 6 has
// added), each with what rc does with it. docs/quadlet.md shows these tables, and a
// test holds it against them.

const (
	noModules  = "rc reads no containers.conf, so it has no modules of it"
	moduleFix  = "write the settings as keys of this file"
	oneWayOut  = "the way out of a network is its gateway, for all that use it"
	noMaps     = "rc maps ids by modes, not by lists"
	mapFix     = "write UserNS=host, auto, or keep-id:uid=N,gid=N"
	noSELinux  = "rc sets no SELinux labels"
	leaveOut   = "leave it out"
	noProbeLog = "rc keeps the last five results of a health check in its own record"
	noStartup  = "rc has one health check"
	startupFix = "use HealthStartPeriod=, and PodmanArgs=--health-start-interval=TIME for a quicker pace in it"
	noRetry    = "rc pull goes on where it was interrupted, but does not try again by itself"
	retryFix   = "let systemd try again: Restart=on-failure in [Service]"
	noPods     = "rc has no pods yet"
	podFix     = "put them on one network: Network=NAME.network"
	oldUserFix = "write UserNS=, as in UserNS=keep-id:uid=N,gid=N"
	noPlugin   = "a volume of rc's is a folder"
	mountFix   = "mount the file system on the host, as by a unit NAME.mount, and its folder: Volume=/FOLDER:/PATH"
	ownerFix   = "leave it out, and let the container's user own it: Volume=NAME.volume:/PATH:U"
)

var containerKeys = []key{
	{name: "AddCapability", as: list, flag: "--cap-add"},
	{name: "AddDevice", as: special},
	{name: "AddHost", as: texts, flag: "--add-host"},
	{name: "Annotation", as: pairs, flag: "--annotation"},
	{name: "AppArmor", as: refused, fine: "unconfined", why: "rc applies no AppArmor profile: loading one takes the host's root", fix: "leave it out"},
	{name: "AutoUpdate", as: special, note: "sets the label io.containers.autoupdate; nothing of rc's acts on it"},
	{name: "CgroupsMode", as: special, note: "split (the default), enabled, disabled; `no-conmon` is refused"},
	{name: "ContainerName", as: special},
	{name: "ContainersConfModule", as: refused, why: noModules, fix: moduleFix},
	{name: "DNS", as: texts, flag: "--dns"},
	{name: "DNSOption", as: texts, flag: "--dns-option"},
	{name: "DNSSearch", as: texts, flag: "--dns-search"},
	{name: "DropCapability", as: list, flag: "--cap-drop"},
	{name: "Entrypoint", as: special},
	{name: "Environment", as: pairs, flag: "--env"},
	{name: "EnvironmentFile", as: special, note: "a leading `-` is refused"},
	{name: "EnvironmentHost", as: refused, fine: "no", why: "rc gives a container the variables that are named", fix: "name them: Environment=KEY passes on the value of the unit's"},
	{name: "Exec", as: special},
	{name: "ExposeHostPort", as: texts, flag: "--expose"},
	{name: "GIDMap", as: refused, why: noMaps, fix: mapFix},
	{name: "GlobalArgs", as: special, note: "rc's flags before the verb: --root, --storage-driver"},
	{name: "Group", as: special},
	{name: "GroupAdd", as: texts, flag: "--group-add", note: "`keep-groups` is refused at the start: a container has ids of its own"},
	{name: "HealthCmd", as: special, note: "always run by the image's shell, a list too"},
	{name: "HealthInterval", as: text, flag: "--health-interval", note: "`disable` is refused at the start"},
	{name: "HealthLogDestination", as: refused, fine: "local", why: noProbeLog, fix: leaveOut},
	{name: "HealthMaxLogCount", as: refused, fine: "5", why: noProbeLog, fix: leaveOut},
	{name: "HealthMaxLogSize", as: refused, why: noProbeLog, fix: leaveOut},
	{name: "HealthOnFailure", as: text, flag: "--health-on-failure"},
	{name: "HealthRetries", as: text, flag: "--health-retries"},
	{name: "HealthStartPeriod", as: text, flag: "--health-start-period"},
	{name: "HealthStartupCmd", as: refused, why: noStartup, fix: startupFix},
	{name: "HealthStartupInterval", as: refused, why: noStartup, fix: startupFix},
	{name: "HealthStartupRetries", as: refused, why: noStartup, fix: startupFix},
	{name: "HealthStartupSuccess", as: refused, why: noStartup, fix: startupFix},
	{name: "HealthStartupTimeout", as: refused, why: noStartup, fix: startupFix},
	{name: "HealthTimeout", as: text, flag: "--health-timeout"},
	{name: "HostName", as: text, flag: "--hostname"},
	{name: "HttpProxy", as: refused, fine: "no", why: "rc passes no proxy settings on", fix: "name them: Environment=http_proxy passes on the value of the unit's"},
	{name: "Image", as: special, note: "NAME.image is the image of that file; NAME.build is refused"},
	{name: "ImageVolume", as: refused, fine: "anonymous", why: "the volumes that an image declares are anonymous volumes here", fix: "leave it out, or mount something there: Tmpfs=/PATH"},
	{name: "IP", as: text, flag: "--ip"},
	{name: "IP6", as: text, flag: "--ip6"},
	{name: "Label", as: pairs, flag: "--label"},
	{name: "LogDriver", as: special, note: "journald (the default: the unit's journal), json-file (podman's k8s-file), none"},
	{name: "LogOpt", as: list, flag: "--log-opt", note: "rc's options: max-size, max-file, labels, env, tag, mode, compress"},
	{name: "Mask", as: special},
	{name: "Memory", as: text, flag: "--memory"},
	{name: "Mount", as: special, note: "the types bind, volume and tmpfs"},
	{name: "Network", as: special, note: "NAME.network, a network's name, both with `:ip=…,alias=…`; host, none, slirp4netns, pasta, NAME.container, container:NAME"},
	{name: "NetworkAlias", as: texts, flag: "--network-alias", note: "on the first network"},
	{name: "NoNewPrivileges", as: special},
	{name: "Notify", as: special},
	{name: "PidsLimit", as: text, flag: "--pids-limit"},
	{name: "Pod", as: refused, why: noPods, fix: podFix},
	{name: "PodmanArgs", as: special, note: "flags of `rc run`"},
	{name: "PublishPort", as: texts, flag: "--publish"},
	{name: "Pull", as: special, note: "missing, always, never; `newer` is refused"},
	{name: "ReadOnly", as: special},
	{name: "ReadOnlyTmpfs", as: special, note: "/run, /tmp and /var/tmp; /dev and /dev/shm can be written to anyway"},
	{name: "ReloadCmd", as: special},
	{name: "ReloadSignal", as: special},
	{name: "RemapGid", as: refused, why: "podman has given it up", fix: oldUserFix},
	{name: "RemapUid", as: refused, why: "podman has given it up", fix: oldUserFix},
	{name: "RemapUidSize", as: refused, why: "podman has given it up", fix: oldUserFix},
	{name: "RemapUsers", as: refused, why: "podman has given it up", fix: oldUserFix},
	{name: "Retry", as: refused, why: noRetry, fix: retryFix},
	{name: "RetryDelay", as: refused, why: noRetry, fix: retryFix},
	{name: "Rootfs", as: special, note: "a folder; no `:O` or `:idmap` after it"},
	{name: "RunInit", as: onoff, flag: "--init"},
	{name: "SeccompProfile", as: special},
	{name: "Secret", as: refused, why: "rc keeps no secrets", fix: "mount the file: Volume=/FILE:/run/secrets/NAME:ro, or use EnvironmentFile="},
	{name: "SecurityLabelDisable", as: special, note: "is so anyway: " + noSELinux},
	{name: "SecurityLabelFileType", as: refused, why: noSELinux, fix: leaveOut},
	{name: "SecurityLabelLevel", as: refused, why: noSELinux, fix: leaveOut},
	{name: "SecurityLabelNested", as: refused, fine: "no", why: noSELinux, fix: leaveOut},
	{name: "SecurityLabelType", as: refused, why: noSELinux, fix: leaveOut},
	{name: "ServiceName", as: special},
	{name: "ShmSize", as: text, flag: "--shm-size"},
	{name: "StartWithPod", as: refused, why: noPods, fix: leaveOut},
	{name: "StopSignal", as: text, flag: "--stop-signal"},
	{name: "StopTimeout", as: special, note: "one that exceeds systemd's own time raises TimeoutStopSec="},
	{name: "SubGIDMap", as: refused, why: noMaps, fix: mapFix},
	{name: "SubUIDMap", as: refused, why: noMaps, fix: mapFix},
	{name: "Sysctl", as: list, flag: "--sysctl"},
	{name: "Timezone", as: special, note: "sets TZ, which needs the image's own zone files; `local` mounts the host's /etc/localtime"},
	{name: "Tmpfs", as: texts, flag: "--tmpfs"},
	{name: "UIDMap", as: refused, why: noMaps, fix: mapFix},
	{name: "Ulimit", as: texts, flag: "--ulimit"},
	{name: "Unmask", as: special},
	{name: "User", as: special},
	{name: "UserNS", as: text, flag: "--userns", note: "host, auto, keep-id; others are refused at the start"},
	{name: "VolatileTmp", as: special},
	{name: "Volume", as: special},
	{name: "WorkingDir", as: text, flag: "--workdir"},
}

var volumeKeys = []key{
	{name: "ContainersConfModule", as: refused, why: noModules, fix: moduleFix},
	{name: "Copy", as: refused, fine: "yes", why: "it is a matter of each mount", fix: "write Volume=NAME.volume:/PATH:nocopy in the .container file"},
	{name: "Device", as: refused, why: noPlugin, fix: mountFix},
	{name: "Driver", as: refused, fine: "local", why: noPlugin, fix: mountFix},
	{name: "GID", as: refused, why: "rc chooses no owner for a volume", fix: ownerFix},
	{name: "GlobalArgs", as: special, note: "rc's flags before the verb: --root, --storage-driver"},
	{name: "Group", as: refused, why: "rc chooses no owner for a volume", fix: ownerFix},
	{name: "Image", as: refused, why: noPlugin, fix: "leave it out: an empty volume takes the image's files when it is first mounted"},
	{name: "Label", as: pairs, flag: "--label"},
	{name: "Options", as: refused, why: noPlugin, fix: mountFix},
	{name: "PodmanArgs", as: special, note: "flags of `rc volume create`"},
	{name: "ServiceName", as: special},
	{name: "Type", as: refused, why: noPlugin, fix: mountFix},
	{name: "UID", as: refused, why: "rc chooses no owner for a volume", fix: ownerFix},
	{name: "User", as: refused, why: "rc chooses no owner for a volume", fix: ownerFix},
	{name: "VolumeName", as: special},
}

var networkKeys = []key{
	{name: "ContainersConfModule", as: refused, why: noModules, fix: moduleFix},
	{name: "DisableDNS", as: onoff, flag: "--disable-dns"},
	{name: "DNS", as: refused, why: "a network asks the resolvers of the host as they are now", fix: "give each container some: DNS= in its file"},
	{name: "Driver", as: refused, fine: "bridge", why: "rc's networks are bridges: others put an interface on the host, which takes its root", fix: leaveOut},
	{name: "Gateway", as: texts, flag: "--gateway"},
	{name: "GlobalArgs", as: special, note: "rc's flags before the verb: --root, --storage-driver"},
	{name: "InterfaceName", as: refused, why: "the bridge is in a namespace of yours, and no interface of the host", fix: leaveOut},
	{name: "Internal", as: onoff, flag: "--internal"},
	{name: "IPAMDriver", as: refused, fine: "host-local", why: "rc itself chooses the addresses", fix: leaveOut},
	{name: "IPRange", as: texts, flag: "--ip-range", note: "ADDRESS/BITS; podman's START-END is refused at the start"},
	{name: "IPv6", as: onoff, flag: "--ipv6"},
	{name: "Label", as: pairs, flag: "--label"},
	{name: "NetworkDeleteOnStop", as: special},
	{name: "NetworkName", as: special},
	{name: "Options", as: pairs, flag: "--opt", note: "mtu and isolate; others are refused at the start"},
	{name: "PodmanArgs", as: special, note: "flags of `rc network create`"},
	{name: "Routes", as: refused, why: oneWayOut, fix: leaveOut},
	{name: "ServiceName", as: special},
	{name: "Subnet", as: texts, flag: "--subnet", note: "one of IPv4 and one of IPv6"},
}

var imageKeys = []key{
	{name: "AllTags", as: refused, fine: "no", why: "rc pulls one tag", fix: "write a file for each tag"},
	{name: "Arch", as: special, note: "part of --platform"},
	{name: "AuthFile", as: special, note: "as REGISTRY_AUTH_FILE of the unit"},
	{name: "CertDir", as: refused, why: "rc finds certificates by the registry's name", fix: "put them into ~/.config/containers/certs.d/HOST:PORT or /etc/containers/certs.d/HOST:PORT"},
	{name: "ContainersConfModule", as: refused, why: noModules, fix: moduleFix},
	{name: "Creds", as: refused, why: "a password on a command line is everyone's to read", fix: "type rc login once, or name its file by AuthFile="},
	{name: "DecryptionKey", as: refused, why: "rc decrypts no images", fix: "use an image that is not encrypted"},
	{name: "GlobalArgs", as: special, note: "rc's flags before the verb: --root, --storage-driver"},
	{name: "Image", as: special, note: "names in registries; for an archive: `rc load`"},
	{name: "ImageTag", as: special, note: "a name that the image gets after the pull, and others find it by"},
	{name: "OS", as: special, note: "part of --platform"},
	{name: "PodmanArgs", as: special, note: "flags of `rc pull`"},
	{name: "Policy", as: special, note: "always (the default), missing, never; `newer` is refused"},
	{name: "Retry", as: refused, why: noRetry, fix: retryFix},
	{name: "RetryDelay", as: refused, why: noRetry, fix: retryFix},
	{name: "ServiceName", as: special},
	{name: "TLSVerify", as: onoff, flag: "--tls-verify"},
	{name: "Variant", as: special, note: "part of --platform"},
}
