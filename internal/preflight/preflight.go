// Package preflight looks at blue and green before a run changes anything, and says what would stop it later: by then
// hours of copying would be lost.
//
// It reads blue in READ ONLY transactions with a statement timeout and writes nothing there but the session's own
// temporary functions, where rules call them. On green's server it makes one
// scratch database, in which an empty copy of blue's schema is migrated; comparing the catalogs before and after
// shows the new constraints, and blue is asked for the rows that they would refuse.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Level is how bad a finding is.
type Level string

const (
	OK   Level = "ok"
	Warn Level = "warn" // the run can go on; a person should know
	Fail Level = "fail" // the run would stop later, or break a guarantee
)

// Finding is the answer to one check.
type Finding struct {
	Level Level  `json:"level"`
	Check string `json:"check"` // such as "versions", "primary-keys", "rule owner"
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
	Rows  int64  `json:"rows,omitempty"` // of blue that the finding is about
	// Rule would see to the rows; nil where there is none to propose.
	Rule *plan.Rule `json:"-"`
}

// Migrator migrates the database at dsn.
type Migrator interface {
	Migrate(ctx context.Context, dsn string) error
}

// Options describe what is to be run.
type Options struct {
	Blue, Green *postgres.DB // no green: blue itself is migrated
	Profile     *plan.Profile
	Migrator    Migrator // nil: nothing is migrated on trial
	BinDir      string
	// BlueRole and GreenRole are what the servers connect as, by the runbook; "": it does not say.
	BlueRole, GreenRole string
	Privileges          bool          // owners and grants come along
	FromLog             bool          // changes are read from blue's log
	MaxTransaction      time.Duration // default 5m
	MaxClockSkew        time.Duration // default 2s
	MaxQuery            time.Duration // of one question to blue: a count of a huge table must not run for hours; default 1m
}

// Check runs all checks. The error is for what kept it from looking (a connection lost, ctx ended); what it saw is in
// the findings, and one of Level Fail means that the run must not begin.
func Check(ctx context.Context, o Options) ([]Finding, error) {
	if o.MaxTransaction <= 0 {
		o.MaxTransaction = 5 * time.Minute
	}
	if o.MaxQuery <= 0 {
		o.MaxQuery = time.Minute
	}
	if o.MaxClockSkew <= 0 {
		o.MaxClockSkew = 2 * time.Second
	}
	c := &check{Options: o, schema: o.Profile.Schema, broken: map[string]bool{}}
	if c.schema == "" {
		c.schema = "public"
	}
	var err error
	if c.blue, err = c.session(ctx, o.Blue); err != nil {
		return nil, err
	}
	defer postgres.HangUp(ctx, c.blue)
	looks := c.inPlace()
	if o.Green != nil {
		if c.green, err = c.session(ctx, o.Green); err != nil {
			return nil, err
		}
		defer postgres.HangUp(ctx, c.green)
		looks = []func(context.Context) error{
			c.paths, c.versions, c.locales, c.privileges, c.server, c.empty, c.space, c.transactions, c.clocks, c.tables, c.limits, c.statements, c.rules, c.trial,
		}
	}
	// First what must not run in our sessions: the looks behind it run SQL of the profile, and plan queries of blue's tables.
	for _, look := range append([]func(context.Context) error{c.strangers}, looks...) {
		if err := look(ctx); err != nil {
			return c.findings, err
		}
		if c.halted {
			break
		}
	}
	return c.findings, nil
}

type check struct {
	Options
	schema      string
	unique      map[string][][]string // the columns of each key of blue's tables, the primary one's first
	blue, green *pgx.Conn
	findings    []Finding
	halted      bool            // nothing more is to be looked at
	broken      map[string]bool // rules that blue does not understand, or has no time for
}

func (c *check) add(level Level, name, text, hint string, rows int64) {
	c.findings = append(c.findings, Finding{Level: level, Check: name, Text: text, Hint: hint, Rows: rows})
}

func (c *check) session(ctx context.Context, db *postgres.DB) (*pgx.Conn, error) {
	conn, err := db.ConnectAs(ctx, "preflight")
	if err != nil {
		return nil, err
	}
	setup := fmt.Sprintf("SET statement_timeout = %d; SET default_transaction_read_only = on; SET lock_timeout = 1000; SET search_path = %s",
		c.MaxQuery.Milliseconds(), postgres.Path(c.schema))
	if _, err := conn.PgConn().Exec(ctx, setup).ReadAll(); err != nil {
		postgres.HangUp(ctx, conn)
		return nil, fmt.Errorf("%s: %w", db.Name(), err)
	}
	return conn, nil
}

// lost tells an answer of the server, which is a finding, from a connection that is gone.
func lost(ctx context.Context, err error) error {
	if err == nil || postgres.Code(err) != "" && ctx.Err() == nil {
		return nil
	}
	return errors.Join(ctx.Err(), err)
}
