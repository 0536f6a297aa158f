package main

import "github.com/spf13/pflag"

// refuseRun binds the flags of `docker run` and `docker create` that rc has not.
// Each says why, and what to type in its place.
func refuseRun(fs *pflag.FlagSet) {
	refuseLimits(fs)
	refuseFlags(fs, "containers share the host's files by a device's own permissions, and a user can change no device filter",
		"show the device: --device /dev/NAME", "device-cgroup-rule")
	refuseFlags(fs, "rc drives no GPU by a vendor's hook", "show its devices, as in --device /dev/dri", "gpus")
	refuseFlags(fs, "containers on one network find each other by name", "put both on one network, with --network-alias for another name", "link")
	refuseFlags(fs, "the kernel chooses link-local addresses", "leave it out, or use --ip6", "link-local-ip")
	refuseFlags(fs, "an attached run has all its streams", "use -i, or redirect those that you do not want", "a,attach")
	refuseFlags(fs, "there is no content trust to disable", "leave it out", "disable-content-trust!")
	refuseFlags(fs, "there are no drivers of volumes", "mount the file system on the host, and that: -v FOLDER:PATH", "volume-driver")
	refuseFlags(fs, "rc is the runtime", "leave it out", "runtime")
	refuseFlags(fs, "there is no daemon whose socket it could be given", "leave it out", "use-api-socket!")
	refuseFlags(fs, "the file systems have no quota that a user could set", "give the state its own disk: rc --root DIR run …", "storage-opt")
	refuseFlags(fs, "it is a flag of Windows containers", "leave it out", "isolation", "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")
}

// refuseLimits binds limits that version 2 of cgroups does not have.
func refuseLimits(fs *pflag.FlagSet) {
	const v1 = "cgroup version 2 has no such limit"
	refuseFlags(fs, v1, "use --memory", "kernel-memory")
	refuseFlags(fs, v1, "limit swap by --memory-swap", "memory-swappiness")
	refuseFlags(fs, v1, "raise --memory, or use --oom-score-adj", "oom-kill-disable!")
	refuseFlags(fs, v1, "use --cpus and --ulimit rtprio=N", "cpu-rt-period", "cpu-rt-runtime")
}

// refuseUpdate binds those of `docker update`.
func refuseUpdate(fs *pflag.FlagSet) {
	refuseFlags(fs, "cgroup version 2 has no such limit", "use --memory", "kernel-memory")
	refuseFlags(fs, "cgroup version 2 has no such limit", "use --cpus", "cpu-rt-period", "cpu-rt-runtime")
}
