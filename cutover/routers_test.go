package cutover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

const token = "0123456789abcdef"

// replicas starts n routers between two servers that answer with their name.
func replicas(t *testing.T, n int) (Routers, []string, []func()) {
	server := func(side plan.Side) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, side) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	blue, green := server(plan.Blue), server(plan.Green)
	var all Routers
	var fronts []string
	var stops []func()
	for i := range n {
		r, err := router.New(router.Config{
			PublicListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ControlListen: "127.0.0.1:0", Token: token,
			StatePath: filepath.Join(t.TempDir(), fmt.Sprint(i)), Profile: plan.HTTP{RefreshPath: "/oauth2/token"},
			Blue: router.Target{Public: blue, Admin: blue}, Green: router.Target{Public: green, Admin: green},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		stop := sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(stop)
		stops = append(stops, stop)
		all = append(all, router.NewClient("http://"+r.Addresses().Control, token))
		fronts = append(fronts, "http://"+r.Addresses().Public)
	}
	return all, fronts, stops
}

func served(t *testing.T, fronts []string, want plan.Side) {
	t.Helper()
	for _, f := range fronts {
		resp, err := http.Post(f+"/oauth2/token", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(raw) != string(want) {
			t.Errorf("%s is served by %q, want %s", f, raw, want)
		}
	}
}

// memoryFence is a fence in memory.
type memoryFence struct {
	mu sync.Mutex
	up bool
}

func (f *memoryFence) set(up bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = up
	return nil
}
func (f *memoryFence) Raise(context.Context, time.Duration) error { return f.set(true) }
func (f *memoryFence) Keep(context.Context) error                 { return nil }
func (f *memoryFence) Lower(context.Context) error                { return f.set(false) }
func (f *memoryFence) Raised(context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up, nil
}

func TestSwitchWithRealRouters(t *testing.T) {
	t.Parallel()
	all, fronts, stops := replicas(t, 2)
	yes := func(context.Context) error { return nil }
	blue, green := &memoryFence{}, &memoryFence{up: true}
	s := &Switch{
		Ticket: Ticket{Run: "r", Term: 1}, Router: all, Fence: blue, Green: green, Replay: yes, Verify: yes,
		Record:   func(context.Context, journal.Kind, any) error { return nil },
		GiveBack: time.Second, Forward: 5 * time.Second,
	}
	s.Replay = func(ctx context.Context) error {
		w, err := all.Look(ctx, s.Ticket)
		if want := (Routing{Replicas: 2, Busy: 2, Quiet: 2}); w != want || err != nil {
			t.Errorf("in the hold: %+v %v", w, err)
		}
		return errFault
	}
	if _, err := s.Run(t.Context()); !errors.Is(err, errFault) || !errors.As(err, new(*AbortedError)) {
		t.Fatal(err)
	}
	served(t, fronts, plan.Blue)

	s.Replay = yes
	figures, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("figures %+v", figures)
	served(t, fronts, plan.Green)
	if !blue.up || green.up {
		t.Errorf("fences: blue %v green %v", blue.up, green.up)
	}
	if err := s.Back(t.Context()); err != nil {
		t.Fatal(err)
	}
	served(t, fronts, plan.Blue)

	// One replica is gone: nothing is switched anywhere, and the other one holds nothing.
	stops[1]()
	green.up = true
	if _, err := s.Run(t.Context()); !errors.As(err, new(*AbortedError)) {
		t.Errorf("with a dead replica: %v", err)
	}
	served(t, fronts[:1], plan.Blue)
	if blue.up {
		t.Error("blue is fenced")
	}
}
