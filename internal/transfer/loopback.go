package transfer

import (
	"net"

	"github.com/containers/image/v5/types"
)

// forRegistry is sys for one registry: on this machine's own loopback it may
// speak plain HTTP or show any certificate, unless the user or registries.conf
// says otherwise. That is Docker's rule (moby, registry/config.go: 127.0.0.0/8 is
// insecure): nobody stands between us and it.
func forRegistry(sys *types.SystemContext, domain string) *types.SystemContext {
	if sys.DockerInsecureSkipTLSVerify != types.OptionalBoolUndefined || !isLoopback(domain) {
		return sys
	}
	own := *sys
	own.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
	return &own
}

func isLoopback(domain string) bool {
	host, _, err := net.SplitHostPort(domain)
	if err != nil {
		host = domain
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
