package cmd

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/tideover/tideover/plan"
)

const grantsLong = `Grants reads a runbook and prints the statements that let an ordinary role do the whole run, for both sides: no superuser
is needed, and none should be used where blue's tables have code of ordinary roles (docs/security.md). It opens no connection. A
superuser runs them, each part on the database that it names; what is there already does no harm.

The roles are those of the runbook: the users of the two connection strings are tideover's own, blue.role and green.role what
the servers connect as.

EXIT STATUS
  0 done  2 the runbook has mistakes`

// NewGrantsCmd is tideover grants.
func NewGrantsCmd(std *IO) *cobra.Command {
	return &cobra.Command{
		Use:   "grants RUNBOOK",
		Short: "Print the GRANTs that ordinary roles need for a run",
		Long:  grantsLong,
		Args:  exactArgs(1, "one runbook"),
		RunE: func(_ *cobra.Command, args []string) error {
			rb, _, err := loadRunbook(args[0], std.Env)
			if err != nil {
				return err
			}
			text, err := grants(rb)
			if err != nil {
				return err
			}
			fmt.Fprint(std.Out, text)
			return nil
		},
	}
}

// grants is the script for both sides.
func grants(rb *plan.Runbook) (string, error) {
	blue, err := grantsOf("blue", rb.Blue.DSN)
	if err != nil {
		return "", err
	}
	blue.onBlue(rb)
	if rb.InPlace() {
		return blue.String(), nil
	}
	green, err := grantsOf("green", rb.Green.DSN)
	if err != nil {
		return "", err
	}
	green.onGreen(rb)
	return blue.String() + "\n" + green.String(), nil
}

// script is one side's statements.
type script struct {
	strings.Builder
	user, database string // quoted
}

func grantsOf(side, dsn string) (*script, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, usageErrorf("%s.dsn can't be read", side)
	}
	s := &script{user: pgx.Identifier{cfg.User}.Sanitize(), database: pgx.Identifier{cfg.Database}.Sanitize()}
	s.say("%s: tideover connects to database %s as %s", side, s.database, s.user)
	return s, nil
}

func (s *script) say(format string, args ...any) { fmt.Fprintf(s, "-- "+format+"\n", args...) }
func (s *script) sql(format string, args ...any) { fmt.Fprintf(s, format+";\n", args...) }

// role makes a role where it is missing.
func (s *script) role(quoted, options string) {
	name := strings.ReplaceAll(strings.Trim(quoted, `"`), `""`, `"`)
	s.sql(`DO $$ BEGIN IF to_regrole('%s') IS NULL THEN CREATE ROLE %s LOGIN%s; END IF; END $$`, strings.ReplaceAll(quoted, "'", "''"), quoted, options)
	s.say(`give it its password: \password %s`, name)
}

// onBlue: triggers and the fence are the owner's to put on tables, and our schema is to be made.
func (s *script) onBlue(rb *plan.Runbook) {
	s.role(s.user, "")
	s.sql("GRANT CREATE ON DATABASE %s TO %s", s.database, s.user)
	owner := pgx.Identifier{rb.Blue.Role}.Sanitize()
	switch {
	case rb.Blue.Role == "":
		s.say("unless it owns the server's tables: GRANT their owner TO %s (blue.role in the runbook names it)", s.user)
	case owner != s.user:
		s.sql("GRANT %s TO %s", owner, s.user)
	}
	if step := rb.Step(plan.Capture); step != nil && step.Config.(*plan.CaptureSpec).Source == "logical" {
		s.say("source: logical reads the log")
		s.sql("ALTER ROLE %s REPLICATION", s.user)
	}
	s.say("for the names of those who are in the way of a lock, and for max_lag and max_active of the snapshot step")
	s.sql("GRANT pg_monitor TO %s", s.user)
	s.say("Postgres 15 and newer: an autovacuum gives way to the fence at once, not after a second")
	s.sql("GRANT SET ON PARAMETER deadlock_timeout TO %s", s.user)
	s.say("nobody else may put something where the server's names are looked up")
	s.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
}

// onGreen: the database is emptied and filled, and others are made beside it.
func (s *script) onGreen(rb *plan.Runbook) {
	s.role(s.user, " CREATEDB")
	s.sql("ALTER ROLE %s CREATEDB", s.user)
	s.sql("ALTER DATABASE %s OWNER TO %s", s.database, s.user)
	s.say("rows are brought with the triggers of foreign keys off (Postgres 15 and newer; before, only superusers can)")
	s.sql("GRANT SET ON PARAMETER session_replication_role TO %s", s.user)
	s.say("to drop a scratch database in which an autovacuum is at work")
	s.sql("GRANT pg_signal_backend TO %s", s.user)
	server := pgx.Identifier{rb.Green.Role}.Sanitize()
	switch {
	case rb.Green.Role == "":
		s.say("green.role in the runbook names the role that green's server connects as: it is given what it needs by the run")
	case server != s.user:
		s.role(server, "")
		s.sql("GRANT CONNECT ON DATABASE %s TO %s", s.database, server)
		s.say("so that the run can try, as that role, what its server will do")
		s.sql("GRANT %s TO %s", server, s.user)
	}
	s.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
}
