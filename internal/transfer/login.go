package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/pkg/docker/config"
	"github.com/containers/image/v5/types"

	"github.com/rc-containers/rc/internal/hint"
)

// Account is who to be at a registry.
type Account struct{ Server, User, Password string }

const dockerHub = "docker.io"

// server is the key under which credentials are kept.
func server(typed string) string {
	typed = strings.TrimPrefix(strings.TrimPrefix(typed, "https://"), "http://")
	typed = strings.TrimSuffix(typed, "/")
	switch typed {
	case "", "index.docker.io", "index.docker.io/v1", "registry-1.docker.io":
		return dockerHub
	}
	return typed
}

// authFile says where credentials are written when nothing else does: without
// a runtime folder (cron, su) the library would want /run/containers/UID, which
// no user can make.
func authFile(sys *types.SystemContext) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); sys.AuthFilePath == "" && (dir == "" || dir == nowhere) {
		sys.AuthFilePath = PersistentAuthFile()
	}
}

// nowhere is a folder that is there and never has a containers/auth.json.
const nowhere = "/proc"

// withoutRuntimeDir is for cron and su, which leave XDG_RUNTIME_DIR unset: the library
// then reads /run/containers/UID/auth.json with the uid that we have here, 0. That is
// root's own, and where root's podman made the folder, every pull fails with EACCES.
func withoutRuntimeDir() {
	if os.Getenv("XDG_RUNTIME_DIR") == "" && os.Getenv("_CONTAINERS_ROOTLESS_UID") != "0" {
		_ = os.Setenv("XDG_RUNTIME_DIR", nowhere)
	}
}

// PersistentAuthFile is the auth.json that outlives a logout; the library reads
// it without being told (containers-auth.json(5)).
func PersistentAuthFile() string {
	base := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) {
		base = filepath.Join(os.Getenv("HOME"), ".config")
	}
	return filepath.Join(base, "containers", "auth.json")
}

// Login checks an account at its registry and keeps it in auth.json or with the
// credential helper of registries.conf.
func Login(ctx context.Context, o Options, a Account) error {
	op := "login " + server(a.Server)
	sys, err := systemContext(o)
	if err != nil {
		return err
	}
	host, _, _ := strings.Cut(server(a.Server), "/")
	if err := docker.CheckAuth(ctx, forRegistry(sys, host), a.User, a.Password, host); err != nil {
		var unauthorized docker.ErrUnauthorizedForCredentials
		if errors.As(err, &unauthorized) {
			return hint.Newf(op, "check the user name and the password", "the registry refuses this account").WithCode(exitFailed)
		}
		return explain(op, err, host)
	}
	authFile(sys)
	where, err := config.SetCredentials(sys, server(a.Server), a.User, a.Password)
	if err != nil {
		return explain(op, err, host)
	}
	if !o.Quiet {
		fmt.Fprintf(o.Report, "The password is kept in %s\n", where)
	}
	fmt.Fprintln(o.Out, "Login Succeeded")
	return nil
}

// Logout forgets the account of one registry, or all of them.
func Logout(o Options, typed string, all bool) error {
	sys, err := systemContext(o)
	if err != nil {
		return err
	}
	authFile(sys)
	if all {
		if err := config.RemoveAllAuthentication(sys); err != nil {
			return explain("logout", err, "")
		}
		fmt.Fprintln(o.Out, "Removed login credentials for all registries")
		return nil
	}
	key := server(typed)
	err = config.RemoveAuthentication(sys, key)
	if errors.Is(err, config.ErrNotLoggedIn) {
		fmt.Fprintf(o.Out, "Not logged in to %s\n", key) // as Docker: no failure
		return nil
	}
	if err != nil {
		return explain("logout "+key, err, "")
	}
	fmt.Fprintf(o.Out, "Removing login credentials for %s\n", key)
	return nil
}

// ReadPassword takes the password from stdin without its last newline.
func ReadPassword(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, 64<<10))
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), err
}
