package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Rubbish is rows of one kind that serve nobody any more.
type Rubbish struct {
	Kind  string // as an operator reads it
	table string
	key   string // its primary key, by which it is gone through once
	where string // $1 is for how many seconds the rows have been rubbish
	asked bool   // counted from when they were asked for, not from when they ran out
}

// Sweeper deletes rows that serve nobody any more.
type Sweeper interface {
	// Rubbish are the kinds that the generation has, in the order in which they are deleted.
	Rubbish() []Rubbish
	// Count is how many there are.
	Count(ctx context.Context, r Rubbish, since time.Duration) (int64, error)
	// Sweep deletes at most so many whose key comes after another, in one transaction, and returns the last key. Rows that
	// somebody has locked are left.
	Sweep(ctx context.Context, r Rubbish, since time.Duration, after string, most int) (n int64, last string, err error)
}

// Asked tells rows that count from when they were asked for: a login that nobody finished never runs out.
func (r Rubbish) Asked() bool { return r.asked }

const (
	ranOut     = `t.expires_at < now() - make_interval(secs => $1)`
	longAsked  = `%s.requested_at < now() - make_interval(secs => $1)`
	unfinished = ` AND NOT EXISTS (SELECT 1 FROM oauth_consent_handled h WHERE h.challenge = %s.challenge AND h.was_used)`
)

// noTokens keeps what a token hangs on, whatever else is said of it.
func noTokens(consent string) (where string) {
	for _, table := range []string{"code", "access", "refresh"} {
		where += fmt.Sprintf(` AND NOT EXISTS (SELECT 1 FROM oauth_%s k WHERE k.consent_challenge = %s)`, table, consent)
	}
	return where
}

// noConsent is 1.1's unfinished consent, of a table by another name.
func noConsent(as string) string {
	return fmt.Sprintf(longAsked+unfinished, as, as) + noTokens(as+".challenge")
}

// Used refresh tokens stay until they run out: only by them reuse is found.
var tokenRubbish = []Rubbish{
	{Kind: "codes", table: "oauth_code", key: "signature", where: ranOut},
	{Kind: "access tokens", table: "oauth_access", key: "signature", where: ranOut},
	{Kind: "refresh tokens", table: "oauth_refresh", key: "signature", where: ranOut},
}

// Rubbish of 1.0 are tokens alone: it has no index by which a deleted consent would find its tokens.
func (s *original) Rubbish() []Rubbish { return tokenRubbish }

func (s *first) Rubbish() []Rubbish {
	return append(tokenRubbish[:len(tokenRubbish):len(tokenRubbish)],
		Rubbish{Kind: "unfinished consents", table: "oauth_consent_request", key: "challenge", asked: true, where: noConsent("t")},
		Rubbish{Kind: "unfinished logins", table: "oauth_login_request", key: "challenge", asked: true, where: fmt.Sprintf(longAsked, "t") +
			` AND NOT EXISTS (SELECT 1 FROM oauth_consent_request c WHERE c.login_challenge = t.challenge AND NOT (` + noConsent("c") + `))`})
}

func (s *second) Rubbish() []Rubbish {
	return append(tokenRubbish[:len(tokenRubbish):len(tokenRubbish)],
		Rubbish{Kind: "devices", table: "oauth_device", key: "signature", where: ranOut},
		Rubbish{Kind: "client assertions", table: "oauth_assertion", key: "signature", where: ranOut},
		Rubbish{Kind: "unfinished flows", table: "oauth_flow", key: "login_challenge", asked: true,
			where: fmt.Sprintf(longAsked+` AND NOT t.consent_was_used AND t.state <> %d`, "t", consentUsed) + noTokens("t.consent_challenge")})
}

func (b base) Count(ctx context.Context, r Rubbish, since time.Duration) (n int64, err error) {
	err = b.pool.QueryRow(ctx, `SELECT count(*) FROM `+r.table+` t WHERE `+r.where, since.Seconds()).Scan(&n)
	return n, err
}

func (b base) Sweep(ctx context.Context, r Rubbish, since time.Duration, after string, most int) (n int64, last string, err error) {
	sql := fmt.Sprintf(`WITH batch AS (SELECT t.%[2]s FROM %[1]s t WHERE t.%[2]s > $2 AND %[3]s ORDER BY t.%[2]s LIMIT $3 FOR UPDATE SKIP LOCKED),
		gone AS (DELETE FROM %[1]s d USING batch WHERE d.%[2]s = batch.%[2]s RETURNING d.%[2]s)
		SELECT count(*), coalesce(max(%[2]s), '') FROM gone`, r.table, r.key, r.where)
	err = b.tx(ctx, func(tx pgx.Tx) error {
		// What hangs on a row is deleted with it, and may be locked by a request.
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '2s'`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, sql, since.Seconds(), after, most).Scan(&n, &last)
	})
	return n, last, err
}
