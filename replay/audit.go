package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Audit looks, while replay goes on, whether green is what the migrations make of blue. It takes rows of blue, those of one
// table after the other in the order of their keys, and those that were changed lately; brings them through a delta of
// their own, with the profile's rules and the migrations; and holds the outcome against what green has.
//
// Both sides are looked at in one moment: what is in the queue of the snapshot in which it reads blue is applied first, and
// a row of which a change is captured and not in the queue is looked at again. So what differs on green is wrong there and not
// merely late. What it can't compare by its key it says ([Coverage]).
//
// Rows that green has and blue has not are looked for as well, in tables that a single table of blue feeds: what no
// migration makes of anything else can only be a delete that was lost.
type Audit struct {
	replayer *Replayer
	share    float64 // of the time that it may take
	rows     int     // of the next page
	rest     time.Time
	order    []string // tables of blue, in the order of the profile
	at       int      // the place in order; past its end come green's tables, which are looked at for rows too many
	after    tuple    // the last key that was looked at; nil at a table's beginning
	recent   []seed   // keys that were changed, not looked at since; a ring
	place    int      // in recent, where the next one goes
	mixed    map[string]bool
	coverage Coverage
}

// Coverage says how much was looked at, since the process began.
type Coverage struct {
	Passes  int              // how often all tables were gone through
	Rows    map[string]int64 // of blue's tables: rows that were compared, one that was compared twice as two
	Unknown []string         // of green's tables, where rows that blue has not are not looked for
	// Unsettled are rows that were other than they should be each time, while a change of them was under way each time.
	Unsettled int
}

// Total is the number of rows of all tables.
func (c Coverage) Total() (n int64) {
	for rows := range maps.Values(c.Rows) {
		n += rows
	}
	return n
}

const (
	firstPage  = 500
	largePage  = 20_000
	mostRecent = 4096 // changed keys that are remembered
	mostFound  = 5    // differences that are named
)

// NewAudit makes an audit of what a replayer brings over. share is the part of the time that it may take, above 0 and up to 1.
func NewAudit(r *Replayer, share float64) *Audit {
	a := &Audit{replayer: r, share: share, rows: firstPage, mixed: make(map[string]bool), coverage: Coverage{Rows: make(map[string]int64)}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audit = a
	return a
}

// Coverage says what was looked at so far.
func (a *Audit) Coverage() Coverage {
	a.replayer.mu.Lock()
	defer a.replayer.mu.Unlock()
	c := a.coverage
	c.Rows, c.Unknown = maps.Clone(c.Rows), slices.Clone(c.Unknown)
	return c
}

// tell has the audit, where there is one, look at what was changed.
func (r *Replayer) tell(applied []change) error {
	if r.audit == nil {
		return nil
	}
	seeds, err := r.collapse(applied)
	if err == nil {
		r.audit.touched(seeds)
	}
	return err
}

// touched remembers what was changed, the latest of it.
func (a *Audit) touched(seeds []*seed) {
	for _, s := range seeds {
		kept := seed{table: s.table, key: s.key}
		if len(a.recent) < mostRecent {
			a.recent = append(a.recent, kept)
			continue
		}
		a.recent[a.place] = kept
		a.place = (a.place + 1) % mostRecent
	}
}

// Due says whether the audit may look at another page by now.
func (a *Audit) Due() bool { return !time.Now().Before(a.rest) }

// errLater says that the two sides can't be held against each other now.
var errLater = errors.New("changes wait that have to be applied first")

// Page looks at one page of rows and says how many it has compared: 0 where the queue is so long, or has something parked,
// that green can't be what blue is. The error is an [*AuditError] where green is not what it should be.
func (a *Audit) Page(ctx context.Context) (int, error) {
	r := a.replayer
	r.mu.Lock()
	defer r.mu.Unlock()
	began := time.Now()
	n, err := a.page(ctx)
	took := time.Since(began)
	a.rest = time.Now().Add(time.Duration(float64(took) * (1 - a.share) / a.share))
	if errors.Is(err, errLater) || errors.Is(err, errReplayed) {
		return 0, nil
	}
	if err == nil && took < pleasant/2 {
		a.rows = min(2*a.rows, largePage)
	} else if took > 2*pleasant {
		a.rows = max(a.rows/2, firstPage)
	}
	return n, err
}

func (a *Audit) page(ctx context.Context) (n int, err error) {
	r := a.replayer
	if err := r.prepare(ctx); err != nil {
		return 0, err
	}
	if a.order == nil {
		for _, t := range r.Profile.Tables {
			if t.Captured() {
				a.order = append(a.order, t.Name)
			}
		}
	}
	if a.at >= len(a.order) {
		return a.superfluous(ctx)
	}
	var seeds []*seed
	var scanned int
	var after tuple
	l, err := a.look(ctx, func(tx pgx.Tx) ([]*seed, error) {
		seeds, scanned, after, err = a.next(ctx, tx)
		return seeds, err
	})
	if err != nil {
		return 0, err
	}
	if err := a.settled(ctx, l, seeds); err != nil {
		return 0, err
	}
	// Only now: what was cut off is looked at again.
	a.coverage.Rows[a.order[a.at]] += int64(scanned)
	a.recent, a.place = nil, 0
	if a.after = after; after == nil {
		a.at++
	}
	return l.rows, nil
}

// look is what was seen of some rows in one moment. Where racing, a change of one of them, or of what they are joined with, was
// under way, so that a difference says nothing.
type look struct {
	rows        int
	differences []Difference
	racing      bool
}

// look brings the rows that choose names, in the snapshot that it is given, through a delta and holds it against green.
func (a *Audit) look(ctx context.Context, choose func(tx pgx.Tx) ([]*seed, error)) (l look, err error) {
	r := a.replayer
	err = r.level(ctx, func(tx pgx.Tx, late []*seed) error {
		seeds, err := choose(tx)
		if err != nil {
			return err
		}
		l, err = a.compare(ctx, tx, seeds, late)
		return err
	})
	if err != nil {
		return l, err
	}
	r.scratch.release()
	return l, r.scratch.refresh(ctx)
}

// mostLooks is how often one row is looked at that differs each time while a change of it is under way.
const mostLooks = 20

// settled is an [*AuditError] where a look has found a difference that is one. Where changes were under way, the rows are looked
// at again, by halves, so that the changes of others don't matter.
func (a *Audit) settled(ctx context.Context, l look, seeds []*seed) error {
	if len(l.differences) == 0 {
		return nil
	}
	if !l.racing {
		return &AuditError{Differences: l.differences[:min(len(l.differences), mostFound)]}
	}
	if len(seeds) > 1 {
		for _, half := range [][]*seed{seeds[:len(seeds)/2], seeds[len(seeds)/2:]} {
			l, err := a.look(ctx, func(pgx.Tx) ([]*seed, error) { return half, nil })
			if err == nil {
				err = a.settled(ctx, l, half)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for range mostLooks {
		l, err := a.look(ctx, func(pgx.Tx) ([]*seed, error) { return seeds, nil })
		if err != nil {
			return err
		}
		if len(l.differences) == 0 || !l.racing {
			return a.settled(ctx, l, nil)
		}
	}
	a.coverage.Unsettled++
	return nil
}

// next chooses what the next page has: rows of the table that is its turn, and what was changed lately.
func (a *Audit) next(ctx context.Context, tx pgx.Tx) (seeds []*seed, scanned int, after tuple, err error) {
	r := a.replayer
	table := a.order[a.at]
	rel, key := r.blue[table], r.keys[table]
	var keys []tuple
	if rel.keyed(key) {
		keys, err = keysAfter(ctx, tx, rel, key, a.after, a.rows)
		if len(keys) == a.rows {
			after = keys[len(keys)-1]
		}
	} else {
		keys, after, err = keysInPlace(ctx, tx, rel, key, a.after, a.rows)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("audit: %w", err)
	}
	for _, k := range keys {
		seeds = append(seeds, &seed{table: table, key: k})
	}
	for _, s := range a.recent {
		seeds = append(seeds, &s)
	}
	return seeds, len(keys), after, nil
}

// keyed says whether an index has the table's rows in the order of these columns.
func (r *relation) keyed(columns []string) bool {
	return slices.ContainsFunc(r.unique, func(u unique) bool { return u.exact && slices.Equal(u.columns, columns) })
}

// keysAfter are up to n keys of a table, in their order, from the one behind after.
func keysAfter(ctx context.Context, tx pgx.Tx, rel *relation, key []string, after tuple, n int) ([]tuple, error) {
	order := names(key).of("t")
	sql := "SELECT " + keyTexts(rel, key, "t") + " FROM " + rel.rows() + " t"
	var args []any
	if after != nil {
		bounds := make([]string, len(key))
		for i, name := range key {
			c, _ := rel.column(name)
			bounds[i] = fmt.Sprintf("$%d::pg_catalog.text::%s", i+1, c.typ)
			args = append(args, after[i])
		}
		sql += " WHERE (" + order + ") > (" + strings.Join(bounds, ", ") + ")"
	}
	rows, err := tx.Query(ctx, fmt.Sprintf("%s ORDER BY %s LIMIT %d", sql, order, n), args...)
	if err != nil {
		return nil, fmt.Errorf("read keys of table %q: %w", rel.name, err)
	}
	found, err := collectTuples(rows, len(key))
	if err != nil {
		return nil, fmt.Errorf("read keys of table %q: %w", rel.name, err)
	}
	return found, nil
}

// keysInPlace are the keys of some blocks of a table, where no index has them in their order: about n rows of it, from the
// place behind after, and the place for the next call, nil at the end. A row that moves meanwhile is among those that were
// changed. A place is a part of the table and a block of it.
func keysInPlace(ctx context.Context, tx pgx.Tx, rel *relation, key []string, after tuple, n int) (keys []tuple, next tuple, err error) {
	parts := []string{rel.ident()}
	if rel.partitioned {
		parts = rel.partitions
	}
	var part, block int
	if after != nil {
		if _, err := fmt.Sscan(strings.Join(after, " "), &part, &block); err != nil {
			return nil, nil, err
		}
	}
	for ; part < len(parts) && len(keys) == 0; part, block = part+1, 0 {
		const size = `SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint, greatest(c.reltuples / greatest(c.relpages, 1), 1)
FROM pg_catalog.pg_class c WHERE c.oid = $1::pg_catalog.regclass`
		var blocks int
		var each float64
		if err := tx.QueryRow(ctx, size, parts[part]).Scan(&blocks, &each); err != nil {
			return nil, nil, fmt.Errorf("read keys of table %q: %w", rel.name, err)
		}
		for ; block < blocks && len(keys) == 0; block = min(blocks, block+max(1, int(float64(n)/each))) {
			sql := fmt.Sprintf("SELECT %s FROM ONLY %s t WHERE t.ctid >= '(%d,0)' AND t.ctid < '(%d,0)'", keyTexts(rel, key, "t"), parts[part], block, block+max(1, int(float64(n)/each)))
			if keys, err = tupleRows(ctx, tx, sql, len(key)); err != nil {
				return nil, nil, fmt.Errorf("read keys of table %q: %w", rel.name, err)
			}
		}
		if block < blocks {
			return keys, tuple{strconv.Itoa(part), strconv.Itoa(block)}, nil
		}
	}
	if part < len(parts) {
		next = tuple{strconv.Itoa(part), "0"}
	}
	return keys, next, nil
}

// alone says whether the rows of a table of blue are the only ones that its home on green has, as far as is seen by now.
func (a *Audit) alone(table string) bool {
	r := a.replayer
	h, ok := r.homes[table]
	return ok && !a.mixed[h.table] && len(r.livingIn(h.table)) == 1 && r.onDelete(table) == "" && !r.partOfAnother(table)
}

// superfluous looks at one page of a table of green for rows that blue has not.
func (a *Audit) superfluous(ctx context.Context) (n int, err error) {
	r := a.replayer
	for ; a.at < 2*len(a.order); a.at, a.after = a.at+1, nil {
		table := a.order[a.at-len(a.order)]
		if !a.comparable(table) {
			if h := r.homes[table]; h.table != "" && a.coverage.Passes == 0 {
				a.coverage.Unknown = append(a.coverage.Unknown, h.table)
			}
			continue
		}
		n, err = a.beyond(ctx, table)
		return n, err
	}
	a.at, a.after = 0, nil
	a.coverage.Passes++
	return 0, nil
}

// comparable says whether rows of green that blue has not can be found by their keys: they mean the same on both sides.
func (a *Audit) comparable(table string) bool {
	r := a.replayer
	h := r.homes[table]
	if !a.alone(table) || !r.green[h.table].keyed(h.key) {
		return false
	}
	s := newStage(r.green[h.table], r.green, r.Profile.Green.Volatile)
	for i, name := range h.key {
		there, _ := s.column(name)
		here, ok := r.blue[table].column(r.keys[table][i])
		if !ok || here.typ != there.typ || s.random(name) {
			return false
		}
	}
	return true
}

func (a *Audit) beyond(ctx context.Context, table string) (n int, err error) {
	r := a.replayer
	h := r.homes[table]
	rel := r.green[h.table]
	var keys, missing []tuple
	err = r.level(ctx, func(tx pgx.Tx, late []*seed) error {
		err := r.onGreen(ctx, func(green pgx.Tx) error {
			keys, err = keysAfter(ctx, green, rel, h.key, a.after, a.rows)
			return err
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		there, err := r.lookUp(ctx, tx, table, r.keys[table], keys)
		if err != nil {
			return err
		}
		known := &keySet{}
		for _, k := range there {
			known.add(k)
		}
		for _, s := range late { // its delete may be on the way
			if s.table == table {
				known.add(s.key)
			}
		}
		missing = slices.DeleteFunc(slices.Clone(keys), known.has)
		return nil
	})
	if err != nil {
		return 0, err
	}
	if len(missing) > 0 {
		return 0, &AuditError{Differences: extras(h, missing[:min(len(missing), mostFound)])}
	}
	if a.after = nil; len(keys) == a.rows {
		a.after = keys[len(keys)-1]
	} else {
		a.at++
	}
	return len(keys), nil
}
