package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Token is a code, an access token or a refresh token. Only its signature is kept, from which it cannot be made.
type Token struct {
	Signature        string        `db:"signature"`
	RequestID        string        `db:"request_id"` // the chain; for a code grant its consent challenge
	ClientID         string        `db:"client_id"`
	Subject          string        `db:"subject"`
	ConsentChallenge *string       `db:"consent_challenge"`
	Scope            string        `db:"scope"`
	Audience         Document      `db:"audience"`
	SessionData      Document      `db:"session_data"`
	Active           bool          `db:"active"`
	Expired          bool          `db:"expired"`
	RequestedAt      time.Time     `db:"requested_at"`
	ExpiresAt        time.Time     `db:"expires_at"`
	Lifetime         time.Duration `db:"-"` // of a token that is to be stored; the server's clock counts it
}

// Pair is what a grant stores: an access token, and a refresh token where the grant has one.
type Pair struct {
	Access  Token
	Refresh *Token
}

// Issue makes the tokens that follow from a code or refresh token. It may be called more than once.
type Issue func(from Token) (Pair, error)

// Tokens keeps codes and tokens.
type Tokens interface {
	// Exchange uses a code. A code that was used before ends its chain (ErrReused).
	Exchange(ctx context.Context, signature string, issue Issue) error
	// Rotate uses a refresh token: the chain's access tokens go, the used token stays as a row. What a second use
	// does is the generation's; where it ends the chain the answer is ErrReused.
	Rotate(ctx context.Context, signature, client string, issue Issue) error
	// Add stores an access token that has no chain before it.
	Add(ctx context.Context, access Token) error
	// Access and Refresh return ErrNotFound for a token whose client is gone, too.
	Access(ctx context.Context, signature string) (Token, error)
	Refresh(ctx context.Context, signature string) (Token, error)
	// Revoke ends the chain that an access or refresh token belongs to.
	Revoke(ctx context.Context, signature, client string) error
	// DeleteAccess deletes a client's access tokens; its refresh tokens live on.
	DeleteAccess(ctx context.Context, client string) error
}

// tokenSQL reads a token by its signature.
type tokenSQL struct{ code, access, refresh string }

var namedColumns = tokenSQL{
	code: `SELECT signature, request_id, client_id, subject, consent_challenge, scope, '[]' AS audience, session_data,
		active, expires_at <= now() AS expired, requested_at, expires_at FROM oauth_code WHERE signature = $1`,
	access: `SELECT signature, request_id, client_id, subject, consent_challenge, scope, audience, session_data,
		true AS active, expires_at <= now() AS expired, requested_at, expires_at FROM oauth_access WHERE signature = $1`,
	refresh: `SELECT signature, request_id, client_id, subject, consent_challenge, scope, audience, session_data,
		active, expires_at <= now() AS expired, requested_at, expires_at FROM oauth_refresh WHERE signature = $1`,
}

// ofAClient leaves out tokens whose client is gone, which 1.1's schema lets be: nobody could refresh them either.
const ofAClient = ` AND EXISTS (SELECT 1 FROM oauth_client c WHERE c.id = client_id)`

// hold makes everything that happens to one chain happen in turn, and keeps its client and consent from being deleted
// meanwhile. The order (chain, client, consent, tokens) is that in which a deleted client or consent takes its tokens
// along; any other order ends in deadlocks.
func (b base) hold(ctx context.Context, tx pgx.Tx, t Token) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 42))`, t.RequestID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, clientLock, t.ClientID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, b.consentLock, t.ConsentChallenge)
	return err
}

const clientLock = `SELECT id FROM oauth_client WHERE id = $1 FOR KEY SHARE`

// held finds a token, holds its chain, and reads it again as it is now.
func (b base) held(ctx context.Context, tx pgx.Tx, sql, signature string) (Token, error) {
	t, err := one[Token](ctx, tx, sql, signature)
	if err != nil {
		return t, err
	}
	if err := b.hold(ctx, tx, t); err != nil {
		return t, err
	}
	return one[Token](ctx, tx, sql+` FOR UPDATE`, signature)
}

func insertCode(ctx context.Context, tx pgx.Tx, t Token) error {
	const sql = `INSERT INTO oauth_code (signature, request_id, client_id, subject, consent_challenge, scope, session_data,
		expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))`
	_, err := tx.Exec(ctx, sql, t.Signature, t.RequestID, t.ClientID, t.Subject, t.ConsentChallenge, t.Scope,
		string(t.SessionData), t.Lifetime.Seconds())
	return err
}

// insertPair stores tokens. The key lock on the client stands in for the foreign key that 1.1 does not have.
func insertPair(ctx context.Context, tx pgx.Tx, p Pair) error {
	const access = `INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, scope, audience,
		session_data, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))`
	const refresh = `INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, scope, audience,
		session_data, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))`
	if err := lockClient(ctx, tx, clientLock, p.Access.ClientID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, access, p.Access.values()...); err != nil {
		return err
	}
	if p.Refresh == nil {
		return nil
	}
	_, err := tx.Exec(ctx, refresh, p.Refresh.values()...)
	return err
}

func (t Token) values() []any {
	return []any{t.Signature, t.RequestID, t.ClientID, t.Subject, t.ConsentChallenge, t.Scope, t.Audience.or("[]"),
		t.SessionData.or("{}"), t.Lifetime.Seconds()}
}

// exchange is the same in all generations but for what ends a chain.
func (b base) exchange(ctx context.Context, signature string, issue Issue, end func(context.Context, pgx.Tx, string) error) error {
	var answer error
	err := b.tx(ctx, func(tx pgx.Tx) error {
		answer = nil
		code, err := b.held(ctx, tx, b.tokens.code, signature)
		if err != nil {
			return err
		}
		if !code.Active {
			answer = ErrReused
			return end(ctx, tx, code.RequestID)
		}
		if code.Expired {
			return ErrExpired
		}
		pair, err := issue(code)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE oauth_code SET active = false WHERE signature = $1`, signature); err != nil {
			return err
		}
		return insertPair(ctx, tx, pair)
	})
	if err != nil {
		return err
	}
	return answer
}

func (b base) Add(ctx context.Context, access Token) error {
	return b.tx(ctx, func(tx pgx.Tx) error { return insertPair(ctx, tx, Pair{Access: access}) })
}

func (b base) Access(ctx context.Context, signature string) (Token, error) {
	return one[Token](ctx, b.pool, b.tokens.access+ofAClient, signature)
}

func (b base) Refresh(ctx context.Context, signature string) (Token, error) {
	return one[Token](ctx, b.pool, b.tokens.refresh+ofAClient, signature)
}

func (b base) DeleteAccess(ctx context.Context, client string) error {
	return b.exec(ctx, `DELETE FROM oauth_access WHERE client_id = $1`, client)
}

// revoke finds the chain of a token and ends it.
func (b base) revoke(ctx context.Context, signature, client string, end func(context.Context, pgx.Tx, string) error) error {
	return b.tx(ctx, func(tx pgx.Tx) error {
		t, err := one[Token](ctx, tx, b.tokens.access, signature)
		if errors.Is(err, ErrNotFound) {
			t, err = one[Token](ctx, tx, b.tokens.refresh, signature)
		}
		if err != nil {
			return err
		}
		if t.ClientID != client {
			return ErrNotYours
		}
		if err := b.hold(ctx, tx, t); err != nil {
			return err
		}
		return end(ctx, tx, t.RequestID)
	})
}

func deleteChainAccess(ctx context.Context, tx pgx.Tx, requestID string) error {
	_, err := tx.Exec(ctx, `DELETE FROM oauth_access WHERE request_id = $1`, requestID)
	return err
}
