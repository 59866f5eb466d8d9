package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tideover/tideover/cutover/router"
)

// TestRouterReloads sends SIGHUP to the program: a wrong profile is said and changes nothing, the mended one is taken.
// SIGTERM then ends it with exit status 0.
func TestRouterReloads(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }))
	defer server.Close()
	good, err := os.ReadFile("../plan/profiles/bundled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	profile := filepath.Join(dir, "profile.yaml")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(profile, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(good)
	c := command(t.Context(), map[string]string{"TIDEOVER_ROUTER_TOKEN": "0123456789abcdef"}, "router", "--profile", profile,
		"--public-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--state", filepath.Join(dir, "state"),
		"--blue-public", server.URL, "--blue-admin", server.URL, "--green-public", server.URL, "--green-admin", server.URL)
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill() }()
	var at router.Addresses
	if err := json.NewDecoder(stdout).Decode(&at); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(stderr)
	hangup := func(want string) {
		t.Helper()
		if err := c.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if !said.Scan() || !strings.Contains(said.Text(), want) {
			t.Errorf("said %q, want %q", said.Text(), want)
		}
		resp, err := http.Get("http://" + at.Public + "/oauth2/token")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); string(raw) != "fine" || err != nil {
			t.Errorf("%q %v", raw, err)
		}
	}
	write([]byte("name: nonsense\n"))
	hangup("not reloaded")
	write(good)
	hangup(`"reloaded"`)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for said.Scan() { // until it ends
	}
	if err := said.Err(); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
