package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// guardrail is one look before anybody has to wait.
type guardrail struct {
	name string
	look func(ctx context.Context, p *Progress) error
}

// Guardrails are the names that Options.Override takes, in the order in which they are looked at.
var Guardrails = []string{"window", "replay-lag", "long-transactions", "green-health", "green-warm", "green-answers", "disk", "participants", "canary"}

// ParseOverride checks a list of guardrails.
func ParseOverride(names []string) ([]string, error) {
	for _, name := range names {
		if !slices.Contains(Guardrails, name) {
			return nil, fmt.Errorf("guardrail %q is unknown; there are %s", name, strings.Join(Guardrails, ", "))
		}
	}
	return names, nil
}

// GuardrailError stops a cutover before it has touched anything.
type GuardrailError struct {
	Name string // one of Guardrails
	Err  error
	hint string
}

func (e *GuardrailError) Error() string {
	return fmt.Sprintf("guardrail %s: %v; nothing was touched, nobody has waited", e.Name, e.Err)
}

func (e *GuardrailError) Unwrap() error { return e.Err }

// Hint says what would mend it, and how to go past it.
func (e *GuardrailError) Hint() string {
	past := fmt.Sprintf("\"tideover resume --override %s\" goes past it", e.Name)
	if e.hint == "" {
		return "mend the cause, then resume; " + past
	}
	return e.hint + "; " + past
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *GuardrailError) ExitCode() int { return 4 }

func (s *cutoverStep) guardrails(r *replay.Replayer, sw *cutover.Switch) []guardrail {
	return []guardrail{
		{"window", s.inWindow},
		{"replay-lag", func(ctx context.Context, p *Progress) error { return s.caughtUp(ctx, p, r) }},
		{"long-transactions", s.noLongTransaction},
		{"green-health", s.greenHealthy},
		{"green-warm", s.greenWarm},
		{"green-answers", s.greenAnswers},
		{"disk", s.diskFree},
		{"participants", func(ctx context.Context, _ *Progress) error { return s.answering(ctx, sw) }},
		{"canary", s.canary},
	}
}

// guard looks once more before anybody has to wait. What a person has overridden is noted.
func (s *cutoverStep) guard(ctx context.Context, p *Progress, r *replay.Replayer, sw *cutover.Switch) error {
	if err := unparked(ctx, r); err != nil {
		return err // no override: the last replay would meet it again
	}
	if err := s.env.unmoved(ctx); err != nil {
		return err // no override: what blue has and green can't get would be lost
	}
	if err := s.env.greenWorks(ctx); err != nil {
		return err // no override: every request would fail
	}
	for _, g := range s.guardrails(r, sw) {
		err := g.look(ctx, p)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !slices.Contains(s.env.Override, g.name) {
			failure := &GuardrailError{Name: g.name, Err: err}
			var hinted interface{ Hint() string }
			if errors.As(err, &hinted) {
				failure.hint = hinted.Hint()
			}
			return failure
		}
		if err := p.NoteAbout(ctx, journal.AboutOverride, "guardrail %s was overridden: %v", g.name, err); err != nil {
			return err
		}
	}
	if missing, err := s.env.blueFence().Missing(ctx); err != nil {
		return err
	} else if len(missing) > 0 {
		if err := s.env.blueFence().Install(ctx, s.env.budget()); err != nil {
			return err
		}
	}
	return s.env.tellAudit(ctx, p)
}

func (s *cutoverStep) inWindow(context.Context, *Progress) error {
	if s.spec.Window == "" {
		return nil
	}
	w, err := plan.ParseWindow(s.spec.Window)
	if err != nil {
		return err
	}
	if now := time.Now(); !w.Contains(now) {
		return &guardError{fmt.Sprintf("it is %s, outside of the runbook's window %s", now.In(w.Zone).Format("Mon 15:04 MST"), s.spec.Window), "resume within it"}
	}
	return nil
}

// Only what the server's own sessions do is of interest; ours step aside for the fence by themselves.
const oldestSQL = `SELECT pid, EXTRACT(epoch FROM pg_catalog.clock_timestamp() - xact_start)::float8, coalesce(application_name, '')
	FROM pg_catalog.pg_stat_activity
	WHERE datname = pg_catalog.current_database() AND backend_type = 'client backend' AND application_name NOT LIKE 'tideover/%'
		AND xact_start < pg_catalog.clock_timestamp() - $1 * interval '1 second'
	ORDER BY xact_start LIMIT 1`

func (s *cutoverStep) noLongTransaction(ctx context.Context, _ *Progress) error {
	var pid int32
	var age float64
	var who string
	err := s.env.Blue.Pool().QueryRow(ctx, oldestSQL, s.spec.MaxTransaction.Seconds()).Scan(&pid, &age, &who)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return &guardError{
		fmt.Sprintf("a transaction on blue (pid %d, application %q) is %s old, max_transaction is %s: the fence would wait for it",
			pid, who, time.Duration(age*float64(time.Second)).Round(time.Second), s.spec.MaxTransaction),
		fmt.Sprintf("wait for it, or end it with SELECT pg_terminate_backend(%d) on blue, then resume", pid),
	}
}

func (s *cutoverStep) greenHealthy(ctx context.Context, _ *Progress) error {
	for _, base := range []string{s.env.Runbook.Green.Public, s.env.Runbook.Green.Admin} {
		if err := healthy(ctx, base, s.env.Profile.HTTP.Health); err != nil {
			return &guardError{err.Error(), "start the new server on green's database, see that it is ready, then resume"}
		}
	}
	return nil
}

const (
	warmAsks   = 10               // in a row that must all be quick
	warmEnough = time.Second      // slower than any warm server, quicker than a cold cache under load
	warmWithin = 30 * time.Second // asking warms: so long it may take
)

// greenWarm asks green what its first clients will ask, until it answers quickly: connections, plans and caches are then
// there.
func (s *cutoverStep) greenWarm(ctx context.Context, _ *Progress) error {
	base := s.env.Runbook.Green.Admin
	if base == "" {
		return nil
	}
	end := time.Now().Add(warmWithin)
	for quick := 0; quick < warmAsks; {
		began := time.Now()
		if err := s.askGreen(ctx, base); err != nil {
			return &guardError{err.Error(), "look at the new server's log, then resume"}
		}
		if took := time.Since(began); took < warmEnough {
			quick++
		} else if quick = 0; time.Now().After(end) {
			return &guardError{fmt.Sprintf("green still takes %s for an introspection after %s of asking", took.Round(time.Millisecond), warmWithin),
				"warm its caches (pg_prewarm), see what else its database does, then resume"}
		}
	}
	return nil
}

// askGreen introspects a token that nobody has; without an introspection path it asks for health.
func (s *cutoverStep) askGreen(ctx context.Context, base string) error {
	h := s.env.Profile.HTTP
	if h.IntrospectPath == "" {
		return healthy(ctx, base, h.Health)
	}
	form := url.Values{"token": {"tideover-asks-whether-green-is-warm"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+h.Admin.GreenPrefix+h.IntrospectPath, strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("green's server does not answer: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("green's server broke off its answer: %w", err)
	}
	if resp.StatusCode >= 500 {
		return fmt.Errorf("green's server answers an introspection with %s", resp.Status)
	}
	return nil
}

func (s *cutoverStep) diskFree(ctx context.Context, p *Progress) error {
	if s.spec.MinDisk <= 0 {
		return nil
	}
	for _, db := range []*postgres.DB{s.env.Green, s.env.Blue} {
		free, known, err := preflight.FreeSpace(ctx, db.Pool())
		if err != nil {
			return fmt.Errorf("ask %s for its free disk space: %w", db.Name(), err)
		}
		if !known {
			if err := p.Note(ctx, "info", "%s's free disk space was not looked at: our role may not run df there (pg_execute_server_program), or its server has none", db.Name()); err != nil {
				return err
			}
			continue
		}
		if free >>= 20; free < int64(s.spec.MinDisk) {
			return &guardError{fmt.Sprintf("%s has %d MiB of free disk space, min_disk is %d", db.Name(), free, s.spec.MinDisk), "make room, then resume"}
		}
	}
	return nil
}

// answering asks every router and participant where it is: all must be on blue, and the routers free.
func (s *cutoverStep) answering(ctx context.Context, sw *cutover.Switch) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, c := range s.env.routers() {
		st, err := c.State(ctx)
		if err != nil {
			return err
		}
		if st.Side != plan.Blue || st.Phase != router.Open && st.Run != s.env.Run {
			return fmt.Errorf("router %s: it points at %s and is %s for run %q", c.Name(), st.Side, st.Phase, st.Run)
		}
	}
	for _, participant := range sw.Participants {
		side, err := participant.Side(ctx, s.env.ticket(s.id+"/guard"))
		if err != nil {
			return fmt.Errorf("participant %q: status: %w", participant.Name(), err)
		}
		if side != plan.Blue {
			return fmt.Errorf("participant %q is on %q, want blue", participant.Name(), side)
		}
	}
	return nil
}

// canary has the routers ask green a share of the introspections, too, for a while, and compares.
func (s *cutoverStep) canary(ctx context.Context, p *Progress) error {
	if s.spec.Canary <= 0 || s.sung {
		return nil
	}
	t := s.env.ticket(s.id + "/canary")
	order := router.Order{Run: t.Run, Term: t.Term, Call: t.Call}
	for _, c := range s.env.routers() {
		if err := c.Canary(ctx, order, s.spec.CanaryShare, s.spec.Canary); err != nil {
			return err
		}
	}
	select {
	case <-time.After(s.spec.Canary):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var all router.CanaryState
	fields := map[string]int64{}
	for _, c := range s.env.routers() {
		counts, err := canaryOf(ctx, c)
		if err != nil {
			return err
		}
		all.Asked, all.Same, all.Different, all.Failed = all.Asked+counts.Asked, all.Same+counts.Same, all.Different+counts.Different, all.Failed+counts.Failed
		for f, n := range counts.Fields {
			fields[f] += n
		}
	}
	s.sung = true
	if err := p.Figure(ctx, "canary", all); err != nil {
		return err
	}
	if err := p.Note(ctx, "info", "canary: %d introspections were also asked of green: %d the same, %d different, %d without an answer", all.Asked, all.Same, all.Different, all.Failed); err != nil {
		return err
	}
	if all.Different+all.Failed > 0 {
		return &guardError{fmt.Sprintf("of %d introspections that green was asked, too, it answered %d otherwise (fields: %v) and %d not at all", all.Asked, all.Different, fields, all.Failed),
			"run validate's questions by \"tideover verify\", look at green's log, then resume"}
	}
	return nil
}

// canaryOf waits until what was asked has been judged: differences are asked again, as long as replay may take.
func canaryOf(ctx context.Context, c *router.Client) (router.CanaryState, error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for {
		st, err := c.State(ctx)
		if err != nil || st.Canary.Same+st.Canary.Different+st.Canary.Failed >= st.Canary.Asked {
			return st.Canary, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return st.Canary, fmt.Errorf("router %s: canary: %w", c.Name(), ctx.Err())
		}
	}
}
