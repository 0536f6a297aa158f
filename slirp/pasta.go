package slirp

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Pasta is the driver and the program of `--network pasta`: one process and one
// copy of the host's addresses for each container (pasta(1), package passt).
const Pasta = "pasta"

// PastaResolver is where a container on pasta asks for names: pasta forwards that
// to the host's first resolver, those on the host's loopback too. podman uses the
// same address. PastaResolver6 is for --ipv6-only.
const (
	PastaResolver  = "169.254.1.1"
	PastaResolver6 = "fd00:7263::53"
)

// maxPastaOptions bounds the words after `pasta:`.
const maxPastaOptions = 64

// pastaOptions are the options of pasta(1) that a user may give, and whether a
// value follows. What is missing here is the keeper's to say: which namespaces it
// joins, where it writes, whom it becomes, and that it stays in the foreground.
var pastaOptions = map[string]bool{
	"-a": true, "--address": true, "-n": true, "--netmask": true, "-g": true, "--gateway": true,
	"-m": true, "--mtu": true, "-M": true, "--mac-addr": true, "--ns-mac-addr": true,
	"-i": true, "--interface": true, "-o": true, "--outbound": true, "--outbound-if4": true, "--outbound-if6": true,
	"-I": true, "--ns-ifname": true, "--dns-forward": true, "--dns-host": true,
	"--map-host-loopback": true, "--map-guest-addr": true,
	"-t": true, "--tcp-ports": true, "-u": true, "--udp-ports": true,
	"-T": true, "--tcp-ns": true, "-U": true, "--udp-ns": true,
	"-4": false, "--ipv4-only": false, "-6": false, "--ipv6-only": false,
	"--no-tcp": false, "--no-udp": false, "--no-icmp": false, "--no-dhcp": false, "--no-ndp": false,
	"--no-dhcpv6": false, "--no-ra": false, "--no-splice": false, PastaMapGateway: false,
}

// PastaMapGateway is podman's word and no option of pasta's: the container reaches
// the host's loopback at its gateway, which pasta does unless told not to.
const PastaMapGateway = "--map-gw"

// ParsePasta reads what follows `pasta:` in --network, in podman's spelling: the
// words of pasta's own command line, with commas between them.
func ParsePasta(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	options := strings.Split(text, ",")
	return options, CheckPastaOptions(options)
}

// CheckPastaOptions refuses what ParsePasta would.
func CheckPastaOptions(options []string) error {
	if len(options) > maxPastaOptions {
		return fmt.Errorf("%d words of options, %d at most", len(options), maxPastaOptions)
	}
	for i := 0; i < len(options); i++ {
		name, _, joined := strings.Cut(options[i], "=")
		valued, known := pastaOptions[name]
		switch {
		case !known || joined && (!valued || !strings.HasPrefix(name, "--")):
			return fmt.Errorf("pasta has no option %.40q here: the options are %s", options[i], strings.Join(pastaNames(), " "))
		case valued && !joined:
			i++
			if i == len(options) {
				return fmt.Errorf("the option %s of pasta needs a value: %s,VALUE", name, name)
			}
			// "--" and a clustered "-4f" would be options again.
			if v := options[i]; v == "" || v[0] == '-' || len(v) > 200 || strings.ContainsFunc(v, unprintable) {
				return fmt.Errorf("%.40q is no value for the option %s of pasta", v, name)
			}
		}
	}
	return nil
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

func pastaNames() []string {
	var names []string
	for n := range pastaOptions {
		if strings.HasPrefix(n, "--") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// CheckPasta looks for what `--network pasta` needs of this host, as CheckHost
// does for the default network.
func CheckPasta() error {
	if _, err := FindPasta(os.Getenv("PATH")); err != nil {
		return err
	}
	return accessTun(tun)
}

// FindPasta is the program, as path (a PATH) has it. unix.ENOENT below the error.
func FindPasta(path string) (string, error) {
	binary, err := LookPath(Pasta, path)
	if err != nil {
		return "", hint.New("find the program "+Pasta, unix.ENOENT,
			"install the package passt (`sudo apt-get install passt`, or dnf, zypper, apk, pacman); the default network works without it")
	}
	return binary, nil
}
