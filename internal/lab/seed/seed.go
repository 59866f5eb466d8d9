// Package seed fills a database of generation 1.0 or 1.1 with what a server has after years: apps, people who are logged in,
// consents, and token chains with used, living and expired tokens. On demand it adds the rows that the migration to 2.0
// refuses or corrupts, of every kind, as they come about in real life: double clicks, log-outs, hand-made SQL, and
// servers that were less strict.
package seed

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"
)

// Options say how much. Zero values: no clients are 1, Each is a two-hundredth of the sessions and at least 1, Secret is
// "seeded", Sample is 3.
type Options struct {
	Clients   int
	Sessions  int  // people with a login, a consent and a chain of tokens each
	Offending bool // add the rows that 2.0 refuses or corrupts
	Each      int  // how many of each offending kind, and of people who refused, or could not log in
	Secret    string
	Sample    int // how many credentials of each kind Result gives
}

// Result is what was written. Offending counts by kind; see kinds.
type Result struct {
	Clients, Sessions int
	Tokens            int // access and refresh tokens, dead ones included
	Living            int // active, not expired refresh tokens whose client exists
	Offending         map[string]int
	Sample            []Credential // living
	Expired           []Credential // all tokens of which expired long ago
	Archive           []Credential // of all sessions up to a thousand, spread over them; without tokens where nobody has them
	Refused           []Credential // people who refused what an app asked for, or whose login failed: they have no tokens
}

// Credential is a chain, so that a test can use what was seeded.
type Credential struct {
	Kind                    string // "plain" or the offending kind
	Client, Secret, Subject string
	Access, Refresh         string
	Spent                   string // a refresh token of the chain that was used long ago
}

// Seed fills the database at dsn, which has the schema of 1.0 or 1.1, in one transaction. It can be called again to add more.
func Seed(ctx context.Context, dsn string, o Options) (Result, error) {
	o = o.withDefaults()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return Result{}, fmt.Errorf("seeding: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	hash, err := bcrypt.GenerateFromPassword([]byte(o.Secret), bcrypt.MinCost)
	if err != nil {
		return Result{}, err
	}
	old, err := isOriginal(ctx, conn)
	if err != nil {
		return Result{}, fmt.Errorf("seeding: %w", err)
	}
	g := &generator{options: o, original: old, hash: string(hash), result: Result{Offending: map[string]int{}}}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// What is written here is lost as a whole or not at all; waiting for the disk at the end is enough.
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		g.clients()
		if err := g.flush(ctx, tx); err != nil {
			return err
		}
		for i := range o.Sessions {
			g.session(plain)
			if i%chunk == chunk-1 {
				if err := g.flush(ctx, tx); err != nil {
					return err
				}
			}
		}
		for range o.Each {
			g.refused()
		}
		if o.Offending {
			g.offend()
		}
		return g.flush(ctx, tx)
	})
	if err != nil {
		return Result{}, fmt.Errorf("seeding: %w", err)
	}
	if _, err := conn.Exec(ctx, "ANALYZE"); err != nil {
		return Result{}, fmt.Errorf("seeding: %w", err)
	}
	return g.result, nil
}

// chunk is how many sessions are kept in memory at once.
const chunk = 4000

func (o Options) withDefaults() Options {
	o.Clients = max(o.Clients, 1)
	if o.Each == 0 {
		o.Each = max(1, o.Sessions/200)
	}
	if o.Secret == "" {
		o.Secret = "seeded"
	}
	if o.Sample == 0 {
		o.Sample = 3
	}
	return o
}
