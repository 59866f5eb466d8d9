package plan

import (
	"net/http"
	"slices"
	"strings"
)

// unique finds names that are there twice in one list.
func (d *decoder) unique(list, name string, all []string) {
	seen := make(map[string]int)
	for i, n := range all {
		if first, ok := seen[n]; ok && n != "" {
			d.add(join(item(list, i), name), "", "%s is in %s already", quoted(n), item(list, first))
			continue
		}
		seen[n] = i
	}
}

func names[T any](all []T, name func(T) string) []string {
	out := make([]string, len(all))
	for i, x := range all {
		out[i] = name(x)
	}
	return out
}

func (d *decoder) checkSchemas(p *Profile) {
	own := p.Schemas().own()
	for i, schema := range p.OtherSchemas {
		at := item("other_schemas", i)
		switch {
		case schema == own:
			d.add(at, "name the other ones alone", "%s is the profile's own schema", quoted(schema))
		case schema == "":
			d.add(at, "name a schema, or leave it out", "is empty")
		case schema == "tideover" || schema == "information_schema" || strings.HasPrefix(schema, "pg_"):
			d.add(at, "name the schemas with the server's tables", "%s has no tables of a server", quoted(schema))
		case slices.Contains(p.OtherSchemas[:i], schema):
			d.add(at, "name it once", "%s is there twice", quoted(schema))
		}
	}
	for i, t := range p.Tables {
		if name, qualified := strings.CutPrefix(t.Name, own+"."); qualified {
			d.add(join(item("tables", i), "name"), "write "+name+": tables of the profile's own schema have no prefix", "%s is in the profile's own schema", quoted(t.Name))
		}
	}
}

func (d *decoder) checkTables(p *Profile) {
	d.unique("tables", "name", names(p.Tables, func(t Table) string { return t.Name }))
	for i, f := range p.Follow {
		if len(f.FromColumns) != len(f.ToColumns) && len(f.FromColumns) > 0 && len(f.ToColumns) > 0 {
			d.add(join(item("follow", i), "to_columns"), "the columns are compared in pairs",
				"has %d columns where from_columns has %d", len(f.ToColumns), len(f.FromColumns))
		}
	}
	for i, s := range p.Settled {
		if s.File == "" && s.Table == "" {
			d.add(item("settled", i), "name file, table or both, as the refusal does", "would settle everything")
		}
	}
	for i, t := range p.Tables {
		if slices.Contains(p.Bookkeeping, t.Name) {
			d.add(join(item("tables", i), "name"), "keep it in one of the two lists", "%s is in bookkeeping too", quoted(t.Name))
		}
	}
}

// tableOf checks a reference to one of blue's captured tables.
func (d *decoder) tableOf(path, name string, p *Profile) {
	if name == "" || p.Table(name) != nil {
		return
	}
	d.add(path, suggest(name, names(p.Tables, func(t Table) string { return t.Name })), "%s is not in tables", quoted(name))
}

func (d *decoder) checkRevocations(p *Profile) {
	d.unique("revocations", "kind", names(p.Revocations, func(r Revocation) string { return r.Kind }))
	for i, r := range p.Revocations {
		path := item("revocations", i)
		d.tableOf(join(path, "blue.table"), r.Blue.Table, p)
		if n := len(r.Blue.Key); n > 0 && len(r.Green.Key) > 0 && n != len(r.Green.Key) {
			d.add(join(path, "green.key"), "the columns are compared in pairs", "has %d columns where blue.key has %d", len(r.Green.Key), n)
		}
		if r.Blue.Judge != "" {
			d.add(join(path, "blue.judge"), "on blue the table's own judge says what a change is", "counts on green only")
		}
	}
}

func (d *decoder) checkGreen(g GreenTables) {
	for i, c := range g.Constants {
		if c.SQL == "" {
			d.add(join(item("green.constants", i), "sql"), "the expression of the value on green", "missing")
		}
	}
	for i, c := range g.Volatile {
		if c.SQL != "" {
			d.add(join(item("green.volatile", i), "sql"), "a column that takes green's own value is a constant", "counts for constants only")
		}
	}
}

func (d *decoder) checkCarryBack(p *Profile) {
	d.unique("carry_back", "table", names(p.CarryBack, func(c CarryBack) string { return c.Table }))
	for i, c := range p.CarryBack {
		path := item("carry_back", i)
		d.tableOf(join(path, "table"), c.Table, p)
		t := p.Table(c.Table)
		for j, column := range c.Columns {
			if t != nil && slices.Contains(t.Key, column.Column) {
				d.add(join(item(join(path, "columns"), j), "column"), "the key goes back as it is", "%s is a column of the key", quoted(column.Column))
			}
		}
		d.unique(join(path, "columns"), "column", names(c.Columns, func(b BackColumn) string { return b.Column }))
	}
}

func (d *decoder) checkRules(p *Profile) {
	d.unique("rules", "name", names(p.Rules, func(r Rule) string { return r.Name }))
	for i, r := range p.Rules {
		path := item("rules", i)
		switch {
		case len(r.Fix) == 0 && !r.Quarantine:
			d.add(path, "`fix:` repairs the rows, `quarantine: true` moves them away", "has neither fix nor quarantine")
		case len(r.Fix) > 0 && r.Quarantine:
			d.add(join(path, "quarantine"), "a row that can be repaired stays: keep one of the two", "there is a fix too")
		}
	}
	d.unique("invariants", "name", names(p.Invariants, func(v Invariant) string { return v.Name }))
	for i, v := range p.Invariants {
		d.tableOf(join(item("invariants", i), "repair_table"), v.RepairTable, p)
	}
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions,
}

func (d *decoder) checkHTTP(path string, l Listener) {
	for i, r := range l.Routes {
		at := item(join(path, "routes"), i)
		d.checkPath(join(at, "path"), strings.TrimPrefix(r.Path, "="))
		for j, m := range r.Methods {
			if !slices.Contains(methods, m) {
				d.add(item(join(at, "methods"), j), "one of "+strings.Join(methods, ", "), "%s is not a method", quoted(m))
			}
		}
	}
	d.checkPath(join(path, "green_prefix"), l.GreenPrefix)
	for i, p := range l.GreenPlain {
		d.checkPath(item(join(path, "green_plain"), i), strings.TrimPrefix(p, "="))
	}
}

func (d *decoder) checkPath(path, text string) {
	if text != "" && !strings.HasPrefix(text, "/") {
		d.add(path, "", "a path begins with /")
	}
}
