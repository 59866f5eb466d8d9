package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

const (
	orderOld = `
CREATE TABLE account (id int PRIMARY KEY, main int);
CREATE TABLE email (id int PRIMARY KEY, account int NOT NULL REFERENCES account (id));
ALTER TABLE account ADD FOREIGN KEY (main) REFERENCES email (id);
CREATE TABLE place (id int PRIMARY KEY, at int NOT NULL UNIQUE, seq int GENERATED ALWAYS AS IDENTITY, note json DEFAULT '"none"');
CREATE TABLE visit (id int PRIMARY KEY, place int REFERENCES place (id), at int REFERENCES place (at) ON DELETE CASCADE);
CREATE TABLE owner (id int PRIMARY KEY);
CREATE TABLE thing (id int PRIMARY KEY, owner int REFERENCES owner (id), name varchar(4));`
	orderRows = `
INSERT INTO account SELECT g FROM generate_series(1, 3) g;
INSERT INTO email SELECT g, g FROM generate_series(1, 3) g;
UPDATE account SET main = id;
INSERT INTO place (id, at, note) SELECT g, g * 10, to_json(g) FROM generate_series(1, 4) g;
INSERT INTO visit VALUES (1, 1, NULL), (2, 4, 40);
INSERT INTO owner VALUES (1);
INSERT INTO thing VALUES (1, 1, 'one'), (2, NULL, 'two');`
	orderNew = `
ALTER TABLE place DROP COLUMN note;
ALTER TABLE thing ALTER COLUMN name TYPE text;`
)

// orderCase is what green's clients do, and what blue has after the way back.
type orderCase struct {
	sql    string
	table  string
	want   string // of the table, on blue
	parked int
	named  string // in what is parked
}

var orderCases = map[string]orderCase{
	"a ring comes": {sql: `BEGIN; INSERT INTO account VALUES (9); INSERT INTO email VALUES (9, 9); UPDATE account SET main = 9 WHERE id = 9; COMMIT`,
		table: "account", want: "(1,1) (2,2) (3,3) (9,9)"},
	"a ring goes": {sql: `BEGIN; UPDATE account SET main = NULL WHERE id = 2; DELETE FROM email WHERE id = 2; DELETE FROM account WHERE id = 2; COMMIT`,
		table: "account", want: "(1,1) (3,3)"},
	"a value changes hands": {sql: `BEGIN; UPDATE place SET at = -1 WHERE id = 1; UPDATE place SET at = 10 WHERE id = 2; UPDATE place SET at = 20 WHERE id = 3; UPDATE place SET at = 30 WHERE id = 1; COMMIT`,
		table: "place", want: `(1,30,1,1) (2,10,2,2) (3,20,3,3) (4,40,4,4)`},
	"a number is another": {sql: `UPDATE place SET seq = DEFAULT WHERE id = 3`,
		table: "place", want: `(1,10,1,1) (2,20,2,2) (3,30,5,3) (4,40,4,4)`},
	"a child would go": {sql: `BEGIN; UPDATE place SET seq = DEFAULT WHERE id = 4; COMMIT`,
		table: "visit", want: "(1,1,) (2,4,40)", parked: 1, named: "place (id=4): visit (id=2) refers to it"},
	"many without a parent": {sql: `INSERT INTO owner VALUES (2); INSERT INTO thing SELECT g, 2, 'n' FROM generate_series(10, 9009) g; UPDATE thing SET name = 'uno' WHERE id = 1`,
		table: "thing", want: "(1,1,uno) (2,,two)", parked: 9000, named: `the row of table "owner" that it refers to (foreign key "thing_owner_fkey")`},
	"many too long": {sql: `INSERT INTO thing SELECT g, 1, 'far too long' FROM generate_series(10, 9009) g; UPDATE thing SET name = 'uno' WHERE id = 1`,
		table: "thing", want: "(1,1,uno) (2,,two)", parked: 9000, named: `its value of column "name" is none of blue's type character varying(4)`},
}

func (c orderCase) play(t *testing.T) (wrong []string) {
	amiss := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	p := &pair{blue: open(t, "blue", newDatabase(t)), green: open(t, "green", newDatabase(t))}
	p.profile = &plan.Profile{}
	for _, table := range []string{"account", "email", "place", "visit", "owner", "thing"} {
		p.profile.Tables = append(p.profile.Tables, plan.Table{Name: table})
		if table != "owner" {
			p.profile.CarryBack = append(p.profile.CarryBack, plan.CarryBack{Table: table})
		}
	}
	p.config = Config{Blue: p.blue, Green: p.green, Profile: p.profile, Migrator: sqlMigrator(orderNew), Rules: cleanup.New(nil, cleanup.Options{})}
	for _, db := range []*postgres.DB{p.blue, p.green} {
		exec(t, db, orderOld+orderRows)
	}
	exec(t, p.green, orderNew)
	if err := NewCapture(p.blue, p.profile, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	p.switched(t)
	if _, err := stranger(t, p.green).Exec(t.Context(), "SET search_path = public;"+c.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	hold, cancel := context.WithTimeout(t.Context(), 30*time.Second) // one by one it would take minutes
	defer cancel()
	a, err := NewReverse(p.blue, p.green, p.profile).Drain(hold)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.text(t, p.blue, `SELECT string_agg(x::text, ' ' ORDER BY id) FROM `+c.table+` x`); got != c.want {
		amiss("%s: %s, want %s", c.table, got, c.want)
	}
	if len(a.Parked) != c.parked || !strings.Contains(strings.Join(a.Parked[:min(len(a.Parked), 1)], ""), c.named) {
		amiss("%d are named (%.200q), want %d by %s", len(a.Parked), a.Parked, c.parked, c.named)
	}
	return wrong
}

// Rows that no order of single writes brings go back all the same, and many that blue can't hold are found while clients can wait.
func TestCarryBackOutOfOrder(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, c := range orderCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, w := range c.play(t) {
				t.Error(w)
			}
		})
	}
}
