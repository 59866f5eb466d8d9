package cutover

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

// example is a participant of docs/examples, with its environment.
func example(t *testing.T, script string, env ...string) Participant {
	t.Helper()
	argv := append(append([]string{"env"}, env...), "../docs/examples/"+script, "oauth")
	return built(t, script, &plan.ExecSpec{Prepare: argv, Commit: argv, Abort: argv, Status: argv}, 20*time.Second)
}

// plays is what every example must do: there and back, twice each, and no late call.
func plays(t *testing.T, p Participant, clients func() plan.Side) {
	t.Helper()
	at := func(term, call int64) Ticket { return Ticket{Run: "r", Term: term, Call: call} }
	is := func(want plan.Side) {
		t.Helper()
		if side, err := p.Side(t.Context(), at(1, 1)); side != want || err != nil {
			t.Errorf("side %q %v, want %s", side, err, want)
		}
		if clients != nil {
			if got := clients(); got != want {
				t.Errorf("clients meet %q, want %s", got, want)
			}
		}
	}
	for i, step := range []struct {
		do   func() error
		side plan.Side
	}{
		{func() error { return p.Prepare(t.Context(), at(1, 1)) }, plan.Blue},
		{func() error { return p.Commit(t.Context(), at(1, 2)) }, plan.Green},
		{func() error { return p.Commit(t.Context(), at(1, 3)) }, plan.Green},
		{func() error { return p.Abort(t.Context(), at(1, 5)) }, plan.Blue},
		{func() error { return p.Abort(t.Context(), at(1, 5)) }, plan.Blue},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		is(step.side)
	}
	if err := p.Commit(t.Context(), at(1, 4)); err == nil {
		t.Error("a late commit was carried out")
	}
	is(plan.Blue)
	if err := p.Commit(t.Context(), at(2, 1)); err != nil { // another process counts anew
		t.Error(err)
	}
	is(plan.Green)
	if err := p.Prepare(t.Context(), at(2, 2)); err == nil {
		t.Error("prepare from green is a yes")
	}
}

func TestHAProxyExample(t *testing.T) {
	t.Parallel()
	program := "/usr/sbin/haproxy"
	if found, err := exec.LookPath("haproxy"); err == nil {
		program = found
	}
	server := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	dir := t.TempDir()
	front, api := freePort(t), freePort(t)
	config := fmt.Sprintf(`global
	stats socket ipv4@127.0.0.1:%d level admin
defaults
	mode http
	timeout connect 5s
	timeout client 5s
	timeout server 5s
frontend f
	bind 127.0.0.1:%d
	default_backend oauth
backend oauth
	server blue %s
	server green %s disabled
`, api, front, server("blue"), server("green"))
	path := filepath.Join(dir, "haproxy.cfg")
	write(t, path, config)
	cmd := exec.Command(program, "-db", "-f", path)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("HAProxy (scripts/setup.sh --tests installs it): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	await.Listens(t, fmt.Sprintf("127.0.0.1:%d", api))
	p := example(t, "haproxy.sh", fmt.Sprintf("HAPROXY=127.0.0.1:%d", api), "SEEN="+filepath.Join(dir, "seen"))
	plays(t, p, func() plan.Side {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", front))
		if err != nil {
			return plan.Side(err.Error())
		}
		defer resp.Body.Close()
		name := make([]byte, 8)
		n, _ := resp.Body.Read(name)
		return plan.Side(name[:n])
	})
}

// There is no Kubernetes here: a kubectl of the test's own keeps one Service in files and refuses a patch of an older
// version, as the API server does. It shows the script's logic, not that of a cluster.
func TestKubernetesExample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "service"), "7|blue|")
	kubectl := filepath.Join(dir, "kubectl")
	script := `#!/bin/bash
set -eu
state="$(dirname "$0")/service"
case "$1 $2" in
"get service") cat "$state"; echo ;;
"auth can-i") ;;
"patch service")
	IFS='|' read -r version side call <"$state" || true
	patch=${!#}
	[[ $patch == *"\"resourceVersion\":\"$version\""* ]] || { echo conflict >&2; exit 1; }
	[[ $patch =~ \"side\":\"([a-z]+)\" ]]; side=${BASH_REMATCH[1]}
	[[ $patch =~ \"tideover.call\":\"([0-9]+)\" ]]; call=${BASH_REMATCH[1]}
	printf '%s|%s|%s' $((version + 1)) "$side" "$call" >"$state"
	;;
esac
`
	if err := os.WriteFile(kubectl, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	plays(t, example(t, "kubernetes.sh", "PATH="+dir+":"+os.Getenv("PATH")), nil)
}
