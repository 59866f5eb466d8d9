package world_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/world"
)

// store is blue with one application more than its clients use.
const store = `
ALTER DATABASE $world OWNER TO $owner;
GRANT CREATE ON SCHEMA public TO $stranger;
GRANT CREATE ON DATABASE $world TO $stranger;
SET SESSION AUTHORIZATION $owner;
CREATE TABLE app (id varchar PRIMARY KEY, name varchar NOT NULL, n int NOT NULL DEFAULT 0);
CREATE TABLE given (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, app_id varchar NOT NULL REFERENCES app ON DELETE CASCADE,
	person text NOT NULL, revoked_at timestamptz);
INSERT INTO app (id, name) VALUES ('a', 'one'), ('b', 'two'), ('c', 'three');
INSERT INTO given (app_id, person) VALUES ('a', 'anna'), ('a', 'bert'), ('b', 'anna'), ('c', 'carl');
`

const storeProfile = `name: store
tables:
  - name: app
  - name: given
    judge: |
      CASE WHEN :op = 'D' OR EXISTS (SELECT FROM given g WHERE g.id = :id AND g.revoked_at IS NOT NULL)
        THEN 'revoked' ELSE 'written' END
revocations:
  - kind: given
    blue:
      table: given
      apply: UPDATE given SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL
      living: SELECT count(*) FROM given WHERE id = :id AND revoked_at IS NULL
    green:
      table: given
      judge: |
        CASE WHEN :op = 'D' OR EXISTS (SELECT FROM given g WHERE g.id = :id AND g.revoked_at IS NOT NULL)
          THEN 'revoked' ELSE 'written' END
      apply: UPDATE given SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL
      living: SELECT count(*) FROM given WHERE id = :id AND revoked_at IS NULL
green:
  living_only: SELECT 'given', id::text FROM given WHERE revoked_at IS NULL
carry_back:
  - table: app
`

const storeMigration = `ALTER TABLE app ADD COLUMN currency text NOT NULL DEFAULT 'EUR';
UPDATE app SET currency = 'USD' WHERE name <> 'nobody' AND lower(name) = name AND name || '' LIKE '%o%';
CREATE TABLE audit (id bigint PRIMARY KEY, what text);
`

// world is a store with something hostile in it.
func (h hostile) world(name string, cast world.Cast) *world.World {
	sql := store
	if h.by != "stranger" && strings.Contains(h.sql, "seen(") {
		sql += world.Tracing("public", "owner")
	}
	if h.by == "admin" {
		sql += "RESET SESSION AUTHORIZATION;\n"
	}
	if h.by == "stranger" {
		sql += "RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION $stranger;\nCREATE SCHEMA stranger;" + world.Tracing("stranger", "stranger")
	}
	return &world.World{Name: name, Blue: sql + h.sql + ";\nRESET SESSION AUTHORIZATION;\n", Profile: storeProfile,
		Migrations: map[string]string{"001_new.sql": h.migration + ";\n" + storeMigration}, Cast: &cast,
		Writes: []world.Write{
			{When: world.Between, SQL: `SET SESSION AUTHORIZATION $owner; INSERT INTO app (id, name) VALUES ('d', 'four'); UPDATE app SET name = 'two o' WHERE id = 'b';
				UPDATE given SET revoked_at = '2026-01-01 00:00+00' WHERE id = 1; DELETE FROM app WHERE id = 'c';`},
			{When: world.DuringReplay, SQL: `SET SESSION AUTHORIZATION $owner; UPDATE app SET name = 'one o' WHERE id = 'a'; INSERT INTO given (app_id, person) VALUES ('d', 'dora');`},
		}}
}

// ordinary and mighty are the roles of a run: ours as "tideover grants" wants them, and superusers.
var (
	ordinary = world.Cast{Blue: "ours", Green: "ours", Owner: "owner", Server: "server", Everywhere: []string{"owner", "ours", "server", "stranger"}, Grants: true}
	mighty   = world.Cast{Owner: "owner", Server: "server", Everywhere: []string{"owner", "ours", "server", "stranger"}}
)

// What green's clients do, and what blue has of it after the way back.
const (
	onGreen = `INSERT INTO app (id, name) VALUES ('e', 'five'); UPDATE app SET name = 'one, on green' WHERE id = 'a';
UPDATE given SET revoked_at = now() WHERE id = 2; DELETE FROM app WHERE id = 'd';`
	apps   = `SELECT id || ' ' || name FROM public.app ORDER BY 1`
	givens = `SELECT id || CASE WHEN revoked_at IS NULL THEN '' ELSE ' revoked' END FROM public.given ORDER BY id`
)

var answers = []string{"[a one, on green b two o e five]", "[1 revoked 2 revoked 3]"}

// TestHostileObjects: whatever ordinary roles have put into blue, none of it runs with more rights than its owner has, on blue or on green, from the
// first look to the way back; and the run is right, or refused by the name of the object before anything is at stake.
func TestHostileObjects(t *testing.T) {
	quick.Skip(t)
	for _, n := range slice.Of(t, 2, 2*len(objects)) {
		h, cast, name, named := objects[n/2], ordinary, "ordinary", objects[n/2].named
		if n%2 == 1 {
			cast, name = mighty, "mighty"
			if h.mighty != "" {
				named = strings.TrimPrefix(h.mighty, none)
			}
		}
		t.Run(h.name+"/"+name, func(t *testing.T) {
			t.Parallel()
			o, err := pair.Round(t.Context(), h.world(fmt.Sprintf("hostile_%d", n), cast), onGreen, apps, givens)
			if err != nil {
				t.Fatalf("%v\n%s", err, o.Log)
			}
			judgeRound(t, o, fmt.Sprintf("hostile_%d", n), named, answers)
		})
	}
}

// judgeRound says what is wrong with a round that must be refused by a name, or must be right where there is none.
func judgeRound(t *testing.T, o world.Round, name, named string, answers []string) {
	t.Helper()
	t.Logf("%s in %.1fs, early %v, plan %d: %s\n%d traces: %v", o.Verdict, o.Took.Seconds(), o.Early, o.Planned, o.Reason, len(o.Traces), o.Traces)
	for _, trace := range o.Traces {
		if trace.Mighty || trace.Of == "stranger" && trace.User != name+"_stranger" {
			t.Errorf("it ran with rights that its owner has not: %s", trace)
		}
	}
	switch {
	case o.Verdict == world.Wrong:
		t.Errorf("%s\n%s", strings.Join(o.Findings, "\n"), o.Log)
	case named == "" && o.Verdict != world.Equal:
		t.Errorf("refused, and there is no reason: %s", o.Reason)
	case named == "" && !slices.Equal(o.Answers, answers):
		t.Errorf("blue after the way back: %q, want %q", o.Answers, answers)
	case named == "" && o.Planned != 0:
		t.Errorf("plan --connect ended with exit status %d\n%s", o.Planned, o.Plan)
	case named != "" && o.Verdict != world.Refused:
		t.Errorf("went through, want a refusal that names %q", named)
	case named != "" && (!o.Early || !strings.Contains(o.Reason, named)):
		t.Errorf("the refusal does not come before the copy, or does not name %q: %s", named, o.Reason)
	case named != "" && (o.Planned == 0 || !strings.Contains(o.Plan, named)):
		t.Errorf("plan --connect ended with exit status %d, and the run was refused\n%s", o.Planned, o.Plan)
	}
}

// TestRolesOfARun: whoever our connection strings name, and whether the role of green's server is there, the run brings green up with its
// server at work as that role, or is refused with the name of what is missing and the statement that gives it.
func TestRolesOfARun(t *testing.T) {
	quick.Skip(t)
	type roles struct {
		blue, green   string
		there, grants bool
	}
	var all []roles
	for _, blue := range []string{"owner", ""} {
		for _, green := range []string{"ours", ""} {
			all = append(all, roles{blue, green, true, true}, roles{blue, green, false, false})
			if green != "" {
				all = append(all, roles{blue, green, true, false})
			}
		}
	}
	for _, n := range slice.Of(t, 1, len(all)) {
		c := all[n]
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			cast := world.Cast{Blue: c.blue, Green: c.green, Owner: "owner", Server: "server", Everywhere: []string{"owner", "ours", "stranger"}, Grants: c.grants}
			named := `has no role "` + fmt.Sprintf("roles_%d_server", n) + `"`
			if c.there {
				cast.Everywhere, named = append(cast.Everywhere, "server"), ""
			}
			if c.there && c.green != "" && !c.grants {
				named = "GRANT SET ON PARAMETER session_replication_role"
			}
			o, err := pair.Round(t.Context(), hostile{by: "nobody"}.world(fmt.Sprintf("roles_%d", n), cast), onGreen, apps, givens)
			if err != nil {
				t.Fatalf("%v\n%s", err, o.Log)
			}
			judgeRound(t, o, fmt.Sprintf("roles_%d", n), named, answers)
		})
	}
}

// A role that nobody named, and that may not use what the migrations have made, is named behind them, long before the hold.
func TestRoleOfGreenIsNotNamed(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	cast := world.Cast{Blue: "owner", Green: "ours", Everywhere: []string{"owner", "ours", "stranger"}, Grants: true}
	o, err := pair.Round(t.Context(), hostile{by: "nobody"}.world("roles_unnamed", cast), onGreen)
	if err != nil {
		t.Fatalf("%v\n%s", err, o.Log)
	}
	if o.Verdict != world.Refused || !strings.Contains(o.Reason, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.audit TO \"roles_unnamed_owner\"") {
		t.Errorf("%s: %s %q, want a refusal that says how the role gets its rights", o.Verdict, o.Reason, o.Findings)
	}
}
