package snapshot_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/snapshot"
)

// shapes is a database of kinds that are not in an OAuth server's, or not yet.
const shapes = `
CREATE SCHEMA app;
DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database());
	EXECUTE format('ALTER DATABASE %I SET DateStyle = ''SQL, DMY''', current_database());
	EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Kathmandu''', current_database()); END$$;
SET search_path = app, public; SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY';
CREATE FUNCTION fold(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN lower(t); END$$;
CREATE FUNCTION slug(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN replace(fold(t), ' ', '-'); END$$;
CREATE FUNCTION short(t text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN length(fold(t)) < 100; END$$;
CREATE DOMAIN name_of AS text CHECK (short(VALUE));
CREATE TABLE token (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v name_of CHECK (short(v)), s text GENERATED ALWAYS AS (slug(v)) STORED,
	at timestamptz DEFAULT '2024-03-04 05:06:07+00');
CREATE INDEX token_slug ON token (slug(v));
COMMENT ON INDEX token_slug IS 'an index';
INSERT INTO token (v) SELECT 'Some Text ' || i FROM generate_series(1, 50) i;
CREATE MATERIALIZED VIEW days AS SELECT slug(v) AS slug, at::text AS at, to_tsvector(v) AS words FROM token;
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (more int, PRIMARY KEY (id)) INHERITS (parent);
INSERT INTO parent VALUES (1, 'a'); INSERT INTO child VALUES (1, 'b', 2), (10, 'c', 3);
ALTER TABLE child ADD CONSTRAINT child_parent FOREIGN KEY (more) REFERENCES token;
COMMENT ON CONSTRAINT child_parent ON child IS 'a foreign key';
CREATE TABLE written (what text);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.written VALUES (tg_tag); END$$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO written VALUES ('touch'); RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE INSERT ON token FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE token ENABLE ALWAYS TRIGGER touch;
COMMENT ON TRIGGER touch ON token IS 'a trigger';
CREATE RULE also AS ON INSERT TO parent DO ALSO INSERT INTO written VALUES ('rule');
COMMENT ON RULE also ON parent IS 'a rule';
CREATE EVENT TRIGGER NAME ON ddl_command_end EXECUTE FUNCTION app.note();
COMMENT ON EVENT TRIGGER NAME IS 'an event trigger';
DELETE FROM written;`

// All of it comes along, owners that green has not got aside, and no code of the database's own writes a row meanwhile. What such
// code calls without a schema is found as on blue. The copy and the reference do it alike.
func TestShapes(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blue := pgtest.NewDatabase(t)
	event := "note_" + blue[strings.LastIndex(blue, "/test_")+6:][:12]
	run(t, blue, strings.ReplaceAll(shapes, "EVENT TRIGGER NAME", "EVENT TRIGGER "+event))
	role := "owner_" + event
	run(t, blue, `CREATE ROLE `+role+` SUPERUSER; ALTER TABLE app.token OWNER TO `+role+`; ALTER SCHEMA app OWNER TO `+role+`; DELETE FROM app.written`) // the role stays with the test's server, which goes
	const utc = "&options=-c%20TimeZone%3DUTC"                                                                                                           // pg_dump leaves it as the database has it
	want := lines(dump(t, blue+utc, "--no-owner", "--no-privileges"))
	for name, copying := range map[string]func(o snapshot.Options) error{
		"copy":      func(o snapshot.Options) error { _, err := snapshot.Copy(t.Context(), o); return err },
		"reference": func(o snapshot.Options) error { return snapshot.Reference(t.Context(), o) },
	} {
		green := pgtest.NewDatabase(t)
		if err := copying(snapshot.Options{Blue: open(t, "blue", blue), Green: open(t, "green", green), Jobs: 2, BinDir: pgtest.Shared(t).BinDir()}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "reference" { // it restores the event trigger in pg_dump's order, before it fills the views
			run(t, green, `DELETE FROM app.written`)
		}
		if diff := cmp.Diff(want, lines(dump(t, green+utc, "--no-owner", "--no-privileges"))); diff != "" {
			t.Errorf("%s (-blue +green):\n%s", name, diff)
		}
		const view = `SELECT string_agg(concat(slug, at, words), ';' ORDER BY slug) FROM app.days`
		const comments = ` || (SELECT string_agg(description, ',' ORDER BY description) FROM pg_description WHERE description LIKE 'a% %' AND objoid >= 16384)`
		ask := func(dsn string) (s string) {
			if err := connect(t, dsn).QueryRow(t.Context(), strings.Replace(view, " FROM", comments+" FROM", 1)).Scan(&s); err != nil {
				t.Fatal(err)
			}
			return s
		}
		if diff := cmp.Diff(ask(blue), ask(green)); diff != "" {
			t.Errorf("%s: what a view gives (-blue +green):\n%s", name, diff)
		}
	}
}
