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

// level runs f in a snapshot of blue of which green has everything but what late are the changes of: those that were captured
// and not in the queue yet when the snapshot was taken, with some that came after it.
func (r *Replayer) level(ctx context.Context, f func(tx pgx.Tx, late []*seed) error) error {
	if err := r.sync(ctx); err != nil {
		return err
	}
	return r.reading(ctx, func(tx pgx.Tx) error {
		claimed, truncated, err := r.claim(ctx, tx, r.pace.limit)
		if err != nil {
			return err
		}
		if truncated {
			return errLater
		}
		late, err := r.late(ctx, claimed)
		if err != nil {
			return err
		}
		if len(claimed) > 0 {
			if err := r.settle(ctx, claimed); err != nil {
				return err
			}
			inner, err := tx.Begin(ctx) // a savepoint, which apply ends: the snapshot stays
			if err != nil {
				return fmt.Errorf("read blue: %w", err)
			}
			if _, err := r.apply(ctx, inner, claimed, true); err != nil {
				if ctx.Err() == nil && (poisonous(err) || errors.Is(err, errReplayed)) {
					return errLater // the batch that meets it again takes it apart
				}
				return err
			}
			if err := r.mark(ctx, claimed); err != nil {
				return err
			}
			if err := r.tell(claimed); err != nil {
				return err
			}
		}
		if r.someParked {
			return errLater
		}
		return f(tx, late)
	})
}

// late are the changes that wait by now and are not among those that were claimed.
func (r *Replayer) late(ctx context.Context, claimed []change) (late []*seed, err error) {
	if err := r.sync(ctx); err != nil {
		return nil, err
	}
	known := make(map[int64]bool, len(claimed))
	for _, c := range claimed {
		known[c.id] = true
	}
	var waiting []change
	err = pgx.BeginFunc(ctx, r.Blue.Pool(), func(tx pgx.Tx) error {
		limit := len(claimed) + mostRecent
		return alongTheIndex(ctx, tx, func(tx pgx.Tx) error {
			all, err := changes(ctx, tx, claimedSQL+` ORDER BY c.txid LIMIT $1`, limit)
			if err == nil && len(all) == limit {
				return errLater
			}
			waiting = slices.DeleteFunc(all, func(c change) bool { return known[c.id] })
			return err
		})
	})
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	return r.collapse(waiting)
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

// compare brings the seeds' rows through a delta and holds it against green. It ends tx.
func (a *Audit) compare(ctx context.Context, tx pgx.Tx, seeds, late []*seed) (l look, err error) {
	r := a.replayer
	d := &delta{seeds: seeds}
	if d.rows, err = r.closure(ctx, tx, seeds); err != nil {
		return l, err
	}
	if l.racing, err = r.racing(ctx, tx, d, late); err != nil {
		return l, err
	}
	for _, set := range d.rows {
		l.rows += len(set.keys)
	}
	var from *pgx.Conn
	if l.rows > 0 {
		var dsn string
		if dsn, from, err = r.openScratch(ctx); err != nil {
			return l, err
		}
		defer hangUp(ctx, from)
		if err := r.transform(ctx, tx, from, dsn, d); err != nil {
			return l, fmt.Errorf("audit: %w", err)
		}
	}
	err = r.onGreen(ctx, func(green pgx.Tx) error {
		if l.differences, err = a.judge(ctx, from, green, d); err != nil {
			return err
		}
		return errDry
	})
	if errors.Is(err, errDry) {
		err = nil
	}
	return l, err
}

// racing says whether a delta has rows that late changes touch.
func (r *Replayer) racing(ctx context.Context, tx pgx.Tx, d *delta, late []*seed) (bool, error) {
	touched, err := r.touched(ctx, tx, late)
	if err != nil {
		return false, err
	}
	for _, s := range late { // a row that is gone, too
		if touched[s.table] == nil {
			touched[s.table] = &keySet{}
		}
		touched[s.table].add(s.key)
	}
	for table, set := range d.rows {
		if slices.ContainsFunc(set.keys, touched[table].has) {
			return true, nil
		}
	}
	return slices.ContainsFunc(d.seeds, func(s *seed) bool { return touched[s.table].has(s.key) }), nil
}

// judge holds what became of a delta against green.
func (a *Audit) judge(ctx context.Context, from *pgx.Conn, green pgx.Tx, d *delta) (found []Difference, err error) {
	r := a.replayer
	var stages []*stage
	if from != nil {
		if stages, err = r.stage(ctx, from, green); err != nil {
			return nil, err
		}
	}
	if err := r.settleColumns(ctx, green, stages); err != nil {
		return nil, err
	}
	staged := make(map[string]*stage)
	for _, s := range stages {
		staged[s.name] = s
		differences, err := s.unlike(ctx, green)
		if err != nil {
			return nil, fmt.Errorf("audit: table %q of green: %w", s.name, err)
		}
		found = append(found, differences...)
	}
	for _, table := range sortedNames(r.homes) {
		h := r.homes[table]
		if s := staged[h.table]; s != nil && !a.mixed[h.table] {
			if a.mixed[h.table], err = s.mixed(ctx, green, h, d.rows[table]); err != nil {
				return nil, fmt.Errorf("audit: table %q of green: %w", h.table, err)
			}
		}
		extra, err := a.leftovers(ctx, green, table, staged[h.table], d)
		if err != nil {
			return nil, fmt.Errorf("audit: table %q of green: %w", h.table, err)
		}
		found = append(found, extra...)
	}
	return found, nil
}

// unlike lists the staged rows that green has otherwise, or not at all.
func (s *stage) unlike(ctx context.Context, tx pgx.Tx) ([]Difference, error) {
	var columns []string
	for _, c := range s.columns {
		if !s.random(c.name) {
			columns = append(columns, c.name)
		}
	}
	if s.groups {
		return s.unlikeGroups(ctx, tx, columns)
	}
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "CASE WHEN " + misread("t", "n", names{c}) + " THEN " + literal(c) + " END"
	}
	sql := fmt.Sprintf(`
SELECT ARRAY[%s]::pg_catalog.text[], t.ctid IS NULL, pg_catalog.array_remove(ARRAY[%s]::pg_catalog.text[], NULL)
FROM %s n LEFT JOIN %s t ON %s WHERE t.ctid IS NULL OR %s LIMIT %d`,
		keyTexts(s.relation, s.match, "n"), strings.Join(parts, ", "), s.temp, s.rows(), s.equal("t", s.match, "n", s.match),
		misread("t", "n", columns), mostFound)
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Difference, error) {
		var key []*string
		var missing bool
		d := Difference{Table: s.name}
		if err := row.Scan(&key, &missing, &d.Columns); err != nil {
			return d, err
		}
		d.Key = keyWords(s.match, key)
		if missing {
			d.Kind, d.Columns = RowMissing, nil
		}
		return d, nil
	})
}

// misread is the condition that rows differ by the image of their values and read otherwise, too: an array may be stored in
// two ways that mean the same.
func misread(a, b string, columns names) string {
	return "(" + differ(a, b, columns) + " AND ROW(" + columns.of(a) + ")::pg_catalog.text OPERATOR(pg_catalog.<>) ROW(" + columns.of(b) + ")::pg_catalog.text)"
}

// unlikeGroups is unlike for rows of which several may have one key.
func (s *stage) unlikeGroups(ctx context.Context, tx pgx.Tx, columns names) ([]Difference, error) {
	side := func(alias, from string) string {
		return "SELECT ARRAY[" + keyTexts(s.relation, s.match, alias) + "]::pg_catalog.text[], ROW(" + columns.of(alias) + ")::pg_catalog.text FROM " + from
	}
	want := side("n", s.temp+" n")
	have := side("t", s.rows()+" t WHERE EXISTS (SELECT 1 FROM "+s.temp+" n WHERE "+s.equal("t", s.match, "n", s.match)+")")
	sql := fmt.Sprintf("SELECT key, true FROM (%[1]s EXCEPT ALL %[2]s) missing(key) UNION ALL SELECT key, false FROM (%[2]s EXCEPT ALL %[1]s) extra(key) LIMIT %[3]d", want, have, mostFound)
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Difference, error) {
		var key []*string
		var missing bool
		err := row.Scan(&key, &missing)
		d := Difference{Table: s.name, Key: keyWords(s.match, key), Kind: RowExtra}
		if missing {
			d.Kind = RowMissing
		}
		return d, err
	})
}

// mixed says whether the stage has rows in a table's home that are of no loaded row: something else feeds it as well.
func (s *stage) mixed(ctx context.Context, tx pgx.Tx, h home, loaded *keySet) (some bool, err error) {
	sql := "SELECT EXISTS (SELECT 1 FROM " + s.temp + " n"
	var args []any
	if loaded != nil && len(loaded.keys) > 0 {
		sql += " WHERE NOT EXISTS (SELECT 1 FROM " + unnest(s.relation, h.key, "k") + " WHERE " + s.equal("n", h.key, "k", numbered(len(h.key))) + ")"
		args = transpose(loaded.keys, len(h.key))
	}
	err = tx.QueryRow(ctx, sql+")", args...).Scan(&some)
	return some, err
}

// leftovers are rows of green that a table's rows should have left: those that no rule let through, and those that blue has
// not any more.
func (a *Audit) leftovers(ctx context.Context, tx pgx.Tx, table string, s *stage, d *delta) ([]Difference, error) {
	r := a.replayer
	h := r.homes[table]
	var keys []tuple
	if set := d.rows[table]; set != nil {
		keys = append(keys, set.keys...)
	}
	if a.coverage.Passes > 0 && a.alone(table) { // by then it is known what feeds the table
		for _, gone := range d.seeds {
			if gone.table == table && !d.rows[table].has(gone.key) {
				keys = append(keys, gone.key)
			}
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	rel := r.green[h.table]
	sql := "SELECT " + keyTexts(rel, h.key, "t") + " FROM " + rel.rows() + " t JOIN " + unnest(rel, h.key, "k") + " ON " + rel.equal("t", h.key, "k", numbered(len(h.key)))
	if s != nil {
		sql += " WHERE NOT EXISTS (SELECT 1 FROM " + s.temp + " n WHERE " + rel.equal("n", h.key, "t", h.key) + ")"
	}
	found, err := tuples(ctx, tx, fmt.Sprintf("%s LIMIT %d", sql, mostFound), keys, len(h.key))
	return extras(h, found), err
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

// Difference is a row of green that is not what the migrations make of blue.
type Difference struct {
	Kind    DifferenceKind
	Table   string   // of green
	Key     string   // as "id=42"
	Columns []string // that differ; none where a row is missing, or is one too many
}

// DifferenceKind is what is wrong with a row of green.
type DifferenceKind string

// The kinds of differences.
const (
	RowDiffers DifferenceKind = ""
	RowMissing DifferenceKind = "missing"
	RowExtra   DifferenceKind = "extra"
)

func (d Difference) String() string {
	row := fmt.Sprintf("table %q, row (%s)", d.Table, d.Key)
	switch d.Kind {
	case RowMissing:
		return row + " is missing"
	case RowExtra:
		return row + " is not to be there"
	}
	return row + " has other values in " + strings.Join(d.Columns, ", ")
}

// AuditError says that green is not what the migrations make of blue.
type AuditError struct{ Differences []Difference }

func (e *AuditError) Error() string {
	parts := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		parts[i] = d.String()
	}
	return "audit: green is not what the migrations make of blue: " + strings.Join(parts, "; ")
}

// Hint says what a person can do.
func (e *AuditError) Hint() string {
	return `blue serves, nothing is lost; "tideover verify --full" lists all that differs; find out what has written to green beside replay (a server, a job, a trigger), or what the migrations make of such a row only in company of others (follow: in the profile), then roll back and begin anew`
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *AuditError) ExitCode() int { return 4 }

func extras(h home, keys []tuple) (found []Difference) {
	for _, k := range keys {
		key := make([]*string, len(k))
		for i := range k {
			key[i] = &k[i]
		}
		found = append(found, Difference{Kind: RowExtra, Table: h.table, Key: keyWords(h.key, key)})
	}
	return found
}

func keyWords(columns []string, key []*string) string {
	parts := make([]string, len(key))
	for i, v := range key {
		parts[i] = columns[i] + " is NULL"
		if v != nil {
			parts[i] = columns[i] + "=" + *v
		}
	}
	return strings.Join(parts, ", ")
}
