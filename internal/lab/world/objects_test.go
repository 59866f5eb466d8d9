package world_test

// hostile is something that a role has put into blue so that sessions of others run its code, or so that theirs go wrong.
type hostile struct {
	name string
	by   string // who puts it there: the tables' owner, a stranger who may log in and create in schema public, or the admin
	sql  string
	// named is what a refusal must name where our roles are ordinary ones; "": there is nothing to refuse, and green is equal.
	named string
	// mighty is what a refusal must name where our roles are superusers; "": the same as named.
	mighty    string
	migration string // green's own calls of it
}

// none is what a refusal of superusers must name where they are not refused.
const none = "-"

const seen, shadow = "function public.seen(text)", "could be taken for pg_catalog's"

// objects are played on a small store, as the owner of blue's tables makes it: app (id varchar, name varchar, n int) and given.
var objects = []hostile{
	{name: "generated column", by: "owner", sql: `ALTER TABLE app ADD d boolean GENERATED ALWAYS AS (seen('generated column')) STORED`, mighty: seen},
	{name: "an operator of a stranger's", by: "stranger", sql: `
CREATE FUNCTION public.veq(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM stranger.seen(''=''); RETURN $1::text OPERATOR(pg_catalog.=) $2::text; END';
CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.veq)`, named: "operator public.=(character varying, character varying)"},
	{name: "a function of a stranger's that fits better than the owner's", by: "stranger", sql: `
RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION $owner;
CREATE FUNCTION public.tidy(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION $stranger;
CREATE FUNCTION public.tidy(varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM stranger.seen(''tidy''); RETURN $1; END'`, migration: `UPDATE app SET name = tidy(name)`,
		named: "function public.tidy(character varying)"},
	{name: "a function of the owner's that the migrations call", by: "owner", sql: `
CREATE FUNCTION tidy(varchar) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''tidy''); RETURN $1; END'`, migration: `UPDATE app SET name = tidy(name)`,
		mighty: "function public.tidy(character varying), which a migration could call"},
	{name: "default", by: "owner", sql: `ALTER TABLE app ADD d boolean DEFAULT seen('default')`, mighty: seen},
	{name: "check", by: "owner", sql: `ALTER TABLE app ADD CHECK (seen('check'))`, mighty: seen},
	{name: "domain", by: "owner", sql: `CREATE DOMAIN d AS text CHECK (seen('domain')); ALTER TABLE app ADD d d DEFAULT 'x'`, mighty: seen},
	{name: "index expression", by: "owner", sql: `CREATE INDEX ON app ((seen(name)))`, mighty: seen},
	{name: "index predicate", by: "owner", sql: `CREATE UNIQUE INDEX ON app (id) WHERE seen('index predicate')`, mighty: seen},
	{name: "exclusion constraint", by: "owner", sql: `CREATE FUNCTION pick(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''exclusion''); RETURN $1; END';
ALTER TABLE app ADD EXCLUDE USING btree (pick(id) WITH =)`, mighty: "function public.pick(text)"},
	{name: "partition key", by: "owner", sql: `CREATE FUNCTION part(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''partition key''); RETURN ''x''; END';
CREATE TABLE parted (v text) PARTITION BY LIST ((part(v))); CREATE TABLE parted_x PARTITION OF parted FOR VALUES IN ('x'); INSERT INTO parted VALUES ('1')`, mighty: "function public.part(text)"},
	{name: "always trigger", by: "owner", sql: trigger + `CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON app FOR EACH ROW EXECUTE FUNCTION watch();
ALTER TABLE app ENABLE ALWAYS TRIGGER a`, named: `trigger "a"`, mighty: "function public.watch()"},
	{name: "replica trigger", by: "owner", sql: trigger + `CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON app FOR EACH ROW EXECUTE FUNCTION watch();
ALTER TABLE app ENABLE REPLICA TRIGGER a`, mighty: "function public.watch()"},
	{name: "deferred trigger that fires before ours", by: "owner", sql: trigger + `CREATE CONSTRAINT TRIGGER "!" AFTER INSERT OR UPDATE OR DELETE ON app DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION watch()`, mighty: "function public.watch()"},
	{name: "truncate trigger", by: "owner", sql: trigger + `CREATE TRIGGER a BEFORE TRUNCATE ON app FOR EACH STATEMENT EXECUTE FUNCTION watch()`, mighty: "function public.watch()"},
	{name: "rule of a captured table", by: "owner", sql: `CREATE RULE r AS ON UPDATE TO app DO ALSO SELECT seen('rule')`, named: "app", mighty: seen},
	{name: "rule of another table", by: "owner", sql: `CREATE TABLE other (id int PRIMARY KEY); CREATE RULE r AS ON INSERT TO other DO ALSO SELECT seen('rule'); INSERT INTO other VALUES (1)`, mighty: seen},
	{name: "policy", by: "owner", sql: `ALTER TABLE app ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON app USING (seen('policy')) WITH CHECK (seen('policy'))`, mighty: seen},
	{name: "forced policy", by: "owner", sql: `ALTER TABLE app ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON app USING (seen('policy')) WITH CHECK (seen('policy'))`, named: "app", mighty: seen},
	{name: "statistics", by: "owner", sql: `CREATE STATISTICS s ON (seen(name)), id FROM app; ANALYZE app`, mighty: seen},
	{name: "materialized view", by: "owner", sql: `CREATE MATERIALIZED VIEW m AS SELECT seen('materialized view') AS x`, mighty: seen},
	{name: "view that shadows a catalog", by: "owner", sql: `CREATE VIEW pg_class AS SELECT c.*, seen('view') AS x FROM pg_catalog.pg_class c; CREATE VIEW pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE seen('view')`, mighty: seen},
	{name: "operators of the owner's", by: "owner", sql: `
CREATE FUNCTION veq(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''=''); RETURN $1::text OPERATOR(pg_catalog.=) $2::text; END';
CREATE FUNCTION vne(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''<>''); RETURN $1::text OPERATOR(pg_catalog.<>) $2::text; END';
CREATE FUNCTION vlt(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''<''); RETURN $1::text OPERATOR(pg_catalog.<) $2::text; END';
CREATE FUNCTION vcat(varchar, varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''||''); RETURN $1::text OPERATOR(pg_catalog.||) $2::text; END';
CREATE FUNCTION vminus(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''-''); RETURN 0 OPERATOR(pg_catalog.-) $1; END';
CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = veq); CREATE OPERATOR <> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = vne);
CREATE OPERATOR < (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = vlt); CREATE OPERATOR || (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = vcat);
CREATE OPERATOR - (RIGHTARG = int, FUNCTION = vminus)`, named: "operator =", mighty: "operator public.=(character varying, character varying)"},
	{name: "operators of a type of the owner's", by: "owner", sql: `CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE app ADD mood mood NOT NULL DEFAULT 'good';
CREATE FUNCTION meq(mood, mood) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''=''); RETURN true; END';
CREATE FUNCTION mne(mood, mood) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''<>''); RETURN false; END';
CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = meq); CREATE OPERATOR <> (LEFTARG = mood, RIGHTARG = mood, FUNCTION = mne)`, named: "operator =", mighty: "operator public.=(mood, mood)"},
	{name: "operator class", by: "admin", sql: `SET SESSION AUTHORIZATION $owner; CREATE TYPE pairs AS (a int, b int);
CREATE FUNCTION plt(pairs, pairs) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''<''); RETURN ($1).a OPERATOR(pg_catalog.<) ($2).a; END';
CREATE FUNCTION peq(pairs, pairs) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''=''); RETURN ($1).a OPERATOR(pg_catalog.=) ($2).a; END';
CREATE FUNCTION pgt(pairs, pairs) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''>''); RETURN ($1).a OPERATOR(pg_catalog.>) ($2).a; END';
CREATE FUNCTION pcmp(pairs, pairs) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''operator class''); RETURN ($1).a OPERATOR(pg_catalog.-) ($2).a; END';
CREATE OPERATOR <<< (LEFTARG = pairs, RIGHTARG = pairs, FUNCTION = plt); CREATE OPERATOR === (LEFTARG = pairs, RIGHTARG = pairs, FUNCTION = peq); CREATE OPERATOR >>> (LEFTARG = pairs, RIGHTARG = pairs, FUNCTION = pgt);
RESET SESSION AUTHORIZATION;
CREATE OPERATOR CLASS pairs_ops DEFAULT FOR TYPE pairs USING btree AS OPERATOR 1 <<<, OPERATOR 3 ===, OPERATOR 5 >>>, FUNCTION 1 pcmp(pairs, pairs);
SET SESSION AUTHORIZATION $owner; CREATE TABLE paired (p pairs PRIMARY KEY); INSERT INTO paired VALUES ((1, 2)), ((2, 3))`, named: "must be superuser to create an operator family", mighty: "function public.pcmp"},
	{name: "casts", by: "owner", sql: `CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''implicit cast''); RETURN CASE $1::pg_catalog.text WHEN ''good'' THEN ''bad'' ELSE ''good'' END; END';
CREATE FUNCTION mood_of(text) RETURNS mood LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''assignment cast''); RETURN ''bad''; END';
CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS IMPLICIT; CREATE CAST (text AS mood) WITH FUNCTION mood_of(text) AS ASSIGNMENT;
ALTER TABLE app ADD mood mood NOT NULL DEFAULT 'good'; UPDATE app SET mood = 'bad'::mood WHERE id = 'b'`, named: "cast (public.mood AS text)", mighty: "function public.mood_text(mood)"},
	{name: "aggregates", by: "owner", sql: `CREATE FUNCTION keep(bigint, text) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''aggregate''); RETURN $1 OPERATOR(pg_catalog.+) 1; END';
CREATE AGGREGATE public.count(text) (SFUNC = keep, STYPE = bigint, INITCOND = '0'); CREATE AGGREGATE public.tally(text) (SFUNC = keep, STYPE = bigint)`, mighty: "function public.count(text)"},
	{name: "functions named like the system's", by: "owner", sql: `
CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''lower''); RETURN pg_catalog.lower($1::text); END';
CREATE FUNCTION now() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''now''); RETURN pg_catalog.now(); END';
CREATE FUNCTION format(varchar, varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''format''); RETURN $1; END'`, named: "function lower", mighty: "function public.lower(character varying)"},
	{name: "functions of a stranger's named like the system's", by: "stranger", sql: `
CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM stranger.seen(''lower''); RETURN $1; END'`, named: "function public.lower(character varying)"},
	{name: "types of a stranger's named like the system's", by: "stranger", sql: `CREATE DOMAIN public.text AS pg_catalog.text CHECK (stranger.seen('domain'));
CREATE DOMAIN public.int4 AS pg_catalog.int4 CHECK (stranger.seen('domain')); CREATE DOMAIN public.jsonb AS pg_catalog.jsonb CHECK (stranger.seen('domain'))`, mighty: "function stranger.seen(text)"},
	{name: "a cast of a stranger's", by: "stranger", sql: `CREATE TYPE public.word AS (v text);
CREATE FUNCTION public.word(varchar) RETURNS word LANGUAGE plpgsql AS 'BEGIN PERFORM stranger.seen(''cast''); RETURN ROW($1); END';
CREATE CAST (varchar AS public.word) WITH FUNCTION public.word(varchar) AS IMPLICIT`, named: "cast (character varying AS public.word)", mighty: "function public.word(character varying)"},
	{name: "a table of a stranger's", by: "stranger", sql: `CREATE TABLE public.theirs (id int PRIMARY KEY, v boolean GENERATED ALWAYS AS (stranger.seen('generated column')) STORED); INSERT INTO public.theirs VALUES (1)`,
		named: "theirs", mighty: "function stranger.seen(text)"},
	{name: "our schema made by a stranger", by: "stranger", sql: `CREATE SCHEMA tideover; CREATE TABLE tideover.pass (one boolean, word text); INSERT INTO tideover.pass VALUES (true, 'mine');
GRANT ALL ON SCHEMA tideover TO PUBLIC; GRANT ALL ON tideover.pass TO PUBLIC`, named: `schema "tideover" belongs to role`},
	{name: "event trigger", by: "admin", sql: `CREATE FUNCTION public.ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''event trigger''); END';
ALTER FUNCTION public.ddl() OWNER TO $owner; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.ddl()`, named: "event trigger", mighty: "function public.ddl"},
	{name: "security definer", by: "owner", sql: `CREATE FUNCTION sd() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER IMMUTABLE AS 'BEGIN RETURN public.seen(''security definer''); END'; ALTER TABLE app ADD CHECK (sd())`,
		mighty: "function public.sd()"},
	{name: "collations", by: "owner", sql: `CREATE COLLATION "default" (provider = icu, locale = 'und-u-ks-level1', deterministic = false); CREATE COLLATION "C" (provider = icu, locale = 'und', deterministic = false);
ALTER TABLE app ADD c text COLLATE public."C" NOT NULL DEFAULT 'x'`},
	{name: "text search", by: "owner", sql: `CREATE TEXT SEARCH DICTIONARY public.simple (TEMPLATE = pg_catalog.simple, STOPWORDS = english); CREATE TEXT SEARCH CONFIGURATION public.english (PARSER = pg_catalog.default);
ALTER TEXT SEARCH CONFIGURATION public.english ADD MAPPING FOR asciiword, word WITH public.simple;
ALTER TABLE app ADD ts tsvector GENERATED ALWAYS AS (to_tsvector('public.english'::regconfig, name::text)) STORED; ALTER DATABASE $world SET default_text_search_config = 'public.english'`},
	{name: "range type", by: "owner", sql: `CREATE FUNCTION diff(float8, float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.seen(''range''); RETURN $1 OPERATOR(pg_catalog.-) $2; END';
CREATE TYPE span AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = diff); CREATE TABLE spans (id int PRIMARY KEY, s span); CREATE INDEX ON spans USING gist (s);
INSERT INTO spans SELECT i, span(i, i + 1) FROM generate_series(1, 20) i`, mighty: "function public.diff(double precision, double precision)"},
	{name: "base type", by: "admin", sql: `CREATE TYPE public.raw; CREATE FUNCTION raw_in(cstring) RETURNS raw LANGUAGE internal IMMUTABLE STRICT AS 'textin'; CREATE FUNCTION raw_out(raw) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE public.raw (INPUT = raw_in, OUTPUT = raw_out, LIKE = text); ALTER TYPE public.raw OWNER TO $owner;
SET SESSION AUTHORIZATION $owner; CREATE TABLE raws (id int PRIMARY KEY, r raw); INSERT INTO raws VALUES (1, 'x')`, named: "must be superuser to create a base type", mighty: none},
	{name: "language", by: "admin", sql: `CREATE LANGUAGE mine HANDLER plpgsql_call_handler; CREATE FUNCTION public.spoken() RETURNS boolean LANGUAGE mine AS 'BEGIN RETURN public.seen(''language''); END';
ALTER FUNCTION public.spoken() OWNER TO $owner; ALTER TABLE app ADD CHECK (spoken())`, named: "mine", mighty: "function public.spoken()"},
	{name: "transform", by: "admin", sql: `CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal))`, named: "must be owner of type integer", mighty: none},
	{name: "file_fdw", by: "admin", sql: `CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE public.passwords (line text) SERVER files OPTIONS (program 'echo x', format 'text');
ALTER FOREIGN TABLE public.passwords OWNER TO $owner`, named: "file_fdw", mighty: none},
	{name: "postgres_fdw", by: "admin", sql: `CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO $owner; SET SESSION AUTHORIZATION $owner;
CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '9'); CREATE USER MAPPING FOR PUBLIC SERVER away OPTIONS (user 'x', password 'y');
CREATE FOREIGN TABLE far (v text, b boolean DEFAULT seen('foreign table')) SERVER away`, named: "postgres_fdw", mighty: seen},
	{name: "publication", by: "owner", sql: `CREATE PUBLICATION tideover_mine FOR TABLE app WHERE (n > 0); ALTER TABLE app REPLICA IDENTITY FULL`},
	{name: "publication of all tables", by: "admin", sql: `CREATE PUBLICATION everything FOR ALL TABLES`},
	{name: "names", by: "owner", sql: `CREATE TABLE "q'""; DROP TABLE public.app; --" (id int PRIMARY KEY, "%s%n" text, "new
line" text); INSERT INTO "q'""; DROP TABLE public.app; --" VALUES (1, '''; DROP TABLE app; --', E'\\');
ALTER TABLE app ADD "c""'); DROP TABLE public.app; --" text NOT NULL DEFAULT '$tideover$; %s', ADD "%d
\. $1 :op" text, ADD "$tideover$" text DEFAULT E'\\'''`},
	{name: "comments", by: "owner", sql: `COMMENT ON TABLE app IS E'x\n\\.\nDROP TABLE public.given; --'; COMMENT ON COLUMN app.name IS '"; DROP TABLE public.given; --';
COMMENT ON SCHEMA public IS E'''; DROP TABLE public.given; --\n$$'`},
	{name: "names like ours", by: "owner", sql: `CREATE TABLE tideover_home_0 (id int PRIMARY KEY); CREATE TABLE homebound (id int PRIMARY KEY); CREATE TABLE pass (one boolean PRIMARY KEY, word text);
CREATE TABLE "pg temp_1" (id int PRIMARY KEY); CREATE TABLE place (id int PRIMARY KEY); ALTER TABLE app ADD place text, ADD k text, ADD g text, ADD t text, ADD ctid_ text`},
	{name: "settings of the database", by: "owner", sql: `ALTER DATABASE $world SET search_path = 'public, pg_catalog'; ALTER DATABASE $world SET row_security = off; ALTER DATABASE $world SET lock_timeout = '1ms';
ALTER DATABASE $world SET statement_timeout = '1s'; ALTER DATABASE $world SET default_transaction_isolation = 'serializable'; ALTER DATABASE $world SET plan_cache_mode = force_generic_plan;
ALTER DATABASE $world SET role = '$owner'`},
	{name: "settings of our role", by: "admin", sql: `ALTER ROLE $ours SET search_path = 'public, pg_catalog'; ALTER ROLE $ours SET row_security = on; ALTER ROLE $ours SET lock_timeout = '1ms';
ALTER ROLE $ours SET standard_conforming_strings = off; ALTER ROLE $ours SET check_function_bodies = off; ALTER ROLE $ours IN DATABASE $world SET statement_timeout = '1s'`, mighty: none},
	{name: "read only", by: "owner", sql: `ALTER DATABASE $world SET default_transaction_read_only = on`, named: "default_transaction_read_only"},
	{name: "our role as a replica", by: "admin", sql: `ALTER ROLE $ours SET session_replication_role = replica`, named: "session_replication_role", mighty: none},
	{name: "default privileges", by: "admin", sql: `ALTER DEFAULT PRIVILEGES FOR ROLE $ours, $owner GRANT ALL ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES FOR ROLE $ours, $owner GRANT ALL ON SCHEMAS TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE $ours GRANT ALL ON SEQUENCES TO PUBLIC`},
}

// trigger is a function for triggers.
const trigger = `CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.seen(''trigger''); RETURN coalesce(NEW, OLD); END';
`
