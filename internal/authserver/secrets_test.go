package authserver_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/quick"
)

// hashed is how many secrets the server has hashed so far, of clients that are "known" or "unknown".
func (s running) hashed(t *testing.T, kind string) int {
	t.Helper()
	res, err := http.Get(s.Admin + s.AdminPrefix + "/metrics/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), `authserver_secret_hashes_total{client="`+kind+`"} `); ok {
			count, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	return 0
}

// equalWork: how long a refusal takes must not tell whether there is such a client.
func equalWork(t *testing.T, s running, _ bool) {
	app, other := s.register(t, nil), s.register(t, nil)
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none"})
	broken := s.register(t, nil)
	s.exec(t, `UPDATE oauth_client SET secret_hash = 'no hash' WHERE id = '`+broken.ID+`'`)
	for name, tt := range map[string]struct {
		app            registered
		status         int
		known, unknown int
	}{
		"wrong secret":              {registered{ID: app.ID, Secret: "wrong"}, 401, 1, 0},
		"unknown client":            {registered{ID: "nobody", Secret: "wrong"}, 401, 0, 1},
		"public client":             {registered{ID: public.ID, Secret: "wrong"}, 401, 0, 1},
		"broken hash":               {registered{ID: broken.ID, Secret: "wrong"}, 401, 0, 1},
		"right secret":              {app, 400, 1, 0},
		"another's secret":          {registered{ID: app.ID, Secret: other.Secret}, 401, 1, 0},
		"longer than bcrypt reads":  {registered{ID: app.ID, Secret: strings.Repeat("x", 73)}, 401, 0, 0},
		"nobody's that is too long": {registered{ID: "nobody", Secret: strings.Repeat("x", 73)}, 401, 0, 0},
	} {
		known, unknown := s.hashed(t, "known"), s.hashed(t, "unknown")
		if r := s.refresh(t, tt.app, "x"); r.Status != tt.status {
			t.Errorf("%s: %d %s", name, r.Status, r.Error)
		}
		known, unknown = s.hashed(t, "known")-known, s.hashed(t, "unknown")-unknown
		if known != tt.known || unknown != tt.unknown {
			t.Errorf("%s: %d hashes of known and %d of unknown clients, want %d and %d", name, known, unknown, tt.known, tt.unknown)
		}
	}
	before := s.hashed(t, "known")
	for range 3 {
		wantError(t, s.refresh(t, app, "x"), 400, "invalid_grant")
	}
	if n := s.hashed(t, "known") - before; n != 0 {
		t.Errorf("a secret that was right is hashed again, %d times", n)
	}
	// A secret of 72 bytes is not also that of whoever adds to it.
	long := s.register(t, map[string]any{"client_secret": strings.Repeat("y", 72)})
	long.Secret = strings.Repeat("y", 72)
	wantError(t, s.refresh(t, long, "x"), 400, "invalid_grant")
	long.Secret += "y"
	wantError(t, s.refresh(t, long, "x"), 401, "invalid_client")
	// Equal secrets at once are hashed once.
	fresh := s.register(t, nil)
	before = s.hashed(t, "known")
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { wantError(t, s.refresh(t, fresh, "x"), 400, "invalid_grant") })
	}
	all.Wait()
	if n := s.hashed(t, "known") - before; n < 1 || n > 4 { // those that come in turn find it remembered
		t.Errorf("%d hashes for a secret that 16 show at once", n)
	}
}

// from is a client of an address of this machine.
func from(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 32}}
}

func (s running) machine(t *testing.T, c *http.Client, app registered) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Public+"/oauth2/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(app.ID, app.Secret)
	res, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return reply{}
	}
	defer res.Body.Close()
	text(t, res)
	return reply{Status: res.StatusCode, Header: res.Header}
}

// TestWrongSecretsStopNobody sends wrong secrets over 24 connections, for two clients that are there and for names that
// nobody has, while honest clients come.
func TestWrongSecretsStopNobody(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s := serve(t, "2.0", func(c *authserver.Config) { c.BcryptCost = 8 })
	victim, other := s.register(t, nil), s.register(t, nil)
	if r := s.machine(t, http.DefaultClient, victim); r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	attacked, stop := context.WithCancel(t.Context())
	attackers := from("127.0.0.2")
	var all sync.WaitGroup
	var tries, throttled, odd atomic.Int64
	under := make(chan struct{})
	var once sync.Once
	for i := range 24 {
		all.Go(func() {
			for n := range 80 {
				if attacked.Err() != nil {
					return
				}
				app := registered{ID: victim.ID, Secret: fmt.Sprintf("wrong %d %d", i, n)}
				if i%3 == 1 {
					app.ID = other.ID
				}
				if i%3 == 0 {
					app.ID = fmt.Sprintf("nobody-%d-%d", i, n)
				}
				switch r := s.machine(t, attackers, app); {
				case r.Status == 429 && r.Header.Get("Retry-After") != "":
					if throttled.Add(1) > 24 {
						once.Do(func() { close(under) })
					}
				case r.Status != 401 && r.Status != 503: // it may have no time for them
					odd.Store(int64(r.Status))
				}
				tries.Add(1)
			}
		})
	}
	select {
	case <-under:
	case <-time.After(time.Minute):
		t.Error("nobody is throttled")
	}
	for range 4 {
		if r := s.machine(t, http.DefaultClient, s.register(t, nil)); r.Status != 200 {
			t.Errorf("a client that comes for the first time: %+v", r)
		}
		if r := s.machine(t, attackers, s.register(t, nil)); r.Status != 200 {
			t.Errorf("one at the attackers' address: %+v", r)
		}
		if r := s.machine(t, attackers, victim); r.Status != 200 {
			t.Errorf("the client under attack, at the attackers' address, that has been here before: %+v", r)
		}
	}
	if r := s.machine(t, http.DefaultClient, other); r.Status != 200 {
		t.Errorf("a client under attack that comes for the first time, from elsewhere: %+v", r)
	}
	stop()
	all.Wait()
	if odd.Load() != 0 {
		t.Errorf("an answer was %d, neither 401, 429 nor 503", odd.Load())
	}
	if wrong := tries.Load() - throttled.Load(); tries.Load() < 24 || throttled.Load() == 0 || wrong == 0 {
		t.Errorf("%d tries, %d of them throttled", tries.Load(), throttled.Load())
	}
}
