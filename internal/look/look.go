// Package look asks what is so now: routers, fences, participants, servers, the lease and locks, each for itself and within a
// short time. What can't be reached is unknown, with the reason; nothing is taken from the journal in its place.
//
// It changes nothing, and may be asked while a run goes on, or when no tideover lives any more.
package look

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// Facts is what everything said when it was asked. Unknown is the reason where it said nothing.
type Facts struct {
	At           time.Time     `json:"at"`
	Routers      []Router      `json:"routers"`
	Fences       []Fence       `json:"fences"`
	Participants []Participant `json:"participants"`
	Servers      []Server      `json:"servers"`
	Lease        Lease         `json:"lease"`
	Waits        []Waits       `json:"waits"`
}

// Router is one replica of the router.
type Router struct {
	Name    string       `json:"name"`
	Side    plan.Side    `json:"side,omitempty"`
	Phase   router.Phase `json:"phase,omitempty"`
	Waiting int          `json:"waiting"`           // requests that wait there now
	Until   time.Time    `json:"until,omitzero"`    // when its drain or hold ends by itself
	Run     string       `json:"run,omitempty"`     // whose drain or hold it is
	Refused int64        `json:"refused,omitempty"` // 503 by the router since it was started
	Silent  []string     `json:"silent,omitempty"`  // listeners ("public", "admin") behind which the router finds nobody ready
	Unknown string       `json:"unknown,omitempty"`
}

// Fence is what a database does with writes.
type Fence struct {
	Side    plan.Side `json:"side"`
	Raised  bool      `json:"raised"`
	Stays   bool      `json:"stays,omitempty"` // without an end
	Until   time.Time `json:"until,omitzero"`
	Unknown string    `json:"unknown,omitempty"`
}

// Participant is where a participant is.
type Participant struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`
	Side    plan.Side `json:"side,omitempty"`
	Unknown string    `json:"unknown,omitempty"`
}

// Server is one listener of a server.
type Server struct {
	Side     plan.Side `json:"side"`
	Listener string    `json:"listener"` // "public" or "admin"
	Ready    bool      `json:"ready"`
	Says     string    `json:"says,omitempty"` // where it is not ready
	Unknown  string    `json:"unknown,omitempty"`
}

// Lease is who holds the control database.
type Lease struct {
	Held    bool              `json:"held"`
	Session *postgres.Session `json:"session,omitempty"`
	Unknown string            `json:"unknown,omitempty"`
}

// Waits are our sessions that wait for locks in one database.
type Waits struct {
	Database string          `json:"database"` // "blue", "green" or "control"
	Waits    []postgres.Wait `json:"waits"`
	Unknown  string          `json:"unknown,omitempty"`
}

// Question is what is asked.
type Question struct {
	Runbook *plan.Runbook // may be a sketch (plan.SketchRunbook): what a variable is missing for is unknown then
	Profile *plan.Profile
	Control *postgres.DB // nil: it could not be reached
	Run     string
	Term    int64
	Within  time.Duration // each question; 0: 3s
}

const unreachable = "the control database can't be reached"

// within is how long somebody may take to answer who watches.
const within = 3 * time.Second

// Ask asks all of it at once.
func Ask(ctx context.Context, q Question) Facts {
	if q.Within <= 0 {
		q.Within = within
	}
	f := Facts{At: time.Now(), Routers: []Router{}, Participants: []Participant{}, Servers: []Server{}}
	var all sync.WaitGroup
	ask := func(f func(ctx context.Context)) {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, q.Within)
			defer cancel()
			f(ctx)
		})
	}
	if r := q.Runbook.Router; r != nil {
		f.Routers = make([]Router, len(r.Admin))
		for i, base := range r.Admin {
			ask(func(ctx context.Context) { f.Routers[i] = askRouter(ctx, base, r.Token) })
		}
	}
	specs := q.Runbook.Participants()
	f.Participants = make([]Participant, len(specs))
	for i, spec := range specs {
		ask(func(ctx context.Context) { f.Participants[i] = q.askParticipant(ctx, spec) })
	}
	sides := []struct {
		side plan.Side
		plan.Service
	}{{plan.Blue, q.Runbook.Blue}, {plan.Green, q.Runbook.Green}}
	if q.Runbook.InPlace() {
		sides = sides[:1]
	}
	f.Fences, f.Waits = make([]Fence, len(sides)), make([]Waits, len(sides)+1)
	for i, s := range sides {
		ask(func(ctx context.Context) { f.Fences[i], f.Waits[i] = askDatabase(ctx, s.side, s.DSN) })
		for _, l := range []struct{ listener, base string }{{"public", s.Public}, {"admin", s.Admin}} {
			if l.base == "" || q.Profile.HTTP.Health == "" {
				continue
			}
			f.Servers = append(f.Servers, Server{Side: s.side, Listener: l.listener})
		}
	}
	for i := range f.Servers {
		at := &f.Servers[i]
		service := sides[0].Service
		if at.Side == plan.Green {
			service = sides[1].Service
		}
		base := service.Public
		if at.Listener == "admin" {
			base = service.Admin
		}
		ask(func(ctx context.Context) { at.ask(ctx, base, q.Profile.HTTP.Health) })
	}
	ask(func(ctx context.Context) { f.Lease, f.Waits[len(sides)] = askControl(ctx, q.Control) })
	all.Wait()
	control := &f.Waits[len(sides)]
	control.Waits = slices.DeleteFunc(control.Waits, func(w postgres.Wait) bool { // blue's database is often the same
		return slices.ContainsFunc(f.Waits[:len(sides)], func(other Waits) bool {
			return slices.ContainsFunc(other.Waits, func(o postgres.Wait) bool { return o.PID == w.PID && o.Since.Equal(w.Since) })
		})
	})
	return f
}

func askRouter(ctx context.Context, base, token string) Router {
	r := Router{Name: base}
	if reason := plan.Unset(base); reason != "" {
		return Router{Name: "a router", Unknown: reason}
	}
	if r.Unknown = plan.Unset(token); r.Unknown != "" {
		return r
	}
	client := router.NewClient(base, token)
	st, err := client.State(ctx)
	if err != nil {
		r.Unknown = reason(ctx, err)
		return r
	}
	r.Side, r.Phase, r.Waiting, r.Refused = st.Side, st.Phase, st.Held, st.Refused
	if st.Phase != router.Open {
		r.Run, r.Until = st.Run, time.Now().Add(time.Duration(st.UntilMS)*time.Millisecond)
		return r
	}
	for _, listener := range []string{"public", "admin"} {
		if ready, err := client.Ready(ctx, listener); err == nil && !ready { // a router that can't tell leaves it to the servers' own answers
			r.Silent = append(r.Silent, listener)
		}
	}
	return r
}

func (q *Question) askParticipant(ctx context.Context, spec plan.ParticipantSpec) Participant {
	p := Participant{Name: spec.Name, Kind: spec.Kind}
	if p.Unknown = spec.Unset(); p.Unknown != "" {
		return p
	}
	built, err := cutover.Build(spec)
	if err == nil {
		p.Side, err = built.Side(ctx, cutover.Ticket{Run: q.Run, Term: q.Term, Key: q.Run + "/status"})
	}
	if err != nil {
		p.Unknown = reason(ctx, err)
	} else if p.Side == "" {
		p.Unknown = "it can't tell"
	}
	return p
}

func askDatabase(ctx context.Context, side plan.Side, dsn string) (Fence, Waits) {
	f, w := Fence{Side: side}, Waits{Database: string(side), Waits: []postgres.Wait{}}
	unknown := func(reason string) (Fence, Waits) {
		f.Unknown, w.Unknown = reason, reason
		return f, w
	}
	if reason := plan.Unset(dsn); reason != "" {
		return unknown(reason)
	}
	if dsn == "" {
		return unknown("the runbook has no dsn for it")
	}
	db, err := postgres.Open(ctx, string(side), dsn)
	if err != nil {
		return unknown(reason(ctx, err))
	}
	defer db.Close()
	st, err := replay.NewFence(db, "").State(ctx)
	if err != nil {
		f.Unknown = reason(ctx, err)
	}
	f.Raised, f.Stays = st.Raised, st.Stays
	if st.Left > 0 {
		f.Until = time.Now().Add(st.Left)
	}
	w.ask(ctx, db)
	return f, w
}

func (w *Waits) ask(ctx context.Context, db *postgres.DB) {
	waits, err := db.Waits(ctx)
	if err != nil {
		w.Unknown = reason(ctx, err)
		return
	}
	w.Waits = append(w.Waits, waits...)
}

func askControl(ctx context.Context, db *postgres.DB) (Lease, Waits) {
	l, w := Lease{}, Waits{Database: "control", Waits: []postgres.Wait{}}
	if db == nil {
		l.Unknown, w.Unknown = unreachable, unreachable
		return l, w
	}
	s, held, err := postgres.NewJournal(db).LeaseHolder(ctx)
	if err != nil {
		l.Unknown = reason(ctx, err)
	} else if held {
		l.Held, l.Session = true, &s
	}
	w.ask(ctx, db)
	return l, w
}

func (s *Server) ask(ctx context.Context, base, path string) {
	if s.Unknown = plan.Unset(base); s.Unknown != "" {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // what it says more is nobody's question
			resp.Body.Close()
			if s.Ready = resp.StatusCode == http.StatusOK; !s.Ready {
				s.Says = resp.Status
			}
			return
		}
	}
	s.Unknown = reason(ctx, err)
}

// reason is an error as the reason why something is unknown.
func reason(ctx context.Context, err error) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("no answer in time: %v", err)
	}
	return err.Error()
}
