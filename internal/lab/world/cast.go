package world

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver"
)

// Cast are the roles of a world, and as whom the program connects. Each role of the world is called by [Cast.Role], has its name for
// a password, and may log in and nothing else.
type Cast struct {
	Blue, Green string   // users of the connection strings, by their part; "": the server's superuser
	Server      string   // green.role of the runbook, by its part; "": not named
	Owner       string   // blue.role of the runbook, by its part; "": not named
	Everywhere  []string // parts that both servers have
	OnBlue      []string // parts that blue's server alone has
	Grants      bool     // a superuser has run what "tideover grants" prints
	Mine        string   // SQL for green's database, by its superuser, after all that
}

// rights lets one world at a time give and take a role's rights: those to set parameters are the server's, and of two that change them
// at once one fails.
var rights sync.Mutex

// Role is what a part's role is called in a world.
func (w *World) Role(part string) string { return w.Name + "_" + part }

// named puts the names of the world's roles into SQL that calls them $owner and the like, and the world's own for $world.
func (w *World) named(sql string) string {
	if w.Cast == nil {
		return sql
	}
	pairs := []string{"$world", w.Name}
	for _, part := range slices.Concat(w.Cast.Everywhere, w.Cast.OnBlue) {
		pairs = append(pairs, "$"+part, w.Role(part))
	}
	return strings.NewReplacer(pairs...).Replace(sql)
}

// hire makes the roles of a world.
func (s *scene) hire(ctx context.Context) error {
	if s.world.Cast == nil {
		return nil
	}
	if err := s.dismiss(ctx); err != nil {
		return err
	}
	for _, side := range []struct {
		server *pgserver.Server
		parts  []string
	}{{s.Blue, slices.Concat(s.world.Cast.Everywhere, s.world.Cast.OnBlue)}, {s.Green, s.world.Cast.Everywhere}} {
		for _, part := range side.parts {
			role := s.world.Role(part)
			if err := on(ctx, side.server.DSN(), "CREATE ROLE "+role+" LOGIN PASSWORD '"+role+"'"); err != nil {
				return fmt.Errorf("make role %q: %w", role, err)
			}
		}
	}
	return nil
}

// dismiss drops the roles of a world, whose databases are gone.
func (s *scene) dismiss(ctx context.Context) error {
	if s.world.Cast == nil {
		return nil
	}
	for _, server := range []*pgserver.Server{s.Blue, s.Green} {
		for _, part := range slices.Concat(s.world.Cast.Everywhere, s.world.Cast.OnBlue) {
			if err := s.dismissOne(ctx, server, s.world.Role(part)); err != nil {
				return fmt.Errorf("drop role %q: %w", s.world.Role(part), err)
			}
		}
	}
	return nil
}

func (s *scene) dismissOne(ctx context.Context, server *pgserver.Server, role string) error {
	there, err := ask[string](ctx, server.DSN(), `SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = $1`, role)
	if err != nil || len(there) == 0 {
		return err
	}
	// A run that was refused may leave databases of replay for the next one.
	scratch, err := ask[string](ctx, server.DSN(), `SELECT datname::text FROM pg_catalog.pg_database WHERE datdba = pg_catalog.to_regrole($1)`, role)
	if err != nil {
		return err
	}
	for _, name := range scratch {
		if err := drop(ctx, server, name); err != nil {
			return err
		}
	}
	rights.Lock()
	defer rights.Unlock()
	return errors.Join(on(ctx, server.DSN(), "DROP OWNED BY "+role), on(ctx, server.DSN(), "DROP ROLE "+role))
}

// as is a DSN for the program, as the role of a part.
func (s *scene) as(dsn, part string) (string, error) {
	if s.world.Cast == nil || part == "" {
		return dsn, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the server's DSN is not a URL")
	}
	u.User = url.UserPassword(s.world.Role(part), s.world.Role(part))
	return u.String(), nil
}

// equip gives the program its connection strings and rights, once its files are there.
func (s *scene) equip(ctx context.Context) (err error) {
	s.blueAs, s.greenAs = s.blue, s.green
	c := s.world.Cast
	if c == nil {
		return nil
	}
	if s.blueAs, err = s.as(s.blue, c.Blue); err != nil {
		return err
	}
	if s.greenAs, err = s.as(s.green, c.Green); err != nil {
		return err
	}
	if c.Green != "" {
		if err := on(ctx, s.green, "ALTER DATABASE "+pgx.Identifier{s.world.Name}.Sanitize()+" OWNER TO "+s.world.Role(c.Green)); err != nil {
			return err
		}
	}
	if c.Grants {
		out, err := newRun(s).command(ctx, "grants", "upgrade.yaml").CombinedOutput()
		if err != nil {
			return fmt.Errorf("grants: %w: %s", err, out)
		}
		rights.Lock()
		defer rights.Unlock()
		onBlue, onGreen, _ := strings.Cut(string(out), "\n-- green:")
		if err := s.psql(ctx, s.blue, onBlue); err != nil {
			return fmt.Errorf("what grants prints for blue: %w", err)
		}
		if err := s.psql(ctx, s.green, "--"+onGreen); err != nil {
			return fmt.Errorf("what grants prints for green: %w", err)
		}
	}
	return s.psql(ctx, s.green, s.world.named(c.Mine))
}

// roles are the lines of the runbook's sides that name the servers' roles.
func (s *scene) roles() (blue, green string) {
	if c := s.world.Cast; c != nil {
		if c.Owner != "" {
			blue = ", role: " + s.world.Role(c.Owner)
		}
		if c.Server != "" {
			green = ", role: " + s.world.Role(c.Server)
		}
	}
	return blue, green
}
