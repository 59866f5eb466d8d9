package sqlrewrite

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Domain is what a domain, or one that it is made of, says of its values. Each row of a table gets a new column's value, which
// Postgres looks at then: it writes the table again for that.
type Domain struct {
	NotNull bool
	Checks  bool
	Default string // as SQL; "": none
	base    *pg.TypeName
}

// worked says why Postgres writes every row for a new column of the domain; "": it needn't. own: the column has a default, so that the
// domain's is of no account.
func (d Domain) worked(own bool) string {
	switch {
	case d.NotNull || d.Checks:
		return "which has constraints"
	case !own && d.Default != "" && !pureDefault(d.Default):
		return "whose default is worked out for every row"
	}
	return ""
}

// pureDefault: a default, as text, is known to give one value.
func pureDefault(text string) bool {
	tree, err := pg.Parse("SELECT " + text)
	return err == nil && len(tree.Stmts) == 1 && pureCalls(tree.Stmts[0].Stmt)
}

// ownTypes are types of Postgres' own that may be written without their schema, which are no domains.
var ownTypes = words(`bool bytea char name int8 int2 int4 text oid json jsonb xml point lseg path box polygon line float4 float8 circle money
	macaddr macaddr8 inet cidr bpchar varchar date time timestamp timestamptz interval timetz bit varbit numeric uuid tsvector tsquery
	int4range int8range numrange tsrange tstzrange daterange regclass serial bigserial smallserial serial2 serial4 serial8`)

// mayBeDomain: only a catalog, or a script that has made it, can say whether the type is a domain.
func mayBeDomain(t *pg.TypeName) bool {
	n := t.GetNames()
	return len(n) > 0 && len(t.ArrayBounds) == 0 && !t.PctType && (len(n) > 1 && n[0].GetString_().GetSval() != "pg_catalog" || len(n) == 1 && !ownTypes[n[0].GetString_().GetSval()])
}

// typeText is a type's name quoted as SQL, without its modifiers.
func typeText(t *pg.TypeName) string {
	n := texts(t.GetNames())
	if len(n) > 1 {
		return ident(name{n[len(n)-2], n[len(n)-1]})
	}
	return ident(name{name: n[0]})
}

// domain is what is known of a type, from a catalog and the scripts before; is: it is a domain.
func (st *Statement) domain(t *pg.TypeName) (d Domain, is bool) {
	if !mayBeDomain(t) {
		return d, false
	}
	d, is = st.domains[typeText(t)]
	if made, here := st.known.made().domainOf(t); here {
		below, _ := st.domain(made.base)
		d = Domain{NotNull: d.NotNull || made.NotNull || below.NotNull, Checks: d.Checks || made.Checks || below.Checks, Default: made.Default}
		if d.Default == "" {
			d.Default = below.Default
		}
		is = true
	}
	return d, is
}

// newTypes are the types, quoted as SQL, that a script gives columns, or that domains of the scripts' own are made of, of which a catalog
// must say whether they are domains.
func newTypes(list []*Statement) []string {
	var all []string
	for _, st := range list {
		for _, n := range st.node.GetAlterTableStmt().GetCmds() {
			t := n.GetAlterTableCmd().GetDef().GetColumnDef().GetTypeName()
			for mayBeDomain(t) && !slices.Contains(all, typeText(t)) {
				all = append(all, typeText(t))
				made, _ := st.known.made().domainOf(t)
				t = made.base
			}
		}
	}
	return all
}

// domainOf is a domain that a script has made or changed.
func (m *marks) domainOf(t *pg.TypeName) (d Domain, is bool) {
	if m == nil || t == nil {
		return d, false
	}
	d, is = m.domains[plainType(t)]
	return d, is
}

// valueOf is what a new column's rows get that nobody gives one: nil: nothing, or nobody knows.
func (m *marks) valueOf(c *pg.ColumnDef) *pg.Node {
	for _, n := range c.GetConstraints() {
		if k := n.GetConstraint(); k.GetContype() == pg.ConstrType_CONSTR_DEFAULT {
			return k.RawExpr
		}
	}
	d, is := m.domainOf(c.GetTypeName())
	if !is || d.Default == "" {
		return nil
	}
	tree, err := pg.Parse("SELECT " + d.Default)
	if err != nil {
		return nil
	}
	return tree.Stmts[0].Stmt.GetSelectStmt().TargetList[0].GetResTarget().GetVal()
}

// domain notes what a script says of a domain.
func (m *marks) domain(c *pg.CreateDomainStmt) {
	d := Domain{base: c.GetTypeName()}
	for _, n := range c.Constraints {
		switch k := n.GetConstraint(); k.GetContype() {
		case pg.ConstrType_CONSTR_NOTNULL:
			d.NotNull = true
		case pg.ConstrType_CONSTR_CHECK:
			d.Checks = true
		case pg.ConstrType_CONSTR_DEFAULT:
			d.Default, _ = expression(k.RawExpr)
		}
	}
	m.domains[plainType(&pg.TypeName{Names: c.Domainname})] = d
}

// alteredDomain notes what a script changes of one. What it takes away may be in a domain below it, and counts on.
func (m *marks) alteredDomain(a *pg.AlterDomainStmt) {
	name := plainType(&pg.TypeName{Names: a.TypeName})
	d := m.domains[name]
	switch a.Subtype {
	case "O":
		d.NotNull = true
	case "C":
		d.Checks = true
	case "T":
		d.Default = ""
		if a.Def != nil {
			d.Default, _ = expression(a.Def)
		}
	}
	m.domains[name] = d
}

// ofDomain notes that a new column's values are those of a domain.
func (r *reader) ofDomain(column string, c *pg.ColumnDef, own bool) Domain {
	d, is := r.st.domain(c.GetTypeName())
	if why := d.worked(own); is && why != "" {
		r.long(AccessExclusive, true, fmt.Sprintf("%s is of the domain %s, %s", column, plainType(c.TypeName), why), offline)
	}
	return d
}
