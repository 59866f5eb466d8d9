package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Key is a signing key. Data is a private JWK (RFC 7517), sealed by the server.
type Key struct {
	ID        string    `db:"kid"`
	Algorithm string    `db:"alg"`
	Data      string    `db:"keydata"`
	CreatedAt time.Time `db:"created_at"`
}

// Keys keeps signing keys.
type Keys interface {
	// SigningKeys returns all keys, the newest first. Where there is none yet it stores the one that generate makes;
	// of servers that start at once on an empty database exactly one does.
	SigningKeys(ctx context.Context, generate func() (Key, error)) ([]Key, error)
}

const keysSQL = `SELECT kid, alg, keydata, created_at FROM oauth_jwk WHERE use = 'sig' ORDER BY created_at DESC, kid`

// keyLock serializes the making of the first key over all servers of the database.
const keyLock = `SELECT pg_advisory_xact_lock(hashtextextended('oauth_jwk', 0))`

func (b base) SigningKeys(ctx context.Context, generate func() (Key, error)) ([]Key, error) {
	keys, err := all[Key](ctx, b.pool, keysSQL)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	err = b.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, keyLock); err != nil {
			return err
		}
		if keys, err = all[Key](ctx, tx, keysSQL); err != nil || len(keys) > 0 {
			return err
		}
		k, err := generate()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO oauth_jwk (kid, use, alg, keydata) VALUES ($1, 'sig', $2, $3)`,
			k.ID, k.Algorithm, k.Data); err != nil {
			return err
		}
		keys, err = all[Key](ctx, tx, keysSQL)
		return err
	})
	return keys, err
}
