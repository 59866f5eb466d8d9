package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Sessions of ours are let through by the fence, and are not captured on green. They show that they are ours by a word that the
// database made itself: it is in a table that nobody but the owner of our schema can read, and in the setting tideover.pass of
// our sessions. It never leaves the server: a session puts it into its setting by a query, so that no log and no list of
// statements has it. Any role can set the setting; none can set it to the word.
//
// Who owns our schema, is a superuser or reads all data (pg_read_all_data) could, and so could what they let run in their
// sessions. They could take the fence's triggers away, too.

// PassSQL makes the word, where there is none. It belongs into the transaction that makes what asks for it; the sessions that
// are open already get it by [DB.Renew].
const PassSQL = `
CREATE TABLE IF NOT EXISTS tideover.pass (one boolean PRIMARY KEY DEFAULT true CHECK (one), word text NOT NULL);
INSERT INTO tideover.pass (word) SELECT pg_catalog.concat(pg_catalog.gen_random_uuid(), pg_catalog.gen_random_uuid()) ON CONFLICT DO NOTHING;`

// KeepSQL takes from all others, in our schema, what default privileges have given them: to write there, to make something
// there, and to read the word. It goes with whatever makes something there. The journal's tables are left out, whose grants are a
// person's.
const KeepSQL = keepHead + ` AND c.relname NOT IN ('run', 'event', 'approval')` + keepTail

// keepNewSQL is KeepSQL for a journal that was just made: no person can have granted anything yet.
const keepNewSQL = keepHead + keepTail

const keepHead = `
DO $$
DECLARE g record;
BEGIN
	FOR g IN
		SELECT pg_catalog.format('REVOKE CREATE ON SCHEMA tideover FROM %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END) AS sql
		FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a WHERE n.nspname = 'tideover' AND a.grantee <> n.nspowner AND a.privilege_type = 'CREATE'
		UNION
		SELECT pg_catalog.format('REVOKE %s ON %s tideover.%I FROM %s', a.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname,
			CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.aclexplode(c.relacl) a
		WHERE n.nspname = 'tideover' AND c.relkind IN ('r', 'v', 'S')`

const keepTail = `
			AND a.grantee <> c.relowner AND (a.privilege_type <> 'SELECT' OR c.relname = 'pass')
	LOOP
		EXECUTE g.sql;
	END LOOP;
END $$;`

// NoPassSQL drops the word where nothing is left that asks for it.
const NoPassSQL = `
DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
			WHERE n.nspname = 'tideover' AND (f.proname = 'refuse_write' OR f.proname LIKE 'capture\_%')) THEN
		DROP TABLE IF EXISTS tideover.pass;
	END IF;
END $$;`

// Passed is the SQL that says whether the session has the word. It is NULL where it has none, and looks no further then.
const Passed = `(pg_catalog.current_setting('tideover.pass', true) OPERATOR(pg_catalog.=) (SELECT p.word FROM ONLY tideover.pass p))`

// schemaSQL asks whose our schema is: "none", "of ROLE" where that is nobody whose code we would run, else whether the word is there
// for us to read ("pass") or not ("ours").
const schemaSQL = `
SELECT coalesce((SELECT CASE
	WHEN NOT (o.rolsuper OR o.oid OPERATOR(pg_catalog.=) us.oid OR NOT us.rolsuper AND pg_catalog.pg_has_role(o.oid, 'MEMBER'))
		THEN pg_catalog.concat('of ', o.rolname)
	WHEN pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid
		AND c.relname OPERATOR(pg_catalog.=) 'pass' AND c.relkind OPERATOR(pg_catalog.=) 'r' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) THEN 'pass'
	ELSE 'ours' END
	FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) n.nspowner, pg_catalog.pg_roles us
	WHERE n.nspname OPERATOR(pg_catalog.=) 'tideover' AND us.rolname OPERATOR(pg_catalog.=) CURRENT_USER), 'none')`

const takePassSQL = `SELECT pg_catalog.set_config('tideover.pass', p.word, false) FROM ONLY tideover.pass p`

// enter gives a session the word, where there is one for it. theirs: the session is for SQL of somebody else's, and what is in a
// schema of our name does not matter to it.
func enter(ctx context.Context, conn *pgconn.PgConn, theirs bool) error {
	is, err := answer(ctx, conn, schemaSQL)
	switch {
	case err != nil:
		return err
	case is == "pass":
		return conn.Exec(ctx, takePassSQL).Close()
	case is == "none" || is == "ours" || theirs:
		return nil
	}
	return &schemaError{owner: is[len("of "):]}
}

// schemaError says that somebody else made a schema of our name: what is in it would run in our sessions.
type schemaError struct{ owner string }

func (e *schemaError) Error() string {
	return fmt.Sprintf("schema \"tideover\" belongs to role %q, whose code our role would run", e.owner)
}

// Hint says what can be done.
func (e *schemaError) Hint() string {
	return "connect as that role, or as a member of it that is no superuser, if the schema is an earlier run's; else DROP SCHEMA tideover CASCADE, and see who has CREATE on the database"
}

// Renew has the pool open new sessions, which get the word of [PassSQL]; those in use are closed when they are given back.
func (d *DB) Renew() { d.pool.Reset() }
