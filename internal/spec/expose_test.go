package spec

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

func TestParseExpose(t *testing.T) {
	for value, want := range map[string]string{"80": "80/tcp", "53/UDP": "53/udp", "7-9/tcp": "7/tcp 8/tcp 9/tcp"} {
		if got, err := ParseExpose(value); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v %v", value, got, err)
		}
	}
	for _, value := range []string{"", "0", "80/sctp", "9-7", "x", "1-65535", "70000", "-1", "80/"} {
		if got, err := ParseExpose(value); err == nil || !strings.Contains(err.Error(), "--expose") {
			t.Errorf("%q: %v %v", value, got, err)
		}
	}
}

func TestPublishAll(t *testing.T) {
	b := newBuilder(&Input{Options: &Options{PublishAll: true, Expose: []string{"80", "80/tcp", "53/udp"}, Publish: []string{"8080:80"}},
		Image: &record.Image{Config: record.ImageConfig{ExposedPorts: map[string]struct{}{"443": {}, "80/tcp": {}, "9/sctp": {}}}}})
	for _, step := range []func() error{b.network, b.publish, b.expose, b.publishAll} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	want := []slirp.Port{{HostPort: 8080, ContainerPort: 80, Proto: "tcp"}, {ContainerPort: 53, Proto: "udp"}, {ContainerPort: 443, Proto: "tcp"}}
	if !slices.Equal(b.plan.Ports, want) || len(b.plan.Warnings) != 1 || !slices.Equal(b.plan.Exposed, []string{"80/tcp", "53/udp"}) {
		t.Errorf("%+v %q %q", b.plan.Ports, b.plan.Warnings, b.plan.Exposed)
	}
}

func TestVolumesFrom(t *testing.T) {
	bind := func(source, dest string, options ...string) specs.Mount {
		return specs.Mount{Type: "bind", Source: source, Destination: dest, Options: append([]string{"rbind", "rprivate"}, options...)}
	}
	in := &Input{Options: &Options{Volume: []string{"own:/data"}}, From: []From{
		{Value: "one:ro", Mounts: []FromMount{{Volume: "v", Mount: bind("/s/volumes/v/_data", "/data")}, {Volume: "w", Subpath: "deep", Mount: bind("/s/volumes/w/_data/deep", "/w")}}},
		{Value: "two", Mounts: []FromMount{{Mount: bind("/host", "/w")}, {Mount: bind("/etc", "/e", "ro", "rro")}}},
	}}
	b := newBuilder(in)
	for _, step := range []func() error{b.volumeFlags, b.volumesFrom} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]mount{}
	for _, m := range b.binds {
		got[m.spec.Destination] = m
	}
	if len(got) != 3 || got["/data"].volume.Name != "own" || got["/w"].spec.Source != "/host" || !slices.Contains(got["/e"].spec.Options, "ro") {
		t.Errorf("%+v", got)
	}
	m := in.From[0].Mounts[1].mount("one:ro", true)
	if !m.volume.ReadOnly || m.volume.Subpath != "deep" || m.volume.Anonymous || !slices.Contains(m.spec.Options, "ro") {
		t.Errorf("%+v %+v", m, m.volume)
	}
	for _, value := range []string{"", ":ro", "one:xx"} {
		if err := Check(&Options{VolumesFrom: []string{value}}); err == nil || !strings.Contains(err.Error(), "--volumes-from") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestSmallFlags(t *testing.T) {
	for says, o := range map[string]Options{
		"--domainname": {Domainname: "a b"}, "--uts": {UTS: "host", Domainname: "x"}, "--cgroupns": {Cgroupns: "host"}, "choose private": {Cgroupns: "mine"},
		"out of the kernel's range": {OOMScoreAdj: 2000},
	} {
		if err := Check(&o); err == nil || !strings.Contains(err.Error(), says) && says != "--uts" {
			t.Errorf("%s: %v", says, err)
		}
	}
	b := newBuilder(&Input{Options: &Options{Domainname: "example.org", Cgroupns: "private", OOMScoreAdj: 1000}})
	b.plan.UTS.Kind = KindPrivate
	if err := b.smallFlags(); err != nil || b.spec.Domainname != "example.org" || *b.spec.Process.OOMScoreAdj != 1000 {
		t.Errorf("%v %+v", err, b.spec)
	}
	if own := hostOOMScore(); own > -1000 {
		if err := Check(&Options{OOMScoreAdj: own - 1}); own != 1 && (err == nil || !strings.Contains(err.Error(), "your own is")) {
			t.Errorf("%v", err)
		}
	}
}

// Limits reads them one by one, for `rc update`.
func TestLimits(t *testing.T) {
	r, _, err := Limits(&Options{MemorySwap: "1g", CPUQuota: 5000, MemoryReservation: "64m", CpusetMems: "0"})
	if err != nil || r.MemorySwap != 1<<30 || r.CPUQuota != 5000 || r.MemoryReservation != 64<<20 || r.CpusetMems != "0" {
		t.Errorf("%+v %v", r, err)
	}
	for _, o := range []Options{{Memory: "x"}, {MemoryReservation: "x"}, {PidsLimit: -5}, {CPUs: "x"}} {
		if _, _, err := Limits(&o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if err := Check(&Options{MemorySwap: "1g"}); err == nil {
		t.Error("run wants --memory beside it")
	}
}
