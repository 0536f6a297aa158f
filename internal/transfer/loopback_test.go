package transfer

import (
	"testing"

	"github.com/containers/image/v5/types"
)

func TestForRegistry(t *testing.T) {
	asked := &types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolFalse}
	if forRegistry(asked, "127.0.0.1:5000") != asked {
		t.Error("--tls-verify was overruled")
	}
	for domain, want := range map[string]types.OptionalBool{
		"127.0.0.1:5000": types.OptionalBoolTrue, "localhost": types.OptionalBoolTrue, "[::1]:5000": types.OptionalBoolTrue,
		"127.8.0.1": types.OptionalBoolTrue, "localhost.example.org": types.OptionalBoolUndefined,
		"10.0.0.1:5000": types.OptionalBoolUndefined, "docker.io": types.OptionalBoolUndefined, "127.0.0.1.example.org": types.OptionalBoolUndefined,
	} {
		sys := &types.SystemContext{}
		if got := forRegistry(sys, domain).DockerInsecureSkipTLSVerify; got != want {
			t.Errorf("%s: %v, want %v", domain, got, want)
		}
		if sys.DockerInsecureSkipTLSVerify != types.OptionalBoolUndefined {
			t.Error("the session's own settings were changed")
		}
	}
}
