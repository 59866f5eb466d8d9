package replay

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// A foreign key of blue may take rows along with one that is deleted, or change them: ON DELETE CASCADE, SET NULL, SET DEFAULT. Where
// green's clients have let such a row live, since it moved first, since the key did, or since green has no such foreign key, it must live on blue too.

// heirs knows what hangs on rows of blue, and what of it green has.
type heirs struct {
	from        pgx.Tx // green
	blue, green map[string]*relation
	homes       map[string]residence
	schemas     []string
}

// heirError says that a row can't go, since one that green has would go with it or be changed.
type heirError struct{ what string }

func (e *heirError) Error() string {
	return e.what + " refers to it on blue, would go with it or change, and is on green"
}

// strangersSQL lists foreign keys of tables that are not among the profile's ($3) schemas, which act when a row of table $2 of schema
// $1 is deleted.
const strangersSQL = `
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.n ORDER BY u.k),
	ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = u.n ORDER BY u.k)
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND f.confdeltype IN ('c', 'n', 'd') AND pn.nspname = $1 AND p.relname = $2 AND n.nspname <> ALL ($3)
ORDER BY 1`

// none returns a *heirError where rows of rel can't go. Rows of which it is known that they go are in going, by table; those of rel too.
func (h *heirs) none(ctx context.Context, tx pgx.Tx, rel *relation, key []string, keys []tuple, going map[string]*keySet) error {
	if len(keys) == 0 {
		return nil
	}
	n := len(key)
	these := unnest(rel, key, "k") + " JOIN " + rel.rows() + " p ON " + rel.equal("p", key, "k", numbered(n))
	for _, name := range sortedNames(h.blue) {
		child := h.blue[name]
		home := h.homes[name]
		if home.Key == nil {
			home.Key = child.primary
		}
		for _, e := range child.parents {
			if e.to != rel.name || !e.acts {
				continue
			}
			hang := " FROM " + child.rows() + " c WHERE EXISTS (SELECT FROM " + these + " WHERE " + rel.equal("p", e.toColumns, "c", e.fromColumns) + ")"
			if len(home.Key) == 0 {
				if err := attached(ctx, tx, "SELECT EXISTS (SELECT"+hang+")", transpose(keys, n), "a row of table "+name); err != nil {
					return err
				}
				continue
			}
			found, err := tuples(ctx, tx, "SELECT "+keyTexts(child, home.Key, "c")+hang, keys, len(home.Key))
			if err != nil {
				return err
			}
			if going[name] == nil {
				going[name] = &keySet{}
			}
			var next []tuple
			for _, k := range found {
				if going[name].add(k) {
					next = append(next, k)
				}
			}
			there, err := h.there(ctx, home, next)
			if err != nil {
				return err
			}
			for i, k := range next {
				if there[i] {
					return &heirError{describe(name, home.Key, k)}
				}
			}
			if err := h.none(ctx, tx, child, home.Key, next, going); err != nil {
				return err
			}
		}
	}
	rows, err := tx.Query(ctx, strangersSQL, rel.schema, rel.table, h.schemas)
	if err != nil {
		return err
	}
	type stranger struct {
		Name     string
		From, To []string
	}
	others, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stranger])
	if err != nil {
		return err
	}
	for _, o := range others {
		sql := "SELECT EXISTS (SELECT FROM " + o.Name + " c WHERE EXISTS (SELECT FROM " + these + " WHERE " + rel.equal("p", o.To, "c", o.From) + "))"
		if err := attached(ctx, tx, sql, transpose(keys, n), "a row of table "+o.Name); err != nil {
			return err
		}
	}
	return nil
}

// there says which rows of a table of blue green has. Of one whose home is not known, it has all.
func (h *heirs) there(ctx context.Context, home residence, keys []tuple) ([]bool, error) {
	if rel := h.green[home.Table]; home.Table != "" && rel != nil {
		return held(ctx, h.from, rel, home.There, keys)
	}
	all := make([]bool, len(keys))
	for i := range all {
		all[i] = true
	}
	return all, nil
}

// attached returns a *heirError where a query says so.
func attached(ctx context.Context, tx pgx.Tx, sql string, args []any, what string) error {
	var there bool
	if err := tx.QueryRow(ctx, sql, args...).Scan(&there); err != nil || !there {
		return err
	}
	return &heirError{what}
}
