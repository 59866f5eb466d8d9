package authserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tideover/tideover/internal/authserver/store"
)

// Operator does what an operator does to a server's database, beside the servers that run on it.
type Operator struct {
	config Config
	pool   *pgxpool.Pool
	store  store.Store
}

// NewOperator opens a database that has the schema of c.Generation. Of c it needs that and the DSN, and the system secrets
// for what has to do with keys.
func NewOperator(ctx context.Context, c Config) (*Operator, error) {
	c = c.withDefaults()
	if _, err := generationOf(c.Generation); err != nil {
		return nil, err
	}
	c.MaxConns = 2
	pool, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(pool, c.Generation, c.Grace)
	if err == nil {
		err = (&Server{config: c, pool: pool}).checkSchema(ctx)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &Operator{config: c, pool: pool, store: st}, nil
}

// Close closes the pool.
func (o *Operator) Close() { o.pool.Close() }

// SigningKey is a key as an operator sees it.
type SigningKey struct {
	ID        string    `json:"kid"`
	Algorithm string    `json:"alg"`
	State     string    `json:"state"` // "published", "signing" or "verifying"
	Signs     time.Time `json:"signs_from"`
	OldSecret bool      `json:"old_secret,omitempty"` // sealed with the other system secret still
}

// Keys lists the signing keys, the newest first.
func (o *Operator) Keys(ctx context.Context) ([]SigningKey, error) {
	stored, err := o.store.SigningKeys(ctx, noKey)
	if err != nil {
		return nil, err
	}
	out, signing := []SigningKey{}, signs(stored)
	for i, k := range stored {
		state := "verifying"
		switch {
		case i == signing:
			state = "signing"
		case !k.Due:
			state = "published"
		}
		old := false
		if o.config.SystemSecret != "" {
			if _, old, err = o.config.openKey(k.ID, k.Data); err != nil {
				return nil, &KeyError{ID: k.ID, Err: err}
			}
		}
		out = append(out, SigningKey{k.ID, k.Algorithm, state, k.CreatedAt, old})
	}
	return out, nil
}

func noKey() (store.Key, error) {
	return store.Key{}, errors.New("there is no signing key; a server makes the first when it starts")
}

// RotateKeys makes a key that is published at once, and signs after a while, by when every app has read it. The keys of
// before go on verifying.
func (o *Operator) RotateKeys(ctx context.Context, after time.Duration) (SigningKey, error) {
	if err := o.config.checkSecrets(); err != nil {
		return SigningKey{}, err
	}
	if _, err := o.Keys(ctx); err != nil { // a key under another secret would stop the servers
		return SigningKey{}, err
	}
	k, err := o.config.newKey()
	if err != nil {
		return SigningKey{}, err
	}
	if err := o.store.AddKey(ctx, k, after); errors.Is(err, store.ErrExists) {
		return SigningKey{}, errors.New("a key is published already that does not sign yet; wait for it")
	} else if err != nil {
		return SigningKey{}, err
	}
	keys, err := o.Keys(ctx)
	for _, made := range keys {
		if made.ID == k.ID {
			return made, nil
		}
	}
	return SigningKey{}, err
}

// ResealKeys seals with the first system secret what the other one has sealed, and returns how many keys that were.
func (o *Operator) ResealKeys(ctx context.Context) (int, error) {
	if err := o.config.checkSecrets(); err != nil {
		return 0, err
	}
	stored, err := o.store.SigningKeys(ctx, noKey)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, k := range stored {
		plain, old, err := o.config.openKey(k.ID, k.Data)
		if err != nil {
			return n, &KeyError{ID: k.ID, Err: err}
		}
		if !old {
			continue
		}
		if err := o.store.ReplaceKey(ctx, k.ID, k.Data, o.config.sealKey(k.ID, plain)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return n, fmt.Errorf("signing key %q: %w", k.ID, err)
		}
		n++
	}
	return n, nil
}
