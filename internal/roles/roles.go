// Package roles sees to it that green can be used by the role that its server connects as: what migrations make belongs to
// whoever ran them, and a server that may not read its own tables answers every login with an error.
package roles

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	Number             uint32 // in the catalog of its kind: a rename keeps it
	Kind, Schema, Name string
	Identity           string // its name as GRANT takes it
	Rights             []string
	Places             map[int16]string    // of a table: its columns by their place, which a rename keeps
	Columns            map[string][]string // by right: the columns of a table to which alone the role has it
}

func (o object) called(name Name) bool { return o.Schema == name.Schema && o.Name == name.Name }

// Name is what an object is called, and a table's columns by their place.
type Name struct {
	Schema, Name string
	Columns      map[int16]string `json:",omitempty"`
}

// Names are what objects are called, by their kind and number.
type Names map[string]map[uint32]Name

// NamesOf notes what everything in a database is called. Of green before its migrations, that is what blue calls it.
func NamesOf(ctx context.Context, db *postgres.DB) (Names, error) {
	all, err := objects(ctx, db, "")
	if err != nil {
		return nil, err
	}
	names := make(Names)
	for _, o := range all {
		if names[o.Kind] == nil {
			names[o.Kind] = make(map[uint32]Name)
		}
		names[o.Kind][o.Number] = Name{Schema: o.Schema, Name: o.Name, Columns: o.Places}
	}
	return names, nil
}

// objectsSQL lists what there is beside the system's and ours, and what a role ($1; NULL: nobody) may do to it. Nobody needs a right to a
// sequence that a column of identity has.
const objectsSQL = `
WITH r AS (SELECT (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1) AS oid),
n AS (SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'tideover'))
SELECT n.oid AS number, 'schema' AS kind, n.nspname::text AS schema, ''::text AS name, pg_catalog.format('SCHEMA %I', n.nspname) AS identity,
	ARRAY(SELECT p FROM unnest(ARRAY['USAGE']) p WHERE pg_catalog.has_schema_privilege(r.oid, n.oid, p)) AS rights, NULL::jsonb AS places, NULL::jsonb AS columns FROM n, r
UNION ALL SELECT c.oid, CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END, n.nspname, c.relname, pg_catalog.format('TABLE %I.%I', n.nspname, c.relname),
	ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE pg_catalog.has_table_privilege(r.oid, c.oid, p)),
	(SELECT pg_catalog.jsonb_object_agg(a.attnum, a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
	(SELECT pg_catalog.jsonb_object_agg(p, columns) FROM (SELECT p, pg_catalog.array_agg(a.attname ORDER BY a.attnum) AS columns
		FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) p, pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			AND NOT pg_catalog.has_table_privilege(r.oid, c.oid, p) AND pg_catalog.has_column_privilege(r.oid, c.oid, a.attnum, p) GROUP BY p) listed)
	FROM pg_catalog.pg_class c JOIN n ON n.oid = c.relnamespace, r WHERE c.relkind IN ('r', 'p', 'v', 'm')
UNION ALL SELECT c.oid, 'sequence', n.nspname, c.relname, pg_catalog.format('SEQUENCE %I.%I', n.nspname, c.relname),
	ARRAY(SELECT p FROM unnest(ARRAY['USAGE']) p WHERE pg_catalog.has_sequence_privilege(r.oid, c.oid, p)), NULL, NULL
	FROM pg_catalog.pg_class c JOIN n ON n.oid = c.relnamespace, r WHERE c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i')
UNION ALL SELECT f.oid, 'function', n.nspname, pg_catalog.format('%s(%s)', f.proname, pg_catalog.oidvectortypes(f.proargtypes)),
	pg_catalog.format('ROUTINE %I.%I(%s)', n.nspname, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid)),
	ARRAY(SELECT p FROM unnest(ARRAY['EXECUTE']) p WHERE pg_catalog.has_function_privilege(r.oid, f.oid, p)), NULL, NULL
	FROM pg_catalog.pg_proc f JOIN n ON n.oid = f.pronamespace, r
ORDER BY 2, 3, 4`

func objects(ctx context.Context, db *postgres.DB, role string) ([]object, error) {
	rows, _ := db.Pool().Query(ctx, objectsSQL, role) // its error comes up in the rows
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[object])
	if err != nil {
		return nil, fmt.Errorf("%s: look at the rights of role %q: %w", db.Name(), role, err)
	}
	return all, nil
}

// Missing lists what green's role lacks: what blue's has on the same object, whatever it is called by now, and everything on
// what the migrations have made in the server's schema and in schemas of their own. Of the migration tool's tables it needs to
// read those. before are green's names from before the migrations; nil: those of now.
func (s Server) Missing(ctx context.Context, blue, green *postgres.DB, p *plan.Profile, before Names) ([]Right, error) {
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
	l := lack{old: old, before: before, profile: p, role: s.Green, schema: p.Schema, needed: map[string]bool{}}
	if l.schema == "" {
		l.schema = "public"
	}
	l.needed[l.schema] = true
	var missing []Right
	for _, o := range slices.Backward(now) { // schemas behind what is in them
		missing = append(missing, l.of(o)...)
	}
	slices.Reverse(missing)
	assumed, err := s.assumed(ctx, blue)
	if err != nil {
		return nil, err
	}
	for _, role := range assumed {
		if l.old, err = objects(ctx, blue, role); err != nil {
			return nil, err
		}
		if now, err = objects(ctx, green, role); err != nil {
			return nil, err
		}
		l.role, l.needed = role, map[string]bool{}
		var more []Right
		for _, o := range slices.Backward(now) {
			if _, there := l.was(o); !there && o.Kind != "schema" {
				continue // nobody knows for whom the migrations have made it
			}
			for _, right := range l.of(o) {
				right.Object += " as role " + pgx.Identifier{role}.Sanitize() + " (SET ROLE)"
				more = append(more, right)
			}
		}
		slices.Reverse(more)
		missing = append(missing, more...)
	}
	return missing, nil
}

// assumedSQL lists the roles whose rights a role ($1) has only after SET ROLE: it doesn't inherit them.
const assumedSQL = `
SELECT g.rolname::text FROM pg_catalog.pg_roles r, pg_catalog.pg_roles g
WHERE r.rolname = $1 AND NOT r.rolsuper AND g.oid <> r.oid AND g.rolname NOT LIKE 'pg\_%'
	AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER') AND NOT pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE')
ORDER BY 1`

func (s Server) assumed(ctx context.Context, blue *postgres.DB) ([]string, error) {
	rows, _ := blue.Pool().Query(ctx, assumedSQL, s.Blue) // its error comes up in the rows
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("blue: look for the roles that %q may take: %w", s.Blue, err)
	}
	return found, nil
}

// lack finds what a role of green has not.
type lack struct {
	old          []object // of blue, with what its role may do
	before       Names
	profile      *plan.Profile
	role, schema string
	needed       map[string]bool // schemas with something in them that is needed
}

// was is what blue has an object as.
func (l lack) was(o object) (object, bool) {
	name := Name{Schema: o.Schema, Name: o.Name}
	if known := l.before[o.Kind]; known != nil {
		then, there := known[o.Number]
		if !there {
			return object{}, false // the migrations have made it, be it under an old name
		}
		name = then
	}
	i := slices.IndexFunc(l.old, func(b object) bool { return b.Kind == o.Kind && b.called(name) })
	if i < 0 {
		return object{}, false
	}
	return l.old[i], true
}

// of lists what is missing on one object.
func (l lack) of(o object) (missing []Right) {
	want, columns := l.wanted(o)
	if len(want) > 0 || len(columns) > 0 {
		l.needed[o.Schema] = true
	}
	name := o.Schema
	if o.Name != "" {
		name += "." + o.Name
	}
	grant := func(rights []string) {
		missing = append(missing, Right{Object: fmt.Sprintf("%s %q", o.Kind, name), Rights: rights,
			Grant: fmt.Sprintf("GRANT %s ON %s TO %s", strings.Join(rights, ", "), o.Identity, pgx.Identifier{l.role}.Sanitize())})
	}
	if lack := slices.DeleteFunc(slices.Clone(want), func(r string) bool { return slices.Contains(o.Rights, r) }); len(lack) > 0 {
		grant(lack)
	}
	for _, right := range []string{"SELECT", "INSERT", "UPDATE"} {
		var lack []string
		for _, c := range columns[right] {
			if !slices.Contains(o.Rights, right) && !slices.Contains(o.Columns[right], c) {
				lack = append(lack, pgx.Identifier{c}.Sanitize())
			}
		}
		if len(lack) > 0 {
			grant([]string{right + " (" + strings.Join(lack, ", ") + ")"})
		}
	}
	return missing
}

// wanted is what the role is to have on an object: on the whole of it, and on some of its columns.
func (l lack) wanted(o object) (rights []string, columns map[string][]string) {
	old, there := l.was(o)
	_, ofBlue := l.was(object{Kind: "schema", Schema: o.Schema, Number: l.number(o.Schema)})
	switch {
	case o.Kind == "schema":
		if l.needed[o.Schema] {
			return []string{"USAGE"}, nil
		}
		return nil, nil
	case there:
		return old.Rights, l.today(o, old.Columns)
	case !slices.Contains(l.profile.Schemas(), o.Schema) && ofBlue:
		return nil, nil
	case o.Kind == "table" && slices.Contains(l.profile.Bookkeeping, l.profile.Schemas().Called(o.Schema, o.Name)):
		return []string{"SELECT"}, nil
	case o.Kind == "table":
		return []string{"SELECT", "INSERT", "UPDATE", "DELETE"}, nil
	case o.Kind == "view":
		return []string{"SELECT"}, nil
	case o.Kind == "sequence":
		return []string{"USAGE"}, nil
	}
	return []string{"EXECUTE"}, nil
}

// number is that of a schema before the migrations, as far as it is known.
func (l lack) number(schema string) uint32 {
	for number, name := range l.before["schema"] {
		if name.Schema == schema {
			return number
		}
	}
	return 0
}

// today calls the columns of an old table by their names of now; those that are gone are left out.
func (l lack) today(o object, columns map[string][]string) map[string][]string {
	then := o.Places
	if known, there := l.before[o.Kind][o.Number]; there {
		then = known.Columns
	}
	now := make(map[string][]string)
	for right, names := range columns {
		for _, place := range slices.Sorted(maps.Keys(then)) {
			if name, there := o.Places[place]; there && slices.Contains(names, then[place]) {
				now[right] = append(now[right], name)
			}
		}
	}
	return now
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
	if _, err := tx.Exec(ctx, "SET LOCAL row_security = on"); err != nil { // the server's rows are those that policies let it see
		return false, fmt.Errorf("green: %w", err)
	}
	if _, err := tx.Exec(ctx, "SET LOCAL ROLE "+pgx.Identifier{s.Green}.Sanitize()); postgres.Code(err) == "42501" {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("green: %w", err)
	}
	for _, o := range now {
		if o.Kind != "table" || !slices.Contains(p.Schemas(), o.Schema) || slices.Contains(p.Bookkeeping, p.Schemas().Called(o.Schema, o.Name)) {
			continue
		}
		table := pgx.Identifier{o.Schema, o.Name}.Sanitize()
		for _, sql := range []string{"SELECT * FROM " + table + " WHERE false", "DELETE FROM " + table + " WHERE false"} {
			if !slices.Contains(o.Rights, sql[:6]) {
				continue // it has been seen to have what blue's has
			}
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
func (s Server) Check(ctx context.Context, blue, green *postgres.DB, p *plan.Profile, before Names) error {
	missing, err := s.Missing(ctx, blue, green, p, before)
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
