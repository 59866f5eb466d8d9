package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
)

// What goes back is what a row is on green, and not what was done to it: read under green's fence, it is the last word. So the order of
// the changes does not matter, and bringing a row twice is bringing it once. Blue's clients may have written it meanwhile only
// where the way back had ended before; that is what the ledger of carried changes is for.

// deed is what becomes of one row of blue.
type deed struct {
	of    *returning
	place int64 // in the table of rows that go back; 0: the row is gone
	key   tuple // of blue's table, as text
	// The row is not the one that blue has under its key, where it has any.
	another bool
	err     error // why blue can't hold it
}

func (d *deed) String() string { return describe(d.of.Table, d.of.Key, d.key) }

// returning is a table with rows that go back.
type returning struct {
	carrier
	rel  *relation // of blue
	temp string
	// The column of the temporary table that numbers its rows: no other is called so.
	place string
	// Noted keys whose rows on green are not those that had them before.
	others *keySet
}

// notHeldError says that a row is not on blue what it is on green.
type notHeldError struct{ table string }

func (e *notHeldError) Error() string {
	return "blue's column types, or what blue does by itself, make another row of it"
}

// carry brings the rows that green's clients have written since the switch, of the tables that the profile names. Rows that blue can't
// hold are left out, and named in Parked.
func (v *Reverse) carry(ctx context.Context, epoch string) (a Applied, err error) {
	t, err := readTrail(ctx, v.green)
	if err != nil {
		return a, err
	}
	if len(t.Carriers) > 0 {
		if a, err = v.carryRows(ctx, epoch, t, false); err != nil {
			return a, err
		}
	}
	if t.Homes == nil {
		return a, nil
	}
	// Numbers that green's clients have are not given to others.
	if _, err := snapshot.AdvanceSequences(ctx, v.green, v.blue, t.renamed(), nil); err != nil {
		return a, fmt.Errorf("blue: %w", err)
	}
	return a, nil
}

// carryRows brings the rows that are noted and not brought yet. While green's clients go on, what blue does not take is not named, and
// stays noted: what it hangs on may come.
func (v *Reverse) carryRows(ctx context.Context, epoch string, t trail, whileServing bool) (a Applied, err error) {
	blue, err := catalog(ctx, v.blue.Pool(), schemasOf(v.profile))
	if err != nil {
		return a, fmt.Errorf("blue: %w", err)
	}
	green, err := catalog(ctx, v.green.Pool(), schemasOf(v.profile))
	if err != nil {
		return a, fmt.Errorf("green: %w", err)
	}
	var ordered []*returning
	for _, rel := range parentsFirst(unringed(blue)) {
		if i := slices.IndexFunc(t.Carriers, func(c carrier) bool { return c.Table == rel.name }); i >= 0 {
			ordered = append(ordered, &returning{carrier: t.Carriers[i], rel: blue[rel.name], temp: fmt.Sprintf("tideover_home_%d", i)})
		}
	}
	if len(ordered) != len(t.Carriers) {
		return a, fmt.Errorf("carry rows back to blue: of the tables %v some are not there any more", tablesOf(t.Carriers))
	}
	err = snapshotOf(ctx, v.green, schemaOf(v.profile), func(from pgx.Tx) error {
		noted, keys, err := v.noted(ctx, from, epoch, ordered)
		if err != nil || len(noted) == 0 {
			return err
		}
		return pgx.BeginFunc(ctx, v.blue.Pool(), func(tx pgx.Tx) error {
			if err := within(ctx, tx, schemaOf(v.profile)); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '10s'`); err != nil {
				return err
			}
			if err := fires(ctx, tx); err != nil {
				return err
			}
			wake, err := lullTables(ctx, tx, ordered)
			if err != nil {
				return err
			}
			var deeds []*deed
			for _, table := range ordered {
				found, err := fetch(ctx, from, tx, table, green[table.Home], keys[table.Table])
				if err != nil {
					return fmt.Errorf("table %q: %w", table.Table, err)
				}
				deeds = append(deeds, found...)
			}
			var failed []*deed
			if a, failed, err = settleDeeds(ctx, tx, &heirs{from, blue, green, t.Homes, schemasOf(v.profile)}, ordered, deeds); err != nil {
				return err
			}
			for _, h := range wake {
				if _, err := tx.Exec(ctx, h.alter(false)); err != nil {
					return &habitError{h, err}
				}
			}
			if whileServing {
				return enter(ctx, tx, epoch, notesBut(noted, failed))
			}
			for _, d := range failed {
				a.Parked = append(a.Parked, fmt.Sprintf("%s: %v", d, d.err))
			}
			if err := name(ctx, tx, epoch, a.Parked); err != nil {
				return err
			}
			return enter(ctx, tx, epoch, notesBut(noted, nil))
		})
	})
	if err != nil {
		return Applied{}, fmt.Errorf("carry rows back to blue: %w", err)
	}
	if whileServing {
		return a, nil
	}
	a.Parked, err = v.notCarried(ctx, epoch)
	return a, err
}

// fires returns a *replicaError where foreign keys are not looked at in the session.
func fires(ctx context.Context, tx pgx.Tx) error {
	var role string
	if err := tx.QueryRow(ctx, `SELECT pg_catalog.current_setting('session_replication_role')`).Scan(&role); err != nil || role == "origin" {
		return err
	}
	return &replicaError{role}
}

// replicaError says that somebody has set our sessions so that no foreign key holds in them.
type replicaError struct{ role string }

func (e *replicaError) Error() string {
	return fmt.Sprintf("our sessions on blue begin with session_replication_role = %s: foreign keys would not be looked at in them", e.role)
}

// Hint says what can be done.
func (e *replicaError) Hint() string {
	return "take it back: ALTER DATABASE … or ALTER ROLE … RESET session_replication_role, and type rollback again"
}

// name writes down what could not be brought, on blue, where there is any.
func name(ctx context.Context, tx pgx.Tx, epoch string, parked []string) error {
	if len(parked) == 0 {
		return nil
	}
	const table = `
CREATE TABLE IF NOT EXISTS tideover.not_carried (
	number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	epoch uuid NOT NULL,
	what text NOT NULL
);` + postgres.KeepSQL
	if _, err := tx.Exec(ctx, table, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO tideover.not_carried (epoch, what) SELECT $1, unnest($2::text[])`, epoch, parked); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// notCarried is all that could not be brought. What has been tried before is not tried again, and named again: nobody may have heard
// of it.
func (v *Reverse) notCarried(ctx context.Context, epoch string) ([]string, error) {
	var there bool
	if err := v.blue.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.not_carried') IS NOT NULL`).Scan(&there); err != nil || !there {
		return nil, err
	}
	return collect[string](ctx, v.blue.Pool(), "read the ledger on blue", `SELECT what FROM tideover.not_carried WHERE epoch = $1 ORDER BY number`, epoch)
}

func tablesOf(all []carrier) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Table
	}
	return names
}

// lullTables puts what some of blue's tables do by themselves to sleep until the end of tx: green's clients have had its like on green.
func lullTables(ctx context.Context, tx pgx.Tx, tables []*returning) ([]habit, error) {
	all, err := habits(ctx, tx, awakeSQL)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(h habit) bool {
		name := pgx.Identifier{h.Schema, h.Table}.Sanitize()
		return h.Kind == anEvent || !slices.ContainsFunc(tables, func(t *returning) bool { return t.rel.ident() == name || slices.Contains(t.rel.partitions, name) })
	})
	for _, h := range all {
		if _, err := tx.Exec(ctx, h.alter(true)); err != nil {
			return nil, &habitError{h, err}
		}
	}
	return all, nil
}

// note is what a trigger on green has noted.
type note struct {
	ID      int64
	Table   string // of blue
	Key     []byte
	Another bool

	key tuple
}

// notesBut are the numbers of notes but for those of some rows. Where it is not known which notes are such a row's, none of its table's are
// among them.
func notesBut(all []note, failed []*deed) (numbers []int64) {
	rows, unknown := make(map[string]*keySet), make(map[string]bool)
	for _, d := range failed {
		if rows[d.of.Table] == nil {
			rows[d.of.Table] = &keySet{}
		}
		rows[d.of.Table].add(d.key)
		if !slices.ContainsFunc(all, func(n note) bool { return n.Table == d.of.Table && slices.Equal(n.key, d.key) }) {
			unknown[d.of.Table] = true
		}
	}
	for _, n := range all {
		if !unknown[n.Table] && !rows[n.Table].has(n.key) {
			numbers = append(numbers, n.ID)
		}
	}
	return numbers
}

// noted are what was noted of the rows that green's clients have written, and their keys by table of blue, but for what has been carried
// back before.
func (v *Reverse) noted(ctx context.Context, green pgx.Tx, epoch string, tables []*returning) (found []note, keys map[string]*keySet, err error) {
	there := make(map[string][]string)
	others := make(map[string]*keySet)
	for _, t := range tables {
		t.others = &keySet{}
		there[t.Table], others[t.Table] = t.There, t.others
	}
	rows, err := green.Query(ctx, `SELECT h.id, h.table_name, h.key::text, coalesce((pg_catalog.to_jsonb(h) ->> 'another')::boolean, false) FROM tideover.homebound h WHERE table_name = ANY ($1) ORDER BY id`, sortedNames(there))
	if err != nil {
		return nil, nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[note])
	if err != nil {
		return nil, nil, err
	}
	var numbers []int64
	for _, n := range all {
		numbers = append(numbers, n.ID)
	}
	done, err := collect[int64](ctx, v.blue.Pool(), "read the ledger on blue", `SELECT change_id FROM tideover.applied WHERE epoch = $1 AND change_id = ANY ($2)`, epoch, numbers)
	if err != nil {
		return nil, nil, err
	}
	before := make(map[int64]bool, len(done))
	for _, n := range done {
		before[n] = true
	}
	keys = make(map[string]*keySet)
	for _, n := range all {
		if before[n.ID] {
			continue
		}
		values, err := texts(n.Key)
		if err != nil {
			return nil, nil, err
		}
		k, ok := (&change{key: values}).pick(there[n.Table])
		if !ok {
			return nil, nil, fmt.Errorf("a noted key of table %q is not whole: %s", n.Table, n.Key)
		}
		if keys[n.Table] == nil {
			keys[n.Table] = &keySet{}
		}
		keys[n.Table].add(k)
		if n.Another {
			others[n.Table].add(k)
		}
		n.key = k
		found = append(found, n)
	}
	return found, keys, nil
}

// fetch reads what became of the rows of a table and puts those that are there into a temporary table on blue.
func fetch(ctx context.Context, from, tx pgx.Tx, t *returning, home *relation, keys *keySet) (deeds []*deed, err error) {
	if keys == nil {
		return nil, nil
	}
	if home == nil {
		return nil, fmt.Errorf("green has no table %q any more", t.Home)
	}
	for t.place = "place"; slices.ContainsFunc(t.Columns, func(c carried) bool { return c.Column == t.place }); {
		t.place += "_"
	}
	columns := []string{t.place + " bigint PRIMARY KEY"}
	names := []string{t.place}
	for _, c := range t.Columns {
		columns, names = append(columns, pgx.Identifier{c.Column}.Sanitize()+" text"), append(names, c.Column)
	}
	if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE "+t.temp+" ("+strings.Join(columns, ", ")+") ON COMMIT DROP"); err != nil {
		return nil, err
	}
	wanted := unnest(home, t.There, "k")
	same := home.equal("g", t.There, "k", numbered(len(t.There)))
	var there [][]any
	width := len(t.There)
	found, err := tuplesWithNull(ctx, from, "SELECT DISTINCT "+keyTexts(home, t.There, "g")+", "+t.values()+" FROM "+home.rows()+" g WHERE EXISTS (SELECT FROM "+wanted+" WHERE "+same+")",
		transpose(keys.keys, width), width+len(t.Columns))
	if err != nil {
		return nil, err
	}
	for i, row := range found {
		d := &deed{of: t, place: int64(i) + 1}
		for _, k := range row[:width] {
			d.key = append(d.key, *k)
		}
		d.another = t.others.has(d.key)
		deeds = append(deeds, d)
		line := []any{d.place}
		for _, value := range row[width:] {
			line = append(line, value)
		}
		there = append(there, line)
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"pg_temp", t.temp}, names, pgx.CopyFromRows(there)); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "ANALYZE pg_temp."+t.temp); err != nil {
		return nil, err
	}
	gone, err := tuples(ctx, from, "SELECT "+textsOf(width)+" FROM "+wanted+" WHERE NOT EXISTS (SELECT FROM "+home.rows()+" g WHERE "+same+")", keys.keys, width)
	if err != nil {
		return nil, err
	}
	for _, k := range gone {
		deeds = append(deeds, &deed{of: t, key: k})
	}
	return deeds, nil
}

// textsOf are the columns of [unnest] as text.
func textsOf(n int) string {
	parts := numbered(n)
	for i, name := range parts {
		parts[i] = "k." + name + "::pg_catalog.text"
	}
	return strings.Join(parts, ", ")
}

func tuplesWithNull(ctx context.Context, tx pgx.Tx, sql string, args []any, width int) ([][]*string, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]*string, error) {
		values := make([]*string, width)
		into := make([]any, width)
		for i := range values {
			into[i] = &values[i]
		}
		return values, row.Scan(into...)
	})
}

// settleDeeds makes blue's rows what green's are. All go at once, where blue takes them; where it does not, those that it takes do, and the
// others are returned.
func settleDeeds(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed) (a Applied, failed []*deed, err error) {
	var never []*deed
	if len(deeds) > many {
		refused, err := tryDeeds(ctx, tx, h, tables, deeds, &a, false)
		if err != nil || refused == nil {
			return a, nil, err
		}
		if deeds, never, err = hopeless(ctx, tx, h, tables, deeds); err != nil {
			return a, nil, err
		}
	}
	left, err := attemptDeeds(ctx, tx, h, tables, deeds, &a, false)
	for before := len(deeds); err == nil && len(left) > 0 && len(left) < before; {
		before = len(left)
		left, err = attemptDeeds(ctx, tx, h, tables, left, &a, false)
	}
	if err != nil {
		return a, nil, err
	}
	var anew []*deed
	left = slices.DeleteFunc(left, func(d *deed) bool {
		if d.writtenAnew() {
			anew = append(anew, d)
			return true
		}
		return false
	})
	if anew, err = attemptDeeds(ctx, tx, h, tables, anew, &a, true); err != nil {
		return a, nil, err
	}
	return a, slices.Concat(never, left, anew), nil
}

// writtenAnew says whether a row that blue does not take may fit where it is deleted first: it has a value that another such row leaves,
// or a number that can be inserted and not updated.
func (d *deed) writtenAnew() bool {
	if d.place == 0 {
		return false
	}
	if errors.As(d.err, new(*notHeldError)) {
		return slices.ContainsFunc(d.of.rel.columns, func(c column) bool { return c.identity })
	}
	code := postgres.Code(d.err)
	return code == pgerrcode.UniqueViolation || code == pgerrcode.ExclusionViolation
}

// attemptDeeds does all of them, or halves until it is known which can't be done. The rest is returned.
func attemptDeeds(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed, a *Applied, anew bool) (left []*deed, err error) {
	if len(deeds) == 0 {
		return nil, nil
	}
	refused, err := tryDeeds(ctx, tx, h, tables, deeds, a, anew)
	if err != nil || refused == nil {
		return nil, err
	}
	if len(deeds) == 1 {
		deeds[0].err = refused
		return deeds, nil
	}
	half := len(deeds) / 2
	for _, part := range [][]*deed{deeds[:half], deeds[half:]} {
		some, err := attemptDeeds(ctx, tx, h, tables, part, a, anew)
		if err != nil {
			return nil, err
		}
		left = append(left, some...)
	}
	return left, nil
}

// tryDeeds does all of them, or says why blue refuses them.
func tryDeeds(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed, a *Applied, anew bool) (refused, err error) {
	var did Applied
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { // a savepoint
		did, err = do(ctx, tx, h, tables, deeds, anew)
		return err
	})
	if poisonous(err) || errors.As(err, new(*notHeldError)) || errors.As(err, new(*heirError)) {
		return err, nil
	}
	if err == nil {
		a.add(did)
	}
	return nil, err
}

// do deletes what is gone, children first, and writes what is there, parents first. Where something that green has hangs on what is gone, it
// goes last: what is written may hang on other rows by then. Rows that refer to each other in a ring do so at the end. With anew, rows that
// blue has are deleted first.
func do(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed, anew bool) (a Applied, err error) {
	if _, err := tx.Exec(ctx, `SET CONSTRAINTS ALL DEFERRED`); err != nil {
		return a, err
	}
	gone := make(map[string]*keySet)
	for _, d := range deeds {
		if d.place == 0 {
			if gone[d.of.Table] == nil {
				gone[d.of.Table] = &keySet{}
			}
			gone[d.of.Table].add(d.key)
		}
	}
	remove := func(t *returning) error {
		keys := gone[t.Table].keys
		if err := h.none(ctx, tx, t.rel, t.Key, keys, map[string]*keySet{t.Table: gone[t.Table].copied()}); err != nil {
			return err
		}
		n := len(t.Key)
		tag, err := tx.Exec(ctx, "DELETE FROM "+t.rel.rows()+" t USING "+unnest(t.rel, t.Key, "k")+" WHERE "+t.rel.equal("t", t.Key, "k", numbered(n)), transpose(keys, n)...)
		if err != nil {
			return err
		}
		a.Deleted += tag.RowsAffected()
		return nil
	}
	written, others := make(map[string][]int64), make(map[string][]int64)
	for _, d := range deeds {
		if d.place > 0 {
			written[d.of.Table] = append(written[d.of.Table], d.place)
		}
		if d.another {
			others[d.of.Table] = append(others[d.of.Table], d.place)
		}
	}
	for i, t := range tables {
		if ring := t.ring(tables[i+1:], func(table string) bool { return gone[table] != nil }); gone[t.Table] != nil && len(ring) > 0 {
			if err := t.letGo(ctx, tx, ring, gone[t.Table].keys); err != nil {
				return a, err
			}
		}
	}
	var last []*returning
	for _, t := range slices.Backward(tables) {
		if gone[t.Table] == nil {
			continue
		}
		if err := remove(t); errors.As(err, new(*heirError)) {
			last = append(last, t)
		} else if err != nil {
			return a, err
		}
	}
	rings := make(map[string][]string)
	for i, t := range tables {
		places := written[t.Table]
		if len(places) == 0 {
			continue
		}
		if err := t.blank(ctx, tx, others[t.Table]); err != nil {
			return a, err
		}
		if anew {
			if err := t.anew(ctx, tx, h, places); err != nil {
				return a, err
			}
		}
		rings[t.Table] = t.ring(tables[i+1:], func(table string) bool { return len(written[table]) > 0 })
		n, err := t.put(ctx, tx, places, rings[t.Table])
		if err != nil {
			return a, err
		}
		a.Upserted += n
	}
	for _, t := range tables {
		if len(rings[t.Table]) > 0 {
			if err := t.close(ctx, tx, written[t.Table], rings[t.Table]); err != nil {
				return a, err
			}
		}
	}
	for _, t := range last {
		if err := remove(t); err != nil {
			return a, err
		}
	}
	_, err = tx.Exec(ctx, `SET CONSTRAINTS ALL IMMEDIATE`)
	return a, err
}

// written are the rows of some places ($1), as blue's columns; those of ring have no value yet.
func (t *returning) written(ring []string) (all []string, from string) {
	var casts []string
	for _, c := range t.Columns {
		column, _ := t.rel.column(c.Column)
		name := pgx.Identifier{c.Column}.Sanitize()
		value := name
		if slices.Contains(ring, c.Column) {
			value = "NULL"
		}
		all, casts = append(all, name), append(casts, value+"::"+column.typ+" AS "+name)
	}
	return all, "(SELECT " + strings.Join(casts, ", ") + " FROM pg_temp." + t.temp + " WHERE " + t.place + " = ANY ($1)) n"
}

// left are the columns that are written, and that green has not got.
func (t *returning) left() (columns names) {
	for _, name := range t.rel.writable() {
		if !slices.ContainsFunc(t.Columns, func(c carried) bool { return c.Column == name }) {
			columns = append(columns, name)
		}
	}
	return columns
}

// blank takes from the rows that blue has under the keys of others what green has not got: it is not theirs.
func (t *returning) blank(ctx context.Context, tx pgx.Tx, others []int64) error {
	var set []string
	for _, name := range t.left() {
		if c, _ := t.rel.column(name); !c.identity {
			set = append(set, pgx.Identifier{name}.Sanitize()+" = DEFAULT")
		}
	}
	if len(set) == 0 || len(others) == 0 {
		return nil
	}
	_, rows := t.written(nil)
	_, err := tx.Exec(ctx, "UPDATE "+t.rel.rows()+" t SET "+strings.Join(set, ", ")+" FROM "+rows+" WHERE "+t.rel.equal("t", t.Key, "n", t.Key), others)
	return err
}

// put writes rows of the temporary table, and looks whether blue has them as green does; where there is a ring, close does.
func (t *returning) put(ctx context.Context, tx pgx.Tx, places []int64, ring []string) (written int64, err error) {
	all, rows := t.written(ring)
	var set []string
	for _, c := range t.Columns {
		if column, _ := t.rel.column(c.Column); !column.identity {
			name := pgx.Identifier{c.Column}.Sanitize()
			set = append(set, name+" = n."+name)
		}
	}
	same := t.rel.equal("t", t.Key, "n", t.Key)
	if len(set) > 0 {
		tag, err := tx.Exec(ctx, "UPDATE "+t.rel.rows()+" t SET "+strings.Join(set, ", ")+" FROM "+rows+" WHERE "+same, places)
		if err != nil {
			return 0, err
		}
		written += tag.RowsAffected()
	}
	list := strings.Join(all, ", ")
	tag, err := tx.Exec(ctx, "INSERT INTO "+t.rel.ident()+" ("+list+") OVERRIDING SYSTEM VALUE SELECT "+list+" FROM "+rows+
		" WHERE NOT EXISTS (SELECT FROM "+t.rel.rows()+" t WHERE "+same+")", places)
	if err != nil {
		return 0, err
	}
	written += tag.RowsAffected()
	if len(ring) > 0 {
		return written, nil
	}
	return written, t.alike(ctx, tx, places)
}

// alike returns a *notHeldError where blue has not got the rows of some places as they came.
func (t *returning) alike(ctx context.Context, tx pgx.Tx, places []int64) error {
	var bad int64
	if err := tx.QueryRow(ctx, t.differingSQL(), places).Scan(&bad); err != nil {
		return err
	}
	if bad > 0 {
		return &notHeldError{t.Table}
	}
	return nil
}

// differingSQL counts the rows of some places that blue has not got as they came, by their texts.
func (t *returning) differingSQL() string {
	var alike, keys []string
	for _, c := range t.Columns {
		column, _ := t.rel.column(c.Column)
		name := pgx.Identifier{c.Column}.Sanitize()
		if slices.Contains(t.Key, c.Column) {
			keys = append(keys, "t."+name+" "+column.equals+" n."+name+"::"+column.typ)
		}
		if !c.Made {
			alike = append(alike, "t."+name+`::pg_catalog.text COLLATE "C" IS NOT DISTINCT FROM n.`+name+` COLLATE "C"`)
		}
	}
	return "SELECT count(*) FROM pg_temp." + t.temp + " n WHERE n." + t.place + " = ANY ($1) AND NOT EXISTS (SELECT FROM " + t.rel.rows() + " t WHERE " +
		strings.Join(append(keys, alike...), " AND ") + ")"
}
