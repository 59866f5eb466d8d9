package deployment

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/seed"
)

// Pair is two Postgres servers that any number of deployments have their databases on, one after the other or side by side:
// starting a server takes longer than copying a database. With the bundled servers blue's database is made once for each
// generation and seed, and copied for every deployment, which then has the same old sessions as the others.
//
// A deployment that kills its Postgres, or changes what all databases of a server share, needs servers of its own.
type Pair struct {
	Blue, Green *pgserver.Server

	mu        sync.Mutex
	templates map[string]template
	lent      int
}

// template is a database on blue's server that nobody may connect to.
type template struct {
	name   string
	seeded seed.Result
}

// NewPair starts both servers. Of the options those count that say where Postgres comes from. The caller closes the pair
// when no deployment is left on it.
func NewPair(ctx context.Context, o Options) (_ *Pair, err error) {
	p := &Pair{templates: map[string]template{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	o = o.withDefaults()
	if p.Blue, err = pgserver.Start(ctx, o.postgres("blue")); err != nil {
		return nil, err
	}
	p.Green, err = pgserver.Start(ctx, o.postgres("green"))
	return p, err
}

// Close ends both servers and removes their files.
func (p *Pair) Close() error {
	var errs []error
	for _, server := range []*pgserver.Server{p.Green, p.Blue} {
		if server != nil {
			errs = append(errs, server.Close())
		}
	}
	return errors.Join(errs...)
}

// lend gives a deployment its databases: blue's a copy of the template where there can be one, green's empty.
func (p *Pair) lend(ctx context.Context, s *Deployment) (err error) {
	p.mu.Lock()
	p.lent++
	s.database = fmt.Sprintf("oauth_%d", p.lent)
	p.mu.Unlock()
	if s.options.Servers == Bundled {
		t, err := p.template(ctx, s.options)
		if err != nil {
			return err
		}
		s.BlueDSN, err = p.Blue.CopyDatabase(ctx, s.database, t.name)
		if err != nil {
			return err
		}
		s.Seeded, s.furnished = t.seeded, true
	} else if s.BlueDSN, err = p.Blue.CreateDatabase(ctx, s.database); err != nil { // the real server makes its old data itself
		return err
	}
	s.Blue = p.Blue
	if s.options.InPlace {
		return nil
	}
	s.GreenDSN, err = p.Green.CreateDatabase(ctx, s.database)
	s.Green = p.Green
	return err
}

// template gives the template of a generation and a seed, which the first deployment that wants it has to wait for.
func (p *Pair) template(ctx context.Context, o Options) (template, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := fmt.Sprintf("%s %+v", o.Before, o.Seed)
	if t, ok := p.templates[kind]; ok {
		return t, nil
	}
	t := template{name: fmt.Sprintf("template_%d", len(p.templates)+1)}
	dsn, err := p.Blue.CreateDatabase(ctx, t.name)
	if err != nil {
		return t, err
	}
	if err := authserver.Migrate(ctx, dsn, o.Before); err != nil {
		return t, err
	}
	if t.seeded, err = seed.Seed(ctx, dsn, o.Seed); err != nil {
		return t, err
	}
	conn, err := pgx.Connect(ctx, p.Blue.DSN())
	if err != nil {
		return t, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "ALTER DATABASE "+t.name+" ALLOW_CONNECTIONS false"); err != nil {
		return t, fmt.Errorf("database %q as a template: %w", t.name, err)
	}
	p.templates[kind] = t
	return t, nil
}

// takeBack drops what a deployment had.
func (p *Pair) takeBack(s *Deployment) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if s.Blue != nil {
		errs = append(errs, p.Blue.DropDatabase(ctx, s.database))
	}
	if s.Green != nil {
		errs = append(errs, p.Green.DropDatabase(ctx, s.database))
	}
	if s.ServerRole != "" {
		errs = append(errs, dropRole(ctx, p.Blue.DSN(), s.ServerRole))
	}
	s.Blue, s.Green, s.ServerRole = nil, nil, ""
	return errors.Join(errs...)
}

// dropRole drops a role whose rights went with its database.
func dropRole(ctx context.Context, dsn, role string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "DROP ROLE "+role); err != nil {
		return fmt.Errorf("the servers' role: %w", err)
	}
	return nil
}
