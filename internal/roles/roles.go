// Package roles sees to it that green can be used by the role that its server connects as: what migrations make belongs to
// whoever ran them, and a server that may not read its own tables answers every login with an error.
package roles

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Server is a role that a server connects as, on its side.
type Server struct {
	Blue, Green string // "": nobody knows
	Named       bool   // the runbook names green's; else it is taken to be the owner of blue's tables
	Ours        string // our own role on green
}

// ownersSQL lists the owners of a schema's tables ($1, but for none), the owner of most of them first.
const ownersSQL = `
SELECT r.rolname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') GROUP BY r.rolname ORDER BY pg_catalog.count(*) DESC, r.rolname`

// Find says which roles the servers connect as: those that the runbook names ("": none), else the owner of blue's tables, on
// green if there is such a role.
func Find(ctx context.Context, blue, green *postgres.DB, schema, namedBlue, namedGreen string) (s Server, err error) {
	rows, _ := blue.Pool().Query(ctx, ownersSQL, schema) // its error comes up in the rows
	owners, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return s, fmt.Errorf("blue: look for the owner of the tables: %w", err)
	}
	s.Blue, s.Green, s.Named = namedBlue, namedGreen, namedGreen != ""
	if s.Blue == "" && len(owners) > 0 {
		s.Blue = owners[0]
	}
	if s.Green == "" {
		s.Green = s.Blue
	}
	there := false
	const look = `SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1), CURRENT_USER::text`
	if err := green.Pool().QueryRow(ctx, look, s.Green).Scan(&there, &s.Ours); err != nil {
		return s, fmt.Errorf("green: look for role %q: %w", s.Green, err)
	}
	if !there && s.Named {
		return s, &UnknownError{Role: s.Green}
	}
	if !there {
		s.Green = ""
	}
	return s, nil
}

// UnknownError says that green has no such role.
type UnknownError struct{ Role string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("green's server has no role %q, which the runbook says that its OAuth server connects as", e.Role)
}

// Hint says what can be done.
func (e *UnknownError) Hint() string {
	return "CREATE ROLE " + pgx.Identifier{e.Role}.Sanitize() + " LOGIN …, or mend green.role in the runbook"
}

// Right is something that a role may not do, and should.
type Right struct {
	Object string // such as `table "public.oauth_flow"`
	Rights []string
	Grant  string // the statement that gives them
}

func (r Right) String() string { return strings.Join(r.Rights, ", ") + " on " + r.Object }

// object is something in a database, with what a role may do to it.
type object struct {
	Kind, Schema, Name string
	Identity           string // its name as GRANT takes it
	Rights             []string
}

// objectsSQL lists what there is beside the system's and ours, and what a role ($1) may do to it. Nobody needs a right to a
// sequence that a column of identity has.
const objectsSQL = `
WITH r AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1),
n AS (SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'tideover'))
SELECT 'schema' AS kind, n.nspname::text AS schema, ''::text AS name, pg_catalog.format('SCHEMA %I', n.nspname) AS identity,
	ARRAY(SELECT p FROM unnest(ARRAY['USAGE']) p WHERE pg_catalog.has_schema_privilege(r.oid, n.oid, p)) AS rights FROM n, r
UNION ALL SELECT CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END, n.nspname, c.relname, pg_catalog.format('TABLE %I.%I', n.nspname, c.relname),
	ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE pg_catalog.has_table_privilege(r.oid, c.oid, p)
		OR p <> 'DELETE' AND pg_catalog.has_any_column_privilege(r.oid, c.oid, CASE p WHEN 'DELETE' THEN 'SELECT' ELSE p END))
	FROM pg_catalog.pg_class c JOIN n ON n.oid = c.relnamespace, r WHERE c.relkind IN ('r', 'p', 'v', 'm')
UNION ALL SELECT 'sequence', n.nspname, c.relname, pg_catalog.format('SEQUENCE %I.%I', n.nspname, c.relname),
	ARRAY(SELECT p FROM unnest(ARRAY['USAGE']) p WHERE pg_catalog.has_sequence_privilege(r.oid, c.oid, p))
	FROM pg_catalog.pg_class c JOIN n ON n.oid = c.relnamespace, r WHERE c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i')
UNION ALL SELECT 'function', n.nspname, pg_catalog.format('%s(%s)', f.proname, pg_catalog.oidvectortypes(f.proargtypes)),
	pg_catalog.format('ROUTINE %I.%I(%s)', n.nspname, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid)),
	ARRAY(SELECT p FROM unnest(ARRAY['EXECUTE']) p WHERE pg_catalog.has_function_privilege(r.oid, f.oid, p))
	FROM pg_catalog.pg_proc f JOIN n ON n.oid = f.pronamespace, r
ORDER BY 1, 2, 3`

func objects(ctx context.Context, db *postgres.DB, role string) ([]object, error) {
	rows, _ := db.Pool().Query(ctx, objectsSQL, role) // its error comes up in the rows
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[object])
	if err != nil {
		return nil, fmt.Errorf("%s: look at the rights of role %q: %w", db.Name(), role, err)
	}
	return all, nil
}

// Missing lists what green's role lacks: what blue's has on an object of the same name, and everything on tables and sequences of
// the server's schema that the migrations have made. Of the migration tool's tables it needs to read those.
func (s Server) Missing(ctx context.Context, blue, green *postgres.DB, p *plan.Profile) ([]Right, error) {
	if s.Green == "" {
		return nil, nil
	}
	old, err := objects(ctx, blue, s.Blue)
	if err != nil {
		return nil, err
	}
	now, err := objects(ctx, green, s.Green)
	if err != nil {
		return nil, err
	}
	return lacking(old, now, p, s.Green), nil
}

func lacking(old, now []object, p *plan.Profile, role string) []Right {
	schema := p.Schema
	if schema == "" {
		schema = "public"
	}
	var missing []Right
	needed := map[string]bool{schema: true}  // schemas with something in them that is needed
	for _, o := range slices.Backward(now) { // schemas behind what is in them
		i := slices.IndexFunc(old, func(b object) bool { return b.Kind == o.Kind && b.Schema == o.Schema && b.Name == o.Name })
		var want []string
		switch {
		case o.Kind == "schema":
			if needed[o.Schema] {
				want = []string{"USAGE"}
			}
		case i >= 0:
			want = old[i].Rights
		case o.Schema != schema:
		case o.Kind == "table" && slices.Contains(p.Bookkeeping, o.Name):
			want = []string{"SELECT"}
		case o.Kind == "table":
			want = []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
		case o.Kind == "sequence":
			want = []string{"USAGE"}
		}
		if len(want) > 0 {
			needed[o.Schema] = true
		}
		lack := slices.DeleteFunc(slices.Clone(want), func(r string) bool { return slices.Contains(o.Rights, r) })
		if len(lack) == 0 {
			continue
		}
		name := o.Schema
		if o.Name != "" {
			name += "." + o.Name
		}
		missing = append(missing, Right{Object: fmt.Sprintf("%s %q", o.Kind, name), Rights: lack,
			Grant: fmt.Sprintf("GRANT %s ON %s TO %s", strings.Join(lack, ", "), o.Identity, pgx.Identifier{role}.Sanitize())})
	}
	slices.Reverse(missing)
	return missing
}

// Give grants rights, in one transaction.
func Give(ctx context.Context, db *postgres.DB, budget postgres.Budget, rights []Right) error {
	if len(rights) == 0 {
		return nil
	}
	return db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		for _, r := range rights {
			if _, err := tx.Exec(ctx, r.Grant); err != nil {
				return fmt.Errorf("%s: %s: %w", db.Name(), r.Grant, err)
			}
		}
		return nil
	})
}

// Try does as green's role what its server will do to each table of the server's schema, to no row, and takes it back. It can't be
// done where our role may not become that one: then it says so by false.
func (s Server) Try(ctx context.Context, green *postgres.DB, p *plan.Profile) (tried bool, err error) {
	tx, err := green.Pool().Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("green: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	now, err := objects(ctx, green, s.Green)
	if err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL ROLE "+pgx.Identifier{s.Green}.Sanitize()); postgres.Code(err) == "42501" {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("green: %w", err)
	}
	for _, o := range now {
		if o.Kind != "table" || o.Schema != p.Schema || slices.Contains(p.Bookkeeping, o.Name) {
			continue
		}
		table := pgx.Identifier{o.Schema, o.Name}.Sanitize()
		for _, sql := range []string{"SELECT * FROM " + table + " WHERE false", "DELETE FROM " + table + " WHERE false"} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return false, &MissingError{Role: s.Green, Rights: []Right{{Object: fmt.Sprintf("table %q", o.Schema+"."+o.Name), Rights: []string{sql[:6]},
					Grant: fmt.Sprintf("GRANT %s ON %s TO %s", sql[:6], o.Identity, pgx.Identifier{s.Green}.Sanitize())}}, Err: err}
			}
		}
	}
	return true, nil
}

// MissingError says that green's server could not work.
type MissingError struct {
	Role   string
	Named  bool
	Rights []Right
	Err    error // what Postgres said; nil where nothing was tried
}

// shown is how many rights an error names.
const shown = 20

func (e *MissingError) Error() string {
	var all []string
	for i, r := range e.Rights {
		if i == shown {
			all = append(all, fmt.Sprintf("%d more", len(e.Rights)-i))
			break
		}
		all = append(all, r.String())
	}
	text := fmt.Sprintf("green's server could not work: role %q has not %s", e.Role, strings.Join(all, "; "))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *MissingError) Unwrap() error { return e.Err }

// Hint has the statements that give what is missing.
func (e *MissingError) Hint() string {
	var all []string
	for i, r := range e.Rights {
		if i == shown {
			all = append(all, "-- and so on for the others")
			break
		}
		all = append(all, r.Grant+";")
	}
	hint := "on green's database, then resume:\n" + strings.Join(all, "\n")
	if !e.Named {
		hint += "\nor name the role that green's server connects as, in green.role of the runbook: it is given what it needs"
	}
	return hint
}

// Check says whether green's role may do what its server needs, and tries it where it can be tried. The error is a [*MissingError].
func (s Server) Check(ctx context.Context, blue, green *postgres.DB, p *plan.Profile) error {
	missing, err := s.Missing(ctx, blue, green, p)
	if err != nil || s.Green == "" {
		return err
	}
	if len(missing) > 0 {
		return &MissingError{Role: s.Green, Named: s.Named, Rights: missing}
	}
	_, err = s.Try(ctx, green, p)
	var lacks *MissingError
	if errors.As(err, &lacks) {
		lacks.Named = s.Named
	}
	return err
}
