package replay

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

var histories = flag.Int("histories", 40, "how many random histories are played")

// writers is a crowd of sessions on blue that one goroutine plays in an order drawn by chance: what overlaps and who
// commits first is the seed's choice, not the machine's.
type writers struct {
	t    *testing.T
	rng  *rand.Rand
	open []*session
	free []*session
	n    int
}

type session struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

func newWriters(t *testing.T, p *pair, rng *rand.Rand, count int) *writers {
	w := &writers{t: t, rng: rng}
	for range count {
		conn := stranger(t, p.blue)
		// One goroutine plays all: who waits for another's lock would wait for ever.
		if _, err := conn.Exec(t.Context(), `SET lock_timeout = '20ms'`); err != nil {
			t.Fatal(err)
		}
		w.free = append(w.free, &session{conn: conn})
	}
	return w
}

func (w *writers) id(prefix string) string {
	w.n++
	return fmt.Sprintf("%s%04d", prefix, w.n)
}

// actions are what servers do. %s is a new name, {x} a row that is there now, drawn by chance.
func (w *writers) action() []string {
	pick := func(table, column, where string) string {
		return fmt.Sprintf("(SELECT %s FROM (SELECT %s FROM oauth_%s WHERE %s) x ORDER BY md5(%s || '%d') LIMIT 1)",
			column, column, table, where, column, w.rng.IntN(1000))
	}
	odd := []string{"{}", `{"a":1}`, "", "null", "no json", `{"a":"x\u0000y"}`, `{"a":"\\u0000"}`, `[1,{"b":[]}`, `"\ud800"`}
	json := "'" + odd[w.rng.IntN(len(odd))] + "'"
	if w.rng.IntN(2) == 0 {
		json = "'{}'"
	}
	refresh := pick("refresh", "signature", "active")
	chain := pick("refresh", "request_id", "true")
	consent := pick("consent_request", "challenge", "true")
	switch w.rng.IntN(25) {
	case 0:
		id := w.id("c")
		return []string{fmt.Sprintf(`INSERT INTO oauth_client (id, owner, redirect_uris) VALUES ('%s', '%s', '["https://%s"]')`, id, []string{"", "o"}[w.rng.IntN(2)], id),
			fmt.Sprintf(`INSERT INTO oauth_client_details (client_id, metadata) VALUES ('%s', %s)`, id, json)}
	case 1:
		return []string{"UPDATE oauth_client SET name = name || 'x', audience = " + json + " WHERE id = " + pick("client", "id", "true")}
	case 2:
		if w.rng.IntN(3) > 0 {
			return nil
		}
		return []string{"DELETE FROM oauth_client WHERE id = " + pick("client", "id", "true")}
	case 3, 4, 5, 6: // a login and its consent, at once or half of it
		s, l, k := w.id("s"), w.id("l"), w.id("k")
		sql := []string{fmt.Sprintf(`INSERT INTO oauth_session (id, subject) VALUES ('%s', 'u%d')`, s, w.rng.IntN(3)),
			fmt.Sprintf(`INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url, oidc_context) VALUES ('%s', 'v%s', %s, '%s', 'u', %s)`, l, l, pick("client", "id", "true"), s, json)}
		if w.rng.IntN(4) == 0 {
			return sql
		}
		sql = append(sql, fmt.Sprintf(`INSERT INTO oauth_login_handled (challenge, subject, was_used, context) VALUES ('%s', 'u%d', true, %s)`, l, w.rng.IntN(3), json))
		sql = append(sql, fmt.Sprintf(`INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject) SELECT '%s', 'v%s', '%s', client_id, 'u1' FROM oauth_login_request WHERE challenge = '%s'`, k, k, l, l))
		if w.rng.IntN(4) > 0 {
			sql = append(sql, fmt.Sprintf(`INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used, session_id_token) VALUES ('%s', 'openid', true, %s)`, k, json))
			sql = append(sql, w.issue(fmt.Sprintf("'%s'", k))...)
		}
		return sql
	case 7: // a second consent of one login
		k := w.id("k")
		return []string{fmt.Sprintf(`INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject) SELECT '%s', 'v%s', challenge, client_id, 'u2' FROM oauth_login_request WHERE challenge = %s`, k, k, pick("login_request", "challenge", "true"))}
	case 8:
		return []string{fmt.Sprintf(`INSERT INTO oauth_consent_handled (challenge, was_used, session_access_token) SELECT challenge, true, %s FROM oauth_consent_request k WHERE NOT EXISTS (SELECT 1 FROM oauth_consent_handled h WHERE h.challenge = k.challenge) LIMIT 1`, json)}
	case 9:
		return w.issue(consent)
	case 10, 11, 12, 13: // rotation; x keeps the choice stable while the rows change
		a, r := w.id("a"), w.id("r")
		return []string{"CREATE TEMP TABLE IF NOT EXISTS x (r text); TRUNCATE x; INSERT INTO x SELECT " + refresh,
			`DELETE FROM oauth_access WHERE request_id = (SELECT request_id FROM oauth_refresh JOIN x ON signature = r)`,
			`UPDATE oauth_refresh SET active = false WHERE signature = (SELECT r FROM x)`,
			fmt.Sprintf(`INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, expires_at) SELECT '%s', request_id, client_id, subject, consent_challenge, now() + '1 hour' FROM oauth_refresh JOIN x ON signature = r`, a),
			fmt.Sprintf(`INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at) SELECT '%s', request_id, client_id, subject, consent_challenge, now() + '1 day' FROM oauth_refresh JOIN x ON signature = r`, r)}
	case 14, 15:
		return []string{"CREATE TEMP TABLE IF NOT EXISTS x (r text); TRUNCATE x; INSERT INTO x SELECT " + chain,
			`UPDATE oauth_refresh SET active = false WHERE request_id = (SELECT r FROM x)`, `DELETE FROM oauth_access WHERE request_id = (SELECT r FROM x)`}
	case 16: // half of it
		return []string{`UPDATE oauth_refresh SET active = false WHERE request_id = ` + chain}
	case 17:
		return []string{`DELETE FROM oauth_access WHERE request_id = ` + pick("access", "request_id", "true")}
	case 18, 19:
		return []string{`DELETE FROM oauth_consent_request WHERE challenge = ` + consent}
	case 20, 21:
		return []string{`DELETE FROM oauth_session WHERE id = ` + pick("session", "id", "true")}
	case 22:
		return []string{`DELETE FROM oauth_login_request WHERE challenge = ` + pick("login_request", "challenge", "true")}
	case 23:
		return []string{`UPDATE oauth_consent_request SET login_challenge = ` + pick("login_request", "challenge", "true") + ` WHERE challenge = ` + consent}
	default:
		a := w.id("cc")
		return []string{fmt.Sprintf(`INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('%s', '%s', coalesce(%s, 'gone'), now() + '1 hour')`, a, a, pick("client", "id", "true")),
			`DELETE FROM oauth_refresh WHERE NOT active AND signature = ` + pick("refresh", "signature", "NOT active")}
	}
}

func (w *writers) issue(consent string) []string {
	a, r := w.id("a"), w.id("r")
	return []string{
		fmt.Sprintf(`INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, expires_at) SELECT '%s', challenge, client_id, subject, challenge, now() + '1 hour' FROM oauth_consent_request WHERE challenge = %s`, a, consent),
		fmt.Sprintf(`INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at) SELECT '%s', challenge, client_id, subject, challenge, now() + '1 day' FROM oauth_consent_request WHERE challenge = %s`, r, consent)}
}

// step begins, goes on with, or ends one of the transactions.
func (w *writers) step() {
	ctx := w.t.Context()
	if len(w.free) > 0 && (len(w.open) == 0 || w.rng.IntN(3) == 0) {
		s := w.free[0]
		w.free = w.free[1:]
		level := []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.ReadCommitted, pgx.RepeatableRead}[w.rng.IntN(3)]
		var err error
		if s.tx, err = s.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level}); err != nil {
			w.t.Fatal(err)
		}
		w.open = append(w.open, s)
	}
	i := w.rng.IntN(len(w.open))
	switch s := w.open[i]; w.rng.IntN(6) {
	case 0, 1, 2:
		if !w.run(s.tx, w.action()) {
			w.end(i, false)
		}
	case 3: // a part of it is taken back
		part, err := s.tx.Begin(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		w.run(part, w.action())
		if err := part.Rollback(ctx); err != nil {
			w.t.Fatal(err)
		}
	default:
		w.end(i, w.rng.IntN(5) > 0)
	}
}

// run does an action. It is false where a lock, an old snapshot or a constraint failed it: servers give up then.
func (w *writers) run(tx pgx.Tx, sql []string) bool {
	for _, s := range sql {
		_, err := tx.Exec(w.t.Context(), s, pgx.QueryExecModeSimpleProtocol)
		switch postgres.Code(err) {
		case "":
			if err != nil {
				w.t.Fatalf("%s: %v", s, err)
			}
		case "55P03", "40001", "23502", "23503", "23505", "40P01":
			return false
		default:
			w.t.Fatalf("%s: %v", s, err)
		}
	}
	return true
}

func (w *writers) end(i int, commit bool) {
	s := w.open[i]
	var err error
	if commit {
		err = s.tx.Commit(w.t.Context())
	} else {
		err = s.tx.Rollback(w.t.Context())
	}
	if code := postgres.Code(err); err != nil && code != "40001" && code != "23503" {
		w.t.Fatal(err)
	}
	s.tx = nil
	w.open = append(w.open[:i], w.open[i+1:]...)
	w.free = append(w.free, s)
}

var errCrash = errors.New("the process died here")

// history plays one: writers, the bulk in their midst, batches that crash, the fence, and the last replay.
func history(t *testing.T, seed uint64, broken hooks) (*pair, *Replayer) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	p := newPair(t)
	f := NewFence(p.blue, "")
	if err := f.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	p.as(t, seedSQL)
	w := newWriters(t, p, rng, 4)
	for range rng.IntN(40) {
		w.step()
	}
	p.bulk(t, p.green)
	p.config.Batch = 3 + rng.IntN(60)
	p.config.hooks = broken
	crashes := 0
	p.config.hooks.at = func(point string) error {
		if broken.at != nil {
			return broken.at(point)
		}
		if crashes < 4 && rng.IntN(8) == 0 {
			crashes++
			return fmt.Errorf("%w: %s", errCrash, point)
		}
		return nil
	}
	r := p.replayer(t)
	for range 4 + rng.IntN(4) {
		for range 10 + rng.IntN(30) {
			w.step()
		}
		ctx, cancel := context.WithCancel(t.Context())
		if rng.IntN(8) == 0 {
			time.AfterFunc(time.Duration(rng.IntN(150))*time.Millisecond, cancel)
		}
		if _, err := r.Batch(ctx); err != nil && !errors.Is(err, errCrash) && ctx.Err() == nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		cancel()
		if rng.IntN(4) == 0 { // another process takes over
			r.Disconnect()
			r = p.replayer(t)
			r.scanned = 0
		}
	}
	for len(w.open) > 0 {
		w.end(rng.IntN(len(w.open)), rng.IntN(3) > 0)
	}
	raise(t, f)
	crashes = 4
	a, err := r.Drain(t.Context())
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if len(a.Parked) > 0 {
		t.Errorf("seed %d: parked: %v", seed, a.Parked)
	}
	return p, r
}

func TestHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(*histories) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			p, r := history(t, seed, hooks{})
			p.same(t, r)
			var changes, applied, rows int64
			err := p.blue.Pool().QueryRow(t.Context(), `SELECT count(*), count(applied_at), (SELECT count(*) FROM oauth_access) FROM tideover.change`).Scan(&changes, &applied, &rows)
			if err != nil {
				t.Fatal(err)
			}
			if changes != applied {
				t.Errorf("%d of %d changes applied", applied, changes)
			}
			if changes < 20 {
				t.Errorf("the history has %d changes: it proves nothing", changes)
			}
		})
	}
}
