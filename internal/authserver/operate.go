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

// audited is the store for a change by an operator.
func (o *Operator) audited(action, client string) store.Store {
	audits, ok := o.store.(store.Audits)
	if !ok {
		return o.store
	}
	return audits.Audited(store.Entry{Actor: "tideover server", Action: action, Client: client})
}

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
	if err := o.audited("rotate keys", "").AddKey(ctx, k, after); errors.Is(err, store.ErrExists) {
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

// App is a client as an operator sees it.
type App struct {
	ID         string    `json:"client_id"`
	Name       string    `json:"client_name"`
	Owner      string    `json:"owner"`
	AuthMethod string    `json:"token_endpoint_auth_method"`
	CreatedAt  time.Time `json:"created_at"`
	OldSecret  time.Time `json:"client_secret_previous_expires_at,omitzero"`
}

// Clients lists clients by id, of one owner or of all, and calls each with every one.
func (o *Operator) Clients(ctx context.Context, owner string, each func(App) error) error {
	const page = 500
	for offset := 0; ; offset += page {
		clients, err := o.store.ListClients(ctx, owner, page, offset)
		if err != nil {
			return err
		}
		for _, c := range clients {
			a := App{ID: c.ID, Name: c.Name, Owner: c.Owner, AuthMethod: c.AuthMethod, CreatedAt: c.CreatedAt}
			if l := parseSecrets(c.SecretHash); len(l.at(time.Now())) > 1 {
				a.OldSecret = l.until
			}
			if err := each(a); err != nil {
				return err
			}
		}
		if len(clients) < page {
			return nil
		}
	}
}

// RotateSecret gives a client a new secret, beside which the old one works for a while.
func (o *Operator) RotateSecret(ctx context.Context, id string, keep time.Duration) (secret string, err error) {
	secret, err = rotateSecret(ctx, o.audited("rotate secret", id), id, keep)
	return secret, clientFault(id, err)
}

// EndOldSecret ends the secret before the last.
func (o *Operator) EndOldSecret(ctx context.Context, id string) error {
	return clientFault(id, endOldSecret(ctx, o.audited("end old secret", id), id))
}

func clientFault(id string, err error) error {
	var f *oauthError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("client %q: there is none", id)
	case errors.Is(err, store.ErrUsed):
		return fmt.Errorf("client %q: somebody else has just changed its secret", id)
	case errors.As(err, &f):
		return fmt.Errorf("client %q: %s", id, f.Description)
	}
	return fmt.Errorf("client %q: %w", id, err)
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
		if err := o.audited("reseal key", "").ReplaceKey(ctx, k.ID, k.Data, o.config.sealKey(k.ID, plain)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return n, fmt.Errorf("signing key %q: %w", k.ID, err)
		}
		n++
	}
	return n, nil
}
