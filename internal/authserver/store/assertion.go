package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Assertions keeps which proofs of clients have been used. Only generation 2.0 has clients with keys.
type Assertions interface {
	// UseAssertion remembers a proof for as long as it could serve; a second use finds ErrUsed.
	UseAssertion(ctx context.Context, signature string, lifetime time.Duration) error
}

func (s *second) UseAssertion(ctx context.Context, signature string, lifetime time.Duration) error {
	const sql = `INSERT INTO oauth_assertion (signature, expires_at) VALUES ($1, now() + make_interval(secs => $2)) ON CONFLICT DO NOTHING`
	return s.tx(ctx, func(tx pgx.Tx) error { return once(ctx, tx, sql, signature, lifetime.Seconds()) })
}

// keepKeys stores the keys of a client that has some, and forgets those of one that has none any more.
func keepKeys(ctx context.Context, tx pgx.Tx, c Client) error {
	if c.JWKS.or("") == "" && c.JWKSURI == "" {
		_, err := tx.Exec(ctx, `DELETE FROM oauth_client_keys WHERE client_id = $1`, c.ID)
		return err
	}
	const sql = `INSERT INTO oauth_client_keys (client_id, jwks, jwks_uri) VALUES ($1, $2, $3)
		ON CONFLICT (client_id) DO UPDATE SET jwks = excluded.jwks, jwks_uri = excluded.jwks_uri`
	_, err := tx.Exec(ctx, sql, c.ID, c.JWKS.or(`{"keys": []}`), c.JWKSURI)
	return err
}
