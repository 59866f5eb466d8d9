package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// pgbouncerParticipant is a PgBouncer whose file says where its databases are. Commit replaces the file and makes
// PgBouncer read it, with its clients paused between two transactions. Which side it is on is asked of PgBouncer itself
// (SHOW DATABASES), not of the file: a process can die between the two.
//
// PgBouncer's PAUSE has no end of its own. It comes only when everything else is decided, and is given up after half of
// the participant's timeout: a transaction that is still under way then comes to its end on the old side, which is
// fenced, and its connection is not used again.
type pgbouncerParticipant struct {
	fileParticipant
	dsn         string // of the admin console
	console     *pgconn.Config
	blue, green map[string]pooled
	moved       []string
}

func newPgbouncer(b base, spec *plan.PgbouncerSpec) (Participant, error) {
	file := &plan.FileSpec{Path: spec.Path, Blue: spec.Blue, Green: spec.Green}
	p := &pgbouncerParticipant{fileParticipant: fileParticipant{base: b, spec: file}, dsn: spec.DSN}
	var err error
	if p.blue, err = poolsOf(spec.Blue); err != nil {
		return nil, fmt.Errorf("blue: %w", err)
	}
	if p.green, err = poolsOf(spec.Green); err != nil {
		return nil, fmt.Errorf("green: %w", err)
	}
	if p.moved, err = moved(p.blue, p.green); err != nil {
		return nil, err
	}
	if p.console, err = pgconn.ParseConfig(spec.DSN); err != nil {
		return nil, errors.New("dsn is no connection string") // err may quote the password
	}
	if p.console.Database == "" || p.console.Database == p.console.User {
		p.console.Database = "pgbouncer"
	}
	return p, nil
}

// Prepare wants blue's file and a PgBouncer that reads it, gives us its admin rights, and can pause.
func (p *pgbouncerParticipant) Prepare(ctx context.Context, t Ticket) error {
	if err := p.fileParticipant.Prepare(ctx, t); err != nil {
		return err
	}
	return p.admin(ctx, func(ctx context.Context, c *console) error {
		// RELOAD needs admin rights; with blue's file in place it changes nothing.
		if err := c.do(ctx, "RELOAD"); err != nil {
			return err
		}
		pools, err := c.databases(ctx)
		if err != nil {
			return err
		}
		if sideOf(pools.where, p.blue, p.green, p.moved) != plan.Blue {
			return fmt.Errorf("PgBouncer does not send %s to where the runbook says for blue: does it read %s?", strings.Join(p.moved, ", "), p.spec.Path)
		}
		for _, name := range p.moved {
			if pools.paused[name] {
				return fmt.Errorf("PgBouncer's database %q is paused already", name)
			}
		}
		return pools.pausable(ctx, c, p.moved)
	})
}

// Commit sends the clients to green.
func (p *pgbouncerParticipant) Commit(ctx context.Context, t Ticket) error {
	return p.fenced(ctx, t, func() error { return p.turn(ctx, plan.Green, p.spec.Green) })
}

// Abort sends the clients to blue.
func (p *pgbouncerParticipant) Abort(ctx context.Context, t Ticket) error {
	return p.fenced(ctx, t, func() error { return p.turn(ctx, plan.Blue, p.spec.Blue) })
}

// Side asks PgBouncer. A database that is paused is on neither side: somebody has to let it go on.
func (p *pgbouncerParticipant) Side(ctx context.Context, _ Ticket) (side plan.Side, err error) {
	err = p.admin(ctx, func(ctx context.Context, c *console) error {
		pools, err := c.databases(ctx)
		if err != nil {
			return err
		}
		side = sideOf(pools.where, p.blue, p.green, p.moved)
		for _, name := range p.moved {
			if pools.paused[name] {
				side = ""
			}
		}
		if file, err := p.fileParticipant.Side(ctx, Ticket{}); err != nil || file != side {
			side = "" // the next RELOAD would change it
		}
		return nil
	})
	return side, err
}

// turn brings PgBouncer to a side, from wherever it is, and lets its clients go on whatever happens. Done already, it
// pauses nobody.
func (p *pgbouncerParticipant) turn(ctx context.Context, side plan.Side, content string) error {
	err := p.admin(ctx, func(ctx context.Context, c *console) error {
		pools, err := c.databases(ctx)
		if err != nil {
			return err
		}
		if sideOf(pools.where, p.blue, p.green, p.moved) != side {
			p.pause(ctx)
		}
		if err := p.become(content); err != nil {
			return err
		}
		if err := c.do(ctx, "RELOAD"); err != nil {
			return err
		}
		return p.arrived(ctx, c, side)
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), letGoWithin)
	defer cancel()
	return errors.Join(err, p.admin(ctx, p.letGo))
}

// letGoWithin bounds the RESUME that comes also where the call itself has run out of time.
const letGoWithin = 3 * time.Second

// letGo lets the clients go on, and waits a moment until none of them waits any more.
//
// A connection that was being opened when PAUSE came counts for PgBouncer as a failed login, and for server_login_retry
// (15s) it would open no other one. So that is 0 until the clients are served; RELOAD brings back what the file says.
func (p *pgbouncerParticipant) letGo(ctx context.Context, c *console) error {
	pools, err := c.databases(ctx)
	if err != nil {
		return err
	}
	paused := slices.DeleteFunc(slices.Clone(p.moved), func(name string) bool { return !pools.paused[name] })
	if len(paused) == 0 {
		return nil // RESUME of a database that is not paused is an error
	}
	if err := c.do(ctx, "SET server_login_retry = '0'"); err != nil {
		return err
	}
	for _, name := range paused {
		err = errors.Join(err, c.do(ctx, "RESUME "+pgx.Identifier{name}.Sanitize()))
	}
	served, cancel := context.WithTimeout(ctx, letGoWithin/3)
	defer cancel()
	for waiting := true; waiting && err == nil && served.Err() == nil; {
		waiting, err = c.waiting(ctx, paused)
	}
	return errors.Join(err, c.do(ctx, "RELOAD"))
}

func (p *pgbouncerParticipant) arrived(ctx context.Context, c *console, side plan.Side) error {
	pools, err := c.databases(ctx)
	if err == nil && sideOf(pools.where, p.blue, p.green, p.moved) != side {
		err = fmt.Errorf("PgBouncer has reloaded, and still does not send %s to %s: does it read %s?", strings.Join(p.moved, ", "), side, p.spec.Path)
	}
	return err
}

// pause waits until no transaction is under way, half of the timeout at most. On a connection of its own: one that is
// given up while PAUSE waits can't be used any more. That it gives up is no error: see the type.
func (p *pgbouncerParticipant) pause(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout/2)
	defer cancel()
	_ = p.admin(ctx, func(ctx context.Context, c *console) error {
		for _, name := range p.moved {
			if err := c.do(ctx, "PAUSE "+pgx.Identifier{name}.Sanitize()); err != nil {
				return err
			}
		}
		return nil
	})
}

// admin gives f the admin console.
func (p *pgbouncerParticipant) admin(ctx context.Context, f func(context.Context, *console) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, p.console)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("PgBouncer's admin console %s: %w", postgres.Redact(p.dsn), ctx.Err())
		}
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			return fmt.Errorf("PgBouncer's admin console %s: %w", postgres.Redact(p.dsn), refused)
		}
		return fmt.Errorf("PgBouncer's admin console %s can't be reached", postgres.Redact(p.dsn))
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.Close(end)
	}()
	return f(ctx, &console{conn})
}

// console is PgBouncer's admin console, which speaks the simple protocol only.
type console struct{ conn *pgconn.PgConn }

func (c *console) do(ctx context.Context, command string) error {
	if _, err := c.conn.Exec(ctx, command).ReadAll(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// waiting reports whether clients of the databases wait for a connection. It is asked in a loop, a millisecond apart.
func (c *console) waiting(ctx context.Context, names []string) (bool, error) {
	rows, err := c.show(ctx, "SHOW POOLS")
	for _, row := range rows {
		if slices.Contains(names, row["database"]) && row["cl_waiting"] != "0" {
			t := time.NewTimer(time.Millisecond)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
			}
			return true, err
		}
	}
	return false, err
}

// pools is what SHOW DATABASES says.
type pools struct {
	where  map[string]pooled
	paused map[string]bool
	mode   map[string]string // "" where it is the pooler's default
}

func (c *console) databases(ctx context.Context) (pools, error) {
	all := pools{where: map[string]pooled{}, paused: map[string]bool{}, mode: map[string]string{}}
	rows, err := c.show(ctx, "SHOW DATABASES")
	for _, row := range rows {
		name := row["name"]
		all.where[name] = pooled{Host: row["host"], Port: row["port"], Database: row["database"]}
		all.paused[name] = row["paused"] == "1"
		all.mode[name] = row["pool_mode"]
	}
	return all, err
}

func (c *console) show(ctx context.Context, what string) ([]map[string]string, error) {
	results, err := c.conn.Exec(ctx, what).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var rows []map[string]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := map[string]string{}
			for i, field := range result.FieldDescriptions {
				row[field.Name] = string(values[i])
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// pausable refuses session pooling: there a PAUSE waits until every client has gone, and a client that stays keeps its
// connection to blue for good.
func (p pools) pausable(ctx context.Context, c *console, names []string) error {
	settings, err := c.show(ctx, "SHOW CONFIG")
	if err != nil {
		return err
	}
	usual := ""
	for _, row := range settings {
		if row["key"] == "pool_mode" {
			usual = row["value"]
		}
	}
	for _, name := range names {
		mode := p.mode[name]
		if mode == "" {
			mode = usual
		}
		if mode == "session" {
			return &sessionPoolingError{name}
		}
	}
	return nil
}

type sessionPoolingError struct{ database string }

func (e *sessionPoolingError) Error() string {
	return fmt.Sprintf("PgBouncer's database %q has pool_mode session: a client that stays connected can't be moved", e.database)
}

// Hint says what to do about it.
func (e *sessionPoolingError) Hint() string {
	return "set pool_mode = transaction for it and RELOAD, or let the server reconnect by an exec participant"
}
