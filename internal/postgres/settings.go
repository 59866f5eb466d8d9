package postgres

import (
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// setting is a run-time parameter and the value that it has in every session of ours (Postgres manual, chapter 20).
type setting struct{ name, value string }

// settings are in force in every session of ours, whatever the server, the database or the role sets: the copy, the
// scratch databases, replay, the fence, the journal, every comparison. Without them a date would be written day first by one
// session and read month first by another, and a statement would end by a timeout that was meant for the server's clients.
//
// What runs SQL of a profile or of the server's sets a path for it ([Path]). Not among them is what says whose work a session does (session_replication_role), where a table is stored, and that a
// database is not to be written (default_transaction_read_only): who has set that is to be told, and not to be passed over.
func settings() []setting {
	return []setting{
		// How values read as text. Every value comes back as it was.
		{"client_encoding", "UTF8"},
		{"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"timezone_abbreviations", "Default"},
		{"extra_float_digits", "3"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"xmlbinary", "base64"},
		{"xmloption", "content"},
		{"quote_all_identifiers", "off"},
		// Which functions and operators are meant: the system's alone, however well one of another schema fits.
		{"search_path", "pg_catalog, pg_temp"},
		// What SQL means.
		{"standard_conforming_strings", "on"},
		{"backslash_quote", "safe_encoding"},
		{"escape_string_warning", "on"},
		{"array_nulls", "on"},
		{"transform_null_equals", "off"},
		{"check_function_bodies", "on"},
		{"plpgsql.extra_errors", "none"},
		// Which rows are seen: a policy that would hide some is an error (manual 5.8).
		{"row_security", "off"},
		{"gin_fuzzy_search_limit", "0"},
		// Transactions and their ends.
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"}, // from 14 on
		{"transaction_timeout", "0"},  // from 17 on
		// Our statements are short or read all of a table: code made for one of them is not worth its making.
		{"jit", "off"},
	}
}

// sessionSQL makes a session ours. It is made by SET and not in the startup packet, which a database's and a role's own
// settings do not give way to alone: options of the connection string would. Operators are qualified as names are: until it
// is through, the database's own search_path is in force.
//
// What we have recorded must survive a crash of the server, whatever its settings are for others: synchronous_commit is
// turned on where it is off (manual 20.5.1). And a session whose process was killed must not go on with what it was at, an
// index build or a copy, and hold its locks: the server looks every second whether anybody still listens (manual 20.3.2; from 14
// on, and not on Windows).
func sessionSQL() string {
	var b strings.Builder
	b.WriteString("SELECT pg_catalog.set_config(s.name, s.value, false) FROM (VALUES ")
	for i, s := range settings() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + Literal(s.name) + ", " + Literal(s.value) + ")")
	}
	// A server that does not know a setting has not got what it would change.
	b.WriteString(") s(name, value) WHERE s.name OPERATOR(pg_catalog.~~) '%.%' OR pg_catalog.current_setting(s.name, true) IS NOT NULL;\n")
	b.WriteString(durableSQL)
	return b.String()
}

// catalogFirstSQL changes a path that puts pg_catalog behind other schemas.
const catalogFirstSQL = `SELECT pg_catalog.set_config('search_path', pg_catalog.concat('pg_catalog, ', pg_catalog.current_setting('search_path')), false)
WHERE pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.~~) '%pg_catalog%';
`

// durableSQL is what a session of ours has in a database of somebody else's, too.
const durableSQL = `SELECT pg_catalog.set_config('synchronous_commit', 'on', false) WHERE pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off';
SELECT pg_catalog.set_config('client_connection_check_interval', '1s', false)
WHERE pg_catalog.current_setting('client_connection_check_interval', true) OPERATOR(pg_catalog.=) '0' AND pg_catalog.version() OPERATOR(pg_catalog.!~*) 'windows|visual c|mingw'`

// ProgramOptions is the value of "options" in a connection string for Postgres' own programs (pg_dump, psql): what the
// connection string itself asks for, and then what our sessions have. pg_dump pins by itself how it writes values.
func ProgramOptions(cfg *pgx.ConnConfig) string {
	var b strings.Builder
	b.WriteString(cfg.RuntimeParams["options"])
	add := func(name, value string) {
		b.WriteString(" -c " + strings.NewReplacer(`\`, `\\`, " ", `\ `).Replace(name+"="+value))
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.RuntimeParams)) {
		ours := name == "options" || name == "application_name" || name == "replication" || name == "client_encoding"
		if !ours && !strings.HasPrefix(name, "pool_") { // the pool's settings are no server's
			add(name, cfg.RuntimeParams[name])
		}
	}
	for _, s := range settings() {
		if s.name != "client_encoding" && s.name != "idle_session_timeout" && s.name != "transaction_timeout" {
			add(s.name, s.value) // the three are not known to every server, or are the program's own affair
		}
	}
	return strings.TrimSpace(b.String())
}
