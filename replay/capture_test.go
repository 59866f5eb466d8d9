package replay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// lines are the queue's rows in short, as the replayer claims and judges them.
func (p *pair) lines(t *testing.T) string {
	t.Helper()
	r := p.replayer(t)
	defer r.Disconnect()
	if err := r.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all []string
	err := r.reading(t.Context(), func(tx pgx.Tx) error {
		claimed, _, err := r.claim(t.Context(), tx, 1000)
		for _, c := range claimed {
			key, _ := c.pick(r.keys[c.table])
			line := c.op + " " + strings.TrimPrefix(c.table, "oauth_") + " " + strings.Join(key, ",")
			if c.kind == "revoked" {
				line += " revoked"
			}
			all = append(all, line)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// judgedSession is what a case begins with.
const judgedSession = `INSERT INTO oauth_client (id) VALUES ('c'); INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('a', 'q', 'c', now() + '1 hour');
INSERT INTO oauth_refresh (signature, request_id, client_id, expires_at) VALUES ('r', 'q', 'c', now() + '1 day')`

const judgedIssue = `INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('a2', 'q', 'c', now() + '1 hour');
INSERT INTO oauth_refresh (signature, request_id, client_id, expires_at) VALUES ('r2', 'q', 'c', now() + '1 day');`

// judgedCases are what a server does, and what is captured of it. elsewhere is what other sources than triggers say, where
// they can.
var judgedCases = func() []judgedCase {
	cases := []judgedCase{
		{name: "rotation", sql: `BEGIN; DELETE FROM oauth_access; UPDATE oauth_refresh SET active = false; ` + judgedIssue + `COMMIT`, want: "D access a\nU refresh r\nI access a2\nI refresh r2"},
		{name: "revocation", sql: `BEGIN; DELETE FROM oauth_access; UPDATE oauth_refresh SET active = false; COMMIT`, want: "D access a revoked\nU refresh r revoked"},
		{name: "two transactions", sql: `DELETE FROM oauth_access; UPDATE oauth_refresh SET active = false`, want: "D access a revoked\nU refresh r revoked"},
		{name: "rolled back", sql: `BEGIN; DELETE FROM oauth_access; ROLLBACK`, want: ""},
		{name: "savepoint", sql: `BEGIN; SAVEPOINT s; DELETE FROM oauth_access; ROLLBACK TO s; UPDATE oauth_refresh SET scope = 'x'; COMMIT`, want: "U refresh r"},
		{name: "nothing changes", sql: `UPDATE oauth_refresh SET scope = scope`, want: "U refresh r"},
		{name: "expired", sql: `UPDATE oauth_access SET expires_at = now() - interval '1 s'; DELETE FROM oauth_access`, want: "U access a\nD access a"},
		{name: "key changes", sql: `UPDATE oauth_access SET signature = 'b'`, want: "D access a\nI access b"},
		{name: "truncate", sql: `TRUNCATE oauth_refresh, oauth_access`, want: "D refresh r revoked\nD access a revoked"},
		{name: "client", sql: `DELETE FROM oauth_client`, want: "D client c revoked"},
		{name: "replica role", sql: `SET session_replication_role = replica; DELETE FROM oauth_client; RESET session_replication_role`, want: "D client c revoked"},
		{name: "a forged pass", sql: `SET tideover.pass = 'on'; DELETE FROM oauth_client; RESET tideover.pass`, want: "D client c revoked"},
		{name: "copy"},
	}
	for i := range cases {
		c := &cases[i]
		switch c.name {
		case "truncate", "copy":
		case "nothing changes": // only the triggers don't ask
			c.elsewhere = new(string)
		default:
			c.elsewhere = &c.want
		}
	}
	return cases
}()

type judgedCase struct {
	name, sql, want string
	elsewhere       *string
}

func TestCaptureIsJudged(t *testing.T) {
	t.Parallel()
	for _, c := range quick.First(t, 2, judgedCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			capture := NewCapture(p.blue, p.profile, plan.Blue)
			for _, capture := range []*Capture{capture, capture.MarkIncomplete()} { // of which the second lets changes go through
				if err := capture.Install(t.Context(), postgres.DefaultBudget()); err != nil {
					t.Fatal(err)
				}
				p.as(t, `TRUNCATE oauth_client, oauth_access, oauth_refresh CASCADE; `+judgedSession+`; TRUNCATE tideover.captured, tideover.change`)
				conn := stranger(t, p.blue)
				for _, sql := range statements(c.sql) {
					if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
						t.Fatal(err)
					}
				}
				if c.name == "copy" {
					if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"oauth_client"}, []string{"id"}, pgx.CopyFromRows([][]any{{"x"}, {"y"}})); err != nil {
						t.Fatal(err)
					}
					c.want = "I client x\nI client y"
				}
				if got := p.lines(t); got != c.want {
					t.Errorf("captured\n%s\nwant\n%s", got, c.want)
				}
			}
		})
	}
}

// statements splits a script, so that each is a transaction of its own unless it says BEGIN.
func statements(script string) []string {
	var all []string
	for s := range strings.SplitSeq(script, ";") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func TestCaptureKeepsNoSecrets(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, source := range []string{triggers, logical} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			keepsNoSecrets(t, newPairOf(t, source))
		})
	}
}

func keepsNoSecrets(t *testing.T, p *pair) {
	t.Helper()
	p.as(t, `INSERT INTO oauth_client (id, secret_hash) VALUES ('c', 'SECRET-1')`, `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('j', 'a', 'SECRET-2')`,
		`INSERT INTO oauth_access (signature, request_id, client_id, session_data, expires_at) VALUES ('sig', 'q', 'c', 'SECRET-3', now())`,
		`UPDATE oauth_client SET secret_hash = 'SECRET-4'`, `DELETE FROM oauth_access`, `DELETE FROM oauth_jwk`)
	if s := p.config.Source; s != nil {
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var all string
	if err := p.blue.Pool().QueryRow(t.Context(), `SELECT concat((SELECT string_agg(c::text, ' ') FROM tideover.change c), (SELECT string_agg(c::text, ' ') FROM tideover.captured c))`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(all, "SECRET") || !strings.Contains(all, "sig") {
		t.Errorf("the queue holds: %s", all)
	}
}

// What can't be recorded must not happen.
func TestCaptureFailureFailsTheWrite(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	p.as(t, `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('j', 'a', 'k')`)
	conn := stranger(t, p.blue)
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `TRUNCATE oauth_jwk`); postgres.Code(err) != "0A000" {
		t.Errorf("a truncate that can miss rows: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, p.blue, `ALTER TABLE tideover.captured ADD CONSTRAINT no_more CHECK (false) NOT VALID`)
	if _, err := conn.Exec(t.Context(), `DELETE FROM oauth_jwk`); err == nil {
		t.Error("a write that could not be recorded went through")
	}
	var n int
	if err := pgtest.Pool(t, p.blue.DSN()).QueryRow(t.Context(), `SELECT count(*) FROM oauth_jwk`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// The server's role has no rights on our schema and needs none.
func TestCaptureForAnOrdinaryRole(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	if err := NewFence(p.blue, "").Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	conn := stranger(t, p.blue)
	role := "app_" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_"))
	exec(t, p.blue, `CREATE ROLE `+role+`; GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role)
	t.Cleanup(func() {
		_, err := p.blue.Pool().Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Error(err)
		}
	})
	for _, sql := range []string{`SET ROLE ` + role, `INSERT INTO oauth_client (id) VALUES ('c')`, `DELETE FROM oauth_client`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if got, want := p.lines(t), "I client c\nD client c revoked"; got != want {
		t.Errorf("captured\n%s\nwant\n%s", got, want)
	}
}

func TestCaptureThereAndBack(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	c := NewCapture(p.blue, p.profile, plan.Blue)
	if err := NewFence(p.blue, "").Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for range 2 {
			if err := c.Install(t.Context(), postgres.DefaultBudget()); err != nil {
				t.Fatal(err)
			}
		}
		if ok, err := c.Installed(t.Context()); err != nil || !ok {
			t.Fatalf("installed: %t, %v", ok, err)
		}
		exec(t, p.blue, `ALTER TABLE oauth_jwk DISABLE TRIGGER tideover_capture_delete`)
		if ok, err := c.Installed(t.Context()); err != nil || ok {
			t.Fatalf("installed in spite of a disabled trigger: %t, %v", ok, err)
		}
		for range 2 {
			if err := c.Remove(t.Context(), postgres.DefaultBudget()); err != nil {
				t.Fatal(err)
			}
		}
		if ok, err := c.Installed(t.Context()); err != nil || ok {
			t.Fatalf("installed after Remove: %t, %v", ok, err)
		}
		if _, err := c.Lag(t.Context()); !errors.Is(err, ErrNoCapture) {
			t.Errorf("lag without a queue: %v", err)
		}
	}
	p.as(t, `INSERT INTO oauth_client (id) VALUES ('c')`)
	if missing, err := NewFence(p.blue, "").Missing(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("Remove took the fence along: %v, %v", missing, err)
	}
}

// A table that is held for long delays the capture within its budget, and live traffic by one lock attempt at most.
func TestCaptureYieldsToALockHolder(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	c := NewCapture(p.blue, p.profile, plan.Blue)
	if err := c.Remove(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	holder, err := stranger(t, p.blue).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('early', 'a', 'k')`); err != nil {
		t.Fatal(err)
	}
	short := postgres.Budget{Timeout: 50 * time.Millisecond, Retry: 300 * time.Millisecond}
	var lock *postgres.LockError
	if err := c.Install(t.Context(), short); !errors.As(err, &lock) || !strings.Contains(err.Error(), "oauth_jwk") {
		t.Fatalf("got %v, want a LockError that names the table", err)
	}
	if ok, err := c.Installed(t.Context()); err != nil || ok {
		t.Errorf("installed: %t, %v", ok, err)
	}
	installed := make(chan error, 1)
	go func() {
		installed <- c.Install(context.Background(), postgres.Budget{Timeout: 50 * time.Millisecond, Retry: time.Minute})
	}()
	waitForLock(t, p.blue)
	if err := holder.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-installed; err != nil {
		t.Fatal(err)
	}
	p.as(t, `DELETE FROM oauth_jwk`)
	if got, want := p.lines(t), "D jwk early"; got != want {
		t.Errorf("captured\n%s\nwant\n%s", got, want)
	}
}

// A judge that can't run must fail the installation, not every COMMIT of the server.
func TestWrongJudgeIsRefused(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, judge := range map[string]string{"unknown column": `CASE WHEN :nothing THEN 'x' END`, "no such table": `(SELECT 'x' FROM nowhere WHERE :id = 'a')`, "syntax": `CASE`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			broken := &plan.Profile{Tables: []plan.Table{{Name: "oauth_client", Judge: judge}}}
			if err := NewCapture(p.blue, broken, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err == nil || !strings.Contains(err.Error(), "judge") {
				t.Errorf("got %v", err)
			}
			p.as(t, `INSERT INTO oauth_client (id) VALUES ('c')`, `DELETE FROM oauth_client`)
		})
	}
}

// By choice, what can't be recorded happens all the same: then the run knows of it for good. A statement that the server
// itself gives up is no such change.
func TestCaptureMarksItselfIncomplete(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	capture := NewCapture(p.blue, p.profile, plan.Blue).MarkIncomplete()
	if err := capture.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	p.config.Source = capture
	p.as(t, `INSERT INTO oauth_client (id) VALUES ('c')`)
	complete := func(when string) {
		t.Helper()
		if err := capture.Sync(t.Context()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	holder, err := stranger(t, p.blue).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), `LOCK TABLE tideover.captured IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	conn := stranger(t, p.blue)
	if _, err := conn.Exec(t.Context(), `SET statement_timeout = '100ms'; UPDATE oauth_client SET name = 'late'`, pgx.QueryExecModeSimpleProtocol); postgres.Code(err) != "57014" {
		t.Errorf("a statement that takes too long: %v", err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	complete("after a statement that took too long")
	if _, err := conn.Exec(t.Context(), `RESET statement_timeout`); err != nil {
		t.Fatal(err)
	}
	exec(t, p.blue, `ALTER TABLE tideover.captured ADD CONSTRAINT no_more CHECK (false) NOT VALID`)
	for _, sql := range []string{`UPDATE oauth_client SET name = 'lost'`, `BEGIN; DELETE FROM oauth_client; ROLLBACK`} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if got := p.text(t, p.blue, `SELECT name FROM oauth_client`); got != "lost" {
		t.Errorf("the client is %q", got)
	}
	exec(t, p.blue, `ALTER TABLE tideover.captured DROP CONSTRAINT no_more`)
	var lost *LostError
	if err := capture.Sync(t.Context()); !errors.As(err, &lost) || !strings.Contains(lost.Cause, "2 could not be recorded") {
		t.Errorf("sync: %v", err)
	}
	if err := capture.Install(t.Context(), postgres.DefaultBudget()); err != nil { // changes nothing about what is lost
		t.Error(err)
	}
	if _, err := capture.Installed(t.Context()); !errors.As(err, &lost) {
		t.Errorf("installed: %v", err)
	}
	if _, err := p.replayer(t).Batch(t.Context()); !errors.As(err, &lost) {
		t.Errorf("batch: %v", err)
	}
	if err := capture.Remove(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	if err := capture.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	complete("in a new run")
}
