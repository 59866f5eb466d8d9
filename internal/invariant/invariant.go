// Package invariant asks a profile's invariants of both sides and names what differs, by key.
//
// Values never leave the database: the server hashes them (MD5, to tell them apart, not to hide them from an attacker),
// and a difference says only that they differ. Keys do leave it; the profile chooses them so that they are no
// secrets. Both sides are read in order and compared row by row, so that no side is held in memory.
//
// Blue and green are asked one after the other while both may change: a difference found during replay can be a change
// that is still on its way. Ask again; in the hold nothing moves.
package invariant

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Kind is how blue and green differ at a key.
type Kind string

const (
	Missing  Kind = "missing"  // blue has it, green does not
	Extra    Kind = "extra"    // green has it, blue does not
	Differs  Kind = "differs"  // both have it, with other values
	Offender Kind = "offender" // green has it, and should not have it (an invariant that asks green alone)
)

// Difference is one key at which an invariant does not hold.
type Difference struct {
	Invariant   string `json:"invariant"`
	Key         string `json:"key"`
	Kind        Kind   `json:"kind"`
	RepairTable string `json:"repair_table,omitempty"` // blue's table whose row Key is put into the queue again to repair it
}

// Report is the answer to all invariants.
type Report struct {
	Asked       int
	Rows        int64        // rows compared
	Count       int64        // all differences
	Differences []Difference // the first of them, at most Limit per invariant
}

// Limit is how many differences of one invariant are listed.
const Limit = 10_000

// timeout bounds one query of one side.
const timeout = 10 * time.Minute

// Check asks the invariants and lists the differences; where there are more than Limit of one invariant, the first of them.
// Unqualified names mean those of schema ("": public). An invariant that holds adds nothing, so that an empty list means that all hold.
func Check(ctx context.Context, blue, green *postgres.DB, schema string, invariants []plan.Invariant) ([]Difference, error) {
	r, err := Ask(ctx, blue, green, schema, invariants)
	return r.Differences, err
}

// Ask is Check that also counts.
func Ask(ctx context.Context, blue, green *postgres.DB, schema string, invariants []plan.Invariant) (Report, error) {
	var report Report
	for _, v := range invariants {
		if err := ask(ctx, blue, green, schema, v, &report); err != nil {
			return report, fmt.Errorf("invariant %q: %w", v.Name, err)
		}
		report.Asked++
	}
	return report, nil
}

func ask(ctx context.Context, blue, green *postgres.DB, schema string, v plan.Invariant, report *Report) error {
	if strings.TrimSpace(v.Green) == "" {
		return fmt.Errorf("it has no query for green")
	}
	listed := 0
	note := func(key string, kind Kind) {
		report.Count++
		if listed++; listed <= Limit {
			report.Differences = append(report.Differences, Difference{v.Name, key, kind, v.RepairTable})
		}
	}
	actual, err := read(ctx, green, schema, v.Green)
	if err != nil {
		return err
	}
	defer actual.close(ctx)
	if strings.TrimSpace(v.Blue) == "" {
		for actual.next() {
			report.Rows++
			note(actual.key, Offender)
		}
		return actual.err
	}
	expected, err := read(ctx, blue, schema, v.Blue)
	if err != nil {
		return err
	}
	defer expected.close(ctx)
	return merge(expected, actual, report, note)
}

// merge walks both sides in the order of their keys. A key may come more than once: then its values are compared as sets.
func merge(blue, green *side, report *Report, note func(string, Kind)) error {
	b, g := blue.group(), green.group()
	for b != nil || g != nil {
		report.Rows++
		order := 0
		switch {
		case g == nil:
			order = -1
		case b == nil:
			order = 1
		default:
			order = strings.Compare(b.key, g.key)
		}
		switch {
		case order < 0:
			note(b.key, Missing)
			b = blue.group()
		case order > 0:
			note(g.key, Extra)
			g = green.group()
		default:
			if !bytes.Equal(b.values, g.values) {
				note(b.key, Differs)
			}
			b, g = blue.group(), green.group()
		}
	}
	if blue.err != nil {
		return blue.err
	}
	return green.err
}

// side is one side's answer, streamed in the order of its keys' bytes (COLLATE "C"), then of the values' hashes.
type side struct {
	name string
	conn *pgx.Conn
	rows pgx.Rows
	err  error

	key, value string
	ahead      bool // key and value are read and not yet part of a group
}

type group struct {
	key    string
	values []byte
}

// wrapped brings a profile's query into order. The line break ends a comment at its end; NULL is told apart from ”.
const wrapped = `SELECT coalesce(q.key::text, ''), CASE WHEN q.value IS NULL THEN '-' ELSE pg_catalog.md5(q.value::text) END
FROM (%s
) q (key, value) ORDER BY coalesce(q.key::text, '') COLLATE "C", 2`

func read(ctx context.Context, db *postgres.DB, schema, query string) (*side, error) {
	s := &side{name: db.Name()}
	var err error
	if s.conn, err = db.ConnectAs(ctx, "validate"); err != nil {
		return nil, err
	}
	if err := postgres.Unshadowed(ctx, s.conn, s.name, schema); err != nil {
		s.close(ctx)
		return nil, err
	}
	setup := fmt.Sprintf(`SET statement_timeout = %d; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1;
		SET TimeZone = 'UTC'; SET bytea_output = 'hex'; SET search_path = %s; BEGIN READ ONLY`, timeout.Milliseconds(), postgres.Path(schema))
	if _, err := s.conn.PgConn().Exec(ctx, setup).ReadAll(); err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if s.rows, err = s.conn.Query(ctx, fmt.Sprintf(wrapped, strings.TrimRight(query, "; \t\r\n"))); err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return s, nil
}

func (s *side) next() bool {
	if s.err != nil || !s.rows.Next() {
		if err := s.rows.Err(); err != nil && s.err == nil {
			s.err = fmt.Errorf("%s: %w", s.name, err)
		}
		return false
	}
	if err := s.rows.Scan(&s.key, &s.value); err != nil {
		s.err = fmt.Errorf("%s: %w", s.name, err)
		return false
	}
	return true
}

// group is the next key with all of its values; nil at the end, and after an error, which err then has.
func (s *side) group() *group {
	if !s.ahead && !s.next() {
		return nil
	}
	g := &group{key: s.key}
	for {
		g.values = append(append(g.values, s.value...), ' ')
		if s.ahead = s.next(); !s.ahead || s.key != g.key {
			return g
		}
	}
}

func (s *side) close(ctx context.Context) {
	if s.rows != nil {
		s.rows.Close()
	}
	postgres.HangUp(ctx, s.conn)
}

// String names the place, without values.
func (d Difference) String() string { return fmt.Sprintf("%s %s: %s", d.Invariant, d.Key, d.Kind) }
