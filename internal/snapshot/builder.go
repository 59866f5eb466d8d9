package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/postgres"
)

// builder makes indexes and constraints: a table's as soon as its rows are there, and in the end what needs all tables.
type builder struct {
	c       *copying
	a       *archive
	entries []entry // of the post-data section
	about   map[object]constraint
	tables  map[uint32]*building // by the oid of what is copied; 0: of what has no rows of its own
	unitOf  map[uint32]uint32    // a partition that is filled through its root → the root

	mu    sync.Mutex
	left  int // tables
	ready chan task
}

// building is what one table waits for.
type building struct {
	name    string // "": no table
	parts   int    // to be copied
	first   []task // indexes: they can be built side by side
	running int
	last    []entry // constraints, one after the other: each locks the table
}

type task struct {
	table *building
	entry entry
}

// constraint is what blue's catalog says of an index or a constraint.
type constraint struct {
	table       uint32
	indexDef    string // of an index, or of a constraint's that can be built before it; "": only pg_dump knows
	using       string // then: the statement that makes the constraint of the index
	foreignKey  string // the statement that adds a foreign key without a look at the rows; "": it cannot be put so
	validate    string // then: the statement that looks; "": blue has not looked either
	constrained string // then: the referencing table
}

// aboutQuery reads blue's indexes and constraints. An index can be made without pg_dump's words, which are dear, where there
// is nothing to say but its definition; and it can become a constraint where besides the table is not partitioned and the two have one name.
const aboutQuery = `
SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, i.indexrelid, i.indrelid,
	CASE WHEN x.relkind = 'i' AND NOT i.indisclustered AND NOT i.indisreplident AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = x.oid AND d.deptype = 'x')
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget >= 0)
	THEN pg_catalog.pg_get_indexdef(x.oid) ELSE '' END, '', '', '', ''
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
UNION ALL
SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass::oid, c.oid, c.conrelid,
	CASE WHEN k.plain THEN pg_catalog.pg_get_indexdef(c.conindid) ELSE '' END,
	CASE WHEN k.plain THEN pg_catalog.format('ALTER TABLE ONLY %I.%I ADD CONSTRAINT %I %s USING INDEX %I%s%s', n.nspname, t.relname, c.conname,
		CASE c.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, c.conname,
		CASE WHEN c.condeferrable THEN ' DEFERRABLE' ELSE '' END, CASE WHEN c.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END) ELSE '' END,
	CASE WHEN f.loose THEN pg_catalog.format('ALTER TABLE ONLY %I.%I ADD CONSTRAINT %I %s%s', n.nspname, t.relname, c.conname,
		pg_catalog.pg_get_constraintdef(c.oid), CASE WHEN c.convalidated THEN ' NOT VALID' ELSE '' END) ELSE '' END,
	CASE WHEN f.loose AND c.convalidated THEN pg_catalog.format('ALTER TABLE ONLY %I.%I VALIDATE CONSTRAINT %I', n.nspname, t.relname, c.conname) ELSE '' END,
	pg_catalog.format('%I.%I', n.nspname, t.relname)
FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class t ON t.oid = c.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.conindid LEFT JOIN pg_catalog.pg_class x ON x.oid = c.conindid LEFT JOIN pg_catalog.pg_am m ON m.oid = x.relam,
LATERAL (SELECT c.contype IN ('p', 'u') AND t.relkind = 'r' AND m.amname = 'btree' AND x.relname = c.conname AND i.indisunique
	AND NOT i.indisclustered AND NOT i.indisreplident AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = x.oid AND d.deptype = 'x') AS plain) k,
LATERAL (SELECT c.contype = 'f' AND t.relkind = 'r' AND c.conparentid = 0 AS loose) f`

func (c *copying) newBuilder(ctx context.Context, blue *pgx.Conn, a *archive, all []relation) (*builder, error) {
	b := &builder{c: c, a: a, about: map[object]constraint{}, tables: map[uint32]*building{0: {}}, unitOf: map[uint32]uint32{}}
	var err error
	if b.entries, err = a.entries(ctx, "post-data"); err != nil {
		return nil, err
	}
	rows, err := blue.Query(ctx, aboutQuery)
	if err != nil {
		return nil, fmt.Errorf("list the indexes and constraints: %w", err)
	}
	var o object
	var k constraint
	_, err = pgx.ForEachRow(rows, []any{&o.class, &o.oid, &k.table, &k.indexDef, &k.using, &k.foreignKey, &k.validate, &k.constrained}, func() error {
		b.about[o] = k
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the indexes and constraints: %w", err)
	}
	for _, r := range all {
		b.tables[r.oid] = &building{name: r.identifier().Sanitize()}
		for _, leaf := range r.leaves {
			b.unitOf[leaf] = r.oid
		}
		b.unitOf[r.oid] = r.oid
	}
	return b, nil
}

// start gives each table its work, and lets those begin that wait for no rows. waiting has the parts to be copied, by oid.
func (b *builder) start(all []relation, waiting map[uint32]int) {
	for _, e := range b.entries {
		if stageOf(e) != 0 || b.c.marks.names[markOf(e)] {
			continue
		}
		about := b.about[e.what]
		t := b.tables[b.unitOf[about.table]] // 0 for partitioned tables and materialized views
		if e.desc == "INDEX" || about.indexDef != "" && !b.c.marks.names[builtOf(e)] {
			t.first = append(t.first, task{t, e})
		}
		if e.desc != "INDEX" {
			t.last = append(t.last, e)
		}
	}
	size := 0
	for oid, t := range b.tables {
		t.parts = waiting[oid]
		size += len(t.first) + 1
	}
	b.left, b.ready = len(b.tables), make(chan task, size)
	b.tables[0].parts = len(all) // it waits for all others
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range all {
		if t := b.tables[r.oid]; t.parts == 0 {
			b.release(t)
		}
	}
	if len(all) == 0 {
		b.release(b.tables[0])
	}
}

// copied counts a part that is on green.
func (b *builder) copied(oid uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tables[oid]
	t.parts--
	if t.parts == 0 {
		b.release(t)
	}
}

// release lets a table's work begin; b.mu is held. What has no rows of its own comes after all that has.
func (b *builder) release(t *building) {
	t.running = max(1, len(t.first))
	if len(t.first) == 0 {
		b.ready <- task{table: t}
	}
	for _, w := range t.first {
		b.ready <- w
	}
	if none := b.tables[0]; t != none {
		none.parts--
		if none.parts == 0 {
			b.release(none)
		}
	}
}

// work builds what is ready until all of it is built.
func (b *builder) work(ctx context.Context) error {
	conn, err := b.c.connectGreen(ctx)
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, conn.Conn)
	for {
		var w task
		var more bool
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case w, more = <-b.ready:
		}
		if !more {
			return nil
		}
		if w.entry.line != "" {
			if err := b.index(ctx, conn.Conn, w.entry); err != nil {
				return fmt.Errorf("%s: %w", entryName(w.entry), err)
			}
		}
		b.mu.Lock()
		w.table.running--
		over := w.table.running == 0
		b.mu.Unlock()
		if !over {
			continue
		}
		if err := b.end(ctx, conn.Conn, w.table); err != nil {
			return err
		}
		b.mu.Lock()
		b.left--
		if b.left == 0 {
			close(b.ready)
		}
		b.mu.Unlock()
	}
}

// index builds an index, or the one that a constraint is to be made of.
func (b *builder) index(ctx context.Context, green *pgx.Conn, e entry) error {
	switch def := b.about[e.what].indexDef; {
	case def == "":
		return b.restore(ctx, green, e)
	case e.desc == "INDEX":
		return effect(ctx, green, def, markOf(e))
	default:
		return effect(ctx, green, def, builtOf(e))
	}
}

// end makes a table's constraints and has it analyzed: its indexes are all there.
func (b *builder) end(ctx context.Context, green *pgx.Conn, t *building) error {
	for _, e := range t.last {
		err := error(nil)
		if using := b.about[e.what].using; using != "" {
			err = effect(ctx, green, using, markOf(e))
		} else {
			err = b.restore(ctx, green, e)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", entryName(e), err)
		}
	}
	if analyzed := "analyze " + t.name; t.name != "" && !b.c.marks.names[analyzed] {
		if err := effect(ctx, green, "ANALYZE "+t.name, analyzed); err != nil {
			return fmt.Errorf("analyze %s: %w", t.name, err)
		}
	}
	return nil
}

// rest restores what needs all tables: partitions' indexes, rules, policies, triggers, foreign keys, and comments.
func (b *builder) rest(ctx context.Context, green *pgx.Conn) error {
	return b.tiers(ctx, green, 1, len(tiers)-1)
}

// eventTriggers comes after all other definitions: else they would fire for them.
func (b *builder) eventTriggers(ctx context.Context, green *pgx.Conn) error {
	return b.tiers(ctx, green, len(tiers)-1, len(tiers))
}

func (b *builder) tiers(ctx context.Context, green *pgx.Conn, from, to int) error {
	for i := from; i < to; i++ {
		var todo []entry
		for _, e := range b.entries {
			if stageOf(e) == i && !b.c.marks.names[markOf(e)] {
				todo = append(todo, e)
			}
		}
		if len(todo) == 0 {
			continue
		}
		b.c.meter.say(tiers[i].name)
		var err error
		if tiers[i].name == foreignKeys {
			err = b.foreignKeys(ctx, green, todo)
		} else {
			for _, e := range todo {
				if err = b.restore(ctx, green, e); err != nil {
					err = fmt.Errorf("%s: %w", entryName(e), err)
					break
				}
			}
		}
		if err != nil {
			return fmt.Errorf("restore blue's %s: %w", tiers[i].name, err)
		}
	}
	return nil
}

// foreignKeys adds them without a look at the rows, one after the other, which takes no time; and then looks at several
// tables at a time, which takes no lock that another look waits for.
func (b *builder) foreignKeys(ctx context.Context, green *pgx.Conn, todo []entry) error {
	children := map[string][]entry{}
	for _, e := range todo {
		about := b.about[e.what]
		switch {
		case about.foreignKey == "":
			if err := b.restore(ctx, green, e); err != nil {
				return fmt.Errorf("%s: %w", entryName(e), err)
			}
			continue
		case about.validate == "":
			if err := effect(ctx, green, about.foreignKey, markOf(e)); err != nil {
				return fmt.Errorf("%s: %w", entryName(e), err)
			}
			continue
		case !b.c.marks.names[builtOf(e)]:
			if err := effect(ctx, green, about.foreignKey, builtOf(e)); err != nil {
				return fmt.Errorf("%s: %w", entryName(e), err)
			}
		}
		children[about.constrained] = append(children[about.constrained], e)
	}
	queue := make(chan []entry, len(children))
	for _, e := range children {
		queue <- e
	}
	close(queue)
	group, ctx := errgroup.WithContext(ctx)
	for range min(b.c.Jobs, len(children)) {
		group.Go(func() error {
			conn, err := b.c.connectGreen(ctx)
			if err != nil {
				return err
			}
			defer postgres.HangUp(ctx, conn.Conn)
			for entries := range queue {
				for _, e := range entries {
					if err := effect(ctx, conn.Conn, b.about[e.what].validate, markOf(e)); err != nil {
						return fmt.Errorf("%s: %w", entryName(e), err)
					}
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// restore restores one entry as pg_dump has it.
func (b *builder) restore(ctx context.Context, green *pgx.Conn, e entry) error {
	sql, err := b.a.sql(ctx, []entry{e})
	if err != nil {
		return err
	}
	return effect(ctx, green, within(sql, b.c.path), markOf(e))
}

// effect runs SQL and records it, in one transaction. Two foreign keys that lock the same two tables the other way round
// deadlock when they are made at the same time: the loser tries again.
func effect(ctx context.Context, green *pgx.Conn, sql, name string) error {
	return postgres.Retry(ctx, postgres.Budget{Retry: 10 * time.Minute}, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
			if err := script(ctx, green, sql); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, mark, name, 0)
			return err
		})
	})
}

// markOf names an entry on green. The dump id differs between two dumps; catalog, oid and text do not.
func markOf(e entry) string {
	_, text, _ := strings.Cut(e.line, "; ")
	return "post " + text
}

// builtOf names the first half of an entry: the index of a constraint, a foreign key that is not validated yet.
func builtOf(e entry) string { return "half of " + markOf(e) }

// entryName is "INDEX public oauth_access_pkey owner", as the table of contents says it.
func entryName(e entry) string {
	fields := strings.SplitN(e.line, " ", 4)
	return fields[len(fields)-1]
}

// tier is a part of the post-data section.
type tier struct {
	name  string
	descs []string // of the table of contents; the tier without any takes all that no other does
}

// tiers are in the order in which they are restored. Within one the dump's order counts. A foreign key needs the unique
// index that it refers to, and its check needs all rows.
var tiers = []tier{
	{"indexes", []string{"INDEX", "CONSTRAINT"}},
	{"partition indexes", []string{"INDEX ATTACH"}},
	{"rules, policies and views", nil},
	{"triggers", []string{"TRIGGER"}},
	{foreignKeys, []string{"FK CONSTRAINT"}},
	{"comments", []string{"COMMENT", "SECURITY LABEL"}},
	{"event triggers", []string{"EVENT TRIGGER"}},
}

const foreignKeys = "foreign keys"

func stageOf(e entry) int {
	if i := slices.IndexFunc(tiers, func(s tier) bool { return slices.Contains(s.descs, e.desc) }); i >= 0 {
		return i
	}
	return slices.IndexFunc(tiers, func(s tier) bool { return s.descs == nil })
}
