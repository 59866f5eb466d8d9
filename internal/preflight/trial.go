package preflight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// trial migrates an empty copy of blue's schema in a scratch database on green's server, and asks blue for the rows
// that the constraints which are new in it would refuse.
func (c *check) trial(ctx context.Context) error {
	if c.Migrator == nil {
		return nil
	}
	scratch, err := postgres.NewThrowaway(ctx, c.Green, "tideover_preflight")
	if err != nil {
		if lost(ctx, err) != nil {
			return err
		}
		c.add(Fail, "trial", fmt.Sprintf("no scratch database on green's server: %v", err), "ALTER ROLE … CREATEDB on green", 0)
		return nil
	}
	defer func() { _ = scratch.Drop(ctx) }() // what is left, the next one removes
	dsn := scratch.DSN
	if err := snapshot.Schema(ctx, c.Blue.DSN(), dsn, snapshot.SchemaOptions{Profile: c.Profile, BinDir: c.BinDir}); err != nil {
		return c.failed(ctx, "blue's schema cannot be copied", err)
	}
	before, err := c.catalog(ctx, dsn)
	if err != nil {
		return err
	}
	stood, err := c.objects(ctx, dsn)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := c.Migrator.Migrate(ctx, dsn); err != nil {
		return c.failed(ctx, "the migrations fail on an empty copy of blue's schema", err)
	}
	c.add(OK, "trial", fmt.Sprintf("the migrations pass on an empty copy of blue's schema, in %s", time.Since(began).Round(time.Millisecond)), "", 0)
	after, err := c.catalog(ctx, dsn)
	if err != nil {
		return err
	}
	stand, err := c.objects(ctx, dsn)
	if err != nil {
		return err
	}
	if slices.Equal(c.shape(before, stood), c.shape(after, stand)) {
		c.add(Warn, "trial", "the migrations find nothing to do on blue's schema: green would have the old one",
			"see that command or source is the new release's, and not that of the version that blue has", 0)
	}
	c.dropped(stood, stand)
	return c.offenders(ctx, before, after)
}

// shape is what a schema has, but for the tables that migrations are noted in, in an order of its own.
func (c *check) shape(demands []demand, objects []object) []string {
	noted := func(table string) bool {
		table = table[strings.LastIndexByte(table, '.')+1:] // in whatever schema
		return table == "goose_db_version" || slices.Contains(c.Profile.Bookkeeping, table)
	}
	var all []string
	for _, d := range demands {
		if !noted(d.Table) {
			all = append(all, d.key())
		}
	}
	for _, o := range objects {
		if !noted(o.On) {
			all = append(all, strings.Join([]string{o.Kind, o.Name, o.On, o.Definition}, "\x00"))
		}
	}
	slices.Sort(all)
	return all
}

func (c *check) failed(ctx context.Context, text string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	hint := "mend the cause; nothing was changed on blue"
	if h, ok := err.(interface{ Hint() string }); ok {
		hint = h.Hint()
	}
	c.add(Fail, "trial", fmt.Sprintf("%s: %v", text, err), hint, 0)
	return nil
}

// offenders asks blue about the demands that are new. One on a table or column that the migrations make cannot be asked
// there, but for JSON that moves to a column of the same name: the rules and a rehearsal are for those.
func (c *check) offenders(ctx context.Context, before, after []demand) error {
	old, columns := map[string]bool{}, map[[2]string]bool{}
	tables, left := map[string]bool{}, map[string]bool{}
	for _, d := range before {
		old[d.key()], tables[d.Table] = true, true
		for _, col := range d.Columns {
			columns[[2]string{d.Table, col}] = true
		}
	}
	for _, d := range after {
		left[d.Table] = true
	}
	if err := cleanup.Provide(ctx, c.blue); err != nil {
		return err
	}
	// Foreign keys last: what the rules before them set aside leaves more rows without a parent.
	slices.SortStableFunc(after, func(a, b demand) int {
		return cmp.Compare(len(a.Needs), len(b.Needs))
	})
	unasked, asked := 0, map[string]bool{}
	for _, d := range after {
		if old[d.key()] {
			continue
		}
		there := !slices.ContainsFunc(d.Needs, func(n string) bool { return !tables[n] }) &&
			!slices.ContainsFunc(d.Columns, func(col string) bool { return !columns[[2]string{d.Table, col}] })
		these := []demand{d}
		if !there {
			these = moved(d, before, left)
		}
		if len(these) == 0 {
			unasked++
		}
		for _, d := range these {
			if asked[d.key()] || c.converted(d) {
				continue
			}
			asked[d.key()] = true
			if err := c.ask(ctx, d); err != nil {
				return err
			}
		}
	}
	if unasked > 0 {
		c.add(OK, "constraints", fmt.Sprintf("%d new constraints are on tables or columns that the migrations make; only a rehearsal can tell", unasked), "", 0)
	}
	return nil
}

// moved puts a demand for JSON on a column of a new table to the columns of that name, no JSON yet, of tables that the migrations
// drop: that is where its values must come from.
func moved(d demand, before []demand, left map[string]bool) []demand {
	var found []demand
	for _, b := range before {
		if d.Kind == "json" && b.Kind == "type" && !left[b.Table] && len(b.Columns) == 1 && b.Columns[0] == d.Column {
			from := d
			from.Table, from.Columns = b.Table, b.Columns
			found = append(found, from)
		}
	}
	return found
}

// ask counts the rows of blue that do not meet d, and those of them that no rule of the profile takes.
func (c *check) ask(ctx context.Context, d demand) error {
	const name = "constraints"
	total, all, uncovered, orphaned, err := c.count(ctx, d)
	if err := lost(ctx, err); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	switch {
	case postgres.Code(err) == pgerrcode.QueryCanceled:
		c.add(Warn, name, fmt.Sprintf("the new %s: blue's rows could not be counted within %s", d, c.MaxQuery),
			uncountable, 0)
	case err != nil:
		c.add(Warn, name, fmt.Sprintf("the new %s: blue could not be asked (SQLSTATE %s)", d, postgres.Code(err)), "look by hand", 0)
	case all == 0 && orphaned == 0, all == 0 && c.ruled(d):
	case all == total && (d.Kind == "type" || d.Kind == "json"):
		// A migration that took them as they are would fail on every database. What is proposed would take a whole table away.
		c.add(OK, name, fmt.Sprintf("the new %s: none of the %d rows of blue meets it, so the migrations have to convert them; the upgrade in miniature tells", d, all), "", 0)
	case uncovered == total && total > 1:
		c.add(Warn, name, fmt.Sprintf("the new %s: none of the %d rows of blue meets it", d, all),
			"the upgrade in miniature tells whether the migrations mend them; else they have to be mended on blue, or by a rule of yours: none is proposed that would set a whole table aside", all)
	case uncovered == 0 && all > 0: // each rule has said how many; one that takes rows without a parent takes those that lose it, too
	default:
		text := fmt.Sprintf("the new %s: %d rows of blue do not meet it", d, uncovered)
		if orphaned > 0 {
			text += fmt.Sprintf(", and %d more will not when the rules have set their parents aside", orphaned)
		}
		rule := d.rule(uncovered + orphaned)
		c.findings = append(c.findings, Finding{Level: Warn, Check: name, Text: text,
			Hint: fmt.Sprintf("give the profile a rule for them; tideover plan --connect proposes one, %q", rule.Name), Rows: uncovered, Rule: &rule})
	}
	return nil
}

const uncountable = "raise max_query of the preflight step, or count them on a replica"

// converted says whether d asks a new type of a column whose old values the migrations convert themselves, as the profile says.
func (c *check) converted(d demand) bool {
	return (d.Kind == "type" || d.Kind == "json") && len(d.Columns) == 1 &&
		slices.ContainsFunc(c.Profile.Converted, func(r plan.ColumnRef) bool { return r.Table == d.Table && r.Column == d.Columns[0] })
}

// count counts the rows, those that do not meet d, those of them that no rule of the profile takes, and those others that will not
// meet it, a foreign key, once the rules that are there or proposed have set their parents aside.
func (c *check) count(ctx context.Context, d demand) (total, all, uncovered, orphaned int64, err error) {
	parents := "false"
	if d.Orphaned != "" {
		if taken := c.conditions(d.Needs[0], true); len(taken) > 0 {
			parents = fmt.Sprintf(d.Orphaned, strings.Join(taken, " OR "))
		}
	}
	covered := append(c.conditions(d.Table, false), "false")
	sql := fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE bad), count(*) FILTER (WHERE bad AND NOT covered), count(*) FILTER (WHERE orphaned AND NOT covered AND NOT bad) "+
		"FROM (SELECT coalesce(%s, false) AS bad, coalesce(%s, false) AS covered, coalesce(%s, false) AS orphaned FROM %s t) q",
		d.Where, strings.Join(covered, " OR "), parents, pgx.Identifier{d.Table}.Sanitize())
	err = pgx.BeginTxFunc(ctx, c.blue, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, sql).Scan(&total, &all, &uncovered, &orphaned)
	})
	return total, all, uncovered, orphaned, err
}

// ruled says whether the profile has the rule for d that would be proposed, whatever rows there are now.
func (c *check) ruled(d demand) bool {
	return slices.ContainsFunc(c.Profile.Rules, func(r plan.Rule) bool { return r.Table == d.Table && strings.TrimSpace(r.Where) == d.Where })
}

// conditions are those of the profile's rules for a table and, with away, of those alone that set rows aside, together with the
// rules proposed so far.
func (c *check) conditions(table string, away bool) []string {
	rules := c.Profile.Rules
	if away {
		rules = slices.Concat(rules, Rules(c.findings))
	}
	var found []string
	for _, r := range rules {
		if r.Phase == "before" && r.Table == table && !c.broken[r.Name] && strings.TrimSpace(r.Where) != "" && (!away || r.Quarantine) {
			found = append(found, "(("+r.Where+"\n) IS TRUE)")
		}
	}
	return found
}
