package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
)

func (c *check) versions(ctx context.Context) error {
	const query = `SELECT pg_catalog.current_setting('server_version_num')::int`
	var blue, green int
	if err := c.blue.QueryRow(ctx, query).Scan(&blue); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if err := c.green.QueryRow(ctx, query).Scan(&green); err != nil {
		return fmt.Errorf("green: %w", err)
	}
	if green/10000 < blue/10000 {
		c.add(Fail, "versions", fmt.Sprintf("green's Postgres %d is older than blue's %d", green/10000, blue/10000),
			"what a newer pg_dump writes an older server may not read: give green a server of at least blue's version", 0)
		return nil
	}
	c.add(OK, "versions", fmt.Sprintf("Postgres %d to %d", blue/10000, green/10000), "", 0)
	return nil
}

func (c *check) locales(ctx context.Context) error {
	const query = `SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`
	var blue, green [3]string
	if err := c.blue.QueryRow(ctx, query).Scan(&blue[0], &blue[1], &blue[2]); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if err := c.green.QueryRow(ctx, query).Scan(&green[0], &green[1], &green[2]); err != nil {
		return fmt.Errorf("green: %w", err)
	}
	switch {
	case blue[0] != green[0]:
		c.add(Fail, "locale", fmt.Sprintf("blue's encoding is %s, green's %s", blue[0], green[0]), "create green's database with blue's encoding", 0)
	case blue != green:
		c.add(Warn, "locale", fmt.Sprintf("blue sorts by %s/%s, green by %s/%s", blue[1], blue[2], green[1], green[2]),
			"text sorts in another order on green; create its database with blue's LC_COLLATE and LC_CTYPE if that matters", 0)
	default:
		c.add(OK, "locale", blue[0]+" "+blue[1], "", 0)
	}
	return nil
}

func (c *check) privileges(ctx context.Context) error {
	const onBlue = `SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), coalesce((SELECT count(*) FROM pg_catalog.pg_class r
		JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname = ANY ($1) AND r.relkind IN ('r', 'p')
		AND NOT pg_catalog.pg_has_role(r.relowner, 'USAGE')), 0)` // the fence's triggers fire always, which only an owner may say
	const onGreen = `SELECT rolsuper, rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user`
	var create, super, databases bool
	var tables int64
	if err := c.blue.QueryRow(ctx, onBlue, c.Profile.Schemas()).Scan(&create, &tables); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if err := c.green.QueryRow(ctx, onGreen).Scan(&super, &databases); err != nil {
		return fmt.Errorf("green: %w", err)
	}
	if !super { // Postgres 15 can grant the one setting that replay needs
		if _, err := c.green.Exec(ctx, `SET session_replication_role = replica`); err == nil {
			super = true
			if _, err := c.green.Exec(ctx, `RESET session_replication_role`); err != nil {
				return fmt.Errorf("green: %w", err)
			}
		} else if err := lost(ctx, err); err != nil {
			return fmt.Errorf("green: %w", err)
		}
	}
	before := len(c.findings)
	if !create {
		c.add(Fail, "privileges", "our role on blue cannot create schema tideover", "GRANT CREATE ON DATABASE … TO our role on blue", 0)
	}
	if tables > 0 {
		c.add(Fail, "privileges", fmt.Sprintf("our role on blue is not the owner of %d tables of schema %s, nor a member of the owner's role: it may not put triggers on them", tables, quoted(c.Profile.Schemas())),
			"run as the tables' owner, or GRANT the owner's role TO our role on blue", 0)
	}
	if !super {
		c.add(Fail, "privileges", "our role on green cannot switch triggers off", "make it a superuser, or (Postgres 15 and newer) GRANT SET ON PARAMETER session_replication_role", 0)
	}
	if !databases {
		c.add(Fail, "privileges", "our role on green cannot create scratch databases", "ALTER ROLE … CREATEDB on green", 0)
	}
	if len(c.findings) == before {
		c.add(OK, "privileges", "our roles can do what the run needs", "", 0)
	}
	return nil
}

func (c *check) empty(ctx context.Context) error {
	empty, err := snapshot.Empty(ctx, c.Green)
	if err != nil {
		return err
	}
	if !empty {
		c.add(Fail, "green-empty", "green's database is not empty", "name a database under green.dsn that has nothing in it; what an earlier run has left there, its rollback takes away; leave this one as it is where a server uses it, or ever has", 0)
		return nil
	}
	// The copy makes blue's schemas, and stops at one that somebody has made before.
	const made = `SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname <> 'public' AND n.nspname = ANY ($1) ORDER BY 1`
	const blues = `SELECT coalesce(array_agg(n.nspname::text), '{}') FROM pg_catalog.pg_namespace n WHERE n.nspname NOT IN ('public', 'tideover', 'information_schema') AND n.nspname !~ '^pg_'`
	var names []string
	if err := c.blue.QueryRow(ctx, blues).Scan(&names); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	rows, err := c.green.Query(ctx, made, names)
	if err != nil {
		return fmt.Errorf("green: %w", err)
	}
	if names, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fmt.Errorf("green: %w", err)
	}
	for _, name := range names {
		c.add(Fail, "green-empty", fmt.Sprintf("green has a schema %q already, which is empty: the copy makes it, with blue's owner and grants", name),
			"DROP SCHEMA "+pgx.Identifier{name}.Sanitize()+" on green", 0)
	}
	if len(names) == 0 {
		c.add(OK, "green-empty", "green is empty", "", 0)
	}
	return nil
}

// paths looks for a search_path in the runbook's connection strings that leads elsewhere than to the profile's schema: ours are set by
// us, and the vendor's command would follow it.
func (c *check) paths(context.Context) error {
	for _, db := range []*postgres.DB{c.Blue, c.Green} {
		cfg, err := pgx.ParseConfig(db.DSN())
		if err != nil {
			continue // it has connected
		}
		path := cfg.RuntimeParams["search_path"]
		first, _, _ := strings.Cut(path, ",")
		if first = strings.Trim(strings.TrimSpace(first), `"`); path != "" && first != c.schema {
			c.add(Fail, "search-path", fmt.Sprintf("%s.dsn has search_path=%s, and the profile's tables are in schema %q", db.Name(), path, c.schema),
				"take search_path out of it, or say schema: "+first+" in a profile of your own (tideover profile show)", 0)
		}
	}
	return nil
}

func (c *check) transactions(ctx context.Context) error {
	const oldest = `SELECT count(*), coalesce(max(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - xact_start)), 0)::float8, coalesce(string_agg(pid::text, ', '), '')
		FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND xact_start < pg_catalog.clock_timestamp() - $1 * interval '1 second'`
	var n int64
	var age float64
	var pids string
	if err := c.blue.QueryRow(ctx, oldest, c.MaxTransaction.Seconds()).Scan(&n, &age, &pids); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if n > 0 {
		c.add(Fail, "transactions", fmt.Sprintf("%d transactions on blue are older than %s, the oldest %s (pid %s)", n, c.MaxTransaction,
			time.Duration(age*float64(time.Second)).Round(time.Second), pids),
			"end them, or find out why they are open: our triggers wait for them, and so does everything behind our triggers", 0)
	} else {
		c.add(OK, "transactions", "no long transactions on blue", "", 0)
	}
	return nil
}

func (c *check) clocks(ctx context.Context) error {
	const query = `SELECT pg_catalog.clock_timestamp()`
	for _, side := range []struct {
		name string
		conn *pgx.Conn
	}{{"blue", c.blue}, {"green", c.green}} {
		if side.conn == nil {
			continue
		}
		var there time.Time
		began := time.Now()
		if err := side.conn.QueryRow(ctx, query).Scan(&there); err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		// The answer was made somewhere between question and receipt: that span is no skew.
		skew := max(began.Sub(there), time.Until(there), 0)
		if skew > c.MaxClockSkew {
			c.add(Fail, "clocks", fmt.Sprintf("%s's clock and this machine's are %s apart", side.name, skew.Round(time.Millisecond)), "set both by NTP: tokens would expire early or late", 0)
		} else {
			c.add(OK, "clocks", side.name+"'s clock is right", "", 0)
		}
	}
	return nil
}
