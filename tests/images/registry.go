package images

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Registry is a running docker-registry (the reference implementation) on loopback.
type Registry struct {
	Addr string // 127.0.0.1:PORT
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// StartRegistry runs one that keeps its data in dir. htpasswd, when not "", is
// the text of an Apache password file (bcrypt only) that guards it.
func StartRegistry(dir, htpasswd string) (*Registry, error) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, fmt.Errorf("%w: install docker-registry (tests/setup does)", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &Registry{Addr: fmt.Sprintf("127.0.0.1:%d", port)}
	auth := ""
	if htpasswd != "" {
		file := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(file, []byte(htpasswd), 0o600); err != nil {
			return nil, err
		}
		auth = fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", file)
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %s}\n%s",
		filepath.Join(dir, "data"), r.Addr, auth)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	r.cmd = exec.Command(program, "serve", config)
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	// The registry must not outlive a test that is killed.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		if resp, err := http.Get("http://" + r.Addr + "/v2/"); err == nil {
			return r, resp.Body.Close()
		}
		time.Sleep(25 * time.Millisecond)
	}
	r.Stop()
	return nil, fmt.Errorf("docker-registry did not answer on %s within 5 s: %s", r.Addr, r.log.String())
}

// Stop ends it and waits.
func (r *Registry) Stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// freePort finds one by taking and releasing it: somebody else may take it in
// between, and then docker-registry says so in its log.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
