package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// preData restores types, functions and bare tables, and returns a sum of blue's whole schema.
func (c *copying) preData(ctx context.Context, green *pgx.Conn, a *archive) (sum string, err error) {
	sum, pre, err := a.sum(ctx)
	if err != nil {
		return "", err
	}
	name := "schema " + sum
	if c.marks.names[name] {
		return sum, nil
	}
	if c.marks.names["schema"] {
		return "", schemaChangedError{}
	}
	c.meter.say("schema")
	return sum, pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
		if err := script(ctx, green, pre); err != nil {
			return fmt.Errorf("restore blue's tables on green: %w", err)
		}
		for _, part := range []string{"schema", name} {
			if _, err := tx.Exec(ctx, mark, part, 0); err != nil {
				return fmt.Errorf("record the schema: %w", err)
			}
		}
		return nil
	})
}

// sameSchema looks whether blue's schema is still the one of the copy: no lock of ours has kept it so. Where the
// catalogs have the very rows that they had, it is; else dumps are compared.
func (c *copying) sameSchema(ctx context.Context, sum, catalogs string) error {
	blue, snapshot, err := export(ctx, c.Blue.DSN())
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, blue.Conn)
	if same, err := catalogSum(ctx, blue.Conn); err != nil || same == catalogs {
		return err
	}
	a, err := dump(ctx, blue.Conn, c.Blue.DSN(), snapshot, c.BinDir, c.Privileges)
	if err != nil {
		return err
	}
	defer a.remove()
	now, _, err := a.sum(ctx)
	if err == nil && now != sum {
		err = schemaChangedError{}
	}
	return err
}

// sum is a hash of the archive's SQL, and the SQL of its pre-data section.
func (a *archive) sum(ctx context.Context) (sum, pre string, err error) {
	hash := sha256.New()
	for _, section := range []string{"pre-data", "post-data"} {
		entries, err := a.entries(ctx, section)
		if err != nil {
			return "", "", err
		}
		sql, err := a.sql(ctx, entries)
		if err != nil {
			return "", "", err
		}
		if section == "pre-data" {
			pre = sql
		}
		hash.Write([]byte(withoutComments(sql)))
	}
	return hex.EncodeToString(hash.Sum(nil)), pre, nil
}

// withoutComments takes out the comment lines of a script, which name the dump's time and version.
func withoutComments(sql string) string {
	var b strings.Builder
	for line := range strings.Lines(sql) {
		if !strings.HasPrefix(line, "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// catalogSumQuery hashes which versions of rows the catalogs of definitions have: any DDL makes new ones. Of pg_class it takes the
// columns instead, since TRUNCATE and vacuum write to it.
const catalogSumQuery = `
SELECT pg_catalog.md5(coalesce(string_agg(s, ',' ORDER BY s COLLATE "C"), '')) FROM (
	SELECT 'attribute ' || attrelid || '.' || attnum || ' ' || xmin AS s FROM pg_catalog.pg_attribute WHERE attrelid >= 16384
	UNION ALL SELECT 'class ' || oid || ' ' || ROW(relname, relnamespace, relkind, relpersistence, relowner, relacl, reloptions, relrowsecurity, relforcerowsecurity,
		relispartition, relreplident, reloftype, relam, pg_catalog.pg_get_expr(relpartbound, oid))::text FROM pg_catalog.pg_class WHERE oid >= 16384
	UNION ALL SELECT 'index ' || indexrelid || ' ' || ROW(indisclustered, indisreplident, indisvalid)::text FROM pg_catalog.pg_index WHERE indexrelid >= 16384
	UNION ALL SELECT 'inherits ' || inhrelid || ' ' || xmin FROM pg_catalog.pg_inherits
	UNION ALL SELECT 'sequence ' || seqrelid || ' ' || xmin FROM pg_catalog.pg_sequence
	UNION ALL SELECT 'description ' || objoid || '.' || objsubid || '.' || classoid || ' ' || xmin FROM pg_catalog.pg_description WHERE objoid >= 16384
%s) all_of_them`

// catalogsWithOID are the other catalogs of what a dump has.
var catalogsWithOID = []string{"pg_attrdef", "pg_cast", "pg_collation", "pg_constraint", "pg_conversion", "pg_default_acl", "pg_enum", "pg_event_trigger",
	"pg_extension", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_language", "pg_namespace", "pg_opclass", "pg_operator", "pg_opfamily", "pg_policy", "pg_proc",
	"pg_rewrite", "pg_statistic_ext", "pg_transform", "pg_trigger", "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template", "pg_type"}

func catalogSum(ctx context.Context, conn *pgx.Conn) (sum string, err error) {
	var more strings.Builder
	for _, c := range catalogsWithOID {
		fmt.Fprintf(&more, "	UNION ALL SELECT '%s ' || oid || ' ' || xmin FROM pg_catalog.%[1]s WHERE oid >= 16384\n", c)
	}
	if err := conn.QueryRow(ctx, fmt.Sprintf(catalogSumQuery, more.String())).Scan(&sum); err != nil {
		return "", fmt.Errorf("look at blue's catalogs: %w", err)
	}
	return sum, nil
}
