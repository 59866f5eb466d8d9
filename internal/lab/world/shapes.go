package world

// shape is a kind of schema that a random table has not got: tables of its own, with writers and migrations.
type shape struct {
	name   string
	chance float64
	make   func(*builder, dice)
}

var shapes = []shape{
	{"cycle", 0.08, cycle},
	{"self reference", 0.08, selfReference},
	{"inheritance", 0.08, inheritance},
	{"ranges", 0.08, ranges},
	{"rule", 0.05, rule},
	{"deferrable", 0.06, deferrable},
	{"generated key", 0.06, generatedKey},
	{"identity beside the key", 0.06, identityBeside},
	{"second schema", 0.08, secondSchema},
	{"set back", 0.06, setBack},
	{"not in the profile", 0.08, unnamed},
	{"no key", 0.05, noKey},
	{"merged tables", 0.08, mergedTables},
	{"new key", 0.06, newKey},
	{"unqualified", 0.08, unqualified},
	{"owner", 0.06, owner},
	{"cache", 0.05, cache},
	{"ddl", 0.05, ddl},
	{"row security", 0.06, rowSecurity},
	{"events", 0.04, events},
}

func (b *builder) client(d dice, name, sql string) {
	if d.has(name, 0.9) {
		b.world.Writes = append(b.world.Writes, Write{pick(d, name+" moment", moments), sql})
	}
}

func (b *builder) named(tables ...string) {
	for _, t := range tables {
		b.profiled = append(b.profiled, profiled{name: t})
	}
}

func cycle(b *builder, d dice) {
	late := pick(d, "deferrable", []string{"", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"})
	b.blue(`CREATE TABLE account (id int PRIMARY KEY, main_email int, v text);
CREATE TABLE email (id int PRIMARY KEY, account int NOT NULL REFERENCES account ON DELETE CASCADE, addr text UNIQUE);
ALTER TABLE account ADD FOREIGN KEY (main_email) REFERENCES email ON DELETE SET NULL%s;
INSERT INTO account SELECT g, NULL, 'v' || g FROM generate_series(1, 6) g;
INSERT INTO email SELECT g, g, g || '@x' FROM generate_series(1, 6) g;
UPDATE account SET main_email = id WHERE id < 5;`, late)
	b.named("account", "email")
	b.client(d, "new", "BEGIN; INSERT INTO account VALUES (20, NULL, 'b'); INSERT INTO email VALUES (20, 20, 'y'); UPDATE account SET main_email = 20 WHERE id = 20; COMMIT;")
	b.client(d, "swap", "UPDATE account SET main_email = 2 WHERE id = 1; UPDATE account SET main_email = 1 WHERE id = 2;")
	b.client(d, "addresses", "BEGIN; UPDATE email SET addr = 'tmp' WHERE id = 1; UPDATE email SET addr = '1@x' WHERE id = 2; UPDATE email SET addr = '2@x' WHERE id = 1; COMMIT;")
	b.client(d, "gone", "DELETE FROM account WHERE id = 3;")
	b.client(d, "email gone", "DELETE FROM email WHERE id = 4;")
}

func selfReference(b *builder, d dice) {
	action := pick(d, "action", []string{"CASCADE", "SET NULL", "NO ACTION"})
	b.blue(`CREATE TABLE node (id bigint PRIMARY KEY, up bigint REFERENCES node ON DELETE %s, v text);
INSERT INTO node SELECT g, nullif(g / 2, 0), 'n' || g FROM generate_series(1, 12) g;`, action)
	b.named("node")
	b.client(d, "new", "BEGIN; INSERT INTO node VALUES (101, 12, 'a'); INSERT INTO node VALUES (100, 101, 'b'); INSERT INTO node VALUES (99, 100, 'c'); COMMIT;")
	b.client(d, "own parent", "UPDATE node SET up = id WHERE id = 5;")
	b.client(d, "turned", "BEGIN; UPDATE node SET up = NULL WHERE id = 3; UPDATE node SET up = 7 WHERE id = 3; COMMIT;")
	b.client(d, "gone", "DELETE FROM node WHERE id = 6;")
}

func inheritance(b *builder, d dice) {
	b.blue(`CREATE TABLE base (id bigint PRIMARY KEY, v text);
CREATE TABLE derived (extra int, PRIMARY KEY (id)) INHERITS (base);
INSERT INTO base VALUES (1, 'a'), (2, 'b'), (3, 'c');
INSERT INTO derived VALUES (10, 'd', 1), (11, 'e', 2), (12, 'f', 3);`)
	b.named("base")
	if d.has("child", 0.95) {
		b.named("derived")
	}
	b.client(d, "all", "UPDATE base SET v = v || '!';")
	b.client(d, "child row", "INSERT INTO derived VALUES (13, 'n', 4);")
	b.client(d, "gone", "DELETE FROM base WHERE id = 11;")
	b.client(d, "same key", "INSERT INTO base VALUES (12, 'twice');")
	if d.has("migrated", 0.5) {
		b.migrate("ALTER TABLE public.base ADD COLUMN more text DEFAULT 'm';")
	}
}

func ranges(b *builder, d dice) {
	b.blue(`CREATE TABLE ranged (id bigint, at date, v text, PRIMARY KEY (id, at, v)) PARTITION BY RANGE (at);
CREATE TABLE ranged_1 PARTITION OF ranged FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE ranged_2 PARTITION OF ranged FOR VALUES FROM ('2024-02-01') TO ('2024-03-01') PARTITION BY LIST (v);
CREATE TABLE ranged_2a PARTITION OF ranged_2 FOR VALUES IN ('p');
CREATE TABLE ranged_2b PARTITION OF ranged_2 DEFAULT;
CREATE TABLE ranged_d PARTITION OF ranged DEFAULT;
INSERT INTO ranged SELECT i, date '2024-01-01' + i, CASE WHEN i %% 3 = 0 THEN 'q' ELSE 'p' END FROM generate_series(0, 70, 5) i;`)
	b.named("ranged")
	b.client(d, "moved", "UPDATE ranged SET at = '2024-02-10' WHERE id = 5;")
	b.client(d, "direct", "UPDATE ranged_1 SET v = 'direct' WHERE id = 10;")
	b.client(d, "truncated", "TRUNCATE "+pick(d, "which", []string{"ranged_2", "ranged_2a", "ranged_1", "ranged_d"})+";")
	b.client(d, "default", "INSERT INTO ranged VALUES (900, '2030-01-01', 'def');")
	b.client(d, "value", "UPDATE ranged SET v = 'z' WHERE id = 40;")
	b.client(d, "gone", "DELETE FROM ranged_d WHERE id = 65;")
}

func rule(b *builder, d dice) {
	b.blue(`CREATE TABLE ruled (id bigint PRIMARY KEY, v text);
CREATE TABLE rule_log (n bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, id bigint);
INSERT INTO ruled VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE RULE lg AS ON %s TO ruled DO ALSO INSERT INTO rule_log (id) VALUES (%s.id);`,
		pick(d, "on", []string{"INSERT", "UPDATE"}), "NEW")
	b.named("ruled", "rule_log")
	b.client(d, "new", "INSERT INTO ruled VALUES (4, 'd');")
	b.client(d, "changed", "UPDATE ruled SET v = 'z' WHERE id = 1;")
}

func deferrable(b *builder, d dice) {
	b.blue(`CREATE TABLE swapped (id int PRIMARY KEY %s, v text);
CREATE TABLE pos (id int PRIMARY KEY, p int UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
INSERT INTO swapped VALUES (1, 'a'), (2, 'b'), (3, 'c');
INSERT INTO pos VALUES (1, 10), (2, 20), (3, 30);`, pick(d, "key", []string{"", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"}))
	b.named("swapped", "pos")
	b.client(d, "swap", "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE pos SET p = 20 WHERE id = 1; UPDATE pos SET p = 10 WHERE id = 2; COMMIT;")
	b.client(d, "shift", "UPDATE pos SET p = p + 10;")
	b.client(d, "value", "UPDATE swapped SET v = 'z' WHERE id = 1;")
	b.client(d, "key moved", "UPDATE swapped SET id = id + 1;")
}

func generatedKey(b *builder, d dice) {
	b.blue(`CREATE TABLE gen (raw text, sig text GENERATED ALWAYS AS (md5(raw)) STORED PRIMARY KEY, v int);
CREATE TABLE only_id (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
INSERT INTO gen (raw) VALUES ('a'), ('b'), ('c');
INSERT INTO only_id SELECT FROM generate_series(1, 8);`)
	b.named("gen", "only_id")
	b.client(d, "moved", "UPDATE gen SET raw = 'z' WHERE raw = 'a';")
	b.client(d, "new", "INSERT INTO gen (raw) VALUES ('q');")
	b.client(d, "gone", "DELETE FROM gen WHERE raw = 'b';")
	b.client(d, "value", "UPDATE gen SET v = 7 WHERE raw = 'c';")
	b.client(d, "id", "INSERT INTO only_id DEFAULT VALUES; DELETE FROM only_id WHERE id = 3;")
	b.client(d, "far", "INSERT INTO only_id OVERRIDING SYSTEM VALUE VALUES (1000);")
}

func identityBeside(b *builder, d dice) {
	b.blue(`CREATE TABLE numbered (id text PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY, v text);
INSERT INTO numbered (id, v) VALUES ('a', '1'), ('b', '2'), ('c', '3');`)
	b.named("numbered")
	b.client(d, "again", "DELETE FROM numbered WHERE id = 'a'; INSERT INTO numbered (id, v) VALUES ('a', '9');")
	b.client(d, "renumbered", "UPDATE numbered SET seq = DEFAULT WHERE id = 'b';")
	b.client(d, "value", "UPDATE numbered SET v = 'v' WHERE id = 'c';")
}

// setBack has sequences that are behind at the end.
func setBack(b *builder, d dice) {
	b.blue(`CREATE SEQUENCE back; CREATE SEQUENCE round MAXVALUE 5 CYCLE;
CREATE TABLE counted (id serial PRIMARY KEY, v text);
INSERT INTO counted (v) VALUES ('a'), ('b'), ('c');
SELECT setval('back', 500), setval('round', 4), setval('counted_id_seq', 900);`)
	b.named("counted")
	b.client(d, "back", "SELECT setval('public.back', 7);")
	b.client(d, "round", "SELECT nextval('public.round') FROM generate_series(1, 3);")
	b.client(d, "counted", "SELECT setval('public.counted_id_seq', 10, false); INSERT INTO counted (v) VALUES ('d');")
	if d.has("renamed", 0.4) {
		b.migrate("ALTER SEQUENCE public.back RENAME TO forth;")
	}
}

// secondSchema has tables that no profile names: they are copied, and nobody writes to them but where a writer is left.
func secondSchema(b *builder, d dice) {
	b.blue(`CREATE SCHEMA "Second One";
CREATE TABLE "Second One".invoice (id int PRIMARY KEY, amount numeric);
INSERT INTO "Second One".invoice VALUES (1, 1.00), (2, 'NaN');
CREATE VIEW "Second One".sums AS SELECT sum(amount) FROM "Second One".invoice;`)
	if d.has("written", 0.05) {
		b.client(d, "invoice", `INSERT INTO "Second One".invoice VALUES (3, 7);`)
	}
}

func unnamed(b *builder, d dice) {
	b.blue(`CREATE TABLE unnamed (id int PRIMARY KEY, v text);
INSERT INTO unnamed VALUES (1, 'a'), (2, 'b');`)
	if d.has("written", 0.05) {
		b.client(d, "row", `UPDATE unnamed SET v = 'late' WHERE id = 1;`)
	}
	if d.has("migrated", 0.5) {
		b.migrate("ALTER TABLE public.unnamed ADD COLUMN w int DEFAULT 3;")
	}
}

func noKey(b *builder, d dice) {
	b.blue(`CREATE TABLE keyless (at timestamptz, what text);
INSERT INTO keyless VALUES ('2024-01-01 00:00+00', 'a'), ('2024-01-01 00:00+00', 'a');`)
	if d.has("written", 0.05) {
		b.client(d, "row", `INSERT INTO keyless VALUES (now(), 'late');`)
	}
}

// mergedTables: what were two tables is one afterwards.
func mergedTables(b *builder, d dice) {
	b.blue(`CREATE TABLE login (id text PRIMARY KEY, subject text, n numeric);
CREATE TABLE consent (id text PRIMARY KEY REFERENCES login ON DELETE CASCADE, scope text);
INSERT INTO login SELECT 'l' || g, 's' || g, g / 2.0 FROM generate_series(1, 10) g;
INSERT INTO consent SELECT 'l' || g, 'scope ' || g FROM generate_series(1, 6) g;`)
	b.profiled = append(b.profiled, profiled{name: "login", onDelete: "DELETE FROM public.flow WHERE id = :id"}, profiled{name: "consent"})
	b.follow = append(b.follow, "  - {from: login, from_columns: [id], to: consent, to_columns: [id]}\n")
	b.migrate(`CREATE TABLE public.flow (id text PRIMARY KEY, subject text, n numeric, scope text);
INSERT INTO public.flow SELECT l.id, l.subject, l.n, c.scope FROM public.login l LEFT JOIN public.consent c ON c.id = l.id;
DROP TABLE public.consent;
DROP TABLE public.login;`)
	b.client(d, "granted", "INSERT INTO consent VALUES ('l8', 'late');")
	b.client(d, "revoked", "DELETE FROM consent WHERE id = 'l2';")
	b.client(d, "changed", "UPDATE consent SET scope = 'other' WHERE id = 'l3'; UPDATE login SET n = 2.00 WHERE id = 'l4';")
	b.client(d, "gone", "DELETE FROM login WHERE id = 'l5';")
	b.client(d, "moved", "UPDATE login SET id = 'l99' WHERE id = 'l9';")
}

// newKey: the migration makes a number the key, and the old one only unique; the old one's name may go to the new.
func newKey(b *builder, d dice) {
	b.blue(`CREATE TABLE person (id bigint PRIMARY KEY, owner text NOT NULL);
INSERT INTO person SELECT g * 10, 'o' || g FROM generate_series(1, 20) g;`)
	name := "number"
	if d.has("reused", 0.5) {
		name = "id"
	}
	b.migrate(`ALTER TABLE public.person RENAME COLUMN id TO provider_id;
ALTER TABLE public.person DROP CONSTRAINT person_pkey;
ALTER TABLE public.person ADD COLUMN %s bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY;
ALTER TABLE public.person ADD CONSTRAINT person_provider UNIQUE (provider_id);`, name)
	b.profiled = append(b.profiled, profiled{name: "person", onDelete: "DELETE FROM public.person WHERE provider_id = CAST(:id AS bigint)"})
	b.world.Leave = append(b.world.Leave, Column{"public", "person", name})
	b.client(d, "changed", "UPDATE person SET owner = 'changed' WHERE id IN (10, 20);")
	b.client(d, "gone", "DELETE FROM person WHERE id = 100;")
	b.client(d, "new", "INSERT INTO person VALUES (5, 'new');")
	b.client(d, "moved", "UPDATE person SET id = 11 WHERE id = 110;")
}

// unqualified has functions that name others without a schema, where Postgres runs them by itself.
func unqualified(b *builder, d dice) {
	b.blue(`CREATE TABLE limits (n int PRIMARY KEY);
INSERT INTO limits VALUES (1000);
CREATE FUNCTION fold(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN lower(t); END$$;
CREATE FUNCTION slug(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN replace(fold(t), ' ', '-'); END$$;
CREATE TABLE slugged (id bigint PRIMARY KEY, v text);`)
	if d.has("column", 0.7) {
		b.blue("ALTER TABLE slugged ADD COLUMN s text GENERATED ALWAYS AS (slug(v)) STORED;")
	}
	if d.has("index", 0.5) {
		b.blue("CREATE INDEX ON slugged (slug(v));")
	}
	if d.has("check", 0.5) {
		b.blue("ALTER TABLE slugged ADD CHECK (slug(v) <> 'never');")
	}
	if d.has("domain", 0.3) {
		b.blue("CREATE DOMAIN slugs AS text CHECK (slug(VALUE) <> 'never');\nALTER TABLE slugged ADD COLUMN dom slugs DEFAULT 'x';")
	}
	b.blue("INSERT INTO slugged (id, v) SELECT i, 'Some Text ' || i FROM generate_series(1, 10) i;")
	b.named("limits", "slugged")
	b.client(d, "changed", "UPDATE public.slugged SET v = 'New Name' WHERE id = 5;")
	b.client(d, "new", "INSERT INTO public.slugged (id, v) VALUES (500, 'Late One');")
}

// owner has objects of a role that green's server has not got.
func owner(b *builder, d dice) {
	b.blue(`DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'world_owner') THEN CREATE ROLE world_owner; END IF; EXCEPTION WHEN OTHERS THEN NULL; END$$;
CREATE TABLE owned (id bigint PRIMARY KEY, v text);
INSERT INTO owned VALUES (1, 'a'), (2, 'b');
ALTER TABLE owned OWNER TO world_owner;
GRANT SELECT ON owned TO world_owner WITH GRANT OPTION;`)
	if d.has("default privileges", 0.3) {
		b.blue("ALTER DEFAULT PRIVILEGES FOR ROLE world_owner IN SCHEMA public GRANT SELECT ON TABLES TO world_owner;")
	}
	b.named("owned")
	b.client(d, "new", "INSERT INTO owned VALUES (3, 'c');")
}

func cache(b *builder, d dice) {
	b.blue(`CREATE TABLE counted (id bigint PRIMARY KEY, v text);
INSERT INTO counted VALUES (1, 'a'), (2, 'b');
CREATE MATERIALIZED VIEW counts AS SELECT v, count(*) AS n FROM counted GROUP BY v;
CREATE UNIQUE INDEX ON counts (v);`)
	b.named("counted")
	if d.has("written", 0.6) {
		b.client(d, "new", "INSERT INTO counted VALUES (3, 'c');")
	}
}

// ddl changes blue's schema while the run is under way.
func ddl(b *builder, d dice) {
	b.blue("CREATE TABLE altered (id bigint PRIMARY KEY, v text);\nINSERT INTO altered VALUES (1, 'a'), (2, 'b');")
	b.named("altered")
	b.client(d, "statement", pick(d, "which", []string{
		"ALTER TABLE altered ADD COLUMN late text DEFAULT 'dflt';\nUPDATE altered SET late = 'set' WHERE id = 1;",
		"ALTER TABLE altered ALTER COLUMN v TYPE varchar(9);",
		"CREATE TABLE fresh (id int PRIMARY KEY);\nINSERT INTO fresh VALUES (1);",
		"CREATE INDEX ON altered (v);",
		"ALTER TABLE altered DROP COLUMN v;",
		"ALTER TABLE altered RENAME TO changed;",
		"CREATE TYPE late AS ENUM ('x');",
	}))
}

// rowSecurity hides rows from everybody but their owner and superusers.
func rowSecurity(b *builder, d dice) {
	b.blue(`CREATE TABLE hidden (id bigint PRIMARY KEY, v text);
INSERT INTO hidden VALUES (1, 'a'), (2, 'b');
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON hidden USING (v = 'a');`)
	b.named("hidden")
	b.client(d, "new", "INSERT INTO hidden VALUES (3, 'c');")
	b.client(d, "changed", "UPDATE hidden SET v = 'z' WHERE id = 2;")
}

// events has an append-only table whose rows are revocations, and one that is revoked in place.
func events(b *builder, d dice) {
	b.blue(`CREATE TABLE session (id text PRIMARY KEY, owner text, revoked_at timestamptz);
CREATE TABLE denied (id text PRIMARY KEY, expires bigint NOT NULL);
INSERT INTO session SELECT 's' || g, 'o' || g FROM generate_series(1, 10) g;`)
	b.named("session", "denied")
	b.migrate("ALTER TABLE public.denied ADD COLUMN reason text NOT NULL DEFAULT '';")
	b.client(d, "denied", "INSERT INTO denied VALUES ('s1', 9), ('s2', 9);")
	b.client(d, "revoked", "UPDATE session SET revoked_at = now() WHERE id IN ('s3', 's4');")
}
