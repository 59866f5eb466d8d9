package sqlrewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// addConstraint: the locks that a constraint takes beyond those of its own table, and what it reads.
func (r *reader) addConstraint(t *pg.RangeVar, c *pg.Constraint, inUse bool) {
	table := t.GetRelname()
	switch c.GetContype() {
	case pg.ConstrType_CONSTR_FOREIGN:
		other := r.touch(c.Pktable, "table", ShareRowExclusive)
		if inUse && !c.SkipValidation {
			text := fmt.Sprintf("every row of %s is looked up in %s", table, c.GetPktable().GetRelname())
			if other {
				text += ", and both are locked"
			}
			r.long(ShareRowExclusive, false, text, "add it NOT VALID and validate it in a later transaction")
		}
	case pg.ConstrType_CONSTR_CHECK:
		if inUse && !c.SkipValidation {
			r.long(AccessExclusive, false, "every row of "+table+" is checked", "add it NOT VALID and validate it in a later transaction")
		}
	case pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_PRIMARY:
		if inUse && c.Indexname == "" {
			r.long(AccessExclusive, false, "an index is built on "+table, "build a unique index CONCURRENTLY and add the constraint USING INDEX")
		}
	case pg.ConstrType_CONSTR_EXCLUSION:
		if inUse {
			r.long(AccessExclusive, false, "an index is built on "+table, offline)
		}
	case pg.ConstrType_CONSTR_NOTNULL:
		if inUse {
			r.long(AccessExclusive, false, "every row of "+table+" is read for NULL", offline)
		}
	}
}

// addColumn: a column with a constant default is a change of the catalog only (since Postgres 11), unless it is of a domain that looks at
// values.
func (r *reader) addColumn(t *pg.RangeVar, c *pg.ColumnDef, inUse bool) {
	column := t.GetRelname() + "." + c.GetColname()
	notNull, filled, own := c.GetIsNotNull(), false, false
	const fill = "add the column without it, fill it in batches, then add the rest"
	for _, n := range c.GetConstraints() {
		k := n.GetConstraint()
		switch k.GetContype() {
		case pg.ConstrType_CONSTR_NOTNULL:
			notNull = true
		case pg.ConstrType_CONSTR_DEFAULT:
			filled, own = !isNull(k.RawExpr), true
			if inUse && !pureCalls(k.RawExpr) {
				r.long(AccessExclusive, true, "the default of "+column+" is worked out for every row", fill)
			}
		case pg.ConstrType_CONSTR_GENERATED:
			filled = true
			if inUse {
				r.long(AccessExclusive, true, column+" is worked out for every row", offline)
			}
		case pg.ConstrType_CONSTR_IDENTITY:
			filled, own = true, true
			if inUse {
				r.long(AccessExclusive, true, column+" gets a number in every row", fill)
			}
		case pg.ConstrType_CONSTR_PRIMARY:
			notNull = true
			r.addConstraint(t, k, inUse)
		default:
			r.addConstraint(t, k, inUse)
		}
	}
	if serial(c.GetTypeName()) {
		filled = true
		if inUse {
			r.long(AccessExclusive, true, column+" gets a number in every row", fill)
		}
	}
	if inUse {
		d := r.ofDomain(column, c, own)
		notNull, filled = notNull || d.NotNull, filled || !own && d.Default != ""
	}
	if inUse && notNull && !filled {
		r.long(AccessExclusive, false, "every row of "+t.GetRelname()+" is read for NULL in "+c.GetColname(), fill)
		r.hazard(FailsOnRows, column+" is NOT NULL and has no default", "give it a default")
		r.hazard(NeedsValue, column+" is NOT NULL and has no default: an INSERT of the server in use, which doesn't know it, fails from then on", "give it a default")
	}
}

func isNull(n *pg.Node) bool {
	if c := n.GetTypeCast(); c != nil {
		return isNull(c.Arg)
	}
	return n.GetAConst().GetIsnull()
}

func serial(t *pg.TypeName) bool {
	if t == nil || len(t.Names) == 0 {
		return false
	}
	switch t.Names[len(t.Names)-1].GetString_().GetSval() {
	case "serial", "bigserial", "smallserial", "serial2", "serial4", "serial8":
		return true
	}
	return false
}
