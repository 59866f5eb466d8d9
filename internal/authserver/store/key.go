package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Key is a signing key. Data is a private JWK (RFC 7517), sealed by the server. It signs from CreatedAt on, which may be to
// come: until then it is published only.
type Key struct {
	ID        string    `db:"kid"`
	Algorithm string    `db:"alg"`
	Data      string    `db:"keydata"`
	CreatedAt time.Time `db:"created_at"`
	Due       bool      `db:"due"` // CreatedAt has come, by the server's clock
}

// Keys keeps signing keys.
type Keys interface {
	// SigningKeys returns all keys, the newest first. Where there is none yet it stores the one that generate makes;
	// of servers that start at once on an empty database exactly one does.
	SigningKeys(ctx context.Context, generate func() (Key, error)) ([]Key, error)
	// AddKey stores a key that signs after a while. It returns ErrExists where another one is still to sign.
	AddKey(ctx context.Context, k Key, after time.Duration) error
	// ReplaceKey changes how a key is sealed; ErrNotFound where it is not as it was any more.
	ReplaceKey(ctx context.Context, id, was, data string) error
	// RetiredKeys are those that have not signed for so long: a newer one has.
	RetiredKeys(ctx context.Context, since time.Duration) ([]Key, error)
	// DeleteKey deletes a key that has not signed for so long, and no other.
	DeleteKey(ctx context.Context, id string, since time.Duration) error
}

const keyColumns = `SELECT kid, alg, keydata, created_at, created_at <= now() AS due FROM oauth_jwk k WHERE use = 'sig'`

const (
	keyOrder = ` ORDER BY created_at DESC, kid`
	keysSQL  = keyColumns + keyOrder
	retired  = ` AND EXISTS (SELECT 1 FROM oauth_jwk n WHERE n.use = 'sig' AND n.created_at > k.created_at
		AND n.created_at + make_interval(secs => $1) <= now())`
)

// keyLock serializes the making of keys over all servers of the database.
const keyLock = `SELECT pg_advisory_xact_lock(hashtextextended('oauth_jwk', 0))`

const insertKey = `INSERT INTO oauth_jwk (kid, use, alg, keydata, created_at) VALUES ($1, 'sig', $2, $3, now() + make_interval(secs => $4))`

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
		if _, err := tx.Exec(ctx, insertKey, k.ID, k.Algorithm, k.Data, 0.0); err != nil {
			return err
		}
		keys, err = all[Key](ctx, tx, keysSQL)
		return err
	})
	return keys, err
}

func (b base) AddKey(ctx context.Context, k Key, after time.Duration) error {
	return b.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, keyLock); err != nil {
			return err
		}
		var waits bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM oauth_jwk WHERE use = 'sig' AND created_at > now())`).Scan(&waits); err != nil {
			return err
		}
		if waits {
			return ErrExists
		}
		_, err := tx.Exec(ctx, insertKey, k.ID, k.Algorithm, k.Data, after.Seconds())
		return err
	})
}

func (b base) ReplaceKey(ctx context.Context, id, was, data string) error {
	return b.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE oauth_jwk SET keydata = $3 WHERE kid = $1 AND keydata = $2`, id, was, data)
		if err == nil && tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return err
	})
}

func (b base) RetiredKeys(ctx context.Context, since time.Duration) ([]Key, error) {
	return all[Key](ctx, b.pool, keyColumns+retired+keyOrder, since.Seconds())
}

func (b base) DeleteKey(ctx context.Context, id string, since time.Duration) error {
	return b.exec(ctx, `DELETE FROM oauth_jwk k WHERE use = 'sig'`+retired+` AND kid = $2`, since.Seconds(), id)
}
