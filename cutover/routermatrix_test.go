package cutover

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/plan"
)

// replica is a router behind a wire that can be cut or held up, at an address that stays.
type replica struct {
	config router.Config
	wire   *wire
	client *router.Client
	stop   func()
}

func newReplica(t *testing.T) *replica {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	side := router.Target{Public: server.URL, Admin: server.URL}
	r := &replica{
		config: router.Config{
			PublicListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ControlListen: "127.0.0.1:0", Token: token,
			StatePath: filepath.Join(t.TempDir(), "state"), Profile: plan.HTTP{RefreshPath: "/oauth2/token"}, Blue: side, Green: side,
		},
		wire: newWire(t),
	}
	r.client = router.NewClient("http://"+r.wire.l.Addr().String(), token)
	r.start(t)
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *replica) start(t *testing.T) {
	x, err := router.New(r.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-done })
	r.wire.lead(x.Addresses().Control)
}

func (r *replica) kill() {
	r.wire.lead("")
	r.stop()
}

// wire passes bytes on.
type wire struct {
	l  net.Listener
	mu sync.Mutex
	to string // "": every connection is cut
	// While held is not nil, what comes waits until it is closed: connections, and bytes of those that are there.
	held  chan struct{}
	conns map[net.Conn]bool
}

func newWire(t *testing.T) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); w.lead("") })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(c)
		}
	}()
	return w
}

func (w *wire) lead(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
	if to == "" {
		for c := range w.conns {
			c.Close()
		}
	}
}

func (w *wire) holdUp() (let func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := make(chan struct{})
	w.held = held
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held = nil
		close(held)
	})
}

func (w *wire) wait() {
	w.mu.Lock()
	held := w.held
	w.mu.Unlock()
	if held != nil {
		<-held
	}
}

func (w *wire) pass(c net.Conn) {
	defer c.Close()
	w.wait()
	w.mu.Lock()
	to := w.to
	w.conns[c] = true
	w.mu.Unlock()
	if to == "" {
		return
	}
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	w.mu.Lock()
	w.conns[d] = true
	w.mu.Unlock()
	go func() {
		_, _ = io.Copy(c, d)
		c.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		w.wait()
		if n > 0 {
			if _, err := d.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// troubledRouters troubles one replica of all in one command.
type troubledRouters struct {
	Routers
	one     *replica
	t       *testing.T
	call    string
	trouble string
	struck  int
	dead    bool
	lets    []func()
	old     Ticket
}

func (r *troubledRouters) do(t Ticket, call string, f func(Ticket) error) error {
	if call != r.call || r.struck > 0 {
		return f(t)
	}
	r.struck++
	r.old = t
	switch r.trouble {
	case "killed before":
		r.one.kill()
		r.dead = true
	case "killed after":
		err := f(t)
		r.one.kill()
		r.dead = true
		return err
	case "hung":
		r.lets = append(r.lets, r.one.wire.holdUp())
	case "slow":
		let := r.one.wire.holdUp()
		defer let()
		defer time.AfterFunc(150*time.Millisecond, let).Stop()
	case "twice":
		if err := f(t); err != nil {
			return err
		}
	case "late":
		return errFault
	}
	return f(t)
}

func (r *troubledRouters) mend() {
	for _, let := range r.lets {
		let()
	}
	r.lets = nil
	if r.dead {
		r.dead = false
		r.one.start(r.t)
	}
}

func (r *troubledRouters) Drain(ctx context.Context, t Ticket, wait, deadline time.Duration) (left int, err error) {
	err = r.do(t, "drain", func(t Ticket) (err error) { left, err = r.Routers.Drain(ctx, t, wait, deadline); return err })
	return left, err
}
func (r *troubledRouters) Hold(ctx context.Context, t Ticket, d time.Duration) error {
	return r.do(t, "hold", func(t Ticket) error { return r.Routers.Hold(ctx, t, d) })
}
func (r *troubledRouters) Switch(ctx context.Context, t Ticket, side plan.Side) error {
	return r.do(t, "switch", func(t Ticket) error { return r.Routers.Switch(ctx, t, side) })
}
func (r *troubledRouters) Release(ctx context.Context, t Ticket) error {
	return r.do(t, "release", func(t Ticket) error { return r.Routers.Release(ctx, t) })
}
func (r *troubledRouters) Look(ctx context.Context, t Ticket) (l Routing, err error) {
	err = r.do(t, "look", func(t Ticket) (err error) { l, err = r.Routers.Look(ctx, t); return err })
	return l, err
}

// TestRoutersInTrouble does to one of two replicas of the router what TestParticipantsInTrouble does to participants.
func TestRoutersInTrouble(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	found := newTable()
	t.Run("all", func(t *testing.T) {
		for _, call := range []string{"drain", "hold", "look", "switch", "release"} {
			t.Run(call, func(t *testing.T) {
				t.Parallel()
				for _, trouble := range slice.Pick(t, 1, troubles) {
					t.Run(trouble, func(t *testing.T) { troubleRouter(t, call, trouble, found) })
				}
			})
		}
	})
	t.Log(found)
}

func troubleRouter(t *testing.T, call, trouble string, found *table) {
	both := []*replica{newReplica(t), newReplica(t)}
	rs := &troubledRouters{Routers: Routers{both[0].client, both[1].client}, one: both[1], t: t, call: call, trouble: trouble}
	subject := &mate{name: "subject", side: plan.Blue}
	r := &trial{
		blue: &memoryFence{}, green: &memoryFence{up: true}, router: rs, subject: subject, drain: 10 * time.Millisecond,
		mates: []*mate{{name: "a", side: plan.Blue}, {name: "z", side: plan.Blue}},
	}
	outcome := r.ends(t, rs.mend)
	if rs.struck == 0 {
		t.Fatal("the trouble never struck")
	}
	if trouble == "late" {
		late := map[string]func() error{
			"drain":   func() error { _, err := rs.Routers.Drain(t.Context(), rs.old, 0, time.Second); return err },
			"hold":    func() error { return rs.Routers.Hold(t.Context(), rs.old, time.Second) },
			"switch":  func() error { return rs.Routers.Switch(t.Context(), rs.old, plan.Green) },
			"release": func() error { return rs.Routers.Release(t.Context(), rs.old) },
			"look":    func() error { return nil },
		}[call]()
		t.Logf("late %s: %v", call, late)
	}
	found.set("router "+call, trouble, outcome)
	r.consistent(t, outcome)
	if r.last == journal.CutoverReleased && outcome == string(plan.Blue) {
		t.Error("the journal and the outcome differ")
	}
}
