package router_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/plan"
)

// counted is a server that counts how often each request comes.
type counted struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *counted) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[string(body)]++
}

// sendAnywhere sends a write to one of the replicas, and to the next one where the connection breaks before an answer
// has begun: what is held has not been forwarded, so that a balancer may do so.
func sendAnywhere(ctx context.Context, client *http.Client, replicas []child, id int) error {
	var err error
	for i := range 2*len(replicas) - 1 { // behind one front: once
		r := replicas[(id+i)%len(replicas)]
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.Public+"/oauth2/token", strings.NewReader(fmt.Sprint("id=", id))); err != nil {
			return err
		}
		var resp *http.Response
		if resp, err = client.Do(req); err != nil {
			continue
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("request %d: status %d", id, resp.StatusCode)
		}
		return err
	}
	return err
}

// balancer starts HAProxy before two replicas, as docs/examples/routers.cfg has it, and returns its URL.
func balancer(t *testing.T, replicas []child) string {
	t.Helper()
	program := "/usr/sbin/haproxy"
	if found, err := exec.LookPath("haproxy"); err == nil {
		program = found
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	socket, err := front.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := exec.Command(program, "-db", "-f", "../../docs/examples/routers.cfg")
	cmd.ExtraFiles = []*os.File{socket} // becomes 3
	cmd.Env = append(os.Environ(), "FRONT=fd@3")
	for i, name := range []string{"A", "B"} {
		_, port, err := net.SplitHostPort(replicas[i].Control)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, "ROUTER_"+name+"="+replicas[i].Public, "CONTROL_"+name+"="+port)
	}
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("HAProxy (scripts/setup.sh --tests installs it): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return front.Addr().String()
}

// A replica is killed in the hold, and the tool that has ordered it never comes back. Nothing that was held had been
// forwarded; all of it is answered by blue when the other replica's deadline passes, each request once: with clients that
// send again themselves, and with HAProxy before clients that don't.
func TestReplicaIsKilledInTheHold(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, front := range slice.Pick(t, 1, []string{"clients that try again", "HAProxy"}) {
		t.Run(front, func(t *testing.T) {
			t.Parallel()
			replicaIsKilledInTheHold(t, front == "HAProxy")
		})
	}
}

func replicaIsKilledInTheHold(t *testing.T, balanced bool) {
	blue := &counted{seen: map[string]int{}}
	server := httptest.NewServer(blue)
	t.Cleanup(server.Close)
	green := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(green.Close)
	var replicas []child
	var configs []router.Config
	for range 2 {
		c := configFor(t, server.URL)
		c.Green = router.Target{Public: green.URL, Admin: green.URL}
		configs = append(configs, c)
		replicas = append(replicas, startChild(t, c))
	}
	control := func(i int) *router.Client { return router.NewClient("http://"+replicas[i].Control, configs[i].Token) }
	order := router.Order{Run: "r", Term: 1}
	const requests = 60
	for i := range replicas {
		if err := control(i).Hold(t.Context(), order, 4*time.Second, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	fronts := replicas
	if balanced {
		fronts = []child{{Addresses: router.Addresses{Public: balancer(t, replicas)}}}
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: requests}, Timeout: 30 * time.Second}
	done := make(chan error, requests)
	for id := range requests {
		go func() { done <- sendAnywhere(t.Context(), client, fronts, id) }()
	}
	heldAt := func(i, n int) {
		t.Helper()
		await.That(t, fmt.Sprintf("%d held at replica %d", n, i), func() bool {
			st, err := control(i).State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return st.Held == n
		})
	}
	heldAt(0, requests/2)
	heldAt(1, requests/2)
	if err := syscall.Kill(replicas[1].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	heldAt(0, requests) // those of the other one have come over
	blue.mu.Lock()
	forwarded := len(blue.seen)
	blue.mu.Unlock()
	if forwarded != 0 && len(done) == 0 { // the deadline may have passed on a slow machine
		t.Errorf("%d requests were forwarded in the hold", forwarded)
	}
	for range requests { // nobody releases: the deadline does
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	blue.mu.Lock()
	defer blue.mu.Unlock()
	for id := range requests {
		if n := blue.seen[fmt.Sprint("id=", id)]; n != 1 {
			t.Errorf("request %d reached blue %d times", id, n)
		}
	}
	// The replica comes back: it serves blue, holds nothing, and still knows the term.
	configs[1].PublicListen, configs[1].AdminListen = replicas[1].Public, replicas[1].Admin
	replicas[1] = startChild(t, configs[1])
	st, err := control(1).State(t.Context())
	if err != nil || st.Side != plan.Blue || st.Holding || st.Terms["r"] != 1 {
		t.Errorf("after its restart: %+v %v", st, err)
	}
}
