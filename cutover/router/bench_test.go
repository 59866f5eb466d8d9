package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/lab/await"
)

// childEnv makes this test binary a router of its own: its value is the configuration.
const childEnv = "TIDEOVER_BENCH_ROUTER"

// runChild is what the test binary does as a router.
func runChild(config string) int {
	var c router.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	r, err := router.New(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(r.Addresses()); err != nil {
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }() // ends with its owner
	if err := r.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child is a router in a process of its own.
type child struct {
	router.Addresses
	pid int
}

func startChild(tb testing.TB, c router.Config) child {
	tb.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(config), "GOGC=200")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	ch := child{pid: cmd.Process.Pid}
	if err := json.NewDecoder(stdout).Decode(&ch.Addresses); err != nil {
		tb.Fatal(err)
	}
	return ch
}

func configFor(tb testing.TB, upstream string) router.Config {
	side := router.Target{Public: upstream, Admin: upstream}
	return router.Config{
		PublicListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ControlListen: "127.0.0.1:0", Token: "0123456789abcdef",
		StatePath: filepath.Join(tb.TempDir(), "state"), Profile: bundled(tb), Blue: side, Green: side, Coalesce: true,
	}
}

// nginx is Debian's, as a reverse proxy with kept connections, as its manual recommends.
func nginx(tb testing.TB, upstream string) string {
	tb.Helper()
	program := "/usr/sbin/nginx"
	if found, err := exec.LookPath("nginx"); err == nil {
		program = found
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := tb.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 16384; }
http {
	access_log off; keepalive_requests 1000000; keepalive_timeout 120s;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	upstream server { server %[2]s; keepalive 256; keepalive_requests 1000000; }
	server {
		listen %[3]s backlog=4096;
		location / {
			proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
			proxy_set_header X-Forwarded-Proto $scheme;
		}
	}
}
`, dir, strings.TrimPrefix(upstream, "http://"), addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-c", conf)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("nginx (scripts/setup.sh --tests installs it): %v", err)
	}
	tb.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	await.Listens(tb, addr)
	return "http://" + addr
}

// load is one client program.
type load struct {
	http *http.Client
	body string
}

func newLoad(token string) *load {
	return &load{
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}, Timeout: 20 * time.Second},
		body: url.Values{"token": {token}}.Encode(),
	}
}

// ask introspects.
func (l *load) ask(base string) error {
	req, err := http.NewRequest(http.MethodPost, base+"/oauth2/introspect", strings.NewReader(l.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := l.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// throughput is requests a second of workers that ask without a pause.
func (l *load) throughput(tb testing.TB, base string, workers int, d time.Duration) float64 {
	var n atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range workers {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := l.ask(base); err != nil {
					tb.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / d.Seconds()
}

// latencies of requests that are sent at a rate, whether or not the others are answered.
func (l *load) latencies(tb testing.TB, base string, rate int, d time.Duration) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for range int(d.Seconds() * float64(rate)) {
		<-tick.C
		all.Go(func() {
			start := time.Now()
			if err := l.ask(base); err != nil {
				tb.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(start))
		})
	}
	all.Wait()
	slices.Sort(took)
	return took
}

func median[T float64 | time.Duration](xs []T) T { return slices.Sorted(slices.Values(xs))[len(xs)/2] }

// BenchmarkBesideNginx measures the router and nginx in front of the same OAuth server, in turns, and prints ratios. The
// latency is that of all rounds together: a round alone has too few requests to tell its slowest hundredth.
func BenchmarkBesideNginx(b *testing.B) {
	server := strict(b)
	s := begin(b, server, "client_secret_basic", "ann")
	proxied := map[string]string{
		"direct": server.Admin,
		"nginx":  nginx(b, server.Admin),
		"router": "http://" + startChild(b, configFor(b, server.Admin)).Admin,
	}
	names := []string{"direct", "nginx", "router"}
	const rounds, rate = 14, 500
	for range b.N {
		through, took := map[string][]float64{}, map[string][]time.Duration{}
		l := newLoad(s.access)
		for _, name := range names {
			l.throughput(b, proxied[name], 16, time.Second/2) // connections and caches
		}
		for range rounds {
			for _, i := range rand.Perm(len(names)) {
				through[names[i]] = append(through[names[i]], l.throughput(b, proxied[names[i]], 16, time.Second))
			}
		}
		for range rounds {
			for _, i := range rand.Perm(len(names)) {
				took[names[i]] = append(took[names[i]], l.latencies(b, proxied[names[i]], rate, 2*time.Second)...)
			}
		}
		p99 := map[string]time.Duration{}
		for _, name := range names {
			slices.Sort(took[name])
			p99[name] = took[name][len(took[name])*99/100]
			b.Logf("%-7s %7.0f requests/s  at %d/s p50 %s  p99 %s", name, median(through[name]), rate, took[name][len(took[name])/2], p99[name])
		}
		// What a proxy adds is the difference to the same server asked directly.
		added := func(name string) time.Duration { return p99[name] - p99["direct"] }
		ratio := median(through["router"]) / median(through["nginx"])
		b.ReportMetric(ratio, "x-nginx-throughput")
		b.ReportMetric(float64(added("nginx").Microseconds())/1000, "ms-p99-added-nginx")
		b.ReportMetric(float64(added("router").Microseconds())/1000, "ms-p99-added-router")
		if ratio < 0.7 {
			b.Errorf("throughput is %.2f of nginx's, want at least 0.7", ratio)
		}
		// Below a millisecond the machine's own noise is what is measured.
		if limit := 2 * max(added("nginx"), time.Millisecond/2); added("router") > limit {
			b.Errorf("p99 added: %s, nginx %s: want at most twice as much", added("router"), added("nginx"))
		}
	}
}

// rss is the memory of a process in bytes.
func rss(tb testing.TB, pid int) int64 {
	tb.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		tb.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(raw), &size, &resident); err != nil {
		tb.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// BenchmarkTenThousandHeld holds 10,000 requests at once, again and again, and looks at the router's memory. None of
// them fails.
func BenchmarkTenThousandHeld(b *testing.B) {
	const held = 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max < held+500 {
		b.Fatalf("this needs %d open files, the limit is %d", held+500, limit.Max)
	}
	upstream := echo(b)
	c := configFor(b, upstream)
	c.Limits.Wait, c.Limits.Hold = 2*time.Minute, 2*time.Minute
	ch := startChild(b, c)
	control := router.NewClient("http://"+ch.Control, c.Token)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range b.N {
		var peaks []int64
		for round := range 4 {
			o := router.Order{Run: "r", Term: 1}
			if err := control.Hold(b.Context(), o, 2*time.Minute, time.Second); err != nil {
				b.Fatal(err)
			}
			for i := range held {
				if len(conns) <= i {
					conn, err := net.Dial("tcp", ch.Public)
					if err != nil {
						b.Fatal(err)
					}
					conns = append(conns, conn)
				}
				if _, err := io.WriteString(conns[i], "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\ngrant_type=client_credentials"); err != nil {
					b.Fatal(err)
				}
			}
			await.That(b, fmt.Sprintf("%d held", held), func() bool {
				st, err := control.State(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				return st.Held == held
			})
			first := rss(b, ch.pid)
			time.Sleep(3 * time.Second) // nothing happens: nothing may grow
			last := rss(b, ch.pid)
			peaks = append(peaks, last)
			b.Logf("round %d: %d MB with %d held, %d MB 3s later", round+1, first>>20, held, last>>20)
			if last > first+first/10 {
				b.Errorf("memory grew from %d to %d MB while nothing happened", first>>20, last>>20)
			}
			if err := control.Release(b.Context(), o); err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 4096)
			for i, conn := range conns {
				n, err := conn.Read(buf)
				if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200") {
					b.Fatalf("request %d: %.60q %v", i, buf[:n], err)
				}
			}
		}
		b.ReportMetric(float64(peaks[0])/held/1024, "KB/held")
		b.ReportMetric(float64(peaks[len(peaks)-1])/float64(peaks[1]), "x-memory-round-4-to-2")
		if peaks[len(peaks)-1] > peaks[1]+peaks[1]/4 {
			b.Errorf("memory grows from round to round: %v", peaks)
		}
	}
}

// echo is a server that answers everything at once.
func echo(tb testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "{}") })}
	go func() { _ = s.Serve(l) }()
	tb.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}
