package replay

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

// crowdSQL makes $1 users who have logged in, consented and got tokens: chains of one access and one refresh token.
const crowdSQL = `
INSERT INTO oauth_client (id, owner) SELECT 'app' || i, 'o' FROM generate_series(1, 20) i;
INSERT INTO oauth_session (id, subject) SELECT 's' || i, 'u' || i FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url)
	SELECT 'l' || i, 'lv' || i, 'app' || i %% 20 + 1, 's' || i, 'https://x/auth' FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_login_handled (challenge, subject, was_used) SELECT 'l' || i, 'u' || i, true FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject)
	SELECT 'k' || i, 'kv' || i, 'l' || i, 'app' || i %% 20 + 1, 'u' || i FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used) SELECT 'k' || i, 'openid', true FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
	SELECT 'a' || i, 'k' || i, 'app' || i %% 20 + 1, 'u' || i, 'k' || i, repeat('x', 600), now() + '1 day' FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
	SELECT 'r' || i, 'k' || i, 'app' || i %% 20 + 1, 'u' || i, 'k' || i, repeat('x', 600), now() + '1 day' FROM generate_series(1, %[1]d) i;
ANALYZE`

// rotateSQL is what a rotation of 1.1 does, for many chains at once: four changes each.
const rotateSQL = `
WITH chains AS (
	SELECT request_id FROM oauth_refresh WHERE active ORDER BY request_id OFFSET %[1]d LIMIT %[2]d
), spent AS (
	UPDATE oauth_refresh r SET active = false FROM chains c WHERE r.request_id = c.request_id AND r.active
	RETURNING r.request_id, r.client_id, r.subject, r.consent_challenge
), gone AS (
	DELETE FROM oauth_access a USING chains c WHERE a.request_id = c.request_id
), access AS (
	INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, expires_at)
	SELECT gen_random_uuid()::text, request_id, client_id, subject, consent_challenge, now() + '1 day' FROM spent
)
INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at)
SELECT gen_random_uuid()::text, request_id, client_id, subject, consent_challenge, now() + '1 day' FROM spent`

func newCrowd(t testing.TB, users int) *pair {
	t.Helper()
	p := newPair(t)
	exec(t, p.blue, fmt.Sprintf(crowdSQL, users)) // ours, so that it is not captured
	p.bulk(t, p.green)
	return p
}

// rotate makes four changes of each of some chains, in transactions of a hundred chains.
func (p *pair) rotate(t testing.TB, first, chains int) {
	t.Helper()
	for done := 0; done < chains; done += 100 {
		p.as(t, fmt.Sprintf(rotateSQL, first+done, min(100, chains-done)))
	}
}

// benchmarkDelta measures Drain, as the hold of a switch waits for it, with a number of changes waiting.
func benchmarkDelta(b *testing.B, changes int) {
	const users = 5000
	p := newCrowd(b, users)
	r := p.replayer(b)
	drain(b, r)
	var took time.Duration
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		p.rotate(b, n*changes/4%(users/2), changes/4)
		if err := r.idle(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		began := time.Now()
		if a := drain(b, r); a.Changes != int64(changes) {
			b.Fatalf("%d changes, want %d", a.Changes, changes)
		}
		took += time.Since(began)
	}
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/batch")
	b.ReportMetric(float64(changes*b.N)/took.Seconds(), "changes/s")
}

func BenchmarkDelta0(b *testing.B)     { benchmarkDelta(b, 0) }
func BenchmarkDelta100(b *testing.B)   { benchmarkDelta(b, 100) }
func BenchmarkDelta10000(b *testing.B) { benchmarkDelta(b, 10_000) }

// BenchmarkBacklog measures how fast a long queue drains.
func BenchmarkBacklog(b *testing.B) {
	const changes = 40_000
	p := newCrowd(b, 10_000)
	r := p.replayer(b)
	drain(b, r)
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		p.rotate(b, 0, changes/4)
		b.StartTimer()
		began := time.Now()
		drain(b, r)
		took += time.Since(began)
	}
	b.ReportMetric(changes*float64(b.N)/took.Seconds(), "changes/s")
}

// BenchmarkBacklogAgainstNative measures how fast a long queue drains beside native logical replication that applies the
// same rows to a database of blue's own schema, and transforms nothing.
func BenchmarkBacklogAgainstNative(b *testing.B) {
	const changes = 40_000
	for b.Loop() {
		b.StopTimer()
		p := newCrowd(b, 10_000)
		peer := open(b, "peer", database11(b))
		p.copyTo(b, peer)
		exec(b, p.blue, `CREATE PUBLICATION peer FOR TABLES IN SCHEMA public`)
		slot := "peer_" + p.text(b, p.blue, `SELECT oid::text FROM pg_database WHERE datname = current_database()`)
		exec(b, p.blue, `SELECT pg_create_logical_replication_slot('`+slot+`', 'pgoutput')`)
		r := p.replayer(b)
		drain(b, r)
		p.rotate(b, 0, changes/4)
		end := p.text(b, p.blue, `SELECT pg_current_wal_lsn()::text`)
		b.StartTimer()

		began := time.Now()
		drain(b, r)
		ours := time.Since(began)

		began = time.Now()
		exec(b, peer, fmt.Sprintf(`CREATE SUBSCRIPTION %s CONNECTION '%s' PUBLICATION peer WITH (create_slot = false, copy_data = false, slot_name = '%[1]s')`, slot, p.blue.DSN()))
		await.That(b, "the subscription has all", func() bool {
			return p.text(b, p.blue, `SELECT (confirmed_flush_lsn >= '`+end+`')::text FROM pg_replication_slots WHERE slot_name = '`+slot+`'`) == "true"
		})
		native := time.Since(began)

		b.StopTimer()
		if want, got := p.text(b, p.blue, tokensSQL), p.text(b, peer, tokensSQL); want != got {
			b.Fatalf("native replication has %s, want %s", got, want)
		}
		exec(b, peer, `ALTER SUBSCRIPTION `+slot+` DISABLE`)
		exec(b, peer, `ALTER SUBSCRIPTION `+slot+` SET (slot_name = NONE)`)
		exec(b, peer, `DROP SUBSCRIPTION `+slot)
		await.That(b, "nobody reads the slot", func() bool {
			return p.text(b, p.blue, `SELECT count(*)::text FROM pg_replication_slots WHERE active AND slot_name = '`+slot+`'`) == "0"
		})
		exec(b, p.blue, `SELECT pg_drop_replication_slot('`+slot+`')`)
		b.ReportMetric(changes/ours.Seconds(), "changes/s")
		b.ReportMetric(changes/native.Seconds(), "native-changes/s")
		b.ReportMetric(native.Seconds()/ours.Seconds(), "of-native's-rate")
		b.StartTimer()
	}
}

const tokensSQL = `SELECT count(*) || ' ' || md5(string_agg(signature, '' ORDER BY signature)) FROM oauth_access`

// BenchmarkKeepsUp lets a server write 2,000 changes a second for a while and measures how far replay falls behind.
func BenchmarkKeepsUp(b *testing.B) {
	const perSecond, seconds = 2000, 20
	p := newCrowd(b, 10_000)
	r := p.replayer(b)
	drain(b, r)
	var worst Lag
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		var g errgroup.Group
		g.Go(func() error {
			return r.Run(ctx, func(l Lag) {
				if l.Oldest > worst.Oldest {
					worst = l
				}
			})
		})
		began := time.Now()
		for n := range 10 * seconds {
			p.rotate(b, n*perSecond/40%5000, perSecond/40)
			time.Sleep(time.Until(began.Add(time.Duration(n+1) * time.Second / 10))) // the rate that is offered
		}
		b.ReportMetric(perSecond*seconds/time.Since(began).Seconds(), "offered/s")
		cancel()
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		left, err := NewCapture(p.blue, p.profile, plan.Blue).Lag(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(left.Changes), "left")
	}
	b.ReportMetric(worst.Oldest.Seconds(), "s-worst-lag")
	b.ReportMetric(float64(worst.Changes), "worst-lag")
}
