package cleanup

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// Functions that a rule's SQL can call. They are temporary: they belong to the session and go with it. Postgres has a
// question for "is this JSON?" that raises no exception only from 16 on (pg_input_is_valid).
//
//   - pg_temp.tideover_is_json(x text) boolean: whether x can be cast to jsonb.
//   - pg_temp.tideover_is(x text, type text) boolean: whether x can be cast to a type, such as 'integer', 'numeric(10,2)' or
//     a domain.
//   - pg_temp.tideover_json(x text, empty text) text: x where it can be cast; else x without \u0000, which jsonb can't
//     hold; else empty where x is blank; else x as text within JSON: an array where empty is '[]', an object with the
//     field "text" otherwise.
//   - pg_temp.tideover_is_escaped(x text) boolean: whether x, put between two quotes, is a JSON string, of which every
//     backslash begins an escape of tideover_escape's.
//   - pg_temp.tideover_escape(x text) text: x with quotes, backslashes and control characters as \u00.., so that it can be
//     put between two quotes. Escaping twice changes nothing: a backslash that begins such an escape already is left
//     alone, and an x that had one from the start is read as what it stands for.
const functionsSQL = `
CREATE OR REPLACE FUNCTION pg_temp.tideover_is_json(x text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN x::pg_catalog.jsonb IS NOT NULL OR x IS NULL;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
	RETURN false;
END $$;
CREATE OR REPLACE FUNCTION pg_temp.tideover_is(x text, type text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	EXECUTE 'SELECT $1::' || type USING x;
	RETURN true;
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR invalid_text_representation THEN
	RETURN false;
END $$;
CREATE OR REPLACE FUNCTION pg_temp.tideover_json(x text, empty text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	clean text := pg_catalog.regexp_replace(x, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g');
BEGIN
	IF pg_catalog.btrim(x, E' \t\r\n') = '' THEN
		RETURN empty;
	END IF;
	PERFORM clean::pg_catalog.jsonb;
	RETURN clean;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
	IF empty = '[]' THEN
		RETURN pg_catalog.jsonb_build_array(x)::text;
	END IF;
	RETURN pg_catalog.jsonb_build_object('text', x)::text;
END $$;
CREATE OR REPLACE FUNCTION pg_temp.tideover_is_escaped(x text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT x IS NULL OR x !~ '["\u0001-\u001f]' AND x !~ '\\(?!u00(?:22|5c|0[1-9a-f]|1[0-9a-f]))'
$$;
CREATE OR REPLACE FUNCTION pg_temp.tideover_escape(x text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT pg_catalog.string_agg(CASE WHEN c = '"' OR pg_catalog.ascii(c) < 32 AND c <> ''
		THEN '\u' || pg_catalog.lpad(pg_catalog.to_hex(pg_catalog.ascii(c)), 4, '0') ELSE c END, '' ORDER BY n)
	FROM pg_catalog.regexp_split_to_table(pg_catalog.regexp_replace(x, '\\(?!u00(?:22|5c|0[1-9a-f]|1[0-9a-f]))', '\\u005c', 'g'), '')
		WITH ORDINALITY r(c, n)
$$`

// provide makes the functions on conn where a rule calls one.
func (r *Runner) provide(ctx context.Context, conn *pgx.Conn, rules []plan.Rule) error {
	for _, rule := range rules {
		if !strings.Contains(rule.Where+strings.Join(rule.Fix, ""), "pg_temp.tideover_") {
			continue
		}
		return Provide(ctx, conn)
	}
	return nil
}

// Provide makes the functions that rules can call, for one session; in one that is read-only by default, too: nothing
// that outlives it is written.
func Provide(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error { return ProvideIn(ctx, tx) })
}

// ProvideIn is Provide within a transaction.
func ProvideIn(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, functionsSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("make the rules' functions: %w", err)
	}
	return nil
}
