package cutover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/plan"
)

// What can befall a participant in the middle of a call. The other end is real: a process, a server, a database.
var troubles = []string{"killed before", "killed after", "hung", "slow", "twice", "late"}

// rig is one real participant whose other end can be troubled.
type rig struct {
	Participant
	kill, revive func(t *testing.T) // nil: there is nothing to kill but ourselves
	hang         func(t *testing.T) (let func())
	late         func(t *testing.T, p Participant, call string, old Ticket) // an old call arrives; default: the same call
}

// troubled passes calls on to a rig, and troubles one of them.
type troubled struct {
	*rig
	t       *testing.T
	call    string // which one
	trouble string
	struck  int
	dead    bool
	lets    []func()
	old     Ticket
}

func (p *troubled) do(ctx context.Context, t Ticket, call string, f func(context.Context, Ticket) error) error {
	if call != p.call || p.struck > 0 {
		return f(ctx, t)
	}
	p.struck++
	p.old = t
	switch p.trouble {
	case "killed before":
		p.die()
		if p.kill == nil {
			return errFault
		}
		return f(ctx, t)
	case "killed after":
		err := f(ctx, t)
		p.die()
		return errors.Join(err, errFault)
	case "hung":
		if p.hang == nil {
			return errFault
		}
		p.lets = append(p.lets, p.hang(p.t))
		return f(ctx, t)
	case "slow":
		if p.hang == nil {
			return f(ctx, t)
		}
		let := p.hang(p.t)
		timer := time.AfterFunc(150*time.Millisecond, let)
		defer timer.Stop()
		defer let()
		return f(ctx, t)
	case "twice":
		return errors.Join(f(ctx, t), f(ctx, t))
	}
	return errFault // late: its sender has heard nothing; the call comes again when all is over
}

func (p *troubled) die() {
	if p.kill != nil {
		p.kill(p.t)
		p.dead = true
	}
}

// mend brings the other end back.
func (p *troubled) mend() {
	for _, let := range p.lets {
		let()
	}
	p.lets = nil
	if p.dead {
		p.dead = false
		p.revive(p.t)
	}
}

func (p *troubled) Prepare(ctx context.Context, t Ticket) error {
	return p.do(ctx, t, "prepare", p.Participant.Prepare)
}
func (p *troubled) Commit(ctx context.Context, t Ticket) error {
	return p.do(ctx, t, "commit", p.Participant.Commit)
}
func (p *troubled) Abort(ctx context.Context, t Ticket) error {
	return p.do(ctx, t, "abort", p.Participant.Abort)
}
func (p *troubled) Side(ctx context.Context, t Ticket) (side plan.Side, err error) {
	err = p.do(ctx, t, "status", func(ctx context.Context, t Ticket) (err error) {
		side, err = p.Participant.Side(ctx, t)
		return err
	})
	return side, err
}

// mate is a participant without troubles.
type mate struct {
	name string
	mu   sync.Mutex
	side plan.Side
}

func (m *mate) Name() string { return m.name }
func (m *mate) set(side plan.Side) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.side = side
	return nil
}
func (m *mate) Prepare(context.Context, Ticket) error { return nil }
func (m *mate) Commit(context.Context, Ticket) error  { return m.set(plan.Green) }
func (m *mate) Abort(context.Context, Ticket) error   { return m.set(plan.Blue) }
func (m *mate) Side(context.Context, Ticket) (plan.Side, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.side, nil
}

// trial is one switch with one trouble, from blue.
type trial struct {
	blue, green *memoryFence
	mates       []*mate
	last        journal.Kind
	failVerify  bool
	crashAt     journal.Kind
	term        int64
	router      Router
	subject     Participant
	calls       atomic.Int64
	drain       time.Duration
}

func (r *trial) next() *Switch {
	r.term++
	return r.cutover()
}

// cutover is a Switch of the present process.
func (r *trial) cutover() *Switch {
	yes := func(context.Context) error { return nil }
	return &Switch{
		Ticket: Ticket{Run: "r", Term: r.term}, Router: r.router, Fence: r.blue, Green: r.green,
		Participants: []Participant{r.mates[0], r.subject, r.mates[1]},
		Replay:       yes,
		Verify: func(context.Context) error {
			if r.failVerify {
				return errFault
			}
			return nil
		},
		Record: func(_ context.Context, kind journal.Kind, _ any) error {
			r.last = kind
			if kind == r.crashAt {
				panic(crash{})
			}
			return nil
		},
		Deadline: 2 * time.Second, GiveBack: 900 * time.Millisecond, Forward: 900 * time.Millisecond, Calls: &r.calls, DrainLogins: r.drain,
	}
}

// ends plays the trial to its end: the switch, then as many resumes as it takes once the trouble is over.
func (r *trial) ends(t *testing.T, mend func()) (outcome string) {
	t.Helper()
	var err error
	var aborted *AbortedError
	crashed := crashes(func() { _, err = r.next().Run(t.Context()) })
	r.crashAt, r.failVerify = "", false
	resumed := ""
	if crashed || errors.As(err, new(*CommittedError)) || errors.As(err, &aborted) && aborted.Incomplete != nil {
		resumed = "resume, "
		_, err := r.next().Recover(t.Context(), r.last) // the trouble may still be there
		if mend(); err != nil {
			if _, err := r.next().Recover(t.Context(), r.last); err != nil && !errors.As(err, new(*AbortedError)) {
				t.Errorf("resume after %s: %v", r.last, err)
			}
		}
	}
	mend()
	if r.last == journal.CutoverReleased {
		return resumed + string(plan.Green)
	}
	if r.last != journal.CutoverAborted {
		t.Errorf("the journal ends with %s", r.last)
	}
	return resumed + string(plan.Blue)
}

// consistent wants everything on the side that the outcome says.
func (r *trial) consistent(t *testing.T, outcome string) {
	t.Helper()
	side := plan.Blue
	if strings.HasSuffix(outcome, string(plan.Green)) {
		side = plan.Green
	}
	for _, p := range []Participant{r.mates[0], r.subject, r.mates[1]} {
		if got, err := p.Side(t.Context(), ticket(r.term, "status")); got != side || err != nil {
			t.Errorf("outcome %s: %s is on %q (%v)", outcome, p.Name(), got, err)
		}
	}
	routing, err := r.router.Look(t.Context(), ticket(r.term, "look"))
	if err != nil || routing.Busy != 0 || routing.Green != map[plan.Side]int{plan.Blue: 0, plan.Green: routing.Replicas}[side] {
		t.Errorf("outcome %s: the routers are at %+v (%v)", outcome, routing, err)
	}
	if r.blue.up != (side == plan.Green) || r.green.up != (side == plan.Blue) {
		t.Errorf("outcome %s: fences blue %v green %v", outcome, r.blue.up, r.green.up)
	}
}

// table is what a matrix found.
type table struct {
	mu   sync.Mutex
	rows map[string]map[string]string
}

func newTable() *table { return &table{rows: map[string]map[string]string{}} }

func (tb *table) set(row, column, cell string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if tb.rows[row] == nil {
		tb.rows[row] = map[string]string{}
	}
	tb.rows[row][column] = cell
}

func (tb *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-22s", "participant, call")
	for _, c := range troubles {
		fmt.Fprintf(&b, " %-14s", c)
	}
	for _, row := range slices.Sorted(maps.Keys(tb.rows)) {
		fmt.Fprintf(&b, "\n%-22s", row)
		for _, c := range troubles {
			fmt.Fprintf(&b, " %-14s", tb.rows[row][c])
		}
	}
	return b.String()
}

// TestParticipantsInTrouble troubles each kind of participant in each call in each way. Whatever happens, once a person
// has mended it and typed resume, everything is on one side: the participant, its mates, the router and the fences.
func TestParticipantsInTrouble(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	found := newTable()
	t.Run("all", func(t *testing.T) {
		for kind, make := range rigs() {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				rg := make(t)
				term := int64(0)
				calls := []string{"commit", "prepare", "abort", "status"}
				for _, n := range slice.Of(t, 2, len(calls)*len(troubles)) {
					call, trouble := calls[n/len(troubles)], troubles[n%len(troubles)]
					t.Run(call+" "+trouble, func(t *testing.T) {
						term = troubleOnce(t, rg, term, kind, call, trouble, found)
					})
				}
			})
		}
	})
	t.Log(found)
}

func troubleOnce(t *testing.T, rg *rig, term int64, kind, call, trouble string, found *table) int64 {
	p := &troubled{rig: rg, t: t, call: call, trouble: trouble}
	defer p.mend()
	r := &trial{
		blue: &memoryFence{}, green: &memoryFence{up: true}, router: Routers(nil), subject: p, term: term + 1,
		mates: []*mate{{name: "a", side: plan.Blue}, {name: "z", side: plan.Blue}},
	}
	if err := rg.Abort(t.Context(), Ticket{Run: "r", Term: r.term, Call: 1, Key: "start"}); err != nil {
		t.Fatalf("the way to the start: %v", err)
	}
	switch call {
	case "abort":
		r.failVerify = true
	case "status":
		r.crashAt = journal.CutoverCommitting
	}
	outcome := r.ends(t, p.mend)
	if p.struck == 0 {
		t.Fatal("the trouble never struck")
	}
	if trouble == "late" && call == "commit" { // what matters is one that comes after the way back
		if err := r.cutover().Back(t.Context()); err != nil {
			t.Fatal(err)
		}
		outcome = "way back, " + string(plan.Blue)
	}
	if trouble == "late" && call != "status" { // a status changes nothing
		if rg.late != nil {
			rg.late(t, rg.Participant, call, p.old)
		} else {
			_ = map[string]func(context.Context, Ticket) error{"prepare": rg.Prepare, "commit": rg.Commit, "abort": rg.Abort}[call](t.Context(), p.old)
		}
	}
	found.set(kind+" "+call, trouble, outcome)
	r.consistent(t, outcome)
	return r.term
}

func built(t *testing.T, name string, config any, timeout time.Duration) Participant {
	t.Helper()
	spec := plan.NewParticipant(name, config)
	spec.Timeout = timeout
	p, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A kind without a rig would be troubled by nobody.
func TestEachKindHasARig(t *testing.T) {
	t.Parallel()
	if named, built := len(rigs()), len(kinds); named != built {
		t.Errorf("%d rigs for %d kinds of participants", named, built)
	}
}

// rigs makes one of each kind.
func rigs() map[string]func(*testing.T) *rig {
	const timeout = 400 * time.Millisecond
	return map[string]func(*testing.T) *rig{
		"http": func(t *testing.T) *rig {
			s := &service{side: plan.Blue, done: map[string]bool{}}
			web := newWeb(t, s)
			return &rig{
				Participant: built(t, "http", &plan.HTTPSpec{URL: "http://" + web.addr + "/hook"}, timeout),
				kill:        func(*testing.T) { web.stop() }, revive: web.start,
				hang: func(*testing.T) func() {
					web.stall(true)
					return func() { web.stall(false) }
				},
			}
		},
		"exec": func(t *testing.T) *rig {
			dir := t.TempDir()
			flag, trap := filepath.Join(dir, "flag"), filepath.Join(dir, "trap")
			write(t, flag, string(plan.Blue))
			sh := func(script string) []string {
				return []string{"sh", "-ec", `if [ "$(cat "$2" 2>/dev/null)" = dies ]; then kill -9 $$; fi
					while [ -e "$2" ]; do sleep 0.02; done
					` + script, "sh", flag, trap}
			}
			// Terms and calls in one number, as a program would compare them.
			fence := `now=$((TIDEOVER_TERM * 1000000 + TIDEOVER_CALL)); [ "$now" -ge "$(cat "$1.seen" 2>/dev/null || echo 0)" ]; echo "$now" >"$1.seen"; `
			become := func(side plan.Side) []string {
				return sh(fence + `printf ` + string(side) + ` >"$1.new"; mv "$1.new" "$1"`)
			}
			return &rig{
				Participant: built(t, "exec", &plan.ExecSpec{
					Prepare: sh(fence), Commit: become(plan.Green), Abort: become(plan.Blue), Status: sh(`cat "$1"`)}, timeout),
				kill:   func(t *testing.T) { write(t, trap, "dies") },
				revive: func(*testing.T) { os.Remove(trap) },
				hang: func(t *testing.T) func() {
					write(t, trap, "waits")
					return func() { os.Remove(trap) }
				},
			}
		},
		"file": func(t *testing.T) *rig {
			path := filepath.Join(t.TempDir(), "conf")
			write(t, path, string(plan.Blue))
			return &rig{
				Participant: built(t, "file", &plan.FileSpec{Path: path, Blue: string(plan.Blue), Green: string(plan.Green)}, timeout),
				// The call is ours: there is no other end to be killed or to hang. A late one comes from a process that
				// has lost the run meanwhile.
				late: func(t *testing.T, p Participant, call string, old Ticket) {
					old.Term--
					if err := map[string]func(context.Context, Ticket) error{"prepare": p.Prepare, "commit": p.Commit, "abort": p.Abort}[call](t.Context(), old); !errors.Is(err, router.ErrStale) {
						t.Errorf("late %s: %v", call, err)
					}
				},
			}
		},
		"sql":       sqlRig,
		"pgbouncer": pgbouncerRig,
	}
}

func sqlRig(t *testing.T) *rig {
	spec := fixtures(t)["sql"].Config.(*plan.SQLSpec)
	to := func(side plan.Side) string {
		return `DO $$ DECLARE now bigint := current_setting('tideover.term')::bigint * 1000000 + current_setting('tideover.call')::bigint; BEGIN
			IF (SELECT term FROM public.flag FOR UPDATE) > now THEN RAISE EXCEPTION 'older call'; END IF;
			UPDATE public.flag SET side = '` + string(side) + `', term = now; END $$`
	}
	spec.CommitSQL, spec.AbortSQL = to(plan.Green), to(plan.Blue)
	lock := func(t *testing.T) func() {
		conn, err := pgx.Connect(t.Context(), spec.DSN)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE public.flag`); err != nil {
			t.Fatal(err)
		}
		return sync.OnceFunc(func() { conn.Close(context.WithoutCancel(t.Context())) })
	}
	var letLock func()
	var end context.CancelFunc
	return &rig{
		Participant: built(t, "sql", spec, 400*time.Millisecond), hang: lock,
		// Every session of the participant is ended while it waits, as by a database that crashes and comes back.
		kill: func(t *testing.T) {
			letLock = lock(t)
			var ctx context.Context
			ctx, end = context.WithCancel(context.WithoutCancel(t.Context()))
			conn, err := pgx.Connect(ctx, spec.DSN)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer conn.Close(context.WithoutCancel(ctx))
				for ctx.Err() == nil {
					_, _ = conn.Exec(ctx, `SELECT pg_catalog.pg_sleep(0.005); SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
						WHERE application_name = 'tideover/sql' AND datname = current_database() AND wait_event_type = 'Lock'`)
				}
			}()
		},
		revive: func(*testing.T) { end(); letLock() },
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// web is a service that can be killed, keeps what it knows, and comes back at the same address.
type web struct {
	handler http.Handler
	addr    string
	mu      sync.Mutex
	server  *http.Server
	gate    chan struct{} // not nil: calls wait until it is closed
}

func newWeb(t *testing.T, h http.Handler) *web {
	w := &web{handler: h, addr: "127.0.0.1:0"}
	w.start(t)
	t.Cleanup(w.stop)
	return w
}

func (w *web) start(t *testing.T) {
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	s := &http.Server{Handler: http.HandlerFunc(w.serve)}
	w.mu.Lock()
	w.server = s
	w.mu.Unlock()
	go s.Serve(l)
}

// serve reads the whole call before it stalls: it has arrived, and its effect comes late.
func (w *web) serve(out http.ResponseWriter, in *http.Request) {
	_, _ = io.Copy(io.Discard, in.Body)
	w.mu.Lock()
	gate := w.gate
	w.mu.Unlock()
	if gate != nil {
		<-gate
	}
	w.handler.ServeHTTP(out, in)
}

func (w *web) stall(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case on && w.gate == nil:
		w.gate = make(chan struct{})
	case !on && w.gate != nil:
		close(w.gate)
		w.gate = nil
	}
}

func (w *web) stop() {
	w.stall(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server.Close()
}
